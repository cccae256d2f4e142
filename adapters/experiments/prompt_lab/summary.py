"""Summary of conditions: a row for each prompt, number of shots and calibration, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.core.errors import numbered
from adapters.evaluation.evaluate import score_of
from adapters.evaluation.metrics.base.any_metric import AnyMetric
from adapters.evaluation.report.tables import points
from adapters.tasks.base.example import Example, Prediction

Rows = list[dict[str, Any]]


def rows(records: Sequence[Mapping[str, Any]]) -> Rows:
    """A row for all conditions that differ only in their seed: mean, sd (with n - 1), worst and best.

    Shots dropped, parse failures and truncated count examples, summed over the seeds; sd is None for a single seed.
    """
    of_row: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        of_row.setdefault((record["prompt"], record["shots"], record["calibration"]), []).append(record)
    out = []
    for (prompt, shots, calibration), own in of_row.items():
        scores = [float(record["score"]) for record in own]
        out.append(
            {
                "prompt": prompt,
                "shots": shots,
                "calibration": calibration,
                "mean": float(np.mean(scores)),
                "sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
                "worst": min(scores),
                "best": max(scores),
                "seeds": len(scores),
                "members": own[0]["members"],
                "parse_failure_share": sum(r["parse_failures"] for r in own) / max(sum(r["n"] for r in own), 1),
                **{
                    name: sum(record[name] for record in own)
                    for name in ("shots_dropped", "parse_failures", "truncated")
                },
                "conditions": [{"seed": r["seed"], "score": r["score"], "scores": dict(r["scores"])} for r in own],
            }
        )
    return out


def best(found: Rows) -> dict[str, Any]:
    """The row with the highest mean; ties go to the fewest shots, then to the first row."""
    return min(found, key=lambda row: (-row["mean"], row["shots"]))


def by_calibration(found: Rows) -> Rows:
    """For each calibration the mean over its rows, and the mean of their sds.

    Ensembles are left out: their members are in the other rows.
    """
    out = []
    for name in dict.fromkeys(row["calibration"] for row in found):
        own = [row for row in found if row["calibration"] == name and not row["members"]]
        spread = [row["sd"] for row in own if row["sd"] is not None]
        out.append(
            {
                "calibration": name,
                "rows": len(own),
                "mean": float(np.mean([row["mean"] for row in own])),
                "sd": float(np.mean(spread)) if spread else None,
                "worst": min(row["worst"] for row in own),
                "best": max(row["best"] for row in own),
            }
        )
    return out


def usual_answer(examples: Sequence[Example], metric: AnyMetric) -> float | None:
    """The score of always predicting the most frequent gold answer; None where answers are not labels."""
    golds = [example.gold for example in examples]
    if not golds or not all(isinstance(gold, str) for gold in golds) or metric.of != "value":
        return None
    common = Prediction(value=Counter(golds).most_common(1)[0][0])
    return score_of(metric, examples, [common] * len(examples))


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdict: what was chosen and its score, or the best of the grid; and the spread over seeds."""
    score, chosen = summary["title"], summary["chosen"]
    first = summary["tables"][0]
    out = []
    if chosen is not None:
        table = summary["tables"][1]
        out.append(
            f"Chosen on {numbered(first['n'], 'examples')} of dev, by the mean over seeds: {_named(table['rows'][0])}. "
            f"On test (n = {table['n']:,}), scored once: {score} {_spread(table['rows'][0])}."
        )
        out.append(
            f"{summary['passes']:,} texts were read to choose, of the {chosen['budget']:,} allowed; "
            f"{chosen['test_passes']:,} more to score test."
        )
    else:
        top = best(first["rows"])
        out.append(
            f"The highest mean {score} on {first['split']} (n = {first['n']:,}): {_spread(top)}, by {_named(top)}."
        )
        if len(first["rows"]) > 1:
            out.append(f"It was chosen on {first['split']} itself, so it is optimistic: --optimize chooses on dev.")
    wide = max((row for row in first["rows"] if row["sd"] is not None), key=lambda row: row["sd"], default=None)
    if wide is not None:
        out.append(
            f"Variation over seeds (choice and order of demonstrations): {_named(wide)} scores from "
            f"{points(wide['worst'])} to {points(wide['best'])}."
        )
    if len(summary["calibrations"]) > 1:
        means = [
            f"{one['calibration']} {points(one['mean'])}"
            + (f" (sd {points(one['sd'])})" if one["sd"] is not None else "")
            for one in summary["calibrations"]
        ]
        out.append(f"Mean over prompts and shots, with the mean sd over seeds: {', '.join(means)}.")
    chats = summary["chat_template"]
    one = len(set(chats.values())) == 1
    shown = next(iter(chats.values())) if one else ", ".join(f"{name} {chat}" for name, chat in chats.items())
    out.append(f"Chat template: {shown}.")
    if first["usual"] is not None:
        out.append(f"Always predicting the most frequent answer scores {points(first['usual'])}.")
    return out


def shots_in_words(number: int) -> str:
    """`1 shot`, `4 shots`."""
    return f"{number} shot{'s' * (number != 1)}"


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['prompt']}, {shots_in_words(row['shots'])}, calibration {row['calibration']}"


def _spread(row: Mapping[str, Any]) -> str:
    if row["sd"] is None:
        return f"{points(row['mean'])} (one seed)"
    return (
        f"{points(row['mean'])}, sd {points(row['sd'])}, {points(row['worst'])} to {points(row['best'])} over "
        f"{numbered(row['seeds'], 'seeds')}"
    )
