"""One example a line, the label in front: `0 a bad film`, `LOC:city Where is Oslo ?`, `__label__joy what a day`.

Label and text are parted by a tab or by the first blank; in a file where most lines hold a tab, by the tab alone, so
that labels may hold blanks. Columns: `label` and `text`; where every label is of the form COARSE:fine (TREC), also
`coarse`. fastText's `__label__` is taken off; where any line of a file has several, every `label` is a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.data import HEAD, FileSource, Line, Row, lines
from adapters.errors import DataError, Faults

EXTENSIONS: tuple[str, ...] = (".fasttext", ".ft")

_FASTTEXT = "__label__"
_FASTTEXT_LABELS = re.compile(rf"(?:{_FASTTEXT}\S*(?:[ \t]+|$))+")
_COARSE_FINE = re.compile(r"[^:\s]+:[^:\s]+")
_FORM = "A line needs a label, a tab or a blank, and a text."
# What is recognised without being named: labels of a kind that sentences do not begin with.
_NUMBER = re.compile(r"(-?\d{1,4})(?:[ \t]+(.*))?")
_CAPITALS = re.compile(r"([A-Z][A-Z0-9_-]+)(?::[\w-]+)?(?:[ \t]+(.*))?")
_TAG = re.compile(r"O|[BIESLUM]-\S+")
_TRUTH_VALUES = frozenset({"-1", "0", "1"})


def recognises(path: Path, head: str) -> bool:
    """Whether every line begins with a label, a number or capitals or `__label__…`, of which there are few."""
    texts = [text.removesuffix("\r") for text in head.rstrip("\r\n").split("\n")]
    if len(head) == HEAD and len(texts[-1].split(maxsplit=1)) < 2:
        texts.pop()  # cut off before its text began
    if not texts or "\0" in head or "\r" in "".join(texts):
        return False
    if all(text.startswith(_FASTTEXT) for text in texts):
        return True
    return any(_few_labels(texts, form) for form in (_NUMBER, _CAPITALS))


def _few_labels(texts: Sequence[str], form: re.Pattern[str]) -> bool:
    """Whether lines are a label of this form with a text; a tenth of them may lack the text, which is then a fault."""
    found = [form.fullmatch(text) for text in texts]
    cells = [(match[1], (match[2] or "").strip()) for match in found if match]
    told = [text for _, text in cells if text]
    if len(told) < 2 or len(cells) < len(texts) or len(cells) - len(told) > max(1, len(cells) // 10):
        return False
    # Not columns of tags, not a table of more than two columns, neither rows of numbers nor shouted prose.
    tabs, written = {text.count("\t") for text in texts}, "".join(told)
    if all(map(_TAG.fullmatch, told)) or (len(tabs) == 1 and min(tabs) > 1):
        return False
    if written.isupper() or not any(map(str.isalpha, written)):
        return False
    labels = {label for label, _ in cells}
    return 2 * len(labels) <= len(cells) or labels <= _TRUTH_VALUES  # numbered lines have a label each


def open(path: Path, encoding: str) -> LabelledSource:
    """Look through the file: whether tabs part label and text, and what forms the labels have."""
    faults = Faults(str(path))
    filled = tabs = marked = 0
    for line in lines(path, encoding, faults):
        if line.text.strip():
            filled += 1
            tabs += "\t" in line.text
            marked += line.text.startswith(_FASTTEXT)
    source = LabelledSource(
        path=path, encoding=encoding, columns=["label", "text"], tabs=2 * tabs > filled,
        fasttext=2 * marked > filled, several=False, coarse=False,
    )  # fmt: skip
    several, forms = False, set()
    for labels in source.labels(faults):
        several |= len(labels) > 1
        forms |= {bool(_COARSE_FINE.fullmatch(label)) for label in labels}
    if not forms:
        faults.raise_if_any()
        raise DataError(f"{path}: the file holds no example. {_FORM}")
    coarse = forms == {True} and not several
    columns = [*source.columns, *(["coarse"] if coarse else [])]
    return replace(source, several=several, coarse=coarse, columns=columns)


@dataclass(frozen=True, kw_only=True)
class LabelledSource(FileSource):
    """Lines of a label and a text."""

    tabs: bool
    """Most lines hold a tab, so only a tab parts label and text."""
    fasttext: bool
    """Most lines begin with `__label__`."""
    several: bool
    """Some line has more than one label, so labels are lists."""
    coarse: bool
    """All labels are of the form COARSE:fine."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """A row a line that is not blank; white space around the text is left out."""
        for line, labels, text in self._parted(faults):
            values: dict[str, str | list[str]] = {"label": labels if self.several else labels[0], "text": text}
            if self.coarse:
                values["coarse"] = labels[0].partition(":")[0]
            yield Row(self.name, line.number, 0, values)

    def labels(self, faults: Faults) -> Iterator[list[str]]:
        """The labels of each sound line."""
        return (labels for _, labels, _ in self._parted(faults))

    def _parted(self, faults: Faults) -> Iterator[tuple[Line, list[str], str]]:
        for line in lines(self.path, self.encoding, faults):
            whole = line.text.removesuffix("\n").removesuffix("\r")
            if not line.sound or not whole.strip():
                continue
            labels, text = self._part(whole)
            if fault := self._fault(whole, labels, text):
                faults.add(f"{self.path}:{line.number}", fault, _FORM)
            else:
                yield line, labels, text

    def _part(self, whole: str) -> tuple[list[str], str]:
        """Labels and text of a line, empty where there are none."""
        if self.fasttext:
            found = _FASTTEXT_LABELS.match(whole)
            front = found[0] if found else ""
            labels = [label.removeprefix(_FASTTEXT) for label in front.split()]
            return list(dict.fromkeys(labels)), whole[len(front) :].strip()
        label, *rest = re.split(r"\t" if self.tabs else r"[ \t]+", whole, maxsplit=1)
        return [label.strip()], rest[0].strip() if rest else ""

    def _fault(self, whole: str, labels: list[str], text: str) -> str:
        """What is wrong with a line; empty if nothing is."""
        if "\r" in whole:
            return "a carriage return inside the line"
        if not labels:
            return f"does not begin with {_FASTTEXT}, as most lines do"
        if self.tabs and not self.fasttext and "\t" not in whole:
            return "no tab between label and text, but most lines have one"
        if not all(labels):
            return "no label in front of the text"
        return "" if text else f"label {' '.join(labels)!r}, but no text"
