"""What draws come to: a row for each prompt, number of shots and calibration, and what to make of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.comparison.verdict import points
from adapters.evaluation import score_of
from adapters.metrics import Metric
from adapters.tasks import Example, Prediction

Rows = list[dict[str, Any]]


def rows(records: Sequence[Mapping[str, Any]]) -> Rows:
    """A row of all draws that differ in their order alone: mean, sd (with n - 1), worst and best.

    Shots dropped, unreadable and truncated count examples, summed over the draws; sd is None where there is one draw.
    """
    of_row: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        of_row.setdefault((record["prompt"], record["shots"], record["calibration"]), []).append(record)
    out = []
    for (prompt, shots, calibration), own in of_row.items():
        scores = [float(record["score"]) for record in own]
        out.append({
            "prompt": prompt, "shots": shots, "calibration": calibration, "mean": float(np.mean(scores)),
            "sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else None, "worst": min(scores),
            "best": max(scores), "orders": len(scores), "members": own[0]["members"],
            **{name: sum(record[name] for record in own) for name in ("shots_dropped", "unreadable", "truncated")},
            "draws": [{"order": r["order"], "score": r["score"], "scores": dict(r["scores"])} for r in own],
        })  # fmt: skip
    return out


def best(found: Rows) -> dict[str, Any]:
    """The row with the highest mean; of equal ones that with the fewest shots, then the first."""
    return min(found, key=lambda row: (-row["mean"], row["shots"]))


def by_calibration(found: Rows) -> Rows:
    """For each calibration the mean over its rows, and the mean of its rows' sds where they have one.

    Ensembles are left out: they are draws that stand in the other rows.
    """
    out = []
    for name in dict.fromkeys(row["calibration"] for row in found):
        own = [row for row in found if row["calibration"] == name and not row["members"]]
        spread = [row["sd"] for row in own if row["sd"] is not None]
        out.append({
            "calibration": name, "rows": len(own), "mean": float(np.mean([row["mean"] for row in own])),
            "sd": float(np.mean(spread)) if spread else None,
            "worst": min(row["worst"] for row in own), "best": max(row["best"] for row in own),
        })  # fmt: skip
    return out


def usual_answer(examples: Sequence[Example], metric: Metric) -> float | None:
    """The score of always giving the most frequent gold answer; None where answers are no labels."""
    golds = [example.gold for example in examples]
    if not golds or not all(isinstance(gold, str) for gold in golds) or metric.of != "value":
        return None
    common = Prediction(value=Counter(golds).most_common(1)[0][0])
    return score_of(metric, examples, [common] * len(examples))


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdict: what was chosen and how it scores, or how far luck goes in the grid."""
    score, chosen = summary["score"], summary["chosen"]
    first = summary["tables"][0]
    out = []
    if chosen is not None:
        table = summary["tables"][1]
        out.append(f"Chosen on {first['n']} examples of dev, by the mean over orders: {_named(table['rows'][0])}. "
                   f"On test (n = {table['n']:,}), scored once: {score} {_spread(table['rows'][0])}.")  # fmt: skip
        out.append(f"{summary['passes']:,} texts were read to choose, of the {chosen['budget']:,} allowed; "
                   f"{chosen['test_passes']:,} more to score test.")  # fmt: skip
    else:
        top = best(first["rows"])
        out.append(f"The highest mean {score} on {first['split']} (n = {first['n']:,}): {_spread(top)}, by "
                   f"{_named(top)}.")  # fmt: skip
        if len(first["rows"]) > 1:
            out.append(f"It was found by looking at {first['split']}, so it flatters: --optimise chooses on dev.")
    wide = max((row for row in first["rows"] if row["sd"] is not None), key=lambda row: row["sd"], default=None)
    if wide is not None:
        out.append(f"Luck: which shots are drawn, in which order, moves {_named(wide)} from {points(wide['worst'])} to "
                   f"{points(wide['best'])}.")  # fmt: skip
    if len(summary["calibrations"]) > 1:
        told = [f"{one['calibration']} {points(one['mean'])}"
                + (f" (sd {points(one['sd'])})" if one["sd"] is not None else "")
                for one in summary["calibrations"]]  # fmt: skip
        out.append(f"Mean over prompts and shots, with the mean sd over orders: {', '.join(told)}.")
    if first["usual"] is not None:
        out.append(f"Always giving the most frequent answer scores {points(first['usual'])}.")
    return out


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['prompt']}, {row['shots']} shot{'s' * (row['shots'] != 1)}, calibration {row['calibration']}"


def _spread(row: Mapping[str, Any]) -> str:
    if row["sd"] is None:
        return f"{points(row['mean'])} (one draw)"
    return (f"{points(row['mean'])}, sd {points(row['sd'])}, {points(row['worst'])} to {points(row['best'])} over "
            f"{row['orders']} orders")  # fmt: skip
