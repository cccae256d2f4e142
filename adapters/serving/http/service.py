"""The state of one server: its bank, the batcher before it, and its status."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import UserError
from adapters.core.memory import release_fragmented_memory
from adapters.serving.http.adapter_poller import AdapterPoller
from adapters.serving.http.auth import Tokens
from adapters.serving.http.batcher import Answers, Batcher, Job, JobSlice
from adapters.serving.http.drift import Drift
from adapters.serving.http.explainer import Explainer
from adapters.serving.http.generator import Generator
from adapters.serving.http.masking import masked_values
from adapters.serving.http.refusal import Refusal, busy, named, shown, unanswered
from adapters.serving.http.request_parser import RequestParser
from adapters.serving.http.schema import GenerateRequest
from adapters.serving.http.settings import RUNTIMES, Settings
from adapters.serving.http.telemetry import RequestLog, ServerMetrics
from adapters.tasks.base.requests import Request

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

    from adapters.serving.bank.answering import Observed
    from adapters.serving.bank.bank import AdapterBank
    from adapters.serving.bank.served_bank import ServedBank

WARMING, READY, DRAINING = "warming", "ready", "draining"
MAX_THREADS = 4
TRIM_SECONDS = 30.0
"""How often fragmented memory is returned to the system, which takes some milliseconds."""
WARM_UP_TEXTS = ("Warm.", "A text to warm up with that has a few more words than the other one.")


class Service:
    """What the routes of one application share."""

    def __init__(self, settings: Settings, tokens: Tokens | None = None) -> None:
        """Args:
        settings: of the server.
        tokens: that clients must send. Default: those of the settings and the environment.
        """
        settings.check()
        self.settings = settings
        self.tokens = Tokens.of(settings) if tokens is None else tokens
        self.root = None if settings.adapter_root is None else Path(settings.adapter_root).resolve()
        self.metrics = ServerMetrics()
        self.parser = RequestParser(settings)
        self.batcher = Batcher(self._predict, settings, self._count_batch)
        self.generator = Generator(settings, self.metrics, self.without_root)
        self.explainer = Explainer(settings, self.without_root)
        self.loading = ThreadPoolExecutor(1, "loading")
        self.drift = Drift(settings, self.metrics)
        self.poller = AdapterPoller(settings.watch, self._count_adapters)
        self.bank: ServedBank | None = None
        self.on_start: list[Callable[[AdapterBank], None]] = []
        """Called with the bank before the server is ready: what applications open."""
        self.on_close: list[Callable[[], None]] = []
        """Called when the requests that were admitted have been answered, and nothing else runs."""
        self.status = WARMING
        self.stopping = asyncio.Event()
        self.trimmed = time.monotonic()

    # start and end ----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the base, load the adapters, warm up, and start to answer. Raises UserError. Takes seconds."""
        if self.settings.runtime != RUNTIMES[0]:
            self._open_exports()
            return
        from adapters.core.processes import use_all_cores
        from adapters.models.devices import choose_device, choose_dtype, describe
        from adapters.serving.bank.bank import AdapterBank

        settings = self.settings
        device = choose_device(settings.device)
        chosen = describe(device, choose_dtype(settings.dtype, device), requested=settings.device)
        logging.getLogger("adapters.serving").info(chosen)
        use_all_cores()
        threads = self._share_cores(on_cpu=device.type == "cpu")
        bank = AdapterBank(
            settings.base,
            capacity=settings.capacity,
            batch_tokens=settings.max_batch_tokens,
            device=settings.device,
            dtype=settings.dtype,
            adapter_root=self.root,
            plugin_dirs=settings.plugin_dir,
        )
        for name, folder in settings.adapters().items():
            bank.load(name, folder if self.root is None else with_its_link(folder, self.root))
        if settings.router is not None:
            router = Path(settings.router)
            bank.load_router(router if self.root is None else with_its_link(router, self.root))
        self.start(bank, threads)

    def _open_exports(self) -> None:
        """As `open`, with exports, and without torch."""
        from adapters.core.environment import require_libraries
        from adapters.core.processes import cores
        from adapters.serving.bank.export_bank import ExportBank

        require_libraries("--runtime onnx", ("onnxruntime",), "export")
        settings = self.settings
        threads = settings.threads or min(max(cores() // 2, 1), MAX_THREADS)
        each = max(1, cores() // threads)
        logging.getLogger("adapters.serving").info(f"ONNX Runtime on the CPU, {threads} × {each} threads")
        bank = ExportBank(settings.adapters(), threads=each, plugin_dirs=settings.plugin_dir)
        self._warm_up(bank)
        self._answer_with(bank, threads)

    def _share_cores(self, *, on_cpu: bool) -> int:
        """The number of threads that run batches; each thread's operations get its share of the cores.

        Threads that each run a batch wait for one another less often than threads that share every operation.
        """
        import torch

        cores = torch.get_num_threads()
        threads = self.settings.threads or (min(max(cores // 2, 1), MAX_THREADS) if on_cpu else 1)
        torch.set_num_threads(max(1, cores // threads))
        return threads

    def start(self, bank: AdapterBank, threads: int = 1) -> None:
        """Warm a bank up, open the applications on it, then answer with it, in a number of threads."""
        self._warm_up(bank)
        for opened in self.on_start:
            opened(bank)
        self._answer_with(bank, threads)

    def _warm_up(self, bank: ServedBank) -> None:
        bank.predict([Request(name, text) for name in (None, *bank.names()) for text in WARM_UP_TEXTS])

    def _answer_with(self, bank: ServedBank, threads: int) -> None:
        self.bank = bank
        self.metrics.count_adapters(bank)
        self.batcher.start(threads)
        self.generator.start(bank, threads)
        self.explainer.start()
        self.drift.start()
        self.poller.start(bank)
        if self.status == WARMING:
            self.status = READY

    def open_in_background(self, opened: Callable[[BaseException | None], None]) -> threading.Thread:
        """Run `open` in a thread, which then calls `opened` with the exception of a failure, or None."""

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
        """Admit no further requests; those that were admitted are still answered."""
        self.status = DRAINING
        self.stopping.set()

    def close(self) -> None:
        """Answer the requests that wait, then end the threads. Blocks."""
        self.status = DRAINING
        self.poller.close()
        self.batcher.close()
        self.generator.close()
        self.explainer.close()
        self.loading.shutdown()
        self.drift.close()
        for closed in self.on_close:
            closed()

    def ready_bank(self) -> ServedBank:
        """The bank. Raises Refusal if the server is not ready."""
        if self.bank is None or self.status != READY:
            doing = "it loads its base and adapters" if self.status == WARMING else "it is about to stop"
            raise busy(self.status, f"The server is {self.status}.", found=doing)
        return self.bank

    # answers ----------------------------------------------------------------------------------------------------------

    def _predict(self, requests: Sequence[Request]) -> Answers:
        assert self.bank is not None
        faults: dict[int, UserError] = {}
        observed: Observed | None = [] if self.drift.counts_answers else None
        answers = self.bank.predict(requests, faults, observed)
        self.drift.take(observed or ())
        self.metrics.count_routed(answers, faults.values())
        if self.root is not None:
            for number in faults:
                answers[number]["error"] = self.without_root(answers[number]["error"])
        return answers, faults

    def _count_batch(self, batch: Sequence[JobSlice[Request]], seconds: float) -> None:
        assert self.bank is not None
        answered = [pair for part in batch for pair in zip(part.requests, part.answers, strict=True)]
        adapters = [answer.get("adapter", request.adapter) for request, answer in answered]
        tokens = sum(sum(part.job.sizes[part.begin : part.end]) for part in batch)
        self.metrics.count_batch(adapters, tokens / self.settings.max_batch_tokens, seconds, self.bank)
        self.count_waiting()
        now = time.monotonic()
        if now - self.trimmed > TRIM_SECONDS:
            self.trimmed = now
            release_fragmented_memory()

    def count_waiting(self) -> None:
        """Count the texts that wait."""
        self.metrics.queue.set(self.batcher.waiting + self.generator.batcher.waiting)

    def seconds(self, request: HttpRequest) -> float:
        """A request's time limit: the client's, at most the server's. Raises Refusal."""
        most, header = self.settings.timeout_ms / 1000, request.headers.get("x-timeout-ms")
        if header is None:
            return most
        if not (header.isascii() and header.isdigit() and len(header) <= 9 and int(header)):
            raise Refusal(
                422,
                "shape",
                "X-Timeout-Ms: not a number of milliseconds.",
                expected="a whole number, at least 1",
                found=shown(header),
            )
        return min(most, int(header) / 1000)

    async def predict(
        self, requests: Sequence[Request], seconds: float, gone: asyncio.Future[Any] | None, log: RequestLog
    ) -> Job[Request]:
        """Answer requests. Raises Refusal, also if none of them can be answered.

        Args:
            requests: of one client.
            seconds: time limit.
            gone: done when the client has disconnected.
            log: of the HTTP request.
        """
        self.log_texts(requests, log)
        job = await self.batcher.submit(requests, seconds, gone)
        log.fields |= {"wait_ms": _ms(job.wait), "model_ms": _ms(job.model), "batch_rows": job.rows}
        timing = f"wait;dur={_ms(job.wait)}, model;dur={_ms(job.model)}"
        log.headers += [(b"server-timing", timing.encode()), (b"x-batch-rows", str(job.rows).encode())]
        if len(job.faults) == len(requests):
            expected = "inputs that fit the adapter's task"
            refusal = unanswered(job.answers, [*job.faults.values()], requests[0].inputs, expected)
            refusal.body["answers"] = job.answers
            raise refusal
        return job

    def generation_request(self, given: GenerateRequest, log: RequestLog) -> Request:
        """The request for a text to be written.

        Raises Refusal: the server is not ready, its base cannot write, the queue is full, or the adapter is unknown.
        """
        bank, request = self.ready_bank(), given.request()
        self.log_texts([request], log)
        if not bank.generates:
            raise Refusal(
                422,
                "base",
                f"{bank.base.name} has no language-model head here, so it cannot generate.",
                expected="a server with a causal base and --runtime torch",
                found=f"a base of kind {bank.base.kind}, --runtime {self.settings.runtime}",
            )
        self.generator.check_room()
        if request.adapter is not None:
            with named(request.adapter):
                bank.info(request.adapter)
        return request

    def log_texts(self, requests: Sequence[Request], log: RequestLog) -> None:
        """Add the number of texts to a log line; with `--log_texts` the texts as well, personal data masked."""
        if self.settings.log_texts:  # JSON values, or a TooLongError
            log.fields["inputs"] = [masked_values(request.inputs) for request in requests]
        log.fields["texts"] = len(requests)

    async def in_background(self, work: Callable[[], Any]) -> Any:
        """Run something slow in a thread, one after another."""
        return await asyncio.get_running_loop().run_in_executor(self.loading, work)

    def _count_adapters(self) -> None:
        if self.bank is not None:
            self.metrics.count_adapters(self.bank)

    def without_root(self, text: str) -> str:
        """A message without the root's path."""
        return text if self.root is None else text.replace(f"{self.root}/", "").replace(str(self.root), "the root")


@asynccontextmanager
async def hang_up(request: HttpRequest) -> AsyncIterator[asyncio.Future[Any]]:
    """While a request is answered: a future that is done when its client has disconnected."""
    await request.body()  # else what is received next would be of the body
    gone = asyncio.ensure_future(request.receive())
    try:
        yield gone
    finally:
        gone.cancel()


def with_its_link(folder: Path, root: Path) -> Path:
    """A folder without links, but for its own if that lies below the root: the server can see it move."""
    above = folder.parent.resolve()
    if folder.is_symlink() and (above / folder.name).is_relative_to(root):
        return above / folder.name
    return folder.resolve()


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
