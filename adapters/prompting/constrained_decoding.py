"""Constrained decoding: only tokens that keep an answer parsable by its task (`constraint`) are allowed next.

A grammar is a state machine; a path through it consists of pending tokens and the state after them. Several paths stay
alive while they start with the same tokens. No path is followed that could not end within the limit, so an answer is
always complete.

Lines may come in any order if each is parsed as a span of its own: the first one of that text that is not taken. Small
models tend to repeat themselves when they have listed everything. A line may therefore start with a word that is taken:
this ends the answer, and the line is dropped. If it were forbidden, the model would have to name other spans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.tasks.base.answer_constraints import LinesConstraint, SpanConstraint

Tokens = tuple[int, ...]
START, NAMED, WORD, LINE, CLOSED, DONE, REPEATED = 0, 1, 2, 3, 4, 5, 6
UNREACHABLE = 10**9


@dataclass(frozen=True, slots=True)
class GrammarState:
    """A state, the words taken by finished lines, and the first and last word of the open line."""

    kind: int
    taken: frozenset[int] = frozenset()
    first: int = 0
    last: int = 0

    @property
    def named(self) -> frozenset[int]:
        """The words that are taken once the open line ends."""
        return self.taken | {*range(self.first, self.last + 1)}


class LinesGrammar:
    """The answers of lines that one text allows."""

    def __init__(
        self, constraint: LinesConstraint, tokenize: Callable[[str], list[int]], *, separator: str, end: int
    ) -> None:
        """Args:
        constraint: of the text.
        tokenize: tokens of a text, without special ones.
        separator: text that ends an answer; empty if only the token does.
        end: token that ends an answer.
        """
        self.names = [tuple(tokenize(f"{name}:")) for name in constraint.names]
        self.none = tuple(tokenize(constraint.none))
        self.begins = [tuple(tokenize(f" {word}")) for word in constraint.words]
        self.continuations = [
            None if gap is None else tuple(tokenize(gap + word))
            for gap, word in zip(constraint.between, constraint.words, strict=True)
        ]
        self.line = tuple(tokenize("\n"))
        self.ends = _ends(tokenize, separator, end)
        self.end = end
        self.words = constraint.words
        self.between = constraint.between

    def after(self, state: GrammarState) -> Iterator[tuple[Tokens, GrammarState]]:
        """Token sequences allowed in a state, and the state after each."""
        kind, taken = state.kind, state.taken
        number = len(self.begins)
        if kind == START:
            yield self.none, GrammarState(CLOSED)
        if kind in (START, LINE) and len(taken) < number:
            for name in self.names:
                yield name, GrammarState(NAMED, taken)
        if kind == NAMED:
            for i in range(number):
                yield self.begins[i], GrammarState(REPEATED if i in taken else WORD, taken, i, i)
        if kind == WORD:
            following = self.continuations[state.last + 1] if state.last + 1 < number else None
            if following is not None and state.last + 1 not in taken:
                yield following, GrammarState(WORD, taken, state.first, state.last + 1)
            if self._is_first_match(state) and len(state.named) < number:
                yield self.line, GrammarState(LINE, state.named)
        if kind == CLOSED or (kind == WORD and self._is_first_match(state)):
            for tokens in self.ends:
                yield tokens, GrammarState(DONE)
        if kind in (DONE, REPEATED):
            yield (self.end,), GrammarState(kind)

    def _is_first_match(self, state: GrammarState) -> bool:
        """Whether the open line is parsed as this span: no free span to its left has the same text."""
        return not any(
            self._text(i, i + state.last - state.first) == self._text(state.first, state.last)
            and not state.taken & {*range(i, i + state.last - state.first + 1)}
            for i in range(state.first)
        )

    def _text(self, first: int, last: int) -> tuple[Any, ...]:
        """The text of a span as it is compared."""
        return self.words[first : last + 1], self.between[first + 1 : last + 1]

    @property
    def sound(self) -> bool:
        """Whether each part has tokens; a tokenizer that drops line breaks, for example, cannot generate lines."""
        parts = [
            *self.names,
            self.none,
            *self.begins,
            *(one for one in self.continuations if one is not None),
            self.line,
        ]
        return all(parts) and all(self.ends)

    def needed(self, state: GrammarState) -> int:
        """Upper bound of the shortest path from a state to an end, in tokens."""
        if state.kind == WORD and not self._is_first_match(state):
            return UNREACHABLE  # a span parsed elsewhere has its own path there
        if state.kind in (WORD, CLOSED):
            return 1
        if state.kind in (NAMED, LINE):
            free = min((len(self.begins[i]) for i in range(len(self.begins)) if i not in state.taken), default=0)
            return free + 1 + (min(map(len, self.names)) if state.kind == LINE else 0)
        return len(self.none) + 1 if state.kind == START else 0


class SpanGrammar:
    """The spans of one text, and the answer for none."""

    def __init__(
        self,
        constraint: SpanConstraint,
        tokenize: Callable[[str], list[int]],
        *,
        separator: str,
        end: int,
        lead: str = " ",
    ) -> None:
        """Arguments as of `LinesGrammar`; `lead` is the white space before the answer."""
        self.none = tuple(tokenize(lead + constraint.none)) if constraint.none else ()
        self.begins = [tuple(tokenize(lead + word)) for word in constraint.words]
        self.continuations = [
            None if gap is None else tuple(tokenize(gap + word))
            for gap, word in zip(constraint.between, constraint.words, strict=True)
        ]
        self.ends = _ends(tokenize, separator, end)
        self.end = end

    def after(self, state: GrammarState) -> Iterator[tuple[Tokens, GrammarState]]:
        """Token sequences allowed in a state, and the state after each."""
        if state.kind == START:
            if self.none:
                yield self.none, GrammarState(CLOSED)
            for i, tokens in enumerate(self.begins):
                yield tokens, GrammarState(WORD, last=i)
        if state.kind == WORD and state.last + 1 < len(self.begins):
            following = self.continuations[state.last + 1]
            if following is not None:
                yield following, GrammarState(WORD, last=state.last + 1)
        if state.kind in (WORD, CLOSED):
            for tokens in self.ends:
                yield tokens, GrammarState(DONE)
        if state.kind == DONE:
            yield (self.end,), state

    @property
    def sound(self) -> bool:
        """Whether each part has tokens, and there is any answer."""
        parts = [*self.begins, *(one for one in self.continuations if one is not None), *self.ends]
        return all(parts) and bool(self.begins or self.none)

    def needed(self, state: GrammarState) -> int:
        """Length of the shortest path from a state to an end, in tokens."""
        if state.kind == START:
            return min(map(len, [*self.begins, *([self.none] if self.none else [])]), default=0) + 1
        return 1 if state.kind in (WORD, CLOSED) else 0


def _ends(tokenize: Callable[[str], list[int]], separator: str, end: int) -> list[Tokens]:
    """What may end an answer: the end token, and the separator as it is tokenized alone and between two words.

    The two differ in tokenizers that split white space before a word, where an empty line is two tokens.
    """
    if not separator:
        return [(end,)]
    word = tokenize("a")
    between = tokenize(f"a{separator}a")
    fits = between[: len(word)] == word and between[-len(word) :] == word
    inside = between[len(word) : len(between) - len(word)] if fits else []
    return list(dict.fromkeys([(end,), tuple(tokenize(separator)), *([tuple(inside)] if inside else [])]))


class ConstrainedAnswer:
    """One answer while it is being generated."""

    def __init__(self, grammar: LinesGrammar | SpanGrammar, max_tokens: int) -> None:
        """Args: the grammar, and the maximum length of the answer in tokens."""
        self.grammar, self.max_tokens = grammar, max_tokens
        self.followed = 0
        self.paths = list(grammar.after(GrammarState(START)))

    def allowed(self, generated: Sequence[int]) -> list[int]:
        """Tokens allowed after those generated, which must extend those of the previous call."""
        self._follow(generated)
        left = self.max_tokens - self.followed
        possible = [pending[0] for pending, after in self.paths if len(pending) + self.grammar.needed(after) <= left]
        return sorted(set(possible)) or [self.grammar.end]

    def ends_repeating(self, generated: Sequence[int]) -> bool:
        """Whether the last line of a complete answer repeats a word that is taken, and is to be dropped."""
        self._follow(generated)
        states = {after.kind for _, after in self.paths}
        return REPEATED in states and DONE not in states

    def _follow(self, generated: Sequence[int]) -> None:
        for token in generated[self.followed :]:
            self._step(token)
        self.followed = max(self.followed, len(generated))

    def _step(self, token: int) -> None:
        paths: list[tuple[Tokens, GrammarState]] = []
        for pending, after in self.paths:
            if pending[0] == token:
                paths += [(pending[1:], after)] if len(pending) > 1 else self.grammar.after(after)
        self.paths = list(dict.fromkeys(paths))


def constrained_answers(
    constraints: Sequence[LinesConstraint | SpanConstraint | None],
    tokenizer: Any,
    *,
    separator: str,
    max_tokens: int,
    lead: str = " ",
    end_tokens: Sequence[int] = (),
) -> list[ConstrainedAnswer | None]:
    """A constrained answer for each row; None for one that has no constraint, or none that can be kept.

    Args:
        constraints: one per row.
        tokenizer: of the model.
        separator: text that ends an answer; empty if only a token does.
        max_tokens: maximum length of an answer.
        lead: white space before an answer that is a span.
        end_tokens: tokens that end an answer, the first of them in place of the end of the text.
    """

    def tokenize(text: str) -> list[int]:
        options = {"add_special_tokens": False, "split_special_tokens": True}
        ids: list[int] = tokenizer(text, verbose=False, **options).input_ids
        return ids

    usual = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.pad_token_id
    options: dict[str, Any] = {"separator": separator, "end": int([*end_tokens, usual][0])}

    def answer(constraint: LinesConstraint | SpanConstraint | None) -> ConstrainedAnswer | None:
        if constraint is None:
            return None
        grammar: LinesGrammar | SpanGrammar = (
            LinesGrammar(constraint, tokenize, **options)
            if isinstance(constraint, LinesConstraint)
            else SpanGrammar(constraint, tokenize, **options, lead=lead)
        )
        kept = grammar.sound and grammar.needed(GrammarState(START)) <= max_tokens
        return ConstrainedAnswer(grammar, max_tokens) if kept else None

    return [answer(one) for one in constraints]
