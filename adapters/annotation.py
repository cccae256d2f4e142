"""Tagged sentences of any format -> words and IOB2 tags, with every fault at its `file:line`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from adapters.data import Row, RowSource
from adapters.errors import DataError, Faults, SettingsError
from adapters.labels import OUTSIDE, SCHEMES, Span, detect_scheme, spans, tags_of, to_iob2
from adapters.words import cut

TOKEN_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("ner_tags", "tags", "labels")
TEXT_COLUMNS = ("text", "sentence")
SPAN_COLUMNS = ("entities", "spans", "label", "labels")
REPAIR = "Repair such tags with --repair_tags (they are counted), or name the scheme with --tag_scheme."


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where a source keeps its sentences: words with a tag each, or a text with spans of characters."""

    text: str
    labels: str
    tagged: bool


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Words, IOB2 tags, and, where there is a raw text, the text and where in it each word stands."""

    words: list[str]
    tags: list[str]
    text: str | None = None
    offsets: list[tuple[int, int]] = field(default_factory=list)
    repaired: int = 0


def find_columns(source: RowSource, text: str | None, labels: str | None) -> Columns:
    """Choose the columns: those named by the user, else the usual names. Raises DataError that lists the columns."""
    for flag, name in (("--text_column_name", text), ("--label_column_name", labels)):
        if name is not None and name not in source.columns:
            raise DataError(f"{source.name}: no column {name!r} ({flag}). Columns found: {', '.join(source.columns)}.")

    def first(names: Sequence[str]) -> str | None:
        return next((name for name in names if name in source.columns), None)

    tagged = (text or first(TOKEN_COLUMNS), labels or first(TAG_COLUMNS), True)
    marked = (text or first(TEXT_COLUMNS), labels or first(SPAN_COLUMNS), False)
    ways = [
        Columns(text=sentence, labels=label, tagged=is_tagged)
        for sentence, label, is_tagged in ((marked, tagged) if text in TEXT_COLUMNS else (tagged, marked))
        if sentence is not None and label is not None
    ]
    # A name says little where the user gave it, or where it is `labels`: what is in the column says more.
    fitting = [way for way in ways if _holds_spans(source, way.labels) in (None, not way.tagged)]
    if ways:
        return (fitting or ways)[0]
    raise DataError(
        f"{source.name}: no tagged sentences. Needed: a column of words ({' or '.join(TOKEN_COLUMNS)}) and one of tags "
        f"({' or '.join(TAG_COLUMNS)}), or a text with a list of entities {{start, end, label}}. Columns found: "
        f"{', '.join(source.columns)}. Name them with --text_column_name and --label_column_name."
    )


def _holds_spans(source: RowSource, labels: str) -> bool | None:
    """Whether the first labels of a column are spans, not tags; None where it holds no labels at all."""
    cells = (_listed(row.values.get(labels)) for row in source.rows(Faults(source.name)))
    return next((isinstance(cell[0], (dict, list)) for cell in cells if cell), None)


def find_scheme(source: RowSource, columns: Columns, wanted: str | None) -> str:
    """The tag scheme: the one asked for, else the one that the source's tags show."""
    if wanted is not None:
        if wanted not in SCHEMES:
            raise SettingsError(f"--tag_scheme {wanted}: known schemes are {', '.join(SCHEMES)}.")
        return wanted
    if not columns.tagged:
        return "iob2"
    silent = Faults(source.name)
    rows = (_listed(row.values.get(columns.labels)) for row in source.rows(silent))
    return detect_scheme([str(tag) for tag in tags] for tags in rows if tags)


def sentences(
    source: RowSource, columns: Columns, scheme: str, *, repair: bool, faults: Faults
) -> Iterator[tuple[Row, Sentence]]:
    """The sentences of a source in order. Rows with faults are noted in `faults` and left out."""
    for row in source.rows(faults):
        before = faults.count
        if columns.tagged:
            sentence = _from_tags(row, columns, scheme, repair, faults)
        else:
            sentence = _from_spans(row, columns, faults)
        if sentence is not None and faults.count == before:
            yield row, sentence


