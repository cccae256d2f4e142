"""One evaluator for every method: from a predictor, examples and metrics to counts, scores, intervals and speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from adapters.core.files import digest_value
from adapters.data.splits import shown
from adapters.evaluation.documents import Units, chosen_units
from adapters.evaluation.metrics.base.any_metric import AnyMetric, Section
from adapters.evaluation.metrics.base.metric import Metric
from adapters.evaluation.metrics.base.resampled import ResampledMetric, section
from adapters.evaluation.significance import bootstrap
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.predictor import Predictor

LATENCY_EXAMPLES = 64
LATENCY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Predictions and scores of a predictor on a split.

    Attributes:
        split: name for reports (`dev` where there is no test split).
        examples: in order.
        predictions: one for each example.
        counts: per metric `[examples, width]`; those that score all examples at once have none.
        metrics: the task's main metric first.
        quality: per metric, per score, `{value, low, high}`; the interval is a 95 % bootstrap over `units`. A score
            is absent where there was nothing to judge, `low` and `high` where a metric is too slow for resampling.
        units: what was resampled: examples, or their documents.
        remarks: per metric without counts, what is to be known of its scores.
        examples_per_second: of the whole split in batches.
    """

    split: str
    examples: Sequence[Example]
    predictions: list[Prediction]
    metrics: list[AnyMetric]
    counts: dict[str, np.ndarray]
    quality: dict[str, dict[str, dict[str, float]]]
    units: Units
    examples_per_second: float
    remarks: Mapping[str, str] = field(default_factory=dict)

    @property
    def main(self) -> dict[str, float]:
        """Value and interval of the main score of the task."""
        first = self.metrics[0]
        return self.quality[first.name][first.main]

    def tables(self, metric: AnyMetric) -> list[Section]:
        """A metric's report of all examples together."""
        quality = self.quality[metric.name]
        if isinstance(metric, Metric):
            return [_with_intervals(part, quality) for part in metric.sections(self.counts[metric.name].sum(0))]
        return [section(metric, quality, self.remarks.get(metric.name, ""))]

    def sections(self, metric: AnyMetric) -> list[Section]:
        """A metric's whole report: `tables`, then what it says of single answers."""
        if not isinstance(metric, Metric):
            return self.tables(metric)
        golds = [example.gold for example in self.examples]
        return [*self.tables(metric), *metric.details(golds, _compared(metric, self.predictions))]

    def failures(self) -> dict[str, int]:
        """Numbers of examples with a parse failure, with a truncated input, and with shots dropped from the prompt."""
        return {
            "parse_failures": sum(p.parse_failure for p in self.predictions),
            "truncated": sum(p.truncated for p in self.predictions),
            "shots_dropped": sum(p.shots_dropped > 0 for p in self.predictions),
        }


def evaluate(
    predictor: Predictor, examples: Sequence[Example], metrics: Sequence[AnyMetric], *, split: str, seed: int = 0
) -> Evaluation:
    """Score a predictor on a split, with intervals: of whole documents, where `chosen_units` takes them.

    Args:
        predictor: anything with `predict(examples)`.
        examples: with gold answers; scored in this order.
        metrics: the main one of the task first, which has counts.
        split: its name; `shown` says what reports call it.
        seed: of the resampling.
    """
    begin = time.perf_counter()
    predictions = predictor.predict(examples)
    seconds = time.perf_counter() - begin
    assert len(predictions) == len(examples), (len(predictions), len(examples))
    golds = [example.gold for example in examples]
    units = chosen_units([example.document for example in examples])
    counts: dict[str, np.ndarray] = {}
    quality: dict[str, dict[str, dict[str, float]]] = {}
    remarks: dict[str, str] = {}
    for metric in metrics:
        compared = _compared(metric, predictions)
        if isinstance(metric, Metric):
            counts[metric.name] = metric.count_all(golds, compared)
            quality[metric.name] = _quality(metric, counts[metric.name], units, seed)
        elif isinstance(metric, ResampledMetric):
            quality[metric.name], remarks[metric.name] = metric.quality(golds, compared, seed, units)
    return Evaluation(
        split=shown(split),
        examples=examples,
        predictions=predictions,
        metrics=list(metrics),
        counts=counts,
        quality=quality,
        units=units,
        remarks=remarks,
        examples_per_second=len(examples) / max(seconds, 1e-9),
    )


