"""The output of a continual experiment: continual.json, .md, .html and .svg, and the table on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from adapters.core.files import write_json, write_text
from adapters.evaluation.significance import RESAMPLES
from adapters.experiments.comparison.output import print_sentences, print_tables
from adapters.experiments.comparison.summary import MARGIN
from adapters.experiments.continual import plots
from adapters.experiments.continual.page import page
from adapters.experiments.continual.results import ConditionRuns
from adapters.experiments.continual.summary import summarise
from adapters.experiments.continual.table import columns, entries, group, made_of, markdown
from adapters.experiments.continual.verdict import sentences


def save_and_print(
    conditions: Sequence[ConditionRuns],
    folder: Path | None,
    *,
    command: str,
    settings: Mapping[str, Any] | None = None,
    failures: Sequence[tuple[str, str]] = (),
    margin: float = MARGIN,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Summarise the conditions, write the four files into the folder (if any), print the results and the verdict.

    Args:
        conditions: of runs that are alike.
        folder: of the experiment.
        command: that repeats it.
        settings: of the experiment, for the page.
        failures: (run, reason) of each failed run.
        margin: see `summary.summarise`.
        seed: of the resampling.
        resamples: number of resamples.
    """
    summary = summarise(conditions, margin=margin, seed=seed, resamples=resamples)
    verdict = sentences(summary)
    summary.update(verdict=verdict, failures=[{"run": run, "reason": why} for run, why in failures])
    if folder is not None:
        repeat = {
            "command": command,
            "settings": settings,
            "tasks": summary["tasks"],
            "orders": summary["orders"],
            "versions": summary["versions"],
            "hardware": summary["hardware"],
            "runs": {row["name"]: row["runs"] for row in summary["rows"] if not row["routed"]},
        }
        write_json(folder / "continual.json", {**summary, "command": command, "settings": settings})
        write_text(folder / "continual.svg", plots.averages(summary["rows"], summary["title"]))
        write_text(folder / "continual.md", markdown(summary, verdict, failures))
        write_text(folder / "continual.html", page(summary, verdict, failures, repeat))
    Console(highlight=False).print(f"\n{made_of(summary)}", markup=False)
    found = entries(summary)
    wide, narrow = (columns(found, summary["title"], narrow=short) for short in (False, True))
    print_tables(found, wide, narrow, group)
    print_sentences(verdict, failures)
    return summary
