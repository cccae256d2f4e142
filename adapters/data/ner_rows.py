"""Tagged sentences of any format: words and IOB2 tags, with every fault at its `file:line`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.core.errors import Faults, numbered
from adapters.data.annotation_tools import in_plain_form
from adapters.data.cell_values import parse_cell
from adapters.data.columns import ColumnRoles, missing_column
from adapters.data.entity_spans import (
    Counting,
    GivenSpan,
    SpanRules,
    find_counting,
    given_spans,
    in_characters_of,
    is_spans,
    words_of,
)
from adapters.data.rows import Row, RowSource, first_rows
from adapters.data.stored_rows import CheckedRows, stored_rows
from adapters.data.tag_forms import TagForm
from adapters.data.tag_schemes import spans, tags_of
from adapters.data.tag_spellings import ALONE, PREFIX, SUFFIX, is_tag, kind_of_tags
from adapters.data.word_rows import is_word_a_row, refuse_one_label, sentences_of
from adapters.data.word_splitter import joined, split_characters, split_words

if TYPE_CHECKING:
    import datasets

TOKEN_COLUMNS = ("tokens", "words", "token", "word", "tokenized_text", "form", "字", "词")
TAG_COLUMNS = (
    *("ner_tags", "ner_tag", "ner", "tags", "labels", "tag", "label", "ne", "ne_tag", "ne_tags", "iob", "bio"),
    *("iob_tag", "iob_tags", "bio_tag", "bio_tags", "ner_label", "ner_labels", "entity", "entities", "标签"),
)
TEXT_COLUMNS = ("text", "sentence", "content", "document", "raw_text", "raw", "body", "message", "文本", "内容", "句子")
SPAN_COLUMNS = (
    "entities",
    "spans",
    "ents",
    "label",
    "labels",
    "annotations",
    "annotation",
    "tags",
    "ner",
    "entity",
    "实体",
)
MEND_TAG = "Repair such tags with --repair_tags (they are counted), or name the scheme with --tag_scheme."
NO_WORD = "An entity of it would have no characters: write the word, or remove it with its tag."
OTHER_TAG = "Name the tags' column with --label_column_name, or their scheme with --tag_scheme; or mend the tag."
_LIST_OPENS = re.compile(r"""\s*(\[|\{\s*['"]|\(\s*['"\[(]|array\()""")
WORD_SPANS = "Starts and ends count words here; --span_ends inclusive takes an end as the entity's last word."
_MOST_COLUMNS = 100
"""Columns in which tags are looked for where no name says it."""
_STORED_AS = 2
"""Raised when stored sentences change their meaning, so that older caches are not read."""


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
    """The columns that the user named, else those with the usual names and contents that fit them.

    Where rows are words, or a tool's own objects, `roles.source` becomes a view of sentences.

    Raises DataError that lists the columns.
    """
    sample = first_rows(roles.source)
    view = in_plain_form(roles.source, sample)
    if view is not roles.source:
        roles.source, sample = view, first_rows(view)
    chosen = _choose(roles, sample)
    if chosen is None:
        needed = (
            f"tagged sentences (a column of words, {' or '.join(TOKEN_COLUMNS[:2])}, and one of tags, "
            f"{' or '.join(TAG_COLUMNS[:5])}; or a text with a list of entities {{start, end, label}})"
        )
        raise missing_column(roles.source, needed, _advice(roles, sample))
    roles.use("text", chosen.text)
    others = [] if roles.given.get("label") else _other_labels(roles, sample, chosen)
    roles.use("label", chosen.labels, usual=[name.lower() for name in others])
    if chosen.tagged and is_word_a_row(sample, chosen.text, chosen.labels):
        roles.source = sentences_of(roles, sample, chosen.text, chosen.labels)
    elif chosen.tagged:
        refuse_one_label(roles, sample, chosen.text, chosen.labels)
    if not roles.given.get("label"):
        of_others: dict[str, str] = getattr(roles.source, "other_tags", {})
        for name, kind in of_others.items():
            column = roles.record()["columns"]["label"][0]
            roles.notes.append(
                f"tags are read from column {column}; column {name} has tags of {kind} (--label_column_name {name})"
            )
    return chosen


def _advice(roles: ColumnRoles, sample: Sequence[Row]) -> str:
    """What helps where there are no columns with the usual names."""
    tags = _columns_of_tags(roles, sample)
    advice = "Name them with --text_column_name and --label_column_name."
    if tags:
        advice += f" These contain tags: {', '.join(tags)}."
    elif any(map(is_tag, roles.source.columns)):
        advice += (
            " The first line seems to be a word and its tag, not a header: separate sentences by blank lines, or give "
            "a header and a column that numbers the sentences."
        )
    return advice


def _choose(roles: ColumnRoles, sample: Sequence[Row]) -> NerColumns | None:
    """The columns whose contents fit what their names say, else those with the names; else a column of tags alone."""

    kind = partial(_kind, sample)

    def pick(role: str, usual: tuple[str, ...], fits: Callable[[str], bool]) -> str | None:
        given = roles.given.get(role)
        if given:
            return given if isinstance(given, str) else given[0]
        names = [*filter(None, [roles.of_lead(role)]), *roles.matching(usual)]
        return next(filter(fits, names), next(iter(names), None))

    def columns(texts: tuple[str, ...], marks: tuple[str, ...], *, tagged: bool) -> NerColumns | None:
        text = pick("text", texts, lambda name: kind(name) in ("tags", None))
        label = pick("label", marks, lambda name: kind(name) == ("tags" if tagged else "spans"))
        if text and text == label:
            label = next((name for name in roles.matching(marks) if name != text), None)
        return NerColumns(text=text, labels=label, tagged=tagged) if text and label else None

    tags = columns(TOKEN_COLUMNS, TAG_COLUMNS, tagged=True)
    entities = columns(TEXT_COLUMNS, SPAN_COLUMNS, tagged=False) or columns(TOKEN_COLUMNS, SPAN_COLUMNS, tagged=False)
    named = roles.given.get("text")
    candidates = [one for one in ((entities, tags) if named in TEXT_COLUMNS else (tags, entities)) if one is not None]
    # A name given by the user, or `labels`, tells little: the column's contents tell more.
    fitting = [one for one in candidates if kind(one.labels) in (None, "tags" if one.tagged else "spans")]
    if fitting:
        return fitting[0]
    found = _by_contents(roles, sample) or next(iter(candidates), None)
    # Texts in a column without spans: their cells are read as tags, or refused as these.
    return found and replace(found, tagged=found.tagged or kind(found.labels) == "tags")


def _kind(sample: Sequence[Row], column: str) -> str | None:
    """Whether the first cell of a column that is not empty has `spans` or `tags` (texts, words); None without any."""
    cells = (_list_of(row.values.get(column), strict=False) for row in sample)
    found = next((found for cell in cells if (found := is_spans(cell)) is not None), None)
    return None if found is None else "spans" if found else "tags"


def _columns_of_tags(roles: ColumnRoles, sample: Sequence[Row]) -> list[str]:
    """The columns that contain tags with letters."""
    columns = roles.source.columns[:_MOST_COLUMNS]
    return [column for column in columns if kind_of_tags(_tags(sample, column)) in (PREFIX, SUFFIX, ALONE)]


def _other_labels(roles: ColumnRoles, sample: Sequence[Row], chosen: NerColumns) -> list[str]:
    """Columns with a usual name that contain entities as well."""
    names = roles.matching(TAG_COLUMNS if chosen.tagged else SPAN_COLUMNS)
    others = [name for name in names if name not in (chosen.labels, chosen.text)]
    if not chosen.tagged:
        return [name for name in others if _kind(sample, name) == "spans"]
    return [name for name in others if kind_of_tags(_tags(sample, name))]


def _tags(sample: Sequence[Row], column: str) -> list[str]:
    """The items of a column's lists; none where they are not texts."""
    cells = [_list_of(row.values.get(column), strict=False) for row in sample]
    tags = [tag for cell in cells if isinstance(cell, list) for tag in cell]
    return tags if all(isinstance(tag, str) for tag in tags) else []


def _by_contents(roles: ColumnRoles, sample: Sequence[Row]) -> NerColumns | None:
    """The words with a usual name, and the only column that contains tags with letters (`B-PER`)."""
    words = next(iter([*roles.matching(TOKEN_COLUMNS), *roles.matching(TEXT_COLUMNS)]), None)
    words = str(roles.given["text"]) if roles.given.get("text") else words
    found = [column for column in _columns_of_tags(roles, sample) if column != words]
    if words is None or roles.given.get("label") or len(found) != 1:
        return None
    roles.notes.append(f"label is read from {found[0]}, the only column that contains tags")
    return NerColumns(text=words, labels=found[0], tagged=True)


def find_tag_form(
    source: RowSource,
    columns: NerColumns,
    *,
    scheme: str | None = None,
    label_name: str | None = None,
    names: Sequence[str] = (),
) -> TagForm:
    """How a source's tags are written: their scheme, the given or the recognised one, and their spelling.

    Args:
        source: the rows.
        columns: as `find_ner_columns` found them.
        scheme: named by the user.
        label_name: the type of tags that have none (`B`, `I`).
        names: of tags that are numbers.

    Raises: SettingsError, DataError.
    """
    rows = (_list_of(row.values.get(columns.labels), strict=False) for row in source.rows(Faults(source.name)))
    tagged = (tags for tags in rows if isinstance(tags, list)) if columns.tagged else iter(())
    return TagForm.find(tagged, source, columns.labels, scheme=scheme, label_name=label_name, names=names)


def read_sentences(
    source: RowSource,
    columns: NerColumns,
    form: TagForm,
    *,
    rules: SpanRules,
    repair: bool = False,
    faults: Faults,
) -> Iterator[tuple[Row, Sentence]]:
    """The sentences of a source in order, without the rows that have faults, which are added to `faults`."""
    counting, advice = Counting(), ""
    if not columns.tagged:
        counting, advice = find_counting(lambda: _texts(source, columns, rules), rules)
    for row in source.rows(faults):
        before = faults.count
        if columns.tagged:
            sentence = _from_tags(row, columns, form, repair, faults)
        else:
            sentence = _from_spans(row, columns, rules, counting, advice, faults)
        if sentence is not None and faults.count == before:
            yield row, sentence


def stored_sentences(
    roles: ColumnRoles, columns: NerColumns, form: TagForm, *, rules: SpanRules, repair: bool = False
) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The sentences of a source and the notes of their split, as `stored_rows` gives them.

    Columns `tokens`, `tags`, `text`, `starts` and `ends` (these three only of a raw text), and `repaired`.
    """
    import pyarrow as pa

    def check(faults: Faults) -> CheckedRows:
        found = read_sentences(roles.source, columns, form, rules=rules, repair=repair, faults=faults)
        for row, sentence in found:
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
    key = ["ner", _STORED_AS, astuple(columns), astuple(form), astuple(rules), repair]
    dataset, notes = stored_rows(roles, check, types, key=key, needs="words and tags")
    return dataset, {**notes, "tag_scheme": form.scheme, "repaired_tags": sum(dataset["repaired"])}


def _from_tags(row: Row, columns: NerColumns, form: TagForm, repair: bool, faults: Faults) -> Sentence | None:
    words, tags = _cell(row, columns.text, faults), _cell(row, columns.labels, faults)
    if words is None or tags is None:
        return None
    for name, cell, kinds in ((columns.text, words, str), (columns.labels, tags, str | int if form.names else str)):
        if not isinstance(cell, list) or not all(isinstance(item, kinds) for item in cell):
            found = repr(row.values.get(name))[:60]
            faults.add(row.where(), f"column {name!r} must be a list of strings, found {found}")
            return None
    if len(words) != len(tags):
        faults.add(row.where(), f"{numbered(len(words), 'words')} but {numbered(len(tags), 'tags')}")
        return None
    for position in (number for number, word in enumerate(words) if not word):
        faults.add(row.where(position), f"column {columns.text!r}: the word is empty", NO_WORD)
    iob2, wrong = form.to_iob2([tag.strip() if isinstance(tag, str) else tag for tag in tags])
    for position, what, mendable in wrong:
        if not repair or not mendable:
            faults.add(row.where(position), f"word {words[position]!r}: {what}", MEND_TAG if mendable else OTHER_TAG)
    return Sentence(words=words, tags=iob2, repaired=len(wrong))


def _from_spans(
    row: Row, columns: NerColumns, rules: SpanRules, counting: Counting, advice: str, faults: Faults
) -> Sentence | None:
    text, marked = row.values.get(columns.text), row.values.get(columns.labels)
    if isinstance(marked, str) and marked.lstrip()[:1] in ("[", "{"):
        marked = _cell(row, columns.labels, faults)
        if marked is None:
            return None
    if marked == "":
        faults.note(f"rows with nothing in {columns.labels!r}, read as having no entity")
        marked = []
    if isinstance(text, list) and isinstance(marked, list):
        return _from_word_spans(row, text, marked, rules, faults)
    if not isinstance(text, str) or not isinstance(marked, list | tuple | dict):
        faults.add(row.where(), f"needs a string in {columns.text!r} and a list in {columns.labels!r}")
        return None
    offsets = split_characters(text) if rules.characters else split_words(text)
    found = words_of(row, text, offsets, given_spans(marked, rules.names), rules, counting, advice, faults)
    words = [text[start:end] for start, end in offsets]
    tags = tags_of(found, len(words))
    assert spans(tags) == found
    return Sentence(words=words, tags=tags, text=text, offsets=offsets)


def _from_word_spans(
    row: Row, words: list[Any], marked: list[Any], rules: SpanRules, faults: Faults
) -> Sentence | None:
    """A sentence of words whose entities count words, as SpERT and GLiNER have them."""
    if not all(isinstance(word, str) for word in words):
        faults.add(row.where(), f"the words must be a list of strings, found {repr(words)[:60]}")
        return None
    if "" in words:
        faults.add(row.where(), f"word {words.index('')} is empty, counted from 0", NO_WORD)
        return None
    text, offsets = joined(words)
    given = list(in_characters_of(given_spans(marked, rules.names), offsets, rules.usual_ends))
    if given:
        faults.note(f"entities counted in words, with {rules.usual_ends} ends", len(given))
    found = words_of(row, text, offsets, given, rules, Counting(ends=rules.usual_ends), WORD_SPANS, faults)
    return Sentence(words=words, tags=tags_of(found, len(words)))


def _texts(source: RowSource, columns: NerColumns, rules: SpanRules) -> Iterator[tuple[str, Iterable[GivenSpan | str]]]:
    """The texts with their spans as annotated."""
    for row in source.rows(Faults(source.name)):
        text, marked = row.values.get(columns.text), _list_of(row.values.get(columns.labels), strict=False)
        if isinstance(text, str) and isinstance(marked, list | dict):
            yield text, list(given_spans(marked, rules.names))


def _cell(row: Row, column: str, faults: Faults) -> Any:
    """A list as it is, or as a cell of a table contains it; None if it has a fault."""
    value = row.values.get(column)
    try:
        found = _list_of(value)
    except ValueError as error:
        faults.add(row.where(), f"column {column!r}: the cell {error}: {str(value)[:60]!r}")
        return None
    if found is None:
        faults.add(row.where(), f"column {column!r} must be a list of strings, found {repr(value)[:60]}")
    return found


def _list_of(cell: Any, *, strict: bool = True) -> Any:
    """A list as it is, or as a cell contains it: JSON, Python's or NumPy's, or items with blanks between.

    None if it is neither; a dict as it is. Raises ValueError for a cell that begins like a list, if `strict`.
    """
    if isinstance(cell, str):
        if not _LIST_OPENS.match(cell):
            return cell.split()
        try:
            return parse_cell(cell)
        except ValueError:
            if not cell.lstrip().startswith("["):
                return cell.split()  # words that begin with a bracket
            if strict:
                raise
            return None
    return list(cell) if isinstance(cell, list | tuple) else cell if isinstance(cell, dict) else None
