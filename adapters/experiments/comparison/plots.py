"""Plots of a comparison, as SVG inside a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.evaluation.report.labels import Label, at_ends, at_points
from adapters.evaluation.report.svg import COLOURS, DIM, SIZE, amount, drawn, score_axis
from adapters.evaluation.report.tables import points, short_name
from adapters.experiments.comparison import curve_plots
from adapters.experiments.comparison.results_table import interval_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Rows = Sequence[Mapping[str, Any]]


COSTS = (
    ("trainable_params", "Parameters trained", "the parameters trained", ""),
    ("train_seconds", "Training time (s)", "training time", ""),
    ("artifact_bytes", "Storage for one more task", "storage", "B"),
    ("latency_p50_ms", "Time for one example alone (ms)", "latency", ""),
)
"""Key of the row, title of the axis, words of a caption, and the unit whose multiples the axis shows."""
_MARKERS = ("o", "s", "^", "D", "v", "P")
MOST_LABELS, LONGEST_NAME = 40, 20
PLAIN = 100_000
"""An axis of numbers below it shows all their digits, another one multiples (10 k, 1 M)."""


def pictures(rows: Rows, score: str) -> list[tuple[str, str]]:
    """(title, SVG) of each plot for which the rows have data, without that of `by_label`."""
    out = []
    for key, axis, words, unit in COSTS:
        own = [row for row in rows if row.get(key) is not None]
        if own:
            title = f"{score} against {words}"
            draw = partial(scatter, rows=own, key=key, axis=axis, unit=unit, score=score, all_rows=rows)
            told = "; ".join(f"{name(row)}: {points(row['value'])} at {amount(row[key], unit)}" for row in own)
            out.append((title, drawn(draw, size=_size(rows), title=title, description=told)))
    if any(row["size"] for row in rows):
        title = "How many labelled examples?"
        told = _told(rows, lambda row: f"{points(row['value'])} with {row['train_examples']:,}")
        out.insert(
            0, (title, drawn(lambda ax: _sizes(ax, rows, score), size=_size(rows), title=title, description=told))
        )
    searched = _searched(rows)
    if searched:
        title = "Expected best dev score after k trials"
        told = _told(searched, lambda row: f"{points(row['tuning']['curve'][-1])} after {len(row['tuning']['curve'])}")
        out.append(
            (
                title,
                drawn(lambda ax: _trials(ax, searched, rows, score), size=_size(rows), title=title, description=told),
            )
        )
    learned = [row for row in rows if row["curve"]]
    if learned:
        title = "Dev score while training"
        told = _told(learned, lambda row: f"{points(row['curve'][-1]['score'])} at step {row['curve'][-1]['step']:,}")
        out.append(
            (
                title,
                drawn(lambda ax: _curves(ax, learned, rows, score), size=_size(rows), title=title, description=told),
            )
        )
    if curve_plots.timed(rows):
        title = f"Dev {score} after seconds of training"
        by_time = drawn(lambda ax: curve_plots.score_by_time(ax, rows, score), size=_size(rows), title=title)
        out.append((title, by_time))
    return out


def by_label(rows: Rows) -> str | None:
    """SVG of the F1 of each label by method; None where the metric has no labels."""
    labels = list(dict.fromkeys(label for row in rows for label in row["by_label"]))[:MOST_LABELS]
    if not labels:
        return None
    told = "; ".join(f"{label}: {', '.join(_of_label(rows, label))}" for label in labels)
    size = SIZE[0], 1.2 + 0.3 * len(labels) + 0.2 * math.ceil(len(rows) / _across(rows))
    return drawn(lambda ax: _labels(ax, rows, labels), size=size, title="F1 by label", description=told)


def _of_label(rows: Rows, label: str) -> list[str]:
    """Each row's name and its score of a label."""
    return [f"{name(row)} {points(row['by_label'][label])}" for row in rows if label in row["by_label"]]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the Pareto-optimal points: no other costs no more and scores no less, with one of the two better."""
    best, out = -math.inf, []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            best = points[i][1]
            out.append(i)
    return out


def name(row: Mapping[str, Any]) -> str:
    """A row's name where it stands alone: method, base and training size, as far as it has them."""
    more = ", ".join(part for part in (short_name(row["base"]), row["size"]) if part)
    return f"{row['method']} ({more})" if more else str(row["method"])


def _told(rows: Rows, what: Any) -> str:
    """What a picture shows, a part for each row."""
    return "; ".join(f"{name(row)}: {what(row)}" for row in rows)


