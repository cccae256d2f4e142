"""A log line per request, and metrics for Prometheus."""

from __future__ import annotations

import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import ClientDisconnect

from adapters.core.errors import UserError
from adapters.serving.bank.routing import UnroutedError
from adapters.serving.http.limits import App, Message, Receive, Send, respond
from adapters.serving.http.masking import masked
from adapters.serving.http.refusal import ID, Refusal, disconnected

if TYPE_CHECKING:
    from adapters.serving.bank.served_bank import ServedBank
    from adapters.tasks.base.observation import Observation

JSON = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of prometheus-client: the folder in which several workers count together."""
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25)
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Requested by machines every few seconds: logged at level DEBUG."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters by which a client's text could rewrite a terminal, or turn its direction; all but the line feed."""


@dataclass(kw_only=True)
class RequestLog:
    """The log line of one request.

    Attributes:
        id: from `X-Request-ID`, or generated.
        headers: added to the answer.
        fields: added to the log line.
    """

    id: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)


class ServerMetrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("taskswap_requests_total", "Requests answered.", ("route", "status"), registry=registry)
        self.seconds = Histogram(
            "taskswap_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.texts = Counter("taskswap_texts_total", "Texts answered by the bank.", ("adapter",), registry=registry)
        self.routed = Counter(
            "taskswap_routed_texts_total",
            "Texts for which the router chose an adapter.",
            ("adapter",),
            registry=registry,
        )
        self.unrouted = Counter(
            "taskswap_unrouted_texts_total", "Texts for which the router found no adapter.", registry=registry
        )
        self.generated = Counter(
            "taskswap_generated_tokens_total", "Tokens written by /v1/generate.", ("adapter",), registry=registry
        )
        self.batch_rows = Histogram("taskswap_batch_rows", "Texts in each batch.", buckets=ROWS, registry=registry)
        self.batch_fill = Histogram(
            "taskswap_batch_fill",
            "Approximate share of --max_batch_tokens in each batch.",
            buckets=SHARES,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "taskswap_batch_seconds", "Seconds of each batch.", buckets=SECONDS, registry=registry
        )
        self.refusals = Counter(
            "taskswap_refusals_total", "Requests that were not answered, by reason.", ("reason",), registry=registry
        )
        self.evictions = Counter("taskswap_evictions_total", "Adapters evicted from memory.", registry=registry)
        self.confidence = Histogram(
            "taskswap_answer_confidence",
            "Probability of each answer; of answers that are counted for drift.",
            ("adapter",),
            buckets=CONFIDENCES,
            registry=registry,
        )
        self.input_tokens = Counter(
            "taskswap_input_tokens_total", "Tokens of the texts counted for drift.", ("adapter",), registry=registry
        )
        self.unknown_tokens = Counter(
            "taskswap_unknown_tokens_total", "Unknown ones among them.", ("adapter",), registry=registry
        )
        self.drift_windows = Counter(
            "taskswap_drift_windows_total", "Windows of answers compared with dev.", ("adapter",), registry=registry
        )
        self.drift_alarms = Counter(
            "taskswap_drift_alarms_total", "Windows that differed from dev.", ("adapter",), registry=registry
        )
        self.queue, self.resident, self.known = (
            Gauge(f"taskswap_{name}", what, registry=registry, multiprocess_mode="livesum")
            for name, what in (
                ("queue_texts", "Texts that wait."),
                ("adapters_resident", "Adapters in memory."),
                ("adapters_known", "Adapters that requests may name."),
            )
        )
        self.evicted = 0

    def count_adapters(self, bank: ServedBank) -> None:
        """Count a bank's adapters and evictions."""
        stats = bank.stats()
        self.resident.set(stats.resident)
        self.known.set(stats.known)
        self.evictions.inc(max(0, stats.evictions - self.evicted))
        self.evicted = stats.evictions

    def count_batch(self, adapters: Sequence[str | None], share: float, seconds: float, bank: ServedBank) -> None:
        """Count a batch.

        Args:
            adapters: the adapter of each text.
            share: of the tokens that a batch may have.
            seconds: its time.
            bank: that answered it.
        """
        self.batch_rows.observe(len(adapters))
        self.batch_fill.observe(share)
        self.batch_seconds.observe(seconds)
        self.count_texts(adapters, bank)

    def count_routed(self, answers: Sequence[Mapping[str, Any]], faults: Iterable[UserError]) -> None:
        """Count the texts of a batch for which the router chose, from a bank's answers and faults."""
        for answer in answers:
            if "routed" in answer:
                self.routed.labels(answer["adapter"]).inc()
        self.unrouted.inc(sum(isinstance(fault, UnroutedError) for fault in faults))

    def count_texts(self, adapters: Sequence[str | None], bank: ServedBank, tokens: Sequence[int] = ()) -> None:
        """Count texts that a bank has answered.

        Args:
            adapters: the adapter of each.
            bank: that answered them.
            tokens: written for each, if they were.
        """
        known = set(bank.names())
        for name, written in zip(adapters, tokens or [0] * len(adapters), strict=True):
            # A name that a client invents must not become a time series.
            label = "" if name is None else name if name in known else "other"
            self.texts.labels(label).inc()
            if written:
                self.generated.labels(label).inc(written)
        self.count_adapters(bank)

    def count_observation(self, adapter: str, seen: Observation) -> None:
        """Count what was observed of an answer."""
        if seen.confidence is not None:
            self.confidence.labels(adapter).observe(seen.confidence)
        if seen.tokens is not None:
            self.input_tokens.labels(adapter).inc(seen.tokens)
        if seen.unknown:
            self.unknown_tokens.labels(adapter).inc(seen.unknown)

    def count_refusal(self, refusal: Refusal, log: RequestLog | None = None) -> None:
        """Count a refusal, and add its reason to the log line of its request."""
        self.refusals.labels(refusal.reason).inc()
        if log is not None:
            log.fields["refused"] = refusal.reason

    def count_window(self, adapter: str, *, alarm: bool) -> None:
        """Count a window of answers that was compared with dev."""
        self.drift_windows.labels(adapter).inc()
        self.drift_alarms.labels(adapter).inc(alarm)  # a series from the first window on, so that its rise is seen

    def text(self) -> bytes:
        """All metrics in Prometheus's format, summed over the workers."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped in prometheus-client
        return generate_latest(registry)


class RequestLogging:
    """ASGI middleware: request ids, log lines and metrics; every failure is answered as JSON, without a traceback."""

    def __init__(self, app: App, metrics: ServerMetrics) -> None:
        """Args: the application, and its metrics."""
        self.app, self.metrics = app, metrics
        self.logger = logging.getLogger("adapters.serving")

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0
        log = scope["log"] = RequestLog(id=request_id(scope))

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [(b"x-request-id", log.id.encode()), *log.headers]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except (Refusal, ClientDisconnect) as error:
            refusal = error if isinstance(error, Refusal) else disconnected()
            await self._refused(refusal, scope, receive, sent, begun=bool(status))
            status = status or refusal.status
        except Exception:
            self.logger.exception("internal error", extra={"fields": {"request_id": log.id}})
            fault = Refusal(500, "fault", f"Internal error; the server's log has details of request {log.id}.")
            await self._refused(fault, scope, receive, sent, begun=bool(status))
            status = 500
        finally:
            self._note(scope, log, status, time.perf_counter() - begin)

    async def _refused(
        self, refusal: Refusal, scope: Mapping[str, Any], receive: Receive, send: Send, *, begun: bool
    ) -> None:
        self.metrics.count_refusal(refusal, scope["log"])
        if begun or refusal.status == 499:  # the answer has begun, or nobody would read it
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
        unread = receive if scope.get("unread") and scope["method"] not in ("GET", "HEAD") else None
        await respond(send, refusal.status, [*JSON, *headers], orjson.dumps(refusal.body), unread=unread)

    def _note(self, scope: Mapping[str, Any], log: RequestLog, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        level = logging.DEBUG if route in QUIET else logging.INFO
        if self.logger.isEnabledFor(level):
            fields = {
                "request_id": log.id,
                "method": scope["method"],
                "route": route,
                "status": status,
                "client": (scope.get("client") or [None])[0],
                "ms": round(1000 * seconds, 2),
                **log.fields,
            }
            self.logger.log(level, "request", extra={"fields": fields})


def request_id(scope: Mapping[str, Any]) -> str:
    """A request's own id, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if ID.fullmatch(given):
                return str(given)
    return uuid.uuid4().hex


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields, and a traceback if there is one."""
        fields: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["trace"] = masked(self.formatException(record.exc_info))
        return _json(fields)


class PlainLines(logging.Formatter):
    """Formats a record for a terminal: `14:03:11 ready url=http://127.0.0.1:8000 base=minilm seconds=3.4`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields, and a traceback below it if there is one. Further lines are indented."""
        parts = [time.strftime("%H:%M:%S", time.localtime(record.created))]
        if record.levelno != logging.INFO:
            parts.append(record.levelname.lower())
        parts.append(record.getMessage().strip())
        parts += [f"{name}={_plain(value)}" for name, value in getattr(record, "fields", {}).items()]
        trace = [masked(self.formatException(record.exc_info))] if record.exc_info else []
        shown = "\n".join([" ".join(parts), *trace]).replace("\n", "\n  ")
        return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], shown)


def _plain(value: Any) -> str:
    """A value as it is, where its end is seen, else as JSON."""
    if isinstance(value, str) and value and not re.search(r"[\s\"]", value):
        return value
    return _json(value)


def _json(value: Any) -> str:
    """A value as JSON, whatever it is: of what clients may send, orjson knows no whole number of more than 64 bits."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return json.dumps(value, default=str)
