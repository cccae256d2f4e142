"""A base's tokenizer without transformers: tokenizer.json, called as `WordTokenizer` calls a fast tokenizer."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "tokenizer.json"


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """What transformers knows of a tokenizer and tokenizer.json does not say.

    Attributes:
        unknown, end, padding: tokens; None where there is none.
        special: all special tokens.
        token_types: whether inputs have token types.
        truncation_side: the side from which a text that is too long is cut.
    """

    unknown: str | None
    end: str | None
    padding: str | None
    special: tuple[str, ...]
    token_types: bool
    truncation_side: str

    @classmethod
    def of(cls, tokenizer: Any) -> SpecialTokens:
        """Those of a tokenizer of transformers."""
        return cls(
            unknown=tokenizer.unk_token,
            end=tokenizer.eos_token,
            padding=tokenizer.pad_token,
            special=tuple(tokenizer.all_special_tokens),
            token_types="token_type_ids" in tokenizer.model_input_names,
            truncation_side=tokenizer.truncation_side,
        )

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> SpecialTokens:
        """What `record` gave. Raises TypeError, KeyError."""
        return cls(**{**record, "special": tuple(record["special"])})

    def record(self) -> dict[str, Any]:
        """As JSON, for a card."""
        return {**asdict(self), "special": list(self.special)}


class Encodings:
    """What texts became: lists by name, as attributes, with one entry per row, or the entry itself for one text."""

    def __init__(self, lists: dict[str, Any], rows: Sequence[Any]) -> None:
        """Args:
        lists: by name.
        rows: the library's own encodings.
        """
        self._lists, self._rows = lists, rows

    def __getattr__(self, name: str) -> Any:
        """A list by its name."""
        try:
            return self._lists[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setitem__(self, name: str, values: Any) -> None:
        """Replace a list."""
        self._lists[name] = values

    def get(self, name: str) -> Any:
        """A list by its name; None where it was not asked for."""
        return self._lists.get(name)

    def word_ids(self, row: int) -> list[int | None]:
        """The word of each token; None for special ones."""
        return list(self._rows[row].word_ids)

    def sequence_ids(self, row: int) -> list[int | None]:
        """0 or 1 for each token, by the text that it is of; None for special ones."""
        return list(self._rows[row].sequence_ids)


class FastTokenizer:
    """tokenizer.json with transformers' call, as far as texts to be predicted need it. Threads take turns."""

    def __init__(self, file: Path, tokens: SpecialTokens) -> None:
        """Args:
        file: tokenizer.json.
        tokens: its special tokens.
        """
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokens, self._turn = tokens, threading.Lock()
        self.all_special_tokens = list(tokens.special)
        self.all_special_ids = [self._tokenizer.token_to_id(token) for token in tokens.special]
        self.added_tokens_decoder: dict[int, Any] = self._tokenizer.get_added_tokens_decoder()
        self.unk_token_id, self.eos_token_id, self.pad_token_id = (
            None if token is None else self._tokenizer.token_to_id(token)
            for token in (tokens.unknown, tokens.end, tokens.padding)
        )

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """The text of a token."""
        text: str | None = self._tokenizer.id_to_token(token)
        return text

    def convert_tokens_to_ids(self, text: str) -> int | None:
        """The token of a text; the unknown one where the vocabulary lacks it."""
        token: int | None = self._tokenizer.token_to_id(text)
        return self.unk_token_id if token is None else token

    def __call__(
        self,
        text: Any,
        pair: Any = None,
        *,
        add_special_tokens: bool = True,
        is_split_into_words: bool = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        stride: int = 0,
        return_overflowing_tokens: bool = False,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
        split_special_tokens: bool = False,
        verbose: bool = True,
    ) -> Encodings:
        """Tokens of a text or a pair, of several, or of words; the arguments are transformers' own.

        Args:
            text: a text, or words with `is_split_into_words`; or a list of them.
            pair: the second text of a pair, or of each.
            add_special_tokens: whether the template's special tokens are added.
            is_split_into_words: whether a text is a list of words.
            truncation: the strategy; True is `longest_first`.
            max_length: tokens of a row, special ones included.
            stride: tokens that a row has in common with the one before.
            return_overflowing_tokens: whether what does not fit becomes further rows.
            return_offsets_mapping: whether there is `offset_mapping`.
            return_special_tokens_mask: whether there is `special_tokens_mask`.
            split_special_tokens: whether what spells a special token is text like any other.
            verbose: accepted, as nothing is printed.
        """
        batched = isinstance(text, (list, tuple)) and (
            not is_split_into_words or (len(text) > 0 and isinstance(text[0], (list, tuple)))
        )
        texts = list(text) if batched else [text]
        given = texts if pair is None else list(zip(texts, list(pair) if batched else [pair], strict=True))
        with self._turn:
            if truncation:
                assert max_length is not None
                strategy = "longest_first" if truncation is True else truncation
                side = self._tokens.truncation_side
                self._tokenizer.enable_truncation(max_length, stride=stride, strategy=strategy, direction=side)
            self._tokenizer.encode_special_tokens = split_special_tokens
            try:
                found = self._tokenizer.encode_batch(
                    given, add_special_tokens=add_special_tokens, is_pretokenized=is_split_into_words
                )
            finally:
                self._tokenizer.no_truncation()
        groups = [[one, *one.overflowing] if return_overflowing_tokens else [one] for one in found]
        rows = [row for group in groups for row in group]
        lists: dict[str, Any] = {"input_ids": [row.ids for row in rows]}
        if self._tokens.token_types:
            lists["token_type_ids"] = [row.type_ids for row in rows]
        if return_special_tokens_mask:
            lists["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if return_offsets_mapping:
            lists["offset_mapping"] = [row.offsets for row in rows]
        if return_overflowing_tokens:
            lists["overflow_to_sample_mapping"] = [number for number, group in enumerate(groups) for _ in group]
        elif not batched:
            lists = {name: values[0] for name, values in lists.items()}
        return Encodings(lists, rows)
