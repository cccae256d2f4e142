"""What a continual experiment shows, in sentences that claim no more than was tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.core.errors import numbered
from adapters.evaluation.report.tables import points
from adapters.experiments.comparison.verdict import detectable_words, resampled_sentence, sample_size, within
from adapters.experiments.continual.summary import entered

SHOWN = 6
"""Rows that a sentence names."""
SCENARIO = {
    "task-incremental": "each task has labels of its own, and the task identity is given with each example unless a "
    "row is routed",
    "domain-incremental": "all tasks share one set of labels",
    "class-incremental": "the labels of all tasks form one growing set",
}
"""What is learned, and what is known when a model answers."""

Rows = Sequence[Mapping[str, Any]]


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The verdict, the answer first."""
    rows = summary["rows"]
    out = [_of_kind(summary, named) for named in kinds(summary) if any(row["named"] == named for row in rows)]
    out += _forgot(rows)
    out += [_routed(summary, i) for i, row in enumerate(rows) if row["routed"] and not row["incomplete"]]
    out += [
        f"{row['name']} is incomplete ({numbered(len(row['runs']), 'runs')} finished, others failed), so it is in no "
        "test."
        for row in rows
        if row["incomplete"] and not row["routed"]
    ]
    out += _scope(summary)
    if on_dev := summary["dataset"]["on_dev"]:
        out.append(
            f"{', '.join(on_dev)}: without a test set, so {'it is' if len(on_dev) == 1 else 'they are'} scored on the "
            "dev examples by which epochs and rates were chosen, which is too high. Name test files in the task files."
        )
    return out


def scenario_sentence(summary: Mapping[str, Any]) -> str:
    """The scenario by its name, and what it means here."""
    return f"{summary['scenario']}: {SCENARIO[summary['scenario']]}"


def given(named: bool) -> str:
    """Words before what is said of rows with, or without, the task identity."""
    return "With the task identity given" if named else "Without task identity"


def test_of(summary: Mapping[str, Any], i: int, j: int) -> Mapping[str, Any] | None:
    """The test of two rows, if it was made."""
    return next((test for test in summary["tests"] if test["rows"] == sorted((i, j))), None)


def best_of(rows: Rows, *, named: bool) -> int | None:
    """The row of the highest final average among those that learn sequentially."""
    return max(entered(rows, named=named), key=lambda i: rows[i]["value"], default=None)


