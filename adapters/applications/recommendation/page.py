"""What is printed of a recommender's scores, and its page: one file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from adapters.applications.base.scores import in_words, pair_columns, score_column
from adapters.applications.recommendation.evaluation import ALL, MAIN, METRICS
from adapters.core.errors import numbered
from adapters.evaluation.report import html
from adapters.evaluation.report.run_report import plain
from adapters.evaluation.report.tables import Column, html_table, interval, number_column, points, rich_table

FIRST = (MAIN, "MRR", "recall@50", "AUC")
"""Scores that are printed."""
HOW = [
    (
        "ranked",
        "What is ranked",
        "For each user of the test, all items that the user has not seen before are ranked; the targets are what the "
        "user liked afterwards. Sampled: only the given candidates and the target are, which is far easier. Warm items "
        "have a like before the test, cold ones have none: warm targets are ranked among warm items, and cold ones "
        "among cold ones. Of a new user only the first likes are known.",
    ),
    (
        "metrics",
        "AUC, MRR, nDCG and recall",
        "AUC: the probability that a target is ranked above another item. MRR: 1 / the rank of the first target. "
        "nDCG@10: the gain of the targets among the first 10, by log2 of their rank, divided by the highest possible. "
        "Recall@50: the share of a user's targets among the first 50. All are means over cases, of which a user has "
        "one unless --test_file has more, with percentile bootstrap intervals over users.",
    ),
    (
        "lists",
        "Coverage and diversity",
        "Of lists of 10. Coverage: the share of all ranked items that are in a list of somebody. Diversity: 1 - the "
        "mean cosine of two items of a list, in the frozen base's vectors of their texts, for all systems alike.",
    ),
    (
        "difference",
        "The difference",
        "nDCG@10 of the recommender minus that of the system, on the same users. p: approximate randomisation of the "
        "two systems' scores of each user, adjusted by Holm's method over the systems of the table. It is about these "
        "trained models; another seed would train others.",
    ),
]


def report(scores: Mapping[str, Any]) -> str:
    """The scores as text, a table for each slice."""
    lines = []
    for name, part in scores["slices"].items():
        table = plain(rich_table(_columns(part, alone=True), part["systems"], width=None)).rstrip()
        lines += [_title(name, part), "", table, ""]
    return "\n".join(lines)


def page(scores: Mapping[str, Any], notes: Sequence[str], record: Mapping[str, Any]) -> str:
    """The page: a verdict, the table of each slice, costs, and how each number was made."""
    parts = ["<h1>Recommendation</h1>", html.verdict(_verdict(scores))]
    for name, part in scores["slices"].items():
        parts += [f"<h2>{escape(_title(name, part))}</h2>", html_table(_columns(part), part["systems"])]
    gains = [{"name": name, "value": points(value)} for name, value in scores["gains"].items()]
    cost = [
        {"name": f"{method}: {what}", "value": f"{value:,.0f}"}
        for method, own in scores["cost"].items()
        for what, value in own.items()
    ]
    parts += [
        '<p class="dim"><a href="#how">How each number was made</a></p>',
        *([html.folded("What the ranker decides by: % of the gain", [html_table(pair_columns("signal"), gains)])]),
        html.folded("Cost of the towers", [html_table(pair_columns("cost"), cost, sortable=False)]),
        html.folded("What was read and learned", ["<ul>", *(f"<li>{escape(line)}</li>" for line in notes), "</ul>"]),
        html.how_made(HOW),
        html.how_to_repeat({"settings": record["settings"]}),
    ]
    return html.document("Recommendation", parts)


def _title(name: str, part: Mapping[str, Any]) -> str:
    cases = "" if part["cases"] == part["users"] else f", {numbered(part['cases'], 'cases')}"
    return f"{name}: {numbered(part['users'], 'users')}{cases}, {numbered(part['targets'], 'targets')}"


def _verdict(scores: Mapping[str, Any]) -> list[str]:
    """In words: the recommender's nDCG@10 on each slice, and what it is significantly better or worse than."""
    lines = []
    for name, part in scores["slices"].items():
        own, *others = part["systems"]
        differs: dict[str, list[str]] = {"better": [], "worse": []}
        for other in others:
            test = other.get("difference") or {}
            if test.get("p_adjusted", 1) < 0.05:
                differs["better" if test["value"] > 0 else "worse"].append(other["name"])
        said = "; ".join(f"significantly {how} than {', '.join(names)}" for how, names in differs.items() if names)
        where = "Among all items" if name == ALL else f"{name[:1].upper()}{name[1:]}"
        lines.append(f"{where}: {MAIN} {in_words(own[MAIN])}; {said or 'no significant difference'}.")
    return lines


def _columns(part: Mapping[str, Any], *, alone: bool = False) -> list[Column]:
    """The columns of a slice's table; `alone`: without intervals but the first's, for a terminal."""
    there = [name for name in METRICS if any(name in one for one in part["systems"])]
    shown = sorted(there, key=lambda name: name != MAIN)
    first = Column(title="system", shown=lambda row: row["name"])
    if alone:
        chosen = [name for name in shown if name in FIRST]
        return [first, *(score_column(name, alone=name != MAIN) for name in chosen)]
    return [
        first,
        score_column(MAIN),
        Column(title="recommender minus it", shown=_difference, about="difference"),
        *(score_column(name) for name in shown if name != MAIN),
        number_column("coverage", "coverage", ".1f", 100),
        number_column("diversity", "diversity", ".2f"),
    ]


def _difference(row: Mapping[str, Any]) -> str:
    test = row.get("difference") or {}
    if "p_adjusted" not in test:
        return "–"
    value = points(test["value"]).replace("-", "−")
    return f"{value} ({interval(test['low'], test['high'])}), p = {test['p_adjusted']:.3g}"
