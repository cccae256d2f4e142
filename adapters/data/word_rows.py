"""Tables with a word in each row: the rows of a sentence become one row, with a list of words and one of tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.columns import DOCUMENT, DOCUMENTS, ColumnRoles, bare_name, missing_column
from adapters.data.row_views import RowOfLines, RowView
from adapters.data.rows import Row

ROLE = "sentence"
WORD_A_ROW = "a word in each row"

_SENTENCES = (
    *("sentence", "sent", "sentenceid", "sentid", "sid", "sentenceidx", "sentidx", "sentenceindex", "sentencenumber"),
    *(
        "sentencenum",
        "sentenceno",
        "sentno",
        "sentnum",
        "idsentence",
        "idsent",
        "seqid",
        "sequenceid",
        "sequence",
        "seq",
    ),
    *("textid", "exampleid", "sampleid", "utteranceid", "uttid", "utterance", "tweetid", "tweet", "lineid", "line"),
    *("segmentid", "segment", "rowid", "paragraphid", "paragraph", "id"),
)
_DOCUMENTS = ("document", "doc", "documentid", "docid", "docname", "file", "filename", "fileid", "article", "articleid")
_MISSING = ("", "nan")
_MOST_NEW = 0.9
"""The share of rows that may begin a sentence, at most."""


def is_word_a_row(rows: Sequence[Row], word: str, tag: str) -> bool:
    """Whether nearly all cells of the words are single words, and all of the tags single tags; lists are neither."""
    words = [row.values.get(word) for row in rows]
    tags = [row.values.get(tag) for row in rows]
    if any(isinstance(cell, list | tuple | dict) for cell in words) or not all(map(_is_one, tags)):
        return False
    return sum(map(_is_one, words)) >= 0.9 * len(words) > 0


def _is_one(cell: Any) -> bool:
    """Whether a cell is empty, or has one word or number."""
    if cell is None or isinstance(cell, int | float):
        return True
    return isinstance(cell, str) and len(cell.split()) <= 1 and not re.match(r"\s*\[.", cell)


def sentences_of(roles: ColumnRoles, sample: Sequence[Row], word: str, tag: str) -> RowView:
    """A view of the table by sentences.

    Rows of one sentence are next to each other and have the same value in the columns named by --sentence_column_name,
    else in the one with the likeliest name whose values repeat, and that of the document with it; a blank cell
    continues. Without such a column, rows that are blank in words and tags separate sentences.

    Raises: DataError where nothing says which words are a sentence.
    """
    columns = _sentence_columns(roles, sample, word, tag)
    if columns:
        roles.use(ROLE, *columns)
    elif not any(_is_blank(row, word, tag) for row in sample):
        what = f"column that says which words are a sentence, but {WORD_A_ROW} (in {word!r})"
        advice = (
            "Name it with --sentence_column_name. Or separate sentences by blank lines in a file of words and tags, "
            "without a header (--dataset_format conll)."
        )
        raise missing_column(roles.source, what, advice)
    usual = (name for name in (*columns, *roles.matching(DOCUMENTS)) if bare_name(name) in _DOCUMENTS)
    document: Any = roles.given.get(DOCUMENT) or next(usual, None)
    if document is not None:
        roles.use(DOCUMENT, document)
    return RowView(
        source=roles.source,
        form=WORD_A_ROW,
        columns=roles.source.columns,
        change=_joined(word, tag, columns, document),
        settings=(word, tag, *columns, *([] if document is None else [DOCUMENT, document])),
    )


def _sentence_columns(roles: ColumnRoles, sample: Sequence[Row], word: str, tag: str) -> list[str]:
    given = roles.given.get(ROLE)
    if given:
        return [given] if isinstance(given, str) else list(given)
    names = {bare_name(name): name for name in reversed(roles.source.columns) if name not in (word, tag)}
    sentences, documents = (
        [names[usual] for usual in usuals if usual in names and _repeats(sample, names[usual])]
        for usuals in (_SENTENCES, _DOCUMENTS)
    )
    if not sentences:
        return []
    for chosen, *others in filter(None, (sentences, documents)):
        if others:
            roles.notes.append(
                f"{ROLE} is read from {chosen}, the likeliest name; it could also be {' or '.join(others)} "
                f"(--{ROLE}_column_name)"
            )
    return [*documents[:1], *sentences[:1]]


def _repeats(sample: Sequence[Row], column: str) -> bool:
    """Whether a column has the same value, or a blank, in many rows next to each other.

    Numbers of rows may lack one, or have one twice: a column that is new in nearly every row groups nothing.
    """
    values = [_identity(row.values.get(column)) for row in sample]
    runs = sum(1 for before, value in zip([None, *values], values, strict=False) if value and value != before)
    return 0 < runs < len(values) and runs <= _MOST_NEW * len(values)


def _joined(
    word: str, tag: str, columns: Sequence[str], document: str | None
) -> Callable[[Iterator[Row], Faults], Iterator[Row]]:
    def change(rows: Iterator[Row], faults: Faults) -> Iterator[Row]:
        name_of_document = ""
        for group in _groups(rows, word, tag, columns, faults):
            before = faults.count
            for row in group:
                _check(row, word, tag, faults)
            if faults.count == before:
                values: dict[str, Any] = {}
                if document is not None:  # a blank continues, as it does in the column of the sentences
                    name_of_document = _identity(group[0].values.get(document)) or name_of_document
                    values[document] = name_of_document
                values |= {name: [_stripped(row.values.get(name)) for row in group] for name in (word, tag)}
                yield RowOfLines(group[0].file, values, tuple(row.line for row in group))

    return change


def _stripped(cell: Any) -> Any:
    return cell.strip() if isinstance(cell, str) else cell


def _groups(rows: Iterable[Row], word: str, tag: str, columns: Sequence[str], faults: Faults) -> Iterator[list[Row]]:
    """The rows of each sentence. A value that comes again after others is a fault of its row."""
    group: list[Row] = []
    current: tuple[str, ...] = ("",) * len(columns)
    seen: dict[tuple[str, ...], str] = {}
    for row in rows:
        if _is_blank(row, word, tag) and not any(_identity(row.values.get(name)) for name in columns):
            if columns:
                faults.note("rows without anything left out")
            elif group:
                yield group
                group = []
            continue
        key = tuple(_identity(row.values.get(name)) or before for name, before in zip(columns, current, strict=True))
        if columns and key != current:
            if group:
                yield group
            group = []
            if key in seen:
                faults.add(
                    row.where(),
                    f"{_named(columns, key)} comes again, after other sentences (first at {seen[key]})",
                    "Rows of one sentence must be next to each other. Where the numbers begin anew in each document, "
                    f"name both columns: --{ROLE}_column_name document,sentence",
                )
            else:
                seen[key] = row.where()
        elif columns and not any(key):
            faults.add(row.where(), f"no sentence in column {columns[-1]!r}, and none before it to continue")
        current = key
        group.append(row)
    if group:
        yield group


def _named(columns: Sequence[str], key: Sequence[str]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in zip(columns, key, strict=True))


def _check(row: Row, word: str, tag: str, faults: Faults) -> None:
    """Add what is wrong with the row of one word."""
    value, mark = row.values.get(word), row.values.get(tag)
    if not isinstance(value, str) or value.strip().lower() in _MISSING:
        shown = "is empty" if value in ("", None) else f"is {value!r}, which is no word"
        faults.add(
            row.where(),
            f"column {word!r} {shown}",
            "A table program may have taken the word for a missing value: write it as it is in the text.",
        )
    elif mark is None or mark == "":
        faults.add(row.where(), f"column {tag!r} is empty", "Give each word its tag, O outside entities.")


def _is_blank(row: Row, word: str, tag: str) -> bool:
    return not _identity(row.values.get(word)) and not _identity(row.values.get(tag))


def _identity(cell: Any) -> str:
    """A sentence's number or name as text; `1.0` is 1, as table programs write it beside blanks."""
    if cell is None:
        return ""
    text = str(cell).strip()
    if text.endswith(".0") and text[:-2].isdecimal():
        return text[:-2]
    return "" if len(text) == 3 and text.lower() == "nan" else text


def refuse_one_label(roles: ColumnRoles, sample: Sequence[Row], text: str, label: str) -> None:
    """Raises DataError where texts of several words have a single label each."""
    texts = [row.values.get(text) for row in sample]
    labels = [row.values.get(label) for row in sample]
    if not all(isinstance(cell, str) for cell in (*texts, *labels)) or not all(map(_is_one, labels)):
        return
    if sum(map(_is_one, texts)) < 0.5 * len(texts):
        raise DataError(
            f"{roles.source.name}: column {text!r} has whole texts, and column {label!r} one label for each, not a tag "
            "for each word. Name the tags' column with --label_column_name, or train --task classification."
        )
