"""What a comparison says, in sentences: never that a method is better because its row has another base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


def points(value: float) -> str:
    """A share as people write scores."""
    return f"{100 * value:.1f}"


def _of_base(summary: Mapping[str, Any], base: str) -> str:
    rows = summary["rows"]
    most = max((row["train_examples"] for row in rows if row["base"] == base and row["size"]), default=None)
    own = [i for i, row in enumerate(rows)
           if row["base"] == base and (most is None or not row["size"] or row["train_examples"] == most)]  # fmt: skip
    best = max(own, key=lambda i: rows[i]["value"])
    name = f"{rows[best]['method']} ({points(rows[best]['value'])})"
    if len(own) == 1:
        return f"On {base} only {name} was run."
    tests = {i: test_between(summary, i, best) for i in own if i != best}
    tied = [i for i, test in tests.items() if test is not None and not test["differs"]]
    if not tied:
        return f"On {base}, {name} scores best, and every other method is shown to score lower."
    pick = min([best, *tied], key=lambda i: rows[i]["artifact_bytes"])
    n = summary["dataset"]["n"]
    said = ", ".join(f"{rows[i]['method']} ({points(rows[i]['value'])})" for i in tied)
    shown = max(test["detectable"] for i, test in tests.items() if i in tied and test is not None)
    advice = f"{rows[pick]['method']} stores least for one more task ({_size(rows[pick]['artifact_bytes'])}"
    advice += f", {rows[best]['method']} {_size(rows[best]['artifact_bytes'])})" if pick != best else ")"
    return (
        f"On {base}, {name} scores highest, but no difference from {said} is shown at n = {n:,} (one under about "
        f"{points(shown)} points would not be seen with so many examples). Of these {advice}: "
        f"choose {rows[pick]['method']}."
    )


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """From how many training examples on each trained method passes the best prompted row."""
    prompted = [row for row in rows if not row["trainable_params"]]
    sized = [row for row in rows if row["size"] and row["trainable_params"]]
    if not prompted or not sized:
        return []
    best = max(prompted, key=lambda row: row["value"])
    out = []
    for method, base in dict.fromkeys((row["method"], row["base"]) for row in sized):
        own = sorted((row for row in sized if (row["method"], row["base"]) == (method, base)),
                     key=lambda row: row["train_examples"])  # fmt: skip
        above = next((row["train_examples"] for row in own if row["low"] > best["high"]), None)
        where = f"{method} on {base}"
        than = f"{best['method']} on {best['base']} ({points(best['value'])})"
        last = f"{own[-1]['train_examples']:,}"
        out.append(f"{where} passes {than} from {above:,} examples on." if above is not None
                   else f"{where} is not shown to pass {than} with up to {last} examples.")  # fmt: skip
    return out


def _size(number: float) -> str:
    """Bytes for people."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"
