"""The verdict of a comparison, in sentences. A method is never called better because its row has another base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.evaluation.report.tables import points
from adapters.experiments.comparison import curves
from adapters.experiments.comparison.results import COSTS, largest

ACROSS = (
    "Rows on different bases differ in the base as well as in the method, so no method is credited with the "
    "difference between them."
)
ONE_MODEL = "With one seed, this is about these trained models, not about the methods."
SHOWN = 6
"""Rows that a sentence names."""


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdict: a few sentences for each base, then what holds across them."""
    rows = summary["rows"]
    bases = list(dict.fromkeys(row["base"] for row in rows))
    out = [_of_base(summary, base) for base in bases]
    out += [
        f"{_name(row)} on {row['base']} is incomplete ({len(row['seeds'])} runs finished, others failed), so it is in "
        "no test and no advice."
        for row in rows
        if row["incomplete"]
    ]
    out += [*curves.sentences(summary), _settings(rows)]
    if summary.get("machines", 1) > 1:
        out.append("The runs were made on different machines, so their times and memory cannot be compared.")
    return [*out, ACROSS] if len(bases) > 1 else out


def test_between(summary: Mapping[str, Any], i: int, j: int) -> Mapping[str, Any] | None:
    """The test of two rows, if it was made."""
    return next((test for test in summary["tests"] if test["rows"] == sorted((i, j))), None)


def _of_base(summary: Mapping[str, Any], base: str) -> str:
    rows = summary["rows"]
    own = largest(rows, base)
    if not own:
        return f"On {base}, every method is incomplete, so there is no verdict."
    best = max(own, key=lambda i: rows[i]["value"])
    name = _scored(rows[best])
    if len(own) == 1:
        return f"On {base}, only {name} was run."
    tests = {i: test_between(summary, i, best) for i in own if i != best}
    made = {i: test for i, test in tests.items() if test is not None}
    # The test is of the difference in the table; where their signs disagree, nothing was shown for the best row.
    lower = [i for i, test in made.items() if test["differs"]]
    tied = [i for i, test in made.items() if not test["differs"]]
    out = [f"On {base}, {name} scores highest"]
    if lower and not tied and len(made) == len(tests):
        out[0] += "; every other method scores significantly lower (Holm-adjusted p < 0.05)"
    elif lower:
        out[0] += f"; significantly lower (Holm-adjusted p < 0.05): {_listed(rows, lower)}"
    out[0] += "."
    if tied:
        detectable = max(made[i]["detectable"] for i in tied)
        out.append(
            f"No significant difference from {_listed(rows, tied)} (Holm-adjusted p ≥ 0.05, n = "
            f"{summary['dataset']['n']:,}, {_detectable(detectable)})."
        )
    untested = [i for i in tests if i not in made]
    if untested:
        out.append(f"Not tested against it, as trained on other data: {_listed(rows, untested)}.")
    out += [_advised(rows, one, best) for one in summary["advice"] if one["base"] == base]
    if any(rows[i]["of_one_model"] for i in own):
        out.append(ONE_MODEL)
    return " ".join(out)


def _advised(rows: Sequence[Mapping[str, Any]], advice: Mapping[str, Any], best: int) -> str:
    """Which method to choose, or what it would take to say so."""
    within = f"within {points(advice['margin'])} point{'' if advice['margin'] == 0.01 else 's'}"
    chosen, (key, least) = advice["chosen"], COSTS[advice["cost"]]
    if chosen is None:
        needed = advice["needed"]
        ways = [f"about {needed[kind]:,} {kind}" for kind in ("examples", "seeds") if needed.get(kind)]
        enough = f"{' or '.join(ways)} would tell" if ways else "more examples and more seeds would be needed"
        return f"For no method can non-inferiority {within} to every other one be concluded: {enough}."
    name = _name(rows[chosen])
    if len(advice["non_inferior"]) == 1:
        return f"Only {name} is non-inferior {within} to every other method: choose {name}."
    prices = [
        _cost(key, rows[i][key]) if i == chosen else f"{_name(rows[i])} {_cost(key, rows[i][key])}"
        for i in dict.fromkeys((chosen, best))
    ]
    return (
        f"Non-inferior {within} to every other method (simultaneously, 95 %): "
        f"{_listed(rows, advice['non_inferior'])}. Of these, {name} needs {least} ({', '.join(prices)}): choose {name}."
    )


def _detectable(difference: float) -> str:
    """The smallest difference that would be seen, in points."""
    if difference >= 1:
        return "no difference could be: the seeds are too few"
    return f"smallest detectable difference {points(difference)} points"


def _listed(rows: Sequence[Mapping[str, Any]], chosen: Sequence[int]) -> str:
    names = [_scored(rows[i]) for i in sorted(chosen, key=lambda i: -rows[i]["value"])]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['method']} at {row['size']}" if row["size"] else str(row["method"])


def _scored(row: Mapping[str, Any]) -> str:
    return f"{row['method']} ({points(row['value'])})"


def _settings(rows: Sequence[Mapping[str, Any]]) -> str:
    """How the settings were chosen."""
    searched = {_name({**row, "size": ""}): row["tuning"] for row in rows if row["tuning"]}
    if not searched:
        return "All methods ran at their default settings: others may rank them differently (--tuning_trials 6)."
    trials = sorted({tuning["trials"] for tuning in searched.values()})
    number = f"{trials[0]}" if len(trials) == 1 else f"{trials[0]} to {trials[-1]}"
    out = f"Settings were chosen on dev from {number} trials of each method; no trial was scored on test."
    known = [tuning["resolution"] for tuning in searched.values() if tuning["resolution"]]
    if known:
        out += f" By the draw of dev examples alone, trials closer than {points(max(known))} points are alike."
    failed = [f"{tuning['failed']} of {name}" for name, tuning in searched.items() if tuning["failed"]]
    if failed:
        out += f" Trials that failed: {', '.join(failed)}."
    default = list(dict.fromkeys(_name({**row, "size": ""}) for row in rows if not row["tuning"]))
    return f"{out} Without settings to search: {', '.join(default)}." if default else out


def _cost(key: str, value: float | None) -> str:
    """A cost for people."""
    if value is None:
        return "not measured"
    if "bytes" in key:
        return f"{value / 1e6:.1f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"
    return f"{value:,.0f} s" if key == "train_seconds" else f"{value:,.1f} ms"
