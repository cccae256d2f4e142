"""Generation for batches of rows of any length: greedy answers, and continuations with stop texts and sampling."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import SettingsError
from adapters.models.batching import by_length, common_prefix
from adapters.models.decoding import Writer, continuable, continued
from adapters.models.prefix_cache import PrefixCache

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

MIN_SHARED_PREFIX = 16
"""Shortest common prefix of rows, in tokens, whose keys and values are computed once for all of them."""
_COLDEST = 1e-6
"""Lowest temperature by which logits are divided: float32 has no quotients for lower ones."""
_TAIL = 8
"""Tokens to search for the end of an answer, besides one per byte of it: some tokens decode to no text."""
# Options of a model's own generation config that change greedy search: sampling, beams, penalties and lengths. A
# repetition penalty would also count padding, so that the answer to a row would depend on the other rows.
_NOT_GREEDY = (
    "temperature",
    "top_p",
    "top_k",
    "top_h",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "min_length",
    "min_new_tokens",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "early_stopping",
    "length_penalty",
    "guidance_scale",
    "watermarking_config",
    "stop_strings",
    "max_time",
    "max_length",
    "prompt_lookup_num_tokens",
)


_CHANGE_THE_LIKELIEST = (
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "forced_bos_token_id",
)
"""Options of a model's own generation config that greedy search follows, and transformers' own loop alone does."""


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    end: str = "",
    end_tokens: Sequence[int] = (),
    allowed: Callable[[int, list[int]], list[int] | None] | None = None,
    tokens: int | None = None,
    together: int | None = None,
    finished: Callable[[int], None] = lambda number: None,
    prefixes: PrefixCache | None = None,
) -> list[list[int]]:
    """Generate greedily after each row (with an encoder-decoder: in answer to it).

    Args:
        model: causal or encoder-decoder, with its language-model head.
        tokenizer: of the model.
        rows: tokens of each input, of any length. Padding is masked: on the left for a causal model, which continues at
            the right; on the right for an encoder-decoder. A common prefix of a causal model's rows (shots, an
            instruction) is computed once for all of them.
        max_new_tokens: maximum length of an answer.
        end: text that ends an answer once it has a word; the end-of-text token ends it in any case.
        end_tokens: tokens that end an answer, besides the model's own.
        allowed: maps the number of a row and its generated tokens to the tokens allowed next. None, instead of it or
            from it, allows all.
        tokens, together: tokens and rows at a time, as of `decoding.continued`. None for any number.
        finished: called with the number of a row once its answer is complete.
        prefixes: of the model, where rows of several calls begin alike.

    Returns:
        Tokens of each answer, including those of `end` (the last may contain more text), without an end-of-text token.
    """
    rows = _filled(rows, tokenizer)
    answers: list[list[int]] = [[] for _ in rows]
    ends = {int(tokenizer.pad_token_id), *_own_ends(model), *end_tokens}

    def take(number: int, logits: torch.Tensor) -> int | None:
        """The likeliest token that is allowed; None after the last one."""
        own = answers[number]
        token = _likeliest(logits, None if allowed is None else allowed(number, own))
        if token not in ends:
            own.append(token)
            if len(own) < max_new_tokens and not (end and _ends(tokenizer, end, [own])[0]):
                return token
        finished(number)
        return None

    most, pad = [max_new_tokens] * len(rows), int(tokenizer.pad_token_id)
    writer = _writer(model, rows, prefixes)
    limits: dict[str, Any] = {"tokens": tokens, "together": together}
    if writer is not None and continued(writer, rows, take, pad=pad, most=most, **limits):
        return answers
    lengths, rows_alone = [len(row) + max_new_tokens for row in rows], together or len(rows)
    for batch in by_length(lengths, tokens=tokens, rows=rows_alone if tokens is None else None):
        alike = [rows[i] for i in batch]
        before = 1 if model.config.is_encoder_decoder else max(map(len, alike))
        out = _run(
            model.of(batch) if getattr(model, "rows_differ", False) else model,
            tokenizer,
            alike,
            max_new_tokens=max_new_tokens,
            criteria=[_ends_after(tokenizer, end, before)] if end else [],
            allowed=_allowed_after(allowed, batch, before, ends, len(tokenizer)),
            end_tokens=end_tokens,
        )
        for number, answer in zip(batch, out[:, before:].tolist(), strict=True):
            answers[number] = _until(answer, ends)
            finished(number)
    return answers


def _likeliest(logits: torch.Tensor, allowed: Sequence[int] | None) -> int:
    """The token with the greatest of the logits `[vocabulary]`, the first of several, among those that are allowed."""
    return int(logits.argmax()) if allowed is None else int(allowed[int(logits[allowed].argmax())])


class _Alike:
    """A model that answers all rows alike: their common prefix is computed once. A `decoding.Writer`."""

    def __init__(self, model: Any, rows: Sequence[Sequence[int]], prefixes: PrefixCache | None) -> None:
        """Args: a causal model with its language-model head, the tokens of all rows, the cache of earlier ones."""
        self.model, self.config, self.generation_config = model, model.config, model.generation_config
        self.shared = _shared_length(rows) if len(rows) > 1 or prefixes is not None else 0
        self.cache = PrefixCache(model) if prefixes is None else prefixes
        if self.shared:
            self.cache.fill(rows[0][: self.shared])

    def rows(self, numbers: Sequence[int]) -> AbstractContextManager[Any]:
        """The model."""
        return contextlib.nullcontext(self.model)

    def prefixes(self, numbers: Sequence[int]) -> tuple[Any, torch.Tensor]:
        """The common prefix of rows."""
        import torch

        seen = torch.ones(len(numbers), self.shared, dtype=torch.int64, device=next(self.model.parameters()).device)
        return self.cache.repeated(len(numbers)) if self.shared else None, seen


def _writer(model: Any, rows: Sequence[Sequence[int]], prefixes: PrefixCache | None) -> Writer | None:
    """What `continued` continues rows with; None where the model needs transformers' own loop."""
    if model.config.is_encoder_decoder or any(
        getattr(model.generation_config, name, None) is not None for name in _CHANGE_THE_LIKELIEST
    ):
        return None
    if getattr(model, "rows_differ", False):
        own: Writer = model
        return own if continuable(model.model) else None
    return _Alike(model, rows, prefixes) if continuable(model) and not _needs_own_prefix(model) else None


