"""A base's own tokenizer for data: texts and pairs of texts, in which nothing becomes a special token."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerFast

IGNORED = -100
_AS_TEXT: dict[str, Any] = {"split_special_tokens": True, "verbose": False}
"""Options of the call that split what spells a special token."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class WordTokenizer:
    """A base's own tokenizer, for texts and pairs of texts; what `WordParts` needs for words is known here, too.

    Texts get the tokens of the call with `split_special_tokens=True`, special tokens of its template included.

    Several threads may use it at once; those that encode take turns.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, labelled: str = "first") -> None:
        """Args:
        tokenizer: a fast tokenizer.
        labelled: whether the `first` or `last` token of a part has its label (`last` for causal models).
        """
        assert labelled in ("first", "last"), labelled
        self.hf_tokenizer = tokenizer
        self.turn = threading.Lock()
        """Held while the tokenizer encodes: it stores how it truncates, so threads would truncate each other's."""
        self.labelled = labelled
        known = [tokenizer.unk_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0]
        self.blank = next(int(token) for token in known if token is not None)
        self.before, self.after = _special_tokens(tokenizer)
        self.special = _texts_of_special_tokens(tokenizer)
        self.spelled = _spelled_special_tokens(tokenizer, self.special)
        self.leading = _before_words(tokenizer)
        self.mark = _mark_of_words(tokenizer)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has of it: all but the lock, of which it gets its own."""
        return {name: value for name, value in self.__dict__.items() if name != "turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As a copy."""
        self.__dict__.update(state)
        self.turn = threading.Lock()

    @cached_property
    def special_texts(self) -> tuple[str, ...]:
        """The texts of the special tokens, longer ones first."""
        return tuple(sorted({*self.special.values()}, key=lambda token: (-len(token), token)))

    @property
    def causal(self) -> bool:
        """Whether the model is causal: a token sees only earlier ones."""
        return self.labelled == "last"

    @cached_property
    def unknown(self) -> int | None:
        """The token of what the vocabulary lacks; None where there is none, or every text has it as a special token."""
        token = self.hf_tokenizer.unk_token_id
        return None if token is None or token in (*self.before, *self.after) else int(token)

    @property
    def marks_words(self) -> bool:
        """Whether a word has other tokens after a blank than after a character."""
        return bool(self.mark or self.leading)

    def inside_text(self, text: str) -> str:
        """A text with the blank before it that it has inside another one, if the tokenizer distinguishes the two."""
        return text if not text or text[0] == " " else self.leading + text

    @cached_property
    def separates_pairs(self) -> bool:
        """Whether the tokenizer separates the two texts of a pair."""
        return bool(self.encode("a", "a").input_ids != self.encode("a a").input_ids)

    def texts(self, texts: Sequence[str], budget: int) -> list[list[list[int]]]:
        """Windows of each text of at most `budget` tokens, special ones included, overlapping by a quarter."""
        encoded = self._windows_of(texts, budget)
        out: list[list[list[int]]] = [[] for _ in texts]
        for ids, number in zip(encoded.input_ids, encoded.overflow_to_sample_mapping, strict=True):
            out[number].append(ids or [self.blank])
        return out

    def characters(self, text: str, budget: int) -> list[list[tuple[int, int] | None]]:
        """For each token of the windows that `texts` makes of a text, its characters; None for a special token."""
        encoded = self._windows_of([text], budget, return_offsets_mapping=True)
        return [own_characters(encoded, row, 0) or [None] for row in range(len(encoded.input_ids))]

    def _windows_of(self, texts: Sequence[str], budget: int, **options: Any) -> BatchEncoding:
        room = budget - len(self.before) - len(self.after)
        assert room > 0, budget
        how = {"truncation": True, "max_length": budget, "stride": room // 4, "return_overflowing_tokens": True}
        return self.encode_data(list(texts), **how, **options)

    def encode(self, *texts: Any, **options: Any) -> BatchEncoding:
        """What the tokenizer itself makes of texts. Args: as of its call."""
        with self.turn:
            return self.hf_tokenizer(*texts, **options)

    def encode_data(self, *texts: Any, **options: Any) -> BatchEncoding:
        """What the tokenizer makes of data, in which nothing becomes a special token (`[SEP]` is text like any other).

        To a unigram model `</s>` is a word of its own; there it becomes an unknown one.

        Args:
            texts: as the tokenizer takes them.
            options: of the tokenizer's call.
        """
        if not self.spelled:
            return self.encode(*texts, **_AS_TEXT, **options)
        encoded = self.encode(*texts, return_special_tokens_mask=True, **_AS_TEXT, **options)
        encoded["input_ids"] = self._without_spelled(encoded.input_ids, encoded.special_tokens_mask)
        return encoded

    def _without_spelled(self, ids: Any, template: Any) -> Any:
        """Tokens, or lists of them; the template's own special tokens (1 in its mask) stay."""
        if isinstance(ids, list):
            return [self._without_spelled(*pair) for pair in zip(ids, template, strict=True)]
        return self.blank if ids in self.spelled and not template else ids

    def pairs(
        self, firsts: Sequence[str], seconds: Sequence[str], budget: int
    ) -> list[tuple[list[int], list[int], bool]]:
        """Tokens of each pair of texts, their token types (if the model has any), and whether it was truncated.

        A pair of more than `budget` tokens is truncated token by token, at the longer text.
        """
        both = list(firsts), list(seconds)
        untruncated = self.encode_data(*both).input_ids
        encoded = self._pairs_of(*both, budget)
        types = encoded.get("token_type_ids") or [[] for _ in untruncated]
        rows = zip(encoded.input_ids, types, untruncated, strict=True)
        return [(ids or [self.blank], kinds, len(ids) < len(full)) for ids, kinds, full in rows]

    def pair_characters(
        self, first: str, second: str, budget: int
    ) -> tuple[list[tuple[int, int] | None], list[tuple[int, int] | None]]:
        """For each token that `pairs` makes of two texts, its characters in the first one, and in the second one."""
        encoded = self._pairs_of([first], [second], budget, return_offsets_mapping=True)
        return own_characters(encoded, 0, 0) or [None], own_characters(encoded, 0, 1) or [None]

    def _pairs_of(self, firsts: Sequence[str], seconds: Sequence[str], budget: int, **options: Any) -> BatchEncoding:
        return self.encode_data(firsts, seconds, truncation="longest_first", max_length=budget, **options)


def own_characters(encoded: BatchEncoding, row: int, text: int) -> list[tuple[int, int] | None]:
    """For each token of a row, its characters in one of the texts (0 or 1); None for other tokens and for special ones.

    Args:
        encoded: with `offset_mapping`.
        row: number of the row.
        text: number of the text within it.
    """
    return [
        (int(start), int(end)) if owner == text and end > start else None
        for owner, (start, end) in zip(encoded.sequence_ids(row), encoded.offset_mapping[row], strict=True)
    ]


def _special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens before and after a text, from a text encoded with and without them."""
    bare = tokenizer("a", add_special_tokens=False).input_ids
    full = tokenizer("a", add_special_tokens=True).input_ids
    at = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return tuple(full[:at]), tuple(full[at + len(bare) :])


def _before_words(tokenizer: Any) -> str:
    """A blank if a word inside a text has other tokens than alone, as in byte-level tokenizers; else nothing."""
    in_text = tokenizer("a a", add_special_tokens=False).input_ids
    alone = tokenizer(["a", "a"], is_split_into_words=True, add_special_tokens=False).input_ids
    return "" if in_text[-1:] == alone[-1:] else " "


def _mark_of_words(tokenizer: Any) -> str:
    """`▁` if words begin with it, in a token of its own or of their first letters; else nothing."""
    first = tokenizer(["a"], is_split_into_words=True, add_special_tokens=False).input_ids[:1]
    return "▁" if first and str(tokenizer.convert_ids_to_tokens(first[0])).startswith("▁") else ""


def _texts_of_special_tokens(tokenizer: Any) -> dict[int, str]:
    """The texts of the special tokens by id: those that have a name, and others that were added as special."""
    added = {token: one.content for token, one in tokenizer.added_tokens_decoder.items() if one.special}
    return added | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def _spelled_special_tokens(tokenizer: Any, special: Mapping[int, str]) -> frozenset[int]:
    """Special tokens that a text can still become by spelling them: the words of a unigram model are all its tokens."""
    found: set[int] = set()
    for text in special.values():
        found |= special.keys() & set(tokenizer(text, add_special_tokens=False, **_AS_TEXT).input_ids)
    return frozenset(found - {tokenizer.unk_token_id})


def valid_text(text: str) -> str:
    """A text that tokenizers accept: lone surrogates become U+FFFD, the length stays."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
