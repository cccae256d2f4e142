"""Files that grow, feeds, and webhooks: what comes in, and what goes out, with the faults that each can have."""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import forked
import news
import pytest
from conftest import REPOSITORY

from adapters.applications.news_monitor.feeds import Feed
from adapters.applications.news_monitor.inputs import GrowingFile, Pipe, drained
from adapters.applications.news_monitor.monitor import TALLY
from adapters.applications.news_monitor.store import COUNTED, Store
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
    assert (first["id"], first["time"], first["source"]) == ("a1", 1772452800, "Wire")
    assert " ".join(first["summary"].split()) == "By 12 percent" and second["time"] is None
    assert feed.poll().given == ()
    assert Feed(f"{server.url}/rss", arrival.marks[f"feed {server.url}/rss"], 300, waiting).poll().given == ()
    (atom,) = Feed(f"{server.url}/atom", None, 300, waiting).poll().given
    assert (atom.item["title"], atom.item["time"]) == ("Über Acme", 1772452800)
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
