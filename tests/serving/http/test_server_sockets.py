"""The server on real sockets: clients that are slow, rude, gone, or many; streams; and the client of this project."""

from __future__ import annotations

import contextlib
import html
import inspect
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import foreign
import pytest
import servers
from hypothesis import given
from hypothesis import strategies as st
from servers import TEXT, Running, answer, head, post, until

from adapters.serving.bank.bank import AdapterBank
from adapters.serving.http.client import BusyError, Client, ClientError, RefusedError, UnreachableError
from adapters.serving.http.stream import LineSplitter
from adapters.tasks.base.requests import Request

pytestmark = pytest.mark.slow

NDJSON = "application/x-ndjson"
ONE = [{"adapter": "ner", "inputs": TEXT}]


@pytest.fixture(scope="module")
def live(served_bank: Any, served_root: Any) -> Iterator[Running]:
    """A server with patience for half a second."""
    with Running(served_bank, adapter_root=str(served_root), read_timeout_s=0.5) as server:
        yield server


def chunk(data: bytes) -> bytes:
    """A chunk of a body of unknown length."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def ended(connection: socket.socket) -> bool:
    """Whether the server closes a connection within its patience and a little more."""
    connection.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def test_a_body_that_does_not_come_is_given_up_and_others_are_answered_meanwhile(live: Running) -> None:
    with live.connect() as slow, live.connect() as quick:
        slow.sendall(head(content_length=100) + b"[")
        quick.sendall(post(ONE))
        assert answer(quick)[0] == 200
        status, _, body = answer(slow)
        assert status == 408
        assert json.loads(body)["found"] == "1 bytes"


def test_a_client_that_sends_a_byte_now_and_then_is_given_up_as_well(live: Running) -> None:
    with live.connect() as slow:
        slow.sendall(head(content_length=1000))
        stop = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    slow.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert answer(slow)[0] == 408
        finally:
            stop.set()
            thread.join()


def test_connections_that_say_nothing_or_half_a_head_do_not_stay_and_harm_nobody(live: Running) -> None:
    idle = [live.connect() for _ in range(40)]
    for number, connection in enumerate(idle):
        if number % 2:
            connection.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: local")
    with live.connect() as quick:
        quick.sendall(post(ONE))
        assert answer(quick)[0] == 200
    for connection in idle:
        assert ended(connection)
        connection.close()


def test_a_head_that_comes_byte_by_byte_does_not_keep_its_connection_open(live: Running) -> None:
    with live.connect() as slow:
        with contextlib.suppress(OSError):
            for byte in head(content_length=2):
                slow.sendall(bytes([byte]))
                time.sleep(0.02)
        assert ended(slow)


def test_what_is_no_http_is_refused_in_json(live: Running) -> None:
    with live.connect() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        status, headers, body = answer(connection)
        assert (status, headers["content-type"]) == (400, "application/json")
        assert json.loads(body).keys() == {"error", "expected", "found"}


def test_headers_without_an_end_are_refused(live: Running) -> None:
    with live.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            for number in range(10_000):
                connection.sendall(f"x-{number}: {'y' * 100}\r\n".encode())
        with contextlib.suppress(ConnectionResetError):  # it may come before what was said is read
            assert answer(connection)[0] == 431
    with live.connect() as connection:
        connection.sendall(head(content_length=0, x_long="y" * 30_000))
        assert answer(connection)[0] == 400


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_of_a_hundred_megabytes_is_refused_before_it_has_come(live: Running, declared: bool) -> None:
    size = 100_000_000
    with live.connect() as connection:
        connection.sendall(head(**({"content_length": size} if declared else {"transfer_encoding": "chunked"})))
        part = b" " * 500_000
        for _ in range(3):
            connection.sendall(part if declared else chunk(part))
        status, headers, body = answer(connection)
        assert (status, headers["connection"]) == (413, "close")
        assert json.loads(body)["expected"] == "at most 1,000,000 bytes"
    until(lambda: _limits(live).bodies.bytes_in_memory == 0)


def _limits(live: Running) -> Any:
    found = live.server.config.app.middleware_stack
    while type(found).__name__ != "Limits":
        found = found.app
    return found


def test_a_client_that_sends_all_of_a_large_body_before_it_reads_is_told_why_it_was_refused(live: Running) -> None:
    with live.connect() as connection:
        connection.sendall(head(content_length=8_000_000) + b" " * 8_000_000)
        assert answer(connection)[0] == 413


def test_many_large_bodies_at_a_time_are_refused_not_held(served_bank: Any) -> None:
    from adapters.serving.http.limits import MAX_BODIES

    with Running(served_bank, max_body_bytes=100_000) as live:
        open_ones = []
        for number in range(MAX_BODIES + 1):
            connection = live.connect()
            connection.sendall(head(content_length=100_000) + b" " * 99_999)
            open_ones.append(connection)
            until(lambda: _limits(live).bodies.bytes_in_memory >= min(number + 1, MAX_BODIES) * 99_999)  # noqa: B023
        status, headers, _ = answer(open_ones[-1])
        assert (status, headers["retry-after"]) == (503, "1")
        for connection in open_ones:
            connection.close()
        until(lambda: _limits(live).bodies.bytes_in_memory == 0)


def test_who_hangs_up_frees_the_room_of_its_texts(served_bank: Any) -> None:
    slow = servers.Slow(served_bank)
    slow.go.set()
    with Running(slow) as live:
        slow.go.clear()
        batcher = live.service.batcher
        with live.connect() as first:
            first.sendall(post(ONE))
            until(lambda: TEXT in slow.inputs)
            with live.connect() as gone:
                gone.sendall(post([{"adapter": "ner", "inputs": f"gone {n}"} for n in range(5)]))
                until(lambda: batcher.waiting == 5)
            until(lambda: batcher.waiting == 0)
            slow.go.set()
            assert answer(first)[0] == 200
    assert not [text for text in slow.inputs if text.startswith("gone")]


def test_one_connection_serves_many_requests_refused_ones_among_them(live: Running) -> None:
    with live.connect() as connection:
        for requests, status in ((ONE, 200), ([], 422), ({}, 422), (ONE, 200)):
            connection.sendall(post(requests))
            assert answer(connection)[0] == status


# streams --------------------------------------------------------------------------------------------------------------


def lines_of(connection: socket.socket) -> Any:
    """Status, and an iterator over the lines that come."""
    import http.client

    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response


def line(number: int, adapter: str = "ner") -> bytes:
    return json.dumps({"adapter": adapter, "inputs": f"{TEXT} {number}"}).encode() + b"\n"


def test_a_stream_answers_each_line_in_its_place_also_the_wrong_ones(served_bank: Any, served_root: Any) -> None:
    requests = [line(n, servers.NAMES[n % 3]) for n in range(300)]
    requests[7] = b"no json\n"
    requests[8] = b'{"adapter": "unknown", "inputs": "x", "id": "mine"}\n'
    requests[9] = b" " * 30_000 + b"\n"  # as long as a line may be and more, then empty: no line
    requests[10] = b'{"adapter": "ner", "inputs": "' + b"x" * 30_000 + b'"}\n'
    requests[11] = b'{"adapter": "ner", "inputs": ""}\r\n'
    requests[-1] = requests[-1].rstrip(b"\n")
    with Running(served_bank, max_body_bytes=20_000) as live, live.connect() as connection:
        body = b"".join(requests)
        connection.sendall(head("/v1/predict/stream", NDJSON, transfer_encoding="chunked"))

        def send() -> None:
            for begin in range(0, len(body), 777):
                connection.sendall(chunk(body[begin : begin + 777]))
            connection.sendall(chunk(b""))

        thread = threading.Thread(target=send)
        thread.start()
        status, response = lines_of(connection)
        found = [json.loads(one) for one in response]
        thread.join()
    assert status == 200
    assert len(found) == 300
    assert found[8]["id"] == "mine" and "known: " in found[8]["error"]
    assert "not JSON" in found[7]["error"]
    assert all("too long" in found[n]["error"] for n in (9, 10))
    assert found[11]["output"]["tags"] == []
    for number, one in enumerate(found):
        if number not in (7, 8, 9, 10, 11):
            assert (one["id"], one["adapter"]) == (str(number), servers.NAMES[number % 3])
            assert one["output"]["text"] == f"{TEXT} {number}"


@given(st.lists(st.binary(max_size=6), max_size=12), st.integers(1, 9))
def test_lines_are_the_same_however_they_arrive(parts: list[bytes], most: int) -> None:
    parts = [part.replace(b"\x00", b"\n") for part in parts]
    splitter = LineSplitter(most)
    found = [line for n, part in enumerate(parts) for line in splitter.feed(part, last=n == len(parts) - 1)]
    whole = b"".join(parts).split(b"\n") if parts else []
    assert found == [None if len(line) > most else line for line in whole]
    assert not splitter.rest


def test_a_stream_answers_a_line_before_the_next_is_sent(live: Running) -> None:
    with live.connect() as connection:
        connection.sendall(head("/v1/predict/stream", NDJSON, transfer_encoding="chunked"))
        status, response = lines_of(connection)
        assert status == 200
        for number in range(3):
            connection.sendall(chunk(line(number)))
            assert json.loads(response.readline())["id"] == str(number)
        connection.sendall(chunk(b""))
        assert response.read() == b""


def test_a_stream_whose_client_does_not_read_is_not_read_either(served_bank: Any) -> None:
    with Running(served_bank, read_timeout_s=30) as live, live.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1)
        connection.sendall(head("/v1/predict/stream", NDJSON, transfer_encoding="chunked"))
        data, sent = chunk(b"".join(map(line, range(100)))), 0
        with pytest.raises(TimeoutError):
            while sent < 1_000_000:  # more than all buffers of the kernel hold
                connection.sendall(data)
                sent += 100
        assert 100 <= sent < 1_000_000
        assert live.service.batcher.waiting <= 128


def test_a_stream_that_falls_silent_is_ended_with_a_line_that_says_so(live: Running) -> None:
    with live.connect() as connection:
        connection.sendall(head("/v1/predict/stream", NDJSON, transfer_encoding="chunked") + chunk(line(0) + b'{"ad'))
        _, response = lines_of(connection)
        first, last = (json.loads(one) for one in response)
        assert first["id"] == "0"
        assert "id" not in last and "did not arrive in time" in last["error"] and last["read"] == 1


def test_a_fault_of_ours_in_a_stream_ends_it_as_cut_short_and_does_not_leave_its_client_waiting(
    served_bank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import http.client

    with Running(served_bank) as live, live.connect() as connection:
        read = live.service.parser.parse_line

        def faulty(text: bytes, number: int) -> Any:
            if number == 2:
                raise RuntimeError("ours")
            return read(text, number)

        monkeypatch.setattr(live.service.parser, "parse_line", faulty)
        connection.settimeout(10)
        connection.sendall(head("/v1/predict/stream", NDJSON, transfer_encoding="chunked") + chunk(line(0) + line(1)))
        _, response = lines_of(connection)
        assert [json.loads(response.readline())["id"] for _ in range(2)] == ["0", "1"]
        connection.sendall(chunk(line(2)))
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        assert live.service.batcher.waiting == 0


def test_a_line_that_comes_byte_by_byte_ends_its_stream(live: Running) -> None:
    with live.connect() as connection:
        connection.sendall(head("/v1/predict/stream", NDJSON, transfer_encoding="chunked"))
        _, response = lines_of(connection)
        with contextlib.suppress(OSError):
            for _ in range(40):
                connection.sendall(chunk(b" "))
                time.sleep(0.05)
        (last,) = (json.loads(one) for one in response)
        assert "did not arrive in time" in last["error"]


def test_a_stream_waits_for_room_where_a_list_is_refused(served_bank: Any) -> None:
    slow = servers.Slow(served_bank)
    slow.go.set()
    with Running(slow, max_queue=4, max_texts=4, max_batch_tokens=1) as live:
        slow.go.clear()
        with live.connect() as full, live.connect() as refused, live.connect() as streaming:
            full.sendall(post(ONE * 4))
            until(lambda: live.service.batcher.waiting == 3)
            refused.sendall(post(ONE * 2))
            assert answer(refused)[0] == 503
            body = b"".join(line(n) for n in range(20))
            streaming.sendall(head("/v1/predict/stream", NDJSON, content_length=len(body)) + body)
            _, response = lines_of(streaming)
            slow.go.set()
            assert [json.loads(one)["id"] for one in response] == [str(n) for n in range(20)]
            assert answer(full)[0] == 200


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("lines", [2, 60])
def test_a_stream_whose_client_hangs_up_frees_its_room(served_bank: Any, complete: bool, lines: int) -> None:
    slow = servers.Slow(served_bank)
    slow.go.set()
    with Running(slow, max_wait_ms=0, max_batch_tokens=1) as live:
        slow.go.clear()
        body = chunk(b"".join(line(n) for n in range(lines))) + (chunk(b"") if complete else b"")
        with live.connect() as connection:
            connection.sendall(head("/v1/predict/stream", NDJSON, transfer_encoding="chunked") + body)
            until(lambda: live.service.batcher.waiting)
        until(lambda: not live.service.batcher.waiting)
        assert not slow.go.is_set(), "and nothing was answered"
        refused = live.service.metrics.refusals.labels("disconnected")
        until(lambda: refused._value.get() == 1)
        slow.go.set()


def test_a_line_waits_for_room_no_longer_than_its_time(served_bank: Any) -> None:
    with servers.site(served_bank, timeout_ms=50) as site:
        site.service.batcher.waiting = site.service.settings.max_queue
        found = site.ask("POST", "/v1/predict/stream", content=line(0), headers={"content-type": NDJSON})
        assert found.status_code == 200 and "The queue is full" in found.json()["error"]
        site.service.batcher.waiting = 0


def test_a_stream_is_answered_as_far_as_it_was_read_when_the_server_is_to_stop(served_bank: Any) -> None:
    with Running(served_bank) as live, live.connect() as connection:
        connection.sendall(head("/v1/predict/stream", NDJSON, transfer_encoding="chunked") + chunk(line(0) + line(1)))
        _, response = lines_of(connection)
        assert [json.loads(response.readline())["id"] for _ in range(2)] == ["0", "1"]
        live.server.loop.call_soon_threadsafe(live.service.drain)
        last = json.loads(response.readline())
        assert "about to stop" in last["error"] and last["read"] == 2
        assert response.read() == b""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_docs_work_as_pasted(served_bank: Any) -> None:
    with Running(served_bank) as live:
        page = html.unescape(urllib.request.urlopen(f"{live.url}/docs").read().decode())
        commands = [found for found in re.findall("<pre>(curl.*?)</pre>", page, re.DOTALL) if "/v1/predict" in found]
        assert len(commands) == 2
        for command in commands:
            here = command.replace("127.0.0.1:8000", f"127.0.0.1:{live.port}")
            output = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True).stdout
            answers = json.loads(output) if output.startswith("[") else [json.loads(one) for one in output.splitlines()]
            assert [one["task"] for one in answers] == ["ner", "classification"]


# the client -----------------------------------------------------------------------------------------------------------


def test_the_client_predicts_lists_loads_and_unloads(live: Running, served_bank: Any) -> None:
    with Client(live.url, token=servers.ADMIN) as client:
        assert client.ready()
        requests = [
            Request("ner", TEXT),
            {"adapter": "mood", "inputs": {"text": TEXT}, "id": "x"},
            Request("none", TEXT),
        ]
        found = client.predict(requests)
        assert [one["id"] for one in found] == ["0", "x", "2"]
        assert found[0]["output"]["tags"] == served_bank.predict(requests[:1])[0]["output"]["tags"]
        assert "known" in found[2]["error"] or "did you mean" in found[2]["error"]
        assert [info["name"] for info in client.adapters()] == list(servers.NAMES)
        assert client.load("new", "other", pin=True)["pinned"]
        assert client.adapter("new")["card"]["method"]["name"] == "lora"
        client.unload("new")
        with pytest.raises(RefusedError, match="No adapter is called 'new'") as refused:
            client.unload("new")
        assert refused.value.status == 404
        with pytest.raises(RefusedError, match="none of them empty") as refused:
            client.predict([{"adapter": "mood", "inputs": ""}])
        assert refused.value.body["answers"][0]["id"] == "0"
        assert client.predict([]) == []


@pytest.mark.filterwarnings("ignore:.*no card:UserWarning")
def test_the_client_says_how_a_folder_without_a_card_is_read(tiny_bert: Path, tmp_path: Path) -> None:
    foreign.make(tmp_path / "stars", tiny_bert, "SEQ_CLS", foreign.configs("bert")["LoRA"])
    bank = AdapterBank(str(tiny_bert))
    with Running(bank, adapter_root=str(tmp_path)) as live, Client(live.url, token=servers.ADMIN) as client:
        client.load("alike", "stars", pair=True, max_length=8)
        client.load("several", "stars", multi_label=True, labels=["a", "b", "c"])
        pair = {"text": TEXT, "text_pair": TEXT}
        alike, several = client.predict([Request("alike", pair), Request("several", TEXT)])
        assert alike["truncated"] and "label" in alike["output"]
        assert set(several["output"]["labels"]) <= set(several["output"]["scores"]) == {"a", "b", "c"}


def test_the_client_loads_with_the_arguments_of_a_bank() -> None:
    its, bank = (set(inspect.signature(kind.load).parameters) for kind in (Client, AdapterBank))
    assert its == bank - {"replace"}, "a server always replaces"


def test_the_client_streams_any_number_in_order_and_reads_little_ahead(live: Running) -> None:
    taken = 0

    def requests() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield {"adapter": servers.NAMES[number % 3] if number >= 64 else "none", "inputs": f"{TEXT} {number}"}

    with Client(live.url) as client:
        answers = client.stream(requests())
        assert "error" in next(answers)
        assert taken <= 5 * 64
        rest = list(answers)
    assert [one["id"] for one in rest] == [str(n) for n in range(1, 1000)]
    assert all("error" in one for one in rest[:63])
    assert all(one["output"]["text"].endswith(f" {one['id']}") for one in rest[63:])


class Replies(BaseHTTPRequestHandler):
    """Answers with what its server was told to, one after another."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, headers, body = self.server.replies.pop(0)  # type: ignore[attr-defined]
        self.server.times.append(time.monotonic())  # type: ignore[attr-defined]
        if status == 0:  # hang up
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def replying(*replies: tuple[int, dict[str, str], bytes]) -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Replies)
    server.replies, server.times = list(replies), []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


