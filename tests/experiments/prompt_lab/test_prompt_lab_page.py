"""The lab's page: one whole HTML file with every condition, in which no name of the user's is markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
import tiny
from labs import GRID, furnished, ran

from adapters.experiments.prompt_lab.plot import short

pytestmark = pytest.mark.usefixtures("one_thread")
VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a Llama alone."""
    folder = tmp_path_factory.mktemp("small")
    tiny.llama(folder / "model")
    return furnished(folder)


class Page(HTMLParser):
    """Checks that every element is closed in its turn, and keeps texts, cells and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.outside += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "tbody" in self.open and ("td" in self.open or "th" in self.open):
            self.rows[-1].append(data)


def test_the_page_is_whole_and_shows_every_condition(small: Path, tmp_path: Path) -> None:
    bad = "<b onload=x>&$a$|"
    (tmp_path / f"{bad}.toml").write_text((small / "one.toml").read_text())
    before = [str(small / "two.toml"), str(tmp_path / f"{bad}.toml")]
    out = tmp_path / "out"
    found = ran(small, out, "--prompts", *before, *GRID, prompts=())
    text = (out / "lab.html").read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert text.startswith("<!doctype html>") and not page.open
    assert "b" not in page.seen and page.seen.count("svg") == 1
    assert all(address.startswith("#") for address in page.outside) and "@import" not in text
    shown = {tuple(row[:3]) for row in page.rows if len(row) == 10}
    rows = found["tables"][0]["rows"]
    assert shown == {(row["prompt"], str(row["shots"]), row["calibration"]) for row in rows} and len(shown) == 24
    labels = {data.strip() for data in page.texts}
    assert all(f"{short(row['prompt'])}, {row['shots']}, {row['calibration']}" in labels for row in rows), (
        "in the plot too"
    )
    told = (out / "lab.md").read_text()
    assert "<b" not in told and "&lt;b onload=x&gt;&amp;$a$\\|" in told
    assert len([line for line in told.splitlines() if line.startswith("| ")]) == 1 + 24 + 1 + 4