def _filled(rows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerFast) -> list[Sequence[int]]:
    """The rows, a first token in place of an empty one."""
    return [row or [first_token(tokenizer)] for row in rows]


def _run(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    criteria: Sequence[Callable[..., torch.Tensor]] = (),
    processors: Sequence[Callable[..., torch.Tensor]] = (),
    allowed: Any = None,
    end_tokens: Sequence[int] = (),
) -> torch.Tensor:
    """What transformers' greedy search returns for rows, their common prefix computed once."""
    import torch
    from transformers import LogitsProcessorList, StoppingCriteriaList

    device = next(model.parameters()).device
    pad = int(tokenizer.pad_token_id)
    longest = max(map(len, rows))
    encoded = bool(model.config.is_encoder_decoder)
    shared = 0 if encoded or _needs_own_prefix(model) or len(rows) < 2 else _shared_length(rows)
    padded = partial(_padded, shared=shared, longest=longest, left=not encoded)
    ids = torch.tensor([padded(row, pad) for row in rows], device=device)
    mask = torch.tensor([padded([1] * len(row), 0) for row in rows], device=device)
    with torch.inference_mode():
        prefix = PrefixCache(model)
        if shared:
            prefix.fill(rows[0][:shared])
        out: torch.Tensor = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=prefix.repeated(len(rows)) if shared else None,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            num_return_sequences=1,
            return_dict_in_generate=False,
            pad_token_id=pad,
            stopping_criteria=StoppingCriteriaList(criteria),
            logits_processor=LogitsProcessorList(processors),
            prefix_allowed_tokens_fn=allowed,
            **({"eos_token_id": [*_own_ends(model), *end_tokens]} if end_tokens else {}),
            **{name: None for name in _NOT_GREEDY if getattr(model.generation_config, name, None) is not None},
        )
    return out


def _own_ends(model: Any) -> list[int]:
    """The tokens that end a text by the model's own config."""
    return [int(end) for end in np.atleast_1d(model.generation_config.eos_token_id) if end is not None]


def _needs_own_prefix(model: Any) -> bool:
    """Whether a common prefix cannot be computed once: rows have different adapters, or PEFT's prefix tuning needs an
    empty cache."""
    config = getattr(model, "active_peft_config", None)
    return getattr(model, "rows_differ", False) or (config is not None and bool(config.is_prompt_learning))


def _shared_length(rows: Sequence[Sequence[int]]) -> int:
    """Length of the common prefix; 0 if it is too short to be worth a pass of its own."""
    shared = common_prefix(rows)
    return shared if shared >= MIN_SHARED_PREFIX else 0


