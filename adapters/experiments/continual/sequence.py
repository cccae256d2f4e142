"""A sequence of tasks: the data of each, and what an answer may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core import arguments, discovery, flags
from adapters.core.errors import DataError, ModelError, SettingsError, UserError, did_you_mean
from adapters.core.settings import DataSettings, join
from adapters.data.splits import shown
from adapters.evaluation.evaluate import split_digest
from adapters.evaluation.metrics.base.metric import Metric, main_metric
from adapters.experiments.data_set_file import flags_of_file
from adapters.tasks.base.example import Examples
from adapters.tasks.base.examples import read_splits
from adapters.tasks.base.task import Task

TASK_INCREMENTAL, DOMAIN_INCREMENTAL, CLASS_INCREMENTAL = SCENARIOS = (
    "task-incremental",
    "domain-incremental",
    "class-incremental",
)
"""The task of an example is known, and only its labels are possible; all tasks have the same labels; or the task is not
known, and all labels learned so far are possible (van de Ven & Tolias 2019, arXiv:1904.07734)."""


ALL_TASKS, ROUTER = "all_tasks", "router"
"""What is published besides the tasks' adapters: the adapter of a model whose tasks share outputs; the router."""
RESERVED = (ALL_TASKS, ROUTER, "auto")


@dataclass(frozen=True, kw_only=True)
class SequenceTask:
    """One task of a sequence.

    Attributes:
        name: in tables, and of its adapter.
        task: with its own labels.
        splits: train, validation, and test where there is one.
        metric: its main one, of its own labels.
    """

    name: str
    task: Task
    splits: Mapping[str, Examples]
    metric: Metric

    @property
    def train(self) -> Examples:
        """Training examples."""
        return self.splits["train"]

    @property
    def dev(self) -> Examples:
        """Dev examples."""
        return self.splits["validation"]

    def scored(self, *, trial: bool = False) -> Examples:
        """What final scores are of: test, or dev where there is none, and for a trial."""
        return self.splits["validation" if trial or "test" not in self.splits else "test"]

    def record(self, *, trial: bool = False) -> dict[str, Any]:
        """As JSON."""
        scored = self.scored(trial=trial)
        return {
            "n_train": len(self.train),
            "n_dev": len(self.dev),
            "n_test": len(scored),
            "split": shown(scored.name),
            "labels": len(self.task.labels),
            "label_names": list(self.task.labels.names),
            "digest": split_digest(scored),
            "train_digest": split_digest(self.train),
            "metric": self.metric.name,
            "score": self.metric.main,
            "documents": "" not in scored.documents(),
        }


def names_of(paths: Sequence[str]) -> dict[str, Path]:
    """The .toml of each task by its name, the name of the file. Raises SettingsError where two have the same."""
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.stem in RESERVED:
            raise SettingsError(f"--tasks {path}: a task cannot be called {', '.join(RESERVED)}. Rename the file.")
        if path.stem in found:
            raise SettingsError(
                f"--tasks {path}: another task is called {path.stem} ({found[path.stem]}). Scores and adapters are "
                "kept by name: rename one file."
            )
        found[path.stem] = path
    return found


def task_of(path: Path) -> str:
    """The kind of task in a .toml. Raises SettingsError."""
    settings = flags.read_file(path)
    if "task" not in settings:
        raise SettingsError(f'{path}: task is missing; add a line such as task = "classification".')
    return str(settings["task"])


def read_task(name: str, path: Path, task: str, common: Any, given: Collection[str]) -> SequenceTask:
    """Read the data of a task. Raises UserError, which names the task.

    Args:
        name: of the task.
        path: of its .toml.
        task: kind of task that the whole sequence has.
        common: settings of the run; what a .toml does not say is as they say.
        given: names of settings that were given for all tasks; they replace those of the .toml.
    """
    try:
        if task_of(path) != task:
            raise SettingsError(f"{path}: is of the task {task_of(path)}, others are of {task}; all must be the same.")
        own = discovery.load("tasks", task, common.plugin_dir).Settings
        kind = join(DataSettings, own)
        names = {field.name for field in dataclasses.fields(kind)}
        file_only = set(flags.read_file(path)) - names - {"task"}
        if file_only:
            unknown = sorted(file_only)[0]
            raise SettingsError(
                f"{path}: {unknown}: a task's file says which data, and how they are read: "
                f"{did_you_mean(unknown, names)} Give settings of the training as flags."
            )
        words = flags_of_file(path, {*given, "task"})
        settings = arguments.parse(kind, {one: getattr(common, one) for one in names}, "", words)
        settings.check()
        found, splits, _ = read_splits(task, settings)
        if "train" not in splits:
            raise DataError("There is no training split: give train_file.")
        check_learnable(found)
        metric = main_metric(found.metrics[0], found.labels.names, common.plugin_dir)
    except UserError as error:
        raise type(error)(f"{name}: {error}") from error
    return SequenceTask(name=name, task=found, splits=splits, metric=metric)


