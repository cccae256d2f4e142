"""Results as HTML, as notebooks show them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from operator import itemgetter
from typing import Any

from adapters.evaluation.metrics.base.any_metric import Section
from adapters.evaluation.report.run_report import bootstrap_of, number_cells, on_base
from adapters.evaluation.report.tables import Column, html_table
from adapters.experiments.comparison import results_table


def run_table(record: Mapping[str, Any], curve: str | None) -> str:
    """A run's main score, each report's table, its cost, and the picture of its training.

    Args:
        record: contents of scores.json.
        curve: SVG of losses and dev scores; None where nothing was trained.
    """
    data, main, cost = record["dataset"], record["main"], record["cost"]
    title = f"{record['method']} for {record['task']}{on_base(record['base'])}"
    head = f"{title}: {data['name']} {data['split']}, n = {data['n']:,}"
    value, low, high = (100 * main[key] for key in ("value", "low", "high"))
    resampled = record.get("resampled", {"units": "examples"})
    parts = [
        f"<p><b>{escape(head)}</b><br>{escape(main['title'])}: <b>{value:.2f}</b> "
        f"(95 % interval {low:.2f} to {high:.2f}, {bootstrap_of(resampled)})</p>"
    ]
    for sections in record["reports"].values():
        parts += [_section(section) for section in sections]
    if "trainable_params" not in cost:  # of an artifact whose run is not known
        return "".join(parts)
    stored = "no artifact" if cost["artifact_bytes"] is None else f"artifact {cost['artifact_bytes'] / 1e6:.1f} MB"
    share = 100 * cost["trainable_params"] / max(cost["total_params"], 1)
    parts.append(
        f"<p>{cost['trainable_params']:,} of {cost['total_params']:,} parameters trained ({share:.2f} %), "
        f"{cost['train_seconds']:.0f} s of training, {stored}</p>"
    )
    return "".join([*parts, curve or ""])


def comparison_table(record: Mapping[str, Any]) -> str:
    """A comparison's verdict and its table of results.

    Args:
        record: contents of comparison.json.
    """
    verdict = "".join(f"<p>{escape(line)}</p>" for line in record["verdict"])
    failed = "".join(f"<p>failed: {escape(one['run'])}: {escape(one['reason'])}</p>" for one in record["failures"])
    found = results_table.entries(record)
    return verdict + html_table(results_table.columns(found, record["title"]), found, sortable=False) + failed


def _section(section: Mapping[str, Any]) -> str:
    """A section of a report, with its numbers as the report shows them."""
    heads = [*next(iter(section["rows"].values()), {})]
    form = Section(
        title=section["title"],
        columns=tuple(heads),
        rows=(),
        counts=tuple(section["counts"]),
        as_given=section["as_given"],
    )
    titles = ["", *heads]
    cells = [(name, *number_cells(form, list(row.values()))) for name, row in section["rows"].items()]
    rows = [dict(zip(titles, row, strict=True)) for row in cells]
    table = html_table([Column(title=title, shown=itemgetter(title)) for title in titles], rows, sortable=False)
    remark = f"<p><i>{escape(section['remark'])}</i></p>" if section["remark"] else ""
    return f"<p>{escape(section['title'])}</p>{table}{remark}"
