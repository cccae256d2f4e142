"""Tagged sentences of any format: words and IOB2 tags, with every fault at its `file:line`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from adapters.core.errors import Faults, SettingsError
from adapters.data.columns import ColumnRoles, missing_column
from adapters.data.rows import Row, RowSource
from adapters.data.stored_rows import CheckedRows, stored_rows
from adapters.data.tag_schemes import OUTSIDE, SCHEMES, Span, detect_scheme, spans, tags_of, to_iob2
from adapters.data.word_splitter import split_words

if TYPE_CHECKING:
    import datasets

TOKEN_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("ner_tags", "tags", "labels")
TEXT_COLUMNS = ("text", "sentence")
SPAN_COLUMNS = ("entities", "spans", "label", "labels")
REPAIR = "Repair such tags with --repair_tags (they are counted), or name the scheme with --tag_scheme."


@dataclass(frozen=True, kw_only=True)
class NerColumns:
    """The columns of the sentences and of their labels."""

    text: str
    labels: str
    tagged: bool
    """Words with a tag each; else a text with spans of characters."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Words and IOB2 tags; of a raw text also the text and the (start, end) of each word in it."""

    words: list[str]
    tags: list[str]
    text: str | None = None
    offsets: list[tuple[int, int]] = field(default_factory=list)
    repaired: int = 0


def find_ner_columns(roles: ColumnRoles) -> NerColumns:
    """The columns that the user named, else those with the usual names. Raises DataError that lists the columns."""
    source, text = roles.source, roles.given.get("text")

    def columns(texts: tuple[str, ...], marks: tuple[str, ...], *, tagged: bool) -> NerColumns | None:
        sentence = roles.look("text", texts, any_case=False)
        label = roles.look("label", marks, any_case=False)
        roles.columns.clear()
        return NerColumns(text=sentence, labels=label, tagged=tagged) if sentence and label else None

    tags = columns(TOKEN_COLUMNS, TAG_COLUMNS, tagged=True)
    entities = columns(TEXT_COLUMNS, SPAN_COLUMNS, tagged=False)
    candidates = [one for one in ((entities, tags) if text in TEXT_COLUMNS else (tags, entities)) if one is not None]
    # A name given by the user, or `labels`, tells little: the column's contents tell more.
    fitting = [one for one in candidates if _contains_spans(source, one.labels) in (None, not one.tagged)]
    if candidates:
        chosen = (fitting or candidates)[0]
        roles.use("text", chosen.text)
        roles.use("label", chosen.labels)
        return chosen
    needed = (
        f"tagged sentences (a column of words, {' or '.join(TOKEN_COLUMNS)}, and one of tags, "
        f"{' or '.join(TAG_COLUMNS)}; or a text with a list of entities {{start, end, label}})"
    )
    raise missing_column(source, needed, "Name them with --text_column_name and --label_column_name.")


def _contains_spans(source: RowSource, labels: str) -> bool | None:
    """Whether the first labels of a column are spans rather than tags; None where the column has no labels."""
    cells = (_list_of(row.values.get(labels)) for row in source.rows(Faults(source.name)))
    return next((isinstance(cell[0], (dict, list)) for cell in cells if cell), None)


def find_scheme(source: RowSource, columns: NerColumns, wanted: str | None) -> str:
    """The tag scheme: the requested one, else the one that the source's tags follow. Raises SettingsError."""
    if wanted is not None:
        if wanted not in SCHEMES:
            raise SettingsError(f"--tag_scheme {wanted}: known schemes are {', '.join(SCHEMES)}.")
        return wanted
    if not columns.tagged:
        return "iob2"
    rows = (_list_of(row.values.get(columns.labels)) for row in source.rows(Faults(source.name)))
    return detect_scheme([str(tag) for tag in tags] for tags in rows if tags)


