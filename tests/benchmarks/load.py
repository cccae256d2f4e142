"""Clients of a server, all in one process: `serving.py` starts it and reads the JSON line that it prints.

    python tests/benchmarks/load.py PORT CASES.json --clients 64 --seconds 10
    python tests/benchmarks/load.py PORT CASES.json --rate 4000 --texts 8 --seconds 10

CASES.json holds `path` and a list of `{body, expected}`: a request of one text, and what its answer must say. With
`--rate` requests are sent when their time has come, whether earlier ones were answered or not.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

CLOSE = 0.002


def wrong(answer: dict[str, Any], expected: Any) -> bool:
    """Whether an answer says another thing than what is expected, by the version of its adapter if so given."""
    if expected is None:
        return False
    if isinstance(expected, dict) and "by_generation" in expected:
        expected = expected["by_generation"][answer["version"] % 2]
    output = answer["output"]
    if "tags" in output:
        return output["tags"] != expected["tags"]
    return output["label"] != expected["label"] or abs(output["score"] - expected["score"]) > CLOSE


class Load:
    """Counts of what was answered."""

    def __init__(self, port: int, cases: dict[str, Any], texts: int) -> None:
        """Args: where, what, and how many texts a request."""
        self.port, self.cases, self.texts = port, cases, texts
        self.head = f"POST {cases['path']} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self.statuses: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}
        self.wrong = 0
        self.usual, self.normal_again = float("inf"), 0.0
        self.ends: list[float] = []
        self.turn = itertools.count()

    def request(self) -> tuple[bytes, list[Any]]:
        """The next request, and what is expected of it."""
        cases = self.cases["cases"]
        chosen = [cases[next(self.turn) % len(cases)] for _ in range(self.texts)]
        body = orjson.dumps([case["body"] for case in chosen] if self.cases["listed"] else chosen[0]["body"])
        return f"{self.head}content-length: {len(body)}\r\n\r\n".encode() + body, [c["expected"] for c in chosen]

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request on an open connection, answered and counted."""
        sent, expected = self.request()
        begin = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        status = head[9:12].decode()
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(size)
        end = time.perf_counter()
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(end - begin)
        if status == "200":
            self.ends.append(end)
            answers = orjson.loads(body)
            if self.cases["listed"]:
                for answer, wanted in zip(answers, expected, strict=True):
                    self.wrong += "error" not in answer and wrong(answer, wanted)

    async def client(self, until: float) -> None:
        """One that sends its next request when the last one is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while time.perf_counter() < until:
            await self.ask(reader, writer)
        writer.close()

    async def flood(self, rate: float, until: float) -> None:
        """Requests at a rate, on as many connections as it takes."""
        free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        tasks: set[asyncio.Task[None]] = set()

        async def one() -> None:
            pair = free.pop() if free else await asyncio.open_connection("127.0.0.1", self.port)
            try:
                await self.ask(*pair)
                free.append(pair)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.statuses[type(error).__name__] += 1

        begin, sent = time.perf_counter(), 0
        while (now := time.perf_counter()) < until:
            while sent < (now - begin) * rate:
                task = asyncio.create_task(one())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.001)
        await self.until_normal()
        await asyncio.gather(*tasks)

    async def until_normal(self) -> None:
        """One text at a time, until one is answered as soon as is usual."""
        probe = Load(self.port, self.cases, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        begin = time.perf_counter()
        while not any(seconds <= self.usual for seconds in probe.seconds.get("200", [])):
            await probe.ask(reader, writer)
        self.normal_again = time.perf_counter() - begin
        writer.close()

    def told(self, seconds: float) -> dict[str, Any]:
        """All that was counted."""
        times = {status: 1000 * np.array(found) for status, found in self.seconds.items()}
        shares = {
            status: {"p50_ms": round(float(np.percentile(found, 50)), 2),
                     "p99_ms": round(float(np.percentile(found, 99)), 2), "max_ms": round(float(found.max()), 2)}
            for status, found in times.items()
        }  # fmt: skip
        return {"seconds": round(seconds, 2), "statuses": dict(self.statuses), "times": shares, "wrong": self.wrong,
                "normal_again_seconds": round(self.normal_again, 3),
                "texts_per_second": round(self.statuses["200"] * self.texts / seconds, 1)}  # fmt: skip


async def main() -> None:
    """Send, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--texts", type=int, default=1)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--usual_ms", type=float, help="no longer than that takes an answer that is as usual")
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    load = Load(given.port, json.loads(given.cases.read_text()), given.texts)
    load.usual = (given.usual_ms or float("inf")) / 1000
    begin = time.perf_counter()
    if given.rate:
        await load.flood(given.rate / given.texts, begin + given.seconds)
    else:
        await asyncio.gather(*(load.client(begin + given.seconds) for _ in range(given.clients)))
    print(json.dumps(load.told(time.perf_counter() - begin)))


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
