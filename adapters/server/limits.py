"""What a client may send, and how long it may take over it: checked while it comes in, before any of it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from adapters.server import Refusal, Settings, busy

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

STREAM = "/v1/predict/stream"
HELD_BODIES = 64
"""So many bodies of the largest size may be held at a time, all clients together."""
SMALL = 65_536
"""Bytes that are on their way at once: a body of so many needs no care when it is not read."""
DISCARD_SECONDS = 2.0
"""How long a refused client may go on sending before its connection is closed: so that it reads why."""


class Limits:
    """An ASGI application around another: bounds bodies in size and time, and how long answers may stay unread."""

    def __init__(self, app: App, settings: Settings) -> None:
        """Args: the application, and the bounds."""
        self.app, self.settings = app, settings
        self.held = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request. Raises Refusal where it is too large or too slow."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(self, receive, streams=scope["path"] == STREAM)
        seconds = self.settings.read_timeout_s

        async def sent(message: Message) -> None:
            try:
                async with asyncio.timeout(seconds):
                    await send(message)
            except TimeoutError:
                raise Refusal(499, "slow_reader", "The client does not fetch its answer.") from None

        declared, chunked = _declared(scope)
        try:
            if not body.streams:
                body.check(declared)
            await self.app(scope, body.receive, sent)
        finally:
            self.held -= body.size
            scope["unread"] = not body.complete and (chunked or declared > SMALL)


class _Body:
    """One request's body on its way in."""

    def __init__(self, limits: Limits, receive: Receive, *, streams: bool) -> None:
        self.limits, self.read, self.streams = limits, receive, streams
        self.size = 0
        self.complete = False
        self.deadline: float | None = None

    def check(self, size: int) -> None:
        """Raises Refusal where a body of so many bytes is too large."""
        most = self.limits.settings.max_body_bytes
        if size > most:
            raise Refusal(
                413, "body", "The body is too large. Send fewer texts at a time, or use the stream.",
                expected=f"at most {most:,} bytes", found=f"{size:,} bytes or more",
            )  # fmt: skip

    async def receive(self) -> Message:
        """The next message. Raises Refusal where the body is too large, or does not come."""
        if self.complete:
            return await self.read()
        seconds = self.limits.settings.read_timeout_s
        now = asyncio.get_running_loop().time()
        if self.deadline is None or self.streams:  # of a stream, each message has its own; lines have one, too
            self.deadline = now + seconds
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.read()
        except TimeoutError:
            raise Refusal(
                408, "slow", "The body did not arrive in time.", expected=f"all of it within {seconds:g} s",
                found=f"{self.size:,} bytes",
            ) from None  # fmt: skip
        self.complete = not message.get("more_body", False)
        if not self.streams and message["type"] == "http.request":
            self._hold(len(message.get("body", b"")))
        return message

    def _hold(self, size: int) -> None:
        self.size += size
        self.limits.held += size
        self.check(self.size)
        if self.limits.held > HELD_BODIES * self.limits.settings.max_body_bytes:
            raise busy("bodies", "Too many large requests at a time.")


def _declared(scope: MutableMapping[str, Any]) -> tuple[int, bool]:
    """The size that a request says its body has, 0 where it does not say; and whether it comes in chunks."""
    size, chunked = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            size = int(value)
        chunked = chunked or name == b"transfer-encoding"
    return size, chunked


async def respond(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, unread: Receive | None = None
) -> None:
    """Send a whole answer.

    Args:
        send: of ASGI.
        status: of HTTP.
        headers: beside the body's length.
        body: the answer.
        unread: gives what the client is still sending. Were the connection closed at once, the answer would be lost to
            a client that reads only when it has sent all; so for a while that is read, too, and thrown away.
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
