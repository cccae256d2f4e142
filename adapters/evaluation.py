"""One evaluator for every method: a predictor, examples, and metrics -> counts, scores, intervals, cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.files import digest_value
from adapters.inference import Predictor
from adapters.metrics import Metric, Section
from adapters.statistics import bootstrap
from adapters.tasks import Example, Prediction

LATENCY_EXAMPLES = 64
LATENCY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a predictor did on a split.

    Attributes:
        split: the split's name as it may be reported (`dev` where there is no test split).
        examples: in order.
        predictions: one an example.
        counts: per metric int64 `[examples, width]`.
        metrics: the task's own first.
        quality: per metric, per score, `{value, low, high}`; the interval is a 95 % bootstrap over examples. A score
            that nothing could be judged by is absent.
        examples_per_second: of the whole split in batches.
    """

    split: str
    examples: Sequence[Example]
    predictions: list[Prediction]
    metrics: list[Metric]
    counts: dict[str, np.ndarray]
    quality: dict[str, dict[str, dict[str, float]]]
    examples_per_second: float

    @property
    def main(self) -> dict[str, float]:
        """Value and interval of the score that stands for the task."""
        first = self.metrics[0]
        return self.quality[first.name][first.main]

    def sections(self, metric: Metric) -> list[Section]:
        """A metric's report: of its summed counts, and what it says of single answers beside it."""
        golds = [example.gold for example in self.examples]
        return [
            *metric.sections(self.counts[metric.name].sum(0)),
            *metric.details(golds, _asked(metric, self.predictions)),
        ]

    def failures(self) -> dict[str, int]:
        """Examples whose answer could not be read whole, whose input was cut, and whose prompt had shots dropped."""
        return {
            "parse_failures": sum(p.unparsed for p in self.predictions),
            "truncated": sum(p.truncated for p in self.predictions),
            "shots_dropped": sum(p.shots_dropped > 0 for p in self.predictions),
        }


def evaluate(
    predictor: Predictor, examples: Sequence[Example], metrics: Sequence[Metric], *, split: str, seed: int = 0
) -> Evaluation:
    """Score a predictor on a split, with intervals.

    Args:
        predictor: anything with `predict(examples)`.
        examples: with gold answers; scored in this order.
        metrics: of the task, the main one first.
        split: name for the report.
        seed: of the resampling.
    """
    begin = time.perf_counter()
    predictions = predictor.predict(examples)
    seconds = time.perf_counter() - begin
    assert len(predictions) == len(examples), (len(predictions), len(examples))
    golds = [example.gold for example in examples]
    counts = {metric.name: metric.count_all(golds, _asked(metric, predictions)) for metric in metrics}
    return Evaluation(
        split=split,
        examples=examples,
        predictions=predictions,
        metrics=list(metrics),
        counts=counts,
        quality={metric.name: _quality(metric, counts[metric.name], seed) for metric in metrics},
        examples_per_second=len(examples) / max(seconds, 1e-9),
    )


def main_score(predictor: Predictor, examples: Sequence[Example], metric: Metric) -> float:
    """The main score alone, without interval: what training looks at after each epoch; nan where it has none."""
    return score_of(metric, examples, predictor.predict(examples))


def score_of(metric: Metric, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    """The main score of predictions; nan where nothing could be judged."""
    sums = metric.count_all([e.gold for e in examples], _asked(metric, predictions)).sum(0)
    return float(metric.scores(sums)[metric.main])


def latency(predictor: Predictor, examples: Sequence[Example]) -> dict[str, float]:
    """Milliseconds of answering one example alone: median and 95th percentile of the first examples, once warm.

    Of up to 64 examples, fewer where they would take longer than 10 seconds (a model that writes).
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


def overlap(test: Sequence[Example], train: Sequence[Example]) -> dict[str, Any]:
    """Test examples whose inputs stand in train too: how many, which (by number), and where the first of them stand."""
    seen = {example.digest(): example.where for example in train}
    both = [(n, example, seen[digest]) for n, example in enumerate(test) if (digest := example.digest()) in seen]
    first = [{"test": example.where, "train": where} for _, example, where in both[:5]]
    return {"count": len(both), "first": first, "numbers": [number for number, *_ in both]}


def split_digest(examples: Sequence[Example]) -> str:
    """sha256 of inputs and gold answers in order: equal digests are the same examples in the same order."""
    return digest_value([[example.digest(), example.gold] for example in examples])


def _asked(metric: Metric, predictions: Sequence[Prediction]) -> list[Any]:
    """What the metric compares with gold."""
    return [getattr(prediction, metric.of) for prediction in predictions]


def _quality(metric: Metric, counts: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """The metric's scores with intervals, without those that are nan (JSON has no such number)."""
    if metric.of != "value":
        # A None there is no wrong answer but no answer: were it drawn, a resample could hold nothing to judge by.
        counts = counts[counts.any(1)]
    values = {name: float(value) for name, value in metric.scores(counts.sum(0)).items()}
    told = {name: value for name, value in values.items() if not np.isnan(value)}
    bounds = bootstrap(metric, counts, seed=seed) if told else {}
    return {name: {"value": value, "low": bounds[name][0], "high": bounds[name][1]} for name, value in told.items()}
