"""comparison.html: one file that needs no network, for people who did not run the comparison."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from adapters.comparison import plots
from adapters.comparison.table import columns
from adapters.comparison.verdict import points


def page(
    summary: Mapping[str, Any], verdict: Sequence[str], failures: Sequence[tuple[str, str]],
    examples: Sequence[Mapping[str, Any]], repeat: Mapping[str, Any],
) -> str:  # fmt: skip
    """The page.

    Args:
        summary: of `results.summarise`.
        verdict: sentences.
        failures: (cell, reason) of each that failed.
        examples: on which methods disagree most: `text`, `gold`, and `answers` by row.
        repeat: what it takes to do it again: command, settings, digests.
    """
    data = summary["dataset"]
    title = f"{summary['task']} on {data['name']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">{escape(data["split"])} split, n = {data["n"]:,}; {escape(summary["metric"])} '
        f"{escape(summary['score'])}</p>",
        '<div class="verdict">' + "".join(f"<p>{escape(line)}</p>" for line in verdict) + "</div>",
        *(f'<p class="failed"><b>{escape(name)} failed:</b> {escape(why)}</p>' for name, why in failures),
        "<h2>All methods</h2>",
        _table(summary),
        _overlap(summary),
        "<h2>Pictures</h2>",
        '<div class="plots">'
        + "".join(f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"
                  for caption, svg in plots.pictures(summary["rows"], summary["score"]))
        + "</div>",
        "<h2>Which differences are shown</h2>",
        _tests(summary),
        *(["<h2>Where the methods disagree most</h2>"] if examples else []),
        *map(_example, examples),
        "<h2>To repeat it</h2>",
        f"<pre>{escape(json.dumps(repeat, indent=1, ensure_ascii=False))}</pre>",
    ]  # fmt: skip
    return document(title, parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A page of these parts, in this project's style and with its sortable tables; it needs no network."""
    style, script = _part("page.css"), _part("page.js")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{escape(title)}</title><style>{style}</style></head>'
        f"<body><main>{''.join(parts)}</main><script>{script}</script></body></html>\n"
    )


def _part(name: str) -> str:
    """A file beside this one that stands inside the page."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _table(summary: Mapping[str, Any]) -> str:
    chosen = columns(summary["rows"], summary["score"])
    head = "".join(
        f'<th class="{"n" if c.key else ""}" scope="col"><button>{escape(c.title)}</button></th>' for c in chosen
    )
    body = ""
    for row in summary["rows"]:
        cells = ""
        for column in chosen:
            key = "" if column.key is None else f' class="n" data-key="{_key(column.key(row))}"'
            cells += f"<td{key}>{escape(column.shown(row))}</td>"
        body += f"<tr>{cells}</tr>"
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _key(value: float) -> str:
    """A number to sort by; one that was not measured sorts below all."""
    return "" if math.isnan(value) else repr(value)


def _overlap(summary: Mapping[str, Any]) -> str:
    count = summary["overlap"]["count"]
    if not count:
        return '<p class="dim">No example of this split stands in train.</p>'
    first = summary["overlap"]["first"]
    shown = f", the first {_place(first[0]['test'])} as {_place(first[0]['train'])}" if first else ""
    said = f"{count:,} examples of this split stand in train too{shown}; the column “without overlap” leaves them out."
    return f'<p class="dim">{escape(said)}</p>'


def _place(where: str) -> str:
    """`file:line` without the folders above the data's own, which on another machine are others."""
    return "/".join(Path(where).parts[-2:])


def _pair(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Two rows that are held against each other; they are always of one base."""
    size = f" at {one['size']}" if one["size"] and one["size"] == other["size"] else ""
    names = [row["method"] + (f" at {row['size']}" if row["size"] and not size else "") for row in (one, other)]
    return f"{names[0]} − {names[1]}{size} ({one['base'].rpartition('/')[2]})"


def _tests(summary: Mapping[str, Any]) -> str:
    rows = ""
    for test in summary["tests"]:
        one, other = (summary["rows"][i] for i in test["rows"])
        n = summary["dataset"]["n"]
        said = "a difference is shown" if test["differs"] else f"no difference shown at n = {n:,}"
        rows += (
            f"<tr><td>{escape(_pair(one, other))}</td><td class=n>{points(test['difference'])}</td>"
            f"<td>{points(test['low'])} to {points(test['high'])}</td><td class=n>{test['p']:.4f}</td>"
            f"<td class=n>{test['p_holm']:.4f}</td><td>{said}</td><td class=n>{points(test['detectable'])}</td></tr>"
        )
    titles = {"pair": "", "difference": "n", "95 % interval": "", "p": "n", "p, Holm": "n", "": "",
              "smallest difference n could show": "n"}  # fmt: skip
    head = "".join(f'<th class="{kind}">{title}</th>' for title, kind in titles.items())
    note = ("Each method against the best and against full fine-tuning on its base. p: approximate randomisation on "
            "paired examples; interval: paired bootstrap; a true difference as large as the last column would be shown "
            "four times out of five.")  # fmt: skip
    return (f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
            f'<p class="dim">{note}</p>')  # fmt: skip


def _example(example: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(answer)}</td></tr>"
                   for name, answer in [("gold", example["gold"]), *example["answers"].items()])  # fmt: skip
    return f'<div class="example"><p>{escape(example["text"])}</p><div class="scroll"><table>{rows}</table></div></div>'
