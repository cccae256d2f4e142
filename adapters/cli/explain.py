"""Say why an artifact gives an answer, or measure how good such explanations are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adapters.cli.base.input_flags import InputFlags
from adapters.cli.base.plain_flags import PlainFlags
from adapters.core import arguments
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import DataError, SettingsError
from adapters.core.settings import require

if TYPE_CHECKING:
    from adapters.artifacts.explaining.base.explanation import Explanation
    from adapters.artifacts.loaded import LoadedArtifact

HELP = "say why an artifact gives an answer, or test such explanations"
GROUP = "Use artifacts"
DESCRIPTION = "Say why an artifact gives an answer, word by word; with --evaluate, test such explanations."
FORMATS = (".html", ".json", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class Settings(InputFlags, PlainFlags):
    """What is explained, how, and how it is shown."""

    artifact: Annotated[Path, POSITIONAL]
    """Folder of a run or the `artifact` in it, a plain PEFT folder, or an export to ONNX."""
    texts: Annotated[list[str], POSITIONAL] = field(default_factory=list)
    """Texts whose answers are explained. Put -- before a text that begins with two hyphens."""
    adapter: str | None = None
    """Name of the adapter that answers, of an export that has several."""
    method: str | None = None
    """How: weights, integrated_gradients, gradient_input, occlusion or shots; with --evaluate several with commas.
    Default: the first of weights, integrated_gradients, shots and occlusion that suits the model; with --evaluate all
    that do."""
    target: str | None = None
    """What is explained: a label, an entity (its text, or its number from 1), a relation, an answer in the context.
    Default: what is answered; of several entities the first."""
    steps: int = 32
    """Points of the path of integrated gradients; up to eight times as many where the gradients do not add up."""
    nearest: int = 0
    """Training examples to show that are most alike by the model's own features."""
    train_file: Path | None = None
    """Training examples for --nearest. Default: the data that the settings.json of the artifact's run names."""
    output: Path | None = None
    """File for the explanations: .html, .json (a list) or .jsonl (one object per line). Default: the screen."""
    json: bool = False
    """Print JSON, one object per line."""
    dtype: str = "float32"
    """Number format of the model: float32, bfloat16, or auto. Gradients in bfloat16 are too coarse to add up."""
    evaluate: Path | None = None
    """Test the explanations on a JSONL of requests, with spans where people marked what counts: `spans` of characters,
    or `rationales` of tokens between blanks, each [start, end]."""
    max_samples: int | None = None
    """With --evaluate: the first so many examples."""
    encoding: str = "utf-8"
    """Encoding of --input, where it is .txt or a table, and of --evaluate."""
    random_weights: bool = True
    """With --evaluate: compare the explanations with those of the same model with random weights."""
    seed: int = 0
    """With --evaluate: of the random weights, the random baseline and the resampling."""


def settings() -> type:
    """The class of all flags."""
    return Settings


def run(argv: Sequence[str]) -> int:
    """Run `taskswap explain`."""
    given: Settings = arguments.parse(Settings, {}, DESCRIPTION, argv, program="taskswap explain")
    _check(given)
    from adapters.artifacts.explaining.base import attribution, evaluate

    for name in _methods(given):  # before a model is loaded
        attribution.load(name, given.plugin_dir)
    if given.evaluate is not None:
        evaluate.check(_methods(given), attribution.Options(steps=given.steps), given.plugin_dir)
    loaded = given.load(given.artifact, dtype=given.dtype, adapter=given.adapter)
    return _evaluate(given, loaded) if given.evaluate is not None else _explain(given, loaded)


def _methods(given: Settings) -> list[str]:
    """The names in --method."""
    return [name for name in (given.method or "").split(",") if name]


