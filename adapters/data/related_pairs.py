"""Two entities of a text and the relation between them, in the forms that data sets have them.

{"text": "The <e1>child</e1> slept in the <e2>cradle</e2>.", "label": "…"}        also [[ … ]] with << … >>
{"text": "…", "head": [4, 9], "tail": [23, 29], "relation": "…"}                  also {"name", "pos"} or a name alone
{"token": […], "subj_start": 0, "subj_end": 1, "obj_start": 5, …}                 TACRED's, ends inclusive
{"tokens": […], "entities": [{"type", "start", "end"}], "relations": [{"type", "head": 0, "tail": 1}]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

from adapters.core.errors import DataError
from adapters.data.cell_values import parse_cell, whole
from adapters.data.entity_spans import INCLUSIVE
from adapters.data.word_splitter import joined, split_words

NO_RELATION = "no_relation"
"""The label of two entities between which there is none of the relations."""
SHOWN = 60

_MARKS = (
    (re.compile(r"<e1>"), re.compile(r"</e1>"), re.compile(r"<e2>"), re.compile(r"</e2>")),
    (re.compile(r"\[\[ ?"), re.compile(r" ?\]\]"), re.compile(r"<< ?"), re.compile(r" ?>>")),
)
MARKS = "<e1>…</e1> and <e2>…</e2>, or [[ … ]] and << … >>"
"""How the two entities can be marked in a text, for messages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One of the two entities: its characters in the text, the end exclusive, and its type, if the data have it."""

    start: int
    end: int
    type: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RelatedPair:
    """Two entities of a text, and their relation as the data name it; None where that is not known."""

    text: str
    head: Argument
    tail: Argument
    label: str | None = None
    note: str = ""
    """What was taken for granted, in words that follow a number."""

    def __post_init__(self) -> None:
        """Raises DataError where an argument is no part of the text, or both are the same."""
        for name, one in (("head", self.head), ("tail", self.tail)):
            if not 0 <= one.start < one.end <= len(self.text):
                raise DataError(f"the {name} {one.start}:{one.end} is outside the text of {len(self.text)} characters")
            if not self.text[one.start : one.end].strip():
                raise DataError(f"the {name} {one.start}:{one.end} is white space")
        if (self.head.start, self.head.end) == (self.tail.start, self.tail.end):
            shown = self.text[self.head.start : self.head.end][:SHOWN]
            raise DataError(f"head and tail are the same characters, {self.head.start}:{self.head.end} ({shown!r})")


def marked_pair(text: str) -> tuple[str, Argument, Argument] | None:
    """The text without its marks, head and tail; None where it has no marks at all.

    Raises DataError where a mark is missing, occurs twice, or closes before it opens, and where marks of two kinds are
    in one text.
    """
    kinds = [kind for kind in _MARKS if any(mark.search(text) for mark in kind)]
    if not kinds:
        return None
    whole = [kind for kind in kinds if all(len(mark.findall(text)) == 1 for mark in kind)]
    if len(whole) != 1:
        names = ("<e1>", "</e1>", "<e2>", "</e2>") if kinds[0] is _MARKS[0] else ("[[", "]]", "<<", ">>")
        counts = ", ".join(f"{name} {len(mark.findall(text))}" for name, mark in zip(names, kinds[0], strict=True))
        raise DataError(f"each mark must occur once in the text, found {counts} ({text[:SHOWN]!r})")
    found = [match for mark in whole[0] if (match := mark.search(text))]
    if found[0].start() > found[1].start() or found[2].start() > found[3].start():
        raise DataError(f"a mark closes before it opens ({text[:SHOWN]!r})")
    plain, at, places = "", 0, {}
    for match in sorted(found, key=lambda one: one.start()):
        plain += text[at : match.start()]
        at = match.end()
        places[match] = len(plain)
    one, end_one, two, end_two = (places[match] for match in found)
    return plain + text[at:], Argument(start=one, end=end_one), Argument(start=two, end=end_two)


@dataclass(frozen=True, kw_only=True)
class RelationColumns:
    """The columns of a source, by what they have; None where there is no such column.

    Attributes:
        text: a text, or a list of words.
        label: the relation; or `relations`, a list of all relations of a text.
        relations: whether `label` is such a list.
        entities: a list of all entities of a text.
        head: the first entity: its place, its name, or both.
        tail: the second one.
        head_start: of the places in columns of their own; with these, `head` and `tail` are names, if there are any.
        head_end: the same.
        tail_start: the same.
        tail_end: the same.
        head_type: the head's type.
        tail_type: the tail's type.
    """

    text: str
    label: str
    relations: bool = False
    entities: str | None = None
    head: str | None = None
    tail: str | None = None
    head_start: str | None = None
    head_end: str | None = None
    tail_start: str | None = None
    tail_end: str | None = None
    head_type: str | None = None
    tail_type: str | None = None


def pairs_of_row(values: Mapping[str, Any], columns: RelationColumns, ends: str) -> Iterator[RelatedPair]:
    """The pairs of a row. `ends`: whether an entity's end is exclusive or inclusive. Raises DataError."""
    text, words = _text(values.get(columns.text), columns.text)
    if columns.relations:
        yield from _listed(text, words, values, columns, ends)
        return
    label = _label(values.get(columns.label), columns.label)
    if columns.head_start is not None:
        arguments = [
            _in_characters(
                [_cell(values, getattr(columns, f"{name}_{end}")) for end in ("start", "end")],
                words,
                ends,
                _type(values, getattr(columns, f"{name}_type")),
                _cell(values, getattr(columns, name)),
                text,
            )
            for name in ("head", "tail")
        ]
        yield RelatedPair(text=text, head=arguments[0], tail=arguments[1], label=label)
        return
    types = (_type(values, columns.head_type), _type(values, columns.tail_type))
    if columns.head is None or columns.tail is None:
        yield pair_in_marks(text, types, label)
        return
    cells = _parsed(_cell(values, columns.head)), _parsed(_cell(values, columns.tail))
    yield located_pair(text, words, cells, types, label, ends)


