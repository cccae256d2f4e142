"""Tokenization of sentences given as words: every word has a token and one label; long sentences are windowed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from adapters.data.word_splitter import split_words

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerFast

IGNORED = -100
_AS_TEXT: dict[str, Any] = {"split_special_tokens": True, "verbose": False}
"""Options of the call that split what spells a special token."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class WordPart:
    """The tokens of one part of a word (`U.N.` has four parts, most words have one).

    Attributes:
        word: index of the word in its sentence.
        first_of_word: whether it is the word's first part.
        tokens: empty if the part lies within the last token of the part before it: `").` may be one token.
        at: index in `tokens` of the one that has the part's label; -1 if it has none of its own.
    """

    word: int
    first_of_word: bool
    tokens: tuple[int, ...]
    at: int = 0

    @property
    def shared(self) -> bool:
        """Whether it has no token of its own, so that the label is that of the part before it, continued."""
        return not self.tokens


@dataclass(frozen=True, slots=True)
class Window:
    """A span of a sentence that fits the model, with special tokens.

    Attributes:
        example: index of the sentence among those encoded together.
        input_ids: tokens, special ones included.
        positions: position of the labelled token of each part in this window, in order.
        parts: index of each of those parts in the sentence.
        owned: whether the label of the part is taken from this window, or from another with more context.
    """

    example: int
    input_ids: list[int]
    positions: list[int]
    parts: list[int]
    owned: list[bool]


class WordTokenizer:
    """A base's own tokenizer, for texts, pairs of texts, words in a text, and words given one by one.

    Texts get the tokens of the call with `split_special_tokens=True`, special tokens of its template included. A word
    given alone gets those that it has inside a sentence, or inside text without blanks. One without tokens (zero-width
    characters, a byte-order mark, an empty string) then becomes one unknown token, so that tags never shift.

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

    def parts(
        self, sentences: Sequence[Sequence[str]], joined: Sequence[Sequence[bool]] | None = None
    ) -> list[list[WordPart]]:
        """The parts of all words of each sentence, in order. Each word has at least one part, each part a token.

        Args:
            sentences: their words.
            joined: of each word, whether it follows the one before without a blank. Default: none does.
        """
        joins = [[False] * len(words) for words in sentences] if joined is None else joined
        texts = [[valid_text(word) for word in words] for words in sentences]
        flat = [
            [text if tight else self.inside_text(text) for text, tight in zip(words, tights, strict=True)]
            for words, tights in zip(texts, joins, strict=True)
            if words
        ]
        if not flat:
            return [[] for _ in sentences]
        encoded = self.encode_data(
            flat, is_split_into_words=True, add_special_tokens=False, return_offsets_mapping=True
        )
        unmarked = cache(self._unmarked)
        tight = [[unmarked if each else None for each in tights] for tights in joins if tights]
        done = iter(
            self._parts_of(words, encoded.input_ids[i], encoded.word_ids(i), encoded.offset_mapping[i], tight[i])
            for i, words in enumerate(flat)
        )
        return [next(done) if words else [] for words in sentences]

    def inside_text(self, text: str) -> str:
        """A text with the blank before it that it has inside another one, if the tokenizer distinguishes the two."""
        return text if not text or text[0] == " " else self.leading + text

    def _unmarked(self, token: int) -> tuple[int, ...]:
        """What a word's first token becomes without the mark of a blank: itself where the vocabulary has no other."""
        name = str(self.hf_tokenizer.convert_ids_to_tokens(token))
        if not self.mark or not name.startswith(self.mark):
            return (token,)
        if name == self.mark:
            return ()
        alone = self.hf_tokenizer.convert_tokens_to_ids(name.removeprefix(self.mark))
        return (token,) if alone in (None, self.hf_tokenizer.unk_token_id) else (int(alone),)

    def _parts_of(
        self,
        words: Sequence[str],
        ids: list[int],
        word_ids: list[int | None],
        offsets: list[tuple[int, int]],
        unmarked: Sequence[Callable[[int], tuple[int, ...]] | None],
    ) -> list[WordPart]:
        by_word: list[list[tuple[int, int]]] = [[] for _ in words]
        for token, owner, (start, _) in zip(ids, word_ids, offsets, strict=True):
            if owner is not None:
                by_word[owner].append((token, start))
        out: list[WordPart] = []
        for number, (word, tokens, first_tokens) in enumerate(zip(words, by_word, unmarked, strict=True)):
            if tokens and first_tokens is not None:
                (token, start), *others = tokens
                tokens = [*((one, start) for one in first_tokens(token)), *others]
            if not tokens:
                out.append(WordPart(number, True, (self.blank,)))
                continue
            bare = word.lstrip(" ")
            starts = () if bare.isascii() and bare.isalnum() else {start for start, _ in split_words(word)[1:]}
            group: list[int] = []
            first, begin = True, tokens[0][1]
            for token, start in tokens:
                # Several tokens have the same start if a space or the bytes of one character are separate tokens.
                if start > begin and start in starts:
                    out.append(self._part(number, first, group))
                    group, first, begin = [], False, start
                group.append(token)
            out.append(self._part(number, first, group))
        return out

    def _part(self, word: int, first: bool, tokens: Sequence[int]) -> WordPart:
        return WordPart(word, first, tuple(tokens), len(tokens) - 1 if self.causal else 0)

    def parts_in_texts(
        self, texts: Sequence[str], offsets: Sequence[Sequence[tuple[int, int]]]
    ) -> list[list[WordPart]]:
        """One part for each word of each text; together they have the tokens of the text.

        A token belongs to the first word of which it has a character; one of no word, such as a line break, to the word
        after it. A word without a token of its own lies within the last one of a word before it, or has no part if the
        tokenizer drops it.

        Args:
            texts: the texts.
            offsets: (start, end) of each text's words, in order, none overlapping.
        """
        if not texts:
            return []
        valid = [valid_text(text) for text in texts]
        encoded = self.encode_data(valid, add_special_tokens=False, return_offsets_mapping=True)
        rows = zip(valid, offsets, encoded.input_ids, encoded.offset_mapping, strict=True)
        return [self._parts_in_text(*row) for row in rows]

    def _parts_in_text(
        self, text: str, words: Sequence[tuple[int, int]], ids: list[int], offsets: list[tuple[int, int]]
    ) -> list[WordPart]:
        tokens: list[list[int]] = [[] for _ in words]
        labelled = [-1] * len(words)
        shared: set[int] = set()
        between: list[int] = []  # tokens after the last word, of no word
        blank = False  # whether the last of them is the blank before a word, as in a word given alone
        word = 0
        for token, (start, end) in zip(ids, offsets, strict=True):
            while word < len(words) and words[word][1] <= start:
                word += 1
            if word == len(words) or words[word][0] >= end:
                between.append(token)
                blank = text[start:end] in ("", " ")
                continue
            if not tokens[word] or self.causal:
                labelled[word] = len(tokens[word]) + len(between) - (blank and not self.causal)
            tokens[word] += [*between, token]
            between, blank = [], False
            for later in range(word + 1, len(words)):
                if words[later][0] >= end:
                    break
                shared.add(later)
        if any(tokens):
            last = max(number for number, own in enumerate(tokens) if own)
            tokens[last].extend(between)
            for later in shared:
                labelled[later] -= len(between) if later > last else 0
        return [
            WordPart(number, True, tuple(own), at)
            for number, (own, at) in enumerate(zip(tokens, labelled, strict=True))
            if own or number in shared
        ]

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

    def windows(self, sentences: Sequence[Sequence[WordPart]], budget: int) -> list[Window]:
        """Windows of sentences of at most `budget` tokens, overlapping by a quarter; each part is owned by one.

        A part longer than a window keeps the tokens that fit, and its label.
        """
        room = budget - len(self.before) - len(self.after)
        assert room > 0, budget
        out: list[Window] = []
        for example, parts in enumerate(sentences):
            sizes = [min(len(part.tokens), room) for part in parts]
            for begin, end, own_begin, own_end in window_bounds(sizes, room):
                ids, positions = list(self.before), []
                for part, size in zip(parts[begin:end], sizes[begin:end], strict=True):
                    positions.append(len(ids) + min(part.at, size - 1))
                    ids.extend(part.tokens[:size])
                owned = [own_begin <= i < own_end for i in range(begin, end)]
                out.append(Window(example, ids + list(self.after), positions, list(range(begin, end)), owned))
        return out


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