def _size(rows: Rows) -> tuple[float, float]:
    """Width and height with room for the names of all rows."""
    return SIZE[0], max(SIZE[1], 1.2 + 0.17 * len(rows))


def _short(row: Mapping[str, Any]) -> str:
    """A row's name at a point, whose marker tells the base."""
    method = row["method"] if len(row["method"]) <= LONGEST_NAME else f"{row['method'][: LONGEST_NAME - 1]}…"
    return f"{method}, {row['size']}" if row["size"] else method


def scatter(axes: Axes, rows: Rows, key: str, axis: str, unit: str, score: str, all_rows: Rows) -> None:
    """Score with interval against a cost, as a point of each row; the Pareto front as a line."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    at = [(float(row[key]), 100 * row["value"]) for row in rows]
    for row, (x, y) in zip(rows, at, strict=True):
        low, high = interval_ends(row)
        error = [[max(y - 100 * low, 0)], [max(100 * high - y, 0)]]
        axes.errorbar(x, y, error, capsize=3, lw=1.2, **_look(all_rows, row))
    _cost_axis(axes, [x for x, _ in at])
    plain = not unit and max(x for x, _ in at) < PLAIN
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}" if plain else amount(x, unit)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(axis)
    score_axis(axes, f"{score}, 95 % interval")
    labels = [
        Label(x=x, y=y, text=_short(row), colour=DIM, low=100 * interval_ends(row)[0], high=100 * interval_ends(row)[1])
        for row, (x, y) in zip(rows, at, strict=True)
    ]
    best = [at[i] for i in front(at)]
    if len(best) > 1:
        axes.plot(*zip(*best, strict=True), color=DIM, lw=1, ls="--", zorder=0)
        labels.append(_of_front(axes, best))
    _bases(axes, all_rows)
    at_points(axes, labels, line=best)


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    """A logarithmic axis, with a place for 0 where something costs nothing."""
    positive = [cost for cost in costs if cost > 0]
    first = 10 ** math.floor(math.log10(min(positive, default=1.0)))
    last = 10 ** math.ceil(math.log10(max(positive, default=1.0) * 1.0001))
    decades = round(math.log10(last / first))
    step = math.ceil((decades + 1) / 8)
    ticks = [first * 10**k for k in range(0, decades + 1, step)]
    if len(positive) == len(costs):
        axes.set_xscale("log")
        axes.set_xlim(first / 1.5, last * 1.5)
    else:
        axes.set_xscale("symlog", linthresh=first, linscale=0.6)
        axes.set_xlim(-0.35 * first, last * 1.5)
        ticks.insert(0, 0)
    axes.set_xticks(ticks)


def _of_front(axes: Axes, best: Sequence[tuple[float, float]]) -> Label:
    """The front's name, at the middle of its longest part."""
    at = axes.transData.transform(best)
    lengths = ((at[1:] - at[:-1]) ** 2).sum(1)
    longest = int(lengths.argmax())
    x, y = axes.transData.inverted().transform((at[longest] + at[longest + 1]) / 2)
    return Label(x=float(x), y=float(y), text="Pareto front", colour=DIM)


def _bases(axes: Axes, rows: Rows) -> None:
    """Which marker is which base, above the plot; nothing where there is one base."""
    from matplotlib.lines import Line2D

    bases = list(dict.fromkeys(row["base"] for row in rows))
    if len(bases) > 1:
        keys = [
            Line2D([], [], color=DIM, marker=_marker(rows, base), ls="", label=short_name(base) or "no base model")
            for base in bases
        ]
        across = 2 if max(len(str(key.get_label())) for key in keys) > 18 else 3
        axes.legend(
            handles=keys,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=across,
            frameon=False,
            fontsize=9,
            borderpad=0,
            handletextpad=0.2,
        )


