"""What customer service prints of its scores, and its page: one file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from adapters.applications.base.scores import in_words, pair_columns, score_column, shown
from adapters.core.errors import numbered
from adapters.evaluation.report import html
from adapters.evaluation.report.labels import Label, at_ends
from adapters.evaluation.report.run_report import plain
from adapters.evaluation.report.svg import COLOURS, drawn
from adapters.evaluation.report.tables import Column, html_table, points, rich_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIRST = ("accuracy", "recall@5", "MRR", "AUROC, out of scope")
"""Scores of the first table."""
HOW = [
    (
        "accuracy",
        "Accuracy (recall@1)",
        "The share of the in-scope questions with a known answer to which the system's first answer is that answer, "
        "whatever its confidence. Intervals: 95 %, percentile bootstrap over questions.",
    ),
    (
        "rank",
        "Recall@5 and MRR",
        "Whether the known answer is among the first five, and the mean of 1 / its rank, among all answers that are "
        "known. Systems that name one intent rank nothing.",
    ),
    (
        "scope",
        "Out of scope",
        "AUROC: the probability that an in-scope question has a higher confidence than an out-of-scope one. FPR at "
        "95 %: the share of out-of-scope questions above the confidence that 95 % of the in-scope ones reach. Refused: "
        "the share of out-of-scope questions below the confidence at which the stated share of in-scope ones is "
        "answered.",
    ),
    (
        "curve",
        "The curve",
        "All questions, out-of-scope ones included, in the order of confidence: the share of right answers among those "
        "answered, by the share answered. An answer to an out-of-scope question is wrong.",
    ),
    (
        "outcomes",
        "Outcomes",
        "What the assistant does with its thresholds, which were set on dev. Wrong answers given: of the answers from "
        "replies or intents, the share that is not the known one. Answers from documents are not scored. "
        "Intervals: 95 %, Clopper and Pearson's. Shares are in percent.",
    ),
]


def report(scores: Mapping[str, Any]) -> str:
    """The scores as text."""
    lines = [
        headline(scores),
        "",
        plain(rich_table(_columns(scores, alone=True), scores["systems"], width=None)).rstrip(),
        "",
    ]
    rows = _outcome_rows(scores)
    return "\n".join([*lines, plain(rich_table(pair_columns("outcome"), rows, width=None)).rstrip(), ""])


def headline(scores: Mapping[str, Any]) -> str:
    """What was scored, and the assistant's accuracy."""
    counts = ", ".join(f"{count:,} {scope}" for scope, count in scores["questions"].items())
    first = scores["systems"][0].get("accuracy")
    said = "" if first is None else f"; right first {scores['answer']}: {in_words(first)}"
    return f"{scores['split']}: {numbered(sum(scores['questions'].values()), 'questions')} ({counts}){said}"


def page(scores: Mapping[str, Any], notes: Sequence[str], record: Mapping[str, Any]) -> str:
    """The page: outcomes, the table of systems and the curve; all scores below."""
    systems = scores["systems"]
    names = list(dict.fromkeys(name for one in systems for name in one if name != "name"))
    given = scores["outcomes"].get("wrong answers given")
    said = "No answer was given." if given is None else f"Wrong, of the answers given: {in_words(given)}."
    every = [Column(title="system", shown=lambda row: row["name"]), *(score_column(name) for name in names)]
    parts = [
        "<h1>Customer service</h1>",
        f'<p class="dim">{escape(headline(scores))}</p>',
        html.verdict([said]),
        "<h2>Compared</h2>",
        html_table(_columns(scores), systems),
        '<p class="dim"><a href="#how">How each number was made</a></p>',
        html.figure("Right answers among those given, by the share answered", plot(scores)),
        "<h2>Outcomes</h2>",
        html_table(pair_columns("outcome"), _outcome_rows(scores), sortable=False),
        html.folded("All scores", [html_table(every, systems)]),
        html.folded("What was read and tuned", ["<ul>", *(f"<li>{escape(line)}</li>" for line in notes), "</ul>"]),
        html.how_made(HOW),
        html.how_to_repeat({"settings": record["settings"], "policy": scores["policy"]}),
    ]
    return html.document("Customer service", parts)


def plot(scores: Mapping[str, Any]) -> str:
    """SVG of the curves."""
    curves = scores["curves"]
    description = "; ".join(f"{name}: {points(curve[-1][1])} of all" for name, curve in curves.items())
    return drawn(lambda axes: _curves(axes, curves), title="Accuracy by share answered", description=description)


def _curves(axes: Axes, curves: Mapping[str, Sequence[Sequence[float]]]) -> None:
    ends = []
    for number, (name, curve) in enumerate(curves.items()):
        x, y = ([100 * point[i] for point in curve] for i in (0, 1))
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(x, y, color=colour, lw=2.2 if number == 0 else 1.2)
        ends.append(Label(x=x[-1], y=y[-1], text=name, colour=colour))
    axes.set_xlabel("Questions answered, %")
    axes.set_ylabel("Right answers among them, %")
    at_ends(axes, ends)


def _columns(scores: Mapping[str, Any], *, alone: bool = False) -> list[Column]:
    """The columns of the first table; `alone`: with the interval of the first score only, for a terminal."""
    there = [name for name in FIRST if any(name in one for one in scores["systems"])]
    system = Column(title="system", shown=lambda row: row["name"])
    return [system, *(score_column(name, alone=alone and number > 0) for number, name in enumerate(there))]


def _outcome_rows(scores: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = [
        {"name": name, "value": shown(value) if isinstance(value, dict) else f"{value:,}"}
        for name, value in scores["outcomes"].items()
    ]
    times = scores["latency_ms"]
    return [*rows, {"name": "latency of one question", "value": f"{times['p50']} ms p50, {times['p95']} ms p95"}]
