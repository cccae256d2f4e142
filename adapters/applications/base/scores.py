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


def mean(values: np.ndarray, seed: int) -> Score:
    """A mean over examples, with the percentile bootstrap's interval over them."""
    rows = np.asarray(values, float)[:, None]
    drawn = resampled_sums(rows, seed=seed, resamples=RESAMPLES)[:, 0] / len(rows)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": float(rows.mean()), "low": float(low), "high": float(high)}


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
