"""The tables of a continual experiment: results, all columns, tests, matrices; and continual.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.core.errors import numbered
from adapters.core.progress import duration
from adapters.evaluation.report.svg import amount
from adapters.evaluation.report.tables import (
    Column,
    interval,
    markdown_table,
    markdown_text,
    number_column,
    points,
    short_name,
)
from adapters.experiments.comparison import results_table
from adapters.experiments.comparison.table import test_columns
from adapters.experiments.continual.verdict import best_of, given, kinds, scenario_sentence, test_of

WITH_INTERVALS = 6
"""Most tasks of a matrix that a page shows with intervals; continual.json has all."""
Rows = Sequence[Mapping[str, Any]]


TEST_NOTE = (
    "All pairs of complete rows. Tested is the difference of the final averages, the mean over tasks and runs. p and "
    "interval cover the draw of the test examples within each task (paired: random swaps, bootstrap) and of the runs "
    "(t, by differences of runs of the same order and seed); with one run the examples alone. The tasks are no sample: "
    "the tests are about these tasks. Significant: Holm-adjusted p < 0.05, over all pairs. A true difference of the "
    "smallest detectable size would be significant four times out of five."
)
"""How the tests were made."""


def entries(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of results: with or without the task identity, as in `verdict.kinds`; the best row first.

    Each has the keys of `results_table.against`: it is compared with the best row that learns sequentially under the
    same condition; a row of which there is no such other one is not tested.
    """
    rows, first = summary["rows"], kinds(summary)[0]
    order = sorted(
        range(len(rows)),
        key=lambda i: (rows[i]["named"] != first, bool(rows[i]["bound"]), rows[i]["incomplete"], -rows[i]["value"]),
    )
    out = []
    for i in order:
        best = best_of(rows, named=rows[i]["named"])
        if best is None:
            result = results_table.INCOMPLETE if rows[i]["incomplete"] else results_table.UNTESTED
            nothing = dict.fromkeys(("best", "difference", "difference_low", "difference_high"))
            out.append({**rows[i], **nothing, "result": result})
        else:
            out.append(results_table.against(rows, i, best, test_of(summary, i, best)))
    return out


def group(entry: Mapping[str, Any]) -> str:
    """Words above rows that are compared with one another, and above those that bound them."""
    return f"{given(entry['named'])}{': reference (not sequential)' if entry['bound'] else ''}"


def columns(found: Rows, title: str, *, narrow: bool = False) -> list[Column]:
    """The columns of the table of results.

    Args:
        found: of `entries`.
        title: the main score in words.
        narrow: for 80 characters.
    """
    scored = results_table.score_columns(found, "Average" if narrow else f"Final average {title}", narrow=narrow)
    out = [Column(title="Strategy", shown=lambda row: row["name"], about="strategy"), *scored]
    out.append(_points("Forgetting", "forgetting"))
    if any(row["routing"] for row in found):
        out.append(Column(title="Routing accuracy", shown=_routed, key=_routed_share, about="routing", wide=True))
    return [
        *out,
        _bytes("Stored beyond the base", "storage", lambda row: row["artifact_bytes"], wide=True),
        _seconds("Training a task", "training", "train_seconds"),
    ]


def measured_columns(summary: Mapping[str, Any]) -> list[Column]:
    """All numbers of a row that were scored, as far as there are some."""
    rows, title = summary["rows"], summary["title"]
    out = [
        Column(title="Strategy", shown=lambda row: row["name"], about="strategy"),
        _points(f"Final average {title}", "value", about="score"),
        Column(title="95 % interval", shown=lambda row: interval(row["low"], row["high"]), about="score"),
        replace(number_column("Sd of runs", "sd", ".2f", 100), about="runs"),
        Column(title="Runs", shown=_runs, key=lambda row: len(row["runs"]), about="runs"),
        _points("Learning accuracy", "learning_accuracy", about="learning"),
        _points("Forgetting", "forgetting"),
        _points("Backward transfer", "backward"),
        _points("Forward transfer", "forward"),
        _points("Intransigence", "intransigence"),
        Column(title="Routing accuracy", shown=_routed, key=_routed_share, about="routing"),
    ]
    return _with_numbers(out, rows)


def cost_columns(summary: Mapping[str, Any]) -> list[Column]:
    """What a row costs, as far as it was measured."""
    out = [
        Column(title="Strategy", shown=lambda row: row["name"], about="strategy"),
        _bytes("Base model, once", "storage", lambda row: row["stored_bytes"]["base"]),
        _bytes("Beyond it", "storage", lambda row: row["artifact_bytes"]),
        _bytes("of this: trained", "storage", lambda row: row["stored_bytes"]["model"]),
        _bytes("remembered examples", "storage", lambda row: row["stored_bytes"]["memory"]),
        _bytes("other", "storage", lambda row: row["stored_bytes"]["other"]),
        _bytes("Peak memory", "memory", lambda row: row["peak_memory_bytes"]),
        _seconds("Training a task", "training", "train_seconds"),
        _seconds("All of a task", "training", "seconds"),
        replace(number_column("Tokens trained", "tokens", ",.0f"), about="training"),
        replace(number_column("Steps", "steps", ",.0f"), about="training"),
    ]
    return _with_numbers(out, summary["rows"])


def _with_numbers(columns: Sequence[Column], rows: Rows) -> list[Column]:
    return [column for column in columns if any(column.shown(row) != "–" for row in rows)]


def pair_columns(summary: Mapping[str, Any]) -> list[Column]:
    """The columns of the tests."""
    rows = summary["rows"]
    pair = Column(title="Pair", shown=lambda test: " − ".join(rows[i]["name"] for i in test["rows"]))
    return [pair, *test_columns(summary)[1:]]


