"""Score a finished artifact on other data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from adapters.cli.base.plain_flags import PlainFlags
from adapters.core import arguments, discovery, flags
from adapters.core.arguments import POSITIONAL
from adapters.core.settings import join

HELP = "score an artifact on other data, by the evaluator and with the report of a run"
GROUP = "Use artifacts"
DESCRIPTION = """Score an artifact on data that its run did not score: another test file, another language, a merged or
exported model.

taskswap evaluate runs/lora_ner --test_file new.conll
taskswap evaluate runs/onnx --test_file test.conll --label_column_name 3

Data are read as the artifact's run read its own, unless a flag says otherwise. What is written can be compared like
runs: taskswap compare runs/evaluate_a runs/evaluate_b."""


@dataclass(frozen=True, kw_only=True)
class Settings(PlainFlags):
    """What is scored, and where the scores are written."""

    artifact: Annotated[Path, POSITIONAL]
    """Folder of a run or the `artifact` in it, a plain PEFT folder, or an export to ONNX."""
    adapter: str | None = None
    """Name of the adapter that answers, of an export that has several."""
    dtype: str = "auto"
    """Number format of the model: float32, bfloat16, or auto (bfloat16 on CUDA devices that support it)."""
    output_dir: Path | None = None
    """Folder for scores.json, predictions.jsonl and report.txt. Default: a new one, runs/evaluate_TASK, with a number
    where it is taken."""


def settings() -> type:
    """The class of all flags, whatever the task."""
    return _settings(discovery.names("tasks"))


def _settings(tasks: Sequence[str], plugin_dirs: Sequence[str] = ()) -> type:
    from adapters.experiments import scoring

    joined: type = join(scoring.settings_class(tasks, plugin_dirs), Settings)
    return joined


def run(argv: Sequence[str]) -> int:
    """Run `taskswap evaluate`."""
    plugins = flags.peek([*argv, "--"], "plugin_dir")
    kind = _settings(discovery.names("tasks", plugins), plugins)
    given: Any = arguments.parse(kind, {}, DESCRIPTION, argv, program="taskswap evaluate")
    from adapters.experiments import interface, scoring

    loaded = given.load(given.artifact, dtype=given.dtype, adapter=given.adapter)
    of_data = {one.name for one in fields(kind)} - {one.name for one in fields(Settings)} | {"plugin_dir"}
    values = {name: getattr(given, name) for name in sorted(flags.given(argv) & of_data)}
    result = scoring.score(loaded, given.artifact, values, interface.new_folder(given.output_dir, loaded.task.name))
    print(f"\nwritten to {result.folder}/", file=sys.stderr)
    return 0
