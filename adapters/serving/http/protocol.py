"""uvicorn's connections with bounds on a request's headers, and with refusals in JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 65_536
"""Bytes in a request's first line and headers."""


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed if it stays silent, sends too slowly, or sends headers without end."""

    seconds = 20.0
    heading: asyncio.TimerHandle | None = None
    head = 0

    def connection_made(self, transport: Any) -> None:
        """Start the time limit of the first headers."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Count the bytes before the end of the headers."""
        waited = self.heading is not None
        super().data_received(data)
        self.head = self.head + len(data) if waited and self.heading is not None else 0
        if self.head > MAX_HEADER_BYTES:
            self._refuse("431 Request Header Fields Too Large", "The headers are too large.", "64 KiB", "more")

    def on_message_begin(self) -> None:
        """Start the time limit of the headers."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """End it."""
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End it."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in JSON."""
        self._refuse("400 Bad Request", "This is not an HTTP request.", "HTTP/1.1", "something else")

    def _refuse(self, status: str, error: str, expected: str, found: str) -> None:
        body = json.dumps({"error": error, "expected": expected, "found": found})
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n{body}".encode())
        self.transport.close()

    def _wait(self) -> None:
        self._stop_waiting()
        self.heading = self.loop.call_later(self.seconds, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self.heading is not None:
            self.heading.cancel()
            self.heading = None


def bounded_connection(seconds: float) -> type[asyncio.Protocol]:
    """A class of connections on which a client has `seconds` to send its headers."""
    return type("Connections", (BoundedConnection,), {"seconds": seconds})