def _sizes(axes: Axes, rows: Rows, score: str) -> None:
    """Score by number of labelled examples; rows without training as horizontal lines."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    sized: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        sized.setdefault((row["method"], row["base"]), []).append(row)
    axes.set_xscale("log")
    ends = []
    counts = sorted({row["labels"] for row in rows if row["size"]})
    for own in sized.values():
        look = _look(rows, own[0])
        if own[0]["size"]:
            own = sorted(own, key=lambda row: row["train_examples"])
            at = [row["labels"] for row in own]
            axes.plot(at, [100 * row["value"] for row in own], **{**look, "ls": "-"}, ms=5)
            low, high = ([100 * end for end in ends] for ends in zip(*map(interval_ends, own), strict=True))
            axes.fill_between(at, low, high, color=look["color"], alpha=0.12, lw=0)
        else:
            at = [counts[-1]]
            axes.axhline(100 * own[0]["value"], color=look["color"], ls="--", lw=1.2)
        ends.append(
            Label(x=at[-1], y=100 * own[-1]["value"], text=_short({**own[-1], "size": ""}), colour=look["color"])
        )
    axes.set_xticks(counts)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Labelled examples (train and dev)")
    score_axis(axes, f"{score}, 95 % interval")
    _bases(axes, rows)
    at_ends(axes, ends)


def _searched(rows: Rows) -> list[Mapping[str, Any]]:
    """A row for each method and base whose search has a curve."""
    found = {(row["method"], row["base"]): row for row in rows if (row.get("tuning") or {}).get("curve")}
    return list(found.values())


def _trials(axes: Axes, searched: Rows, rows: Rows, score: str) -> None:
    """The best dev score that a search of so many trials is expected to find."""
    from matplotlib.ticker import MaxNLocator

    ends = []
    for row in searched:
        scores, look = [100 * value for value in row["tuning"]["curve"]], _look(rows, row)
        axes.plot(range(1, len(scores) + 1), scores, **{**look, "ls": "-"}, ms=4)
        ends.append(Label(x=len(scores), y=scores[-1], text=_short({**row, "size": ""}), colour=look["color"]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Trials")
    score_axis(axes, f"Expected best dev {score}")
    _bases(axes, rows)
    at_ends(axes, ends)


def _curves(axes: Axes, learned: Rows, rows: Rows, score: str) -> None:
    """Dev score after each epoch, of the first seed."""
    ends = []
    for row in learned:
        steps, scores = zip(*((point["step"], 100 * point["score"]) for point in row["curve"]), strict=True)
        look = _look(rows, row)
        axes.plot(steps, scores, **{**look, "ls": "-"}, ms=4)
        ends.append(Label(x=steps[-1], y=scores[-1], text=_short(row), colour=look["color"]))
    axes.set_xlabel("Training steps (first seed)")
    score_axis(axes, f"Dev {score}")
    _bases(axes, rows)
    at_ends(axes, ends)


def _labels(axes: Axes, rows: Rows, labels: Sequence[str]) -> None:
    """Score of each label as a dot of each row, on a line that joins the lowest with the highest: labels are in no
    order, so nothing joins two of them."""
    shown = [row for row in rows if row["by_label"]]
    apart = min(0.6 / len(shown), 0.14)
    dots = []
    for number, row in enumerate(shown):
        at = number * apart - apart * (len(shown) - 1) / 2
        found = [(100 * row["by_label"][label], y + at) for y, label in enumerate(labels) if label in row["by_label"]]
        xs, ys = zip(*found, strict=True) if found else ((), ())
        dots += axes.plot(xs, ys, **_look(rows, row), ms=6, label=_key(rows, row), zorder=2)
    for y, label in enumerate(labels):
        of = [100 * row["by_label"][label] for row in shown if label in row["by_label"]]
        axes.plot([min(of), max(of)], [y, y], color=DIM, lw=0.8, alpha=0.5, zorder=1)
    names = [label if len(label) <= 24 else f"{label[:23]}…" for label in labels]
    axes.set_yticks(range(len(labels)), names)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("F1 of the label")
    axes.figure.legend(
        handles=dots,
        loc="outside upper left",
        ncols=_across(rows),
        frameon=False,
        fontsize=9,
        handletextpad=0.2,
        columnspacing=1,
    )


def _key(rows: Rows, row: Mapping[str, Any]) -> str:
    """A row's name in a legend: its method, and where there are several bases its base, each cut where it is long."""
    base = short_name(row["base"]) if len({other["base"] for other in rows}) > 1 else ""
    return f"{_short(row)}, {base[:LONGEST_NAME]}" if base else _short(row)


def _across(rows: Rows) -> int:
    """Columns of a legend of all rows."""
    return max(1, min(4, 72 // (max(len(_key(rows, row)) for row in rows) + 4)))


def _look(rows: Rows, row: Mapping[str, Any]) -> dict[str, Any]:
    """A method has one colour in every plot, and a base one marker."""
    kinds = list(dict.fromkeys(other["method"] for other in rows))
    colour = COLOURS[kinds.index(row["method"]) % len(COLOURS)]
    return {"color": colour, "marker": _marker(rows, row["base"]), "ls": ""}


def _marker(rows: Rows, base: str) -> str:
    bases = list(dict.fromkeys(row["base"] for row in rows))
    return _MARKERS[bases.index(base) % len(_MARKERS)]
