"""A news monitor over HTTP: items are posted, and a live page shows sentiment and alarms, on a server's bank.

One thread has the monitor, and reads what is posted, the feeds and the file that grows. Pages read the folder's file
through a connection of their own, so they show what is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from adapters.applications.base.folder import reading
from adapters.applications.news_monitor.inputs import Arrival
from adapters.applications.news_monitor.items import ItemError
from adapters.applications.news_monitor.monitor import CLOCK, NEXT, TALLY, IncomingItem
from adapters.applications.news_monitor.news import DATABASE, SETTINGS, Reader, hold, log_event, opened
from adapters.applications.news_monitor.page import grouped
from adapters.applications.news_monitor.settings import STDIN, NewsMonitorSettings, check_installed
from adapters.applications.news_monitor.store import Store
from adapters.applications.news_monitor.stream import Stream
from adapters.applications.news_monitor.understanding import ALL
from adapters.applications.news_monitor.webhook import secret_of
from adapters.core.errors import SessionError, SettingsError, UserError
from adapters.core.files import read_json
from adapters.data.times import iso_time
from adapters.serving.bank.bank import AdapterBank
from adapters.serving.http.application import EVENTS, PRIVATE, event, private
from adapters.serving.http.openapi import body, refusals
from adapters.serving.http.refusal import Refusal, busy, shown
from adapters.serving.http.service import DRAINING, Service
from adapters.serving.http.token_router import token_router

LINES = "application/x-ndjson"
LOOK_SECONDS = 1.0
"""Polling interval of one page's event stream."""
BEAT_SECONDS = 15.0
"""Of silence, after which a keep-alive comment is sent to a page."""
AGAIN_SECONDS = 5.0
"""Delay before a monitor that could not write is opened again."""
MOST_WAITING = 64
"""Maximum number of waiting requests with items."""
MOST_PAGES = 100
"""Maximum number of open event streams."""
MOST_SERIES, MOST_ITEMS, MOST_ALARMS, MOST_EVENTS = 200, 100, 100, 100
SERIES = Annotated[str, Query(max_length=300, description="`all`, `topic: …` or `entity: …`.")]


class ItemsQuery(BaseModel):
    """The windows whose items are listed."""

    model_config = ConfigDict(extra="forbid")

    series: str = Field(ALL, max_length=300, description="`all`, `topic: …` or `entity: …`.")
    begin: int = Field(ge=-(2**40), lt=2**40, description="Number of the first window.")
    end: int = Field(ge=-(2**40), lt=2**40, description="Number of the window after the last one.")


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All series up to a window, those with most items first."""

    next: int | None
    rows: list[tuple[str, int, int, int]]


def application(folder: Path, database: str | None = None) -> NewsMonitorSite:
    """The application of a monitor's folder, whose file is its database. Raises ArtifactError, SettingsError."""
    check_installed()
    with reading(folder, "news monitor", f"Make one: taskswap news_monitor --push --output_dir {folder}"):
        kept = read_json(folder / SETTINGS)
        settings = NewsMonitorSettings(**{name: value for name, value in kept.items() if name != "format"})
    growing = None if settings.input == STDIN else settings.input
    served = replace(settings, input=growing, replay=None, push=True, overwrite_output_dir=False)
    served.check()
    return NewsMonitorSite(folder, served)