def read_sentences(
    source: RowSource, columns: NerColumns, scheme: str, *, repair: bool, faults: Faults
) -> Iterator[tuple[Row, Sentence]]:
    """The sentences of a source in order, without the rows that have faults, which are added to `faults`."""
    for row in source.rows(faults):
        before = faults.count
        if columns.tagged:
            sentence = _from_tags(row, columns, scheme, repair, faults)
        else:
            sentence = _from_spans(row, columns, faults)
        if sentence is not None and faults.count == before:
            yield row, sentence


def stored_sentences(
    roles: ColumnRoles, columns: NerColumns, scheme: str, *, repair: bool
) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The sentences of a source and the notes of their split, as `stored_rows` gives them.

    Columns `tokens`, `tags`, `text`, `starts` and `ends` (these three only of a raw text), and `repaired`.
    """
    import pyarrow as pa

    def check(faults: Faults) -> CheckedRows:
        for row, sentence in read_sentences(roles.source, columns, scheme, repair=repair, faults=faults):
            yield (
                row,
                {
                    "tokens": sentence.words,
                    "tags": sentence.tags,
                    "text": sentence.text,
                    "starts": [start for start, _ in sentence.offsets],
                    "ends": [end for _, end in sentence.offsets],
                    "repaired": sentence.repaired,
                },
            )

    words, numbers = pa.list_(pa.string()), pa.list_(pa.int32())
    types = {
        "tokens": words,
        "tags": words,
        "text": pa.string(),
        "starts": numbers,
        "ends": numbers,
        "repaired": pa.int32(),
    }
    key = ["ner", astuple(columns), scheme, repair]
    dataset, notes = stored_rows(roles, check, types, key=key, needs="words and tags")
    return dataset, {**notes, "tag_scheme": scheme, "repaired_tags": sum(dataset["repaired"])}


def _from_tags(row: Row, columns: NerColumns, scheme: str, repair: bool, faults: Faults) -> Sentence | None:
    words, tags = _list_of(row.values.get(columns.text)), _list_of(row.values.get(columns.labels))
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


def _list_of(cell: Any) -> list[Any] | None:
    """A list column as it is, or as a CSV cell contains it: JSON, or items with spaces between."""
    if isinstance(cell, str):
        return parse_json_list(cell) if cell.lstrip().startswith("[") else cell.split()
    return list(cell) if isinstance(cell, (list, tuple)) else None


def parse_json_list(cell: str) -> list[Any] | None:
    """A JSON list in a cell, or None."""
    try:
        value = json.loads(cell)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _from_spans(row: Row, columns: NerColumns, faults: Faults) -> Sentence | None:
    text, marked = row.values.get(columns.text), row.values.get(columns.labels)
    if isinstance(marked, str):
        marked = parse_json_list(marked)
    if not isinstance(text, str) or not isinstance(marked, list):
        faults.add(row.where(), f"needs a string in {columns.text!r} and a list in {columns.labels!r}")
        return None
    offsets = split_words(text)
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
            faults.add(row.where(), f"{what} is outside the text of {len(text)} characters")
        elif label == OUTSIDE or not label:
            faults.add(row.where(), f"{what} has no usable label")
        elif start not in starts or end not in ends:
            faults.add(
                row.where(), f"{what} cuts a word: {_around(text, offsets, start, end)!r} (correct its start or end)"
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
    """(start, end, label) from an annotation tool's object, or from a list in this order."""
    if isinstance(item, dict):
        item = [item.get("start"), item.get("end"), item.get("label")]
    if isinstance(item, (list, tuple)) and len(item) == 3:
        start, end, label = item
        if type(start) is int and type(end) is int and isinstance(label, str):
            return start, end, label
    return None


def _around(text: str, offsets: list[tuple[int, int]], start: int, end: int) -> str:
    """The text from the first to the last word that a span touches."""
    touched = [(a, b) for a, b in offsets if a < end and b > start]
    return text[touched[0][0] : touched[-1][1]] if touched else text[start:end]
