"""Two entities of a text and their relation, in the forms of people's data; what is wrong is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.core.errors import DataError
from adapters.data.related_pairs import NO_RELATION, RelatedPair, RelationColumns, marked_pair, pairs_of_row, with_marks

PLAIN = RelationColumns(text="text", label="label", head="head", tail="tail")


def shown(pair: Any) -> tuple[Any, ...]:
    return (
        pair.text[pair.head.start : pair.head.end],
        pair.text[pair.tail.start : pair.tail.end],
        pair.head.type,
        pair.tail.type,
        pair.label,
    )


def read(values: dict[str, Any], columns: RelationColumns, ends: str = "exclusive") -> list[tuple[Any, ...]]:
    return [shown(pair) for pair in pairs_of_row(values, columns, ends)]


@pytest.mark.parametrize(
    "text",
    [
        "The <e1>child</e1> slept in the <e2>cradle</e2> .",
        "The [[ child ]] slept in the << cradle >> .",
        "The [[child]] slept in the <<cradle>> .",
    ],
)
def test_marks_in_a_text_are_taken_out_and_their_places_kept(text: str) -> None:
    found = marked_pair(text)
    assert found is not None
    plain, head, tail = found
    assert plain == "The child slept in the cradle ."
    assert (plain[head.start : head.end], plain[tail.start : tail.end]) == ("child", "cradle")


LISTED = RelationColumns(text="text", label="relations", entities="entities", relations=True)


def test_a_relation_of_an_entity_with_itself_is_refused_and_one_given_twice_counts_once() -> None:
    entities = [[0, 3, "PER"], [8, 10, "PER"]]
    row = {"text": "Ada met Bo", "entities": entities, "relations": [[0, 1, "knows"], [0, 1, "knows"]]}
    assert [one[-1] for one in read(row, LISTED)] == ["knows", NO_RELATION]
    with pytest.raises(DataError, match="a relation between an entity and itself, 'Bo'"):
        read({**row, "relations": [[1, 1, "knows"]]}, LISTED)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"relations": [[-1, 0, "x"]]}, "a relation refers to entity -1; column 'entities' has 2, counted from 0"),
        ({"relations": [[0, 2, "x"]]}, "a relation refers to entity 2; column 'entities' has 2, counted from 0"),
        ({"relations": [[0, "1", "x"]]}, "a relation refers to entity '1'; column 'entities' has 2"),
        ({"relations": [[0, True, "x"]]}, "a relation refers to entity True; column 'entities' has 2"),
        ({"relations": [[0, 1]]}, "a relation must be {head, tail, type} or [head, tail, type], found [0, 1]"),
        ({"relations": [{"head": 0}]}, "or [head, tail, type], found {'head': 0}"),
        ({"relations": 7}, "column 'relations' must be a list, found 7"),
        ({"entities": [[0, 3], [8.5, 10]]}, "an entity's place must be two whole numbers, found [8.5, 10]"),
        ({"entities": [[0, 3], "Bo"]}, "an entity must be [start, end, type] or {start, end, type}, found 'Bo'"),
    ],
)
def test_what_is_wrong_with_listed_relations_is_said(change: dict[str, Any], problem: str) -> None:
    row = {"text": "Ada met Bo", "entities": [[0, 3], [8, 10]], "relations": [[0, 1, "knows"]]}
    assert [one[-1] for one in read(row, LISTED)] == ["knows", NO_RELATION]
    with pytest.raises(DataError) as raised:
        read({**row, **change}, LISTED)
    assert problem in str(raised.value)


def test_marks_may_nest_and_come_in_either_order() -> None:
    plain, head, tail = marked_pair("<e2>University of <e1>Oslo</e1></e2> is old") or ("", None, None)
    assert head is not None and tail is not None
    assert plain == "University of Oslo is old"
    assert (plain[head.start : head.end], plain[tail.start : tail.end]) == ("Oslo", "University of Oslo")


@given(st.text(alphabet="ab<>[] é京", max_size=30), st.data())
def test_any_text_gets_its_places_back_after_marking(text: str, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=4, max_size=4)))
    one, one_end, two, two_end = places
    inside = f"{text[:one]}<e1>{text[one:one_end]}</e1>{text[one_end:two]}<e2>{text[two:two_end]}</e2>{text[two_end:]}"
    try:
        found = marked_pair(inside)
    except DataError:
        assert any(mark in text for mark in ("[[", "]]", "<<", ">>"))
        return
    assert found is not None
    plain, head, tail = found
    assert (plain, head.start, head.end, tail.start, tail.end) == (text, *places)
    if one < one_end < two < two_end and text[one:one_end].strip() and text[two:two_end].strip():
        assert with_marks(RelatedPair(text=plain, head=head, tail=tail)) == inside


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<e1>a</e1> and b", "each mark must occur once in the text, found <e1> 1, </e1> 1, <e2> 0, </e2> 0"),
        ("<e1>a</e1> <e1>b</e1> <e2>c</e2>", "found <e1> 2"),
        ("</e1>a<e1> and <e2>b</e2>", "a mark closes before it opens"),
        ("[[ a ]] and <e1>b</e1>", "each mark must occur once"),
    ],
)
def test_marks_that_are_missing_doubled_or_turned_round_are_refused(text: str, problem: str) -> None:
    with pytest.raises(DataError) as raised:
        marked_pair(text)
    assert problem in str(raised.value)


def test_entities_are_given_by_places_names_or_both() -> None:
    text = "Ada Lovelace lived in London"
    cells: list[tuple[Any, Any]] = [
        ([0, 12], [22, 28]),
        ({"start": 0, "end": 12}, {"start": 22, "end": 28}),
        ({"name": "Ada Lovelace", "pos": [0, 12]}, {"name": "London", "pos": [22, 28]}),
        ("Ada Lovelace", "London"),
        ("[0, 12]", "{'start': 22, 'end': 28}"),
    ]
    for head, tail in cells:
        values = {"text": text, "head": head, "tail": tail, "label": "lived_in"}
        assert read(values, PLAIN) == [("Ada Lovelace", "London", None, None, "lived_in")]


def test_tacreds_places_count_words_and_their_ends_are_inclusive() -> None:
    columns = RelationColumns(
        text="token",
        label="relation",
        head_start="subj_start",
        head_end="subj_end",
        tail_start="obj_start",
        tail_end="obj_end",
        head_type="subj_type",
        tail_type="obj_type",
    )
    values = {
        "token": ["Ada", "Lovelace", "lived", "in", "London"],
        "relation": "per:city",
        **{"subj_start": 0, "subj_end": 1, "obj_start": 4, "obj_end": 4, "subj_type": "PER", "obj_type": "CITY"},
    }
    assert read(values, columns, "inclusive") == [("Ada Lovelace", "London", "PER", "CITY", "per:city")]


def test_fewrels_positions_of_words_are_the_entity() -> None:
    values = {
        "text": ["Ada", "Lovelace", "lived", "in", "London"],
        "head": ["Ada Lovelace", "Q7259", [[0, 1]]],
        "tail": ["London", "Q84", [[4]]],
        "label": "P551",
    }
    assert read(values, PLAIN) == [("Ada Lovelace", "London", None, None, "P551")]


def test_places_in_words_are_held_against_the_entities_names() -> None:
    words = ["The", "New", "York", "Times", "praised", "Oslo"]
    inclusive = {
        "text": words,
        "head": {"name": "new york times", "pos": [1, 3]},
        "tail": {"name": "Oslo", "pos": [5, 5]},
        "label": "r",
    }
    with pytest.raises(DataError, match=r"1:3 is 'New York' in the text, not 'new york times'.*--span_ends"):
        read(inclusive, PLAIN)
    assert read(inclusive, PLAIN, "inclusive") == [("New York Times", "Oslo", None, None, "r")]
    listed = {**inclusive, "head": ["new york times", "Q9684", [[1, 2]]], "tail": ["Oslo", "Q585", [[5]]]}
    with pytest.raises(DataError, match="is 'New York' in the text, not 'new york times'"):
        read(listed, PLAIN)
    assert read({**listed, "head": ["New YorkTimes", "Q9684", [[1, 2, 3]]]}, PLAIN)[0][0] == "New York Times"


@pytest.mark.parametrize(
    ("text", "head", "tail", "places"),
    [
        ("The party in Oslo showed art .", "art", "Oslo", [(25, 28), (13, 17)]),
        ("New York City is in New York .", "New York City", "New York", [(0, 13), (20, 28)]),
        ("New York City is in New York .", "New York", "New York City", [(20, 28), (0, 13)]),
        ("New York City grew .", "New York", "New York City", [(0, 8), (0, 13)]),
        ("Anna met Ann , Ann left", "Ann", "Ann", [(9, 12), (15, 18)]),
        ("上海大学在上海", "上海", "上海大学", [(5, 7), (0, 4)]),
        ("Unix and Linuxes", "Linux", "Unix", [(9, 14), (0, 4)]),
    ],
)
def test_a_name_is_a_word_of_the_text_apart_from_the_other_where_there_is_one(
    text: str, head: str, tail: str, places: list[tuple[int, int]]
) -> None:
    (pair,) = pairs_of_row({"text": text, "head": head, "tail": tail, "label": "r"}, PLAIN, "exclusive")
    assert [(one.start, one.end) for one in (pair.head, pair.tail)] == places
    assert ("inside another word" in pair.note) == (head == "Linux")


@pytest.mark.parametrize("as_lists", [True, False])
def test_of_listed_relations_all_ordered_pairs_are_examples(as_lists: bool) -> None:
    entities: list[Any] = [[0, 1, "Per"], [3, 4, "Loc"], [5, 6, "Loc"]]
    relations: list[Any] = [[0, 1, "lives_in"]]
    if not as_lists:
        entities = [dict(zip(("start", "end", "type"), one, strict=True)) for one in entities]
        relations = [dict(zip(("head", "tail", "type"), one, strict=True)) for one in relations]
    columns = RelationColumns(text="tokens", label="relations", relations=True, entities="entities")
    values = {"tokens": ["Ada", "lived", "in", "Oslo", "or", "Rome"], "entities": entities, "relations": relations}
    found = read(values, columns)
    assert len(found) == 6
    assert [one for one in found if one[-1] != NO_RELATION] == [("Ada", "Oslo", "Per", "Loc", "lives_in")]


def test_listed_triples_of_names_are_examples_as_they_are() -> None:
    columns = RelationColumns(text="text", label="relations", relations=True)
    values = {
        "text": "东方航空将与上航合并",
        "relations": [["东方航空", "上航", "合并"], ["上航", "东方航空", "unknown"]],
    }
    assert read(values, columns) == [
        ("东方航空", "上航", None, None, "合并"),
        ("上航", "东方航空", None, None, "unknown"),
    ]


def test_a_name_that_both_have_is_found_twice_and_said() -> None:
    values = {"text": "Oslo is Oslo", "head": "Oslo", "tail": "Oslo", "label": "same"}
    (pair,) = pairs_of_row(values, PLAIN, "exclusive")
    assert (pair.head.start, pair.tail.start) == (0, 8)
    assert "several times" in pair.note


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"head": [0, 40]}, "0:40 is outside the text of 28 characters"),
        ({"head": [22, 28]}, "head and tail are the same characters, 22:28 ('London')"),
        ({"head": "Grace"}, "the entity 'Grace' is not in the text"),
        ({"head": "London"}, "is not in the text a second time"),
        ({"head": {"name": "Ada", "pos": [0, 12]}}, "is 'Ada Lovelace' in the text, not 'Ada'"),
        ({"head": [3, 4]}, "the head 3:4 is white space"),
        ({"head": [4, 2]}, "outside the text"),
        ({"head": None}, "the head must be [start, end], {start, end} or a text, found None"),
        ({"label": ""}, "column 'label' is empty"),
        ({"label": {"a": 1}}, "must name a relation"),
        ({"text": ""}, "column 'text' is empty"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(change: dict[str, Any], problem: str) -> None:
    values = {"text": "Ada Lovelace lived in London", "head": [0, 12], "tail": [22, 28], "label": "x", **change}
    with pytest.raises(DataError) as raised:
        list(pairs_of_row(values, PLAIN, "exclusive"))
    assert problem in str(raised.value)
