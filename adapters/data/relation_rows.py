"""Pairs of entities of any format: a text, two entities and their relation, with every fault at its `file:line`."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

from adapters.core.errors import DataError, Faults
from adapters.core.settings import require
from adapters.data.columns import DOCUMENT, ColumnRoles
from adapters.data.entity_spans import EXCLUSIVE, INCLUSIVE
from adapters.data.related_pairs import MARKS, NO_RELATION, RelatedPair, RelationColumns, pairs_of_row
from adapters.data.rows import Row, first_rows
from adapters.data.stored_rows import MEND_ROW, CheckedRows, stored_rows, value_counts

if TYPE_CHECKING:
    import datasets

TEXTS = ("text", "sentence", "sent", "content", "context", "tokens", "token", "words", "tokenized_text")
LABELS = ("relation", "relations", "label", "relation_type", "rel", "labels", "class", "type", "predicate")
HEADS = ("head", "h", "subject", "subj", "e1", "entity1", "entity_1", "head_entity", "arg1", "ent1")
TAILS = ("tail", "t", "object", "obj", "e2", "entity2", "entity_2", "tail_entity", "arg2", "ent2")
ENTITIES = ("entities", "ents", "spans", "vertexset", "ner")
NEGATIVE = ("no_relation", "other", "none", "na", "n/a", "no relation", "unknown", "null", "无关系", "无")
"""Usual names, in lower case, of the label of pairs without a relation."""
PARTS = ("start", "end", "type")
_STORED_AS = 1
"""Raised when stored pairs change their meaning, so that older caches are not read."""


@dataclass(frozen=True, kw_only=True)
class RelationForm:
    """How relations are written.

    Attributes:
        ends: whether an entity's end is exclusive or inclusive.
        negative: the data's name for `no_relation`; None where it has none.
    """

    ends: str
    negative: str | None

    def label(self, given: str | None) -> str | None:
        """The label that is learned."""
        return NO_RELATION if given is not None and given == self.negative else given


def find_relation_columns(roles: ColumnRoles) -> RelationColumns:
    """The columns that the user named, else those with the usual names. Raises DataError that lists the columns."""
    text = roles.find("text", TEXTS, what="texts")
    label = roles.find("label", LABELS, what="relations")
    first = [row.values.get(label) for row in first_rows(roles.source, 20)]
    if any(isinstance(cell, list | tuple | dict) or (isinstance(cell, str) and cell[:1] == "[") for cell in first):
        entities = roles.look("entities", ENTITIES)
        if roles.document() is None:
            roles.use(DOCUMENT, text)  # all pairs of a text are of one document, which no split cuts
        return RelationColumns(text=text, label=label, relations=True, entities=entities)
    found: dict[str, Any] = {}
    for name, usual in (("head", HEADS), ("tail", TAILS)):
        found[name] = roles.look(name, usual)
        known = [found[name], *usual] if found[name] else usual
        for part in PARTS:
            found[f"{name}_{part}"] = roles.look(f"{name}_{part}", [f"{one}_{part}".lower() for one in known])
    places = [name for name in ("head_start", "head_end", "tail_start", "tail_end") if found[name] is None]
    if places and len(places) < 4:
        raise DataError(
            f"{roles.source.name}: a column of {', '.join(places)} is missing, and the others are there. Columns "
            f"found: {', '.join(roles.source.columns)}. An entity needs both a start and an end."
        )
    if places and (found["head"] is None) != (found["tail"] is None):
        lacking = "tail" if found["tail"] is None else "head"
        raise DataError(
            f"{roles.source.name}: no column of the {lacking}. Columns found: {', '.join(roles.source.columns)}. Name "
            f"it with --{lacking}_column_name, or mark both entities in the text ({MARKS})."
        )
    return replace(RelationColumns(text=text, label=label), **found)


def find_relation_form(
    roles: ColumnRoles, columns: RelationColumns, *, ends: str | None, negative: str | None
) -> RelationForm:
    """How relations are written, by the first rows; what is taken for granted is added to the notes.

    Args:
        roles: of the leading split.
        columns: its columns.
        ends: `exclusive` or `inclusive`; None: inclusive in TACRED's columns (`subj_start`, `obj_end`), else exclusive.
        negative: the label of pairs without a relation, "" for none; None looks for a usual name.
    """
    require(ends in (None, EXCLUSIVE, INCLUSIVE), "span_ends", ends, f"{EXCLUSIVE} or {INCLUSIVE}")
    if ends is None:
        ends = INCLUSIVE if (columns.head_end or "").lower() == "subj_end" else EXCLUSIVE
        if ends == INCLUSIVE:
            roles.notes.append("subj_end and obj_end are read as TACRED's, the last word of an entity (--span_ends)")
    if negative is None and columns.entities is None:
        counts: Counter[str] = Counter()
        for row in roles.source.rows(Faults(roles.source.name)):  # all of them: files are often sorted by label
            label = row.values.get(columns.label)
            try:
                pairs = pairs_of_row(row.values, columns, ends) if columns.relations else None
                counts.update([str(label).strip()] if pairs is None else [str(pair.label) for pair in pairs])
            except DataError:  # reported when all rows are read
                continue
        by_case = {name.lower(): name for name in counts}
        negative = next((by_case[name] for name in NEGATIVE if name in by_case), None)
        if negative not in (None, NO_RELATION):
            roles.notes.append(f"the label {negative} is read as {NO_RELATION} (--no_relation_label)")
    return RelationForm(ends=ends, negative=negative or None)


def stored_pairs(
    roles: ColumnRoles, columns: RelationColumns, form: RelationForm
) -> tuple[datasets.Dataset, dict[str, Any]]:
    """The pairs of a source and the notes of their split, as `stored_rows` gives them.

    Columns `text`, `label`, and of `head` and `tail` `…_start`, `…_end` (characters) and `…_type` (null where none).
    """
    import pyarrow as pa

    def check(faults: Faults) -> CheckedRows:
        for row in roles.source.rows(faults):
            try:
                pairs = list(pairs_of_row(row.values, columns, form.ends))
            except DataError as error:
                faults.add(row.where(), str(error), MEND_ROW)
                continue
            if not pairs:
                faults.note("texts with fewer than two entities, without a pair")
            for number, pair in enumerate(pairs):
                if pair.note:
                    faults.note(pair.note)
                yield _named(row, number, len(pairs)), _stored(pair, form)

    text, number = pa.string(), pa.int64()
    of_each = {f"{name}_{part}": text if part == "type" else number for name in ("head", "tail") for part in PARTS}
    key = ["relation_extraction", _STORED_AS, astuple(columns), astuple(form)]
    return stored_rows(roles, check, {"text": text, "label": text, **of_each}, key=key, needs="a text and two entities")


def relation_counts(dataset: datasets.Dataset) -> Counter[str]:
    """How often each relation occurs among stored pairs."""
    return value_counts(dataset, "label")


def _named(row: Row, number: int, of: int) -> Row:
    """The row of one of several pairs, with a name of its own."""
    given = row.values.get("id")
    if of == 1 or given is None:
        return row
    return Row(row.file, row.line, row.line_step, {**row.values, "id": f"{given}/{number}"})


def _stored(pair: RelatedPair, form: RelationForm) -> dict[str, Any]:
    arguments = {"head": pair.head, "tail": pair.tail}
    of_each = {f"{name}_{part}": getattr(one, part) for name, one in arguments.items() for part in PARTS}
    return {"text": pair.text, "label": form.label(pair.label), **of_each}
