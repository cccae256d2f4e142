"""Files that grow, feeds, and webhooks: what comes in, and what goes out, with the faults that each can have."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import news
import pytest
from conftest import REPOSITORY

from adapters.applications.news_monitor import feeds, inputs
from adapters.applications.news_monitor.feeds import Feed
from adapters.applications.news_monitor.inputs import Arrival, GrowingFile, Pipe, drained
from adapters.applications.news_monitor.monitor import TALLY, IncomingItem, Monitor
from adapters.applications.news_monitor.news import NewsMonitor
from adapters.applications.news_monitor.settings import NewsMonitorSettings
from adapters.applications.news_monitor.store import COUNTED, Store
from adapters.applications.news_monitor.stream import Stream
from adapters.applications.news_monitor.understanding import Reading
from adapters.applications.news_monitor.webhook import SIGNATURE, Delivery, secret_of
from adapters.core.errors import DataError, SettingsError

RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>Wire</title>
<item><guid>a1</guid><title>Acme falls</title>
<description>&lt;p&gt;By &lt;b&gt;12&lt;/b&gt; percent&lt;/p&gt;</description>
<pubDate>Mon, 02 Mar 2026 13:00:00 +0100</pubDate></item>
<item><guid>a2</guid><title>No date</title></item></channel></rss>"""
ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Atom wire</title>
<entry><id>urn:1</id><title>Über Acme</title><updated>2026-03-02T12:00:00Z</updated></entry></feed>"""


class Answers(BaseHTTPRequestHandler):
    """Feeds by path; what is posted is kept, answered as the server's `codes` say, or not at all."""

    def do_GET(self) -> None:
        server: Any = self.server
        if self.path == "/raw":
            self.wfile.write(server.raw)
            return
        if self.path in server.listed:
            self.wfile.write(answer(server.listed[self.path]))
            return
        body = {"/rss": RSS, "/atom": ATOM, "/page": "<html>no feed</html>"}[self.path].encode()
        if self.headers.get("If-None-Match") == '"1"':
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        code = server.codes.pop(0) if server.codes else 200
        if code == 0:
            server.released.wait(20)
            return
        server.posted.append((self.headers[SIGNATURE], body, code))
        self.send_response(code)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    found: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    found.daemon_threads = True
    found.posted, found.codes, found.released = [], [], threading.Event()
    found.raw, found.listed = b"", {}
    found.url = f"http://127.0.0.1:{found.server_port}"
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.released.set()
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def opened() -> Iterator[Any]:
    """Opens growing files, and closes them."""
    files: list[GrowingFile] = []

    def open_(path: Path, mark: Any = None) -> GrowingFile:
        files.append(GrowingFile(path, mark, 1000))
        return files[-1]

    yield open_
    for file in files:
        file.close()