def _check(given: Settings) -> None:
    """Refuse flags that do not go together, and files that cannot be written, before a model is loaded."""
    ways = [bool(given.texts), given.input is not None, given.evaluate is not None]
    if sum(ways) != 1:
        raise SettingsError("Give texts, or --input with a file of them, or --evaluate (one of the three).")
    given.check_input()
    if given.evaluate is not None and not given.evaluate.is_file():
        raise SettingsError(f"--evaluate {given.evaluate}: no such file.")
    require(given.max_samples is None or given.max_samples >= 1, "max_samples", given.max_samples, "at least 1")
    if len(_methods(given)) > 1 and given.evaluate is None:
        raise SettingsError("--method: several only with --evaluate. Give one.")
    if given.output is not None:
        if given.output.suffix not in FORMATS or (given.evaluate is not None and given.output.suffix == ".html"):
            known = FORMATS[1:] if given.evaluate is not None else FORMATS
            raise SettingsError(f"--output {given.output}: the name must end with {', '.join(known)}.")
        if given.output.is_dir() or not given.output.parent.is_dir():
            raise SettingsError(f"--output {given.output}: it is a folder, or its folder does not exist.")
    if given.nearest < 0 or (given.nearest and given.evaluate is not None):
        raise SettingsError(f"--nearest {given.nearest}: must be 0 or more, and is not for --evaluate.")


def _explain(given: Settings, loaded: LoadedArtifact) -> int:
    """Explain each text, and show or write the explanations."""
    from adapters.artifacts.explaining.base.attribution import Options
    from adapters.experiments import interface

    among = None
    if given.nearest:
        among = interface.training_neighbours(
            loaded, given.artifact, count=given.nearest, train=given.train_file, plugin_dirs=given.plugin_dir
        )
    found = [
        interface.explained(
            loaded,
            inputs,
            method=given.method,
            target=given.target,
            options=Options(steps=given.steps),
            among=among,
            plugin_dirs=given.plugin_dir,
        )
        for inputs in (given.texts if given.input is None else _inputs(given, loaded))
    ]
    _write(given, found)
    return 0


def _inputs(given: Settings, loaded: LoadedArtifact) -> Iterator[Any]:
    """The inputs in --input, without blank lines of text. Raises DataError with the line of a fault."""
    plain = given.input is not None and given.input.suffix == ".txt"
    for request in given.requests_for(loaded, given.plugin_dir):
        if isinstance(request["inputs"], DataError):
            raise request["inputs"]
        if plain and not request["inputs"]["text"].strip():
            continue
        yield request["inputs"]


def _write(given: Settings, found: Sequence[Explanation]) -> None:
    """Explanations to the screen or into a file."""
    from adapters.core.files import json_line, write_text
    from adapters.evaluation.report import explanation as report
    from adapters.evaluation.report import html

    records = [one.record() for one in found]
    if given.output is None:
        if given.json:
            print("".join(json_line(one, sys.stdout.encoding or "utf-8") for one in records), end="")
            return
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        for number, one in enumerate(found):
            console.print(*([""] if number else []), one, sep="\n")
        return
    if given.output.suffix == ".html":
        text = html.document("Explanations", [report.fragment(one) for one in records])
    elif given.output.suffix == ".json":
        text = json_line(records)
    else:
        text = "".join(json_line(one) for one in records)
    write_text(given.output, text)
    print(f"written to {given.output}", file=sys.stderr)


def _evaluate(given: Settings, loaded: LoadedArtifact) -> int:
    """Test explanations on a file of examples."""
    from adapters.artifacts.explaining.base import evaluate, marked_examples
    from adapters.artifacts.explaining.base.attribution import Options
    from adapters.core.files import json_line, write_text

    assert given.evaluate is not None
    marked = marked_examples.read(given.evaluate, loaded.task, given.max_samples, encoding=given.encoding)
    record = evaluate.evaluate(
        loaded.predictor,
        loaded.task,
        marked,
        model=loaded.card["method"]["name"],
        methods=_methods(given) or None,
        target=given.target,
        options=Options(steps=given.steps),
        random_weights=given.random_weights,
        seed=given.seed,
        plugin_dirs=given.plugin_dir,
    )
    if given.output is not None:
        write_text(given.output, json_line(record))
        print(f"written to {given.output}", file=sys.stderr)
    elif given.json:
        print(json_line(record, sys.stdout.encoding or "utf-8"), end="")
    else:
        from rich.console import Console

        from adapters.evaluation.report import explanation_tests

        Console(highlight=False).print(explanation_tests.table(record))
    return 0
