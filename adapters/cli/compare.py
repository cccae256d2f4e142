"""Compare methods: finished runs; with --task runs made for it; with --tasks over several data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from adapters.core import arguments, discovery, flags, settings_files
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import SettingsError

HELP = "compare finished runs; --task: run and compare methods; --tasks: over several data sets"
GROUP = "Train and compare"
DESCRIPTION = """Compare finished runs that were scored on the same test examples.

To run the methods as well: taskswap compare --task ner --methods lora,prefix …

Flags of such a comparison: taskswap compare --task ner --help

To compare the same methods over several data sets: taskswap compare --tasks a.toml b.toml --methods lora,prefix …
Each .toml has the settings of one comparison (task, train_file, …; paths from its folder); the flags are common to all
and replace those of the files. The folder of a finished comparison is taken as well. Default of --output_dir:
runs/compare_tasks."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A comparison of finished runs."""

    runs: Annotated[list[Path], POSITIONAL]
    """Folders of finished runs."""
    output_dir: Path | None = None
    """Folder for comparison.json, .md and .html. Default: none is written."""
    margin: float = 1.0
    """Points by which a method may score lower and still be called non-inferior."""
    cost: str = "storage"
    """Tie-breaker between non-inferior methods: storage, training (time), latency or memory."""
    resample: str = "auto"
    """What intervals and tests resample: whole documents, single examples, or auto: documents where every scored
    example knows its own, and there are at least 30 of them."""
    allow_different: bool = False
    """Compare runs that learned from different training data, which the table then shows."""


def settings() -> type:
    """The class of all flags of a comparison, whatever the task."""
    from adapters.cli.train import settings as train_settings
    from adapters.core.settings import join
    from adapters.experiments.comparison.across_tasks import TaskSettings
    from adapters.experiments.comparison.settings import CompareSettings

    joined: type = join(train_settings(), CompareSettings, TaskSettings)
    return joined


def run(argv: Sequence[str]) -> int:
    """Run `taskswap compare`."""
    if not settings_files.is_file(argv) and "tasks" in flags.given(argv) and not flags.asks_for_help(argv):
        return _compare_across(argv)
    if settings_files.is_file(argv) or "task" in flags.given(argv):
        return _run_and_compare(argv)
    only = sorted(flags.given(argv) - {field.name for field in fields(Settings)})
    if only and only[0] in {field.name for field in fields(settings())}:
        raise SettingsError(f"--{only[0]}: only where the methods are run as well. Add --task, and name the data.")
    if not argv:
        raise SettingsError(
            "Give the folders of finished runs; or --task with data to run the methods on; or --tasks with a .toml for "
            "each data set. See taskswap compare --help."
        )
    given: Settings = arguments.parse(Settings, {}, DESCRIPTION, argv, program="taskswap compare")
    from adapters.experiments.comparison import results
    from adapters.experiments.comparison.output import save_and_print
    from adapters.experiments.comparison.settings import check_advice
    from adapters.experiments.many_runs.record import Record

    check_advice(given)
    records = [Record.load(folder) for folder in given.runs]
    results.check_alike(records, allow_different=given.allow_different)
    save_and_print(
        results.grouped(records),
        given.output_dir,
        command="taskswap compare",
        margin=given.margin / 100,
        cost=given.cost,
        resample=given.resample,
    )
    return 0


def _run_and_compare(argv: Sequence[str]) -> int:
    """Run the methods that are compared, as a recipe for comparisons does."""
    from adapters.recipe import compare

    tasks = discovery.names("tasks", flags.peek(argv, "plugin_dir"))
    task, argv = flags.choose(argv, "task", tasks, needed=True)
    doc, defaults = f"Compare methods on the task {task}.", {"output_dir": f"runs/compare_{task}"}
    with compare(doc, task=task, defaults=defaults, argv=argv) as comparison:
        comparison.check()
        comparison.run_all()
        comparison.save_and_print()
    return 0


def _compare_across(argv: Sequence[str]) -> int:
    """Compare the same methods over several data sets."""
    from adapters.experiments.comparison.across_tasks import AcrossTasks

    comparisons = AcrossTasks(*flags.take(argv, "tasks"))
    comparisons.check()
    comparisons.run_all()
    comparisons.save_and_print()
    return int(comparisons.failed)
