"""The verdict of a comparison, in sentences. A method is never called better because its row has another base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.evaluation.report.tables import points

ACROSS = (
    "Rows on different bases differ in the base as well as in the method, so no method is credited with the "
    "difference between them."
)


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdict: a sentence or two for each base, then what holds across them."""
    rows = summary["rows"]
    bases = list(dict.fromkeys(row["base"] for row in rows))
    out = [_of_base(summary, base) for base in bases]
    out += _sizes(rows)
    return [*out, ACROSS] if len(bases) > 1 else out


def test_between(summary: Mapping[str, Any], i: int, j: int) -> Mapping[str, Any] | None:
    """The paired test of two rows, if it was made."""
    return next((test for test in summary["tests"] if test["rows"] == sorted((i, j))), None)


def _of_base(summary: Mapping[str, Any], base: str) -> str:
    rows = summary["rows"]
    most = max((row["train_examples"] for row in rows if row["base"] == base and row["size"]), default=None)
    own = [
        i
        for i, row in enumerate(rows)
        if row["base"] == base and (most is None or not row["size"] or row["train_examples"] == most)
    ]
    best = max(own, key=lambda i: rows[i]["value"])
    name = _scored(rows[best])
    if len(own) == 1:
        return f"On {base}, only {name} was run."
    tests = {i: test_between(summary, i, best) for i in own if i != best}
    tied = {i: test for i, test in tests.items() if test is not None and not test["differs"]}
    if not tied:
        return (
            f"On {base}, {name} scores highest; every other method scores significantly lower (Holm-adjusted p < 0.05)."
        )
    smallest = min([best, *tied], key=lambda i: rows[i]["artifact_bytes"])
    detectable = max(test["detectable"] for test in tied.values())
    sizes = _size(rows[smallest]["artifact_bytes"])
    if smallest != best:
        sizes += f", {rows[best]['method']} {_size(rows[best]['artifact_bytes'])}"
    return (
        f"On {base}, {name} scores highest, with no significant difference from "
        f"{', '.join(_scored(rows[i]) for i in tied)} (Holm-adjusted p ≥ 0.05, n = {summary['dataset']['n']:,}, "
        f"smallest detectable difference {points(detectable)} points). Of these, {rows[smallest]['method']} needs "
        f"the least storage for one more task ({sizes}): choose {rows[smallest]['method']}."
    )


def _scored(row: Mapping[str, Any]) -> str:
    return f"{row['method']} ({points(row['value'])})"


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """From how many training examples on each trained method passes the best prompted row."""
    prompted = [row for row in rows if not row["trainable_params"]]
    sized = [row for row in rows if row["size"] and row["trainable_params"]]
    if not prompted or not sized:
        return []
    best = max(prompted, key=lambda row: row["value"])
    out = []
    for method, base in dict.fromkeys((row["method"], row["base"]) for row in sized):
        own = sorted(
            (row for row in sized if (row["method"], row["base"]) == (method, base)),
            key=lambda row: row["train_examples"],
        )
        above = next((row["train_examples"] for row in own if row["low"] > best["high"]), None)
        trained, other = f"{method} on {base}", f"{best['method']} on {best['base']} ({points(best['value'])})"
        if above is not None:
            out.append(f"{trained} passes {other} from {above:,} examples on (95 % intervals do not overlap).")
        else:
            last = own[-1]["train_examples"]
            out.append(f"{trained} does not pass {other} with up to {last:,} examples (95 % intervals overlap).")
    return out


def _size(number: float) -> str:
    """Bytes for people."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"
