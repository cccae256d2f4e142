"""One example per line, the label first: `0 a bad film`, `LOC:city Where is Oslo ?`, `__label__joy what a day`.

A tab or the first space separates label and text; in a file where most lines have a tab, only the tab does, so that
labels may contain spaces. Columns: `label` and `text`; if every label has the form COARSE:fine (TREC), also `coarse`.
fastText's `__label__` is removed; if any line of a file has several, every `label` is a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.core.errors import DataError, Faults
from adapters.data.rows import HEAD, FileSource, Line, Row, lines

EXTENSIONS: tuple[str, ...] = (".fasttext", ".ft")
FILES = "a label and a text on each line (1 a stirring film, __label__joy what a day)"

_FASTTEXT = "__label__"
_FASTTEXT_LABELS = re.compile(rf"(?:{_FASTTEXT}\S*(?:[ \t]+|$))+")
_COARSE_FINE = re.compile(r"[^:\s]+:[^:\s]+")
_FORM = "A line needs a label, a tab or a space, and a text."
# Labels by which a file is recognised: sentences do not begin with such words.
_NUMBER = re.compile(r"(-?\d{1,4})(?:[ \t]+(.*))?")
_CAPITALS = re.compile(r"([A-Z][A-Z0-9_-]+)(?::[\w-]+)?(?:[ \t]+(.*))?")
_TAG = re.compile(r"O|[BIESLUM]-\S+")
_TRUTH_VALUES = frozenset({"-1", "0", "1"})


def recognises(path: Path, head: str) -> bool:
    """Whether every line begins with one of a few labels: numbers, words in capitals, or `__label__…`."""
    texts = [text.removesuffix("\r") for text in head.rstrip("\r\n").split("\n")]
    if len(head) == HEAD and len(texts[-1].split(maxsplit=1)) < 2:
        texts.pop()  # the head ends before the line's text
    if not texts or "\0" in head or "\r" in "".join(texts):
        return False
    if all(text.startswith(_FASTTEXT) for text in texts):
        return True
    return any(_few_labels(texts, form) for form in (_NUMBER, _CAPITALS))


def _few_labels(texts: Sequence[str], form: re.Pattern[str]) -> bool:
    """Whether lines are a label of this form and a text; a tenth of them may lack the text, which is then a fault."""
    found = [form.fullmatch(text) for text in texts]
    cells = [(match[1], (match[2] or "").strip()) for match in found if match]
    filled = [text for _, text in cells if text]
    if len(filled) < 2 or len(cells) < len(texts) or len(cells) - len(filled) > max(1, len(cells) // 10):
        return False
    # Not columns of tags, not a table of more than two columns, neither rows of numbers nor prose in capitals.
    tabs, prose = {text.count("\t") for text in texts}, "".join(filled)
    if all(map(_TAG.fullmatch, filled)) or (len(tabs) == 1 and min(tabs) > 1):
        return False
    if prose.isupper() or not any(map(str.isalpha, prose)):
        return False
    labels = {label for label, _ in cells}
    return 2 * len(labels) <= len(cells) or labels <= _TRUTH_VALUES  # in numbered lines, each label occurs once


def open(path: Path, encoding: str) -> LabelledSource:
    """Read the file for its separator and the forms of its labels. Raises DataError."""
    faults = Faults(str(path))
    filled = tabs = marked = 0
    for line in lines(path, encoding, faults):
        if line.text.strip():
            filled += 1
            tabs += "\t" in line.text
            marked += line.text.startswith(_FASTTEXT)
    source = LabelledSource(
        path=path,
        encoding=encoding,
        columns=["label", "text"],
        tabs=2 * tabs > filled,
        fasttext=2 * marked > filled,
        several=False,
        coarse=False,
    )
    several, forms = False, set()
    for labels in source.labels(faults):
        several |= len(labels) > 1
        forms |= {bool(_COARSE_FINE.fullmatch(label)) for label in labels}
    if not forms:
        faults.raise_if_any()
        raise DataError(f"{path}: the file contains no example. {_FORM}")
    coarse = forms == {True} and not several
    columns = [*source.columns, *(["coarse"] if coarse else [])]
    return replace(source, several=several, coarse=coarse, columns=columns)


@dataclass(frozen=True, kw_only=True)
class LabelledSource(FileSource):
    """Lines with a label and a text."""

    tabs: bool
    """Most lines have a tab, so only a tab separates label and text."""
    fasttext: bool
    """Most lines begin with `__label__`."""
    several: bool
    """At least one line has several labels, so labels are lists."""
    coarse: bool
    """All labels have the form COARSE:fine."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per line that is not blank, without white space around the text."""
        for line, labels, text in self._split_lines(faults):
            values: dict[str, str | list[str]] = {"label": labels if self.several else labels[0], "text": text}
            if self.coarse:
                values["coarse"] = labels[0].partition(":")[0]
            yield Row(self.name, line.number, 0, values)

    def labels(self, faults: Faults) -> Iterator[list[str]]:
        """The labels of each sound line."""
        return (labels for _, labels, _ in self._split_lines(faults))

    def _split_lines(self, faults: Faults) -> Iterator[tuple[Line, list[str], str]]:
        for line in lines(self.path, self.encoding, faults):
            if not line.sound or not line.content.strip():
                continue
            labels, text = self._split(line.content)
            if fault := self._fault(line.content, labels, text):
                faults.add(f"{self.path}:{line.number}", fault, _FORM)
            else:
                yield line, labels, text

    def _split(self, content: str) -> tuple[list[str], str]:
        """The labels and the text of a line, empty if it lacks them."""
        if self.fasttext:
            found = _FASTTEXT_LABELS.match(content)
            prefix = found[0] if found else ""
            labels = [label.removeprefix(_FASTTEXT) for label in prefix.split()]
            return list(dict.fromkeys(labels)), content[len(prefix) :].strip()
        label, *rest = re.split(r"\t" if self.tabs else r"[ \t]+", content, maxsplit=1)
        return [label.strip()], rest[0].strip() if rest else ""

    def _fault(self, content: str, labels: list[str], text: str) -> str:
        """What is wrong with a line; empty if nothing is."""
        if "\r" in content:
            return "a carriage return inside the line"
        if not labels:
            return f"does not begin with {_FASTTEXT}, as most lines do"
        if self.tabs and not self.fasttext and "\t" not in content:
            return "no tab between label and text, but most lines have one"
        if not all(labels):
            return "no label before the text"
        return "" if text else f"label {' '.join(labels)!r}, but no text"