GOOD = (200, {}, b'[{"id": "0", "adapter": "a", "output": {}}]')


def test_the_client_comes_again_no_sooner_than_retry_after_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("adapters.serving.http.client.time.sleep", waits.append)
    busy = (503, {"Retry-After": "1"}, b'{"error": "full"}')
    with replying(busy, (0, {}, b""), GOOD) as server, Client(f"http://127.0.0.1:{server.server_port}") as client:
        assert client.predict([Request("a", "x")])[0]["id"] == "0"
        assert len(server.times) == 3
    assert len(waits) == 2 and 1 <= waits[0] < 2


def test_the_client_gives_up_in_the_end_with_an_error_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("adapters.serving.http.client.time.sleep", waits.append)
    busy = (503, {"Retry-After": "7"}, b'{"error": "full", "expected": "later", "found": "no room"}')
    with replying(*[busy] * 3) as server, Client(f"http://127.0.0.1:{server.server_port}", retries=2) as client:
        with pytest.raises(BusyError, match="full Expected: later; found: no room") as error:
            client.predict([Request("a", "x")])
        assert error.value.status == 503
    assert len(waits) == 2 and all(7 <= wait < 8 for wait in waits)
    waits.clear()
    with pytest.raises(UnreachableError, match="Is the server running"):
        Client(f"http://127.0.0.1:{server.server_port}", retries=3).adapters()
    assert len(waits) == 3 and waits[0] < waits[2]


@pytest.mark.parametrize("reply", [(500, {}, b"<html>"), (401, {}, b'{"error": "no token"}'), (504, {}, b"{}")])
def test_the_client_does_not_repeat_what_would_be_refused_again(reply: Any) -> None:
    with replying(reply) as server, Client(f"http://127.0.0.1:{server.server_port}") as client:
        with pytest.raises(ClientError) as error:
            client.predict([Request("a", "x")])
        assert error.value.status == reply[0]
        assert len(server.times) == 1


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x", "http://", "", "http://h:99999", "http://[::1", "http://h:abc"]
)
def test_the_client_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(ClientError, match="not the address of a server"):
        Client(url)
