"""Entities as annotation tools write them: the same spans in every form, and nothing moved without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import Faults, SettingsError
from adapters.data.entity_spans import Counting, SpanRules, find_counting, given_spans, is_spans, words_of
from adapters.data.rows import Row
from adapters.data.word_splitter import split_words

TEXT = "Ada met Bob in New York."


def read(
    text: str, cell: Any, *, names: tuple[str, ...] = (), **rules: str
) -> tuple[list[tuple[str, str]], list[str], dict[str, int], list[str]]:
    """Labels and texts of the entities, the faults, the notes, and the advice."""
    faults, offsets, chosen = Faults("f"), split_words(text), SpanRules(names=names, **rules)
    counting, advice = find_counting(lambda: [(text, given_spans(cell, names))], chosen)
    row = Row("f", 1, 0, {})
    found = words_of(row, text, offsets, given_spans(cell, names), chosen, counting, advice, faults)
    texts = [(kind, text[offsets[begin][0] : offsets[end - 1][1]]) for kind, begin, end in found]
    return texts, faults.shown, dict(faults.notes), faults.advice


@pytest.mark.parametrize(
    "item",
    [
        [0, 3, "PER"],
        ["PER", 0, 3],
        (0, 3, "PER"),
        {"start": 0, "end": 3, "label": "PER"},
        {"start": 0, "end": 3, "labels": ["PER"], "text": "Ada"},
        {"id": 7, "start_offset": 0, "end_offset": 3, "label": "PER"},
        {"startOffset": 0, "endOffset": 3, "type": "PER"},
        {"BeginOffset": 0, "EndOffset": 3, "Type": "PER", "Text": "Ada", "Score": 0.9},
        {"begin": 0, "end": 3, "tag": "PER"},
        {"from": 0, "to": 3, "class": "PER"},
        {"offset": 0, "length": 3, "category": "PER", "text": "Ada"},
        {"start": 0, "end": 3, "entity_group": "PER", "word": "ada", "score": 0.9},
        {"start": 0, "end": 3, "entity": "PER", "value": "ada lovelace"},
        {"entity": "Ada", "start": 0, "end": 3, "type": "PER"},
        {"start_char": 0, "end_char": 3, "entity_type": "PER"},
        {"start": 0, "end": 3, "label": " PER "},
        {"label": ["PER"], "points": [{"start": 0, "end": 2, "text": "Ada"}]},
    ],
)
def test_an_entity_is_read_in_each_form(item: Any) -> None:
    assert read(TEXT, [item])[:2] == ([("PER", "Ada")], [])


@pytest.mark.parametrize(
    "cell",
    [
        {"entities": [[0, 3, "PER"], [15, 23, "LOC"]]},
        {"PER": [[0, 3]], "LOC": [[15, 23]]},
        {"PER": {"Ada": [[0, 2]]}, "LOC": {"New York": [[15, 22]]}},
        {"PER": {"Ada": [[0, 3]]}, "LOC": {"New York": [[15, 23]]}},
    ],
)
def test_a_dict_of_entities_is_read(cell: Any) -> None:
    assert read(TEXT, cell)[:2] == ([("PER", "Ada"), ("LOC", "New York")], [])


@pytest.mark.parametrize("cell", [{"PER": ["Ada"]}, {"PER": {"Ada": [0, 2]}}, {"PER": "Ada"}, {"PER": [[0, "3"]]}])
def test_a_dict_without_spans_is_a_fault(cell: Any) -> None:
    found, faults, _, _ = read(TEXT, cell)
    assert found == [] and len(faults) >= 1


def test_labels_that_are_numbers_need_names() -> None:
    assert read(TEXT, [[0, 3, 1]], names=("LOC", "PER"))[0] == [("PER", "Ada")]
    assert "name the labels with --label_names" in read(TEXT, [[0, 3, 1]])[1][0]
    assert "--label_names has 1 names" in read(TEXT, [[0, 3, 1]], names=("LOC",))[1][0]


def test_an_entity_with_several_labels_is_a_fault() -> None:
    assert "an entity must have one label" in read(TEXT, [{"start": 0, "end": 3, "labels": ["PER", "ORG"]}])[1][0]


@pytest.mark.parametrize(
    "cell, expected", [([], None), (None, None), ([[0, 1, "X"]], True), ([{}], True), (["O"], False)]
)
def test_spans_are_told_from_tags(cell: Any, expected: bool | None) -> None:
    assert is_spans(cell) is expected


# words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("span", [[0, 4, "PER"], [7, 11, "PER"], [7, 12, "PER"], [14, 24, "PER"]])
def test_blanks_at_an_end_are_trimmed_and_counted(span: list[Any]) -> None:
    text = TEXT.replace(".", " ")
    found, faults, notes, _ = read(text, [span])
    assert faults == [] and found == [("PER", text[span[0] : span[1]].strip())]
    assert notes == {"spans with blanks at an end, trimmed": 1}


def test_a_span_given_twice_is_read_once_and_counted() -> None:
    assert read(TEXT, [[0, 3, "PER"], [0, 3, "PER"], [0, 4, "PER"]])[2] == {
        "spans given twice, read once": 2,
        "spans with blanks at an end, trimmed": 1,
    }


def test_a_span_that_cuts_a_word_is_refused_extended_or_left_out() -> None:
    cut = [[0, 2, "PER"], [8, 11, "PER"]]
    _, faults, _, advice = read(TEXT, cut)
    assert faults == ["f:1: entity PER 0:2 ('Ad') cuts a word: 'Ada' (correct its start or end)"]
    assert "--spans snap" in advice[0] and "--spans drop" in advice[0]
    assert read(TEXT, cut, spans="snap")[:3] == (
        [("PER", "Ada"), ("PER", "Bob")],
        [],
        {"spans cutting a word, extended to whole words": 1},
    )
    assert read(TEXT, cut, spans="drop")[:3] == ([("PER", "Bob")], [], {"spans cutting a word, left out": 1})


def test_of_overlapping_spans_the_longer_is_kept_where_they_are_not_refused() -> None:
    overlapping = [[0, 3, "PER"], [0, 11, "ORG"], [8, 14, "LOC"]]
    _, faults, _, advice = read(TEXT, overlapping)
    assert faults == ["f:1: entities overlap: PER at word 0 and ORG at word 0"] and "--spans drop" in advice[0]
    for spans in ("snap", "drop"):
        assert read(TEXT, overlapping, spans=spans)[:3] == (
            [("ORG", "Ada met Bob")],
            [],
            {"spans overlapping a longer one left out": 2},
        )


def test_spans_that_overlap_once_they_are_extended_are_not_both_kept() -> None:
    found, faults, notes, _ = read("Take 10mg.", [[5, 7, "DOSE"], [7, 9, "UNIT"]], spans="snap")
    assert (len(found), faults, notes["spans overlapping a longer one left out"]) == (1, [], 1)


def test_a_span_without_a_word_is_refused_or_left_out() -> None:
    assert "contains no word" in read(TEXT, [[3, 4, "PER"]])[1][0]
    assert read(TEXT, [[3, 4, "PER"]], spans="drop")[:3] == ([], [], {"spans without a word left out": 1})


def test_a_span_outside_the_text_is_a_fault_whatever_the_rules() -> None:
    for spans in ("strict", "snap", "drop"):
        assert "is outside the text of 24 characters" in read(TEXT, [[20, 99, "LOC"]], spans=spans)[1][0]


@pytest.mark.parametrize("flag, value", [("spans", "cut"), ("ends", "open"), ("ends", "")])
def test_an_unknown_rule_is_refused(flag: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"--(spans|span_ends) {value}: must be"):
        SpanRules(**{flag: value})  # type: ignore[arg-type]


# own texts ------------------------------------------------------------------------------------------------------------

EMOJI = "👍🏽 Ada mét 李娜 in São Paulo 🇧🇷 and Bob"
ENTITIES = [("PER", "Ada"), ("PER", "李娜"), ("LOC", "São Paulo"), ("PER", "Bob")]


def spans_of(text: str, entities: list[tuple[str, str]], size: Callable[[str], int], last: int) -> list[dict[str, Any]]:
    found = []
    for label, own in entities:
        start = text.index(own)
        found.append(
            {"start": size(text[:start]), "end": size(text[: start + len(own)]) - last, "label": label, "text": own}
        )
    return found


UNITS: dict[str, Callable[[str], int]] = {
    "characters": len,
    "UTF-16 units": lambda text: len(text.encode("utf-16-le")) // 2,
    "bytes": lambda text: len(text.encode()),
}


@pytest.mark.parametrize("unit", UNITS)
def test_offsets_in_other_units_are_known_by_the_own_texts(unit: str) -> None:
    found, faults, notes, _ = read(EMOJI, spans_of(EMOJI, ENTITIES, UNITS[unit], 0))
    assert (found, faults) == (ENTITIES, [])
    assert notes == ({} if unit == "characters" else {f"spans counted in {unit}, converted": 4})


@pytest.mark.parametrize("unit", UNITS)
def test_inclusive_ends_are_read_where_they_are_named_and_refused_where_not(unit: str) -> None:
    spans = spans_of(TEXT, [("PER", "Ada"), ("LOC", "New York")], UNITS[unit], 1)
    assert read(TEXT, spans, ends="inclusive")[:2] == ([("PER", "Ada"), ("LOC", "New York")], [])
    _, faults, _, advice = read(TEXT, spans)
    assert faults[0] == "f:1: entity PER 0:2 is 'Ad' in the text, not 'Ada'"
    assert "inclusive" in advice[0] and "--span_ends inclusive" in advice[0]


def test_exclusive_ends_that_are_said_to_be_inclusive_are_refused() -> None:
    _, faults, _, advice = read(TEXT, spans_of(TEXT, [("LOC", "New York")], len, 0), ends="inclusive")
    assert len(faults) == 1 and "--span_ends exclusive" in advice[0]


def test_inclusive_ends_of_a_form_that_has_them_are_read_unless_others_are_asked_for() -> None:
    cluener = {"PER": {"Ada": [[0, 2]]}, "LOC": {"New York": [[15, 22]]}}
    assert read(TEXT, cluener)[:2] == ([("PER", "Ada"), ("LOC", "New York")], [])
    _, faults, _, advice = read(TEXT, cluener, ends="exclusive")
    assert len(faults) == 2 and "--span_ends inclusive" in advice[0]


def test_without_own_texts_nothing_is_converted() -> None:
    assert read("👍 Ada", [{"start": 3, "end": 6, "label": "PER"}])[1]


def test_offsets_that_nothing_explains_are_refused() -> None:
    _, faults, _, advice = read(TEXT, [{"start": 1, "end": 4, "label": "PER", "text": "Ada"}])
    assert len(faults) == 1 and "another text" in advice[0]


def test_white_space_in_an_own_text_may_differ() -> None:
    text = "in New\nYork now"
    assert read(text, [{"start": 3, "end": 11, "label": "LOC", "text": "New York "}])[:2] == (
        [("LOC", "New\nYork")],
        [],
    )


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from(["Ada", "👍🏽", "李", "é", "𝔸b", "x1", "🇧🇷", "Ōe", "."]), min_size=1, max_size=12),
    st.data(),
    st.sampled_from([*UNITS]),
    st.sampled_from(["exclusive", "inclusive"]),
)
def test_any_unit_and_end_with_own_texts_gives_the_same_entities(
    words: list[str], data: st.DataObject, unit: str, ends: str
) -> None:
    text, size = " ".join(words), UNITS[unit]
    bounds = sorted(data.draw(st.lists(st.integers(0, len(words)), min_size=2, max_size=6, unique=True)))
    spans, expected = [], []
    for begin, end in zip(bounds[::2], bounds[1::2], strict=False):
        start, own = len(" ".join([*words[:begin], ""])), " ".join(words[begin:end])
        first, last = size(text[:start]), size(text[:start] + own) - (ends == "inclusive")
        spans.append({"start": first, "end": last, "label": "X", "text": own})
        expected.append(("X", own))
    found, faults, _, _ = read(text, spans, ends=ends)
    assert (found, faults) == (expected, [])


def test_counting_finds_no_place_within_a_character() -> None:
    assert Counting(unit="bytes").in_characters("é", 1, 2) is None
    assert Counting(unit="UTF-16 units").in_characters("a👍", -1, 2) is None
