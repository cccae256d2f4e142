"""`python -m adapters inspect`: what is in an adapter's folder, and what is wrong with it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters import artifact, peft_folder
from adapters.errors import SourceError

SCORED = frozenset({"dataset", "split", "n", "metric", "score", "value", "low", "high"})
"""What a card's scores must say to be shown."""


def inspect(folder: Path, base: str | None, plugin_dirs: Sequence[str]) -> int:
    """Print what a folder holds; then check it, as far as can be done here.

    Returns 0; where something is wrong an ArtifactError says what, after what could be read was printed.
    """
    if peft_folder.is_plain(folder):
        return _plain(folder, base, plugin_dirs)
    card = artifact.read_card(folder)
    artifact.check_fields(card, folder)
    _print_card(card)
    artifact.verify(folder)
    for file, tensors in card["tensors"].items():
        print(f"{file}: {len(tensors)} tensors, {sum(map(math.prod, tensors.values())):,} numbers")
    print("verified: every file is as it was saved")
    _check_base(card, base)
    return 0


def _print_card(card: Mapping[str, Any]) -> None:
    scores = card.get("scores")
    print(f"{card['method']['name']} for {card['task']['name']} on {card['base']['name']}")
    print(f"labels: {', '.join(card['task']['labels'])}")
    if isinstance(scores, dict) and scores.keys() >= SCORED:
        print(f"{scores['dataset']} {scores['split']} ({scores['n']:,} examples): {scores['metric']} {scores['score']} "
              f"{100 * scores['value']:.2f} ({100 * scores['low']:.2f} to {100 * scores['high']:.2f})")  # fmt: skip
    print("settings: " + json.dumps(card["method"]["settings"]))


def _check_base(card: Mapping[str, Any], base: str | None) -> None:
    """Hold the digests of the base against the card's, where the base can be found."""
    from adapters.model import open_base, quiet_libraries

    quiet_libraries()
    try:
        found = open_base(base or card["base"]["name"])
    except SourceError as error:
        if base is not None:
            raise
        print(f"not checked: its base {card['base']['name']} is not at hand ({str(error).splitlines()[0]})")
        return
    artifact.check_base(card, found.name, found.digest, found.tokenizer_digest)
    print(f"its base: {found.name}, weights and tokenizer are those that it was trained on")


def _plain(folder: Path, base: str | None, plugin_dirs: Sequence[str]) -> int:
    """A folder without a card: read as the bank would read it, on its base if that is at hand."""
    from adapters.bank import AdapterBank

    config = peft_folder.read_config(folder)
    name = base or peft_folder.base_of(folder)
    print(f"{config['peft_type']} by PEFT for {config.get('task_type')} on {name}; no card")
    shown = {name: value for name, value in sorted(config.items()) if value not in (None, False, [], {})}
    print("config: " + json.dumps(shown))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        bank = AdapterBank(name, plugin_dirs=plugin_dirs)
        told = bank.load("adapter", folder, labels=peft_folder.some_labels(folder))
    print(f"fits {name}: all tensors are there, of the right shapes, finite, and none is left over")
    for line in told["unchecked"]:
        print(f"not checked: {line}")
    return 0
