"""Raw text cut into words: nothing visible lost, whatever the script."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.data import word_splitter
from adapters.data.word_splitter import joined, only_characters, split_characters, split_words

# What text in the wild is made of, and what breaks tokenizers.
TRICKY = [
    "\u200b",
    "\u200c",
    "\u200d",
    "\ufeff",
    "\u00ad",
    "\u2060",
    "\u202e",
    "\u2066",
    "\u2069",
    "\u200f",  # invisible
    "\u0301",
    "\u0308",
    "\u20e3",
    "\ufe0f",
    "\U000e0100",
    "\u3099",  # marks
    "\U0001f600",
    "\U0001f468",
    "\U0001f3fd",
    "\U0001f1eb",
    "\U0001f1f7",
    "\u2764",
    "\U000e0067",
    "\U000e007f",  # emoji
    "\ud800",
    "\udc00",
    "\ud83d",
    "\ude00",  # lone surrogates
    "ก",
    "ำ",
    "ั",
    "่",
    "国",
    "々",
    "𠮷",
    "カ",
    "ー",
    "ひ",
    "ລ",
    "ក",
    "်",
    "က",
    "한",
    "\u1100",
    "\u1161",
    "ab",
    "É",
    "ß",
    "ш",
    "ع",
    "\u0640",
    "क",
    "\u094d",
    "7",
    "²",
    "Ⅷ",
    ".",
    ",",
    "'",
    "-",
    "_",
    "€",
    "¿",
    "…",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\x1c",
    "\x85",
    "\xa0",
    "\u2028",
    "\u3000",
    "\x00",
    "\x7f",
    "\u0378",
    "\ue000",
]
texts = st.one_of(
    st.lists(st.sampled_from(TRICKY), max_size=12).map("".join),
    st.text(st.characters(exclude_categories=["Cn"]), max_size=12),  # lone surrogates included
)


def is_invisible(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cf", "Cc", "Zl", "Zp", "Zs")


@settings(max_examples=500, deadline=None)
@given(texts)
def test_words_are_in_order_and_only_invisible_characters_lie_between_them(text: str) -> None:
    offsets = split_words(text)
    edges = [0, *(edge for span in offsets for edge in span), len(text)]
    assert edges == sorted(edges)
    assert all(start < end for start, end in offsets)
    between = "".join(text[end:start] for end, start in zip(edges[::2], edges[1::2], strict=True))
    assert all(map(is_invisible, between)), between
    assert not any(is_invisible(text[start]) for start, _ in offsets)


@settings(max_examples=300, deadline=None)
@given(texts, texts)
def test_white_space_parts_a_text_into_two_that_are_cut_alone(left: str, right: str) -> None:
    behind = len(left) + 1
    assert split_words(f"{left} {right}") == split_words(left) + [
        (start + behind, end + behind) for start, end in split_words(right)
    ]


@settings(max_examples=300, deadline=None)
@given(texts)
@example("can't")
def test_a_word_stays_whole_when_it_stands_alone(text: str) -> None:
    for start, end in split_words(text):
        assert split_words(text[start:end]) == [(0, end - start)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        (" \t\n\u200b\ufeff", []),
        ("Paris.", ["Paris", "."]),
        ("Ada Lovelace, London", ["Ada", "Lovelace", ",", "London"]),
        ("\ufeffParis", ["Paris"]),
        ("U.N.", ["U", ".", "N", "."]),
        ("don't", ["don", "'", "t"]),
        ("3.5%", ["3", ".", "5", "%"]),
        ("B2B", ["B2B"]),
        ("...", [".", ".", "."]),
        ("cafe\u0301!", ["cafe\u0301", "!"]),
        ("Zo\u00eb\u200bx", ["Zo\u00eb", "x"]),
        ("東京タワー", ["東", "京", "タ", "ワー"]),
        ("iPhoneを買う", ["iPhone", "を", "買", "う"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("서울은", ["서울은"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("\U0001f469\u200d\U0001f469\u200d\U0001f467!", ["\U0001f469\u200d\U0001f469\u200d\U0001f467", "!"]),
        ("\U0001f44d\U0001f3fd\U0001f44d", ["\U0001f44d\U0001f3fd", "\U0001f44d"]),
        ("\U0001f1eb\U0001f1f7\U0001f1e9\U0001f1ea", ["\U0001f1eb\U0001f1f7", "\U0001f1e9\U0001f1ea"]),
        ("\U0001f1eb\U0001f1f7\U0001f1e9", ["\U0001f1eb\U0001f1f7", "\U0001f1e9"]),
        ("\U0001f1eb\u0301\U0001f1f7", ["\U0001f1eb\u0301", "\U0001f1f7"]),
        ("1\ufe0f\u20e3 2", ["1\ufe0f\u20e3", "2"]),
        ("a\ud800b", ["a", "\ud800", "b"]),
        ("\u202eabc\u202c", ["abc"]),
    ],
)
def test_hand_made_cases(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in split_words(text)] == expected


def test_no_part_of_the_rule_can_be_tried_twice_on_the_same_characters() -> None:
    # Linear time: every repetition keeps what it took (possessive), and no two repetitions are nested.
    rule = re.sub(
        r"^\(\?V1\)|\(\?=\[[^]]*\]\)", "", word_splitter._WORD.pattern
    )  # without a flag, and a look at one character
    assert "(" not in rule
    assert rule.count("*") + rule.count("?") == rule.count("*+") + rule.count("?+") == rule.count("+") >= 3


def test_a_long_run_of_flags_is_cut_into_its_pairs() -> None:
    # A grapheme rule that counts the flags' halves back to the run's beginning takes minutes for this.
    assert split_words("\U0001f1eb\U0001f1f7" * 100_000) == [(at, at + 2) for at in range(0, 200_000, 2)]


@settings(max_examples=300, deadline=None)
@given(texts)
def test_characters_are_words_cut_further(text: str) -> None:
    words, characters = split_words(text), split_characters(text)
    assert [text[start:end].strip() for start, end in characters if start == end] == []
    assert "".join(text[a:b] for a, b in characters) == "".join(text[a:b] for a, b in words)
    assert {start for start, _ in words} <= {start for start, _ in characters}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CPL2011年，中国", ["C", "P", "L", "2", "0", "1", "1", "年", "，", "中", "国"]),
        ("Zoe\u0308 \u3000好", ["Z", "o", "e\u0308", "好"]),
        ("\U0001f469\u200d\U0001f467!", ["\U0001f469\u200d\U0001f467", "!"]),
    ],
)
def test_hand_made_cases_of_characters(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in split_characters(text)] == expected


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["高", "勇", "P", "M", "，"], "高勇PM，"),
        (["高勇", "，"], "高勇 ，"),
        (["I", "a"], "I a"),  # of no script without blanks
        (["高", "\u3000", "勇"], "高\u3000勇"),
        ([], ""),
    ],
)
def test_only_characters_of_a_text_tagged_by_character_are_joined_without_blanks(words: list[str], text: str) -> None:
    assert only_characters(words) == (" " not in text and len(words) > 0)
    found, offsets = joined(words)
    assert (found, [text[start:end] for start, end in offsets]) == (text, words)
