"""What a monitor prints of a period, and its page: alarms with their evidence, and sentiment over time with bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from adapters.applications.news_monitor.monitor import Monitor
from adapters.core.errors import numbered
from adapters.evaluation.report import html
from adapters.evaluation.report.run_report import plain
from adapters.evaluation.report.svg import COLOURS, drawn
from adapters.evaluation.report.tables import Column, html_table, points, rich_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PLOTS = 12
MOST_SENTIMENTS = 8
MOST_POINTS = 240
"""Maximum of a plot; windows are aggregated to it."""
WIDTH = 3.92
"""Standard deviations in a band of 95 %."""
SIZE = (9.0, 2.6)
HOW = [
    (
        "expected",
        "Expected",
        "The number of negative items expected in a window with this number of items: learned from the windows before "
        "it, by hour and weekday, with their spread from window to window. Windows of an alarm are not learned.",
    ),
    (
        "p",
        "p",
        "The probability of at least this number of negative items if nothing has changed. An alarm is raised where p "
        "is so small that --false_alarms_per_month alarms are expected in 30 days where nothing changes, over all "
        "topics and entities together.",
    ),
    (
        "corrected",
        "Corrected shares",
        "The share of negative items, corrected for the classifier's errors (Rogan and Gladen 1978), whose rates are "
        "estimated on --labelled_file. Alarms need no correction: the baseline has the same errors.",
    ),
    (
        "band",
        "The plots",
        "Of each window, or of several together, the share of negative items (line), and where 95 % of windows would "
        "be if nothing had changed (band). Alarms are marked from their beginning to their end.",
    ),
]


def report(monitor: Monitor) -> str:
    """The period as text."""
    alarms = monitor.alarms()
    lines = [headline(monitor), *tallied(monitor), ""]
    if alarms:
        lines.append(plain(rich_table(_alarm_columns(monitor, alone=True), alarms, width=None)).rstrip())
    return "\n".join([*lines, ""])


def headline(monitor: Monitor) -> str:
    """What was watched, and how many alarms there were."""
    alarms, totals = monitor.alarms(), {row[0]: row[1:] for row in monitor.store.totals()}
    windows, items, negative = totals.get("all", (0, 0, 0))
    on = sum(alarm["state"] != "ended" for alarm in alarms)
    share = f", {points(negative / items)} % negative" if items else ""
    end = f" ({on} on)" if on else ""
    return (
        f"{numbered(len(alarms), 'alarms')}{end}: {numbered(items, 'items')} in {numbered(windows, 'windows')}{share}, "
        f"{len(totals):,} series"
    )


def tallied(monitor: Monitor) -> list[str]:
    """What became of the items, with the first places."""
    lines = []
    for what, own in sorted(monitor.tally.items(), key=lambda one: -one[1]["count"]):
        places = ", ".join([*own["places"], *["…"] * (own["count"] > len(own["places"]))])
        lines.append(f"{own['count']:,} {what}" + ("" if what == "counted" else f" ({places})"))
    if found := monitor.store.sentiments():
        shown = ", ".join(f"{name} {count:,}" for name, count in [*found.items()][:MOST_SENTIMENTS])
        negative = monitor.settings.negative_labels
        none = f". None of them is negative (--negative_labels {' '.join(negative)})"
        lines.append(f"sentiment: {shown}" + ("" if found.keys() & {*negative} else none))
    return lines


def page(monitor: Monitor, settings: Mapping[str, Any]) -> str:
    """The page: alarms, then the sentiment of the series that had one, and of the largest."""
    alarms = monitor.alarms()
    names = list(dict.fromkeys(alarm["series"] for alarm in alarms))
    names = list(dict.fromkeys([*names, *(row[0] for row in monitor.store.totals())]))[:MOST_PLOTS]
    evidence = [
        html.folded(f"{_minute(alarm['since'])} {alarm['series']}", [_evidence(alarm)]) for alarm in reversed(alarms)
    ]
    parts = [
        "<h1>News monitor</h1>",
        html.verdict([f"{headline(monitor)}."]),
        "<h2>Alarms</h2>",
        html_table(_alarm_columns(monitor), alarms) if alarms else "<p>None.</p>",
        '<p class="dim"><a href="#how">How each number was made</a></p>',
        *evidence,
        "<h2>Sentiment</h2>",
        *(html.figure(name, plot(monitor, name, [a for a in alarms if a["series"] == name])) for name in names),
        html.folded("What was read", ["<ul>", *(f"<li>{escape(line)}</li>" for line in tallied(monitor)), "</ul>"]),
        html.how_made(HOW),
        html.how_to_repeat({"settings": dict(settings)}),
    ]
    return html.document("News monitor", parts)


def plot(monitor: Monitor, name: str, alarms: Sequence[Mapping[str, Any]]) -> str:
    """SVG of a series' share of negative items over time."""
    found = grouped(monitor.store.history(name))
    description = "; ".join(f"alarm from {alarm['since']}" for alarm in alarms) or "no alarm"
    marks = [(_seconds(alarm["since"]), _seconds(alarm.get("until"))) for alarm in alarms]
    return drawn(
        lambda axes: _curve(axes, found, marks, monitor.seconds),
        size=SIZE,
        title=f"Share of negative items: {name}",
        description=description,
    )


