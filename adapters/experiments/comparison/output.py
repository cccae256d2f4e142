"""The output of a comparison: comparison.json, .md, .html and .svg, and the table on the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console

from adapters.core.files import write_json, write_text
from adapters.data.word_splitter import joined
from adapters.evaluation.report.tables import Column, print_table
from adapters.experiments.comparison import plots, results, results_table
from adapters.experiments.comparison.page import page
from adapters.experiments.comparison.summary import MARGIN, summarise
from adapters.experiments.comparison.table import markdown, warnings
from adapters.experiments.comparison.verdict import sentences

DISAGREEMENTS = 10


def save_and_print(
    rows: Sequence[results.Row],
    folder: Path | None,
    *,
    command: str,
    settings: Mapping[str, Any] | None = None,
    failures: Sequence[tuple[str, str]] = (),
    margin: float = MARGIN,
    cost: str = "storage",
    resample: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Summarise the rows, write the four files into the folder (if any) and print the results and the verdict.

    Args:
        rows: of records that are alike.
        folder: of the comparison.
        command: that repeats it.
        settings: of the comparison, for the page.
        failures: (run, reason) of each failed run.
        margin: see `summary.summarise`.
        cost: the same.
        resample: the same.
        seed: of the resampling.
    """
    summary = summarise(rows, margin=margin, cost=cost, resample=resample, seed=seed)
    verdict = sentences(summary)
    summary.update(verdict=verdict, failures=[{"run": run, "reason": why} for run, why in failures])
    if folder is not None:
        repeat = {
            "command": command,
            "settings": settings,
            "dataset": summary["dataset"],
            "versions": summary["versions"],
            "hardware": summary["hardware"],
            "runs": {plots.name(row): row["runs"] for row in summary["rows"]},
        }
        pictures = plots.pictures(summary["rows"], summary["title"])
        write_json(folder / "comparison.json", {**summary, "command": command, "settings": settings})
        write_text(folder / "comparison.svg", pictures[0][1])
        write_text(folder / "comparison.md", markdown(summary, verdict, failures))
        write_text(folder / "comparison.html", page(summary, pictures, verdict, failures, disagreements(rows), repeat))
    found = results_table.entries(summary)
    wide, narrow = (results_table.columns(found, summary["title"], base=False, narrow=short) for short in (False, True))
    print_tables(found, wide, narrow, results_table.group)
    print_sentences(verdict, failures)
    for warning in warnings(summary["rows"]):
        print(f"warning of {warning}")
    return summary


def print_sentences(verdict: Sequence[str], failures: Iterable[tuple[str, str]]) -> None:
    """The verdict, and what failed and why."""
    console = Console(highlight=False)
    for line in ("", *verdict):
        console.print(line, markup=False)
    for what, why in failures:
        console.print(f"failed: {what}: {why}", markup=False)


def print_tables(
    found: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    narrow: Sequence[Column],
    group: Callable[[Mapping[str, Any]], str],
) -> None:
    """The table of results, one for each group.

    Args:
        found: entries, those of a group together.
        columns: of the tables.
        narrow: the same for a terminal in which those do not fit.
        group: words above the rows of a group.
    """
    for words, own in groupby(found, group):
        Console(highlight=False).print(f"\n{words}", markup=False)
        print_table(columns, list(own), narrow=narrow, among=found)


def disagreements(rows: Sequence[results.Row]) -> list[dict[str, Any]]:
    """The examples to which the rows' first seeds give the most different answers."""
    records = [row.records[0] for row in rows]
    names = [plots.name({"method": row.method, "base": row.base, "size": row.size}) for row in rows]
    found = []
    for number, lines in enumerate(zip(*(record.lines for record in records), strict=True)):
        answers = [_shown(line["inputs"], line["prediction"]) for line in lines]
        different = _difference([line["prediction"] for line in lines], answers)
        if different:
            found.append((-different, number, lines[0], answers))
    found.sort(key=lambda item: item[:2])
    return [
        {
            "text": _text(line["inputs"]),
            "gold": _shown(line["inputs"], line["gold"]),
            "answers": dict(zip(names, answers, strict=True)),
        }
        for _, _, line, answers in found[:DISAGREEMENTS]
    ]


def _difference(predictions: Sequence[Any], answers: Sequence[str]) -> float:
    """How far answers differ: numbers by their distance, others by how many there are besides the first."""
    if all(isinstance(one, float) for one in predictions):
        return float(max(predictions) - min(predictions))
    return len(set(answers)) - 1


def _text(inputs: Mapping[str, Any]) -> str:
    """An example's inputs as one line."""
    if "text" in inputs or "tokens" not in inputs:
        return " | ".join(str(value) for name, value in inputs.items() if name not in ("tokens", "offsets"))
    return joined(inputs["tokens"])[0]


def _shown(inputs: Mapping[str, Any], answer: Any) -> str:
    """An answer for people: tags as entities, numbers with four digits, anything else as it is."""
    from adapters.data.tag_schemes import spans

    words = inputs.get("tokens")
    if isinstance(answer, list) and words is not None and len(words) == len(answer):
        return ", ".join(f"{kind}: {' '.join(words[a:b])}" for kind, a, b in spans(answer)) or "no entity"
    return f"{answer:,.4g}" if isinstance(answer, float) else str(answer)