def test_a_growing_file_gives_complete_lines_from_where_it_was_read_to(tmp_path, opened):
    path = tmp_path / "news.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": 2}\n{"a"')
    file = opened(path)
    first = file.arrival(1)
    assert [(one.where, one.item) for one in first.given] == [(f"{path}:1", b'{"a": 1}\n')]
    file = opened(path, first.marks[file.name])
    second = file.arrival(10)
    assert [one.where for one in second.given] == [f"{path}:3"]
    assert file.arrival(10).given == ()
    with path.open("ab") as stream:
        stream.write(b": 3}\n")
    assert [one.item for one in file.arrival(10).given] == [b'{"a": 3}\n']
    with path.open("ab") as stream:
        stream.write(b'{"a": 4}')
    assert file.arrival(10).given == () and [one.item for one in file.arrival(10, last=True).given] == [b'{"a": 4}']


def test_a_file_that_was_replaced_is_read_from_its_beginning(tmp_path, opened):
    path = tmp_path / "news.jsonl"
    path.write_bytes(b"1\n2\n3\n")
    file = opened(path)
    mark = file.arrival(10).marks[file.name]
    path.write_bytes(b"4\n")
    assert [one.item for one in opened(path, mark).arrival(10).given] == [b"4\n"]
    with pytest.raises(DataError, match="cannot be read"):
        opened(tmp_path / "none")


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_an_item_of_ten_megabytes_is_refused_and_the_next_is_read(tmp_path, opened, way):
    body = b'{"text": "' + b"x" * 10_000_000 + b'"}\n' + b'{"a": 1}\n'
    if way == "file":
        (tmp_path / "f").write_bytes(body)
        given = opened(tmp_path / "f").arrival(10).given
    else:
        waiting: queue.Queue[Any] = queue.Queue()
        Pipe(BytesIO(body), 1000, waiting).run()
        given = [item for one in drained(waiting, 10, 0.1) for item in one.given]
    assert [str(given[0].item), given[1].item] == ["longer than 1,000 bytes", b'{"a": 1}\n']
    monitor = news.monitor(tmp_path / "m.db")
    monitor.take(given)
    assert "refused: longer than 1,000 bytes" in monitor.tally


def test_feeds_become_items_once_and_unchanged_ones_are_not_read_again(server, tmp_path):
    waiting: queue.Queue[Any] = queue.Queue()
    feed = Feed(f"{server.url}/rss", None, 300, waiting)
    arrival = feed.poll()
    first, second = (one.item for one in arrival.given)
    assert (first["id"], first["time"], first["source"]) == (f"{server.url}/rss a1", 1772452800, "Wire")
    assert " ".join(first["summary"].split()) == "By 12 percent" and second["time"] is None
    assert feed.poll().given == ()
    assert Feed(f"{server.url}/rss", arrival.marks[f"feed {server.url}/rss"], 300, waiting).poll().given == ()
    (atom,) = Feed(f"{server.url}/atom", None, 300, waiting).poll().given
    assert (atom.item["id"], atom.item["title"], atom.item["time"]) == ("urn:1", "Über Acme", 1772452800)
    monitor = news.monitor(tmp_path / "m.db")
    monitor.take(arrival.given, arrival.marks)
    assert any("no time" in what for what in monitor.tally)
    assert monitor.store.get(f"feed {server.url}/rss")["etag"] == '"1"'


def test_what_is_no_feed_is_said_and_polled_again(server, capsys):
    waiting: queue.Queue[Any] = queue.Queue()
    feed = Feed(f"{server.url}/page", None, 300, waiting)
    with pytest.raises(ValueError, match="no feed"):
        feed.poll()
    feed.stopped.wait = lambda seconds: feed.stopped.set()  # type: ignore[assignment,func-returns-value,return-value]
    feed.run()
    assert "polled again in 300 s" in capsys.readouterr().err and waiting.empty()


def answer(body: bytes, *headers: str, length: int | None = None) -> bytes:
    """An answer of HTTP, byte for byte."""
    lines = ["HTTP/1.0 200 OK", 'ETag: "2"', f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


ANSWERS = {
    "no HTTP": (b"NOT HTTP AT ALL\r\n\r\n", "NOT HTTP"),
    "no status": (b"\r\n", "BadStatusLine"),
    "a part of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n500\r\nabc", "IncompleteRead"),
    "a part of the body": (answer(RSS.encode()[:-200], length=len(RSS)), "cut off after"),
    "a body that is too long": (answer(b" " * 2001), "longer than 2,000 bytes"),
    "a length that is none": (b"HTTP/1.0 200 OK\r\nContent-Length: x\r\n\r\n", "invalid literal"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_whatever_a_server_answers_a_feed_goes_on_and_reads_no_part_of_it(server, monkeypatch, capsys, what):
    monkeypatch.setattr(feeds, "LARGEST", 2000)
    server.raw, said = ANSWERS[what]
    waiting: queue.Queue[Any] = queue.Queue()
    feed, waits = Feed(f"{server.url}/raw", None, 300, waiting), iter([lambda: None, lambda: feed.stopped.set()])
    feed.stopped.wait = lambda seconds: next(waits)()  # type: ignore[assignment,return-value]
    feed.run()
    assert capsys.readouterr().err.count("polled again in 300 s") == 2 and waiting.empty()
    feed.stopped.clear()
    with pytest.raises(Exception) as caught:
        feed.poll()
    assert said in repr(caught.value)
    assert feed.mark == {} and not feed.behind


def test_a_feed_that_is_the_name_of_a_file_opens_none(server, tmp_path):
    (tmp_path / "secret.xml").write_text(RSS)
    server.raw = answer(str(tmp_path / "secret.xml").encode())
    with pytest.raises(ValueError, match="no feed"):
        Feed(f"{server.url}/raw", None, 300, queue.Queue()).poll()


def test_entries_of_two_feeds_are_two_though_their_ids_are_one(server, tmp_path):
    other = RSS.replace("Acme falls", "Quite another story").replace("Wire", "Post").encode()
    server.raw = answer(other)
    monitor = news.monitor(tmp_path / "m.db")
    for path in ("rss", "raw"):
        monitor.take(Feed(f"{server.url}/{path}", None, 300, queue.Queue()).poll().given)
    assert monitor.store._rows("SELECT COUNT(*) FROM items") == [(2,)]
    long = RSS.replace("a1", "https://wire.example/" + "x" * 300).encode()
    server.raw = answer(long)
    first = Feed(f"{server.url}/raw", None, 300, queue.Queue()).poll().given[0].item
    assert isinstance(first, dict) and len(first["id"]) == 64


def listed(hours: range, name: str) -> bytes:
    """An RSS feed with an entry for each hour, in this order."""
    entries = "".join(
        f"<item><guid>{n}</guid><title>{hashlib.sha256(f'{name} {n}'.encode()).hexdigest()}</title>"
        f"<pubDate>{formatdate(news.START + 3600 * n)}</pubDate></item>"
        for n in hours
    )
    return f'<rss version="2.0"><channel><title>{name}</title>{entries}</channel></rss>'.encode()


def run_until(stream: Stream, done: Any) -> None:
    """Run a stream until something is so, at most for ten seconds."""
    stopped, begin = threading.Event(), time.perf_counter()
    drain = stream._take

    def take(*given: Any) -> None:
        drain(*given)
        if done() or time.perf_counter() - begin > 10:
            stopped.set()

    stream._take = take  # type: ignore[method-assign]
    threading.Timer(10, stopped.set).start()
    stream.run(stopped)
    stream.close()


def test_a_backlog_of_a_file_and_of_feeds_is_counted_whatever_comes_first(server, tmp_path):
    """Both feeds list the newest entry first; an item of the last hour is posted before the file is read."""
    rows = [{"time": news.START + 60 * n, "text": f"{n * 7919} {n}", "sentiment": "x"} for n in range(480)]
    path = news.write(tmp_path / "news.jsonl", rows)
    server.listed = {"/one": listed(range(8, 0, -1), "one"), "/two": listed(range(7, 0, -1), "two")}
    waiting: queue.Queue[Any] = queue.Queue()
    now = {"id": "p", "time": news.START + 8 * 3600, "text": "of now", "sentiment": "x"}
    waiting.put(Arrival(given=(IncomingItem(where="POST", item=now),), marks={}))
    settings = NewsMonitorSettings(
        input=str(path), feeds=[f"{server.url}/one", f"{server.url}/two"], delay_minutes=0.0, push=True
    )

    def understand(items: Any) -> Any:
        return [Reading(sentiment="x", series={"all": False}) for _ in items]

    monitor = Monitor(settings, Store(tmp_path / "m.db"), understand)
    run_until(Stream(monitor, waiting), lambda: sum(own["count"] for own in monitor.tally.values()) == 496)
    assert {what: own["count"] for what, own in monitor.tally.items()} == {"counted": 496}


@pytest.mark.parametrize("way", ["renamed", "emptied"])
def test_a_file_that_is_rotated_while_it_is_read_is_followed(tmp_path, opened, way):
    path = tmp_path / "news.jsonl"
    path.write_bytes(b"1\n2\n3\n")
    file = opened(path)
    assert len(file.arrival(10).given) == 3
    if way == "renamed":
        path.rename(tmp_path / "news.1")
        assert file.arrival(10).given == (), "none is there for a while"
        path.write_bytes(b"")
        with (tmp_path / "news.1").open("ab") as late:
            late.write(b"4\n5")
        assert [one.item for one in file.arrival(10).given] == [b"4\n"], "the former is still written to"
        path.write_bytes(b"6\n")
        last = file.arrival(10)
        assert [(one.where, one.item) for one in last.given] == [(f"{path}:5", b"5")]
        assert opened(path, last.marks[file.name]).arrival(10).given[0].item == b"6\n"
    else:
        path.write_bytes(b"")
        assert file.arrival(10).given == ()
        path.write_bytes(b"6\n")
    (found,) = file.arrival(10).given
    assert (found.where, found.item) == (f"{path}:1", b"6\n")
    with path.open("ab") as stream:
        stream.write(b"7\n")
    assert [one.item for one in file.arrival(10).given] == [b"7\n"]


def test_what_is_added_to_a_file_while_it_is_rotated_is_read(tmp_path, opened, monkeypatch):
    path, former = tmp_path / "news.jsonl", tmp_path / "news.1"
    path.write_bytes(b"1\n")
    file = opened(path)
    path.rename(former)
    path.write_bytes(b"5\n")
    following = file._following

    def late() -> Any:
        if former.stat().st_size == 2:
            former.write_bytes(b"1\n2\n3\n4\n")
        return following()

    monkeypatch.setattr(file, "_following", late)
    found = [one.item for _ in range(4) for one in file.arrival(2).given]
    assert found == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"]


def test_standard_input_is_behind_while_it_gives_lines(monkeypatch):
    monkeypatch.setattr(inputs, "ACTIVE_SECONDS", 0.05)
    read, write = os.pipe()
    waiting: queue.Queue[Any] = queue.Queue()
    with os.fdopen(read, "rb") as ours, os.fdopen(write, "wb", buffering=0) as theirs:
        pipe = Pipe(ours, 1000, waiting)
        pipe.start()
        theirs.write(b"1\n")
        one = waiting.get(timeout=10)
        time.sleep(0.06)
        assert pipe.behind, "its line waits"
        one.settled([])
        assert not pipe.behind
        theirs.close()
        pipe.join(10)


def outbox(tmp_path, count: int = 2) -> Store:
    store = Store(tmp_path / "m.db")
    with store.transaction():
        for number in range(count):
            store.post({"id": f"ä{number}"})
    return store


def test_events_arrive_signed_in_order_and_again_until_they_do(server, tmp_path):
    store = outbox(tmp_path)
    delivery = Delivery(store.path, server.url, b"secret key", timeout=5)
    server.codes = [500, 302, 200, 200]
    now = 1000.0
    assert not delivery.deliver(store, now) and not delivery.deliver(store, now), "not due yet"
    assert len(server.posted) == 1
    assert not delivery.deliver(store, now + 1) and not delivery.deliver(store, now + 2), "the delay doubles"
    assert delivery.deliver(store, now + 3) and store.waiting() == 1
    assert delivery.deliver(store, now + 3) and not delivery.deliver(store, now + 3)
    assert [(json.loads(body)["id"], code) for _, body, code in server.posted] == [
        ("ä0", 500), ("ä0", 302), ("ä0", 200), ("ä1", 200)
    ]  # fmt: skip
    told, body, _ = server.posted[-1]
    seconds, code = (part.partition("=")[2] for part in told.split(","))
    assert hmac.new(b"secret key", f"{seconds}.".encode() + body, hashlib.sha256).hexdigest() == code


def test_a_webhook_that_hangs_stops_nothing(server, tmp_path):
    store = outbox(tmp_path, 1)
    server.codes = [0]
    delivery = Delivery(store.path, server.url, b"secret key", timeout=0.3)
    delivery.start()
    begin = time.perf_counter()
    news.taken(news.monitor(tmp_path / "m.db"), news.rows(50))
    while store._rows("SELECT error FROM outbox")[0][0] == "" and time.perf_counter() - begin < 20:
        time.sleep(0.02)
    assert "imed out" in store._rows("SELECT error FROM outbox")[0][0] and store.waiting() == 1
    while store.waiting() and time.perf_counter() - begin < 20:
        time.sleep(0.02)
    delivery.stopped.set()
    delivery.join(5)
    assert len(server.posted) == 1 and not delivery.is_alive()


def test_a_webhook_is_sent_no_alarm_of_before_there_was_one(server, tmp_path, capsys):
    rows = [*news.rows(60 * 52, surge=(60 * 50, 60 * 52))]
    news.taken(news.monitor(tmp_path / "m.db"), rows)
    store = Store(tmp_path / "m.db")
    assert store.events() and store.waiting() == 0
    assert store.begin_deliveries() == 0
    with store.transaction():
        store.post({"id": "new"})
    assert store.begin_deliveries() == 0 and store.waiting() == 1, "what was not sent before a stop"
    former = outbox(tmp_path / "former")  # of a version that stored all as to be delivered
    settings = NewsMonitorSettings(push=True, webhook=server.url)
    Stream(Monitor(settings, former, lambda items: []), queue.Queue(), b"secret key").close()
    assert former.waiting() == 0 and "2 events of before there was a webhook are not sent" in capsys.readouterr().err
    used = outbox(tmp_path / "used")
    used.failed(1, "refused", 0.0)
    assert used.begin_deliveries() == 0 and used.waiting() == 2


def test_what_a_pipe_has_stays_there_until_a_batch_is_taken(tmp_path, monkeypatch):
    lines = "".join(json.dumps(row) + "\n" for row in news.rows(40)).encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO(lines)))
    watched = NewsMonitor("", {}, ["--input", "-", "--batch_items", "4", "--output_dir", str(tmp_path / "run")])
    waiting: list[int] = []

    def slow(self: Stream, *given: Any) -> None:
        time.sleep(0.02)
        waiting.append(self.waiting.qsize())
        take(self, *given)

    take = Stream._take
    monkeypatch.setattr(Stream, "_take", slow)
    monitor = watched.open()
    watched.watch()
    assert monitor.tally["counted"]["count"] == 40 and max(waiting) <= 4
    watched.save_and_print()


def test_a_webhook_needs_a_key(monkeypatch, tmp_path):
    monkeypatch.setenv("TASKSWAP_WEBHOOK_SECRET", "short")
    with pytest.raises(SettingsError, match="at least 8 characters"):
        secret_of(None)
    (tmp_path / "key").write_text("long enough\n")
    assert secret_of(str(tmp_path / "key")) == b"long enough"


@pytest.mark.slow
def test_a_file_that_grows_is_watched_and_no_alarm_is_lost_to_kill_9(server, tmp_path):
    """Killed after the first half, while its webhook fails; then continued with the rest, and stopped by Ctrl-C."""
    rows = [*news.rows(20 * 72, surge=(20 * 60, 20 * 62), per_hour=20)]
    path, folder = news.write(tmp_path / "news.jsonl", rows[: 20 * 61 + 5]), tmp_path / "run"
    words = [REPOSITORY / "recipes" / "news_monitor.py", "--input", path, "--output_dir", folder]
    words += ["--learning_days", "2", "--delay_minutes", "0", "--webhook", server.url]
    key = {"TASKSWAP_WEBHOOK_SECRET": "a key of the test"}
    server.codes = [503] * 1000
    process = forked.Forked(words, tmp_path / "first.log", environment=key)
    process.until(lambda: server.posted)
    process.kill()
    server.codes.clear()
    with path.open("a") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows[20 * 61 + 5 :])
    process = forked.Forked(words, tmp_path / "second.log", environment=key)
    store = Store(folder / "monitor.db")

    def finished() -> bool:
        """All items are counted, and nothing waits to be delivered."""
        counted = store.get(TALLY, {}).get(COUNTED, {}).get("count")
        return counted == len(rows) and store.waiting() == 0

    process.until(finished)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0 and "1,440 counted" in (tmp_path / "second.log").read_text()
    arrived = [json.loads(body)["id"] for _, body, code in server.posted if code == 200]
    expected = [json.loads(line)["id"] for line in store.events()]
    store.close()
    assert list(dict.fromkeys(arrived)) == expected and expected[0] == "all@2020-09-16T01:00:00Z#1"
