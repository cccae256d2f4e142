"""The fenced blocks, links and flags of README and docs/, for the tests that run, parse or resolve them.

The comment before a bash or Python block says what is done with it: nothing (it is run, in the order of the pages),
`command: …`, `needs: hub`, `needs: server`, `launch`, `cluster`, `serving`, `plugins`, `result`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from conftest import REPOSITORY

PAGES = (
    "README.md",
    "docs/data.md",
    "docs/training.md",
    "docs/relations.md",
    "docs/prompting.md",
    "docs/comparing.md",
    "docs/continual.md",
    "docs/bank.md",
    "docs/customer_service.md",
    "docs/news_monitor.md",
    "docs/recommendation.md",
    "docs/serving.md",
    "docs/explaining.md",
    "docs/export.md",
    "docs/chinese.md",
    "docs/plugins.md",
    "docs/notebooks.md",
    "docs/results.md",
    "docs/architecture.md",
    "docs/glossary.md",
)
"""In the order in which their commands are run: some use what those before them leave."""
TRANSLATION, FURTHER = "README.zh-CN.md", ("CONTRIBUTING.md", "CHANGELOG.md")
MARKS = {
    "",
    "chinese",
    "needs: hub",
    "needs: server",
    "launch",
    "cluster",
    "serving",
    "plugins",
    "result",
    "command: main",
    "command: tests",
}

_BLOCK = re.compile(
    r"^(?P<intro>[^\n]*)\n\n?(?:<!-- (?P<mark>[^>]+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.M | re.S
)
_PLUGIN = re.compile(r"`mine/(?P<path>[\w/.]+)`")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.M)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: the page, the comment before it, its language, its text, and the line of prose before it."""

    page: str
    mark: str
    kind: str
    body: str
    intro: str

    @property
    def plugin(self) -> str:
        """Path below a plugin folder, where the block is such a file."""
        found = _PLUGIN.search(self.intro)
        return found["path"] if found and self.kind in ("python", "toml") else ""

    def commands(self) -> list[list[str]]:
        """The words of each command; a line that ends with a backslash continues."""
        return [shlex.split(line) for line in self.body.replace("\\\n", " ").splitlines() if line.strip()]


def text(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks(page: str, kind: str) -> list[Block]:
    """The blocks of a language on a page, in order."""
    found = [
        Block(page=page, mark=m["mark"] or "", kind=m["kind"], body=m["body"], intro=m["intro"])
        for m in _BLOCK.finditer(text(page))
    ]
    return [block for block in found if block.kind == kind]


def all_blocks(kind: str, mark: str | None = None) -> Iterator[Block]:
    """The blocks of all pages; with `mark`, those after that comment."""
    for page in PAGES:
        yield from (block for block in blocks(page, kind) if mark is None or block.mark == mark)


def marked(mark: str) -> Block:
    """The one bash block after a comment."""
    (block,) = all_blocks("bash", mark)
    return block


def plugin_files(page: str = "docs/plugins.md") -> dict[str, str]:
    """Path below the plugin folder -> text."""
    return {block.plugin: block.body for kind in ("python", "toml") for block in blocks(page, kind) if block.plugin}


def without_blocks(page: str) -> str:
    """A page's prose."""
    return re.sub(r"^```\w+\n.*?^```$", "", text(page), flags=re.M | re.S)


def links(page: str) -> list[str]:
    """Where a page's links lead."""
    return [match["target"] for match in _LINK.finditer(without_blocks(page))]


def anchors(page: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in _HEADING.findall(without_blocks(page)))
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}
