"""How texts are written, where it is easily overlooked: without blanks, in two Chinese scripts, in full-width forms."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import regex

from adapters.core.errors import numbered
from adapters.data.word_splitter import UNSPACED

_UNSPACED = regex.compile(rf"[{UNSPACED}]")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_HAN = regex.compile(r"\p{Han}")
_FULL_WIDTH = regex.compile("[０-９Ａ-Ｚａ-ｚ]")
_SCRIPTS = {
    "simplified": "in simplified Chinese",
    "traditional": "in traditional Chinese",
    "both": "in characters of both",
}


def folded(text: str) -> str:
    """A text without what a reader overlooks: full-width forms (NFKC), upper case, white space."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def chinese_scripts(texts: Sequence[str]) -> Counter[str]:
    """The number of texts in `simplified` characters, in `traditional` ones, and in `both`.

    A character of GB 2312 that Big5 lacks is simplified, one of Big5 that GB 2312 lacks traditional. Texts with neither
    are not counted, nor are Japanese ones (with kana).
    """
    simplified: set[str] = set()
    traditional: set[str] = set()
    for character in set().union(*map(set, texts)) if texts else ():
        if _HAN.match(character):
            in_gb, in_big5 = (_encodes(character, name) for name in ("gb2312", "big5"))
            if in_gb != in_big5:
                (simplified if in_gb else traditional).add(character)
    counts: Counter[str] = Counter()
    for text in texts:
        own = set(text)
        one, other = bool(own & simplified), bool(own & traditional)
        if (one or other) and not _KANA.search(text):
            counts["both" if one and other else "simplified" if one else "traditional"] += 1
    return counts


def unspaced(texts: Iterable[str]) -> int:
    """The number of characters of scripts without blanks, each of which `split_words` takes for a word."""
    return sum(sum(1 for _ in _UNSPACED.finditer(text)) for text in texts)


def writing_notes(texts: Sequence[str]) -> list[str]:
    """What is to be known of how the texts of a split are written."""
    notes = []
    scripts = chinese_scripts(texts)
    if len(scripts) > 1:
        each = ", ".join(numbered(scripts[name], f"texts {what}") for name, what in _SCRIPTS.items() if scripts[name])
        notes.append(f"{each}: to a base these are different characters")
    wide = sum(bool(_FULL_WIDTH.search(text)) for text in texts)
    if wide:
        notes.append(
            f"{numbered(wide, 'texts')} with full-width letters or digits (Ａ, １), which are other characters than A "
            "and 1 unless the base's tokenizer folds them"
        )
    return notes


def _encodes(character: str, encoding: str) -> bool:
    try:
        return bool(character.encode(encoding))
    except UnicodeEncodeError:
        return False
