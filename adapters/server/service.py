"""One server's state: its bank, the queue before it, and how far it is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.errors import ArtifactError, BankError, ModelError, SettingsError, UnknownAdapterError, UserError
from adapters.memory import give_holes_back
from adapters.requests import Request
from adapters.server import Refusal, Settings, busy
from adapters.server.collector import Answers, Collector, Job, Part
from adapters.server.observing import Metrics, Told
from adapters.server.schema import Folder, Reader, TooLongError, shown
from adapters.server.tokens import Tokens

if TYPE_CHECKING:
    from adapters.bank import AdapterBank

WARMING, READY, DRAINING = "warming", "ready", "draining"
MOST_THREADS = 4
TIDY_S = 30.0
"""Seconds after which holes in the memory are given back; it takes some milliseconds."""
WARM_TEXTS = ("Warm.", "A text to warm up with, of some more words than the other one has.")


class Service:
    """All that the routes of one application share."""

    def __init__(self, settings: Settings, tokens: Tokens | None = None) -> None:
        """Args:
        settings: of the server.
        tokens: asked of clients. Default: those of the settings and the environment.
        """
        settings.check()
        self.settings = settings
        self.tokens = Tokens.of(settings) if tokens is None else tokens
        self.root = None if settings.adapter_root is None else Path(settings.adapter_root).resolve()
        self.metrics = Metrics()
        self.reader = Reader(settings)
        self.collector = Collector(self._answer, settings, self._seen)
        self.loading = ThreadPoolExecutor(1, "loading")
        self.bank: AdapterBank | None = None
        self.status = WARMING
        self.stopping = asyncio.Event()
        self.tidied = time.monotonic()

    # coming and going -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the base, load the adapters, warm up, and begin to answer. Raises UserError; takes seconds."""
        from adapters.bank import AdapterBank
        from adapters.processes import use_all_cores

        given = self.settings
        use_all_cores()
        threads = self._share_cores()
        bank = AdapterBank(
            given.base, capacity=given.capacity, batch_pieces=given.max_batch_pieces, dtype=given.dtype,
            device=given.device, adapter_root=self.root, plugin_dirs=given.plugin_dir,
        )  # fmt: skip
        for name, folder in given.adapters().items():
            bank.load(name, folder if self.root is None else folder.resolve())
        self.take(bank, threads)

    def _share_cores(self) -> int:
        """How many batches are answered at a time; each thread's part of a forward pass gets its share of the cores.

        Threads of their own are less often kept waiting by others than threads that share every operation.
        """
        import torch

        cores = torch.get_num_threads()
        usual = min(max(cores // 2, 1), MOST_THREADS) if self.settings.device == "cpu" else 1
        threads = self.settings.threads or usual
        torch.set_num_threads(max(1, cores // threads))
        return threads

    def take(self, bank: AdapterBank, threads: int = 1) -> None:
        """Begin to answer with a bank, once it is warm, so many batches at a time."""
        bank.predict([Request(name, text) for name in (None, *bank.residency.known) for text in WARM_TEXTS])
        self.bank = bank
        self.metrics.bank(bank)
        self.collector.start(threads)
        if self.status == WARMING:
            self.status = READY

    def open_aside(self, opened: Callable[[BaseException | None], None]) -> threading.Thread:
        """`open` in a thread of its own; `opened` is told when it is done, or why it cannot be."""

        def work() -> None:
            try:
                self.open()
            except BaseException as error:
                opened(error)
            else:
                opened(None)

        thread = threading.Thread(target=work, name="opening", daemon=True)
        thread.start()
        return thread

    def drain(self) -> None:
        """Take in nothing new; what was admitted is still answered."""
        self.status = DRAINING
        self.stopping.set()

    def close(self) -> None:
        """Answer what waits, then end the threads. Blocks."""
        self.status = DRAINING
        self.collector.close()
        self.loading.shutdown()

    def there(self) -> AdapterBank:
        """The bank. Raises Refusal where it is not ready."""
        if self.bank is None or self.status != READY:
            raise busy(self.status, f"The server is {self.status}.")
        return self.bank

    # answering --------------------------------------------------------------------------------------------------------

    def _answer(self, requests: Sequence[Request]) -> Answers:
        assert self.bank is not None
        faults: dict[int, UserError] = {}
        answers = self.bank.predict(requests, faults)
        if self.root is not None:
            for number in faults:
                answers[number]["error"] = self.hidden(answers[number]["error"])
        return answers, faults

    def _seen(self, batch: Sequence[Part], seconds: float) -> None:
        assert self.bank is not None
        adapters = [request.adapter for part in batch for request in part.requests]
        pieces = sum(sum(part.job.sizes[part.begin : part.end]) for part in batch)
        self.metrics.batch(adapters, pieces / self.settings.max_batch_pieces, seconds, self.bank)
        self.metrics.queue.set(self.collector.waiting)
        now = time.monotonic()
        if now - self.tidied > TIDY_S:
            self.tidied = now
            give_holes_back()

    def seconds(self, header: str | None) -> float:
        """How long a request may take: what its client asks for, at most what the server allows. Raises Refusal."""
        most = self.settings.timeout_ms / 1000
        if header is None:
            return most
        if not (header.isascii() and header.isdigit() and len(header) <= 9 and int(header)):
            raise Refusal(
                422, "shape", "X-Timeout-Ms: not a number of milliseconds.", expected="a whole number from 1 on",
                found=shown(header),
            )  # fmt: skip
        return min(most, int(header) / 1000)

    async def predict(
        self, requests: Sequence[Request], seconds: float, gone: asyncio.Future[Any] | None, told: Told
    ) -> Job:
        """Answers to requests. Raises Refusal, also where not one of them can be answered."""
        if self.settings.log_texts:
            told.fields["inputs"] = [request.inputs for request in requests]  # JSON, or an error that says itself
        told.fields["texts"] = len(requests)
        job = await self.collector.ask(requests, seconds, gone)
        told.fields |= {"wait_ms": _ms(job.wait), "model_ms": _ms(job.model), "batch_rows": job.rows}
        timing = f"wait;dur={_ms(job.wait)}, model;dur={_ms(job.model)}"
        told.headers += [(b"server-timing", timing.encode()), (b"x-batch-rows", str(job.rows).encode())]
        if len(job.faults) == len(requests):
            raise _nothing(job)
        return job

    # loading ----------------------------------------------------------------------------------------------------------

    async def aside(self, work: Callable[[], Any]) -> Any:
        """Something slow, done in a thread of its own, one after another."""
        return await asyncio.get_running_loop().run_in_executor(self.loading, work)

    def load(self, name: str, given: Folder) -> tuple[dict[str, Any], bool]:
        """Load an adapter, or a new generation of one; what is told of it, and whether it is new. Raises Refusal."""
        from adapters.staging import Source

        bank = self.there()
        if self.root is None:
            raise Refusal(
                403, "root", "Loading over HTTP is off. Start the server with --adapter_root FOLDER.",
                expected="a server with --adapter_root", found="one without",
            )  # fmt: skip
        source = Source(
            folder=self._below(given.folder), require_card=given.require_card, task=given.task,
            labels=None if given.labels is None else tuple(given.labels),
        )  # fmt: skip
        try:
            staged = bank.stage.read(source)
            new = name not in bank.residency.known
            if new:
                adapter = bank.residency.add(name, source, staged, pin=given.pin)
            else:
                adapter = bank.residency.replace(name, source, staged)
                bank.pin(name, given.pin)
        except (ArtifactError, ModelError, SettingsError) as error:
            raise Refusal(
                422, "folder", self.hidden(str(error)), expected="an adapter of this base, below --adapter_root",
                found=shown(given.folder),
            ) from None  # fmt: skip
        except BankError as error:
            raise Refusal(
                409, "bank", str(error), expected="a name that is free, and room", found=shown(name)
            ) from None
        self.metrics.bank(bank)
        return self.told(adapter.told()), new

    def _below(self, folder: str) -> Path:
        """A folder, links followed, of which it is still to be seen whether it lies below the root. Raises Refusal."""
        assert self.root is not None
        try:
            place = (self.root / folder).resolve()
            if place.is_relative_to(self.root):
                return place
            error: Exception = ValueError("it lies elsewhere, or links there")
        except (OSError, ValueError, RuntimeError) as wrong:  # a NUL, a name too long, links in a ring
            error = wrong
        why = error.strerror if isinstance(error, OSError) else self.hidden(str(error))
        raise Refusal(
            422, "folder", f"{shown(folder)} is no folder below --adapter_root ({why}).",
            expected="a folder below --adapter_root", found=shown(folder),
        )  # fmt: skip

    def unload(self, name: str) -> None:
        """Forget an adapter. Raises Refusal."""
        bank = self.there()
        try:
            bank.unload(name)
        except UnknownAdapterError as error:
            raise unknown(error, name) from None
        self.metrics.bank(bank)

    def card(self, name: str) -> dict[str, Any]:
        """What is known of an adapter, its card with it. Raises Refusal."""
        try:
            adapter = self.there().residency.find(name)
        except UnknownAdapterError as error:
            raise unknown(error, name) from None
        return {**self.told(adapter.told()), "card": without_paths(adapter.card)}

    def told(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """What is told of an adapter, its folder as it lies below the root, where there is one."""
        folder = str(told["folder"])
        if self.root is not None:
            folder = Path(folder).relative_to(self.root).as_posix()
        return {**told, "folder": folder}

    def hidden(self, text: str) -> str:
        """A message without the path of the root."""
        return text if self.root is None else text.replace(f"{self.root}/", "").replace(str(self.root), "the root")


def unknown(error: UnknownAdapterError, name: str) -> Refusal:
    """A refusal of a name that no adapter has."""
    return Refusal(404, "adapter", str(error), expected="the name of an adapter", found=shown(name))


def without_paths(value: Any) -> Any:
    """A card with the last part alone of whatever is an absolute path in it."""
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and (value.startswith(("/", "\\\\")) or value[1:3] in (":\\", ":/")):
        return value.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return value


def _nothing(job: Job) -> Refusal:
    """What is said where not one request could be answered: by what is wrong with the first."""
    answers, errors = job.answers, list(job.faults.values())
    first = str(answers[0]["error"])
    if all(isinstance(error, UnknownAdapterError) for error in errors):
        names = ", ".join(sorted({shown(answer["adapter"]) for answer in answers}))
        refusal = Refusal(404, "adapter", first, expected="the name of an adapter", found=names[:200])
    elif all(isinstance(error, (ArtifactError, BankError)) for error in errors):
        refusal = busy("adapter_gone", first)
    elif all(isinstance(error, TooLongError) for error in errors):
        refusal = Refusal(413, "characters", first, expected="shorter texts", found="too long ones")
    else:
        refusal = Refusal(
            422, "inputs", first, expected="inputs that the adapter's task takes", found=shown(job.requests[0].inputs)
        )
    refusal.body["answers"] = answers
    return refusal


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
