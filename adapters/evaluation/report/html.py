"""Pages that need no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any


def document(title: str, parts: Sequence[str]) -> str:
    """A page of these parts, with the style and the sortable tables of this project built in."""
    style, script = _read("page.css"), _read("page.js")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{escape(title)}</title><style>{style}</style></head>'
        f"<body><main>{''.join(parts)}</main><script>{script}</script></body></html>\n"
    )


def verdict(lines: Sequence[str]) -> str:
    """The sentences at the top of a page."""
    return '<div class="verdict">' + "".join(f"<p>{escape(line)}</p>" for line in lines) + "</div>"


def figure(caption: str, svg: str) -> str:
    """A picture with its caption."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def how_to_repeat(repeat: Mapping[str, Any]) -> str:
    """The end of a page: command, settings, digests and versions."""
    return f"<h2>How to repeat it</h2><pre>{escape(json.dumps(repeat, indent=1, ensure_ascii=False))}</pre>"


def _read(name: str) -> str:
    """A file of this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
