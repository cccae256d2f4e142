"""Show what an artifact contains, and check it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from adapters.cli.base.plain_flags import PlainFlags
from adapters.core import arguments
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import SettingsError, SourceError, numbered

HELP = "show what an artifact contains, and check it"
GROUP = "Look inside"
SCORE_FIELDS = frozenset({"dataset", "split", "n", "metric", "score", "value", "low", "high"})
"""Fields that a card's scores need in order to be shown."""


@dataclass(frozen=True, kw_only=True)
class Settings(PlainFlags):
    """What is inspected."""

    artifact: Annotated[Path, POSITIONAL]
    """Folder of a run or the `artifact` in it, or a plain PEFT folder, which is checked by loading it."""


def settings() -> type:
    """The class of all flags."""
    return Settings


def run(argv: Sequence[str]) -> int:
    """Run `taskswap inspect`. Raises ArtifactError for a fault, after printing what could be read."""
    given: Settings = arguments.parse(Settings, {}, "Show and check an artifact.", argv, program="taskswap inspect")
    from adapters.artifacts import artifact, plain_peft
    from adapters.artifacts.published import located

    given = replace(given, artifact=located(given.artifact))
    if plain_peft.is_plain(given.artifact):
        return _inspect_plain(given)
    card = artifact.read_card(given.artifact)
    for name, own in card.get("adapters", {"": {}}).items():  # an export may be of several
        artifact.check_fields({**card, **own}, given.artifact)
        if name:
            print(f"{name}:")
        _print_card({**card, **own})
    artifact.verify(given.artifact)
    for file, tensors in card["tensors"].items():
        print(f"{file}: {len(tensors)} tensors, {sum(map(math.prod, tensors.values())):,} numbers")
    print("verified: every file is unchanged since it was saved")
    if "export" in card:
        _print_export(card["export"])
        return 0
    _check_base(card, given.base)
    return 0


def _print_card(card: Mapping[str, Any]) -> None:
    from adapters.data.regression_rows import LabelRange

    scores = card.get("scores")
    base = f"on {card['base']['name']}" if card["base"] else "without a base model"
    print(f"{card['method']['name']} for {card['task']['name']} {base}")
    if card["task"]["labels"]:
        print(f"labels: {', '.join(card['task']['labels'])}")
    if learnt := LabelRange.of_card(card["task"].get("label_range")):
        print(f"numbers of train: {learnt}")
    if isinstance(scores, dict) and scores.keys() >= SCORE_FIELDS:
        print(
            f"{scores['dataset']} {scores['split']} ({numbered(scores['n'], 'examples')}): "
            f"{scores.get('title', scores['score'])} "
            f"{100 * scores['value']:.2f} ({100 * scores['low']:.2f} to {100 * scores['high']:.2f})"
        )
    print("settings: " + json.dumps(card["method"]["settings"]))


def _print_export(record: Mapping[str, Any]) -> None:
    """What an export is, and what is known of its equality with the artifact."""
    said = [f"export to {record['format']}"]
    said += [f"opset {record['opset']}"] if "opset" in record else []
    if "largest_difference" in record:
        said.append(f"logits within {record['largest_difference']:.1e} × max(1, |logit|) of torch's")
    quantize = record.get("quantize", {})
    said += [quantize["kind"]] if quantize else []
    if scored := quantize.get("scored"):
        said.append(
            f"{scored.get('title', scored['metric'])} on {scored['split']} ({numbered(scored['n'], 'examples')}) "
            f"{100 * scored['before']:.2f} in fp32, "
            f"{100 * scored['value']:.2f} in {quantize['kind']}"
        )
    print("; ".join(said))


def _check_base(card: Mapping[str, Any], base: str | None) -> None:
    """Compare the digests of the base model with the card's, if the base can be found."""
    from adapters.artifacts import artifact, loading
    from adapters.models.base_model import open_base, quiet_libraries

    if card["base"] is None:
        if base is not None:
            raise SettingsError(f"--base {base}: {card['method']['name']} has no base model. Leave it out.")
        return
    quiet_libraries()
    if base is not None:
        loading.check_base_name(card, base)
    try:
        found = open_base(base or card["base"]["name"])
    except SourceError as error:
        if base is not None:
            raise
        print(f"not checked: its base {card['base']['name']} was not found ({str(error).splitlines()[0]})")
        return
    artifact.check_base(card["base"], found)
    print(f"base: {found.name}, with the weights and the tokenizer that the artifact was trained on; in {found.folder}")


def _inspect_plain(given: Settings) -> int:
    """Inspect a PEFT folder without a card, by loading it: into a bank, or alone if no bank mixes its type."""
    from adapters.artifacts import plain_peft
    from adapters.artifacts.peft_config import PeftConfig
    from adapters.experiments import interface

    folder = given.artifact
    config = PeftConfig(folder)
    name, task_type = given.base or config.base, config.values.get("task_type")
    print(f"{config.type} by PEFT for {task_type} on {name}; no card")
    shown = {name: value for name, value in sorted(config.values.items()) if value not in (None, False, [], {})}
    print("config: " + json.dumps(shown))
    reading = given.reading()
    if task_type == "TOKEN_CLS" and reading.labels is None:
        reading = replace(reading, labels=plain_peft.some_labels(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        card = interface.load(
            folder, base=given.base, device=given.device, plugin_dirs=given.plugin_dir, **vars(reading)
        ).card
    print(f"fits {name}: all tensors are there, finite and of the right shapes, and none is left over")
    print(f"task: {card['task']['name']}; method: {card['method']['name']}; at most {card['max_length']} tokens")
    for line in card["unchecked"]:
        print(f"not checked: {line}")
    return 0