def main_score(predictor: Predictor, examples: Sequence[Example], metric: AnyMetric) -> float:
    """The main score alone, without interval: what training evaluates after each epoch; nan where it has none."""
    return score_of(metric, examples, predictor.predict(examples))


def score_of(metric: AnyMetric, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    """The main score of predictions (of a script of `evaluate` perhaps its first); nan with nothing to judge."""
    scores = metric.score_all([example.gold for example in examples], _compared(metric, predictions))
    return scores[metric.main] if metric.main in scores else next(iter(scores.values()))


def latency(predictor: Predictor, examples: Sequence[Example]) -> dict[str, float]:
    """Milliseconds to predict one example alone: median and 95th percentile, after one that is not counted.

    Of up to 64 examples; fewer where they would take longer than 10 seconds (a model that generates).
    """
    times: list[float] = []
    for example in [examples[0], *examples[:LATENCY_EXAMPLES]]:
        begin = time.perf_counter()
        predictor.predict([example])
        times.append(1000 * (time.perf_counter() - begin))
        if sum(times[1:]) > 1000 * LATENCY_SECONDS:
            break
    p50, p95 = np.percentile(times[1:], [50, 95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}


def overlap(test: Sequence[Example], train: Sequence[Example], seen: Callable[[str], str] = str) -> dict[str, Any]:
    """Test examples whose inputs are in train too.

    Args:
        test: examples that are scored.
        train: examples that are learned.
        seen: a text as the base's tokenizer sees it (`Base.seen`): without case, for an uncased one.

    Returns:
        `count`: those that the base cannot tell from one of train: by `seen`, without blanks, as text or as words;
        `equal`: those among them whose inputs are equal to the letter; `numbers`: indices of the former; `first`: the
        places of five of them.
    """
    letters: set[str] = set()
    places: dict[tuple[str, ...], str] = {}
    for example in train:  # once: its rows are read from disk
        letters.add(example.digest())
        places[_as_seen(example, seen)] = example.where
    keys = [_as_seen(example, seen) for example in test]
    numbers = [number for number, key in enumerate(keys) if key in places]
    first = [{"test": test[number].where, "train": places[keys[number]]} for number in numbers[:5]]
    equal = sum(test[number].digest() in letters for number in numbers)
    return {"count": len(numbers), "equal": equal, "first": first, "numbers": numbers}


def _as_seen(example: Example, seen: Callable[[str], str]) -> tuple[str, ...]:
    """The texts of an example, blanks left out; of words that are given beside their text, the words."""
    lists = [value for value in example.inputs.values() if isinstance(value, list) and _are_texts(value)]
    texts = ["".join(words) for words in lists] or [str(value) for value in example.inputs.values()]
    return tuple("".join(seen(text).split()) for text in texts)


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def split_digest(examples: Sequence[Example]) -> str:
    """sha256 of inputs and gold answers in order: equal digests are the same examples in the same order."""
    return digest_value([[example.digest(), example.gold] for example in examples])


def _with_intervals(part: Section, quality: Mapping[str, Mapping[str, float]]) -> Section:
    """A section whose rows are scores in the unit of the data, with their intervals; others as they are."""
    if not part.as_given or part.columns != ("value",) or not {name for name, _ in part.rows} <= quality.keys():
        return part
    rows = tuple((name, (*values, quality[name]["low"], quality[name]["high"])) for name, values in part.rows)
    return replace(part, columns=("value", "low", "high"), rows=rows)


def _compared(metric: AnyMetric, predictions: Sequence[Prediction]) -> list[Any]:
    """The part of each prediction that the metric compares with gold."""
    return [getattr(prediction, metric.of) for prediction in predictions]


def _quality(metric: Metric, counts: np.ndarray, units: Units, seed: int) -> dict[str, dict[str, float]]:
    """The metric's scores with intervals, without those that are nan (JSON has no such number)."""
    drawn = units.summed(counts)
    if metric.of != "value":
        # None is not a wrong answer but a missing one; a resample of such examples alone would have no score.
        drawn = drawn[drawn.any(1)]
    values = {name: float(value) for name, value in metric.scores(counts.sum(0)).items()}
    defined = {name: value for name, value in values.items() if not np.isnan(value)}
    bounds = bootstrap(metric, drawn, seed=seed) if defined else {}
    return {name: {"value": value, "low": bounds[name][0], "high": bounds[name][1]} for name, value in defined.items()}
