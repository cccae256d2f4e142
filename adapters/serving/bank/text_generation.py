"""Free continuations of texts, each under its own adapter: sampling, stop texts, and a listener for the text so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from adapters.core.errors import ModelError, UserError
from adapters.models.continuation import Continuation, Sampling
from adapters.serving.bank.adapter_cache import AdapterCache
from adapters.serving.bank.adapter_loader import LoadedAdapter
from adapters.serving.bank.mixed_inference import MixedInference
from adapters.serving.bank.mixed_model import NO_ADAPTER
from adapters.tasks.base.embedding import text_of
from adapters.tasks.base.requests import Request, inputs_of

TASK = "text_generation"
JOINING = 1000
"""Requests that may join others while these are written: something of each is kept to the end, some KiB."""
OnText = Callable[[int, str], bool]
"""Is called after each token with the number of a request and the new part of its text, which may be empty; returns
whether to go on with it."""
OnComplete = Callable[[int, dict[str, Any]], None]
"""Is called with the number of a request and its answer as soon as that is complete, before longer ones are."""


NextRequest = Callable[[Callable[[Request], bool]], "tuple[Request, Sampling] | None"]
"""Takes the next request that has come meanwhile, with its sampling, where what it is given says that it may join; None
where it may not, or where there is none."""


class TextGeneration:
    """Writes for requests whose adapters fit into memory together."""

    def __init__(self, cache: AdapterCache, inference: MixedInference) -> None:
        """Args: the adapters, and what runs them."""
        self.cache, self.inference = cache, inference

    def answers(
        self,
        requests: Mapping[int, tuple[Request, Sampling]],
        names: Sequence[str],
        faults: dict[int, UserError],
        on_text: OnText | None,
        on_complete: OnComplete | None,
        more: NextRequest,
        following: Iterator[int],
    ) -> dict[int, dict[str, Any]]:
        """An answer for each request, by its number.

        Args:
            requests: by number, with their sampling.
            names: of their adapters.
            faults: receives the exceptions by number.
            on_text, on_complete: called with a request's number.
            more: requests that may join; one does whose adapter is in memory, or unknown. It is not asked while
                threads wait for room in memory, which would wait as long as others join, nor for more than `JOINING`.
            following: numbers of these.
        """
        leased, errors = self.cache.acquire(names)
        call = _Call(self.inference, self.cache.release, faults, on_text, on_complete)
        joining: list[LoadedAdapter | UserError | None] = []
        most = len(requests) + JOINING

        def may_join(request: Request) -> bool:
            """Whether a request can join; its lease, or why there is none, is kept."""
            try:
                lease = None if request.adapter is None else self.cache.acquire_resident(request.adapter)
            except UserError as error:
                joining.append(error)
                return True
            if lease is None and request.adapter is not None:
                return False
            joining.append(lease)
            return True

        def another() -> tuple[int, list[int], Sampling] | None:
            while len(call.answers) < most and not self.cache.crowded and (found := more(may_join)) is not None:
                number, adapter = next(following), joining.pop()
                if isinstance(adapter, LoadedAdapter):
                    call.leases[number] = adapter
                row = call.begin(number, *found, adapter)
                if row is not None:
                    return row
            return None

        try:
            begun = []
            for number, (request, sampling) in requests.items():
                name = request.adapter
                adapter = None if name is None else errors[name] if name in errors else leased[name]
                begun.append(call.begin(number, request, sampling, adapter))
            rows = [row for row in begun if row is not None]
            if rows:
                slots, prompts, samplings = zip(*rows, strict=True)
                self.inference.generate(slots, prompts, samplings, call.take, call.complete, another)
            return call.answers
        finally:
            for lease in (*call.leases.values(), *joining):
                if isinstance(lease, LoadedAdapter):
                    self.cache.release([lease])
            self.cache.release(leased.values())


class _Call:
    """What becomes of the requests of one call."""

    def __init__(
        self,
        inference: MixedInference,
        release: Callable[[Sequence[LoadedAdapter]], None],
        faults: dict[int, UserError],
        on_text: OnText | None,
        on_complete: OnComplete | None,
    ) -> None:
        self.inference, self.release, self.faults = inference, release, faults
        self.on_text, self.on_complete = on_text, on_complete
        self.answers: dict[int, dict[str, Any]] = {}
        self.rows: list[tuple[int, list[int]]] = []
        """The number of each row's request, and its tokens."""
        self.leases: dict[int, LoadedAdapter] = {}
        """Of requests that joined, by number."""

    def begin(
        self, number: int, request: Request, sampling: Sampling, adapter: LoadedAdapter | UserError | None
    ) -> tuple[int, list[int], Sampling] | None:
        """The slot, the tokens and the sampling of a request's row; None where it cannot be written.

        Args:
            number: of the request.
            request: what is to be continued.
            sampling: how.
            adapter: its adapter, why it has none, or None for the base alone.
        """
        self.answers[number] = {"id": request.id, "adapter": request.adapter}
        try:
            sampling.check()
            slot, text = _slot(request, adapter), text_of(inputs_of(request))
            prompt = self.inference.prompt(slot, text, sampling)
        except UserError as error:
            self.answers[number]["error"] = str(error)
            self.faults[number] = error
            self._end(number)
            return None
        self.answers[number] |= {"task": TASK, "output": {"text": text}, "truncated": False}
        if isinstance(adapter, LoadedAdapter):
            self.answers[number]["version"] = adapter.version
        self.rows.append((number, prompt))
        return slot, prompt, sampling

    def take(self, row: int, text: str) -> bool:
        """Tell the listener what was written of a row."""
        return self.on_text is None or self.on_text(self.rows[row][0], text)

    def complete(self, row: int, written: Continuation) -> None:
        """Complete the answer of a row."""
        number, prompt = self.rows[row]
        self.answers[number]["output"] |= {
            "completion": written.text,
            "finish_reason": written.finish_reason,
            "prompt_tokens": len(prompt),
            "completion_tokens": written.tokens,
            **({} if written.seed is None else {"seed": written.seed}),
        }
        self._end(number)

    def _end(self, number: int) -> None:
        if number in self.leases:
            self.release([self.leases.pop(number)])
        if self.on_complete is not None:
            self.on_complete(number, self.answers[number])


def _slot(request: Request, adapter: LoadedAdapter | UserError | None) -> int:
    """The slot of a request's adapter. Raises ModelError if it has a head, or the error that is in its place."""
    if adapter is None:
        return NO_ADAPTER
    if isinstance(adapter, UserError):
        raise adapter
    resident = adapter.resident
    if resident.alone is not None:
        raise ModelError(
            f"{request.adapter} answers alone, by its own method, and only to its own task ({resident.task.name}). Ask "
            "for predictions, or write with another adapter."
        )
    if resident.head is not None:
        raise ModelError(
            f"{request.adapter} is an adapter for {resident.task.name}, whose answers a head gives. Write with one "
            "that generates (text_generation, summarization, translation), or with none."
        )
    return resident.slot