def with_marks(pair: RelatedPair) -> str:
    """The text with both entities marked, as `marked_pair` reads it."""
    places = []
    for sign, one in (("e1", pair.head), ("e2", pair.tail)):
        places += [(one.start, 1, -one.end, f"<{sign}>"), (one.end, 0, -one.start, f"</{sign}>")]
    out, at = "", 0
    for place, _, _, mark in sorted(places):
        out += pair.text[at:place] + mark
        at = place
    return out + pair.text[at:]


def pair_in_marks(text: str, types: tuple[str | None, str | None], label: str | None = None) -> RelatedPair:
    """The pair that is marked in a text; `types`: of head and tail. Raises DataError, also where there are no marks."""
    found = marked_pair(text)
    if found is None:
        raise DataError(f"the text has no marks of its two entities ({MARKS}): {text[:SHOWN]!r}")
    plain, head, tail = found
    return RelatedPair(text=plain, head=replace(head, type=types[0]), tail=replace(tail, type=types[1]), label=label)


def located_pair(
    text: str,
    words: Sequence[tuple[int, int]] | None,
    cells: tuple[Any, Any],
    types: tuple[str | None, str | None],
    label: str | None,
    ends: str,
) -> RelatedPair:
    """A pair whose entities are given as `[start, end]`, `{"start", "end"}`, `{"name", "pos"}` or by their names.

    Args:
        text: the text.
        words: (start, end) of its words, which the places then count; None: they count characters.
        cells: the head and the tail.
        types: their types, where the cells have none.
        label: the relation.
        ends: whether ends are exclusive or inclusive.

    Raises DataError.
    """
    found: list[Argument | None] = []
    for cell, kind in zip(cells, types, strict=True):
        place, name, own = _place(cell)
        found.append(None if place is None else _in_characters(place, words, ends, own or kind, name, text))
    names = [_place(cell)[1] for cell in cells]
    for number, name in enumerate(names):
        if found[number] is None and (not isinstance(name, str) or not name.strip()):
            side = ("head", "tail")[number]
            raise DataError(f"the {side} must be [start, end], {{start, end}} or a text, found {cells[number]!r:.60}")
    note, bounds = "", words or split_words(text)
    # The longer name first: the shorter one may be inside it.
    for number in sorted((0, 1), key=lambda one: -len(str(names[one] or "").strip())):
        if found[number] is None:
            (start, end), doubt = _named(text, str(names[number]).strip(), bounds, found[1 - number])
            found[number] = Argument(start=start, end=end, type=_place(cells[number])[2] or types[number])
            note = doubt or note
    head, tail = found
    assert head is not None and tail is not None
    return RelatedPair(text=text, head=head, tail=tail, label=label, note=note)