def kinds(summary: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether rows are given the task identity, those first that the scenario is about."""
    named = summary["scenario"] == "task-incremental"
    return named, not named


def _of_kind(summary: Mapping[str, Any], named: bool) -> str:
    """Who ends highest among the rows with, or without, the task identity; then the bounds, and the advice."""
    rows = summary["rows"]
    best = best_of(rows, named=named)
    if best is None:
        return f"{given(named)}, no strategy that learns sequentially is complete."
    own = entered(rows, named=named)
    average = f"final average {summary['title']} over {numbered(len(summary['tasks']), 'tasks')}"
    if len(own) == 1:
        out = [f"{given(named)}, only {_scored(rows[best])} learned the tasks sequentially ({average})."]
    else:
        tests = {i: test_of(summary, i, best) for i in own if i != best}
        lower = [i for i, test in tests.items() if test and test["differs"]]
        tied = [i for i, test in tests.items() if test and not test["differs"]]
        first = f"{given(named)}, {_scored(rows[best])} has the highest {average}"
        if lower and len(lower) == len(tests):
            first += "; every other strategy ends significantly lower (Holm-adjusted p < 0.05)"
        elif lower:
            first += f"; significantly lower (Holm-adjusted p < 0.05): {_names(rows, lower)}"
        out = [f"{first}."]
        if tied:
            seen = max(test["detectable"] for i, test in tests.items() if i in tied and test)
            out.append(
                f"No significant difference from {_names(rows, tied)} (Holm-adjusted p ≥ 0.05, "
                f"{sample_size(summary)}, {detectable_words(seen)})."
            )
    bounds = [i for i, row in enumerate(rows) if row["bound"] and row["named"] == named and not row["incomplete"]]
    out += [_bound(summary, i, best) for i in bounds]
    out += [_advised(rows, one) for one in summary["advice"] if one["named"] == named]
    return " ".join(out)


def _bound(summary: Mapping[str, Any], i: int, best: int) -> str:
    """A row that does not learn sequentially, against the best that does."""
    rows = summary["rows"]
    head = f"Reference (not sequential): {_scored(rows[i])}, {rows[i]['bound']}"
    test = test_of(summary, i, best)
    if test is None:
        return f"{head}; not tested."
    difference = rows[i]["value"] - rows[best]["value"]
    if not test["differs"]:
        return f"{head}; no significant difference from {rows[best]['name']}."
    return f"{head}; {'above' if difference > 0 else 'below'} {rows[best]['name']}, significantly."


def _advised(rows: Rows, advice: Mapping[str, Any]) -> str:
    """The strategies that are good enough, and which of them stores least."""
    good, near = advice["non_inferior"], within(advice)
    if not good:
        return f"For no strategy can non-inferiority {near} to every other one be concluded."
    listed = f"Non-inferior {near} to every other strategy (simultaneously, 95 %): {_names(rows, good)}"
    chosen = advice["chosen"]
    if len(good) == 1 or chosen is None:
        return f"{listed}."
    return f"{listed}. Of these, {rows[chosen]['name']} stores the least beyond the base model."


def _forgot(rows: Rows) -> list[str]:
    """What was forgotten; only numbers are told, as they are not tested."""
    known = [row for row in rows if row["forgetting"] is not None and not row["bound"] and not row["incomplete"]]
    if not known:
        return []
    known.sort(key=lambda row: row["forgetting"])
    shown = [f"{row['name']} {points(row['forgetting']).replace('-', '−')}" for row in known]
    more = f" and {len(shown) - 2 * SHOWN} more" if len(shown) > 2 * SHOWN else ""
    return [
        "Points forgotten of the earlier tasks since the best score of each (in these runs, not tested): "
        f"{', '.join(shown[: 2 * SHOWN])}{more}."
    ]


def _routed(summary: Mapping[str, Any], i: int) -> str:
    """What routing costs against the same condition with the task identity."""
    rows = summary["rows"]
    row = rows[i]
    named = next(j for j, other in enumerate(rows) if other["condition"] == row["condition"] and not other["routed"])
    share = row["routing"]["final"]
    sent = "" if share is None else f"{points(share)} % of the examples are sent to their own task, and "
    test = test_of(summary, i, named)
    told = "not tested" if test is None else "significant" if test["differs"] else "no significant difference"
    return (
        f"{row['name']} ({row['routing']['kind']}): {sent}the final average is {points(row['value'])} instead of "
        f"{points(rows[named]['value'])} with the task identity ({told})."
    )


def _scope(summary: Mapping[str, Any]) -> list[str]:
    """What the numbers are about."""
    rows, orders = summary["rows"], summary["orders"]
    out = []
    if any(row["of_one_model"] for row in rows):
        several = any(not row["of_one_model"] for row in rows)
        alone = [row["name"] for row in rows if row["of_one_model"] and not row["routed"]]
        which = f" of {', '.join(alone[:SHOWN])}{' and others' if len(alone) > SHOWN else ''}" if several else ""
        out.append(f"With one run{which}, this is about these trained models, not about the strategies.")
    if len(orders) == 1 and len(summary["tasks"]) > 1:
        out.append("The tasks were learned in one order alone: another may rank the strategies differently.")
    out += [f"{row['name']}: {'; '.join(row['gaps'])}." for row in rows if row["gaps"]]
    out += filter(None, [resampled_sentence(summary["resampled"])])
    if summary["machines"] > 1:
        out.append("The runs were made on different machines, so their times and memory cannot be compared.")
    return out


def _names(rows: Rows, chosen: Sequence[int]) -> str:
    listed = [_scored(rows[i]) for i in sorted(chosen, key=lambda i: -rows[i]["value"])]
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")


def _scored(row: Mapping[str, Any]) -> str:
    return f"{row['name']} ({points(row['value'])})"
