"""`POST /v1/predict/stream`: a line of JSON a request in, a line an answer out, in order and in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, MutableMapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from adapters.requests import Request
from adapters.server import Refusal
from adapters.server.limits import Receive, Send
from adapters.server.observing import Told
from adapters.server.service import Service

AHEAD = 2
"""Groups of lines that are read while one is written: the bank has always something to do."""
ROOM_SECONDS = 0.02
"""How often a group asks for room where the queue is full."""
Line = Request | Refusal


class Cutter:
    """Cuts what comes in into lines. Of a line that is too long no more is held than shows that it is."""

    def __init__(self, most: int) -> None:
        """Args: most: bytes of a line."""
        self.most, self.rest = most, bytearray()

    def feed(self, data: bytes, *, last: bool = False) -> list[bytes | None]:
        """The lines that are whole now, None for one that is too long; with `last` also what has no line break."""
        *pieces, rest = data.split(b"\n")
        if last:
            pieces, rest = [*pieces, rest], b""
        lines: list[bytes | None] = []
        for piece in pieces:
            lines.append(None if len(self.rest) + len(piece) > self.most else bytes(self.rest) + piece)
            self.rest.clear()
        self.rest += rest[: self.most + 1 - len(self.rest)]
        return lines


class Stream(Response):
    """Reads its request while it answers. Where the client reads slowly, its lines are read slowly, too."""

    media_type = "application/x-ndjson"

    def __init__(self, service: Service, told: Told) -> None:
        """Args: the server, and what is logged of the request."""
        super().__init__()
        self.service, self.told = service, told
        del self.headers["content-length"]
        self.group = max(1, min(service.settings.max_texts, service.settings.max_queue // (2 * (AHEAD + 2))))
        self.count = self.failed = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer until the client has sent all, hangs up, or the server stops."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        groups: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(AHEAD)
        reading = asyncio.create_task(self._read(receive, groups))
        group: asyncio.Task[bytes] | None = None
        try:
            while group := await groups.get():
                await send({"type": "http.response.body", "body": await group, "more_body": True})
            end = await reading
            await send({"type": "http.response.body", "body": end, "more_body": False})
        finally:
            self.told.fields |= {"texts": self.count, "errors": self.failed}
            reading.cancel()
            left = [group]
            while not groups.empty():
                left.append(groups.get_nowait())
            for task in filter(None, left):
                task.cancel()

    async def _read(self, receive: Receive, groups: asyncio.Queue[asyncio.Task[bytes] | None]) -> bytes:
        """Put groups of lines into the queue; a last line for the client where not all was read."""
        end = b""
        try:
            async for lines in self._lines(receive):
                for begin in range(0, len(lines), self.group):
                    await groups.put(asyncio.create_task(self._answers(lines[begin : begin + self.group])))
        except Refusal as refusal:
            self.told.fields["refused"] = refusal.reason
            self.service.metrics.refusals.labels(refusal.reason).inc()
            end = orjson.dumps({**refusal.body, "read": self.count}) + b"\n"
        finally:  # also behind a fault of ours: who waits for groups must not wait for ever
            await groups.put(None)
        return end

    async def _lines(self, receive: Receive) -> AsyncIterator[list[Line]]:
        """What is asked for in each piece of the body that comes in. Raises Refusal where no more is read."""
        seconds, loop = self.service.settings.read_timeout_s, asyncio.get_running_loop()
        cutter, since, more = Cutter(self.service.settings.max_body_bytes), loop.time(), True
        while more:
            message = await self._or_stop(receive())
            if message["type"] == "http.disconnect":
                raise Refusal(499, "hung_up", "The client hung up.")
            more = message.get("more_body", False)
            whole = cutter.feed(message.get("body", b""), last=not more)
            if whole:
                since = loop.time()
            elif loop.time() - since > seconds:
                raise Refusal(408, "slow", "A line did not arrive in time.", expected=f"all of it within {seconds:g} s",
                              found=f"{len(cutter.rest):,} bytes")  # fmt: skip
            yield [line for line in map(self._line, whole) if line is not None]

    async def _or_stop(self, coming: Awaitable[Any]) -> Any:
        """What comes next. Raises Refusal where the server is to stop first."""
        waiting, stop = asyncio.ensure_future(coming), asyncio.ensure_future(self.service.stopping.wait())
        try:
            await asyncio.wait([waiting, stop], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise Refusal(503, "draining", "The server is about to stop. Send the rest again.",
                              expected="them at another server", found="a server that stops")  # fmt: skip
            return waiting.result()
        finally:
            waiting.cancel()
            stop.cancel()

    def _line(self, line: bytes | None) -> Line | None:
        """The request in a line (None: too long a one), or what is wrong with it; nothing of an empty one."""
        if line is not None and not line.strip():
            return None
        self.count += 1
        try:
            if line is None:
                most = self.service.settings.max_body_bytes
                raise Refusal(413, "body", f"Line {self.count - 1} is too long: more than {most:,} bytes.")
            return self.service.reader.line(line, self.count - 1)
        except Refusal as refusal:
            refusal.body = {"id": str(self.count - 1), "adapter": None, "error": str(refusal)}
            return refusal

    async def _answers(self, lines: Sequence[Line]) -> bytes:
        """Lines of answers."""
        asked = [line for line in lines if isinstance(line, Request)]
        answers = iter(await self._asked(asked) if asked else ())
        out = [next(answers) if isinstance(line, Request) else line.body for line in lines]
        self.failed += sum("error" in answer for answer in out)
        return b"".join(orjson.dumps(answer) + b"\n" for answer in out)

    async def _asked(self, requests: Sequence[Request]) -> list[dict[str, Any]]:
        """Answers, once there is room for the requests."""
        collector = self.service.collector
        seconds = self.service.settings.timeout_ms / 1000
        while collector.room < len(requests) and not collector.closed:
            await asyncio.sleep(ROOM_SECONDS)
        try:
            return (await collector.ask(requests, seconds)).answers
        except Refusal as refusal:
            return [{"id": one.id, "adapter": one.adapter, "error": str(refusal)} for one in requests]