def window_bounds(sizes: Sequence[int], room: int) -> list[tuple[int, int, int, int]]:
    """Bounds of windows of at most `room` tokens over items of the given sizes (each at most `room`).

    Returns:
        (begin, end, owned begin, owned end) of each window, as item indices with exclusive ends. The owned ranges
        partition the items. Two windows overlap by up to a quarter of the room; each shared item is owned by the window
        that sees more of its context.
    """
    if sum(sizes) <= room:
        return [(0, len(sizes), 0, len(sizes))] if sizes else []
    bounds: list[list[int]] = []
    begin = 0
    while True:
        end, used = begin, 0
        while end < len(sizes) and used + sizes[end] <= room:
            used += sizes[end]
            end += 1
        if bounds:
            middle = (begin + bounds[-1][1]) // 2
            bounds[-1][3] = middle
            bounds.append([begin, end, middle, end])
        else:
            bounds.append([begin, end, 0, end])
        if end == len(sizes):
            return [(b, e, o, p) for b, e, o, p in bounds]
        step_back, shared = end, 0
        while step_back - 1 > begin and shared + sizes[step_back - 1] <= room // 4:
            step_back -= 1
            shared += sizes[step_back]
        # The item that did not fit must fit now, or the next window would end at the same item.
        # It must not begin with an item of size 0, which lies in the token of the one before it.
        while sum(sizes[step_back : end + 1]) > room or sizes[step_back] == 0:
            step_back += 1
        begin = step_back


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


def unknown_share(
    sentences: Sequence[Sequence[str]], parts: Sequence[Sequence[WordPart]], unknown: int | None
) -> tuple[float, list[str]]:
    """The share of unknown tokens, and up to eight words that contain them."""
    total = sum(len(part.tokens) for sentence in parts for part in sentence)
    unknown_words = (
        (words[part.word], part.tokens.count(unknown))
        for words, sentence in zip(sentences, parts, strict=True)
        for part in sentence
        if unknown is not None and unknown in part.tokens
    )
    count = 0
    examples: list[str] = []
    for word, times in unknown_words:
        count += times
        if len(examples) < 8 and word not in examples:
            examples.append(word)
    return count / max(total, 1), examples
