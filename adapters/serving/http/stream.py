"""`POST /v1/predict/stream`: one line of JSON per request and per answer, in order and in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from adapters.serving.http.limits import Message, Receive, Send
from adapters.serving.http.refusal import Refusal, disconnected
from adapters.serving.http.service import Service
from adapters.serving.http.telemetry import RequestLog
from adapters.tasks.base.requests import Request

AHEAD = 2
"""Groups of lines that are read while one is sent, so that the bank is never idle."""
ROOM_SECONDS = 0.02
"""Seconds between two attempts of a group while the queue is full."""
Line = Request | Refusal


class LineSplitter:
    """Splits a body into lines. Of a line that is too long, no more is stored than shows that it is."""

    def __init__(self, most: int) -> None:
        """Args: most: bytes in a line."""
        self.most, self.rest = most, bytearray()

    def feed(self, data: bytes, *, last: bool = False) -> list[bytes | None]:
        """The lines that are now complete, None for one that is too long; with `last` also one without a line break."""
        *endings, rest = data.split(b"\n")
        if last:
            endings, rest = [*endings, rest], b""
        lines: list[bytes | None] = []
        for ending in endings:
            lines.append(None if len(self.rest) + len(ending) > self.most else bytes(self.rest) + ending)
            self.rest.clear()
        self.rest += rest[: self.most + 1 - len(self.rest)]
        return lines


class Stream(Response):
    """Reads its request while it answers. If the client reads slowly, its lines are read slowly too."""

    media_type = "application/x-ndjson"

    def __init__(self, service: Service, log: RequestLog) -> None:
        """Args: the server, and the request's log line."""
        super().__init__()
        self.service, self.log = service, log
        del self.headers["content-length"]
        self.group = max(1, min(service.settings.max_texts, service.settings.max_queue // (2 * (AHEAD + 2))))
        self.count = self.failed = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer until the client has sent everything or disconnects, or the server stops."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        groups: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(AHEAD)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.coming = self._next(receive)
        reading = asyncio.create_task(self._read(receive, groups))
        group: asyncio.Task[bytes] | None = None
        try:
            while group := await groups.get():
                answers = await group
                self._check_there()
                await send({"type": "http.response.body", "body": answers, "more_body": True})
            end = await reading
            self._check_there()
            await send({"type": "http.response.body", "body": end, "more_body": False})
        finally:
            self.log.fields |= {"texts": self.count, "errors": self.failed}
            reading.cancel()
            self.coming.cancel()
            left = [group]
            while not groups.empty():
                left.append(groups.get_nowait())
            for task in filter(None, left):
                task.cancel()

    def _check_there(self) -> None:
        """Raises Refusal if the client has disconnected."""
        if self.gone.done():
            raise disconnected()

    def _next(self, receive: Receive) -> asyncio.Future[Message]:
        """The next message. It is asked for before it is needed, so that a hang-up is seen while lines wait."""

        def notice(coming: asyncio.Future[Message]) -> None:
            failed = coming.cancelled() or coming.exception() is not None
            if not failed and coming.result()["type"] == "http.disconnect" and not self.gone.done():
                self.gone.set_result(None)

        coming = asyncio.ensure_future(receive())
        coming.add_done_callback(notice)
        return coming

    async def _read(self, receive: Receive, groups: asyncio.Queue[asyncio.Task[bytes] | None]) -> bytes:
        """Put groups of lines into the queue; returns a last line for the client if not all was read."""
        end = b""
        try:
            async for lines in self._lines(receive):
                for begin in range(0, len(lines), self.group):
                    await groups.put(asyncio.create_task(self._answers(lines[begin : begin + self.group])))
        except Refusal as refusal:
            self.service.metrics.count_refusal(refusal, self.log)
            end = orjson.dumps({**refusal.body, "read": self.count}) + b"\n"
        finally:  # also after a bug: the consumer of the queue must not wait forever
            await groups.put(None)
        return end

    async def _lines(self, receive: Receive) -> AsyncIterator[list[Line]]:
        """The lines of each part of the body as it arrives, until the client hangs up. Raises Refusal if no more is
        read."""
        seconds, loop = self.service.settings.read_timeout_s, asyncio.get_running_loop()
        splitter, since, more = LineSplitter(self.service.settings.max_body_bytes), loop.time(), True
        while more:
            message = await self._arrived()
            if message["type"] == "http.disconnect":
                return
            self.coming = self._next(receive)
            more = message.get("more_body", False)
            complete = splitter.feed(message.get("body", b""), last=not more)
            if complete:
                since = loop.time()
            elif loop.time() - since > seconds:
                raise Refusal(
                    408,
                    "slow",
                    "A line did not arrive in time.",
                    expected=f"all of it within {seconds:g} s",
                    found=f"{len(splitter.rest):,} bytes",
                )
            yield [line for line in map(self._parsed, complete) if line is not None]

    async def _arrived(self) -> Message:
        """The next message. Raises Refusal if the server is to stop first."""
        stop = asyncio.ensure_future(self.service.stopping.wait())
        either: list[asyncio.Future[Any]] = [self.coming, stop]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self.coming.done():
                raise Refusal(
                    503,
                    "draining",
                    "The server is about to stop. Send the rest again.",
                    expected="them at another server",
                    found="a server that is about to stop",
                )
            return self.coming.result()
        finally:
            stop.cancel()

    def _parsed(self, line: bytes | None) -> Line | None:
        """The request in a line (None: one that is too long), or the refusal of it; None for an empty line."""
        if line is not None and not line.strip():
            return None
        self.count += 1
        try:
            if line is None:
                most = self.service.settings.max_body_bytes
                raise Refusal(413, "body", f"Line {self.count - 1} is too long: more than {most:,} bytes.")
            return self.service.parser.parse_line(line, self.count - 1)
        except Refusal as refusal:
            refusal.body = {"id": str(self.count - 1), "adapter": None, "error": str(refusal)}
            return refusal

    async def _answers(self, lines: Sequence[Line]) -> bytes:
        """Lines of answers."""
        requests = [line for line in lines if isinstance(line, Request)]
        answers = iter(await self._predict(requests) if requests else ())
        out = [next(answers) if isinstance(line, Request) else line.body for line in lines]
        self.failed += sum("error" in answer for answer in out)
        return b"".join(orjson.dumps(answer) + b"\n" for answer in out)

    async def _predict(self, requests: Sequence[Request]) -> list[dict[str, Any]]:
        """Answers, as soon as there is room for the requests; errors if that takes too long."""
        batcher, loop = self.service.batcher, asyncio.get_running_loop()
        end = loop.time() + self.service.settings.timeout_ms / 1000
        while batcher.room < len(requests) and not batcher.closed and not self.gone.done() and loop.time() < end:
            await asyncio.sleep(ROOM_SECONDS)
        try:
            self._check_there()
            return (await batcher.submit(requests, end - loop.time(), self.gone)).answers
        except Refusal as refusal:
            return [{"id": one.id, "adapter": one.adapter, "error": str(refusal)} for one in requests]
