"""Records of runs compared: whether they may be, the scores of each row, and the significance of differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters.core.errors import ComparisonError
from adapters.evaluation.metrics.base.any_metric import score_title
from adapters.evaluation.metrics.base.metric import Metric, main_metric
from adapters.evaluation.significance import RESAMPLES, holm, paired, resampled_sums

ALIKE = ("task", "dataset.split", "dataset.n", "dataset.digest", "label_digest", "metric_versions")
"""Keys that must be equal in all records of a comparison."""
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run's scores.json and predictions.jsonl."""

    folder: Path
    scores: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]

    def counts(self, metric: Metric) -> np.ndarray:
        """`[examples, width]` of a metric, of its `count_type`."""
        return np.array([line["counts"][metric.name] for line in self.lines], dtype=metric.count_type)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Runs that differ in their seed alone."""

    method: str
    base: str
    size: str
    records: Sequence[Record]

    @property
    def name(self) -> str:
        """The row's name in a sentence."""
        return f"{self.method}{f' at {self.size}' if self.size else ''}"

    def cost(self, *keys: str) -> float | None:
        """Mean over seeds of a number below `cost`; None where it was not measured."""
        values = []
        for record in self.records:
            value: Any = record.scores["cost"]
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            values.append(value)
        return None if None in values else float(np.mean(values))


def load(folder: Path) -> Record:
    """The record of a run's folder. Raises ComparisonError where no run has finished."""
    if not (folder / "scores.json").is_file():
        raise ComparisonError(
            f"{folder}: has no scores.json: no run has finished there. Give folders of finished runs."
        )
    try:
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
        found = [scores[name] for name in ("task", "method", "base", "dataset", "main", "cost", "seed")]
        assert found and all("counts" in line and "input" in line for line in lines)
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise ComparisonError(
            f"{folder}: scores.json or predictions.jsonl is damaged ({error!r}). Run it again."
        ) from error
    return Record(folder=folder, scores=scores, lines=lines)


def check_alike(records: Sequence[Record]) -> None:
    """Raises ComparisonError, with all differences, unless records have the same examples, metrics and labels."""
    first = records[0]
    faults = []
    for other in records[1:]:
        for key in ALIKE:
            a, b = _value(first, key), _value(other, key)
            if a != b:
                faults.append(f"{key}: {_short(a)} in {first.folder}, {_short(b)} in {other.folder}")
        if [line["input"] for line in first.lines] != [line["input"] for line in other.lines] and not faults:
            faults.append(f"predictions.jsonl: other examples, or another order, in {first.folder} and {other.folder}")
    if faults:
        raise ComparisonError(
            "These runs cannot be compared, as they were not scored alike:\n  "
            + "\n  ".join(faults)
            + "\nScore them on the same data (--test_file, --max_predict_samples) by the same version."
        )


def _value(record: Record, key: str) -> Any:
    value: Any = record.scores
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:12]}…"


