"""Records of finished runs, whether they may be compared, and the rows that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.core.errors import ComparisonError, numbered
from adapters.experiments.many_runs.record import Record

ALIKE = ("task", "dataset.split", "dataset.n", "dataset.digest", "label_digest", "metric_versions")
"""Keys that must be equal in all records of a comparison."""
DIFFERING = 3
"""Settings by which rows of one method are told apart."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Runs that differ in their seed alone."""

    method: str
    base: str
    size: str
    records: Sequence[Record]
    planned: int = 0
    """Runs that were to be made; some may have failed."""
    tuning: Mapping[str, Any] | None = None
    """The search by which its settings were chosen, as JSON; None for default settings."""

    @property
    def incomplete(self) -> bool:
        """Whether runs are missing: the mean of the others would flatter the method."""
        return len(self.records) < self.planned

    @property
    def seeded(self) -> bool:
        """Whether a seed moves the method."""
        return bool(self.records[0].scores.get("seeded", True))

    @property
    def draws(self) -> tuple[int, ...]:
        """The draw of training examples of each run; empty where all learned from the same ones."""
        drawn = [record.draw for record in self.records]
        return tuple(draw for draw in drawn if draw is not None) if None not in drawn else ()

    @property
    def trained(self) -> tuple[str, ...]:
        """What each run has trained, which a run and its exports have in common."""
        return tuple(str(record.run) for record in self.records)

    @property
    def training(self) -> str:
        """What the runs learned from, in words."""
        return _training(self.records[0])

    @property
    def labels(self) -> int:
        """Labelled examples that it took: those it learned from, and those of dev that its settings were chosen on."""
        scores = self.records[0].scores
        used = scores.get("labelled")
        if used is None:  # a record of an earlier version
            shots = {"train": scores["method_notes"].get("shots", 0)}
            used = scores["dataset"]["sizes"] if scores["cost"]["trainable_params"] else shots
        chosen_on = 0 if self.tuning is None else self.tuning.get("dev_examples", 0)
        return int(used.get("train", 0) + max(used.get("validation", 0), chosen_on))

    def cost(self, *keys: str) -> float | None:
        """Mean over seeds of a number below `cost`; None where it was not measured."""
        values = []
        for record in self.records:
            value: Any = record.scores["cost"]
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            values.append(value)
        return None if None in values else float(np.mean(values))


def check_alike(records: Sequence[Record], *, allow_different: bool = False) -> None:
    """Raises ComparisonError, with all differences, unless records have the same examples, metrics and labels.

    Args:
        records: at least one.
        allow_different: whether trained methods may have learned from different training data.
    """
    first = records[0]
    faults = []
    for other in records[1:]:
        for key in ALIKE:
            a, b = _value(first, key), _value(other, key)
            if a != b:
                faults.append(f"{key}: {_short(a)} in {first.folder}, {_short(b)} in {other.folder}")
        if [line["input"] for line in first.lines] != [line["input"] for line in other.lines] and not faults:
            faults.append(f"predictions.jsonl: other examples, or another order, in {first.folder} and {other.folder}")
    trained = [record for record in records if record.scores["cost"]["trainable_params"]]
    for other in trained[1:] if not allow_different else ():
        a, b = (_training(record) for record in (trained[0], other))
        if a != b:
            faults.append(
                f"training data: {a} in {trained[0].folder}, {b} in {other.folder} (--allow_different compares them "
                "all the same)"
            )
    if faults:
        raise ComparisonError(
            "These runs cannot be compared, as they were not scored alike:\n  "
            + "\n  ".join(faults)
            + "\nScore them on the same data (--test_file, --max_predict_samples) by the same version."
        )


def documents_of(records: Sequence[Record]) -> list[str]:
    """The document of each example; all "" where no record knows them, or records group examples differently."""
    groupings: dict[tuple[int, ...], list[str]] = {}
    for record in records:
        names = [str(line.get("document", "")) for line in record.lines]
        if "" not in names:
            first = {name: number for number, name in reversed([*enumerate(names)])}
            groupings.setdefault(tuple(first[name] for name in names), names)
    return next(iter(groupings.values())) if len(groupings) == 1 else [""] * len(records[0].lines)


def _training(record: Record) -> str:
    """What a record's method learned from: the number of examples, and the file's digest."""
    data = record.scores["dataset"]
    notes = data.get("notes", {}).get("train", {})
    what = ", ".join(str(notes[key]) for key in ("limit", "without_dev") if key in notes)
    what += ", each seed others" * ("draw" in notes)
    digest = str(notes.get("digest", ""))[:12]
    examples = numbered(data["sizes"].get("train", 0), "examples")
    return f"{examples} {f'({what}) ' if what else ''}of {digest or 'unknown data'}"


def _value(record: Record, key: str) -> Any:
    value: Any = record.scores
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:12]}…"


def grouped(records: Sequence[Record]) -> list[Row]:
    """Rows of records that differ only in their seed, in the order of their first records.

    Rows of one method and base are named by the settings in which they differ.

    Raises:
        ComparisonError: two records are of the same seed, so that they are no two draws of it.
    """
    groups: dict[tuple[Any, ...], dict[Any, Record]] = {}
    for record in records:
        scores = record.scores
        own = groups.setdefault((scores["method"], scores["base"], scores["row_digest"]), {})
        draw = scores["seed"], record.draw
        if draw in own:
            raise ComparisonError(
                f"{own[draw].folder} and {record.folder}: two runs of the same settings and of seed {scores['seed']}, "
                "which count as one. Leave one of them out."
            )
        own[draw] = record
    found = [[*own.values()] for own in groups.values()]
    return [Row(method=_name(own[0], found), base=own[0].scores["base"], size="", records=own) for own in found]


def _name(record: Record, groups: Sequence[Sequence[Record]]) -> str:
    """The method, and where several rows have it on a base, what is set otherwise in them; else its run's folder."""
    method = str(record.scores["method"])
    same = [own[0] for own in groups if all(own[0].scores[key] == record.scores[key] for key in ("method", "base"))]
    if len(same) == 1:
        return method
    settings = [one.scores.get("settings") or {} for one in same]
    own = record.scores.get("settings") or {}
    differing = [name for name in own if any(one.get(name) != own[name] for one in settings) and name != "seed"]
    words = ", ".join(f"{name} {own[name]}" for name in differing[:DIFFERING])
    alike = [one for one in settings if all(one.get(name) == own.get(name) for name in differing[:DIFFERING])]
    return f"{method} ({words if words and len(alike) == 1 else record.folder.name})"