class NewsMonitorSite:
    """A monitor on a server's bank; an `Application` of `serving/http`."""

    name = "news_monitor"
    page: Path | None = Path(__file__).with_name("pages")

    def __init__(self, folder: Path, settings: NewsMonitorSettings) -> None:
        """Args: the monitor's folder, and its settings, whose input and feeds are read too."""
        self.folder, self.settings, self.base = folder, settings, settings.model_name_or_path
        self.waiting: queue.Queue[Arrival] = queue.Queue(MOST_WAITING)
        self.stopped = threading.Event()
        self.thread: threading.Thread | None = None
        self.reading = ThreadPoolExecutor(1, "news pages")
        self.store: Store | None = None  # of the thread that reads for pages
        self.totals = Totals(next=None, rows=[])
        self.numbers, self.pages = count(1), 0
        self.log = logging.getLogger("adapters.serving")

    # the stream -------------------------------------------------------------------------------------------------------

    def open(self, bank: AdapterBank) -> None:
        """Load the adapters into the bank, and start monitoring. Raises UserError."""
        key = secret_of(self.settings.webhook_secret_file) if self.settings.webhook else b""
        reader = Reader.of(self.settings, bank)
        began: Future[None] = Future()

        def work() -> None:
            try:
                lock = hold(self.folder)
            except SettingsError as error:
                began.set_exception(error)
                return
            try:
                self._watch(reader, key, began)
            finally:
                lock.release()

        self.thread = threading.Thread(target=work, name="news monitor", daemon=True)
        self.thread.start()
        began.result()
        self.reading.submit(self._open_store).result()

    def _watch(self, reader: Reader, key: bytes, began: Future[None]) -> None:
        """Monitor until stopped; after a failure, the monitor is opened again from what is on disk."""
        while not self.stopped.is_set():
            monitor = stream = None
            try:
                monitor = opened(self.folder, self.settings, reader, self._on_event)
                stream = Stream(monitor, self.waiting, key)
                if not began.done():
                    began.set_result(None)
                stream.run(self.stopped)
            except Exception as error:
                if not began.done():
                    began.set_exception(error)
                    return
                expected = isinstance(error, UserError)
                self.log.error("news monitor: %s", error, exc_info=None if expected else error)
                self.stopped.wait(AGAIN_SECONDS)
            finally:
                if stream is not None:
                    stream.close()
                if monitor is not None:
                    monitor.store.close()

    def _on_event(self, event: Any) -> None:
        log_event(self.folder, event)
        fields = {name: event[name] for name in ("event", "series", "items", "negative", "expected", "p")}
        self.log.info("alarm", extra={"fields": fields})

    def close(self) -> None:
        """Stop monitoring; waiting requests are refused. Blocks."""
        self.stopped.set()
        if self.thread is not None:
            self.thread.join()
        while not self.waiting.empty():
            if (settled := self.waiting.get_nowait().settled) is not None:
                settled(busy("stopping", "The server stops."))
        if self.store is not None:
            self.reading.submit(self.store.close).result()
        self.reading.shutdown()

    def _open_store(self) -> None:
        self.store = Store(self.folder / DATABASE)

    # what pages show --------------------------------------------------------------------------------------------------

    def state(self, store: Store) -> dict[str, Any]:
        """The progress of the monitor, and all series with whether an alarm is on."""
        following = store.get(NEXT)
        if following != self.totals.next or following is None:
            self.totals = Totals(next=following, rows=store.totals())
        on = {alarm["series"] for alarm in store.alarms(only_open=True)}
        rows = sorted(self.totals.rows, key=lambda row: (row[0] != ALL, row[0] not in on))
        return {
            "window_seconds": 60 * self.settings.window_minutes,
            "clock": _clock(store),
            "next_window": following,
            "became": {what: own["count"] for what, own in store.get(TALLY, {}).items()},
            "series": [
                {"series": name, "windows": windows, "items": items, "negative": negative, "alarm": name in on}
                for name, windows, items, negative in rows[:MOST_SERIES]
            ],
            "all_series": len(rows),
        }

    def windows(self, store: Store, series: str) -> dict[str, Any]:
        """A series over time, its alarms, and the windows that are not closed yet."""
        following = store.get(NEXT)
        counts = [store.counts(window).get(series, (0, 0)) for window in self._open_windows(store, following)]
        alarms = [alarm for alarm in store.alarms() if alarm["series"] == series]
        return {
            "series": series,
            "points": grouped(store.history(series)),
            "alarms": [{name: one.get(name) for name in ("id", "since", "until", "state")} for one in alarms],
            "open": {"items": sum(n for n, _ in counts), "negative": sum(k for _, k in counts)},
        }

    def _open_windows(self, store: Store, following: int | None) -> list[int]:
        """Windows with items that are not closed yet."""
        found: list[int] = []
        window = store.next_window(-(2**40) if following is None else following)
        while window is not None:
            found.append(window)
            window = store.next_window(window + 1)
        return found

    async def _read(self, service: Service, work: Callable[[Store], Any]) -> Any:
        """The result of some work with the store. Raises Refusal."""
        service.ready_bank()
        try:
            return await asyncio.get_running_loop().run_in_executor(self.reading, lambda: work(self._its_store()))
        except SessionError as error:
            raise self._refused(error) from None

    def _its_store(self) -> Store:
        assert self.store is not None
        return self.store

    def _refused(self, error: Exception) -> Refusal:
        """The refusal for the error of a request. What is wrong with the file is only logged."""
        if isinstance(error, Refusal):
            return error
        self.log.error("news monitor: %s", error)
        return busy("news", "It could not be read or written, and nothing of the request was kept.", 5)

    # routes -----------------------------------------------------------------------------------------------------------

    def routes(self, service: Service) -> list[APIRouter]:
        """Items in; series, items, alarms and events out."""
        return [self._push(service), self._pages(service)]

    def _push(self, service: Service) -> APIRouter:
        router = token_router(service.tokens.check_staff, prefix="/v1/news")
        example = {"id": "r-17", "time": "2026-03-02T13:00:00+01:00", "source": "Wire", "title": "Acme falls"}
        one = {"schema": {"type": "array", "items": {"type": "object"}}, "example": [example]}
        lines = {"schema": {"type": "string"}, "example": orjson.dumps(example).decode()}

        @router.post(
            "",
            summary="Post items of news",
            responses={
                200: {"description": "What became of each.", "content": {"application/json": {}}},
                **refusals(400, 401, 403, 408, 413, 415, 422, 503, 504),
            },
            openapi_extra=body({"application/json": one, LINES: lines}),
        )
        async def push(request: Request) -> Response:
            """A JSON object, a list of them, or one on each line (`application/x-ndjson`). When it is answered, they
            are on disk. After an error, post them again: what is known by its id is not counted twice. Needs the
            staff's token, as news raise alarms."""
            service.ready_bank()
            given = _items(await request.body(), request.headers.get("content-type", ""), next(self.numbers))
            became = await self._taken(given, service.seconds(request))
            return private({"items": len(became), "became": became})

        return router

    async def _taken(self, given: tuple[IncomingItem, ...], seconds: float) -> list[str]:
        """What became of items. Raises Refusal."""
        if self.stopped.is_set():
            raise busy("stopping", "The server stops.")
        done: Future[list[str]] = Future()

        def settled(result: list[str] | Exception) -> None:
            if done.set_running_or_notify_cancel():
                done.set_exception(result) if isinstance(result, Exception) else done.set_result(result)

        try:
            self.waiting.put_nowait(Arrival(given=given, marks={}, settled=settled))
        except queue.Full:
            raise busy("news", "Too many requests with items wait.") from None
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(done)
        except TimeoutError:
            raise Refusal(
                504,
                "timeout",
                "The items were not read in time; they may still be counted. Post them again: known ids are not "
                "counted twice.",
                expected=f"within {seconds:g} s",
                found="still waiting",
            ) from None
        except Exception as error:
            raise self._refused(error) from None

    def _pages(self, service: Service) -> APIRouter:
        router = token_router(service.tokens.check_predict, prefix="/v1/news")
        usual = refusals(401, 422, 503)

        @router.get("/series", summary="List topics and entities", responses=usual)
        async def state() -> Response:
            """The progress of the monitor, what became of the items, and its series: those with an alarm first, then
            those with most items."""
            return private(await self._read(service, self.state))

        @router.get("/windows", summary="Read a series over time", responses=usual)
        async def windows(series: SERIES = ALL) -> Response:
            """Shares of negative items with the band that was expected, at most 240 points; alarms; and the counts of
            windows that are not closed yet."""
            return private(await self._read(service, lambda store: self.windows(store, series)))

        @router.get("/items", summary="List the items of some windows", responses=usual)
        async def items(query: Annotated[ItemsQuery, Query()]) -> Response:
            """At most 100: negative ones first, of each kind the latest first."""
            found = await self._read(
                service, lambda store: store.items(query.series, query.begin, query.end, MOST_ITEMS)
            )
            return private([{**row, "at": iso_time(row["at"]), "negative": bool(row["negative"])} for row in found])

        @router.get("/alarms", summary="List alarms", responses=usual)
        async def alarms() -> Response:
            """The last 100, the latest first, each with its evidence."""
            return private(await self._read(service, lambda store: store.alarms()[::-1][:MOST_ALARMS]))

        @router.get(
            "/events",
            summary="Stream alarms and changes",
            responses={200: {"description": "Events.", "content": {EVENTS: {}}}, **usual},
        )
        async def events(
            last: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, lt=2**60)] = None,
        ) -> Response:
            """Server-sent events: `alarm` with each event of an alarm, and `changed` where items were counted or a
            window was closed. `Last-Event-ID` continues after an alarm that was received; without it, earlier ones
            are left out."""
            begin = await self._read(service, Store.last_event) if last is None else last
            if self.pages >= MOST_PAGES:
                raise busy("pages", f"{MOST_PAGES} pages are open already.", 30)
            return StreamingResponse(self._events(service, begin), media_type=EVENTS, headers=PRIVATE)

        return router

    async def _events(self, service: Service, number: int) -> AsyncIterator[bytes]:
        """The events after a number, as they come."""
        self.pages += 1
        try:
            version, silent = None, 0.0
            while service.status != DRAINING and not self.stopped.is_set():
                found, now = await self._read(service, partial(_news, after=number))
                for number, body in found:
                    yield event("alarm", body.encode(), number)
                if now != version:
                    yield event("changed", orjson.dumps(now))
                elif silent >= BEAT_SECONDS:
                    yield b": alive\n\n"
                silent = 0.0 if found or now != version or silent >= BEAT_SECONDS else silent + LOOK_SECONDS
                version = now
                await asyncio.sleep(LOOK_SECONDS)
        except Refusal as refusal:
            yield event("error", orjson.dumps(refusal.body))
        finally:
            self.pages -= 1


