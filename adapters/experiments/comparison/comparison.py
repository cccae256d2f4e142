"""A comparison from settings: checked at once, its runs given to a launcher, its table at the end."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core import arguments, discovery, flags
from adapters.core.errors import DataError, ModelError, SettingsError, UserError, numbered, verb
from adapters.core.files import digest_file, digest_value
from adapters.core.progress import say
from adapters.core.settings import CommonSettings, check_tracking, join, join_methods, lasting, require
from adapters.evaluation.documents import chosen_units
from adapters.evaluation.metrics.base.metric import task_metrics
from adapters.experiments.comparison import exported, output, results
from adapters.experiments.comparison.result import ComparisonResult
from adapters.experiments.comparison.settings import GROWING, CompareSettings, check_advice, check_exports, check_tuning
from adapters.experiments.comparison.verdict import resampled_sentence
from adapters.experiments.many_runs import launchers, spaces, tuners, tuning
from adapters.experiments.many_runs.experiment import Experiment, given_of
from adapters.experiments.many_runs.planned_run import PlannedRun
from adapters.experiments.many_runs.record import Record
from adapters.experiments.method_defaults import method_defaults
from adapters.methods.base.method import Method, all_settings, load_method

if TYPE_CHECKING:
    from adapters.core.search_space import Space
    from adapters.tasks.base.task import Task

LIMITS = ("max_train_samples", "max_eval_samples", "max_predict_samples")


class Comparison(Experiment):
    """One comparison: `check`, `run_all`, `save_and_print`."""

    what = "comparison"
    growing = GROWING

    def __init__(
        self, doc: str | None, *, task: str, defaults: Mapping[str, Any], argv: Sequence[str] | None = None
    ) -> None:
        """Read the settings. Raises SettingsError.

        Args:
            doc: the recipe's docstring, shown by --help.
            task: name of the task.
            defaults: differences from the defaults of task, methods and comparison.
            argv: the flags; None takes those of the process.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        self.plugins = flags.peek(argv, "plugin_dir")
        self.task_settings = discovery.load("tasks", task, self.plugins).Settings
        common = join(CommonSettings, self.task_settings)
        kind = join_methods(common, all_settings(task, self.plugins), CompareSettings)
        settings = arguments.parse(kind, defaults, (doc or "").strip(), argv)
        super().__init__(task, settings, *given_of(argv, settings, defaults))
        if settings.full:
            self.defaults = {name: value for name, value in self.defaults.items() if name not in LIMITS}
        self.searches: list[tuning.Search] = []
        self.chosen: dict[tuple[str, str], Mapping[str, Any]] = {}
        """Settings that the searches chose, by method and base."""
        self.left_out: frozenset[tuple[str, str]] = frozenset()
        """Methods that are not run, with their base."""
        self.contents: Mapping[str, Any] = {}
        """Digest of each split's data; none until `check` has read them."""
        self.kinds = dict[str, Any]()
        """The settings class of each method's runs, once it is made."""
        self.dev = 0
        """Dev examples that settings are chosen on."""

    def check(self) -> None:
        """Refuse what cannot work before anything is trained. Raises UserError."""
        from adapters.evaluation.evaluate import overlap
        from adapters.models.base_model import quiet_libraries
        from adapters.tasks.base import examples
        from adapters.tasks.base.reading import tell

        settings = self.settings
        require(settings.seeds >= 1, "seeds", settings.seeds, "at least 1")
        check_tracking(settings, self.given)
        check_advice(settings)
        check_tuning(settings)
        check_exports(settings)
        launchers.check(settings.launcher, self.resources)
        require(bool(settings.methods), "methods", "", "names of methods")
        for size in settings.train_sizes:
            require(size == "all" or (size.isdecimal() and int(size) > 0), "train_sizes", size, "numbers, or all")
        for what in settings.redraw:
            require(what == "train", "redraw", what, "train")
            drawn = "all" not in settings.train_sizes and bool(settings.train_sizes or self._train_limit)
            needed = "given with --max_train_samples, or with numbers as --train_sizes, of which each seed draws others"
            require(drawn, "redraw", what, needed)
        self.runs = self.plan()
        self.check_folder()
        quiet_libraries()
        varied: dict[str, Any] = {"max_train_samples": None} if settings.train_sizes else {}
        if settings.redraw:
            varied = self._varied(settings.model_name_or_path, 0, self.largest_size)  # whether it can be drawn
        task, found, _ = examples.read_splits(self.task_name, self._settings_of(settings.methods[0], varied))
        self._check_sizes(len(found.get("train", ())))
        tell(found)
        self.contents = {name: split.notes.get("digest") for name, split in found.items()}
        name = "test" if "test" in found else "validation"
        if not len(found.get(name, ())):
            raise DataError(f"the {name} split has no examples; there is nothing to score.")
        units = chosen_units(found[name].documents(), settings.resample)
        if not units.enough:
            say(f"warning: {resampled_sentence(units.record())}")
        self._check_methods(task)
        self.runs = self.plan()
        if any(search.space for search in self.searches):
            self._check_dev(len(found.get("validation", ())))
        task_metrics(task, settings.metrics, self.plugins, allow_hub=settings.trust_remote_code)
        shared = overlap(found[name], found.get("train", ()))
        if shared["count"] and settings.forbid_overlap:
            first = shared["first"][0]
            raise DataError(
                f"--forbid_overlap: {numbered(shared['count'], 'examples')} of {name} "
                f"{verb(shared['count'], 'are')} in train too, the first "
                f"{first['test']} as {first['train']}. Remove them, or leave the flag out."
            )

    def _check_dev(self, examples: int) -> None:
        """Raises DataError where dev is too small to choose settings by."""
        if examples < tuning.FEWEST:
            raise DataError(
                f"dev has {numbered(examples, 'examples')}; at least {tuning.FEWEST} are needed to choose settings "
                "by. Give a "
                "larger --validation_file or --validation_split_percentage, or --tuning_trials 0 for default settings."
            )
        self.dev = examples

    def _check_methods(self, task: Task) -> None:
        """Leave out the default methods that do not do the task on their base, and make the others' searches.

        Raises ModelError where one that was named does not, or none.
        """
        from adapters.models.base_model import open_base

        path, refused = self.settings.search_space, dict[tuple[str, str], ModelError]()
        files = spaces.read(path, self.settings.methods) if path else {}
        for name, base in dict.fromkeys((run.method, run.base) for run in self.runs):
            method = load_method(name, self.plugins)(self._settings_of(name, {}))
            on: Any = open_base(base) if method.needs_base else None
            own = task if on is None else task.on(on.kind)
            try:
                method.check(on, own)
            except ModelError as error:
                if "methods" in self.given:
                    raise
                refused[name, base] = error
                continue
            if self.settings.tuning_trials:
                self.searches.append(self._search(name, base, on, own, files.get(name)))
        say(*(f"left out: {name}: {reason}" for (name, _), reason in refused.items()))
        self.left_out = frozenset(refused)
        if refused and not self.plan():
            raise next(iter(refused.values()))

    def _search(self, method: str, base: str, on: Any, task: Task, of_file: Space | None) -> tuning.Search:
        """The search for a method's settings, each value of its space checked. Raises SettingsError.

        Args:
            method: its name.
            base: as the user named it.
            on: the base, opened; None for a method without one.
            task: on this base.
            of_file: the space that the user wrote for it; None takes its own.
        """
        kind, settings = load_method(method, self.plugins), self.settings

        def check(changes: Mapping[str, Any]) -> None:
            kind(self._settings_of(method, {**changes, "model_name_or_path": base, "trial": True})).check(on, task)

        def fits(changes: Mapping[str, Any]) -> bool:
            try:
                check(changes)
            except UserError:
                return False
            return True

        def remark(line: str) -> None:
            say(f"search space of {method}: {line}")

        declared = kind.search_space(self.task_name, self.plugins) if of_file is None else of_file
        drawn_anew = {"shot_seed"} if settings.redraw else set()
        space, taken = spaces.free(declared, self.given | drawn_anew)
        if taken:
            remark(f"{', '.join(taken)} not searched, as given")
        if of_file is not None:
            own = type(self._settings_of(method, {}))
            space = spaces.of_file(space, own, check, f"--search_space {settings.search_space}: [{method}]")
        else:
            space = spaces.of_method(space, check, remark)
        budgeted = settings.tuning_seconds is not None or settings.tuning_tokens is not None
        most = tuning.MOST_TRIALS if budgeted else settings.tuning_trials
        return tuning.Search(method, base, space, tuners.tuner(settings.tuner, space, settings.seed, most - 1, fits))

    def _dev_examples(self, method: type[Method]) -> int:
        """Dev examples that a trial of a method is scored on: few of one that only prompts, as each takes long."""
        return self.dev if method.trains else min(self.settings.tuning_prompt_samples, self.dev)

    def trial(self, method: str, base: str, changes: Mapping[str, Any], fraction: float) -> PlannedRun:
        """The run of a trial, on the largest training size."""
        kind = load_method(method, self.plugins)
        size = self.largest_size if kind.trains else ""
        varied: dict[str, Any] = {**changes, "trial": True}
        if not kind.trains:
            varied["max_eval_samples"] = self._dev_examples(kind)
        if fraction < 1:
            own = self._settings_of(method, {**self._varied(base, tuning.SEED, size), **varied})
            varied |= kind.shortened(own, fraction)
        planned = self._planned(method, base, tuning.SEED, size, varied)
        return dataclasses.replace(planned, size="", rung=f"trials, {tuning.length_in_words(fraction)}")

    def plan(self) -> list[PlannedRun]:
        """Every run, in the order of the table. Raises SettingsError for an unknown method."""
        settings, runs = self.settings, []
        prompted = settings.prompt_model_name_or_path or settings.model_name_or_path
        for name in dict.fromkeys(settings.methods):
            method = load_method(name, self.plugins)
            base = (settings.model_name_or_path if method.trains else prompted) if method.needs_base else ""
            chosen = self._settings_of(name, self.chosen.get((name, base), {}))
            moved = method.moved_by_seed(chosen) or (method.reads_train and bool(settings.redraw))
            for size in settings.train_sizes if method.trains and settings.train_sizes else [""]:
                runs += [self._planned(name, base, seed, size) for seed in range(settings.seeds if moved else 1)]
        for name in dict.fromkeys(settings.also_on_prompt_base):
            needed = name in settings.methods and load_method(name, self.plugins).needs_base
            if needed and prompted != settings.model_name_or_path:
                runs.append(self._planned(name, prompted, 0, self.largest_size))
        return [run for run in runs if (run.method, run.base) not in self.left_out]

    def search(self) -> bool:
        """Let each method search its settings on dev; False where a scheduler has yet to run trials."""
        settings = self.settings
        done = tuning.run(
            self.searches,
            self.trial,
            self.launch,
            trials=settings.tuning_trials,
            seconds=settings.tuning_seconds,
            tokens=settings.tuning_tokens,
        )
        for search in self.searches if done else ():
            self.chosen[search.method, search.base] = search.chosen().settings
            say(search.sentence())
        return done

    def _tuning(self, method: str, base: str) -> dict[str, Any] | None:
        """The search of a method on a base, as JSON; None without one."""
        for search in self.searches:
            if (search.method, search.base) == (method, base) and search.searched:
                settings = self._settings_of(method, {**search.chosen().settings, "model_name_or_path": base})
                dev = self._dev_examples(load_method(method, self.plugins))
                return {**search.record(spaces.values(settings, search.space)), "dev_examples": dev}
        return None

    def save_and_print(self) -> ComparisonResult | None:
        """Write the comparison's files and print it; None where another process or Slurm does the runs.

        Raises ComparisonError where every run failed; some that failed are in the result.
        """
        if not self.outcomes:
            return None
        done, failures = self.ended()
        exports = exported.of_runs(done, self.settings.exports)
        records = []
        for outcome in done:
            records.append((outcome.run.row, Record.load(outcome.folder)))
            records += [(outcome.run.row, Record.load(folder)) for folder in exports.get(outcome.folder, ())]
        results.check_alike([record for _, record in records], allow_different=True)
        tuned = {row: self._tuning(*row) for row in dict.fromkeys(row[:2] for row, _ in records)}
        grouped: dict[tuple[Any, ...], list[Record]] = {}
        for row, record in records:
            grouped.setdefault((row, record.scores["method"]), []).append(record)
        rows = [
            results.Row(
                method=method,
                base=own[0].scores["base"],
                size=row[2],
                records=own,
                planned=sum(outcome.run.row == row for outcome in self.outcomes),
                tuning=tuned[row[:2]],
            )
            for (row, method), own in grouped.items()
        ]
        output.save_and_print(
            rows,
            self.folder,
            command=arguments.command_line(),
            settings=arguments.as_dict(self.settings),
            failures=failures,
            margin=self.settings.margin / 100,
            cost=self.settings.cost,
            resample=self.settings.resample,
            seed=self.settings.seed,
        )
        say(f"\nwritten to {self.folder}/comparison.html, .md, .svg and .json")
        return ComparisonResult.read(self.folder)

    def _planned(
        self, method: str, base: str, seed: int, size: str, changes: Mapping[str, Any] | None = None
    ) -> PlannedRun:
        """A run, with the settings that the method's search chose, or with the given changes."""
        changes = self.chosen.get((method, base), {}) if changes is None else changes
        settings = self._settings_of(method, {**changes, **self._varied(base, seed, size)})
        own = {"task": self.task_name, "method": method, **lasting(arguments.as_dict(settings))}
        path = Path(str(own.get("prompt", "")))
        prompt = digest_file(path) if path.is_file() else ""
        depends = digest_value([self.contents, self._code, prompt])
        return PlannedRun(method=method, base=base, seed=seed, size=size, settings=own, data=depends)

    @cached_property
    def _code(self) -> str:
        """What runs depend on besides settings and data: our version, and the files of plugins, read once."""
        return discovery.files_version(self.plugins)

    def _varied(self, base: str, seed: int, size: str) -> dict[str, Any]:
        """What runs of one method differ in."""
        varied: dict[str, Any] = {"model_name_or_path": base, "seed": seed}
        if size:
            varied["max_train_samples"] = None if size == "all" else int(size)
        if self.settings.redraw and (size or self._train_limit):  # else a prompt's shots are drawn from all of train
            varied["train_draw"] = seed
        return varied

    def _check_sizes(self, examples: int) -> None:
        """Raises SettingsError for training sizes that are no sizes of their own.

        Args:
            examples: that there are to learn from.
        """
        sizes = self.settings.train_sizes
        for size in (size for size in sizes if size != "all"):
            if int(size) > examples:
                raise SettingsError(f"--train_sizes {size}: there are {examples:,} training examples; say all.")
            if int(size) == examples and "all" in sizes:
                raise SettingsError(f"--train_sizes {size} all: {size} are all training examples; give one of them.")
            if sizes.count(size) > 1:
                raise SettingsError(f"--train_sizes {' '.join(sizes)}: {size} is given twice.")

    @property
    def largest_size(self) -> str:
        """The largest of the training sizes; empty where there are none."""
        sizes = self.settings.train_sizes
        return "all" if "all" in sizes else max(sizes, key=int, default="")

    @property
    def _train_limit(self) -> int | None:
        """The number of training examples of runs without a size of their own."""
        name = "max_train_samples"
        limit: int | None = getattr(self.settings, name) if name in self.given else self.defaults.get(name)
        return limit

    def _settings_of(self, method: str, varied: Mapping[str, Any]) -> Any:
        """Settings of a run of one method, checked."""
        if method not in self.kinds:
            own = discovery.load("methods", method, self.plugins).Settings
            self.kinds[method] = join(CommonSettings, self.task_settings, own)
        of_method = method_defaults(self.task_name, method, varied.get("model_name_or_path"), self.plugins)
        settings = self._lengthened(self.settings_of_run(self.kinds[method], of_method, varied), varied)
        settings.check()
        return settings

    def _lengthened(self, settings: Any, varied: Mapping[str, Any]) -> Any:
        """Settings of a run whose number of epochs a search has chosen: its least number of steps is in proportion.

        Else all lengths would be the same on few examples, where each is below the least number.
        """
        least = settings.min_train_steps
        if "num_train_epochs" not in varied or "min_train_steps" in varied or "min_train_steps" not in self.defaults:
            return settings
        kind = type(settings)
        usual = self.defaults.get("num_train_epochs", kind.__dataclass_fields__["num_train_epochs"].default)
        return dataclasses.replace(settings, min_train_steps=max(round(least * settings.num_train_epochs / usual), 1))
