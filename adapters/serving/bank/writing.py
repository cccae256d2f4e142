"""Free continuations of texts, each under its own adapter: sampling, stop texts, and a listener for the text so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.core.errors import BankError, UserError
from adapters.models.generation import Sampling
from adapters.serving.bank.adapter_cache import AdapterCache
from adapters.serving.bank.adapter_loader import LoadedAdapter
from adapters.serving.bank.mixed_inference import MixedInference
from adapters.serving.bank.mixed_model import NO_ADAPTER
from adapters.tasks.base.embedding import text_of
from adapters.tasks.base.requests import Request, inputs_of

TASK = "text_generation"
Listener = Callable[[int, str], bool]
"""Is called with the number of a request and each new part of its text; returns whether to go on with it."""


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
    ) -> dict[int, dict[str, Any]]:
        """An answer for each request, by its number.

        Args:
            requests: by number, with their sampling.
            names: of their adapters.
            faults: receives the exceptions by number.
            listen: called with a request's number.
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
                    continue
                answers[number] |= {"task": TASK, "output": {"text": text}, "truncated": False}
                if request.adapter is not None:
                    answers[number]["version"] = leased[request.adapter].version
            for number, output in self._written(rows, listen).items():
                answers[number]["output"] |= output
            return answers
        finally:
            self.cache.release(leased.values())

    def _written(
        self, rows: Mapping[int, tuple[int, list[int], Sampling]], listen: Listener | None
    ) -> dict[int, dict[str, Any]]:
        """What is written for each row, by its number."""
        if not rows:
            return {}
        numbers = [*rows]
        slots, prompts, sampling = zip(*rows.values(), strict=True)
        heard = None if listen is None else lambda row, text: listen(numbers[row], text)
        found = self.inference.write(slots, prompts, sampling, heard)
        return {
            number: {
                "completion": one.text,
                "finish_reason": one.finish_reason,
                "prompt_tokens": len(rows[number][1]),
                "completion_tokens": one.tokens,
                **({} if one.seed is None else {"seed": one.seed}),
            }
            for number, one in zip(numbers, found, strict=True)
        }


def _slot(request: Request, leased: Mapping[str, LoadedAdapter], errors: Mapping[str, UserError]) -> int:
    """The slot of a request's adapter. Raises BankError if its task has a head, and what `AdapterBank.lease` raises."""
    if request.adapter is None:
        return NO_ADAPTER
    if request.adapter in errors:
        raise errors[request.adapter]
    resident = leased[request.adapter].resident
    if resident.head is not None:
        raise BankError(
            f"{request.adapter} is an adapter for {resident.task.name}, whose answers a head gives. Write with one "
            "that generates (text_generation, summarization, translation), or with none."
        )
    return resident.slot
