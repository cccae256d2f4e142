"""The words of sentences as tokens: every word has a token and one label; long sentences are windowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from adapters.data.word_splitter import split_words
from adapters.models.tokenizer import WordTokenizer, valid_text


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


class WordParts:
    """The parts of words that are given one by one, or within a text, and windows of them.

    A word given alone gets the tokens that it has inside a sentence, or inside text without blanks. One without tokens
    (zero-width characters, a byte-order mark, an empty string) then becomes one unknown token, so that tags never
    shift.
    """

    def __init__(self, tokenizer: WordTokenizer) -> None:
        """Args: tokenizer: of the base."""
        self.tokenizer = tokenizer

    def of_words(
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
            [text if tight else self.tokenizer.inside_text(text) for text, tight in zip(words, tights, strict=True)]
            for words, tights in zip(texts, joins, strict=True)
            if words
        ]
        if not flat:
            return [[] for _ in sentences]
        encoded = self.tokenizer.encode_data(
            flat, is_split_into_words=True, add_special_tokens=False, return_offsets_mapping=True
        )
        unmarked = cache(self._unmarked)
        tight = [[unmarked if each else None for each in tights] for tights in joins if tights]
        done = iter(
            self._of_sentence(words, encoded.input_ids[i], encoded.word_ids(i), encoded.offset_mapping[i], tight[i])
            for i, words in enumerate(flat)
        )
        return [next(done) if words else [] for words in sentences]

    def _unmarked(self, token: int) -> tuple[int, ...]:
        """What a word's first token becomes without the mark of a blank: itself where the vocabulary has no other."""
        name = str(self.tokenizer.hf_tokenizer.convert_ids_to_tokens(token))
        if not self.tokenizer.mark or not name.startswith(self.tokenizer.mark):
            return (token,)
        if name == self.tokenizer.mark:
            return ()
        alone = self.tokenizer.hf_tokenizer.convert_tokens_to_ids(name.removeprefix(self.tokenizer.mark))
        return (token,) if alone in (None, self.tokenizer.hf_tokenizer.unk_token_id) else (int(alone),)

    def _of_sentence(
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
                out.append(WordPart(number, True, (self.tokenizer.blank,)))
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
        return WordPart(word, first, tuple(tokens), len(tokens) - 1 if self.tokenizer.causal else 0)

    def of_texts(self, texts: Sequence[str], offsets: Sequence[Sequence[tuple[int, int]]]) -> list[list[WordPart]]:
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
        encoded = self.tokenizer.encode_data(valid, add_special_tokens=False, return_offsets_mapping=True)
        rows = zip(valid, offsets, encoded.input_ids, encoded.offset_mapping, strict=True)
        return [self._of_text(*row) for row in rows]

    def _of_text(
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
            if not tokens[word] or self.tokenizer.causal:
                labelled[word] = len(tokens[word]) + len(between) - (blank and not self.tokenizer.causal)
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

    def windows(self, sentences: Sequence[Sequence[WordPart]], budget: int) -> list[Window]:
        """Windows of sentences of at most `budget` tokens, overlapping by a quarter; each part is owned by one.

        A part longer than a window keeps the tokens that fit, and its label.
        """
        room = budget - len(self.tokenizer.before) - len(self.tokenizer.after)
        assert room > 0, budget
        out: list[Window] = []
        for example, parts in enumerate(sentences):
            sizes = [min(len(part.tokens), room) for part in parts]
            for begin, end, own_begin, own_end in window_bounds(sizes, room):
                ids, positions = list(self.tokenizer.before), []
                for part, size in zip(parts[begin:end], sizes[begin:end], strict=True):
                    positions.append(len(ids) + min(part.at, size - 1))
                    ids.extend(part.tokens[:size])
                owned = [own_begin <= i < own_end for i in range(begin, end)]
                out.append(Window(example, ids + list(self.tokenizer.after), positions, list(range(begin, end)), owned))
        return out


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