def task_columns(summary: Mapping[str, Any]) -> list[Column]:
    """The columns of the rows' final scores on each task, and of their mean."""

    def of(task: str) -> Column:
        return Column(
            title=task, shown=lambda row: points(row["by_task"][task]), key=lambda row: float(row["by_task"][task])
        )

    strategy = Column(title="Strategy", shown=lambda row: row["name"])
    return [strategy, *map(of, summary["tasks"]), number_column("Mean", "value", ".1f", 100)]


def matrix_columns(found: Mapping[str, Any]) -> list[Column]:
    """The columns of one order's matrix: after which task, then the score on each, of a few with their intervals."""
    few = len(found["order"]) <= WITH_INTERVALS

    def cell(j: int) -> Column:
        def shown(row: Mapping[str, Any]) -> str:
            value, low, high = (row[end][j] for end in ("value", "low", "high"))
            more = "" if not few or low is None or high is None else f" ({interval(low, high)})"
            return "–" if value is None else f"{points(value)}{more}"

        return Column(title=found["order"][j], shown=shown, key=lambda row: _known(row["value"][j]))

    return [
        Column(title="After learning", shown=lambda row: row["after"]),
        *(cell(j) for j in range(len(found["order"]))),
    ]


def matrix_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each stage of one order's matrix."""
    nothing = [[None] * len(found["order"])] * len(found["matrix"])
    parts = zip(found["stages"], found["matrix"], found["low"] or nothing, found["high"] or nothing, strict=True)
    return [
        {"after": stage_name(stage, len(found["order"])), "value": value, "low": low, "high": high}
        for stage, value, low, high in parts
    ]


def stage_name(learned: Sequence[str], tasks: int) -> str:
    """What a stage of so many tasks learned, in words."""
    return "all at once" if len(learned) == tasks > 1 else " and ".join(learned)


def made_of(summary: Mapping[str, Any]) -> str:
    """What was scored, in a line: the scenario in words, the tasks, the runs."""
    base, n, on_dev = short_name(summary["base"]), summary["dataset"]["n"], summary["dataset"]["on_dev"]
    split = "test" if not on_dev else "dev" if len(on_dev) == len(summary["tasks"]) else "test and dev"
    return (
        f"{scenario_sentence(summary)}. {numbered(len(summary['tasks']), 'tasks')}, n = {n:,} {split} examples, base "
        f"{base}, {_counted(summary)}."
    )


def under(summary: Mapping[str, Any]) -> str:
    """What is said at each table: the scenario by its name, and the number of orders and seeds."""
    return f"{summary['scenario']}; {_counted(summary)}"


def _counted(summary: Mapping[str, Any]) -> str:
    seeds = {seed for row in summary["rows"] for seed in row["seeds"]}
    return f"{numbered(len(summary['orders']), 'orders')} of the tasks, {numbered(len(seeds), 'seeds')}"


def heading(summary: Mapping[str, Any]) -> str:
    """What was learned, in a few words."""
    names = list(summary["tasks"])
    return f"{summary['task']}, task after task: {', '.join(names) if len(names) <= 6 else f'{len(names)} tasks'}"


def markdown(summary: Mapping[str, Any], verdict: Sequence[str], failures: Sequence[tuple[str, str]]) -> str:
    """continual.md: verdict, results, all columns, the tasks, the tests."""
    found, rows = entries(summary), summary["rows"]
    lines = [f"# {markdown_text(heading(summary))}", "", *(f"{markdown_text(line)}\n" for line in verdict)]
    lines += [markdown_text(made_of(summary)), ""]
    name, *others = columns(found, summary["title"])
    lines += [*markdown_table([name, Column(title="Answers", shown=group), *others], found), ""]
    parts: list[tuple[str, Sequence[Column], Rows]] = [
        ("All scores", measured_columns(summary), rows),
        ("Final score on each task", task_columns(summary), rows),
        ("Cost", cost_columns(summary), rows),
        ("Significance tests", pair_columns(summary), summary["tests"]),
    ]
    for title, chosen, own in parts:
        lines += [f"## {title}", "", f"{under(summary)}.", "", *markdown_table(chosen, own), ""]
    lines += [
        TEST_NOTE,
        *(f"\n**{markdown_text(run)} failed:** {markdown_text(why)}" for run, why in failures),
    ]
    return "\n".join(lines) + "\n"


def _runs(row: Mapping[str, Any]) -> str:
    return f"{len(row['runs'])}{' (incomplete)' if row['incomplete'] else ''}"


def _known(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _points(title: str, name: str, *, about: str = "") -> Column:
    def shown(row: Mapping[str, Any]) -> str:
        return "–" if row[name] is None else points(row[name]).replace("-", "−")

    return Column(title=title, shown=shown, key=lambda row: _known(row[name]), about=about or name)


def _bytes(title: str, about: str, of: Any, *, wide: bool = False) -> Column:
    def shown(row: Mapping[str, Any]) -> str:
        return "–" if of(row) is None else amount(of(row), "B")

    return Column(title=title, shown=shown, key=lambda row: _known(of(row)), about=about, wide=wide)


def _seconds(title: str, about: str, name: str) -> Column:
    def shown(row: Mapping[str, Any]) -> str:
        return "–" if row[name] is None else duration(row[name])

    return Column(title=title, shown=shown, key=lambda row: _known(row[name]), about=about, wide=True)


def _routed_share(row: Mapping[str, Any]) -> float:
    return _known(row["routing"]["final"] if row["routing"] else None)


def _routed(row: Mapping[str, Any]) -> str:
    share = _routed_share(row)
    return "–" if math.isnan(share) else f"{points(share)} %"
