"""Splitting raw text into words, by the same rule for training on character spans and for prediction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import regex

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts without spaces between words, as the contents of a character class of the library `regex`."""

# A character of an unspaced script is a word, with the marks that belong to it; a run of letters, digits and marks is a
# word; any other visible grapheme (a punctuation mark, an emoji) is a word. White space and invisible format characters
# (zero-width space, byte-order mark, bidi controls) belong to no word. Flags have a rule of their own, since \X counts
# their halves from the beginning of a run, which takes quadratic time.
_INVISIBLE = r"\s\p{Cf}\p{Cc}\p{Zl}\p{Zp}\p{Zs}"
_OTHER = rf"\p{{RI}}\p{{RI}}?+[\p{{GCB=EX}}\p{{GCB=SM}}\p{{GCB=ZWJ}}]*+|(?=[^{_INVISIBLE}])\X"
_WORD = regex.compile(
    rf"(?V1)[{UNSPACED}][\p{{M}}ー]*+|[[\p{{L}}\p{{N}}]--[{UNSPACED}]][[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]*+|{_OTHER}"
)
_CHARACTER = regex.compile(
    rf"(?V1)[{UNSPACED}][\p{{M}}ー]*+|[[\p{{L}}\p{{N}}]--[{UNSPACED}]][\p{{M}}--[{UNSPACED}]]*+|{_OTHER}"
)
_UNSPACED = regex.compile(rf"[{UNSPACED}]")


def split_words(text: str) -> list[tuple[int, int]]:
    """The words of a text.

    Returns:
        (start, end) character offsets of each word, in order, none empty, none overlapping. All characters between two
        words are white space or invisible. Linear in the length of the text.
    """
    return [match.span() for match in _WORD.finditer(text)]


def split_characters(text: str) -> list[tuple[int, int]]:
    """The characters of a text, each as a word: as `split_words`, but letters and digits are parted, too."""
    return [match.span() for match in _CHARACTER.finditer(text)]


def only_characters(words: Iterable[str]) -> bool:
    """Whether all words are single characters, and some of a script without blanks: a text tagged by character."""
    some = False
    for word in words:
        if len(word) > 1 and len(split_characters(word)) > 1:
            return False
        some = some or bool(_UNSPACED.match(word))
    return some


def joined(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The words as a text, and (start, end) of each in it.

    There are single spaces between words, and nothing between the characters of a text tagged by character.
    """
    between = "" if only_characters(words) else " "
    offsets, at = [], 0
    for word in words:
        offsets.append((at, at + len(word)))
        at += len(word) + len(between)
    return between.join(words), offsets
