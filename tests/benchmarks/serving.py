"""The server against a plain FastAPI route with `set_adapter` under a lock, and what it does when it is asked too much.

    python tests/benchmarks/serving.py                              # all, some ten minutes
    python tests/benchmarks/serving.py --only throughput --seconds 5 --rounds 1
    python tests/benchmarks/serving.py --only memory --requests 5000

Eight LoRA adapters with random weights, four for named entities and four for classes, are asked in turn for texts of 24
to 40 tokens. Clients, servers and the bank alone are processes of their own, and take turns; loopback only. Run it with
nothing else on the machine. Prints lines as it goes and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import bench
import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
ADAPTERS = 8
OVERLOAD, OVERLOAD_TEXTS = 10, 8
START_SECONDS = 180
TOKEN = "admin-token-of-the-benchmark"


class Server(NamedTuple):
    """Where our server listens, and the id of its process."""

    port: int
    process: int


class Bench:
    """Adapters, texts and expected answers, in a folder; and the processes that use them."""

    def __init__(self, root: Path, base: str, threads: int | None, clients: int, number: int) -> None:
        """Args: where to write, the base, the server's --threads, how many clients ask at a time, how many texts."""
        import tiny

        from adapters.models.base_model import open_base
        from adapters.serving.bank.bank import AdapterBank

        self.root, self.base, self.threads = root, open_base(base), threads
        self.tasks = {f"a{i}": "classification" if i % 2 else "ner" for i in range(ADAPTERS)}
        tag, classify = tiny.tagging(("PER", "LOC", "ORG", "MISC")), tiny.classifying()
        for i, (name, task) in enumerate(self.tasks.items()):
            tiny.adapter(root / name, "lora", self.base, tag if task == "ner" else classify, seed=i, lora_r=8)
        tiny.adapter(root / "other", "lora", self.base, classify, seed=99, lora_r=8)
        self.texts = texts(self.base, number)
        self.bank = AdapterBank(str(self.base.folder))
        for name in (*self.tasks, "other"):
            self.bank.load(name, root / name)
        self.requests = [{"adapter": f"a{i % ADAPTERS}", "inputs": text} for i, text in enumerate(self.texts)]
        self.expected = [answer["output"] for answer in self.bank.predict(self.requests)]
        self.clients = clients
        self.cases = self.write("cases", "/v1/predict", self.requests, self.expected, listed=True)
        plain = [{"adapter": one["adapter"], "text": one["inputs"]} for one in self.requests]
        self.plain_cases = self.write("plain", "/predict", plain, [None] * len(plain), listed=False)

    def write(self, name: str, path: str, bodies: Sequence[Any], expected: Sequence[Any], *, listed: bool) -> Path:
        """A file of requests for `load.py`."""
        cases = [{"body": body, "expected": wanted} for body, wanted in zip(bodies, expected, strict=True)]
        file = self.root / f"{name}.json"
        file.write_text(json.dumps({"path": path, "listed": listed, "cases": cases}))
        return file

    def bank_alone(self, seconds: float) -> float:
        """Rows a second of the bank, asked for all texts at a time."""
        begin, rows = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            rows += len(self.bank.predict(self.requests))
        return rows / (time.perf_counter() - begin)

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Our server, ready, with room for one more adapter than it has."""
        words = ["-m", "adapters", "serve", "--base", str(self.base.folder), "--port", "0"]
        words += ["--adapter_root", str(self.root), "--capacity", str(ADAPTERS + 1)]
        if self.threads:
            words += ["--threads", str(self.threads)]
        for name in self.tasks:
            words += ["--adapter", f"{name}={self.root / name}"]
        log = self.root / "server.log"
        process = bench.started(*words, log=log, environment={**bench.environment(), "TASKSWAP_ADMIN_TOKEN": TOKEN})
        try:
            yield Server(wait_for_port(log, process), process.pid)
        finally:
            process.terminate()
            process.wait(60)

    @contextmanager
    def plain(self) -> Iterator[int]:
        """The server written by hand, ready: its port."""
        port = free_port()
        given = [f"{name}={task}:{self.root / name}" for name, task in self.tasks.items()]
        words = [str(HERE / "plain_server.py"), str(self.base.folder), str(port), *given]
        log = self.root / "plain.log"
        process = bench.started(*words, log=log, environment={**bench.environment(), "TASKSWAP_ADMIN_TOKEN": TOKEN})
        try:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/openapi.json"), process, log)
            yield port
        finally:
            process.kill()
            process.wait(60)

    def load(self, port: int, cases: Path, **flags: Any) -> dict[str, Any]:
        """What clients saw of a server."""
        words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
        ended = bench.command(str(HERE / "load.py"), str(port), str(cases), *words, environment=bench.environment())
        found: dict[str, Any] = json.loads(ended.stdout)
        return found


def texts(base: Any, number: int) -> list[str]:
    """Texts of 24 to 40 tokens: words that are one token each."""
    draw = random.Random(0)
    words = sorted(word for word in base.tokenizer.get_vocab() if word.isalpha() and word.isascii() and len(word) > 2)
    return [" ".join(draw.choices(words, k=draw.randint(22, 38))) for _ in range(number)]


def free_port() -> int:
    """One that nobody listens at."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as found:
            return bool(found.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def wait_until(ready: Any, process: subprocess.Popen[Any], log: Path) -> None:
    """Until something is so. A process that ends before, or takes too long, ends the benchmark with its log."""
    begin = time.perf_counter()
    while not ready():
        ended, late = process.poll(), time.perf_counter() - begin > START_SECONDS
        if late or ended is not None:
            how = f"is not ready after {START_SECONDS} s" if late else f"has ended with {ended}"
            raise SystemExit(f"process {process.pid} {how}:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def wait_for_port(log: Path, process: subprocess.Popen[Any]) -> int:
    """The port that a server's log names, once it is ready."""
    wait_until(lambda: '"ready"' in log.read_text(), process, log)
    first = json.loads(log.read_text().splitlines()[0])
    return int(first["url"].rpartition(":")[2])


def throughput(made: Bench, server: Server, given: argparse.Namespace) -> dict[str, Any]:
    """Requests a second of both servers, and rows a second of the bank alone, in turn."""
    found: dict[str, list[dict[str, Any]]] = {"server": [], "plain": []}
    bank: list[float] = []
    port = server.port
    with made.plain() as plain_port:
        made.load(port, made.cases, clients=made.clients, seconds=min(1.0, given.seconds))
        made.load(plain_port, made.plain_cases, clients=made.clients, seconds=min(1.0, given.seconds))
        made.bank_alone(0.1)
        for _ in range(given.rounds):
            bank.append(made.bank_alone(given.seconds))
            found["server"].append(made.load(port, made.cases, clients=made.clients, seconds=given.seconds))
            found["plain"].append(made.load(plain_port, made.plain_cases, clients=made.clients, seconds=given.seconds))
    rates = {name: statistics.median(r["texts_per_second"] for r in rounds) for name, rounds in found.items()}
    rows = statistics.median(bank)
    times = {name: rounds[len(rounds) // 2]["times"]["200"] for name, rounds in found.items()}
    return {
        "requests_per_second": rates, "bank_rows_per_second": round(rows, 1), "times": times,
        "over_plain": round(rates["server"] / rates["plain"], 2), "share_of_bank": round(rates["server"] / rows, 3),
        "wrong": sum(r["wrong"] for r in found["server"]),
        "others_than_200": sum(n for r in found["server"] for s, n in r["statuses"].items() if s != "200"),
    }  # fmt: skip


def overload(made: Bench, server: Server, given: argparse.Namespace) -> dict[str, Any]:
    """Ten times as many texts as can be answered, and how soon all is as before."""
    calm = made.load(server.port, made.cases, clients=made.clients, seconds=given.seconds)
    rate = OVERLOAD * calm["texts_per_second"]
    usual = calm["times"]["200"]["p99_ms"]
    flood = made.load(server.port, made.cases, rate=rate, texts=OVERLOAD_TEXTS, seconds=given.seconds, usual_ms=usual)
    return {"calm": calm, "asked_texts_per_second": rate, "flood": flood}


def memory(made: Bench, server: Server, given: argparse.Namespace) -> dict[str, Any]:
    """Resident memory of the server while it answers many requests."""
    done, sizes = 0, []
    watched = psutil.Process(server.process)
    while done < given.requests:
        found = made.load(server.port, made.cases, clients=made.clients, seconds=given.seconds)
        done += sum(found["statuses"].values())
        sizes.append((done, round(watched.memory_info().rss / 1e6, 1)))
    settled = next(size for number, size in sizes if number >= given.requests / 10)
    return {"requests": done, "rss_mb": sizes, "grown_mb": round(sizes[-1][1] - settled, 1)}


def changes(made: Bench, server: Server, given: argparse.Namespace) -> dict[str, Any]:
    """Answers while adapters come, go, and are replaced."""
    pair = [
        [answer["output"] for answer in made.bank.predict([{"adapter": name, "inputs": text} for text in made.texts])]
        for name in ("other", "a1")
    ]
    extra = [{"adapter": "turning", "inputs": text} for text in made.texts]
    expected = [{"by_generation": list(both)} for both in zip(*pair, strict=True)]  # 1: a1, 2: other, …
    cases = made.write("changes", "/v1/predict", made.requests + extra, [*made.expected, *expected], listed=True)
    stop, counts = threading.Event(), {"loaded": 0, "unloaded": 0, "failed": 0}

    def send(method: str, name: str, folder: str = "") -> None:
        body = json.dumps({"folder": folder}).encode() if folder else None
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/adapters/{name}", body, method=method)
        request.add_header("authorization", f"Bearer {TOKEN}")
        if body:
            request.add_header("content-type", "application/json")
        try:
            urllib.request.urlopen(request, timeout=60).close()
            counts["loaded" if method == "PUT" else "unloaded"] += 1
        except urllib.error.HTTPError:
            counts["failed"] += 1

    def turn() -> None:
        while not stop.is_set():
            for folder in ("a1", "other", "a1", "other"):
                send("PUT", "turning", folder)
            send("PUT", "guest", "a2")
            send("DELETE", "guest")
            send("DELETE", "turning")

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        found = made.load(server.port, cases, clients=made.clients, seconds=3 * given.seconds)
    finally:
        stop.set()
        thread.join()
    return {"statuses": found["statuses"], "wrong": found["wrong"], **counts}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"throughput": throughput, "overload": overload, "memory": memory, "changes": changes}
    parser.add_argument("--only", nargs="*", choices=parts, default=list(parts))
    parser.add_argument("--rounds", type=int, default=5, help="of the throughput")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--requests", type=int, default=50_000, help="of the memory")
    parser.add_argument("--texts", type=int, default=512, help="that are asked, in turn")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--threads", type=int, help="of the server")
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    from adapters.core.processes import use_all_cores

    use_all_cores()
    found: dict[str, Any] = {"benchmark": "serving", "clients": given.clients, "adapters": ADAPTERS}
    with tempfile.TemporaryDirectory() as folder:
        made = Bench(Path(folder), given.base, given.threads, given.clients, given.texts)
        with made.server() as server:
            for name in given.only:
                found[name] = parts[name](made, server, given)
                print(json.dumps({name: found[name]}), flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
