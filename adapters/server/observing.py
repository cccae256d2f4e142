"""What operators see of a server: a log line a request, and metrics for Prometheus."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import ClientDisconnect

from adapters.server import ID, Refusal
from adapters.server.limits import App, Message, Receive, Send, respond

if TYPE_CHECKING:
    from adapters.bank import AdapterBank

JSON = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which several workers count together, as prometheus-client has it."""
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25)
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked for by machines every few seconds: logged at level DEBUG."""


@dataclass(kw_only=True)
class Told:
    """What is logged of one request.

    Attributes:
        id: taken from `X-Request-ID`, or made.
        headers: added to the answer.
        fields: further entries of its log line.
    """

    id: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)


class Metrics:
    """The counts of one application, in a registry of their own."""

    def __init__(self) -> None:
        """All at nothing."""
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("taskswap_requests_total", "Requests answered.", ("route", "status"), registry=registry)
        self.seconds = Histogram(
            "taskswap_request_seconds", "From a request's headers to the end of its answer.", ("route",),
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.texts = Counter("taskswap_texts_total", "Texts given to the bank.", ("adapter",), registry=registry)
        self.batch_rows = Histogram("taskswap_batch_rows", "Texts of each batch.", buckets=ROWS, registry=registry)
        self.batch_fill = Histogram(
            "taskswap_batch_fill", "About which share of --max_batch_pieces each batch filled.", buckets=SHARES,
            registry=registry,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "taskswap_batch_seconds", "Seconds of each batch.", buckets=SECONDS, registry=registry
        )
        self.refusals = Counter(
            "taskswap_refusals_total", "Requests that were not answered, by reason.", ("reason",), registry=registry
        )
        self.evictions = Counter("taskswap_evictions_total", "Adapters that made room.", registry=registry)
        self.queue, self.resident, self.known = (
            Gauge(f"taskswap_{name}", what, registry=registry, multiprocess_mode="livesum")
            for name, what in (
                ("queue_texts", "Texts that wait."),
                ("adapters_resident", "Adapters held in memory."),
                ("adapters_known", "Adapters that requests may name."),
            )
        )
        self.evicted = 0

    def bank(self, bank: AdapterBank) -> None:
        """Note what a bank holds."""
        residency = bank.residency
        self.resident.set(len(residency.holding))
        self.known.set(len(residency.known))
        evicted = residency.evictions
        self.evictions.inc(max(0, evicted - self.evicted))
        self.evicted = evicted

    def batch(self, adapters: Sequence[str | None], share: float, seconds: float, bank: AdapterBank) -> None:
        """Note a batch: the adapter of each text, which share of the pieces that it may have, and its time."""
        self.batch_rows.observe(len(adapters))
        self.batch_fill.observe(share)
        self.batch_seconds.observe(seconds)
        known = bank.residency.known
        for name in set(adapters):  # what clients make up must not become a series
            label = "" if name is None else name if name in known else "other"
            self.texts.labels(label).inc(adapters.count(name))
        self.bank(bank)

    def text(self) -> bytes:
        """In Prometheus's format; of all workers where there are several."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # theirs
        return generate_latest(registry)


class Observed:
    """An ASGI application around another: ids, logs, metrics; and whatever goes wrong becomes JSON without a trace."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        """Args: the application, and where it is counted."""
        self.app, self.metrics = app, metrics
        self.log = logging.getLogger("adapters.server")

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0
        told = scope["told"] = Told(id=request_id(scope))

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [(b"x-request-id", told.id.encode()), *told.headers]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Refusal as refusal:
            await self._refused(refusal, scope, receive, sent, begun=bool(status))
            status = status or refusal.status
        except ClientDisconnect:
            self.refused("hung_up", told)
            status = status or 499
        except Exception:
            self.log.exception("a fault of the server", extra={"fields": {"request_id": told.id}})
            fault = Refusal(500, "fault", f"A fault of the server; its log says more about request {told.id}.")
            await self._refused(fault, scope, receive, sent, begun=bool(status))
            status = 500
        finally:
            self._note(scope, told, status, time.perf_counter() - begin)

    def refused(self, reason: str, told: Told) -> None:
        """Count a refusal, and note it for the log."""
        self.metrics.refusals.labels(reason).inc()
        told.fields["refused"] = reason

    async def _refused(
        self, refusal: Refusal, scope: Mapping[str, Any], receive: Receive, send: Send, *, begun: bool
    ) -> None:
        self.refused(refusal.reason, scope["told"])
        if begun or refusal.status == 499:  # too late to say it, or nobody to say it to
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
        unread = receive if scope.get("unread") and scope["method"] not in ("GET", "HEAD") else None
        await respond(send, refusal.status, [*JSON, *headers], orjson.dumps(refusal.body), unread=unread)

    def _note(self, scope: Mapping[str, Any], told: Told, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        level = logging.DEBUG if route in QUIET else logging.INFO
        if self.log.isEnabledFor(level):
            fields = {"request_id": told.id, "method": scope["method"], "route": route, "status": status,
                      "ms": round(1000 * seconds, 2), **told.fields}  # fmt: skip
            self.log.log(level, "request", extra={"fields": fields})


def request_id(scope: Mapping[str, Any]) -> str:
    """The id that a request brings, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if ID.fullmatch(given):
                return str(given)
    return uuid.uuid4().hex


class Lines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields; a trace where there is one."""
        fields: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(), "message": record.getMessage(), **getattr(record, "fields", {}),
        }  # fmt: skip
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()