def _from_tags(row: Row, columns: Columns, scheme: str, repair: bool, faults: Faults) -> Sentence | None:
    words, tags = _listed(row.values.get(columns.text)), _listed(row.values.get(columns.labels))
    for name, cell in ((columns.text, words), (columns.labels, tags)):
        if cell is None or not all(isinstance(item, str) for item in cell):
            found = repr(row.values.get(name))[:60]
            faults.add(row.where(), f"column {name!r} must be a list of strings, found {found}")
            return None
    assert words is not None and tags is not None
    if len(words) != len(tags):
        faults.add(row.where(), f"{len(words)} words but {len(tags)} tags")
        return None
    iob2, wrong = to_iob2(tags, scheme)
    for position, what in wrong:
        if not repair or what.startswith("the tag "):  # a tag of another scheme has no repair
            faults.add(row.where(position), f"word {words[position]!r}: {what}", REPAIR)
    return Sentence(words=words, tags=iob2, repaired=len(wrong))


def _listed(cell: Any) -> list[Any] | None:
    """A list column as it is, or as a CSV cell holds it: JSON, or items between blanks."""
    if isinstance(cell, str):
        return parse_json_list(cell) if cell.lstrip().startswith("[") else cell.split()
    return list(cell) if isinstance(cell, (list, tuple)) else None


def parse_json_list(cell: str) -> list[Any] | None:
    """A JSON list in a cell, or None."""
    import json

    try:
        value = json.loads(cell)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _from_spans(row: Row, columns: Columns, faults: Faults) -> Sentence | None:
    text, marked = row.values.get(columns.text), row.values.get(columns.labels)
    if isinstance(marked, str):
        marked = parse_json_list(marked)
    if not isinstance(text, str) or not isinstance(marked, list):
        faults.add(row.where(), f"needs a string in {columns.text!r} and a list in {columns.labels!r}")
        return None
    offsets = cut(text)
    starts = {start: word for word, (start, _) in enumerate(offsets)}
    ends = {end: word for word, (_, end) in enumerate(offsets)}
    found: list[Span] = []
    for item in marked:
        entity = _entity(item)
        if entity is None:
            faults.add(row.where(), f"an entity must be {{start, end, label}}, found {repr(item)[:60]}")
            continue
        start, end, label = entity
        what = f"entity {label} {start}:{end} ({text[max(start, 0) : end]!r})"
        if not 0 <= start < end <= len(text):
            faults.add(row.where(), f"{what} lies outside the text of {len(text)} characters")
        elif label == OUTSIDE or not label:
            faults.add(row.where(), f"{what} has no usable label")
        elif start not in starts or end not in ends:
            faults.add(
                row.where(), f"{what} cuts a word: {_around(text, offsets, start, end)!r} (mend its start or end)"
            )
        else:
            found.append((label, starts[start], ends[end] + 1))
    found.sort(key=lambda span: span[1])
    for (kind, begin, end), (other, next_begin, _) in pairwise(found):
        if next_begin < end:
            faults.add(row.where(), f"entities overlap: {kind} at word {begin} and {other} at word {next_begin}")
            return None
    words = [text[start:end] for start, end in offsets]
    tags = tags_of(found, len(words))
    assert spans(tags) == found
    return Sentence(words=words, tags=tags, text=text, offsets=offsets)


def _entity(item: Any) -> tuple[int, int, str] | None:
    """(start, end, label) of what an annotation tool wrote: an object, or a list in this order."""
    if isinstance(item, dict):
        item = [item.get("start"), item.get("end"), item.get("label")]
    if isinstance(item, (list, tuple)) and len(item) == 3:
        start, end, label = item
        if type(start) is int and type(end) is int and isinstance(label, str):
            return start, end, label
    return None


def _around(text: str, offsets: list[tuple[int, int]], start: int, end: int) -> str:
    """The whole words that a span touches."""
    touched = [(a, b) for a, b in offsets if a < end and b > start]
    return text[touched[0][0] : touched[-1][1]] if touched else text[start:end]
