"""Words <-> pieces, nothing lost: every word has a piece, every word is answered once, long sentences are windowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from adapters.words import cut

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IGNORED = -100
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Part:
    """What a tokenizer made of one word-like part of a word (`U.N.` has four parts, most words have one)."""

    word: int
    first_of_word: bool
    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a sentence that fits the model, with the special pieces around it.

    Attributes:
        example: index of the sentence among those encoded together.
        input_ids: pieces, special ones included.
        positions: the piece at which each part in this window is labelled, in order.
        parts: index of each of those parts in the sentence.
        owned: whether this window answers for the part (else another window, with more context, does).
    """

    example: int
    input_ids: list[int]
    positions: list[int]
    parts: list[int]
    owned: list[bool]


class Pieces:
    """A tokenizer seen from the words' side.

    A word whose pieces vanish (zero-width characters, a byte-order mark, an empty string) becomes one unknown piece,
    so that tags can never shift by a word.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, labelled: str = "first") -> None:
        """Args:
        tokenizer: a fast tokenizer; byte-level ones must have been loaded with `add_prefix_space=True`.
        labelled: `first` or `last` piece of a part bears its label (`last` where a model reads only leftwards).
        """
        assert labelled in ("first", "last"), labelled
        self.tokenizer = tokenizer
        self.labelled = labelled
        known = [tokenizer.unk_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0]
        self.blank = next(int(piece) for piece in known if piece is not None)
        self.before, self.after = _special_pieces(tokenizer)

    @property
    def leftwards(self) -> bool:
        """Whether the model reads only leftwards."""
        return self.labelled == "last"

    def parts(self, sentences: Sequence[Sequence[str]]) -> list[list[Part]]:
        """The parts of every word of every sentence, in order; each word has at least one, each part a piece."""
        flat = [[valid_text(word) for word in words] for words in sentences if words]
        if not flat:
            return [[] for _ in sentences]
        encoded = self.tokenizer(
            flat, is_split_into_words=True, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        done = iter(
            self._parts_of(words, encoded.input_ids[i], encoded.word_ids(i), encoded.offset_mapping[i])
            for i, words in enumerate(flat)
        )
        return [next(done) if words else [] for words in sentences]

    def _parts_of(
        self, words: Sequence[str], ids: list[int], word_ids: list[int | None], offsets: list[tuple[int, int]]
    ) -> list[Part]:
        by_word: list[list[tuple[int, int]]] = [[] for _ in words]
        for piece, owner, (start, _) in zip(ids, word_ids, offsets, strict=True):
            if owner is not None:
                by_word[owner].append((piece, start))
        out: list[Part] = []
        for number, (word, pieces) in enumerate(zip(words, by_word, strict=True)):
            if not pieces:
                out.append(Part(number, True, (self.blank,)))
                continue
            starts = () if word.isascii() and word.isalnum() else {start for start, _ in cut(word)[1:]}
            group: list[int] = []
            first, begin = True, pieces[0][1]
            for piece, start in pieces:
                # Several pieces share a start where a space or the bytes of one character are pieces of their own.
                if start > begin and start in starts:
                    out.append(Part(number, first, tuple(group)))
                    group, first, begin = [], False, start
                group.append(piece)
            out.append(Part(number, first, tuple(group)))
        return out

    @cached_property
    def tells_pairs_apart(self) -> bool:
        """Whether the tokenizer puts something between the two texts of a pair."""
        return bool(self.tokenizer("a", "a").input_ids != self.tokenizer("a a").input_ids)

    def texts(self, texts: Sequence[str], budget: int) -> list[list[list[int]]]:
        """Windows of at most `budget` pieces, special ones included, over each text, overlapping by a quarter."""
        room = budget - len(self.before) - len(self.after)
        assert room > 0, budget
        encoded = self.tokenizer(
            list(texts), truncation=True, max_length=budget, stride=room // 4, return_overflowing_tokens=True,
            verbose=False,
        )  # fmt: skip
        out: list[list[list[int]]] = [[] for _ in texts]
        for ids, number in zip(encoded.input_ids, encoded.overflow_to_sample_mapping, strict=True):
            out[number].append(ids or [self.blank])
        return out

    def pairs(
        self, firsts: Sequence[str], seconds: Sequence[str], budget: int
    ) -> list[tuple[list[int], list[int], bool]]:
        """Pieces of each pair of texts, their token types (if the model has some), and whether a part was cut off.

        Of a pair that takes more than `budget` pieces the longer side is cut, piece by piece.
        """
        both = list(firsts), list(seconds)
        whole = self.tokenizer(*both, verbose=False).input_ids
        encoded = self.tokenizer(*both, truncation="longest_first", max_length=budget, verbose=False)
        types = encoded.get("token_type_ids") or [[] for _ in whole]
        rows = zip(encoded.input_ids, types, whole, strict=True)
        return [(ids or [self.blank], kinds, len(ids) < len(uncut)) for ids, kinds, uncut in rows]

    def windows(self, sentences: Sequence[Sequence[Part]], budget: int) -> list[Window]:
        """Cut sentences into windows of at most `budget` pieces, overlapping by a quarter, each part owned by one.

        A part longer than a window keeps the pieces that fit (its label stays).
        """
        room = budget - len(self.before) - len(self.after)
        assert room > 0, budget
        out: list[Window] = []
        for example, parts in enumerate(sentences):
            sizes = [min(len(part.pieces), room) for part in parts]
            for begin, end, own_begin, own_end in window_bounds(sizes, room):
                ids, positions = list(self.before), []
                for part, size in zip(parts[begin:end], sizes[begin:end], strict=True):
                    positions.append(len(ids) if self.labelled == "first" else len(ids) + size - 1)
                    ids.extend(part.pieces[:size])
                owned = [own_begin <= i < own_end for i in range(begin, end)]
                out.append(Window(example, ids + list(self.after), positions, list(range(begin, end)), owned))
        return out


def window_bounds(sizes: Sequence[int], room: int) -> list[tuple[int, int, int, int]]:
    """Where windows of at most `room` pieces begin and end over items of the given sizes (each at most `room`).

    Returns:
        (begin, end, first owned, one past the last owned) of each window, in items. Owned ranges tile the items.
        Between two windows up to a quarter of the room is shared, and each item of it is owned by the window that
        sees more of its surroundings.
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
        # The item that did not fit must fit now, or the next window would end where this one did.
        while sum(sizes[step_back : end + 1]) > room:
            step_back += 1
        begin = step_back


def _special_pieces(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pieces a tokenizer puts before and after a text, read off one that it encodes with and without them."""
    bare = tokenizer("a", add_special_tokens=False).input_ids
    full = tokenizer("a", add_special_tokens=True).input_ids
    at = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return tuple(full[:at]), tuple(full[at + len(bare) :])


def valid_text(text: str) -> str:
    """A text that a tokenizer accepts: a lone surrogate is no Unicode character and becomes U+FFFD, lengths stay."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def unknown_share(
    sentences: Sequence[Sequence[str]], parts: Sequence[Sequence[Part]], unknown: int | None
) -> tuple[float, list[str]]:
    """The share of pieces that a tokenizer does not know, and up to eight words in which they stand."""
    total = sum(len(part.pieces) for sentence in parts for part in sentence)
    lost = (
        (words[part.word], part.pieces.count(unknown))
        for words, sentence in zip(sentences, parts, strict=True)
        for part in sentence
        if unknown is not None and unknown in part.pieces
    )
    count = 0
    examples: list[str] = []
    for word, times in lost:
        count += times
        if len(examples) < 8 and word not in examples:
            examples.append(word)
    return count / max(total, 1), examples
