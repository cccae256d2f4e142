"""What experiments of many runs share: a folder that runs are found again in, and a launcher that makes them."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from adapters.core import arguments, flags, settings_files
from adapters.core.errors import ComparisonError, SettingsError
from adapters.core.files import read_json, write_json
from adapters.core.processes import is_first
from adapters.core.progress import say
from adapters.core.settings import own_defaults, shortest
from adapters.experiments.many_runs import launchers
from adapters.experiments.many_runs.planned_run import PlannedRun, Resources, RunOutcome
from adapters.experiments.run_folder import DATA


class Experiment(ABC):
    """Many runs in one folder.

    Attributes:
        task_name: name of the task.
        settings: of the experiment; its `output_dir` is the folder.
        resources: of each run.
        runs: all that are planned.
        outcomes: of the runs, when they have ended; empty where a scheduler has yet to make them.
        main_process: whether this process is the one that starts runs and prints.
    """

    what: ClassVar[str]
    """What it is, for messages."""
    growing: ClassVar[frozenset[str]]
    """Settings that may change when it resumes: its finished runs stay valid."""

    def __init__(self, task: str, settings: Any, given: Collection[str], defaults: Mapping[str, Any]) -> None:
        """Args:
        task: its name.
        settings: of the experiment, those of launchers among them.
        given: names of the settings that the user gave.
        defaults: of the recipe, where they differ from those of task, methods and experiment.
        """
        self.task_name, self.settings = task, settings
        own = own_defaults(type(settings))
        self.given = frozenset(name for name in given if name not in own or getattr(settings, name) is not None)
        self.defaults, self._recipe = {**shortest(self.given), **defaults}, dict(defaults)
        self.folder = Path(settings.output_dir)
        self.resources = Resources(
            processes=settings.num_processes,
            cpus=settings.run_cpus,
            gpus=settings.run_gpus,
            at_once=settings.runs_at_once,
        )
        self.runs: list[PlannedRun] = []
        self.outcomes: list[RunOutcome] = []
        self.main_process = is_first()

    def check_folder(self) -> None:
        """Refuse a folder of another experiment, or of something else. Raises SettingsError."""
        if not self.folder.exists():
            return
        path = self.folder / "settings.json"
        if not self.folder.is_dir() or (_other_files(self.folder) and not (self.folder / "runs").is_dir()):
            raise SettingsError(
                f"--output_dir {self.folder}: holds files other than a {self.what}'s. Name another folder."
            )
        if path.is_file() and not self.settings.overwrite_output_dir:
            before, now = read_json(path), self._recorded()
            ignored = {*self.growing, "defaults"}  # of which the settings have the values
            changed = sorted(k for k in now if k not in ignored and before.get(k) != now[k])
            if changed:
                shown = ", ".join(f"{name} (there {before.get(name)!r}, now {now[name]!r})" for name in changed[:5])
                raise SettingsError(
                    f"--output_dir {self.folder}: holds another {self.what}, which differs in {shown}. Name another "
                    "folder, or add --overwrite_output_dir: runs that match are kept."
                )

    def _recorded(self) -> dict[str, Any]:
        given = sorted(self.given - self.growing)
        return {
            "task": self.task_name,
            **arguments.as_dict(self.settings),
            "given": given,
            "defaults": self._recipe,
        }

    def begin(self) -> None:
        """Write down what the experiment is; with --overwrite_output_dir, forget which trials failed."""
        (self.folder / "runs").mkdir(parents=True, exist_ok=True)  # by it the folder is known again
        write_json(self.folder / "settings.json", self._recorded())
        if self.settings.overwrite_output_dir:
            for failed in (self.folder / "runs").glob("*.failed"):
                failed.unlink()
        if (least := self.defaults.get("min_train_steps")) is not None:
            say(
                f"each training has at least {least} steps, so that few examples are enough (--min_train_steps, "
                "--num_train_epochs or --max_train_steps change that)"
            )

    def settings_of_run(self, kind: Any, of_method: Mapping[str, Any], varied: Mapping[str, Any]) -> Any:
        """Settings of a run: its method's own defaults, the recipe's, the given ones, and what this run varies.

        Args:
            kind: class of the settings.
            of_method: its defaults on the base.
            varied: what differs between runs.
        """
        names = {field.name for field in dataclasses.fields(kind)}
        recipe = {name: value for name, value in self.defaults.items() if name in names}
        given = {name: getattr(self.settings, name) for name in self.given & names}
        return kind(**{**of_method, **recipe, **given, **varied})

    @abstractmethod
    def plan(self) -> list[PlannedRun]:
        """Every run, in the order of the table."""

    @abstractmethod
    def search(self) -> bool:
        """Choose settings on dev, where that is wanted; False where a scheduler has yet to run trials."""

    def run_all(self) -> None:
        """Let the launcher run the unfinished runs; a failure is recorded and the others continue."""
        if not self.main_process:
            return
        self.begin()
        if self.search():
            self.runs = self.plan()
            self.outcomes = self.launch(self.runs)

    def launch(self, runs: Sequence[PlannedRun]) -> list[RunOutcome]:
        """Let the launcher run the unfinished runs; empty where they were left to a scheduler."""
        return launchers.launch(self.settings.launcher, runs, self.folder, self.resources)

    def ended(self) -> tuple[list[RunOutcome], list[tuple[str, str]]]:
        """The runs that succeeded; name and reason of those that failed. Raises ComparisonError where all did."""
        done = [outcome for outcome in self.outcomes if not outcome.error]
        failures = [(outcome.run.name, outcome.error) for outcome in self.outcomes if outcome.error]
        if not done:
            raise ComparisonError("Every run failed. The first: " + failures[0][1])
        return done, failures


def given_of(
    argv: Sequence[str], settings: Any, defaults: Mapping[str, Any]
) -> tuple[Collection[str], Mapping[str, Any]]:
    """Names of the settings that the user gave, and the recipe's defaults.

    Where `argv` is the settings.json of an experiment, they are those that it records, and what was changed in it: each
    method takes what was not given from its own defaults.
    """
    recorded = flags.read_file(Path(argv[0])) if settings_files.is_file(argv) else {}
    given, recipe = recorded.get("given"), recorded.get("defaults")
    if not isinstance(given, list) or not isinstance(recipe, dict):
        return flags.given(argv), defaults
    usual = arguments.as_dict(type(settings)(**recipe))
    return {*given, *(name for name, value in arguments.as_dict(settings).items() if value != usual[name])}, recipe


def _other_files(folder: Path) -> bool:
    """Whether a folder contains anything but data that was given in memory."""
    return any(path.name != DATA for path in folder.iterdir())