def first_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token used for an empty input."""
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next(int(token) for token in known if token is not None)


def _padded(row: Sequence[int], value: int, *, shared: int, longest: int, left: bool) -> list[int]:
    """A row padded to the longest; left padding goes after the common prefix."""
    filling = [value] * (longest - len(row))
    return [*row[:shared], *filling, *row[shared:]] if left else [*row, *filling]


def _until(answer: Sequence[int], ends: set[int]) -> list[int]:
    """The tokens before the first that ends an answer."""
    stop = next((i for i, token in enumerate(answer) if token in ends), len(answer))
    return list(answer[:stop])


def _ends(tokenizer: PreTrainedTokenizerFast, end: str, answers: Sequence[Any]) -> list[bool]:
    """Whether the text of generated tokens contains `end` after a word."""
    tail = _TAIL + len(end.encode())
    texts = tokenizer.batch_decode([answer[-tail:] for answer in answers], clean_up_tokenization_spaces=False)
    return [end in text.lstrip() for text in texts]


def _ends_after(tokenizer: PreTrainedTokenizerFast, end: str, before: int) -> Callable[..., torch.Tensor]:
    """`_ends` as transformers calls it, with all tokens of a row, including those of the input."""
    return lambda ids, scores, **given: ids.new_tensor(_ends(tokenizer, end, ids[:, before:].tolist())).bool()


def _allowed_after(
    allowed: Callable[[int, list[int]], list[int] | None] | None,
    numbers: Sequence[int],
    before: int,
    ends: set[int],
    vocabulary: int,
) -> Any:
    """`allowed` as transformers calls it, with the number in a batch and all tokens, including those of the input and
    those that fill a row that has ended."""

    def after(row: int, ids: torch.Tensor) -> list[int]:
        assert allowed is not None
        own = allowed(numbers[row], _until(ids[before:].tolist(), ends))
        return [*range(vocabulary)] if own is None else own

    return None if allowed is None else after


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a continuation is chosen, token by token, and where it ends.

    Attributes:
        max_new_tokens: most tokens.
        stop: texts that end it; they do not belong to it.
        temperature: 0 takes the likeliest token; others divide the logits and draw.
        top_p: draw among the likeliest tokens that together have this probability (Holtzman et al. 2020,
            arXiv:1904.09751).
        seed: of the draws; None for one of the system's.
    """

    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def check(self) -> None:
        """Raises SettingsError for a value that cannot work."""
        for name, sound, needed in (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("stop", all(self.stop), "without empty texts"),
            ("seed", self.seed is None or 0 <= self.seed < 2**63, "a whole number, 0 or more"),
        ):
            if not sound:
                raise SettingsError(f"{name}: must be {needed}, found {getattr(self, name)!r}.")


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What was written after a row.

    Attributes:
        text: without the text that ended it.
        tokens: number of tokens generated, that of the end included.
        finish_reason: `stop` (a stop text or the end of text), `length`, or `cancelled`.
        seed: of the draws; None if none were made.
    """

    text: str
    tokens: int
    finish_reason: str
    seed: int | None


def write(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    sampling: Sequence[Sampling],
    listen: Callable[[int, str], bool] | None = None,
    finished: Callable[[int, Continuation], None] | None = None,
    *,
    tokens: int,
    more: Callable[[], tuple[Sequence[int], Sampling] | None] = lambda: None,
) -> list[Continuation]:
    """Continue rows, each with its own sampling. A row's draws depend on its seed alone, not on the rows beside it.

    Args:
        model: causal, with its language-model head; a `decoding.Writer`.
        tokenizer: of the model.
        rows: tokens of each input, of any length. Shorter ones that are done make room for those that wait.
        sampling: of each row.
        listen: called after each token with the number of a row and the new part of its text, which may be empty;
            returns whether to go on with it.
        finished: called with the number of a row and its continuation as soon as it ends, before longer rows do.
        tokens: at a time, as of `decoding.continued`.
        more: returns a row that has come meanwhile, as of `decoding.continued`, and its sampling. Its number follows
            those of the others.
    """
    writers: list[_Writer] = []

    def begin(one: Sampling) -> None:
        number = len(writers)
        told = partial(listen, number) if listen else None
        writers.append(_Writer(tokenizer, one, told, partial(finished, number) if finished else None))

    def begin_more() -> tuple[Sequence[int], int] | None:
        found = more()
        if found is None:
            return None
        begin(found[1])
        return _filled([found[0]], tokenizer)[0], found[1].max_new_tokens

    for one in sampling:
        begin(one)
    ends = {*_own_ends(model)}

    def take(number: int, logits: torch.Tensor) -> int | None:
        """The next token of a row; None after its last one."""
        token = writers[number].choose(logits)
        return None if writers[number].add(token, ends) else token

    most = [one.max_new_tokens for one in sampling]
    rows = _filled(rows, tokenizer)
    limits: dict[str, Any] = {"tokens": tokens, "more": begin_more}
    writer = _writer(model, rows, None)
    if writer is None or not continued(writer, rows, take, pad=int(tokenizer.pad_token_id), most=most, **limits):
        _write_together(model, tokenizer, rows, writers, ends, tokens=tokens)
    return [writer.continuation() for writer in writers]


def _write_together(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    writers: Sequence[_Writer],
    ends: set[int],
    *,
    tokens: int,
) -> None:
    """Continue rows in batches that end with their longest row, by transformers' own loop, whatever the cache."""
    lengths = [len(row) + one.sampling.max_new_tokens for row, one in zip(rows, writers, strict=True)]
    for batch in by_length(lengths, tokens=tokens, rows=None):
        own = [writers[i] for i in batch]
        _write_batch(model.of(batch), tokenizer, [rows[i] for i in batch], own, ends)