def _named(
    text: str, name: str, words: Sequence[tuple[int, int]], other: Argument | None
) -> tuple[tuple[int, int], str]:
    """The characters of an entity that is given by its name, and what was taken for granted.

    Of several places the first is taken that begins and ends with a word and has nothing of the other entity; else the
    first with a word's ends, then one beside the other entity, then any.

    Raises DataError where the name is not in the text, or only as the other entity.
    """
    places = [(match.start(), match.start() + len(name)) for match in re.finditer(f"(?={re.escape(name)})", text)]
    free = [place for place in places if other is None or place != (other.start, other.end)]
    if not free:
        more = " a second time" if places else ""
        raise DataError(f"the entity {name[:SHOWN]!r} is not in the text{more} ({text[:SHOWN]!r})")
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    inside = {(start, end): start not in starts or end not in ends for start, end in places}

    def likelihood(place: tuple[int, int]) -> tuple[bool, bool, int]:
        overlaps = other is not None and place[0] < other.end and other.start < place[1]
        return inside[place], overlaps, place[0]

    chosen = min(free, key=likelihood)
    if inside[chosen]:
        return chosen, "pairs with an entity whose name is in the text only inside another word, where it was taken"
    if sum(not one for one in inside.values()) > 1:
        return chosen, "pairs with an entity whose name occurs several times in the text, of which the first was taken"
    return chosen, ""


def _listed(
    text: str, words: Sequence[tuple[int, int]] | None, values: Mapping[str, Any], columns: RelationColumns, ends: str
) -> Iterator[RelatedPair]:
    """All pairs of a text of which the entities and the relations are listed; those without a relation among them."""
    relations = _items(values, columns.label)
    if columns.entities is None:
        for head, tail, label in map(_triple, relations):
            yield located_pair(text, words, (head, tail), (None, None), _label(label, columns.label), ends)
        return
    entities = []
    for item in _items(values, columns.entities):
        place, name, kind = _place(item)
        if place is None:
            raise DataError(f"an entity must be [start, end, type] or {{start, end, type}}, found {item!r:.60}")
        entities.append(_in_characters(place, words, ends, kind, name, text))
    related: dict[tuple[int, int], list[str]] = {}
    for head, tail, label in map(_triple, relations):
        both = _entity(head, entities, columns.entities), _entity(tail, entities, columns.entities)
        if both[0] == both[1]:
            own = entities[both[0]]
            raise DataError(f"a relation between an entity and itself, {text[own.start : own.end]!r:.60}")
        named = _label(label, columns.label)
        if named not in related.setdefault(both, []):
            related[both].append(named)
    for one, other in permutations(range(len(entities)), 2):
        if (entities[one].start, entities[one].end) == (entities[other].start, entities[other].end):
            if (one, other) in related:
                raise DataError(
                    f"a relation between an entity and itself, {text[entities[one].start : entities[one].end]!r:.60}"
                )
            continue
        labels = related.get((one, other), [NO_RELATION])
        note = "pairs with several relations, each an example of its own" if len(labels) > 1 else ""
        for label in labels:
            yield RelatedPair(text=text, head=entities[one], tail=entities[other], label=label, note=note)


def _entity(given: Any, entities: Sequence[Argument], column: str) -> int:
    """The number of an entity to which a relation refers. Raises DataError."""
    if type(given) is int and 0 <= given < len(entities):
        return given
    raise DataError(f"a relation refers to entity {given!r:.40}; column {column!r} has {len(entities)}, counted from 0")


def _triple(item: Any) -> tuple[Any, Any, Any]:
    """Head, tail and label of a listed relation. Raises DataError."""
    if isinstance(item, Mapping):
        keys = {str(key).lower(): value for key, value in item.items()}
        found = [next((keys[name] for name in names if name in keys), None) for names in _TRIPLE]
        if all(one is not None for one in found):
            return found[0], found[1], found[2]
    elif isinstance(item, list | tuple) and len(item) == 3:
        return item[0], item[1], item[2]
    raise DataError(f"a relation must be {{head, tail, type}} or [head, tail, type], found {item!r:.60}")


_TRIPLE = (
    ("head", "h", "subject", "subj", "from", "head_id", "from_id", "arg1"),
    ("tail", "t", "object", "obj", "to", "tail_id", "to_id", "arg2"),
    ("type", "relation", "label", "predicate", "r"),
)


def _items(values: Mapping[str, Any], column: str) -> list[Any]:
    """The list in a cell. Raises DataError."""
    value = _parsed(_cell(values, column))
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return list(value)
    raise DataError(f"column {column!r} must be a list, found {value!r:.60}")