def grouped(records: Sequence[Record]) -> list[Row]:
    """Rows of records that differ only in their seed, in the order of their first records."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        scores = record.scores
        key = (scores["method"], scores["base"], scores["row_digest"])
        groups.setdefault(key, []).append(record)
    return [Row(method=key[0], base=key[1], size="", records=own) for key, own in groups.items()]


def summarise(rows: Sequence[Row], *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """All numbers of a comparison, as JSON.

    Args:
        rows: of records that are alike.
        seed: of the resampling.
        resamples: number of resamples.
    """
    first = rows[0].records[0]
    main = first.scores["main"]
    metric = main_metric(main["metric"], first.scores["labels"])
    overlap = np.array([line.get("in_train", False) for line in first.lines], dtype=bool)
    for record in (record for row in rows for record in row.records):
        overlap |= np.array([line.get("in_train", False) for line in record.lines], dtype=bool)
    means = [np.mean([record.counts(metric) for record in row.records], axis=0) for row in rows]
    table = [_row(row, metric, main["score"], overlap, seed, resamples) for row in rows]
    return {
        "task": first.scores["task"],
        "metric": metric.name,
        "score": main["score"],
        "title": score_title(metric),
        "dataset": {k: first.scores["dataset"][k] for k in ("name", "revision", "split", "n", "digest")},
        "overlap": {"count": int(overlap.sum()), "first": _first_overlap(rows)},
        "rows": table,
        "tests": _tests(rows, means, table, metric, main["score"], seed, resamples),
        "versions": first.scores["versions"],
        "hardware": first.scores["hardware"],
    }


def _row(row: Row, metric: Metric, score: str, overlap: np.ndarray, seed: int, resamples: int) -> dict[str, Any]:
    """Quality with intervals, and cost, of one row."""
    counts = [record.counts(metric) for record in row.records]
    values = [float(metric.scores(own.sum(0))[score]) for own in counts]
    drawn = resampled_sums(np.hstack(counts), seed=seed, resamples=resamples)
    width = counts[0].shape[1]
    each = [metric.scores(drawn[:, i * width : (i + 1) * width])[score] for i in range(len(counts))]
    low, high = np.percentile(np.mean(each, axis=0), [2.5, 97.5])
    without = [float(metric.scores(own[~overlap].sum(0))[score]) for own in counts] if overlap.any() else values
    first = row.records[0].scores
    return {
        "method": row.method,
        "base": row.base,
        "size": row.size,
        "seeds": [record.scores["seed"] for record in row.records],
        "values": values,
        "value": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "low": float(low),
        "high": float(high),
        "without_overlap": float(np.mean(without)),
        "trainable_params": row.cost("trainable_params"),
        "total_params": row.cost("total_params"),
        "train_examples": first["dataset"]["sizes"].get("train", 0),
        "train_seconds": row.cost("train_seconds"),
        "train_tokens_per_second": row.cost("train_tokens_per_second"),
        "peak_memory_bytes": row.cost("peak_memory_bytes"),
        "artifact_bytes": row.cost("artifact_bytes"),
        "latency_p50_ms": row.cost("latency_ms", "p50"),
        "latency_p95_ms": row.cost("latency_ms", "p95"),
        "examples_per_second": row.cost("examples_per_second"),
        "parse_failures": float(np.mean([r.scores["parse_failures"] for r in row.records])),
        "truncated": float(np.mean([r.scores["truncated"] for r in row.records])),
        "shots_dropped": float(np.mean([r.scores["shots_dropped"] for r in row.records])),
        "notes": first["method_notes"],
        "curve": first["training"].get("dev_scores", []),
        "by_label": _by_label(row, metric),
        "runs": [str(record.folder) for record in row.records],
    }


def _by_label(row: Row, metric: Metric) -> dict[str, float]:
    """F1 of each class in the metric's first table, of counts summed over seeds; empty where that has no classes."""
    section = metric.sections(np.sum([r.counts(metric).sum(0) for r in row.records], axis=0))[0]
    if section.as_given:
        return {}
    at = section.columns.index("F1") if "F1" in section.columns else 0
    return {name: values[at] for name, values in section.rows if not name.endswith(" avg")}


def _first_overlap(rows: Sequence[Row]) -> list[Any]:
    found = [record.scores["overlap"]["first"] for row in rows for record in row.records]
    return max(found, key=len)


def _tests(
    rows: Sequence[Row],
    means: Sequence[np.ndarray],
    table: Sequence[Mapping[str, Any]],
    metric: Metric,
    score: str,
    seed: int,
    resamples: int,
) -> list[dict[str, Any]]:
    """Each row against the best of its base and against full fine-tuning on its base, Holm-adjusted over all."""
    pairs: dict[tuple[int, int], set[str]] = {}
    for i, row in enumerate(rows):
        same = [j for j, other in enumerate(rows) if other.base == row.base]
        best = max(same, key=lambda j: table[j]["value"])
        full = [
            j for j in same if table[j]["trainable_params"] == table[j]["total_params"] and rows[j].size == row.size
        ]
        for j, why in [(best, "best"), *((j, "full") for j in full)]:
            if i != j:
                pairs.setdefault((min(i, j), max(i, j)), set()).add(why)
    found = [
        (i, j, sorted(why), paired(metric, means[i], means[j], score=score, seed=seed, resamples=resamples))
        for (i, j), why in sorted(pairs.items())
    ]
    adjusted = holm([test.p for *_, test in found])
    return [
        {
            "rows": [i, j],
            "against": why,
            "difference": test.difference,
            "low": test.low,
            "high": test.high,
            "p": test.p,
            "p_holm": p,
            "detectable": test.detectable,
            "differs": p < LEVEL,
        }
        for (i, j, why, test), p in zip(found, adjusted, strict=True)
    ]
