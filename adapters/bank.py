"""Many adapters on one frozen base: verified, loaded, leased, evicted; a list of requests in, answers in order out.

from adapters.bank import AdapterBank, Request

bank = AdapterBank("minilm", capacity=64)
bank.load("ner", "runs/lora_ner/artifact")
answers = bank.predict([Request("ner", "Ada Lovelace lived in London.")])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.embedding import Task as Embedding
from adapters.errors import BankError, ModelError, UserError
from adapters.mixed import NOTHING, MixedBody
from adapters.mixed_inference import MixedInference, Placed
from adapters.requests import Request as Request
from adapters.requests import answer, request_of
from adapters.residency import Residency
from adapters.staging import Adapter, Source, Stage
from adapters.tasks import CAUSAL, ENCODER, Example, Prediction, Task

if TYPE_CHECKING:
    from adapters.model import Base


class AdapterBank:
    """One base, and adapters around it. All methods may be called by several threads at once."""

    def __init__(
        self, base: str, *, capacity: int = 64, max_bytes: int | None = None, batch_pieces: int = 1024,
        dtype: str = "float32", device: str = "cpu", adapter_root: str | Path | None = None,
        plugin_dirs: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Args:
        base: base model by path, alias or Hub id.
        capacity: adapters whose tensors are held at a time; the least recently used makes room for another.
        max_bytes: of all their tensors; None sets no bound.
        batch_pieces: pieces of one forward pass, padding included.
        dtype: float32 or bfloat16, of the base and the adapters; heads are always float32.
        device: of torch.
        adapter_root: folder in which all adapters must lie, links followed; None allows any.
        plugin_dirs: folders with methods and tasks of your own.

        Raises:
            SourceError: the base cannot be found.
            BankError: a bound that cannot work.
        """
        from adapters.model import open_base, quiet_libraries

        bounds = {"capacity": capacity, "max_bytes": max_bytes, "batch_pieces": batch_pieces}
        for name, value in bounds.items():
            if value is not None and value < 1:
                raise BankError(f"{name}={value}: must be at least 1.")
        quiet_libraries()
        self.base = open_base(base)
        model = _frozen(self.base, dtype, device)
        self.writes = model.get_output_embeddings() is not None
        self.mixed = MixedBody(model.base_model, self.base)
        root = None if adapter_root is None else Path(adapter_root)
        self.stage = Stage(self.base, model.base_model, writes=self.writes, root=root, plugin_dirs=plugin_dirs)
        self.inference = MixedInference(model, self.base, self.mixed, batch_pieces=batch_pieces)
        self.residency = Residency(self.mixed, self.stage.read, capacity=capacity, max_bytes=max_bytes)
        embedding = Embedding()
        self.bare = Placed(
            slot=NOTHING, task=embedding, budget=min(self.base.positions, 512), head=self.stage.heads.none(embedding)
        )

    def load(
        self, name: str, folder: str | Path, *, pin: bool = False, require_card: bool = False, task: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Verify an adapter and take it in; where it cannot be taken in, nothing has changed.

        Args:
            name: `[a-z0-9][a-z0-9_-]{0,63}`, not taken.
            folder: an artifact, or a plain PEFT folder.
            pin: never evict it.
            require_card: refuse a plain PEFT folder.
            task: of a plain PEFT folder, where its config does not say.
            labels: of a plain PEFT folder, in the head's order.

        Returns:
            What `adapters()` says of it.

        Raises:
            BankError: the name is taken or no name; all that is loaded is pinned or in use.
            ArtifactError: the folder is damaged, foreign, or of another base.
            ModelError: its method cannot be mixed.
        """
        source = Source(
            folder=Path(folder), require_card=require_card, task=task, labels=None if labels is None else tuple(labels)
        )
        self.residency.check_free(name)
        return self.residency.add(name, source, self.stage.read(source), pin=pin).told()

    def reload(self, name: str, folder: str | Path | None = None) -> dict[str, Any]:
        """Read an adapter anew, from its folder or another: a new generation. Batches under way finish on the old one.

        Raises what `load` raises; the old generation then stays.
        """
        before = self.residency.find(name)
        source = before.source if folder is None else replace(before.source, folder=Path(folder))
        return self.residency.replace(before.name, source, self.stage.read(source)).told()

    def unload(self, name: str) -> None:
        """Forget an adapter and its aliases. Batches under way finish. Raises BankError where there is none."""
        self.residency.remove(name)

    def pin(self, name: str, pinned: bool = True) -> None:
        """Never evict an adapter, or (`pinned=False`) evict it again like others. Raises BankError."""
        self.residency.pin(name, pinned)

    def alias(self, alias: str, name: str) -> None:
        """Let requests reach an adapter by another name; an alias that is there is moved. Raises BankError."""
        self.residency.alias(alias, name)

    def adapters(self) -> list[dict[str, Any]]:
        """What is known of each adapter, by name: generation, task, method, base, whether it is resident, bytes."""
        return [adapter.told() for adapter in self.residency.all()]

    @contextmanager
    def lease(self, *names: str) -> Iterator[dict[str, Adapter]]:
        """Hold adapters: within it they are resident, and stay what they are whatever is loaded, unloaded, evicted.

        A thread that waits for room inside a lease of its own may wait for itself: ask for all names at once.

        Raises:
            BankError: a name is unknown, or there is never room for so many.
            ArtifactError: an evicted adapter's folder is damaged or changed.
        """
        held, refused = self.residency.acquire(names)
        try:
            for error in refused.values():
                raise error
            yield held
        finally:
            self.residency.release(held.values())

    def predict(
        self, requests: Sequence[Request | Mapping[str, Any]], faults: dict[int, UserError] | None = None
    ) -> list[dict[str, Any]]:
        """Answers in the order of the requests, whatever adapters and tasks they are of.

        Args:
            requests: each a `Request`, or `{adapter, inputs, id?}`; adapter None asks for the base's embedding.
            faults: takes the errors by the numbers of their requests, for who must tell one sort from another.

        Returns:
            For each `{id, adapter, generation, task, output, truncated}`, or `{id, adapter, error}` where it cannot be
            answered; the others are.
        """
        faults = {} if faults is None else faults
        read = [request_of(given, number) for number, given in enumerate(requests)]
        answers: dict[int, dict[str, Any]] = {}
        for names in self.residency.waves([request.adapter for request in read if request.adapter is not None]):
            numbers = [i for i, r in enumerate(read) if i not in answers and (r.adapter is None or r.adapter in names)]
            here: dict[int, UserError] = {}
            answers.update(zip(numbers, self._wave([read[i] for i in numbers], names, here), strict=True))
            faults.update({numbers[place]: error for place, error in here.items()})
        return [answers[number] for number in range(len(read))]

    def _wave(
        self, requests: Sequence[Request], names: Sequence[str], faults: dict[int, UserError]
    ) -> list[dict[str, Any]]:
        held, refused = self.residency.acquire(names)
        try:

            def placed(request: Request) -> Placed:
                if request.adapter is None:
                    return self.bare
                if request.adapter in refused:
                    raise refused[request.adapter]
                return held[request.adapter].placed

            def task_of(request: Request) -> Task:
                return placed(request).task

            def predict(pairs: Sequence[tuple[Request, Example]]) -> list[Prediction]:
                return self.inference.predict([(placed(request), example) for request, example in pairs])

            answers = answer(requests, task_of, predict, faults.__setitem__)
            for request, found in zip(requests, answers, strict=True):
                found["adapter"] = request.adapter
                if request.adapter in held:
                    found["generation"] = held[request.adapter].generation
            return answers
        finally:
            self.residency.release(held.values())

    def write(self, requests: Sequence[tuple[str | None, str]], *, max_new_tokens: int = 64) -> list[str]:
        """What a causal base writes on behind texts, greedily, each under an adapter of its own (None: the base alone).

        Raises BankError where the base cannot write, and what `lease` raises.
        """
        if not self.writes:
            raise BankError(f"{self.base.name} has no language-model head, so it cannot write. Use a causal base.")
        if max_new_tokens < 1:
            raise BankError(f"max_new_tokens={max_new_tokens}: must be at least 1.")
        with self.lease(*{name for name, _ in requests if name is not None}) as held:
            slots = [NOTHING if name is None else held[name].placed.slot for name, _ in requests]
            texts = [text for _, text in requests]
            return self.inference.write(slots, texts, max_new_tokens=max_new_tokens)

    def predictor(self, name: str) -> BankPredictor:
        """One adapter as a predictor, for the evaluator. Raises BankError where there is none."""
        self.residency.find(name)
        return BankPredictor(self, name)


class BankPredictor:
    """An adapter of a bank, as all that the evaluator knows of a method."""

    def __init__(self, bank: AdapterBank, name: str) -> None:
        """Args: the bank, and the adapter's name in it."""
        self.bank, self.name = bank, name

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction an example, in order."""
        with self.bank.lease(self.name) as held:
            placed = held[self.name].placed
            return self.bank.inference.predict([(placed, example) for example in examples])


def _frozen(base: Base, dtype: str, device: str) -> Any:
    """The base, with its language-model head if it has one. Raises ModelError where no batch of it can be mixed."""
    import torch

    if base.kind not in (ENCODER, CAUSAL):
        raise ModelError(f"{base.name} is of the kind {base.kind}; a bank takes {ENCODER} and {CAUSAL} models.")
    model: Any = base.load_body()
    return model.to(device, getattr(torch, dtype)).eval().requires_grad_(False)
