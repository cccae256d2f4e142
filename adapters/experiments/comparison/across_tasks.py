"""The same methods over several data sets: a comparison of each, then their ranks together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.core import arguments, discovery, flags
from adapters.core.errors import ComparisonError, SettingsError, UserError
from adapters.core.files import write_json, write_text
from adapters.core.progress import say
from adapters.evaluation.report.tables import print_table
from adapters.experiments.comparison import across_page
from adapters.experiments.comparison.across_summary import DataSet, summarise
from adapters.experiments.comparison.comparison import Comparison
from adapters.experiments.comparison.output import print_sentences
from adapters.experiments.comparison.result import ComparisonResult
from adapters.experiments.data_set_file import flags_of_file

OWN = ("json", "md", "html", "svg")
"""Endings of the files that this writes."""


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """A comparison over several data sets."""

    tasks: list[str] = field(default_factory=list)
    """Data sets on which to compare the same methods: a .toml each with task, train_file, …, or the folder of a
    finished comparison. The other flags are common to all and replace those of the files."""


class AcrossTasks:
    """Comparisons over several data sets: `check`, `run_all`, `save_and_print`.

    Attributes:
        comparisons: those that are to be run, by the names of their data sets.
        finished: folders of those that are finished.
        failures: (data set, reason) of each comparison that failed.
        waiting: data sets whose runs Slurm makes.
    """

    def __init__(self, tasks: Sequence[str], argv: Sequence[str]) -> None:
        """Read the settings of all comparisons. Raises SettingsError, ComparisonError.

        Args:
            tasks: paths of .toml files of settings, or of folders of finished comparisons.
            argv: flags that are common to all comparisons; they replace the settings of the files.
        """
        given, common = flags.take(argv, "output_dir")
        paths = {Path(task).resolve().name.removesuffix(".toml"): Path(task) for task in tasks}
        if len(paths) < len(tasks):
            raise SettingsError(
                f"--tasks {' '.join(tasks)}: two have the same name, by which their results are kept apart. Rename one."
            )
        if len(tasks) < 2:
            raise SettingsError(f"--tasks {' '.join(tasks)}: needs two data sets or more, .toml files or folders.")
        files = [path for path in paths.values() if not path.is_dir()]
        if not files and common:
            raise SettingsError(
                f"{common[0]}: of finished comparisons only the results are read. Leave the flag out, or give .toml "
                "files, which are run."
            )
        self.folder = Path(given[-1]) if given else Path("runs/compare_tasks") if files else None
        self.finished = {name: path for name, path in paths.items() if path.is_dir()}
        for path in self.finished.values():
            ComparisonResult.read(path)
        self.order = list(paths)
        self.comparisons = {
            name: self._comparison(name, path, common) for name, path in paths.items() if not path.is_dir()
        }
        self.failures: list[tuple[str, str]] = []
        self.waiting: list[str] = []

    def _comparison(self, name: str, path: Path, common: Sequence[str]) -> Comparison:
        """The comparison of one data set, in a folder of its name."""
        assert self.folder is not None
        with _named(name):
            words = [*flags_of_file(path, flags.given(common) | {"output_dir"}), *common]
            names = discovery.names("tasks", flags.peek(words, "plugin_dir"))
            task, words = flags.choose(words, "task", names, needed=True)
            out = str(self.folder / name)
            doc = f"Compare methods on the task {task}."
            return Comparison(doc, task=task, defaults={"output_dir": out}, argv=[*words, "--output_dir", out])

    @property
    def failed(self) -> bool:
        """Whether any run failed."""
        return any(outcome.error for one in self.comparisons.values() for outcome in one.outcomes)

    def check(self) -> None:
        """Refuse what cannot work on any data set before anything is trained. Raises UserError."""
        if self.folder is not None and self.folder.exists():
            own = {f"tasks.{ending}" for ending in OWN}
            if not self.folder.is_dir() or any(p.is_file() and p.name not in own for p in self.folder.iterdir()):
                raise SettingsError(
                    f"--output_dir {self.folder}: holds files other than those of comparisons over data sets. Name "
                    "another folder."
                )
        for name, comparison in self.comparisons.items():
            say(f"{name}:")
            with _named(name):
                comparison.check()

    def run_all(self) -> None:
        """Run and print each comparison; one that fails is recorded, and the others go on."""
        for name, comparison in self.comparisons.items():
            comparison.run_all()
            if not comparison.main_process:
                continue
            print(f"\n{name}", flush=True)
            try:
                result = comparison.save_and_print()
            except ComparisonError as error:
                self.failures.append((name, str(error)))
                print(f"failed: {error}", flush=True)
                continue
            if result is None:
                self.waiting.append(name)
            else:
                self.finished[name] = comparison.folder

    def save_and_print(self) -> dict[str, Any] | None:
        """Write tasks.json, .md, .html and .svg, and print the ranks; None while comparisons wait for Slurm.

        Raises ComparisonError where fewer than two comparisons are finished.
        """
        if self.waiting:
            say(f"\nThe ranks follow, by the same command, when {', '.join(self.waiting)} have run.")
        if self.waiting or not all(comparison.main_process for comparison in self.comparisons.values()):
            return None
        if len(self.finished) < 2:
            raise ComparisonError(
                "Fewer than two comparisons are finished, so there is nothing to rank. The first that failed: "
                + ": ".join(self.failures[0])
            )
        sets = [
            DataSet(name=name, folder=self.finished[name], record=ComparisonResult.read(self.finished[name]).record)
            for name in self.order
            if name in self.finished
        ]
        summary = {**summarise(sets), "failures": [{"data_set": name, "why": why} for name, why in self.failures]}
        if self.folder is not None:
            self._write(summary, self.folder)
        if summary["methods"]:
            print()
            print_table(across_page.rank_columns(summary), summary["methods"])
        print_sentences(summary["verdict"], self.failures)
        return summary

    def _write(self, summary: Mapping[str, Any], folder: Path) -> None:
        """The four files."""
        repeat = {
            "command": arguments.command_line(),
            "data sets": {one["name"]: one["dataset"] for one in summary["data_sets"]},
        }
        write_json(folder / "tasks.json", {**summary, "command": repeat["command"]})
        if summary["methods"]:
            write_text(folder / "tasks.svg", across_page.picture(summary))
        write_text(folder / "tasks.md", across_page.markdown(summary, self.failures))
        write_text(folder / "tasks.html", across_page.page(summary, self.failures, folder, repeat))
        say(f"\nwritten to {folder}/tasks.html, .md, .svg and .json")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """An error of the user's says of which data set it is."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{name}: {error}") from error