def _place(cell: Any) -> tuple[Any, Any, str | None]:
    """The place in a cell, the entity's own text, and its type, each None where it has none."""
    if isinstance(cell, Mapping):
        keys = {str(key).lower(): value for key, value in cell.items()}
        name = next((keys[key] for key in ("name", "text", "mention", "word") if isinstance(keys.get(key), str)), None)
        kind = next((keys[key] for key in ("type", "label", "entity_type") if isinstance(keys.get(key), str)), None)
        for key in ("pos", "span", "position"):
            if isinstance(keys.get(key), list | tuple):
                return keys[key], name, kind
        start, end = keys.get("start"), keys.get("end")
        return (None if start is None else [start, end]), name, kind
    if isinstance(cell, list | tuple):
        if len(cell) == 3 and isinstance(cell[0], str) and isinstance(cell[2], list):
            positions = cell[2]  # FewRel: [name, id, [[positions of words], …]]
            first = positions[0] if positions and isinstance(positions[0], list) else positions
            if first and all(type(one) is int for one in first):
                return [first[0], first[-1] + 1], cell[0], None
            return None, cell[0], None
        if len(cell) == 3 and isinstance(cell[2], str):
            return [cell[0], cell[1]], None, cell[2]
        return cell, None, None
    return None, cell, None


def _in_characters(
    place: Any, words: Sequence[tuple[int, int]] | None, ends: str, kind: str | None, own: Any, text: str
) -> Argument:
    """An entity's characters. Raises DataError where they are not in the text, or are not its own text."""
    place = [whole(one) for one in place] if isinstance(place, list | tuple) else place
    if not isinstance(place, list) or len(place) != 2 or not all(type(one) is int for one in place):
        raise DataError(f"an entity's place must be two whole numbers, found {place!r:.60}")
    start, end = place[0], place[1] + (ends == INCLUSIVE)
    if words is not None:
        if not 0 <= start < end <= len(words):
            raise DataError(f"the entity {place[0]}:{place[1]} is outside the {len(words)} words")
        start, end = words[start][0], words[end - 1][1]
    elif not 0 <= start < end <= len(text):
        raise DataError(f"the entity {place[0]}:{place[1]} is outside the text of {len(text)} characters")
    if isinstance(own, str) and own.strip() and _bare(text[start:end]) != _bare(own):
        raise DataError(
            f"the entity {place[0]}:{place[1]} is {text[start:end]!r:.60} in the text, not {own!r:.60}: are ends "
            f"{'exclusive' if ends == INCLUSIVE else 'inclusive'} (--span_ends)?"
        )
    return Argument(start=start, end=end, type=kind)


def _bare(name: str) -> str:
    """A name as it is compared: without white space, which words were joined by, and without case."""
    return "".join(name.split()).casefold()


def _text(cell: Any, column: str) -> tuple[str, list[tuple[int, int]] | None]:
    """A text; or words joined by spaces, and their places. Raises DataError."""
    cell = _parsed(cell)
    if isinstance(cell, str) and cell.strip():
        return cell, None
    if isinstance(cell, list | tuple) and cell and all(isinstance(word, str) for word in cell):
        return joined(cell)
    empty = cell is None or cell == [] or (isinstance(cell, str) and not cell.strip())
    raise DataError(f"column {column!r} {'is empty' if empty else f'must be a text or words, found {cell!r:.60}'}")


def _label(cell: Any, column: str) -> str:
    """A relation's name. Raises DataError."""
    if isinstance(cell, str) and cell.strip():
        return cell.strip()
    if type(cell) is int:
        return str(cell)
    raise DataError(
        f"column {column!r} {'is empty' if cell in (None, '') else f'must name a relation, found {cell!r:.60}'}"
    )


def _type(values: Mapping[str, Any], column: str | None) -> str | None:
    """An entity's type in a column of its own."""
    value = _cell(values, column)
    return value.strip() if isinstance(value, str) and value.strip() else None


def _cell(values: Mapping[str, Any], column: str | None) -> Any:
    return None if column is None else values.get(column)


def _parsed(cell: Any) -> Any:
    """The list or the dict that a table wrote into a cell; another value as it is."""
    if not isinstance(cell, str) or cell.lstrip()[:1] not in ("[", "{") or cell.lstrip().startswith("[["):
        return cell
    try:
        return parse_cell(cell)
    except ValueError:
        return cell
