"""Exports to ONNX behind a bank's interface: a server without torch, whose adapters are those that it started with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from adapters.artifacts.published import located
from adapters.artifacts.runtime.loading import Export
from adapters.core.errors import BankError, SettingsError, UnknownAdapterError, UserError, did_you_mean, listing
from adapters.serving.bank.adapter_cache import BankStats
from adapters.serving.bank.adapter_loader import AdapterSource, LoadedAdapter
from adapters.serving.bank.adapter_name import fault_of
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.observation import observe
from adapters.tasks.base.predictor import RowPredictor
from adapters.tasks.base.requests import Request, answer, requests_of
from adapters.tasks.base.task import InferenceTask

if TYPE_CHECKING:
    from adapters.serving.bank.answering import Observed

FIXED = "Exports are those with which their bank was opened. Open another one."


@dataclass(frozen=True)
class ExportedBase:
    """What a server says of the base of its exports.

    Attributes:
        name: of the base model.
        kind: encoder or causal.
    """

    name: str
    kind: str


class ExportBank:
    """Answers requests for exports: a `ServedBank`. Several threads may call any method at once.

    Attributes:
        base: of the first export; others may have another, as each has its own in it.
        generates: False: what generates is no export to ONNX.
        explains: False.
        loads: False: adapters are those of the exports that it was opened with.
    """

    generates = explains = loads = False

    def __init__(
        self, folders: Mapping[str, Path], *, threads: int | None = None, plugin_dirs: Sequence[str] = ()
    ) -> None:
        """Args:
        folders: exports by name. The adapters of one that has several are called NAME-ADAPTER.
        threads: of one operation. Default: all cores.
        plugin_dirs: folders with additional tasks.

        Raises:
            ArtifactError: a folder is damaged, or no export to ONNX.
            SettingsError: there is none, or the name of one is not valid, or taken.
        """
        if not folders:
            raise SettingsError("--runtime onnx needs an export: --adapter NAME=FOLDER.")
        self._known: dict[str, tuple[LoadedAdapter, RowPredictor]] = {}
        for name, given in folders.items():
            folder = located(given)
            export = Export(folder, threads=threads, plugin_dirs=plugin_dirs)
            names: list[str | None] = [*export.names] or [None]
            for own in names:
                called = name if own is None else f"{name}-{own}"
                self._check_free(called, given)
                loaded = export.load(own)
                assert isinstance(loaded.predictor, RowPredictor)
                card = dict(loaded.card)
                adapter = LoadedAdapter(
                    name=called,
                    version=1,
                    source=AdapterSource(folder=given),
                    folder=folder,
                    followed=folder,
                    card=card,
                    digest=card["digest"],
                    nbytes=sum(path.stat().st_size for path in folder.glob("*.onnx*")),
                    pinned=True,
                )
                self._known[adapter.name] = adapter, loaded.predictor
        first = next(iter(self._known.values()))[0].card["base"]
        self.base = ExportedBase(first["name"], first["kind"])

    def _check_free(self, name: str, folder: Path) -> None:
        """Raises SettingsError unless an adapter of a folder may have a name."""
        if fault := fault_of(name):
            raise SettingsError(f"--adapter: {folder}: {fault} Choose another NAME.")
        if name in self._known:
            other = self._known[name][0].source.folder
            raise SettingsError(
                f"--adapter: {folder} has an adapter that would be called {name}, and so has {other}: those of an "
                "export with several are called NAME-ADAPTER. Choose another NAME for one of them."
            )

    def __repr__(self) -> str:
        return f"ExportBank({listing(sorted(self.names()), 'adapters')})"

    def names(self) -> list[str]:
        """Names of the adapters, in the order in which they were given."""
        return list(self._known)

    def adapters(self) -> list[dict[str, Any]]:
        """The `info` of each adapter, sorted by name."""
        return [self.info(name) for name in sorted(self._known)]

    def info(self, name: str, *, with_card: bool = False) -> dict[str, Any]:
        """What a bank's `info` gives. Raises UnknownAdapterError."""
        adapter = self._find(name)[0]
        shown = {**adapter.info(), "resident": True}
        return {**shown, "card": dict(adapter.card)} if with_card else shown

    def _find(self, name: str | None) -> tuple[LoadedAdapter, RowPredictor]:
        if name is None:
            raise UnknownAdapterError(
                f"Exports have no answer without an adapter. Name one of {', '.join(self._known)}."
            )
        if name not in self._known:
            raise UnknownAdapterError(f"No adapter is called {name[:80]!r}: {did_you_mean(name[:80], self._known)}")
        return self._known[name]

    def stats(self) -> BankStats:
        """How many adapters there are; all are in memory."""
        return BankStats(known=len(self._known), resident=len(self._known), evictions=0)

    def predict(
        self,
        requests: Iterable[Request | Mapping[str, Any]],
        faults: dict[int, UserError] | None = None,
        observed: Observed | None = None,
    ) -> list[dict[str, Any]]:
        """Answers in the order of the requests; arguments and answers are those of a bank."""
        faults = {} if faults is None else faults
        parsed = requests_of(requests)

        def task_of(request: Request) -> InferenceTask:
            adapter, predictor = self._find(request.adapter)
            if request.task not in (None, predictor.task.name):
                raise SettingsError(
                    f"task {request.task}: {adapter.name} is an adapter for {predictor.task.name}, and does no other."
                )
            return predictor.task

        def predict(pairs: Sequence[tuple[Request, Example]]) -> list[Prediction]:
            found: dict[int, Prediction] = {}
            by_name: dict[str, list[int]] = {}
            for number, (request, _) in enumerate(pairs):
                by_name.setdefault(str(request.adapter), []).append(number)
            for name, numbers in by_name.items():
                adapter, predictor = self._known[name]
                encoded, predictions = predictor.encode_and_predict([pairs[number][1] for number in numbers])
                found.update(zip(numbers, predictions, strict=True))
                if observed is not None:
                    seen = observe(predictor.task, predictions, encoded, predictor.tokenizer)
                    observed.extend((adapter, one) for one in seen)
            return [found[number] for number in range(len(pairs))]

        answers = answer(parsed, task_of, predict, faults.__setitem__)
        for request, given in zip(parsed, answers, strict=True):
            given["adapter"] = request.adapter
            if request.adapter in self._known:
                given["version"] = self._known[request.adapter][0].version
        return answers

    def router(self) -> None:
        """None: a router reads the base's own vectors."""

    def moved(self) -> list[str]:
        """None: folders are read at the start alone."""
        return []

    def unload(self, name: str) -> None:
        """Forget an adapter. Raises UnknownAdapterError."""
        self._find(name)
        self._known = {known: one for known, one in self._known.items() if known != name}

    # what only a bank of artifacts can do -----------------------------------------------------------------------------

    def generate(self, requests: Iterable[Request | Mapping[str, Any]], *_: Any, **__: Any) -> NoReturn:
        """Raises BankError."""
        raise BankError("Exports to ONNX do not generate.")

    def explain(self, request: Request | Mapping[str, Any], **_: Any) -> NoReturn:
        """Raises BankError."""
        raise BankError("Exports are not explained. Explain the artifact that was exported.")

    def load(self, name: str, folder: str | Path, **_: Any) -> NoReturn:
        """Raises BankError."""
        raise BankError(FIXED)

    def reload(self, name: str) -> NoReturn:
        """Raises BankError."""
        raise BankError(FIXED)

    def rollback(self, name: str) -> NoReturn:
        """Raises BankError."""
        raise BankError(FIXED)

    def load_router(self, folder: str | Path) -> NoReturn:
        """Raises BankError."""
        raise BankError("A router reads the vectors of a base model, which exports lack.")

    def follow_router(self) -> None:
        """None: there is no router."""

    def unload_router(self) -> NoReturn:
        """Raises BankError."""
        raise BankError("There is no router.")
