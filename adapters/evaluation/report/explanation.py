"""Why an answer was given, as a terminal and as a page show it, from its record.

What speaks for an answer is blue and underlined, what speaks against it orange and underlined by dashes, so that
neither colours nor brightness alone tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adapters.evaluation.report import html

SHOWN = 12
"""Parts with the largest values that are listed."""
BAR = 16
"""Characters of the longest bar in a terminal."""
LONGEST = 60
"""Characters of a part, and of a training example, on one line."""
WHOLE = 3000
"""Characters of the longest text that a terminal shows."""
DEEPEST = 0.55
"""Share of colour behind the word that counts most; its letters stay dark enough to be read."""
MARKED = 0.05
"""Words with less than this share of the largest value are not marked."""
BLUE, ORANGE = (33, 102, 172), (214, 110, 10)
STYLE = """
.words{background:#fff;border:1px solid #dde3ea;border-radius:6px;padding:12px 16px;line-height:2;white-space:pre-wrap;
overflow-wrap:anywhere;color:#1c2430}
.words .for,.legend .for{border-bottom:2px solid rgb(33,102,172)}
.words .against,.legend .against{border-bottom:2px dashed rgb(214,110,10)}
.words .column{color:#5b6776;font-size:.85rem;display:block;line-height:1.3}
.counts td.bar{min-width:140px}
.counts td.bar div{height:10px}
.counts td.bar .for{background:rgb(33,102,172)}
.counts td.bar .against{background:repeating-linear-gradient(90deg,rgb(214,110,10) 0 5px,#fff 5px 7px)}
.counts td{white-space:normal;overflow-wrap:break-word;min-width:9em}
.counts td.n{white-space:nowrap;min-width:0}
"""


LEGEND = (
    '<p class="dim legend"><span class="for">blue</span> speaks for it, <span class="against">orange, dashed</span> '
    "against it; the darker, the more.</p>"
)


def headline(record: Mapping[str, Any]) -> str:
    """What is explained, and how sure the model is of it."""
    share = record["probability"]
    sure = "" if share is None else f" (probability {share:.3g})"
    return f"{record['task']} by {record['model']}: {record['target']}{sure}"


def method_line(record: Mapping[str, Any]) -> str:
    """How it was explained, and what the values add up to."""
    shots = any(part["column"] == "shot" for part in record["parts"])
    what = "" if shots or record["probability"] is None else " (the logit, less the others' mean)"
    line = f"{record['method']}: what the {'shots' if shots else 'words'} add to the score {record['score']:.3g}{what}"
    if record["base"] is not None:
        line += f"; {record['base']:.3g} without any"
    return line if record["error"] is None else f"{line}; error of the sum {100 * record['error']:.2g} %"


def largest(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts that count most, in order."""
    order = sorted(parts, key=lambda part: -abs(part["value"]))
    return [part for part in order[:SHOWN] if part["value"]]


def terminal(record: Mapping[str, Any]) -> RenderableType:
    """The text with its words marked, the words that count most, and the nearest training examples."""
    shown: list[RenderableType] = [Text(headline(record), style="bold"), Text(method_line(record), style="dim")]
    most = _most(record)
    for column, text in record["texts"].items():
        line = Text(f"{column}: " if len(record["texts"]) > 1 else "")
        if len(text) > WHOLE:
            shown += [Text(), line.append(f"(a text of {len(text):,} characters: a page shows it, --output why.html)")]
            continue
        for piece, part in _pieces(record, column, text):
            share = part["value"] / most if part is not None else 0.0
            marked = abs(share) >= MARKED
            style = ("bold blue underline" if share > 0 else "dark_orange3 italic") if marked else ""
            line.append(piece, style=style)
        shown += [Text(), line]
    table = Table(box=None, show_header=False, padding=(0, 1))
    for part in largest(record["parts"]):
        share = part["value"] / most
        bar = Text("█" * max(round(BAR * abs(share)), 1), style="blue" if share > 0 else "dark_orange3")
        named = _shortened(part["text"]) + (f" → {part['label']}" if part["label"] else "")
        table.add_row(Text(f"{part['value']:+.3f}"), bar if share > 0 else Text("░" * len(bar), bar.style), Text(named))
    shown += [Text(), table]
    if record["neighbours"]:
        shown += [Text(), Text("Decided like these of train:", style="bold")]
        for one in record["neighbours"]:
            shown.append(Text(f"  {one['similarity']:.3f}  {_answer(one['answer'])}: {_shortened(one['text'])}"))
    return Group(*shown, *(Text(f"note: {note}", style="italic") for note in record["notes"]))


def page(record: Mapping[str, Any]) -> str:
    """A page that needs no network."""
    return html.document(f"Why {record['target']}", [fragment(record)])


def fragment(record: Mapping[str, Any]) -> str:
    """The explanation as a part of a page."""
    most, parts = _most(record), [f"<style>{STYLE}</style>"]
    parts.append(html.verdict([headline(record), method_line(record)]))
    for column, text in record["texts"].items():
        title = f'<span class="column">{escape(column)}</span>' if len(record["texts"]) > 1 else ""
        words = "".join(_word(piece, part, most) for piece, part in _pieces(record, column, text))
        parts.append(f'<p></p><div class="words" dir="auto">{title}{words}</div>')
    parts.append(LEGEND)
    rows = "".join(_row(part, most) for part in largest(record["parts"]))
    parts.append(_table("What counts most", rows))
    if record["neighbours"]:
        near = "".join(
            f'<tr><td class="n">{one["similarity"]:.3f}</td><th scope="row">{escape(_answer(one["answer"]))}</th>'
            f"<td>{escape(one['text'])}</td><td>{escape(one['where'])}</td></tr>"
            for one in record["neighbours"]
        )
        parts.append(_table("Decided like these of train", near))
    return "".join([*parts, *(f'<p class="dim">{escape(note)}</p>' for note in record["notes"])])


def _table(title: str, rows: str) -> str:
    """A titled table that may be wider than the page."""
    return f'<h2>{title}</h2><div class="scroll" tabindex="0"><table class="counts"><tbody>{rows}</tbody></table></div>'


def _most(record: Mapping[str, Any]) -> float:
    return max((abs(part["value"]) for part in record["parts"]), default=0.0) or 1.0


def _pieces(record: Mapping[str, Any], column: str, text: str) -> list[tuple[str, Mapping[str, Any] | None]]:
    """A text cut at its words: each piece, with its part if it is a word."""
    found: list[tuple[str, Mapping[str, Any] | None]] = []
    at = 0
    for part in (part for part in record["parts"] if part["column"] == column):
        found += [(text[at : part["start"]], None), (text[part["start"] : part["end"]], part)]
        at = part["end"]
    return [*found, (text[at:], None)]


def _word(piece: str, part: Mapping[str, Any] | None, most: float) -> str:
    share = part["value"] / most if part is not None else 0.0
    if abs(share) < MARKED or part is None:
        return escape(piece)
    side, colour = ("for", BLUE) if share > 0 else ("against", ORANGE)
    red, green, blue = colour
    return (
        f'<span class="{side}" title="{part["value"]:+.3g}" '
        f'style="background:rgba({red},{green},{blue},{DEEPEST * abs(share):.2f})">{escape(piece)}</span>'
    )


def _row(part: Mapping[str, Any], most: float) -> str:
    share = part["value"] / most
    side = "for" if share > 0 else "against"
    label = f" → {escape(part['label'])}" if part["label"] else ""
    return (
        f'<tr><th scope="row">{escape(part["text"])}{label}</th><td class="n">{part["value"]:+.3f}</td>'
        f'<td class="bar"><div class="{side}" style="width:{100 * abs(share):.0f}%"></div></td></tr>'
    )


def _answer(answer: Any) -> str:
    """A gold answer on one line: a label, or the entities."""
    if isinstance(answer, list):
        each = [f"{one['label']} {one['text']}" if isinstance(one, Mapping) else str(one) for one in answer]
        return ", ".join(each) or "none"
    return str(answer)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
