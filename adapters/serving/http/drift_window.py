"""Whether a window of answers differs from those on dev: tests of homogeneity at a stated rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters.artifacts.reference import LabelCounts, Reference, ValueCounts, unknown_share
from adapters.core.holm import holm
from adapters.tasks.base.observation import Observation

LEAST = 5.0
"""Texts that a category must be expected to have in each sample for the chi-square approximation (Cochran 1954)."""


@dataclass(frozen=True, kw_only=True)
class WindowTest:
    """One test of a window.

    Attributes:
        name: labels, confidence or unknown.
        p: probability of a difference as large as this one without drift; None where the counts are too few to tell.
        adjusted: the same, adjusted by Holm's method for the tests of the window.
        what: the number that is shown for it.
        dev: that number on dev.
        window: that number in the window.
    """

    name: str
    p: float | None
    adjusted: float | None
    what: str
    dev: float
    window: float


class Window:
    """The counts of some answers, in the categories of a reference."""

    def __init__(self, reference: Reference) -> None:
        """Args: reference: of the adapter's card."""
        self.reference = reference
        parts: dict[str, LabelCounts | ValueCounts | None] = {
            "labels": reference.labels,
            "confidence": reference.confidence,
            "unknown": reference.unknown,
        }
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.counts = {name: np.zeros(len(part.counts), np.int64) for name, part in self.parts.items()}
        self.sums = dict.fromkeys(self.parts, 0.0)
        self.each: dict[str, int] = {}  # texts with each label
        self.none = self.answers = 0

    def add(self, seen: Observation) -> None:
        """Count one answer."""
        self.answers += 1
        labels = self.reference.labels
        if labels is not None and seen.labels is not None:
            self.counts["labels"][labels.category(seen.labels)] += 1
            self.none += not seen.labels
            for label in seen.labels:
                self.each[label] = self.each.get(label, 0) + 1
        for name, part, value in (
            ("confidence", self.reference.confidence, seen.confidence),
            ("unknown", self.reference.unknown, unknown_share(seen)),
        ):
            if part is not None and value is not None:
                self.counts[name][part.category(value)] += 1
                self.sums[name] += value

    def tests(self) -> list[WindowTest]:
        """The tests of the window, one for each part of the reference that was counted."""
        names = [name for name in self.parts if self.counts[name].sum()]
        p_values = {name: homogeneity(self.parts[name], self.counts[name]) for name in names}
        known = {name: p for name, p in p_values.items() if p is not None}
        adjusted = dict(zip(known, holm([*known.values()]), strict=True))
        return [self._test(name, p_values[name], adjusted.get(name)) for name in names]

    def _test(self, name: str, p: float | None, adjusted: float | None) -> WindowTest:
        """A test, with the number that shows it."""
        what, dev, window = self._shown(name)
        return WindowTest(name=name, p=p, adjusted=adjusted, what=what, dev=dev, window=window)

    def _shown(self, name: str) -> tuple[str, float, float]:
        """A number by its name, on dev and in the window; of the labels, the share that has moved most."""
        texts = int(self.counts[name].sum())
        part = self.parts[name]
        if isinstance(part, ValueCounts):
            what = {"confidence": "mean confidence", "unknown": "share of unknown tokens"}[name]
            return what, part.mean, self.sums[name] / texts
        shares = {f"share of texts with {label}": (dev, self.each.get(label, 0)) for label, dev in part.shares.items()}
        shares["share of texts without a label"] = (part.none, self.none)
        moved = max(shares, key=lambda what: _distance(shares[what][0], sum(part.counts), shares[what][1], texts))
        return moved, shares[moved][0], shares[moved][1] / texts


def homogeneity(part: LabelCounts | ValueCounts, window: Sequence[int] | np.ndarray) -> float | None:
    """Pearson's chi-square test that the texts of dev and of a window have the same shares of all categories.

    Categories that are too rare for it are counted together: all rare sets of labels, or neighbouring values. They are
    chosen by both samples together, so that the choice does not depend on their difference.

    Args:
        part: the counts on dev.
        window: the counts in the window.

    Returns:
        The p value; None where fewer than two categories are left.
    """
    from scipy.stats import chi2_contingency

    table = np.array([part.counts, window], np.float64)
    sizes = table.sum(1)
    if not sizes.all():
        return None
    least = LEAST * sizes.sum() / sizes.min()
    merge = _with_neighbours if isinstance(part, ValueCounts) else _with_rare_ones_together
    table = merge(table, least)
    return float(chi2_contingency(table, correction=False).pvalue) if table.shape[1] > 1 else None


def _with_rare_ones_together(table: np.ndarray, least: float) -> np.ndarray:
    """The columns of a table, those with a smaller sum than `least` as one, which a frequent one joins if need be."""
    sums = table.sum(0)
    rare = sums < least
    if not rare.any():
        return table
    if sums[rare].sum() < least and not rare.all():
        rare[int(np.where(rare, np.inf, sums).argmin())] = True
    return np.column_stack([table[:, ~rare], table[:, rare].sum(1)])


def _with_neighbours(table: np.ndarray, least: float) -> np.ndarray:
    """The columns of a table in groups of neighbours: about deciles of both rows together, of at least `least` each."""
    wanted = max(least, table.sum() / 10)
    groups: list[np.ndarray] = []
    group = np.zeros(2)
    for column in table.T:
        group = group + column
        if group.sum() >= wanted:
            groups.append(group)
            group = np.zeros(2)
    if groups and group.sum() < least:
        groups[-1] = groups[-1] + group
    else:
        groups.append(group)
    return np.array(groups).T


def _distance(dev: float, dev_texts: int, found: int, texts: int) -> float:
    """How far two shares lie apart, in standard errors."""
    pooled = (dev * dev_texts + found) / (dev_texts + texts)
    error = math.sqrt(pooled * (1 - pooled) * (1 / dev_texts + 1 / texts))
    return abs(found / texts - dev) / error if error > 0 else 0.0
