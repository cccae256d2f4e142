"""Raw text cut into words by one rule, the same where a model learns from character spans and where it predicts."""

from __future__ import annotations

from collections.abc import Sequence

import regex

# A character of a script that puts no spaces between words is a word by itself, with the marks that belong to it; a
# run of letters, digits and marks is a word; any other visible grapheme (a punctuation mark, an emoji) is a word. White
# space and invisible format characters (zero-width space, byte-order mark, bidi controls) belong to no word. Flags have
# a rule of their own, as \X counts their halves from the beginning of a run, which takes quadratic time.
_ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_INVISIBLE = r"\s\p{Cf}\p{Cc}\p{Zl}\p{Zp}\p{Zs}"
_WORD = regex.compile(
    rf"(?V1)[{_ALONE}][\p{{M}}ー]*+|[[\p{{L}}\p{{N}}]--[{_ALONE}]][[\p{{L}}\p{{M}}\p{{N}}]--[{_ALONE}]]*+"
    rf"|\p{{RI}}\p{{RI}}?+[\p{{GCB=EX}}\p{{GCB=SM}}\p{{GCB=ZWJ}}]*+|(?=[^{_INVISIBLE}])\X"
)


def cut(text: str) -> list[tuple[int, int]]:
    """Cut a text into words.

    Returns:
        (start, end) character offsets of each word, in order, none empty, none overlapping. What lies between two words
        is white space or invisible. Linear in the length of the text.
    """
    return [match.span() for match in _WORD.finditer(text)]


def joined_offsets(words: Sequence[str]) -> list[tuple[int, int]]:
    """(start, end) of words in their join by single spaces."""
    offsets, at = [], 0
    for word in words:
        offsets.append((at, at + len(word)))
        at += len(word) + 1
    return offsets
