"""`POST /v1/generate`: texts of different clients written in shared batches, by threads of their own.

A text that comes while others are written joins them between two tokens, where there is room and its adapter is in
memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, MutableMapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from adapters.core.errors import UserError
from adapters.models.continuation import Sampling
from adapters.serving.http.batcher import Answers, Batch, Batcher, JobSlice
from adapters.serving.http.limits import Message, Receive, Send
from adapters.serving.http.refusal import Refusal, unanswered
from adapters.serving.http.settings import Settings
from adapters.serving.http.telemetry import RequestLog, ServerMetrics
from adapters.serving.http.token_estimate import tokens
from adapters.tasks.base.requests import Request

if TYPE_CHECKING:
    from adapters.serving.bank.served_bank import ServedBank


class PendingText:
    """A text while it is written: filled by a thread of the generator, read in the event loop.

    Attributes:
        new: text that has not been read. A client that reads slowly finds more of it at a time.
        answer: the whole answer, once the text is complete.
        fault: why there is none.
        changed: set when there is something to read.
        begun: whether some text has been written.
        left: whether nobody waits for the text any more.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()
        self.new = ""
        self.answer: Mapping[str, Any] | None = None
        self.fault: UserError | None = None
        self.begun = self.left = False

    def add(self, text: str) -> bool:
        """Take a new part of the text; returns whether to go on. Called in a thread of the generator."""
        if text:
            self.begun = True
            self._soon(self._add, text)
        return not self.left

    def finish(self, answer: Mapping[str, Any], fault: UserError | None) -> None:
        """Take the answer. Called in a thread of the generator."""
        self._soon(self._end, answer, fault)

    def _soon(self, work: Callable[..., None], *given: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits in it
            self.loop.call_soon_threadsafe(work, *given)

    def _add(self, text: str) -> None:
        self.new += text
        self.changed.set()

    def _end(self, answer: Mapping[str, Any], fault: UserError | None) -> None:
        self.answer, self.fault = answer, fault
        self.changed.set()


@dataclass(frozen=True, kw_only=True)
class GenerationRequest(Request):
    """A text to continue, how, and the draft that receives it."""

    sampling: Sampling
    draft: PendingText

    @property
    def size(self) -> int:
        """Approximate number of tokens when it is complete."""
        return tokens(self.inputs) + self.sampling.max_new_tokens


class Generator:
    """Writes texts for clients, in batches of its own, so that predictions do not wait for them."""

    def __init__(self, settings: Settings, metrics: ServerMetrics, shown: Callable[[str], str]) -> None:
        """Args:
        settings: bounds of a batch and of the queue.
        metrics: count what is written.
        shown: an error's message as clients may see it.
        """
        self.metrics, self.shown = metrics, shown
        self.batcher = Batcher(self._generate, settings, self._count, size=lambda request: request.size)
        self.bank: ServedBank | None = None
        self.log = logging.getLogger("adapters.serving")

    def start(self, bank: ServedBank, threads: int) -> None:
        """Start to write with a bank, in a number of threads."""
        self.bank = bank
        self.batcher.start(threads)

    def close(self) -> None:
        """Write the texts that wait, then end the threads. Blocks."""
        self.batcher.close()

    def check_room(self) -> None:
        """Raises Refusal if the queue is full."""
        if self.batcher.room <= 0:
            raise self.batcher.full()

    async def answer(
        self, request: Request, sampling: Sampling, seconds: float, gone: asyncio.Future[Any] | None, log: RequestLog
    ) -> Mapping[str, Any]:
        """The answer to a request. The arguments and what is raised are those of `parts`."""
        async with aclosing(self.parts(request, sampling, seconds, gone, log)) as parts:
            every = [part async for part in parts]
        answer = every[-1]
        assert not isinstance(answer, str)
        return answer

    async def parts(
        self, request: Request, sampling: Sampling, seconds: float, gone: asyncio.Future[Any] | None, log: RequestLog
    ) -> AsyncGenerator[str | Mapping[str, Any], None]:
        """The new parts of a text as they are written, then the answer.

        Args:
            request: the text, and its adapter.
            sampling: how it is continued.
            seconds: time limit.
            gone: done when the client has disconnected.
            log: of the HTTP request.

        Raises:
            Refusal: there is no room, the time is over, the client has disconnected, or it cannot be written.
        """
        draft = PendingText()
        row = GenerationRequest(request.adapter, request.inputs, request.id, sampling=sampling, draft=draft)
        job = asyncio.create_task(self.batcher.submit([row], seconds, gone))

        def ended(job: asyncio.Task[Any]) -> None:
            if not job.cancelled():
                job.exception()  # asyncio would report one that nobody waits for
            draft.changed.set()

        job.add_done_callback(ended)
        try:
            while draft.answer is None:
                await draft.changed.wait()
                draft.changed.clear()
                if draft.answer is None and job.done():
                    job.result()
                    raise AssertionError("a batch ended without the answer to one of its texts")
                if draft.new:
                    part, draft.new = draft.new, ""
                    yield part
            if draft.new:
                yield draft.new
            if draft.fault is not None:
                expected = "a text, and an adapter that generates"
                raise unanswered([draft.answer], [draft.fault], request.inputs, expected)
            log.fields["tokens"] = draft.answer["output"]["completion_tokens"]
            yield draft.answer
        finally:
            draft.left = True
            job.cancel()

    # in the generator's threads ---------------------------------------------------------------------------------------

    def _generate(self, batch: Batch[GenerationRequest]) -> Answers:
        assert self.bank is not None
        if any(one.draft.begun for one in batch):  # their batch failed midway, and no text may begin twice
            raise RuntimeError("not generated again: the exception before this one says why")
        faults: dict[int, UserError] = {}

        def more(may_join: Callable[[Request], bool]) -> tuple[Request, Sampling] | None:
            request = batch.take(may_join)
            return None if request is None else (request, request.sampling)

        def on_complete(number: int, answer: dict[str, Any]) -> None:
            fault = faults.get(number)
            if fault is not None:
                answer["error"] = self.shown(answer["error"])
            batch[number].draft.finish(answer, fault)
            batch.finish(number, answer, fault)

        try:
            answers = self.bank.generate(
                [*batch],
                [one.sampling for one in batch],
                faults=faults,
                on_text=lambda number, text: batch[number].draft.add(text),
                on_complete=on_complete,
                more=more,
            )
        except Exception:
            self.log.exception("a batch of texts failed")
            raise
        return answers, faults

    def _count(self, batch: Sequence[JobSlice[GenerationRequest]], seconds: float) -> None:
        assert self.bank is not None
        rows = [(one, answer) for part in batch for one, answer in zip(part.requests, part.answers, strict=True)]
        written = [answer.get("output", {}).get("completion_tokens", 0) for _, answer in rows]
        self.metrics.count_texts([one.adapter for one, _ in rows], self.bank, written)


class GenerationStream(Response):
    """A text as lines of JSON while it is written: `{id, adapter, text}` for each new part, then the answer."""

    media_type = "application/x-ndjson"

    def __init__(
        self, generator: Generator, request: Request, sampling: Sampling, seconds: float, log: RequestLog
    ) -> None:
        """Args: the generator, and what `Generator.parts` needs."""
        super().__init__()
        self.generator, self.request, self.sampling, self.seconds, self.log = generator, request, sampling, seconds, log
        del self.headers["content-length"]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Send the lines. Raises Refusal as long as there is no text; later the last line says why it ends."""
        begun, names = False, {"id": self.request.id, "adapter": self.request.adapter}
        gone = asyncio.ensure_future(receive())
        try:
            async with aclosing(
                self.generator.parts(self.request, self.sampling, self.seconds, gone, self.log)
            ) as parts:
                async for part in parts:
                    if not begun:
                        begun = True
                        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    await send(_line({**names, "text": part} if isinstance(part, str) else part))
        except Refusal as refusal:
            if not begun or refusal.status == 499:
                raise
            self.generator.metrics.count_refusal(refusal, self.log)
            await send(_line({**names, "error": str(refusal)}))
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _line(value: Mapping[str, Any]) -> Message:
    """A line of JSON, as a part of a body."""
    return {"type": "http.response.body", "body": orjson.dumps(value) + b"\n", "more_body": True}