def check_learnable(task: Task) -> None:
    """Raises ModelError unless answers are labels, of which a head can have ever more."""
    if getattr(task, "weights", None) is not None:
        raise SettingsError(
            "class_weights: not with a sequence of tasks, which weighs all classes alike. Leave it out."
        )
    several = getattr(task, "multi_label", False)
    outputs = task.config().get("num_labels", 0)
    if several or not outputs or outputs != len(task.labels) or task.target_type != "int32":
        what = "several labels" if several else "several outputs for each label" if len(task.labels) else "no labels"
        raise ModelError(
            f"a sequence learns tasks whose answer is a label, or a tag for each word; an answer of {task.name} has "
            f"{what} here. Use classification (one label) or ner."
        )


def orders_of(given: Sequence[str], names: Sequence[str], *, seed: int = 0) -> list[list[str]]:
    """The orders in which tasks are learned: those that are spelled out, or a number of them.

    Raises SettingsError for an order that names an unknown task, leaves one out, has one twice, or is given twice.

    Args:
        given: orders of names with slashes between them; or one number, of the given order and random others.
        names: of the tasks.
        seed: of random orders.
    """
    import math
    import random

    if not given:
        return [list(names)]
    if len(given) == 1 and given[0].isdecimal():
        wanted = int(given[0])
        possible = math.factorial(len(names))
        if not 1 <= wanted <= possible:
            raise SettingsError(f"--orders {wanted}: must be from 1 to {possible:,}, all orders of {len(names)} tasks.")
        orders, generator = [list(names)], random.Random(f"orders/{seed}")
        while len(orders) < wanted:
            drawn = generator.sample(names, len(names))
            orders += [] if drawn in orders else [drawn]
        return orders
    out = []
    for order in given:
        own = order.split("/")
        for name in own:
            if name not in names:
                raise SettingsError(f"--orders {order}: no task is called {name!r}: {did_you_mean(name, names)}")
        if sorted(own) != sorted(names):
            raise SettingsError(f"--orders {order}: must name each task once: {'/'.join(names)}.")
        if own in out:
            raise SettingsError(f"--orders {order}: is given twice; its runs would be the same. Use --seeds for more.")
        out.append(own)
    return out


def check_scenario(scenario: str, tasks: Sequence[SequenceTask], say: Callable[[str], None]) -> None:
    """Say which labels several tasks share. Raises SettingsError, DataError where tasks do not fit a scenario."""
    if scenario not in SCENARIOS:
        raise SettingsError(f"--scenario {scenario}: {did_you_mean(scenario, SCENARIOS)}")
    first = tasks[0]
    for number, one in enumerate(tasks):
        own = one.task.label_names()
        if scenario == DOMAIN_INCREMENTAL and set(own) != set(first.task.label_names()):
            differing = sorted(set(own) ^ set(first.task.label_names()))
            raise DataError(
                f"--scenario {scenario}: all tasks must have the same labels; {first.name} and {one.name} differ in "
                f"{', '.join(differing[:5])}. Use {CLASS_INCREMENTAL} or {TASK_INCREMENTAL}."
            )
        for other in tasks[:number] if scenario != DOMAIN_INCREMENTAL else ():
            shared = sorted(set(own) & set(other.task.label_names()))
            if shared:
                means = (
                    "each task has an output of its own for it" if scenario == TASK_INCREMENTAL else "it is one label"
                )
                say(f"{scenario}: {other.name} and {one.name} both have the label {', '.join(shared[:5])}: {means}")