def grouped(windows: Sequence[Mapping[str, Any]], most: int = MOST_POINTS) -> list[dict[str, float]]:
    """Windows aggregated to at most `most` points: the windows from `window` up to `end`, share, low and high of the
    band, expected share, and their items."""
    size = max(math.ceil(len(windows) / most), 1)
    points_ = []
    for begin in range(0, len(windows), size):
        part = windows[begin : begin + size]
        n = sum(one["n"] for one in part)
        expected = sum(one["expected"] for one in part)
        low, high = part[0]["low"], part[0]["high"]
        if len(part) > 1:  # windows vary each for itself: their variances add up
            wide = math.sqrt(sum(((one["high"] - one["low"]) / WIDTH) ** 2 for one in part)) * WIDTH / 2
            low, high = max(expected - wide, 0.0), min(expected + wide, n)
        shares = {"share": sum(one["k"] for one in part), "expected": expected, "low": low, "high": high}
        whole = {"window": part[0]["window"], "end": part[-1]["window"] + 1, "items": n}
        points_.append({**whole, **{key: value / n for key, value in shares.items()}})
    return points_


def _curve(
    axes: Axes, found: Sequence[Mapping[str, float]], marks: Sequence[tuple[float, float]], seconds: float
) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    at = [datetime.fromtimestamp((one["window"] + 0.5) * seconds, UTC) for one in found]
    percent = {key: [100 * one[key] for one in found] for key in ("share", "expected", "low", "high")}
    axes.fill_between(at, percent["low"], percent["high"], color=COLOURS[0], alpha=0.18, lw=0, step="mid")  # type: ignore[arg-type]
    axes.plot(at, percent["expected"], color=COLOURS[0], lw=1)  # type: ignore[arg-type]
    axes.plot(at, percent["share"], color=COLOURS[4], lw=1.2, marker=".", ms=3)  # type: ignore[arg-type]
    last = at[-1].timestamp() if at else 0.0
    for begin, end in marks:
        span = [datetime.fromtimestamp(one, UTC) for one in (begin, end if math.isfinite(end) else last)]
        axes.axvspan(span[0], span[1], color=COLOURS[1], alpha=0.25, lw=1)  # type: ignore[arg-type]
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_ylabel("Negative, %")
    axes.set_ylim(bottom=0)


def _seconds(time: str | None) -> float:
    return math.inf if time is None else datetime.fromisoformat(time).timestamp()


def _alarm_columns(monitor: Monitor, *, alone: bool = False) -> list[Column]:
    """The columns of alarms: their strongest window; `alone`: those that fit a terminal."""

    def number(key: str) -> Column:
        return Column(
            title=key,
            shown=lambda row: f"{row['evidence'][key]:.2g}" if key == "p" else f"{row['evidence'][key]:g}",
            key=lambda row: float(row["evidence"][key]),
            about=key if key in ("expected", "p") and not alone else "",
        )

    columns = [
        Column(title="since, UTC", shown=lambda row: _minute(row["since"])),
        Column(title="series", shown=lambda row: row["series"], folds=True),
        *(number(key) for key in ("items", "negative", "expected", "p")),
    ]
    if monitor.correction is not None:
        columns.append(Column(title="corrected, %", shown=_corrected, about="" if alone else "corrected"))
    if not alone:
        columns.append(Column(title="until", shown=lambda row: _minute(row.get("until", "on"))))
        columns.append(Column(title="ended, as", shown=lambda row: row.get("reason", "–")))
    return columns


def _minute(time: str) -> str:
    """A time in ISO 8601 to the minute, as people write it."""
    return time[:16].replace("T", " ")


def _corrected(row: Mapping[str, Any]) -> str:
    own = row["evidence"].get("corrected")
    return "–" if own is None else f"{points(own['share'])} ({points(own['expected'])} expected)"


def _evidence(alarm: Mapping[str, Any]) -> str:
    """The windows of an alarm, its sources, and the items of its strongest window."""
    own = alarm["evidence"]
    sources = ", ".join(f"{escape(name) or 'no source'}: {count}" for name, count in own["sources"].items())
    items = "".join(
        f"<li>{_minute(one['at'])} {escape(one['text'])} <span class='dim'>{escape(one['source'])}</span></li>"
        for one in own["evidence"]
    )
    columns = [Column(title=key, shown=lambda row, key=key: str(row[key])) for key in alarm["windows"][0]]  # type: ignore[misc]
    table = html_table(columns, alarm["windows"], sortable=False)
    return f"{table}<p>Negative items by source: {sources}</p><ul>{items}</ul>"
