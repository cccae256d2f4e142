"""Bounds on the size and duration of requests, checked while they arrive, before anything is parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from adapters.serving.http.refusal import Refusal, busy, disconnected
from adapters.serving.http.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

STREAM = "/v1/predict/stream"
MAX_BODIES = 64
"""Bodies of the largest size in memory at a time, all clients together."""
SMALL = 65_536
"""Bytes that are in transit at once: a body of this size may be left unread."""
DISCARD_SECONDS = 2.0
"""Seconds that a refused client may continue to send before its connection is closed, so that it reads the answer."""


class Bodies:
    """The bodies of requests while they arrive, within bounds that they share."""

    def __init__(self, settings: Settings) -> None:
        """Args: the bounds."""
        self.settings, self.bytes_in_memory = settings, 0

    async def read(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes:
        """A whole body. Raises Refusal if it is too large or too slow, or the client has disconnected."""
        body, found = Body(self, receive, _declared(scope)[0], streams=False), b""
        try:
            while not body.complete:
                message = await body.receive()
                if message["type"] == "http.disconnect":
                    raise disconnected()
                found += message.get("body", b"")
            return found
        finally:
            self.bytes_in_memory -= body.size


class Limits:
    """ASGI middleware: bounds the size and duration of bodies, and the time that answers may stay unread."""

    def __init__(self, app: App, settings: Settings) -> None:
        """Args: the application, and the bounds."""
        self.app, self.settings, self.bodies = app, settings, Bodies(settings)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request. Raises Refusal if it is too large or too slow."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if sum(name == b"host" for name, _ in scope["headers"]) > 1:  # RFC 9112, 3.2: they could mean two servers
            raise Refusal(400, "host", "The request has two Host headers.", expected="one", found="several")
        declared, chunked = _declared(scope)
        body = Body(self.bodies, receive, declared, streams=scope["path"] == STREAM)
        seconds = self.settings.read_timeout_s

        async def sent(message: Message) -> None:
            try:
                async with asyncio.timeout(seconds):
                    await send(message)
            except TimeoutError:
                raise Refusal(499, "slow_reader", "The client does not read its answer.") from None

        try:
            await self.app(scope, body.receive, sent)
        finally:
            self.bodies.bytes_in_memory -= body.size
            scope["unread"] = not body.complete and (chunked or declared > SMALL)


class Body:
    """One request's body while it arrives."""

    def __init__(self, bodies: Bodies, receive: Receive, declared: int, *, streams: bool) -> None:
        """Args:
        bodies: all that arrive.
        receive: ASGI's.
        declared: size by the headers.
        streams: whether it may be of any size, and each message has its own time.
        """
        self.bodies, self.read, self.declared, self.streams = bodies, receive, declared, streams
        self.size = 0
        self.complete = False
        self.deadline: float | None = None

    def check(self, size: int) -> None:
        """Raises Refusal if a body of that size is too large."""
        most = self.bodies.settings.max_body_bytes
        if size > most:
            raise Refusal(
                413,
                "body",
                "The body is too large. Send fewer texts at a time, or use the stream.",
                expected=f"at most {most:,} bytes",
                found=f"{size:,} bytes or more",
            )

    async def receive(self) -> Message:
        """The next message. Raises Refusal if the body is too large, or does not arrive."""
        if self.complete:
            return await self.read()
        if not self.streams:
            self.check(self.declared)  # not before: who has no token learns that first
        seconds = self.bodies.settings.read_timeout_s
        now = asyncio.get_running_loop().time()
        if self.deadline is None or self.streams:  # in a stream each message has its own; so have lines
            self.deadline = now + seconds
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.read()
        except TimeoutError:
            raise Refusal(
                408,
                "slow",
                "The body did not arrive in time.",
                expected=f"all of it within {seconds:g} s",
                found=f"{self.size:,} bytes",
            ) from None
        self.complete = not message.get("more_body", False)
        if not self.streams and message["type"] == "http.request":
            self._store(len(message.get("body", b"")))
        return message

    def _store(self, size: int) -> None:
        self.size += size
        self.bodies.bytes_in_memory += size
        self.check(self.size)
        if self.bodies.bytes_in_memory > MAX_BODIES * self.bodies.settings.max_body_bytes:
            raise busy("bodies", "Too many large requests at the same time.")


def _declared(scope: MutableMapping[str, Any]) -> tuple[int, bool]:
    """The body's size in the headers, 0 if absent; and whether the body is chunked."""
    size, chunked = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            size = int(value)
        chunked = chunked or name == b"transfer-encoding"
    return size, chunked


async def respond(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, unread: Receive | None = None
) -> None:
    """Send a complete answer.

    Args:
        send: ASGI's.
        status: HTTP status.
        headers: besides the body's length.
        body: the answer.
        unread: receives what the client is still sending. A client that reads only after it has sent everything would
            lose the answer if the connection were closed at once; so the rest is read for a while, and discarded.
    """
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    if unread is not None:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": unread is not None})
    if unread is not None:
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while (await unread()).get("more_body", False):
                    pass
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})
