"""Strategies compared on a sequence of tasks: checked at once, their runs given to a launcher, one page at the end."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core import arguments, discovery, flags, settings_files
from adapters.core.errors import ModelError, SettingsError, numbered
from adapters.core.files import digest_value
from adapters.core.progress import say
from adapters.core.search_space import Space
from adapters.core.settings import INCIDENTAL, lasting, require
from adapters.experiments.continual import settings as own_settings
from adapters.experiments.continual.sequence import (
    ROUTER,
    SequenceTask,
    check_scenario,
    names_of,
    orders_of,
    read_task,
    task_of,
)
from adapters.experiments.continual.strategies.base.strategy import Strategy
from adapters.experiments.data_set_file import flags_of_file
from adapters.experiments.many_runs import launchers, tuners, tuning
from adapters.experiments.many_runs.experiment import Experiment, given_of
from adapters.experiments.many_runs.experiment_settings import LAUNCHING
from adapters.experiments.many_runs.planned_run import PlannedRun
from adapters.experiments.method_defaults import method_defaults
from adapters.experiments.run import DryRunEnded
from adapters.methods.base.method import load_method

GROWING = frozenset(
    {
        *("methods", "strategies", "orders", "seeds", "tuning_trials", "tuner", "margin", "num_processes"),
        *LAUNCHING,
        *INCIDENTAL,
    }
)
"""Settings that may change when a comparison resumes: its finished runs stay valid."""


@dataclass(frozen=True)
class Condition:
    """A strategy with a method: a row of the table."""

    strategy: str
    method: str

    @property
    def name(self) -> str:
        """In tables and of folders."""
        return f"{self.strategy}-{self.method}"


class Continual(Experiment):
    """Strategies on a sequence: `check`, `run_all`, `save_and_print`."""

    what = "sequence of tasks"
    growing = GROWING

    def __init__(
        self, doc: str | None, *, task: str, defaults: Mapping[str, Any], argv: Sequence[str] | None = None
    ) -> None:
        """Read the settings. Raises SettingsError.

        Args:
            doc: shown by --help.
            task: kind of task of the sequence; empty to take it from the first task's file.
            defaults: differences from the defaults.
            argv: flags, or one settings file; None takes those of the process.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        if settings_files.is_file(argv) and argv[0].lower().endswith(".toml"):
            argv = flags_of_file(Path(argv[0]), {"task"})
        self.plugins = flags.peek(argv, "plugin_dir")
        paths = flags.peek(argv, "tasks")
        if not task and not flags.asks_for_help(argv):
            if not paths:
                self._check_flags(argv)
                raise SettingsError("--tasks is missing: name a .toml of each task of the sequence.")
            task = task_of(Path(paths[0]))
        task = task or "classification"
        settings = arguments.parse(own_settings.all_settings(task, self.plugins), defaults, (doc or "").strip(), argv)
        super().__init__(task, settings, *given_of(argv, settings, defaults))
        self.searches: dict[Condition, tuning.Search] = {}
        self.chosen: dict[Condition, Mapping[str, Any]] = {}
        self.conditions: list[Condition] = []
        self.orders: list[list[str]] = []
        self.tasks: dict[str, SequenceTask] = {}

    def _check_flags(self, argv: Sequence[str]) -> None:
        """Raises SettingsError for a flag that no task has: a better reason than that there is no task."""
        found: list[SettingsError] = []
        names = discovery.names("tasks", self.plugins)
        for name in names:
            try:
                arguments.parse(own_settings.all_settings(name, self.plugins), {}, "", argv)
            except SettingsError as error:
                found.append(error)
        if len(found) == len(names):
            raise found[0]

    # before anything runs --------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Refuse what cannot work before anything is trained. Raises UserError."""
        from adapters.models.base_model import open_base, quiet_libraries
        from adapters.tasks.base.reading import tell

        settings = self.settings
        own_settings.check(settings)
        launchers.check(settings.launcher, self.resources)
        self.paths = {name: path.absolute() for name, path in names_of(settings.tasks).items()}
        require(len(self.paths) >= 2, "tasks", " ".join(settings.tasks), "two tasks or more")
        self.orders = orders_of(settings.orders, [*self.paths], seed=settings.seed)
        self.conditions = self._conditions()
        self.check_folder()
        quiet_libraries()
        common = self._settings_of(self.conditions[0], {})
        for name, path in self.paths.items():
            self.tasks[name] = read_task(name, path, self.task_name, common, self.given)
            say(f"{name}:")
            tell(self.tasks[name].splits)
        check_scenario(settings.scenario, [*self.tasks.values()], say)
        base, fitting = open_base(settings.model_name_or_path), []
        for condition in self.conditions:
            method = load_method(condition.method, self.plugins)(self._settings_of(condition, {}))
            try:
                strategy_of(condition, self.plugins).check(type(method), settings.scenario)
                strategy_of(condition, self.plugins)(self._settings_of(condition, {}))
                method.check(base, self.tasks[self.orders[0][0]].task.on(base.kind))
            except ModelError as error:
                if len(self.conditions) == 1:
                    raise
                say(f"left out: {condition.strategy} with {condition.method}: {error}")
                continue
            same = strategy_of(condition, self.plugins).same_training(type(method))
            if same and Condition(same, condition.method) in self.conditions:
                say(
                    f"left out: {condition.strategy} with {condition.method}: {same} trains the same models, and its "
                    "row with the task identity is the same"
                )
                continue
            fitting.append(condition)
        if not fitting:
            raise SettingsError("--strategies: none of them fits --methods; see the lines above.")
        self.conditions = fitting
        if settings.tuning_trials:
            small = [one.name for one in self._first_two() if len(one.dev) < tuning.FEWEST]
            if small:
                raise SettingsError(
                    f"--tuning_trials {settings.tuning_trials}: dev of {small[0]} has fewer than {tuning.FEWEST} "
                    "examples, too few to choose by. Give a larger validation_file, or --tuning_trials 0."
                )
            self.searches = {condition: self._search(condition) for condition in fitting}
        self.runs = self.plan()
        if settings.dry_run:
            self._print_plan()
            raise DryRunEnded

    def _print_plan(self) -> None:
        """Print what would run."""
        names = ", ".join(f"{one.strategy} ({one.method})" for one in self.conditions)
        trials = sum(rung.trials for rung in tuning.rungs(self.settings.tuning_trials)) if self.searches else 0
        lines = [
            "dry run: nothing is written",
            f"tasks       {', '.join(self.tasks)} ({self.settings.scenario})",
            f"conditions  {names}",
            f"runs        {len(self.runs)}: {numbered(len(self.orders), 'orders')}, "
            f"{numbered(self.settings.seeds, 'seeds')}; at most "
            f"{numbered(trials * len(self.searches), 'trials')} before them",
        ]
        if self.main_process:
            print("\n".join(lines))

    def _conditions(self) -> list[Condition]:
        """Strategies with their methods, in order. Raises SettingsError for an unknown name."""
        found = []
        for given in self.settings.strategies:
            method, _, strategy = given.rpartition("/")
            discovery.load("strategies", strategy, self.plugins)
            for name in [method] if method else self.settings.methods:
                load_method(name, self.plugins)
                found.append(Condition(strategy, name))
        require(bool(found), "strategies", "", "names of strategies")
        return list(dict.fromkeys(found))

    def _first_two(self) -> list[SequenceTask]:
        """The tasks that settings are chosen on."""
        return [self.tasks[name] for name in self.orders[0][:2]]

    def _search(self, condition: Condition) -> tuning.Search:
        """The search for a condition's settings: the method's learning rate, and what is the strategy's own."""
        kind = load_method(condition.method, self.plugins)
        rates = {k: v for k, v in kind.search_space(self.task_name, self.plugins).items() if k == "learning_rate"}
        space: Space = {**rates, **strategy_of(condition, self.plugins).search_space()}
        free = {name: dimension for name, dimension in space.items() if name not in self.given}
        proposals = tuners.tuner(
            self.settings.tuner, free, self.settings.seed, self.settings.tuning_trials - 1, lambda _: True
        )
        return tuning.Search(condition.name, self.settings.model_name_or_path, free, proposals)

    # runs ------------------------------------------------------------------------------------------------------------

    def plan(self) -> list[PlannedRun]:
        """Every run, in the order of the table."""
        return [
            self._planned(condition, order, number, seed)
            for condition in self.conditions
            for number, order in enumerate(self.orders)
            for seed in range(self.settings.seeds)
        ]

    def trial(self, name: str, base: str, changes: Mapping[str, Any], fraction: float) -> PlannedRun:
        """The run of a trial: the first two tasks of the first order, scored on dev."""
        condition = next(one for one in self.conditions if one.name == name)
        varied: dict[str, Any] = {**changes, "trial": True, "publish": False}
        if fraction < 1:
            own = self._settings_of(condition, varied)
            varied |= load_method(condition.method, self.plugins).shortened(own, fraction)
        planned = self._planned(condition, self.orders[0][:2], 0, tuning.SEED, varied)
        return dataclasses.replace(planned, rung=f"trials, {tuning.length_in_words(fraction)}")

    def _planned(
        self,
        condition: Condition,
        order: Sequence[str],
        number: int,
        seed: int,
        changes: Mapping[str, Any] | None = None,
    ) -> PlannedRun:
        """One run: a condition, an order, a seed."""
        changes = self.chosen.get(condition, {}) if changes is None else changes
        paths = [str(self.paths[name]) for name in order]
        varied = {**changes, "seed": seed, "tasks": paths, "order_number": number}
        settings = self._settings_of(condition, varied)
        own = lasting(arguments.as_dict(settings))
        names = {"command": "continual", "task": self.task_name, "method": condition.method}
        given = sorted(self.given & set(own))
        return PlannedRun(
            method=condition.name,
            base=self.settings.model_name_or_path,
            seed=seed,
            size=f"order{number}",
            settings={**names, "strategy": condition.strategy, **own, "given": given},
            data=digest_value([self._data(), discovery.files_version(self.plugins)]),
        )

    def _data(self) -> list[Any]:
        return [
            [name, {split: found.notes.get("digest") for split, found in one.splits.items()}]
            for name, one in self.tasks.items()
        ]

    def _settings_of(self, condition: Condition, varied: Mapping[str, Any]) -> Any:
        """Settings of a run of a condition, checked."""
        kind = own_settings.run_settings(self.task_name, condition.method, condition.strategy, self.plugins)
        own = method_defaults(self.task_name, condition.method, self.settings.model_name_or_path, self.plugins)
        settings = self.settings_of_run(kind, own, varied)
        settings.check()
        return settings

    def search(self) -> bool:
        """Let each condition search its settings on dev; False where a scheduler has yet to run trials."""
        done = tuning.run([*self.searches.values()], self.trial, self.launch, trials=self.settings.tuning_trials)
        for condition, search in self.searches.items() if done else ():
            self.chosen[condition] = search.chosen().settings
            say(search.sentence())
        return done

    def save_and_print(self) -> dict[str, Any] | None:
        """Write the page and print the table; None where another process or Slurm does the runs.

        Raises ComparisonError where every run failed.
        """
        from adapters.experiments.continual import output, results

        if not self.outcomes:
            return None
        done, failures = self.ended()
        planned = len(self.orders) * self.settings.seeds
        conditions = []
        for condition in self.conditions:
            own = [results.load(outcome.folder) for outcome in done if outcome.run.method == condition.name]
            if own:
                conditions.append(results.ConditionRuns(records=own, planned=planned))
        summary = output.save_and_print(
            conditions,
            self.folder,
            command=arguments.command_line(),
            settings=arguments.as_dict(self.settings),
            failures=failures,
            margin=self.settings.margin / 100,
            seed=self.settings.seed,
        )
        say(f"\nwritten to {self.folder}/continual.html, .md, .svg and .json")
        if len(done) == 1 and self.settings.publish:
            published = sorted((done[0].folder / "published").iterdir())
            adapters = " ".join(
                f"--router {path}" if path.name == ROUTER else f"--adapter {path.name}={path}" for path in published
            )
            say(f"To serve: taskswap serve --base {self.settings.model_name_or_path} {adapters}")
            say(f"To learn one more task: taskswap continual --add TASK.toml {self.folder}")
        return summary


def strategy_of(condition: Condition, plugins: Sequence[str]) -> type[Strategy]:
    """The class of a condition's strategy."""
    found: type[Strategy] = discovery.load("strategies", condition.strategy, plugins).Strategy
    return found
