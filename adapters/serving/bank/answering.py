"""Answers of many adapters and tasks in one mixed batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any

from adapters.core.errors import SettingsError, UserError
from adapters.serving.bank.adapter_cache import AdapterCache
from adapters.serving.bank.adapter_loader import AdapterLoader, LoadedAdapter
from adapters.serving.bank.mixed_inference import MixedInference, ResidentAdapter
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.observation import Observation
from adapters.tasks.base.requests import Request, answer
from adapters.tasks.base.task import InferenceTask

Observed = list[tuple[LoadedAdapter, Observation]]
"""What is counted of answers, each with the version of its adapter."""


class Answering:
    """Answers requests whose adapters fit into memory together."""

    def __init__(
        self, cache: AdapterCache, inference: MixedInference, loader: AdapterLoader, base_alone: ResidentAdapter
    ) -> None:
        """Args:
        cache: the adapters.
        inference: what runs them.
        loader: what knows the tasks that an adapter can be asked for besides its own.
        base_alone: what answers a request that names no adapter.
        """
        self.cache, self.inference, self.loader, self.base_alone = cache, inference, loader, base_alone

    def answers(
        self,
        requests: Mapping[int, Request],
        names: Sequence[str],
        faults: dict[int, UserError],
        observed: Observed | None,
    ) -> dict[int, dict[str, Any]]:
        """An answer to each request, by its number.

        Args:
            requests: by number.
            names: of their adapters.
            faults: receives the exceptions by number.
            observed: receives what is counted of the answers.
        """
        leased, errors = self.cache.acquire(names)
        call = _Call(self, leased, errors)
        try:
            numbers = [*requests]
            answers = answer(
                [*requests.values()],
                lambda request: call.resident(request).task,
                lambda pairs: call.predict(pairs, observed),
                lambda index, error: faults.__setitem__(numbers[index], error),
            )
            for request, given in zip(requests.values(), answers, strict=True):
                given["adapter"] = request.adapter
                if request.adapter in leased:
                    given["version"] = leased[request.adapter].version
            return dict(zip(numbers, answers, strict=True))
        finally:
            self.cache.release(leased.values())


@dataclass
class _Call:
    """What answers the requests of one call."""

    bank: Answering
    leased: dict[str, LoadedAdapter]
    errors: dict[str, UserError]
    generating: dict[tuple[str, str], ResidentAdapter] = field(default_factory=dict)
    """By an adapter and a task that is not its own, what answers."""

    def resident(self, request: Request) -> ResidentAdapter:
        """The adapter of a request, with the task that is asked of it. Raises the error that is in its place."""
        if request.adapter is None:
            return self.bank.base_alone
        if request.adapter in self.errors:
            raise self.errors[request.adapter]
        found = self.leased[request.adapter].resident
        if request.task is None or request.task == found.task.name:
            return found
        if found.alone is not None:
            raise SettingsError(
                f"task {request.task}: {request.adapter} answers alone, and only its own task ({found.task.name})."
            )
        key = request.adapter, request.task
        if key not in self.generating:
            task: InferenceTask = self.bank.loader.generating(request.adapter, found.task, request.task)
            self.generating[key] = changed(found, task=task)
        return self.generating[key]

    def predict(self, pairs: Sequence[tuple[Request, Example]], observed: Observed | None) -> list[Prediction]:
        """One prediction per pair, in order."""
        seen: list[Observation] | None = None if observed is None else []
        found = self.bank.inference.predict([(self.resident(request), example) for request, example in pairs], seen)
        if observed is not None and seen is not None:
            for (request, _), one in zip(pairs, seen, strict=True):
                own = self.leased.get(request.adapter or "")
                if own is not None and self.resident(request) is own.resident:
                    observed.append((own, one))
        return found
