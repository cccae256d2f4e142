"""Free continuations of texts, each under its own adapter: sampling, stop texts, and a listener for the text so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.core.errors import ModelError, UserError
from adapters.models.generation import Continuation, Sampling
from adapters.serving.bank.adapter_cache import AdapterCache
from adapters.serving.bank.adapter_loader import LoadedAdapter
from adapters.serving.bank.mixed_inference import MixedInference
from adapters.serving.bank.mixed_model import NO_ADAPTER
from adapters.tasks.base.embedding import text_of
from adapters.tasks.base.requests import Request, inputs_of

TASK = "text_generation"
Listener = Callable[[int, str], bool]
"""Is called after each token with the number of a request and the new part of its text, which may be empty; returns
whether to go on with it."""
Finished = Callable[[int, dict[str, Any]], None]
"""Is called with the number of a request and its answer as soon as that is complete, before longer ones are."""


class Writing:
    """Writes for requests whose adapters fit into memory together."""

    def __init__(self, cache: AdapterCache, inference: MixedInference) -> None:
        """Args: the adapters, and what runs them."""
        self.cache, self.inference = cache, inference

    def answers(
        self,
        requests: Mapping[int, tuple[Request, Sampling]],
        names: Sequence[str],
        faults: dict[int, UserError],
        listen: Listener | None,
        finished: Finished | None,
    ) -> dict[int, dict[str, Any]]:
        """An answer for each request, by its number.

        Args:
            requests: by number, with their sampling.
            names: of their adapters.
            faults: receives the exceptions by number.
            listen, finished: called with a request's number.
        """
        leased, errors = self.cache.acquire(names)
        try:
            answers: dict[int, dict[str, Any]] = {}
            rows: dict[int, tuple[int, list[int], Sampling]] = {}
            for number, (request, sampling) in requests.items():
                answers[number] = {"id": request.id, "adapter": request.adapter}
                try:
                    slot, text = _slot(request, leased, errors), text_of(inputs_of(request))
                    rows[number] = slot, self.inference.prompt(slot, text, sampling), sampling
                except UserError as error:
                    answers[number]["error"] = str(error)
                    faults[number] = error
                    if finished is not None:
                        finished(number, answers[number])
                    continue
                answers[number] |= {"task": TASK, "output": {"text": text}, "truncated": False}
                if request.adapter is not None:
                    answers[number]["version"] = leased[request.adapter].version
            self._write(rows, answers, listen, finished)
            return answers
        finally:
            self.cache.release(leased.values())

    def _write(
        self,
        rows: Mapping[int, tuple[int, list[int], Sampling]],
        answers: Mapping[int, dict[str, Any]],
        listen: Listener | None,
        finished: Finished | None,
    ) -> None:
        """Complete the answers of rows, by their number."""
        if not rows:
            return
        numbers = [*rows]
        slots, prompts, sampling = zip(*rows.values(), strict=True)

        def heard(row: int, text: str) -> bool:
            return listen is None or listen(numbers[row], text)

        def complete(row: int, written: Continuation) -> None:
            answer = answers[numbers[row]]
            answer["output"] |= {
                "completion": written.text,
                "finish_reason": written.finish_reason,
                "prompt_tokens": len(prompts[row]),
                "completion_tokens": written.tokens,
                **({} if written.seed is None else {"seed": written.seed}),
            }
            if finished is not None:
                finished(numbers[row], answer)

        self.inference.write(slots, prompts, sampling, heard, complete)


def _slot(request: Request, leased: Mapping[str, LoadedAdapter], errors: Mapping[str, UserError]) -> int:
    """The slot of a request's adapter. Raises ModelError if it has a head, and what `AdapterBank.lease` raises."""
    if request.adapter is None:
        return NO_ADAPTER
    if request.adapter in errors:
        raise errors[request.adapter]
    resident = leased[request.adapter].resident
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
