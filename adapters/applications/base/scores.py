"""Scores of an application with their intervals, and how its report and its page show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adapters.evaluation.report.tables import Column, interval, points
from adapters.evaluation.significance import resampled_sums

RESAMPLES = 1000
Score = dict[str, float]
"""`value`, and the ends of its 95 % interval, `low` and `high`."""


def mean(values: np.ndarray, seed: int, groups: np.ndarray | None = None) -> Score:
    """A mean over examples, with the percentile bootstrap's interval over them, or over groups of them.

    Args:
        values: `[examples]`.
        seed: of the bootstrap.
        groups: `[examples]`, the number of each one's group: those of a group are drawn together. None: each its own.
    """
    values = np.asarray(values, float)
    drawn = resampled_means(values[:, None], np.arange(len(values)) if groups is None else groups, seed)[:, 0]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def resampled_means(values: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """`[resamples, width]`: means over the examples of resampled groups.

    Args:
        values: `[examples, width]`.
        groups, seed: as of `mean`.
    """
    drawn = resampled_sums(group_sums(np.c_[values, np.ones(len(values))], groups), seed=seed, resamples=RESAMPLES)
    found: np.ndarray = drawn[:, :-1] / drawn[:, -1:]
    return found


def group_sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """`[groups, width]`: sums over the examples of each group that has any."""
    names, place = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(place, column, len(names)) for column in values.T], 1)


def shown(score: Mapping[str, float]) -> str:
    """A share in percent, with its interval."""
    return f"{points(score['value'])} ({interval(score['low'], score['high'])})"


def in_words(score: Mapping[str, float]) -> str:
    """A share in a sentence."""
    return f"{points(score['value'])} % (95 % interval {interval(score['low'], score['high'])})"


def score_column(name: str, *, alone: bool = False) -> Column:
    """The column of a score that a row has under its name; `alone`: without its interval."""

    def cell(row: Mapping[str, Any]) -> str:
        return "–" if name not in row else points(row[name]["value"]) if alone else shown(row[name])

    return Column(title=name, shown=cell, key=lambda row: row[name]["value"] if name in row else float("nan"))


def pair_columns(title: str) -> list[Column]:
    """The columns of rows with a name and a value, both texts."""
    return [Column(title=title, shown=lambda row: row["name"]), Column(title="", shown=lambda row: row["value"])]
