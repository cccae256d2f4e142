"""Documents of a folder, cut into passages that know their places. A file that cannot be read is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

from adapters.applications.customer_service.knowledge import Passage
from adapters.core.errors import DataError

Part = tuple[str, str]
"""A place (heading or page), and a paragraph there."""
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_WIDE = re.compile("[\u2e80-\U0003ffff]")
_HIDDEN = ("script", "style", "head", "nav", "template", "noscript")
_BLOCKS = ("p", "li", "td", "th", "div", "section", "article", "br", "tr", "dd", "dt", "blockquote", "pre")


def passages(folder: str, words: int) -> tuple[list[Passage], list[str]]:
    """The passages of all documents below a folder, and a line for each file that could not be read.

    Args:
        folder: with .md, .txt, .html and .pdf files, in folders of their own or not.
        words: of a passage at most (of a script without blanks, twice as many characters).

    Raises:
        DataError: there is no such folder, or none of its files can be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"--documents {folder}: no such folder.")
    found: list[Passage] = []
    unread: list[str] = []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")):
        name = path.relative_to(root).as_posix()
        read = READERS.get(path.suffix.lower())
        if read is None:
            unread.append(f"{name}: not read; documents end in {', '.join(READERS)}.")
            continue
        try:
            parts = list(read(path))
        except Exception as error:  # whatever a parser raises for what a file may hold; the file is named
            unread.append(f"{name}: cannot be read ({type(error).__name__}: {str(error)[:80]}).")
            continue
        cut = [Passage(text=text, file=name, place=place) for place, text in _cut(parts, words)]
        if not cut:
            unread.append(f"{name}: has no text (a scanned document needs text recognition first).")
        found += cut
    if not found:
        raise DataError(f"--documents {folder}: no document with a text. " + " ".join(unread[:5]))
    return found, unread


def _markdown(path: Path) -> Iterator[Part]:
    """Paragraphs under their headings."""
    place, lines = "", list[str]()
    for line in [*path.read_text(encoding="utf-8-sig").splitlines(), ""]:
        heading = _HEADING.match(line)
        if heading or not line.strip():
            if lines:
                yield place, " ".join(lines)
            place, lines = heading[1] if heading else place, []
        else:
            lines.append(line.strip())


def _text(path: Path) -> Iterator[Part]:
    """Paragraphs between blank lines."""
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8-sig")):
        yield "", " ".join(block.split())


class _Html(HTMLParser):
    """Collects paragraphs under their headings; what a page does not show is left out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[Part] = []
        self.place = ""
        self._said: list[str] = []
        self._heading = False
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """A block begins, or something hidden."""
        if tag in _HIDDEN:
            self._hidden += 1
        if tag in _BLOCKS or re.fullmatch("h[1-6]", tag):
            self.flush()
            self._heading = tag.startswith("h")

    def handle_endtag(self, tag: str) -> None:
        """A block ends, or something hidden."""
        if tag in _HIDDEN:
            self._hidden = max(self._hidden - 1, 0)
        if tag in _BLOCKS or re.fullmatch("h[1-6]", tag):
            self.flush()

    def handle_data(self, data: str) -> None:
        """Text."""
        if not self._hidden:
            self._said.append(data)

    def flush(self) -> None:
        """End a paragraph or a heading."""
        text, self._said = " ".join("".join(self._said).split()), []
        if text and self._heading:
            self.place = text
        elif text:
            self.parts.append((self.place, text))
        self._heading = False


def _html(path: Path) -> Iterator[Part]:
    """Paragraphs under their headings."""
    parser = _Html()
    parser.feed(path.read_text(encoding="utf-8-sig"))
    parser.close()
    parser.flush()
    yield from parser.parts


def _pdf(path: Path) -> Iterator[Part]:
    """The text of each page."""
    import pypdf

    for number, page in enumerate(pypdf.PdfReader(path).pages, 1):
        yield f"page {number}", " ".join((page.extract_text() or "").split())


READERS: dict[str, Callable[[Path], Iterator[Part]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _text,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
}


def _cut(parts: list[Part], words: int) -> Iterator[Part]:
    """Paragraphs of one place joined, and sentences of longer ones kept together, up to a number of words."""
    place, held = "", ""
    for here, text in parts:
        for sentence in _pieces(text, words):
            if held and (here != place or _size(f"{held} {sentence}") > words):
                yield place, held
                held = ""
            place, held = here, f"{held} {sentence}".strip()
    if held:
        yield place, held


def _pieces(text: str, words: int) -> Iterator[str]:
    """Sentences; a longer one in parts."""
    for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？])", text):
        yield from _halved(sentence.strip(), words)


def _halved(text: str, words: int) -> Iterator[str]:
    """The text if it is short enough, else its halves, cut at the last blank of the first where it has one."""
    if _size(text) <= words:
        yield from [text] if text else []
        return
    middle = len(text) // 2
    blank = text.rfind(" ", 1, middle)
    at = blank if blank > 0 else middle
    yield from _halved(text[:at].strip(), words)
    yield from _halved(text[at:].strip(), words)


def _size(text: str) -> int:
    """Words; of scripts without blanks, half the characters; at least a twentieth of all characters."""
    wide = len(_WIDE.findall(text))
    return max(len(_WIDE.sub(" ", text).split()) + (wide + 1) // 2, len(text) // 20)
