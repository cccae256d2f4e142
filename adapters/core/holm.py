"""Holm's adjustment of p-values, for comparisons and for servers, which know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple testing, in the order given.

    Holm 1979, "A simple sequentially rejective multiple test procedure": the chance of any false positive among them
    stays below the level at which each is read.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
