"""Metrics: counts for each example, scores from summed counts, so that 10,000 resamples are one matrix product."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters import discovery
from adapters.errors import SettingsError

if TYPE_CHECKING:
    import evaluate


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report: rows of numbers under a title, with a remark where a number could mislead."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    remark: str = ""
    counts: tuple[str, ...] = ()
    """Columns that hold whole numbers; the others hold shares, which are shown in percent."""


class Metric(ABC):
    """What a file of this folder offers, as a class `Metric`.

    A metric never sees a whole split: it turns one example's gold and prediction into counts, and sums of counts into
    scores. Scores are shares between 0 and 1 (a correlation may be below 0), and nan where nothing was there to judge.
    """

    name: ClassVar[str]
    compares: ClassVar[tuple[str, ...]] = ()
    """The sorts of answers (`Task.answer`) that it can compare; none: any."""
    version: ClassVar[int] = 1
    main: ClassVar[str]
    """The key of `scores` that stands for this metric in a table."""
    of: ClassVar[str] = "value"
    """What of a `tasks.Prediction` is held against the gold answer: `value`, or `detail` (probabilities, or None where
    the predictor has none; such an example then adds zeros)."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Args: labels: the label names of the task, in the model's order."""
        self.labels = tuple(labels)

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of counts for an example."""

    @abstractmethod
    def counts(self, gold: Any, prediction: Any) -> np.ndarray:
        """int64 `[width]`: what one example adds to the sums."""

    @abstractmethod
    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """Scores by name, each `[...]`, of summed counts `[..., width]`."""

    @abstractmethod
    def sections(self, sums: np.ndarray) -> list[Section]:
        """The report of summed counts `[width]`.

        A task's main metric has, in its first section, a row for each class, then averages (`… avg`).
        """

    def details(self, golds: Sequence[Any], predictions: Sequence[Any]) -> list[Section]:
        """What the report shows beside the sections: what sums of counts cannot say (who is taken for whom)."""
        return []

    def count_all(self, golds: Sequence[Any], predictions: Sequence[Any]) -> np.ndarray:
        """int64 `[examples, width]`."""
        out = np.zeros((len(golds), self.width), dtype=np.int64)
        for row, gold, prediction in zip(out, golds, predictions, strict=True):
            row[:] = self.counts(gold, prediction)
        return out


def load(name: str, labels: Sequence[str], plugin_dirs: Sequence[str] = ()) -> Metric:
    """The metric of that name for a label set. Raises SettingsError where there is none."""
    metric = discovery.load("metrics", name, plugin_dirs).Metric(labels)
    assert isinstance(metric, Metric), name
    return metric


def for_task(task: Any, names: Sequence[str], plugin_dirs: Sequence[str] = ()) -> list[Metric]:
    """A task's own metrics, then those of other names.

    Args:
        task: has `name`, `answer`, `metrics` and `labels`.
        names: of further metrics.
        plugin_dirs: folders of further plugins.

    Raises:
        SettingsError: no metric of a name, or one that compares answers of another sort.
    """
    found = [load(name, task.labels.names, plugin_dirs) for name in dict.fromkeys((*task.metrics, *names))]
    for metric in found:
        if metric.compares and task.answer not in metric.compares:
            raise SettingsError(
                f"--metrics {metric.name}: compares {' or '.join(metric.compares)}, and {task.name} answers with "
                f"{task.answer or 'something else'}. Leave it out; the usual ones are {', '.join(task.metrics)}."
            )
    return found


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Element-wise division that gives 0 where the denominator is 0, as seqeval and scikit-learn do by default."""
    out = np.zeros(np.broadcast(numerator, denominator).shape)
    np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)
    return out


def precision_recall_f1(hit: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, ...]:
    """Precision, recall and their harmonic mean of counts of any (equal) shape."""
    return ratio(hit, predicted), ratio(hit, gold), ratio(2 * hit, predicted + gold)


def macro_mean(values: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean of `[..., classes]` over the classes that gold or predictions hold, as seqeval and scikit-learn take it."""
    return ratio(values.sum(-1), ((predicted + gold) > 0).sum(-1))


def averaged_rows(
    names: Sequence[str], hit: np.ndarray, predicted: np.ndarray, gold: np.ndarray, *, every_class: bool = False
) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Report rows (precision, recall, F1, support) of each class `[classes]`, then the three averages.

    With `every_class` the macro average is over all classes, else over those that gold or predictions hold.
    """
    table = np.stack([*precision_recall_f1(hit, predicted, gold), gold], axis=1)
    micro = [*map(float, precision_recall_f1(hit.sum(), predicted.sum(), gold.sum())), float(gold.sum())]
    macro = [*(table[:, :3].mean(0) if every_class else macro_mean(table[:, :3].T, predicted, gold)), gold.sum()]
    weighted = [*ratio((table[:, :3] * gold[:, None]).sum(0), gold.sum()), gold.sum()]
    averages = {"micro avg": micro, "macro avg": macro, "weighted avg": weighted}
    every = [*zip(names, table, strict=True), *averages.items()]
    return tuple((name, tuple(float(value) for value in row)) for name, row in every)


def as_evaluate(metric: Metric) -> evaluate.Metric:
    """The metric as Hugging Face's `evaluate` knows it: `.compute(predictions=…, references=…)` gives the scores.

    `evaluate.load` would ask the Hub for a script; this is the same interface around our own counts.
    """
    import datasets
    import evaluate

    class Shown(evaluate.Metric):  # type: ignore[misc]
        def _info(self) -> evaluate.MetricInfo:
            label, numbers = datasets.Value("string"), datasets.Sequence(datasets.Value("float64"))
            labels = datasets.Sequence(label)
            forms = [(labels, labels), (label, label), (numbers, labels), (numbers, label)]
            return evaluate.MetricInfo(
                description=f"{metric.name} of taskswap, version {metric.version}",
                citation="",
                inputs_description=metric.__doc__ or "",
                features=[datasets.Features(predictions=one, references=other) for one, other in forms],
            )

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            sums = metric.count_all(references, predictions).sum(0)
            return {name: float(value) for name, value in metric.scores(sums).items()}

    return Shown()
