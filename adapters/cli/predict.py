"""Answer texts, or a file of requests, with one artifact."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from adapters.cli.base.input_flags import TEXTS, InputFlags
from adapters.cli.base.plain_flags import PlainFlags
from adapters.core import arguments
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import DataError, SettingsError
from adapters.core.files import json_line, new_file

if TYPE_CHECKING:
    from adapters.artifacts.loaded import LoadedArtifact
    from adapters.artifacts.pipeline import Pipeline

HELP = "answer texts, or a file of requests, with an artifact"
GROUP = "Use artifacts"
STEPS = ("ner", "relation")
"""What --pipeline names."""
TABLES = (".csv", ".tsv", ".xlsx", ".parquet")
"""Endings of files that answers are not written as."""
CHUNK = 512
"""Requests read and answered at a time."""


@dataclass(frozen=True, kw_only=True)
class Settings(InputFlags, PlainFlags):
    """What is answered, and how the answers are written."""

    artifact: Annotated[Path | None, POSITIONAL] = None
    """Folder of a run or the `artifact` in it, a plain PEFT folder, or an export to ONNX. With --pipeline, the first of
    the texts."""
    texts: Annotated[list[str], POSITIONAL] = field(default_factory=list)
    """Texts to answer. Put -- before a text that begins with two hyphens."""
    adapter: str | None = None
    """Name of the adapter that answers, of an export that has several."""
    pipeline: str | None = None
    """ner=FOLDER,relation=FOLDER: find entities by one artifact, and ask the other for the relations of their pairs."""
    max_distance: int | None = None
    """With --pipeline: the most words between two entities that are asked for. Default: pairs within a sentence."""
    output: Path | None = None
    """File for the answers, one JSON object per line. Default: the screen."""
    json: bool = False
    """Print the answers as JSON, one object per line."""
    dtype: str = "auto"
    """Number format of the model: float32, bfloat16, or auto (bfloat16 on CUDA devices that support it)."""


def settings() -> type:
    """The class of all flags."""
    return Settings


def run(argv: Sequence[str]) -> int:
    """Run `taskswap predict`."""
    given: Settings = arguments.parse(
        Settings, {}, "Answer texts, or a file of requests, with an artifact.", argv, program="taskswap predict"
    )
    given = _with_texts(given)
    _check(given)
    from adapters.artifacts.pipeline import Pipeline

    def load(folder: Path) -> LoadedArtifact:
        return given.load(folder, dtype=given.dtype, adapter=given.adapter)

    loaded: LoadedArtifact | Pipeline
    if given.pipeline:
        loaded = _pipeline(load, given)
    else:
        assert given.artifact is not None
        loaded = load(given.artifact)
    if given.input is None and given.output is None and not given.json:
        return _print_answers(loaded, given.texts)
    requests: Iterator[Any]
    if given.input is not None:
        if isinstance(loaded, Pipeline):
            requests = given.requests(TEXTS, given.plugin_dir)
        else:
            requests = given.requests_for(loaded, given.plugin_dir)
    else:
        requests = _numbered(given.texts)
    if given.output is None:
        return _write_answers(loaded, requests, sys.stdout, sys.stdout.encoding or "utf-8")
    with new_file(given.output) as stream:
        return _write_answers(loaded, requests, stream)


def _check(given: Settings) -> None:
    """Refuse files that cannot be read or written before a model is loaded."""
    if bool(given.texts) == (given.input is not None):
        raise SettingsError("Give texts, or --input with a file of them (one of the two).")
    given.check_input()
    if given.output is not None and (given.output.is_dir() or not given.output.parent.is_dir()):
        raise DataError(f"--output {given.output}: it is a folder, or its folder does not exist.")
    if given.output is not None and given.output.suffix in TABLES:
        raise SettingsError(f"--output {given.output}: answers are written as JSON lines. Name it .jsonl.")


def _with_texts(given: Settings) -> Settings:
    """With --pipeline, all positional arguments are texts. Raises SettingsError where an artifact is missing."""
    if given.pipeline:
        first = [str(given.artifact)] if given.artifact is not None else []
        return replace(given, artifact=None, texts=[*first, *given.texts])
    if given.artifact is None:
        raise SettingsError("Give the folder of a run, or the `artifact` in it; or --pipeline with two of them.")
    if given.max_distance is not None:
        raise SettingsError("--max_distance: only with --pipeline.")
    return given


def _pipeline(load: Callable[[Path], LoadedArtifact], given: Settings) -> Pipeline:
    """The two artifacts that --pipeline names, as one. Raises SettingsError, ModelError."""
    from adapters.artifacts.pipeline import Pipeline, check_steps

    parts = (given.pipeline or "").split(",")
    folders = dict(part.split("=", 1) for part in parts if "=" in part)
    if len(parts) != len(STEPS) or set(folders) != set(STEPS):
        raise SettingsError(f"--pipeline {given.pipeline}: needed is ner=FOLDER,relation=FOLDER.")
    ner, relation = (load(Path(folders[step])) for step in STEPS)
    check_steps(ner.task, relation.task)
    return Pipeline(ner.answer, relation.answer, max_distance=given.max_distance)


def _print_answers(loaded: LoadedArtifact | Pipeline, texts: Sequence[str]) -> int:
    """Print answers for people: entities marked in the text, other outputs as JSON, errors on stderr.

    Gives the exit code: 1 where there was an error.
    """
    from rich.console import Console

    from adapters.evaluation.report.run_report import highlight

    console, failed = Console(highlight=False, soft_wrap=True), False
    for answer in loaded.answer(texts):
        if "error" in answer:
            failed = True
            print(answer["error"], file=sys.stderr)
        elif "entities" in answer["output"]:
            console.print(highlight(answer["output"]))
            for relation in answer["output"].get("relations", ()):
                head, tail = (answer["output"]["entities"][relation[side]]["text"] for side in ("head", "tail"))
                console.print(f"  {head} — {relation['label']} → {tail}", markup=False)
        else:
            console.print(json.dumps(answer["output"], ensure_ascii=False), markup=False)
    return int(failed)


def _numbered(texts: Sequence[str]) -> Iterator[Any]:
    """Requests of texts, with ids that are unique over all batches."""
    return ({"id": str(number), "inputs": {"text": text}} for number, text in enumerate(texts))


def _write_answers(
    loaded: LoadedArtifact | Pipeline, requests: Iterator[Any], stream: IO[str], encoding: str = "utf-8"
) -> int:
    """Write answers as JSON lines in the order of the requests; report on stderr how many are errors.

    Gives the exit code: 1 where not one was answered.
    """
    done = failed = 0
    while chunk := list(islice(requests, CHUNK)):
        for answer in loaded.answer(chunk):
            done, failed = done + 1, failed + ("error" in answer)
            stream.write(json_line(answer, encoding))
        if stream is not sys.stdout and sys.stderr.isatty():
            print(f"\r{done:,} answered", end="", file=sys.stderr, flush=True)
    if stream is not sys.stdout:
        start = "\r" if sys.stderr.isatty() else ""
        print(f"{start}{done:,} answered, {failed:,} of them with an error", file=sys.stderr)
    return int(0 < done == failed)
