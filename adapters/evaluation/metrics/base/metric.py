"""Metrics: counts of each example, and scores of summed counts, so that 10,000 resamples are a matrix product."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from adapters.core import discovery
from adapters.core.errors import SettingsError
from adapters.evaluation.metrics.base.any_metric import AnyMetric, Section
from adapters.evaluation.metrics.base.hf_evaluate import is_script, load_script
from adapters.evaluation.metrics.base.resampled import ResampledMetric

MILLION = 1_000_000
"""Counts are whole numbers, so a share is counted in millionths."""


class Metric(AnyMetric):
    """What a file of this folder offers, as a class `Metric`.

    A metric never sees a whole split: it turns one example's gold and prediction into counts, and sums of counts into
    scores. Scores are shares between 0 and 1 (a correlation may be below 0, an error has the unit of the data), and nan
    where there was nothing to judge.
    """

    count_type: ClassVar[type[np.number[Any]]] = np.int64
    """Type of the counts: int64; float64 where they are sums of real numbers."""
    bounds: tuple[float, float] = (0.0, 1.0)
    """What the main score cannot leave; an interval does not, either."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: the label names of the task, in the model's order."""
        self.labels = tuple(labels)

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of counts for an example."""

    @abstractmethod
    def counts(self, gold: Any, prediction: Any) -> np.ndarray:
        """`[width]`, of `count_type`: the counts of one example."""

    @abstractmethod
    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """Scores by name, each `[...]`, of summed counts `[..., width]`."""

    @abstractmethod
    def sections(self, sums: np.ndarray) -> list[Section]:
        """The report of summed counts `[width]`.

        A task's main metric has, in its first section, a row for each class, then averages (`… avg`).
        """

    def details(self, golds: Sequence[Any], predictions: Sequence[Any]) -> list[Section]:
        """Further sections, of what sums of counts do not say (which label is confused with which)."""
        return []

    def count_all(self, golds: Sequence[Any], predictions: Sequence[Any]) -> np.ndarray:
        """`[examples, width]`, of `count_type`."""
        out = np.zeros((len(golds), self.width), dtype=self.count_type)
        for row, gold, prediction in zip(out, golds, predictions, strict=True):
            row[:] = self.counts(gold, prediction)
        return out

    def score_all(self, golds: Sequence[Any], predictions: Sequence[Any]) -> Mapping[str, float]:
        """Scores by name of all examples."""
        scores = self.scores(self.count_all(golds, predictions).sum(0))
        return {name: float(value) for name, value in scores.items()}


def load_metric(name: str, labels: Sequence[str], plugin_dirs: Sequence[str] = ()) -> AnyMetric:
    """The metric of that name for a label set. Raises SettingsError for an unknown name."""
    metric = discovery.load("metrics", name, plugin_dirs).Metric(labels)
    assert isinstance(metric, Metric | ResampledMetric), name
    return metric


def main_metric(name: str, labels: Sequence[str], plugin_dirs: Sequence[str] = ()) -> Metric:
    """As `load_metric`, for a task's main one. Raises SettingsError if it cannot be that."""
    metric = load_metric(name, labels, plugin_dirs)
    if not isinstance(metric, Metric) or metric.lower_is_better:
        raise SettingsError(
            f"The metric {name} cannot be the first one of a task: that one needs counts per example, for paired "
            "tests, and a score of which more is better. Name it among the others."
        )
    return metric


def task_metrics(
    task: Any, names: Sequence[str], plugin_dirs: Sequence[str] = (), *, allow_hub: bool = False
) -> list[AnyMetric]:
    """A task's own metrics, of which the first is a `Metric`, then further ones.

    Args:
        task: has `name`, `answer`, `metrics` and `labels`.
        names: of further metrics; also scripts of Hugging Face's `evaluate` (see `hf_evaluate`).
        plugin_dirs: folders of further plugins.
        allow_hub: whether such a script may come from the Hub (--trust_remote_code).

    Raises:
        SettingsError: an unknown name, a metric that compares other answers, a script that cannot be used.
    """
    labels = task.labels.names
    found: list[AnyMetric] = [main_metric(name, labels, plugin_dirs) for name in task.metrics[:1]]
    for name in [name for name in dict.fromkeys((*task.metrics, *names)) if name not in task.metrics[:1]]:
        if is_script(name):
            found.append(load_script(name, labels, task.answer, allow_hub=allow_hub))
        else:
            found.append(load_metric(name, labels, plugin_dirs))
    for metric in found:
        if metric.compares and task.answer not in metric.compares:
            raise SettingsError(
                f"--metrics {metric.name}: compares {' or '.join(metric.compares)}; {task.name} answers with "
                f"{task.answer or 'something else'}. Leave it out; the task's own are {', '.join(task.metrics)}."
            )
    twice = {metric.name for metric in found if sum(other.name == metric.name for other in found) > 1}
    if twice:
        raise SettingsError(f"--metrics: several metrics are called {', '.join(sorted(twice))}. Rename a folder.")
    return found


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Element-wise division, 0 where the denominator is 0, as in seqeval and scikit-learn by default."""
    out = np.zeros(np.broadcast(numerator, denominator).shape)
    np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)
    return out


def precision_recall_f1(hit: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, ...]:
    """Precision, recall and their harmonic mean of counts of any (equal) shape."""
    return ratio(hit, predicted), ratio(hit, gold), ratio(2 * hit, predicted + gold)


def macro_mean(values: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean of `[..., classes]` over the classes in gold or predictions, as in seqeval and scikit-learn."""
    return ratio(values.sum(-1), ((predicted + gold) > 0).sum(-1))


def averaged_rows(
    names: Sequence[str], hit: np.ndarray, predicted: np.ndarray, gold: np.ndarray, *, every_class: bool = False
) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Report rows (precision, recall, F1, support) of each class `[classes]`, then the three averages.

    With `every_class` the macro average is over all classes, else over those in gold or predictions.
    """
    table = np.stack([*precision_recall_f1(hit, predicted, gold), gold], axis=1)
    micro = [*map(float, precision_recall_f1(hit.sum(), predicted.sum(), gold.sum())), float(gold.sum())]
    macro = [*(table[:, :3].mean(0) if every_class else macro_mean(table[:, :3].T, predicted, gold)), gold.sum()]
    weighted = [*ratio((table[:, :3] * gold[:, None]).sum(0), gold.sum()), gold.sum()]
    averages = {"micro avg": micro, "macro avg": macro, "weighted avg": weighted}
    every = [*zip(names, table, strict=True), *averages.items()]
    return tuple((name, tuple(float(value) for value in row)) for name, row in every)
