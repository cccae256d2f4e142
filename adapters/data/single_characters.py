"""Sentences whose words are single characters, as in Chinese data that are tagged by character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import regex

_IDEOGRAPH = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}][\p{M}ー]*")
_ONE = regex.compile(rf"{_IDEOGRAPH.pattern}|\X")
_MOST, _HALF = 0.9, 0.5


def is_character(word: str) -> bool:
    """Whether a word is one character, with the marks that belong to it."""
    return _ONE.fullmatch(word) is not None


def are_characters(sentences: Iterable[Sequence[str]]) -> bool:
    """Whether nine in ten words are single characters, and more than half are Chinese characters or kana.

    English text has one word of a character in four, punctuation included.
    """
    words = [word for sentence in sentences for word in sentence]
    single = sum(map(is_character, words))
    ideographs = sum(_IDEOGRAPH.fullmatch(word) is not None for word in words)
    return single >= _MOST * len(words) and ideographs > _HALF * len(words)
