"""Many adapters on one frozen base model, answering mixed batches.

from adapters import AdapterBank, Request

bank = AdapterBank("minilm", capacity=64)
bank.load("ner", "runs/lora_ner/artifact")
answers = bank.predict([Request("ner", "Ada Lovelace lived in London.")])
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.artifacts.explaining.base import explain as explaining
from adapters.artifacts.explaining.base.attribution import Options
from adapters.artifacts.explaining.base.explanation import Explanation
from adapters.artifacts.pipeline import Answers, Pipeline, check_steps
from adapters.artifacts.plain_peft import Reading
from adapters.artifacts.published import leads_elsewhere, located
from adapters.core.errors import (
    ArtifactError,
    BankError,
    ModelError,
    UnknownAdapterError,
    UserError,
    listing,
    refuse_single,
)
from adapters.core.flags import listed
from adapters.models.base_model import CAUSAL, ENCODER
from adapters.models.continuation import Sampling as Sampling
from adapters.models.devices import choose_device, choose_dtype
from adapters.models.fast_layers import quicken
from adapters.serving.bank.adapter_cache import AdapterCache, BankStats
from adapters.serving.bank.adapter_loader import AdapterLoader, AdapterSource, LoadedAdapter, read_unchanged
from adapters.serving.bank.answering import Answering, Observed
from adapters.serving.bank.explaining import BankReader
from adapters.serving.bank.mixed_inference import MixedInference, Proceed, ResidentAdapter
from adapters.serving.bank.mixed_model import NO_ADAPTER, MixedModel
from adapters.serving.bank.routing import Routing, with_adapters
from adapters.serving.bank.text_generation import NextRequest, OnComplete, OnText, TextGeneration
from adapters.tasks.base.embedding import EMBEDDED_TOKENS
from adapters.tasks.base.embedding import Task as Embedding
from adapters.tasks.base.example import Example, Prediction, check_examples
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.requests import Request as Request
from adapters.tasks.base.requests import request_of, requests_of
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


class AdapterBank:
    """One base model and adapters on it: a `ServedBank`. Several threads may call any method at once.

    Attributes:
        base: the base model.
        device: where it runs.
        dtype: number format of the base and the adapters.
        generates: whether the base has a language-model head.
        explains: True.
        loads: True.
        mixed: the base's body, which runs mixed batches.
    """

    explains = loads = True

    def __init__(
        self,
        base: str,
        *,
        capacity: int = 64,
        max_bytes: int | None = None,
        batch_tokens: int = 1024,
        device: str = "auto",
        dtype: str = "auto",
        adapter_root: str | Path | None = None,
        plugin_dirs: str | Sequence[str] = (),
    ) -> None:
        """Args:
        base: base model: a path, an alias or a Hub id.
        capacity: adapters in memory at a time; the least recently used is evicted first.
        max_bytes: bound on the size of their tensors; None for no bound.
        batch_tokens: tokens in one forward pass, padding included.
        device: auto (cuda, mps or cpu), or the name of a device: cpu, cuda, cuda:1, mps.
        dtype: float32, bfloat16, or auto (bfloat16 on a CUDA device that supports it, float32 elsewhere). Heads are
            always float32.
        adapter_root: folder that must contain all adapters, after links are resolved; None allows any folder.
        plugin_dirs: folders with additional methods and tasks.

        Raises:
            SourceError: the base cannot be found.
            BankError: a bound is less than 1.
            SettingsError: this machine has no such device, or the device does not support the number format.
            ModelError: the base is of a kind that cannot run mixed batches.
        """
        from adapters.models.base_model import open_base, quiet_libraries

        bounds = {"capacity": capacity, "max_bytes": max_bytes, "batch_tokens": batch_tokens}
        for name, value in bounds.items():
            if value is not None and value < 1:
                raise BankError(f"{name}={value}: must be at least 1.")
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        quiet_libraries()
        self.base = open_base(base)
        model = _frozen(self.base, self.device, self.dtype)
        self.generates = model.get_output_embeddings() is not None
        self.mixed = MixedModel(model.base_model, self.base)
        root = None if adapter_root is None else Path(adapter_root)
        self._loader = AdapterLoader(
            self.base, model.base_model, generates=self.generates, root=root, plugin_dirs=listed(plugin_dirs)
        )
        self._inference = MixedInference(model, self.base, self.mixed, batch_tokens=batch_tokens)
        self._cache = AdapterCache(self.mixed, self._loader.read, capacity=capacity, max_bytes=max_bytes)
        self._generation = TextGeneration(self._cache, self._inference)
        embedding = Embedding()
        self._base_alone = ResidentAdapter(
            slot=NO_ADAPTER,
            task=embedding,
            budget=min(self.base.positions, 512),
            head=self._loader.heads.none(embedding),
        )
        self._answering = Answering(self._cache, self._inference, self._loader, self._base_alone)
        self._embedder = changed(self._base_alone, budget=min(self.base.positions, EMBEDDED_TOKENS))
        self._routing = Routing(self.base, self.embed, self._cache.find)

    def __repr__(self) -> str:
        dtype = str(self.dtype).rpartition(".")[2]
        return f"AdapterBank({self.base.name}, {listing(sorted(self.names()), 'adapters')}; {self.device}, {dtype})"

    # adapters ---------------------------------------------------------------------------------------------------------

    def load(
        self,
        name: str,
        folder: str | Path,
        *,
        pin: bool = False,
        require_card: bool = False,
        task: str | None = None,
        labels: str | Sequence[str] | None = None,
        multi_label: bool | None = None,
        pair: bool | None = None,
        max_length: int | None = None,
        replace: bool = False,
    ) -> dict[str, Any]:
        """Verify an adapter and load it. If it cannot be loaded, nothing has changed.

        One that cannot join a mixed batch (a full model, tf-idf, a prompt) answers alone, in batches of its own.

        Args:
            name: `[a-z0-9][a-z0-9_-]{0,63}`.
            folder: an artifact, the folder of its run, or a plain PEFT folder; a link to one, or a folder whose
                `current.json` names one.
            pin: never evict it.
            require_card: refuse a plain PEFT folder.
            task: task of a plain PEFT folder whose config does not name it.
            labels: labels of a plain PEFT folder, in the head's order; a text is read as on the command line.
            multi_label: whether a text has any number of labels, for a plain PEFT folder. Default: as the problem_type
                of its config.json or of the base's says.
            pair: whether an input of a plain PEFT folder is two texts.
            max_length: tokens of a text that a plain PEFT folder reads; None for as many as the base does.
            replace: if an adapter has the name, load a new version of it; batches in progress finish on the old one.

        Returns:
            What `info` returns; `version` is 1 for a new adapter.

        Raises:
            BankError: the name is taken or not valid; all that is loaded is pinned or in use.
            ArtifactError: the folder is damaged, foreign, or of another base.
            ModelError: it does not suit the base.
        """
        given = None if labels is None else tuple(listed(labels))
        reading = Reading(task=task, labels=given, multi_label=multi_label, pair=pair, max_length=max_length)
        source = AdapterSource(folder=Path(folder), require_card=require_card, reading=reading)
        if replace and name in self.names():
            return self._cache.replace(name, source, self._loader.read(source), pin=pin).info()
        self._cache.check_free(name)
        return self._cache.add(name, source, self._loader.read(source), pin=pin).info()

    def reload(self, name: str, folder: str | Path | None = None) -> dict[str, Any]:
        """Load a new version of an adapter from its folder or another one, with the other arguments of its `load`.

        Batches in progress finish on the old version. Raises what `load` raises; the old version then stays.
        """
        adapter = self._cache.find(name)
        source = adapter.source if folder is None else changed(adapter.source, folder=Path(folder))
        return self._cache.replace(adapter.name, source, self._loader.read(source)).info()

    def rollback(self, name: str) -> dict[str, Any]:
        """Load the version before the current one again, under a new number. Batches in progress finish.

        The last two versions are known; the one that is left is not. A link or `current.json` by which the adapter was
        loaded is followed again once it has moved.

        Returns:
            What `info` returns.

        Raises:
            BankError: no former version is known, or the adapter was replaced at the same time.
            ArtifactError: the folder of the former version is damaged or has changed.
        """
        adapter = self._cache.find(name)
        if not adapter.former:
            raise BankError(
                f"{adapter.name}: version {adapter.version} has no former version to return to. Load one by its folder."
            )
        former = adapter.former[0]
        prepared = read_unchanged(
            self._loader.read,
            former,
            f"version {former.version} of {adapter.name}",
            "Keep each version in a folder of its own.",
        )
        try:
            followed = located(former.source.folder)
        except (ArtifactError, OSError):
            followed = former.folder
        return self._cache.roll_back(adapter, former, prepared, followed=followed).info()

    def moved(self) -> list[str]:
        """Names of the adapters whose link or `current.json` names another folder than it did, or none any more.

        `reload` loads a new version from there, or says why it cannot be.
        """
        return [one.name for one in self._cache.all() if leads_elsewhere(one.source.folder, one.followed)]

    def unload(self, name: str) -> None:
        """Forget an adapter and its aliases. Batches in progress finish. Raises UnknownAdapterError."""
        self._cache.remove(name)

    def pin(self, name: str, pinned: bool = True) -> None:
        """Never evict an adapter, or (`pinned=False`) allow it again. Raises UnknownAdapterError."""
        self._cache.pin(name, pinned)

    def alias(self, alias: str, name: str) -> None:
        """Give an adapter another name; an alias that exists is moved. Raises BankError."""
        self._cache.alias(alias, name)

    def names(self) -> list[str]:
        """Names of the adapters, without aliases, in the order in which they were loaded."""
        return [adapter.name for adapter in self._cache.all()]

    def adapters(self) -> list[dict[str, Any]]:
        """The `info` of each adapter, sorted by name."""
        return sorted((adapter.info() for adapter in self._cache.all()), key=lambda info: str(info["name"]))

    def info(self, name: str, *, with_card: bool = False) -> dict[str, Any]:
        """Names, version, task, labels, method, base, folder, bytes and scores of an adapter; whether in memory.

        Args:
            name: its name or an alias.
            with_card: add its artifact's `card`.

        Raises:
            UnknownAdapterError: no adapter has the name.
        """
        adapter = self._cache.find(name)
        return {**adapter.info(), "card": dict(adapter.card)} if with_card else adapter.info()

    def card(self, name: str) -> dict[str, Any]:
        """The card of an adapter's artifact, or the one made for a plain PEFT folder. Raises UnknownAdapterError."""
        return dict(self._cache.find(name).card)

    def task(self, name: str) -> Task:
        """The task of an adapter. Raises what `lease` raises."""
        with self.lease(name) as leased:
            task = leased[name].resident.task
        assert isinstance(task, Task)  # the embedding alone is none, and is no adapter's
        return task

    def stats(self) -> BankStats:
        """How many adapters are known, in memory, and have been evicted."""
        return self._cache.stats()

    @contextmanager
    def lease(self, *names: str) -> Iterator[dict[str, LoadedAdapter]]:
        """Keep adapters in memory: within the block their versions stay, whatever is loaded, unloaded or evicted.

        A thread that waits for room within a lease of its own may wait for itself: lease all names at once.

        Raises:
            BankError: a name is unknown, or the adapters never fit into memory together.
            ArtifactError: an evicted adapter's folder is damaged or has changed.
        """
        leased, errors = self._cache.acquire(names)
        try:
            for error in errors.values():
                raise error
            yield leased
        finally:
            self._cache.release(leased.values())

    # requests without an adapter's name -------------------------------------------------------------------------------

    def pipeline(self, ner: str, relation: str, *, max_distance: int | None = None) -> Pipeline:
        """What finds entities by one adapter, and asks another one for the relation of each pair, in mixed batches.

        Args:
            ner: name or alias of an adapter that finds entities.
            relation: of one for relation extraction.
            max_distance: as of `Pipeline`.

        Raises:
            UnknownAdapterError: no adapter has that name.
            ModelError: an adapter has another task.
        """
        check_steps(self.task(ner), self.task(relation))

        def answers_of(name: str) -> Answers:
            return lambda requests: self.predict([{**one, "adapter": name} for one in requests])

        return Pipeline(answers_of(ner), answers_of(relation), max_distance=max_distance)

    def load_router(self, folder: str | Path) -> dict[str, Any]:
        """Verify a router and load it: it chooses the adapter of each request for `auto`.

        If it cannot be loaded, nothing has changed.

        Args:
            folder: where `Router.save` wrote it, or whose `current.json` names that; inside `adapter_root` if there is
                one.

        Returns:
            What `router` returns.

        Raises:
            ArtifactError: the folder is damaged, foreign, or of another base.
            BankError: it routes to a name that is neither an adapter's nor an alias.
        """
        given = Path(folder)
        return self._routing.load(self._loader.inside(located(given)), given=given)

    def follow_router(self) -> dict[str, Any] | None:
        """Load the router again if the link or `current.json` by which it was named now names another folder.

        Returns what `router` returns; None if it has not moved, or there is none. Raises what `load_router` raises.
        """
        given = self._routing.moved
        return None if given is None else self.load_router(given)

    def unload_router(self) -> None:
        """Forget the router; requests for `auto` are then errors. Raises BankError if there is none."""
        self._routing.unload()

    def router(self) -> dict[str, Any] | None:
        """Kind, number of texts by adapter, threshold, rate, temperature, bytes and folder of the router, if any."""
        return self._routing.info()

    def embed(self, texts: Sequence[str], adapter: str | None = None) -> np.ndarray:
        """Vectors of texts, `[texts, hidden]`: the mean of their last hidden states.

        Args:
            texts: at least one.
            adapter: under which the base reads them, whatever its head; None: under none, as a router's features and
                those of `text_embedder` are.

        Raises:
            UnknownAdapterError: no adapter has the name. Else what `lease` raises.
            ModelError: the adapter answers alone, so the base does not read under it.
            DataError: a single text was given, and no list of one.
        """
        refuse_single(texts, "a list of texts", '["A text."]')
        examples = [Example(id="", inputs={"text": text or " "}) for text in texts]
        with self.lease(*([] if adapter is None else [adapter])) as leased:
            for one in leased.values():
                if one.resident.alone is not None:
                    raise ModelError(f"{one.name} answers alone: there are no states of the base under it.")
            slots = [one.resident.slot for one in leased.values()]
            embedder = changed(self._embedder, slot=slots[0]) if slots else self._embedder
            found = self._inference.predict([(embedder, example) for example in examples])
        return np.stack([prediction.value for prediction in found])

    # answers ----------------------------------------------------------------------------------------------------------

    def predict(
        self,
        requests: Iterable[Request | Mapping[str, Any]],
        faults: dict[int, UserError] | None = None,
        observed: Observed | None = None,
    ) -> list[dict[str, Any]]:
        """Answers in the order of the requests, which may be for any adapters and tasks.

        Args:
            requests: each a `Request`, or `{adapter, inputs, id?}`; adapter None requests the base's embedding, and
                `auto` the answer of the adapter that the router chooses.
            faults: receives the exceptions by the number of their request, for callers that distinguish them.
            observed: receives, in any order, what is counted of each answer of an adapter's own task (`observe`), with
                the version of the adapter.

        Returns:
            For each `{id, adapter, version, task, output, truncated}`, or `{id, adapter, error}` where it cannot be
            answered; the others are. That to a request for `auto` names the chosen adapter and has
            `routed: {confidence, scores}` with the shares of the three best.

        Raises:
            DataError: a single request was given, and no list of one.
        """
        faults = {} if faults is None else faults
        parsed = requests_of(requests)
        chosen = self._routing.choose(parsed)
        unrouted = {number: error for number, error in chosen.items() if isinstance(error, UserError)}
        faults.update(unrouted)
        answers: dict[int, dict[str, Any]] = {
            number: {"id": parsed[number].id, "adapter": parsed[number].adapter, "error": str(error)}
            for number, error in unrouted.items()
        }
        named = with_adapters(parsed, chosen)
        for numbers, names in self._cache.groups({number: request.adapter for number, request in named.items()}):
            answers.update(self._answering.answers({i: named[i] for i in numbers}, names, faults, observed))
        self._routing.label(chosen, answers, faults)
        return [answers[number] for number in range(len(parsed))]

    def generate(
        self,
        requests: Iterable[Request | Mapping[str, Any]],
        sampling: Sampling | Sequence[Sampling] | None = None,
        *,
        faults: dict[int, UserError] | None = None,
        on_text: OnText | None = None,
        on_complete: OnComplete | None = None,
        more: NextRequest = lambda may_join: None,
    ) -> list[dict[str, Any]]:
        """Continue texts, in mixed batches: each under its own adapter, one that generates, or the base alone.

        Args:
            requests: each a `Request`, or `{adapter, inputs, id?}`, whose input is a text.
            sampling: of all requests, or of each: length, stop texts, temperature, top-p, seed. Default: the likeliest
                64 tokens.
            faults: receives the exceptions by the number of their request.
            on_text: called after each token with the number of a request and the new part of its text, which may be
                empty; returns whether to go on.
            on_complete: called with the number of a request and its answer as soon as that is complete.
            more: is asked between two tokens for a request that has come meanwhile, while there is room: with a
                function that says whether one may join, it returns the next request and its sampling, or None. Its
                number follows those of the others. One may join whose adapter is in memory; the others wait. It is not
                asked while other threads wait for room in memory, nor any more once a thousand have joined.

        Returns:
            For each, those that joined last, `{id, adapter, version, task, output, truncated}`, where the output is
            `{text, completion, finish_reason, prompt_tokens, completion_tokens, seed?}`; or `{id, adapter, error}`.

        Raises:
            BankError: the base has no language-model head.
            DataError: a single request was given, and no list of one.
            SettingsError: an invalid value of the sampling.
        """
        if not self.generates:
            raise BankError(f"{self.base.name} has no language-model head, so it cannot generate. Use a causal base.")
        parsed = requests_of(requests)
        sampling = Sampling() if sampling is None else sampling
        each = [sampling] * len(parsed) if isinstance(sampling, Sampling) else list(sampling)
        for one in each:
            one.check()
        faults = {} if faults is None else faults
        answers: dict[int, dict[str, Any]] = {}
        following = itertools.count(len(parsed))
        for numbers, names in self._cache.groups({i: request.adapter for i, request in enumerate(parsed)}):
            chosen = {i: (parsed[i], each[i]) for i in numbers}
            answers.update(self._generation.answers(chosen, names, faults, on_text, on_complete, more, following))
        return [answers[number] for number in range(len(answers))]

    def explain(
        self,
        request: Request | Mapping[str, Any],
        *,
        method: str | None = None,
        target: str | None = None,
        options: Options | None = None,
        proceed: Proceed = lambda: None,
    ) -> tuple[int, Explanation]:
        """Why an adapter answers a request as it does; its version, and the explanation.

        Other threads' batches go on meanwhile; those of an adapter that answers alone do between two passes.

        Args:
            request: names the adapter, not `auto`.
            method, target, options: as of `explaining.explain`.
            proceed: called before each pass of the model; what it raises ends the explanation.

        Raises:
            UnknownAdapterError: no adapter has the name.
            DataError, ModelError, SettingsError: as `explaining.explain`.
        """
        asked = request_of(request, 0)
        if asked.adapter is None:
            raise UnknownAdapterError("An explanation needs the name of an adapter.")
        with self.lease(asked.adapter) as leased:
            own = leased[asked.adapter]
            task = own.resident.task
            assert isinstance(task, Task)
            with self._reader(own, proceed) as reader:
                found = explaining.explain(
                    reader,
                    task,
                    asked,
                    model=str(own.card["method"]["name"]),
                    method=method,
                    target=target,
                    options=options,
                )
            return own.version, found

    def _reader(
        self, adapter: LoadedAdapter, proceed: Proceed = lambda: None
    ) -> AbstractContextManager[BankReader | Predictor]:
        """An adapter that is leased, as an explanation reads it."""
        if adapter.resident.alone is not None:
            return adapter.resident.alone.explained(proceed)
        head = self._base_alone.head
        assert head is not None
        return nullcontext(BankReader(self._inference, adapter.resident, head, proceed))

    def predictor(self, name: str) -> BankPredictor:
        """One adapter as a predictor, for the evaluator. Raises UnknownAdapterError."""
        mixed = self._cache.find(name).mixed
        return (MixedPredictor if mixed else BankPredictor)(self, name)

    def _predict(self, name: str, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order."""
        with self.lease(name) as leased:
            resident = leased[name].resident
            return self._inference.predict([(resident, example) for example in examples])


class BankPredictor:
    """An adapter of a bank, as a predictor."""

    def __init__(self, bank: AdapterBank, name: str) -> None:
        """Args: the bank, and the adapter's name in it."""
        self.bank, self.name = bank, name

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order. Raises DataError for texts and requests, which the bank answers."""
        check_examples(examples, 'bank.predict([Request("ner", "A text.")])')
        return self.bank._predict(self.name, examples)


class MixedPredictor(BankPredictor):
    """An adapter that joins mixed batches, as a predictor."""

    @contextmanager
    def reading(self) -> Iterator[BankReader]:
        """The adapter as an explanation reads it, leased within the block."""
        with self.bank.lease(self.name) as leased:
            reader = self.bank._reader(leased[self.name])
            assert isinstance(reader, BankReader)
            yield reader


def _frozen(base: Base, device: torch.device, dtype: torch.dtype) -> Any:
    """The base model, with its language-model head if it has one. Raises ModelError if it cannot run mixed batches."""
    if base.kind not in (ENCODER, CAUSAL):
        raise ModelError(f"{base.name} is a model of kind {base.kind}; a bank needs an {ENCODER} or {CAUSAL} model.")
    model: Any = base.load_body()
    model = model.to(device, dtype).eval().requires_grad_(False)
    quicken(model)
    return model
