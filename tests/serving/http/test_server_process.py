"""`python -m adapters serve` as a process: from its first line to its exit code, alone and with workers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
import pytest
import servers
from conftest import REPOSITORY
from forked import Forked
from servers import TEXT, until

from adapters.serving.http.client import Client

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def command(base: Path, served_root: Path, *flags: str) -> list[str]:
    given = [word for name in servers.NAMES for word in ("--adapter", f"{name}={served_root / name}")]
    return ["serve", "--base", str(base), "--port", "0", *given, *flags]


class Process:
    """A running server, and what it has logged."""

    def __init__(self, words: Sequence[str], log: Path, forks: bool) -> None:
        self.log = log
        self.process: Forked | subprocess.Popen[bytes]
        log.touch()
        if forks:
            self.process = Forked(words, log.with_suffix(".out"), log, log.parent, ENVIRONMENT)
            return
        with log.open("w") as stream:
            whole = [sys.executable, "-m", "adapters", *words]
            self.process = subprocess.Popen(whole, stderr=stream, env=ENVIRONMENT, cwd=log.parent)

    def logged(self, message: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        read = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in read if line["message"] == message]

    def wait_for(self, message: str, times: int = 1) -> list[dict[str, Any]]:
        until(lambda: self.process.poll() is not None or len(self.logged(message)) >= times, 120)
        assert self.process.poll() is None, self.log.read_text()
        return self.logged(message)

    @property
    def port(self) -> int:
        return int(self.wait_for("listening")[0]["url"].rpartition(":")[2])


@contextmanager
def started(words: Sequence[str], log: Path, forks: bool = True) -> Iterator[Process]:
    process = Process(words, log, forks)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait(60)


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_server_is_alive_then_ready_and_finishes_what_was_admitted_when_it_is_told_to_stop(
    tiny_bert: Path, served_root: Path, tmp_path: Path
) -> None:
    with started(command(tiny_bert, served_root, "--max_wait_ms", "1500"), tmp_path / "log") as server:
        port = server.port
        assert get(port, "/healthz")[0] == 200
        first = get(port, "/readyz")[0]
        assert first == 503 or server.logged("ready"), "it opens the base after the first line"
        server.wait_for("ready")
        assert get(port, "/readyz") == (200, b'{"status":"ready"}')
        assert len(server.logged("device: cpu (auto), float32")) == 1
        statuses: list[int] = []

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request(
                "POST",
                "/v1/predict",
                json.dumps([{"adapter": "ner", "inputs": TEXT}]),
                {"content-type": "application/json"},
            )
            statuses.append(connection.getresponse().status)
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)  # they wait for others, a second and a half
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert statuses == [200] * 8
        assert server.process.wait(60) == 0
        assert server.logged("stopping")[0]["signal"] == "SIGTERM"
        assert "Traceback" not in server.log.read_text()


def test_ctrl_c_ends_with_130(tiny_bert: Path, served_root: Path, tmp_path: Path) -> None:
    with started(command(tiny_bert, served_root), tmp_path / "log") as server:
        server.wait_for("listening")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 130


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--adapter", "bad=none"], "no such folder"),
        (["--adapter", "ner"], "must be NAME=FOLDER"),
        (["--adapter", "Ner=x"], "is not a valid adapter name"),
        (["--router", "nowhere"], "no such folder"),
        (["--max_texts", "999"], "would never fit"),
        (["--timeout_ms", "0"], "must be at least 1"),
        (["--worker", "2"], "did you mean '--workers'"),
        (["--host", "no.such.host.invalid"], "cannot listen on it"),
        (["--admin_token_file", "nowhere"], "cannot be read"),
    ],
)
def test_what_cannot_be_served_ends_with_2_and_one_message(
    tiny_bert: Path, tmp_path: Path, flags: list[str], message: str
) -> None:
    ended = forked.ended(["serve", "--base", tiny_bert, "--port", 0, *flags], tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_workers_share_a_port_and_their_counts_and_stop_together(
    tiny_bert: Path, served_root: Path, tmp_path: Path
) -> None:
    flags = ("--workers", "2", "--adapter_root", str(served_root))
    with started(command(tiny_bert, served_root, *flags), tmp_path / "log", forks=False) as server:
        ready = server.wait_for("ready", 2)
        processes = {line["process"] for line in server.logged("listening")}
        assert len(ready) == 2 and len(processes) == 2
        with Client(f"http://127.0.0.1:{server.port}") as client:
            for _ in range(10):
                assert client.predict([{"adapter": "ner", "inputs": TEXT}])[0]["output"]["text"] == TEXT
                client.close()  # so that the next one may reach the other
        answered = 'taskswap_requests_total{route="/v1/predict",status="200"} 10.0'
        until(lambda: answered in get(server.port, "/metrics")[1].decode())  # counted once an answer is sent
        assert "taskswap_adapters_known 6.0" in get(server.port, "/metrics")[1].decode()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


FORKING = """
import os, signal, sys
from adapters.cli.main import main
from adapters.serving.http import workers

class Worker:
    \"\"\"A worker forked from the process that watches it, which is started for real in the test before this one.\"\"\"

    def __init__(self, argv, listener, counts, number):
        self.code, self.pid = None, os.fork()
        if self.pid == 0:
            for sent in (signal.SIGTERM, signal.SIGINT):
                signal.signal(sent, signal.SIG_DFL)
            os.environ.update({workers.LISTENER: str(os.dup(listener.fileno())), workers.SHARED: counts})
            code = main(["serve", *argv])
            sys.stderr.flush()
            os._exit(code)

    def poll(self, how=os.WNOHANG):
        if self.code is None:
            ended, status = os.waitpid(self.pid, how)
            self.code = os.waitstatus_to_exitcode(status) if ended else None
        return self.code

    def wait(self):
        return self.poll(0)

    def send_signal(self, number):
        os.kill(self.pid, number)

workers._start = Worker
sys.exit(main(sys.argv[1:]))
"""


def test_a_worker_that_ends_is_started_again(tiny_bert: Path, served_root: Path, tmp_path: Path) -> None:
    (tmp_path / "forking.py").write_text(FORKING)
    words = command(tiny_bert, served_root, "--workers", "2")
    with started([str(tmp_path / "forking.py"), *words], tmp_path / "log") as server:
        server.wait_for("ready", 2)
        first = min(line["process"] for line in server.logged("listening"))
        os.kill(first, signal.SIGKILL)
        server.wait_for("ready", 3)
        assert server.logged("a worker ended")[0]["process"] == first
        until(lambda: get(server.port, "/readyz")[0] == 200)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_adapter_that_is_damaged_ends_the_server_with_2(tiny_bert: Path, tmp_path: Path, workers: str) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "forking.py").write_text(FORKING)
    words = ["serve", "--base", tiny_bert, "--port", 0, "--workers", workers, "--adapter", f"bad={tmp_path / 'bad'}"]
    ended = forked.ended([tmp_path / "forking.py", *words], tmp_path)
    assert ended.returncode == 2
    assert "contains no card.json" in ended.stderr
    assert "Traceback" not in ended.stderr
