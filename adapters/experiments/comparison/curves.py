"""Learning curves over training sizes: from how many labelled examples on one method passes another, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.evaluation.crossings import BELOW, BEYOND, crossing, seed_noise
from adapters.evaluation.random_effects import Effects
from adapters.evaluation.report.run_report import on_base
from adapters.evaluation.report.tables import points

Rows = Sequence[Mapping[str, Any]]


def crossings(table: Rows, found: Sequence[Effects], resampled: np.ndarray, *, seed: int) -> list[dict[str, Any]]:
    """Where learning curves cross, as JSON: each trained method with the best prompted row, and all pairs on a base.

    Of a pair the one that scores higher at the largest size is `one`. Sizes are labels, dev included; where the two
    took different numbers of them from the same training examples, sizes are training examples (`counted`). A crossing
    below the smallest size is 0, one above the largest null.

    Args:
        table: rows of a summary.
        found: effects of each row, moderated.
        resampled: `[resamples, rows]`, each row's score on resampled examples.
        seed: of the draws of seeds.
    """
    curves = {curve: own for curve, own in _curves(table).items() if len(own) > 1}
    level = [i for i, row in enumerate(table) if not (row["size"] or row["trainable_params"] or row["incomplete"])]
    noise = seed_noise(found, seed=seed, resamples=len(resampled)) if curves else resampled
    out = []

    def add(one: Sequence[int], other: Sequence[int]) -> None:
        sized = [(i, j) for i, j in zip(one, other, strict=True) if table[j]["size"]]
        alike = all(table[i]["labels"] == table[j]["labels"] for i, j in sized)
        counted = "labels" if alike else "train_examples"
        sizes = [table[i][counted] for i in one]
        result = crossing(sizes, one, other, found, resampled, noise, seed=seed)
        ends = {"value": result.value, "low": result.low, "high": result.high}
        record = {name: None if end == BEYOND else end for name, end in ends.items()}
        of_one_model = any(found[i].of_one_model for i in (*one, *other))
        rows = {"one": [*one], "other": [*other]}
        out.append({**rows, "sizes": sizes, "counted": counted, **record, "of_one_model": of_one_model})

    if level:
        best = max(level, key=lambda i: table[i]["value"])
        for own in curves.values():
            add(list(own.values()), [best] * len(own))
    named = list(curves.items())
    for number, ((_, base), own) in enumerate(named):
        for (_, other_base), others in named[number + 1 :]:
            shared = [size for size in own if size in others]
            if (base and other_base and base != other_base) or len(shared) < 2:
                continue
            pair = [[curve[size] for size in shared] for curve in (own, others)]
            one, other = sorted(pair, key=lambda curve: -table[curve[-1]]["value"])
            add(one, other)
    return out


def _curves(table: Rows) -> dict[tuple[str, str], dict[str, int]]:
    """By method and base, the complete row of each training size, ascending."""
    out: dict[tuple[str, str], dict[str, int]] = {}
    for i in sorted(range(len(table)), key=lambda i: table[i]["train_examples"]):
        row = table[i]
        if row["size"] and not row["incomplete"]:
            out.setdefault((row["method"], row["base"]), {})[row["size"]] = i
    return out


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """Each crossing that the data can tell in a sentence; then, in one, the pairs of which they cannot."""
    rows, out, unknown = summary["rows"], [], []
    for one in summary["crossings"]:
        first, second = rows[one["one"][-1]], rows[one["other"][-1]]
        names = f"{first['method']}{on_base(first['base'])}", second["method"]
        if second["base"] != first["base"]:
            names = names[0], f"{second['method']}{on_base(second['base'])}"
        if not second["size"]:
            names = names[0], f"{names[1]} ({points(second['value'])})"
        if one["low"] == BELOW and one["high"] is None:
            unknown.append(" and ".join(names))
        else:
            out.append(_sentence(*names, one))
    if out:
        dev = any(row["size"] and row["labels"] > row["train_examples"] for row in rows)
        out[-1] += f" Labelled examples are those of train{' and dev' if dev else ''}; intervals are 95 %."
        if any(one["of_one_model"] for one in summary["crossings"]):
            out[-1] += " With one seed, the crossings are those of these trained models, not of the methods."
    if unknown:
        out.append(
            f"From which size on one scores above the other cannot be determined from these data: {'; '.join(unknown)}."
        )
    return out


def _sentence(one: str, other: str, found: Mapping[str, Any]) -> str:
    """A crossing in words."""
    least, most = (f"{found['sizes'][k]:,}" for k in (0, -1))
    examples = "labelled examples" if found["counted"] == "labels" else "training examples"

    def shown(end: float | None) -> str:
        return f"not within {most}" if end is None else f"below {least}" if end == BELOW else f"{end:,.0f}"

    low, high = shown(found["low"]), shown(found["high"])
    interval = f"(interval of the crossing: {low if low == high else f'{low} to {high}'})"
    if found["value"] is None:
        return f"{one} does not pass {other} with up to {most} {examples} {interval}."
    if found["value"] == BELOW:
        return f"{one} is above {other} from the smallest size on, {least} {examples} {interval}."
    return f"{one} passes {other} from about {shown(found['value'])} {examples} on {interval}."