def _write_batch(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Sequence[int]],
    writers: Sequence[_Writer],
    ends: set[int],
) -> None:
    """Continue the rows of one batch."""

    def choose(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave the chosen token alone possible."""
        chosen = [writer.choose(row) for writer, row in zip(writers, scores, strict=True)]
        only = scores.new_full(scores.shape, float("-inf"))
        only[range(len(chosen)), chosen] = 0.0
        return only

    def done(ids: torch.Tensor, scores: Any, **named: Any) -> torch.Tensor:
        return ids.new_tensor(
            [w.add(token, ends) for w, token in zip(writers, ids[:, -1].tolist(), strict=True)]
        ).bool()

    most = max(one.sampling.max_new_tokens for one in writers)
    _run(model, tokenizer, rows, max_new_tokens=most, criteria=[done], processors=[choose])


class _Writer:
    """One row while it is continued."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        sampling: Sampling,
        listen: Callable[[str], bool] | None = None,
        finished: Callable[[Continuation], None] | None = None,
    ) -> None:
        import torch

        self.tokenizer, self.sampling, self.listen, self.finished = tokenizer, sampling, listen, finished
        self.tokens: list[int] = []
        self.text = ""
        self.heard = 0
        self.finish_reason = ""
        self.seed: int | None = None
        if sampling.temperature > 0:
            self.seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
            self.generator = torch.Generator().manual_seed(self.seed)

    def choose(self, logits: torch.Tensor) -> int:
        """The next token, from its logits `[vocabulary]`."""
        import torch

        if not self.sampling.temperature:
            return int(logits.argmax())
        logits = logits.float().cpu()
        shares = torch.softmax((logits - logits.max()) / max(self.sampling.temperature, _COLDEST), -1)
        if self.sampling.top_p < 1:
            likeliest, order = shares.sort(descending=True, stable=True)
            before = likeliest.cumsum(-1) - likeliest
            kept = before < self.sampling.top_p
            kept[0] = True  # also where float32 takes top_p for 0
            shares = torch.zeros_like(shares).scatter(0, order, likeliest * kept)
        return int(torch.multinomial(shares, 1, generator=self.generator))

    def add(self, token: int, ends: set[int]) -> bool:
        """Take the next token; returns whether the row is done."""
        if not self.finish_reason:
            self._take(token, ends)
        return bool(self.finish_reason)

    def _take(self, token: int, ends: set[int]) -> None:
        self.tokens.append(token)
        if token in ends:
            self._finish("stop")
        else:
            self._add_text()
        if self.finish_reason and self.finished is not None:
            self.finished(self.continuation())

    def _add_text(self) -> None:
        self.text = self.tokenizer.decode(self.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found = [at for at in map(self.text.find, self.sampling.stop) if at >= 0]
        if found:
            self.text = self.text[: min(found)]
            self._finish("stop")
        elif len(self.tokens) >= self.sampling.max_new_tokens:
            self._finish("length")
        elif not self._tell(len(self.text) - self._withheld()):
            self.finish_reason = "cancelled"

    def _finish(self, reason: str) -> None:
        self.finish_reason = reason
        self._tell(len(self.text))

    def _withheld(self) -> int:
        """Characters at the end that may become part of a stop text, or of a character of several tokens."""
        if self.text.endswith("\ufffd"):
            return len(self.text) - self.heard
        starts = (
            size for stop in self.sampling.stop for size in range(1, len(stop)) if self.text.endswith(stop[:size])
        )
        return max(starts, default=0)

    def _tell(self, end: int) -> bool:
        """Let the listener hear the text up to `end`; returns whether to go on."""
        new, self.heard = self.text[self.heard : end], max(self.heard, end)
        return self.listen is None or self.listen(new)

    def continuation(self) -> Continuation:
        """What was written."""
        return Continuation(
            text=self.text, tokens=len(self.tokens), finish_reason=self.finish_reason or "length", seed=self.seed
        )
