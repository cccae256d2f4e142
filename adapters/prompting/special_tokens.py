"""Special tokens that data spell, as text: a mask or a turn is special only where a template writes it.

Before data are filled into a text that has special tokens of its own, each spelling of one is broken by a character
that no text has. The tokenizer then finds the template's own, and what lies between two of them is tokenized as data.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.models.tokenizer import WordTokenizer

BREAK = "\ufdd0"
"""A noncharacter, which Unicode (23.7) keeps for a program's own use; in data it is no text."""
_REPLACEMENT = "\ufffd"


def guarded(text: str, special: Sequence[str]) -> str:
    """The text in which each of the special tokens that it spells is broken after its first character."""
    spelled = [token for token in special if len(token) > 1 and token in text]
    if not spelled:
        return text
    text = text.replace(BREAK, _REPLACEMENT)
    for token in spelled:
        text = text.replace(token, token[0] + BREAK + token[1:])
    return text


def unguarded(text: str) -> str:
    """The text as it was before `guarded`."""
    return text.replace(BREAK, "")


def tokens_of_guarded(text: str, tokenizer: WordTokenizer) -> list[int]:
    """Tokens of a text, without those of the tokenizer's template: the special ones of what is not guarded."""
    plain = {"add_special_tokens": False, "split_special_tokens": False, "verbose": False}
    encoded = tokenizer.encode(text, **plain, return_offsets_mapping=True)
    found = zip(encoded.input_ids, encoded.offset_mapping, strict=True)
    out: list[int] = []
    piece: list[int] = []
    begin = 0
    for token, (start, end) in [*found, (None, (len(text), len(text)))]:
        if token is not None and token not in tokenizer.special:
            piece.append(token)
            continue
        within = text[begin:start]
        if BREAK in within:
            piece = tokenizer.encode_data(unguarded(within), add_special_tokens=False).input_ids
        out += piece if token is None else [*piece, token]
        piece, begin = [], end
    return out
