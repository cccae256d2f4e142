"""The settings of a sequence of tasks, and of a comparison of strategies on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.core import discovery
from adapters.core.settings import CommonSettings, join, join_methods, require
from adapters.experiments.continual.sequence import TASK_INCREMENTAL
from adapters.experiments.many_runs.experiment_settings import ExperimentSettings, check_experiment, check_margin
from adapters.methods.base.method import all_settings as all_methods


@dataclass(frozen=True, kw_only=True)
class SequenceSettings:
    """The tasks, and what is known of an example."""

    tasks: list[str] = field(default_factory=list)
    """The tasks in their order: a .toml each with task, train_file, … (paths from its folder), named as its file."""
    scenario: str = TASK_INCREMENTAL
    """task-incremental: an example's task is known, only its labels compete. domain-incremental: all tasks have the
    same labels. class-incremental: the task is not known, all labels learned so far compete."""
    order_number: int = 0
    """Number of this order among those that are compared; for the record."""
    routing: str = "mahalanobis"
    """How adapter_per_task finds the adapter of an example that does not name its task: means, mahalanobis or
    classifier, on the frozen base's features; none: not at all."""
    none_rate: float = 0.05
    """Share of dev texts that the published router may send to no task. What is scored is always sent to one."""
    publish: bool = True
    """Write an artifact for each task at the end, to be served, extended by --add, and rolled back."""
    num_train_epochs: float = 5.0
    """Number of epochs of each task."""
    max_tokens_per_batch: int = 256
    """Maximum tokens, padding included, in a training batch over all processes. Batches are formed by length."""


@dataclass(frozen=True, kw_only=True)
class ContinualSettings(SequenceSettings, ExperimentSettings):
    """Strategies that are compared on a sequence."""

    strategies: list[str] = field(default_factory=lambda: ["sequential", "joint", "adapter_per_task", "replay"])
    """Strategies, each with every one of --methods; full/replay: with this method."""
    methods: list[str] = field(default_factory=lambda: ["lora"])
    """Methods that strategies train by."""
    orders: list[str] = field(default_factory=list)
    """Orders of the tasks, by name with slashes between them: trec/agnews agnews/trec; or their number, the first one
    as given and the others random. Default: as given."""
    seeds: int = 1
    """Seeds of each order: 0, 1, …."""
    tuning_trials: int = 0
    """Settings that each strategy tries on dev of the first two tasks of the first order, its own among them, before it
    runs with the best; 0: none."""
    margin: float = 1.0
    """Points by which a strategy may score lower and still be called non-inferior."""


def run_settings(task: str, method: str, strategy: str, plugins: Sequence[str]) -> Any:
    """The class of the settings of one run."""
    parts = [
        discovery.load("tasks", task, plugins).Settings,
        SequenceSettings,
        discovery.load("methods", method, plugins).Settings,
        discovery.load("strategies", strategy, plugins).Settings,
    ]
    return join(CommonSettings, *parts)


def all_settings(task: str, plugins: Sequence[str]) -> Any:
    """The class of all settings of a comparison of strategies."""
    strategies = [
        discovery.load("strategies", name, plugins).Settings for name in discovery.names("strategies", plugins)
    ]
    common = join(CommonSettings, discovery.load("tasks", task, plugins).Settings)
    return join_methods(common, all_methods(task, plugins), *strategies, ContinualSettings)


def check(settings: Any) -> None:
    """Raises SettingsError for what is invalid."""
    require(0 <= settings.none_rate < 1, "none_rate", settings.none_rate, "from 0 to below 1")
    from adapters.serving.bank.router_kinds import KINDS  # it takes numpy and scipy, which --help can do without

    routings = (*KINDS, "none")
    require(settings.routing in routings, "routing", settings.routing, " or ".join(routings))
    needed = "left out: the trackers know nothing of tasks; each task's losses are in the run's log"
    require(not settings.with_tracking, "with_tracking", True, needed)
    require(settings.seeds >= 1, "seeds", settings.seeds, "at least 1")
    check_margin(settings.margin)
    check_experiment(settings)