def _news(store: Store, after: int) -> tuple[list[tuple[int, str]], dict[str, Any]]:
    """The next events of alarms, and what differs where something was counted or a window was closed."""
    now = {
        "items": sum(own["count"] for own in store.get(TALLY, {}).values()),
        "clock": _clock(store),
        "next_window": store.get(NEXT),
    }
    return store.events_after(after, MOST_EVENTS), now


def _clock(store: Store) -> str | None:
    """The time of the newest item."""
    found = store.get(CLOCK)
    return None if found is None else iso_time(found)


def _items(body: bytes, kind: str, number: int) -> tuple[IncomingItem, ...]:
    """The items of a body. Raises Refusal where it is none; what is wrong with one item is reported for that item."""
    kind = kind.partition(";")[0].strip().lower()
    rows: Sequence[Any]
    if kind == LINES:
        rows = [line for line in body.split(b"\n") if line.strip()]
    elif kind == "application/json":
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refusal(400, "json", f"The body is not JSON: {error}.", expected="an item, or a list") from None
        rows = found if isinstance(found, list) else [found]
    else:
        wanted = f"application/json or {LINES}"
        raise Refusal(415, "type", f"The Content-Type must be {wanted}.", expected=wanted, found=shown(kind))
    if not rows:
        raise Refusal(422, "items", "There is no item.", expected="at least one", found="none")
    return tuple(
        IncomingItem(
            where=f"POST /v1/news {number}, item {place}",
            item=row if isinstance(row, bytes | dict) else ItemError("not a JSON object"),
            together=f"POST {number}",
        )
        for place, row in enumerate(rows, 1)
    )
