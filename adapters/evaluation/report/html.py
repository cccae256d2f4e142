"""Pages that need no network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from adapters.core.errors import numbered


def document(title: str, parts: Sequence[str]) -> str:
    """A page of these parts, with the style and the sortable tables of this project built in."""
    style, script = _read("page.css"), _read("page.js")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{escape(title)}</title><style>{style}</style></head>'
        f"<body><main>{''.join(parts)}</main><script>{script}</script></body></html>\n"
    )


def verdict(lines: Sequence[str]) -> str:
    """The answer at the top of a page: its first sentence large, then the others."""
    first, *rest = [*first_sentence(lines[0]), *lines[1:]] if lines else [""]
    return (
        f'<div class="verdict" role="note"><p class="answer">{escape(first)}</p>'
        f"{''.join(f'<p>{escape(line)}</p>' for line in rest)}</div>"
    )


def first_sentence(text: str) -> list[str]:
    """A text's first sentence and the rest, if there is one."""
    return re.split(r"(?<=[^.]\.) (?=[A-Z])", text, maxsplit=1)


def figure(caption: str, svg: str) -> str:
    """A picture with its caption."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def folded(title: str, parts: Sequence[str], *, name: str = "") -> str:
    """A part of the page that is opened by a click.

    Args:
        title: always shown.
        parts: what is folded.
        name: id of the part, for links.
    """
    named = f' id="{name}"' if name else ""
    return f"<details{named}><summary><h2>{escape(title)}</h2></summary>{''.join(parts)}</details>"


def failed(failures: Sequence[tuple[str, str]], what: str = "runs") -> str:
    """The name of each thing that failed and the reason, which nothing folds away; empty where none failed.

    Args:
        failures: (name, reason).
        what: they are, in the plural.
    """
    lines = "".join(f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in failures)
    told = f'<div class="failed" role="note"><b>{numbered(len(failures), what)} failed</b><ul>{lines}</ul></div>'
    return told if failures else ""


def how_made(paragraphs: Sequence[tuple[str, str, str]]) -> str:
    """(id, title, text) of each number: what the question marks of columns (`Column.about`) lead to."""
    told = "".join(f'<dt id="how-{name}">{escape(what)}</dt><dd>{escape(text)}</dd>' for name, what, text in paragraphs)
    return folded("How each number was made", [f"<dl>{told}</dl>"], name="how")


def how_to_repeat(repeat: Mapping[str, Any]) -> str:
    """The end of a page: the command, then settings, digests and versions."""
    command = f"<pre>{escape(str(repeat['command']))}</pre>" if repeat.get("command") else ""
    rest = {key: value for key, value in repeat.items() if key != "command"}
    return folded(
        "How to repeat it: command, settings, versions",
        [command, f"<pre>{escape(json.dumps(rest, indent=1, ensure_ascii=False))}</pre>"],
        name="repeat",
    )


def _read(name: str) -> str:
    """A file of this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
