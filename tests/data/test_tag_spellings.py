"""How the tags of a file are written, and that any consistent way is read."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.data.tag_spellings import SEPARATORS, TagSpelling, find_spelling, is_tag, kind_of_tags, types_of


@pytest.mark.parametrize(
    "tags, expected",
    [
        ("O B-PER I-PER", TagSpelling()),
        ("O B_PER I_PER", TagSpelling()),
        ("O B-event-nominal I-PER.NAM", TagSpelling()),
        ("O B.PER.NAM I.PER.NAM", TagSpelling(separator=".")),
        ("O B:PER", TagSpelling(separator=":")),
        ("o b-per i-per", TagSpelling(lower=True, outside="o")),
        ("O b_per", TagSpelling(lower=True, separator="_")),
        ("O PER-B PER-I", TagSpelling(place="suffix")),
        ("o per_nam_b per_nam_i", TagSpelling(place="suffix", separator="_", lower=True, outside="o")),
        ("O B I", TagSpelling(place="alone")),
        ("o b i", TagSpelling(place="alone", lower=True, outside="o")),
        ("O B- I-", TagSpelling(place="alone")),
        ("O PER LOC", TagSpelling(place="bare")),
        ("o per loc", TagSpelling(place="bare", outside="o")),
        ("O PER LOC VITAMIN-B", TagSpelling(place="bare")),
        ("O S L", TagSpelling(place="bare")),
        ("O B-PER X Y Z", TagSpelling()),
        ("O BPER IPER BLOC", TagSpelling(separator="")),
        ("O BPER LOC", TagSpelling(place="bare")),
        ("O BIRD IDEA", TagSpelling(place="bare")),
        ("O B\N{EN DASH}PER I\N{EN DASH}PER", TagSpelling(separator="\N{EN DASH}")),
        ("O", TagSpelling()),
        ("", TagSpelling()),
    ],
)
def test_the_spelling_of_most_tags_is_found(tags: str, expected: TagSpelling) -> None:
    assert find_spelling(Counter(tags.split())) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["PER", "event-nominal", "PER.NAM", "a_b", "地点", "1"]), min_size=1, max_size=3, unique=True
    ),
    st.sampled_from(SEPARATORS),
    st.sampled_from(["prefix", "suffix"]),
    st.booleans(),
    st.sampled_from(["O", "o"]),
)
def test_tags_written_in_any_way_are_read_back(
    types: list[str], separator: str, place: str, lower: bool, outside: str
) -> None:
    usual = [f"{letter}-{kind}" for kind in types for letter in "BI"]

    def written(tag: str) -> str:
        letter, kind = (tag[0].lower() if lower else tag[0]), tag[2:]
        return f"{letter}{separator}{kind}" if place == "prefix" else f"{kind}{separator}{letter}"

    spelling = find_spelling(Counter([outside, *map(written, usual)]))
    read = [spelling.normal(written(tag)) for tag in usual]
    assert [tag[0] + "-" + tag[2:] if tag else None for tag in read] == usual
    assert spelling.normal(outside) == "O"


def test_a_tag_written_otherwise_is_none() -> None:
    suffix, lower = TagSpelling(place="suffix"), TagSpelling(lower=True, outside="o")
    assert [suffix.normal(tag) for tag in ("PER-B", "B-PER", "PER", "", "o", "PER-b")] == ["B-PER", *[None] * 5]
    assert [lower.normal(tag) for tag in ("b-per", "B-per", "O", "o")] == ["B-per", None, None, "O"]


def test_a_letter_may_have_nothing_between_it_and_the_type() -> None:
    assert [TagSpelling(separator="").normal(tag) for tag in ("BPER", "IPER", "O", "PER")] == [
        "B-PER",
        "I-PER",
        "O",
        None,
    ]


def test_tags_without_a_type_get_the_name_given() -> None:
    assert TagSpelling(place="alone").normal("B", "ENT") == "B-ENT"
    assert TagSpelling(place="alone").normal("X", "ENT") is None


@pytest.mark.parametrize(
    "cells, kind",
    [
        ("O O B-PER", "prefix"),
        ("O PER-B O", "suffix"),
        ("O B I", "alone"),
        ("O O O", "outside"),
        ("O O PER", "bare"),
        ("NN VB NN", None),
        ("the cat sat", None),
        ("1 2 3", None),
        ("_ _ _", None),
        ("", None),
    ],
)
def test_a_column_of_tags_is_known_by_its_cells(cells: str, kind: str | None) -> None:
    assert kind_of_tags(cells.split()) == kind


def test_a_cell_alone_may_be_a_tag() -> None:
    assert all(map(is_tag, ["O", "o", "B-PER", "per_b", "I"]))
    assert not any(map(is_tag, ["5", "the", "", "<text>", "NN"]))


def test_types_are_taken_from_tags() -> None:
    assert types_of(["O", "B-NP", "I-VP"]) == {"NP", "VP"}
