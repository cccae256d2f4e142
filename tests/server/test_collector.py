"""Requests share batches, wait in a bounded queue, and are dropped when nobody wants their answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import DataError
from adapters.requests import Request
from adapters.server import Refusal, Settings
from adapters.server.collector import Collector


class Bank:
    """Answers each text by itself; waits to be let go if so made."""

    def __init__(self, *, held: bool = False, breaks: str = "") -> None:
        self.go = threading.Event()
        if not held:
            self.go.set()
        self.breaks = breaks
        self.batches: list[list[str]] = []

    def __call__(self, requests: Sequence[Request]) -> Any:
        texts = [str(request.inputs) for request in requests]
        self.batches.append(texts)
        assert self.go.wait(60)
        if self.breaks in texts:
            raise RuntimeError("broken")
        faults = {number: DataError(text) for number, text in enumerate(texts) if text.startswith("bad")}
        return [{"id": request.id, "said": text} for request, text in zip(requests, texts, strict=True)], faults


def asked(*texts: str) -> list[Request]:
    return [Request("a", text, str(number)) for number, text in enumerate(texts)]


def run(bank: Bank, work: Callable[[Collector], Coroutine[Any, Any, Any]], **given: Any) -> Any:
    """What some work with a collector returns; the collector is closed behind it."""
    collector = Collector(bank, Settings(**given), lambda *_: None)
    collector.start(given.get("threads", 1))
    try:
        return asyncio.run(work(collector))
    finally:
        bank.go.set()
        collector.close()
        assert not any(thread.is_alive() for thread in collector.threads)
        assert (collector.waiting, collector.pieces, len(collector.jobs)) == (0, 0, 0)


async def busy(collector: Collector, bank: Bank) -> asyncio.Task[Any]:
    """A request that the bank is at work on, until it is let go."""
    first = asyncio.create_task(collector.ask(asked("first"), 60))
    while not bank.batches:
        await asyncio.sleep(0.001)
    return first


def test_requests_that_come_while_the_bank_is_at_work_share_the_next_batch() -> None:
    bank = Bank(held=True)

    async def work(collector: Collector) -> list[Any]:
        first = await busy(collector, bank)
        others = [asyncio.create_task(collector.ask(asked(f"text {n}"), 60)) for n in range(9)]
        while collector.waiting < 9:
            await asyncio.sleep(0.001)
        bank.go.set()
        return await asyncio.gather(first, *others)

    jobs = run(bank, work)
    assert bank.batches == [["first"], [f"text {n}" for n in range(9)]]
    assert [job.answers[0]["said"] for job in jobs] == ["first", *(f"text {n}" for n in range(9))]
    assert [job.rows for job in jobs] == [1, *[9] * 9]


def test_a_lone_request_is_not_kept_waiting_for_ever() -> None:
    async def work(collector: Collector) -> Any:
        return await collector.ask(asked("alone"), 60)

    assert run(Bank(), work, max_wait_ms=1).answers == [{"id": "0", "said": "alone"}]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    bank = Bank(held=True)

    async def work(collector: Collector) -> None:
        first = await busy(collector, bank)
        waiting = asyncio.create_task(collector.ask(asked("b", "c", "d"), 60))
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="3 texts wait already, of 4") as refused:
            await collector.ask(asked("e", "f"), 60)
        assert refused.value.status == 503
        assert int(refused.value.headers["Retry-After"]) >= 1
        last = asyncio.create_task(collector.ask(asked("g"), 60))
        await asyncio.sleep(0)
        bank.go.set()
        assert len(await asyncio.gather(first, waiting, last)) == 3

    run(bank, work, max_queue=4, max_texts=4)
    assert sorted(text for batch in bank.batches for text in batch) == ["b", "c", "d", "first", "g"]


def test_past_its_deadline_a_request_ends_with_504_and_its_texts_never_reach_the_bank() -> None:
    bank = Bank(held=True)

    async def work(collector: Collector) -> None:
        first = await busy(collector, bank)
        with pytest.raises(Refusal, match="took too long") as refused:
            await collector.ask(asked("late", "late too"), 0.02)
        assert refused.value.status == 504
        assert refused.value.body["found"] == "2 of its 2 texts still waiting"
        assert collector.waiting == 0
        bank.go.set()
        await first

    run(bank, work)
    assert bank.batches == [["first"]]


def test_a_deadline_during_the_work_does_not_harm_those_who_share_it() -> None:
    bank = Bank(held=True)

    async def work(collector: Collector) -> Any:
        long = asyncio.create_task(collector.ask(asked("long"), 60))
        with pytest.raises(Refusal, match="took too long"):
            await collector.ask(asked("short"), 0.2)
        bank.go.set()
        return await long

    assert run(bank, work, max_wait_ms=50).answers[0]["said"] == "long"
    assert bank.batches == [["short", "long"]]


def test_who_hangs_up_frees_the_room() -> None:
    bank = Bank(held=True)

    async def work(collector: Collector) -> None:
        first = await busy(collector, bank)
        gone: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(collector.ask(asked("b", "c"), 60, gone))
        await asyncio.sleep(0)
        assert collector.waiting == 2
        gone.set_result(None)
        with pytest.raises(Refusal, match="hung up"):
            await waiting
        assert collector.waiting == 0
        bank.go.set()
        await first

    run(bank, work)
    assert bank.batches == [["first"]]


def test_a_text_that_breaks_the_bank_breaks_no_other_request() -> None:
    bank = Bank(held=True, breaks="poison")

    async def work(collector: Collector) -> list[Any]:
        first = await busy(collector, bank)
        tasks = [asyncio.create_task(collector.ask(asked(text), 60)) for text in ("b", "poison", "c")]
        while collector.waiting < 3:
            await asyncio.sleep(0.001)
        bank.go.set()
        return await asyncio.gather(first, *tasks, return_exceptions=True)

    _, good, broken, other = run(bank, work)
    assert (good.answers[0]["said"], other.answers[0]["said"]) == ("b", "c")
    assert isinstance(broken, RuntimeError)


def test_what_was_admitted_is_answered_when_the_collector_closes_and_nothing_more_is_admitted() -> None:
    bank = Bank(held=True)

    async def work(collector: Collector) -> list[Any]:
        first = await busy(collector, bank)
        waiting = asyncio.create_task(collector.ask(asked("b"), 60))
        await asyncio.sleep(0)
        closing = asyncio.get_running_loop().run_in_executor(None, collector.close)
        while not collector.closed:
            await asyncio.sleep(0.001)
        with pytest.raises(Refusal, match="about to stop"):
            await collector.ask(asked("c"), 60)
        bank.go.set()
        await closing
        return await asyncio.gather(first, waiting)

    assert [job.answers[0]["said"] for job in run(bank, work)] == ["first", "b"]


@settings(max_examples=40, deadline=None)
@given(
    jobs=st.lists(st.lists(st.sampled_from(["x", "bad", "some more words " * 9, "字" * 30]), min_size=1, max_size=7),
                  min_size=1, max_size=12),
    pieces=st.integers(1, 60), wait=st.sampled_from([0.0, 1.0]), threads=st.integers(1, 3),
)  # fmt: skip
def test_every_request_is_answered_once_in_its_place_however_batches_are_cut(
    jobs: list[list[str]], pieces: int, wait: float, threads: int
) -> None:
    bank = Bank()
    texts = [[f"{word}/{job}/{place}" for place, word in enumerate(words)] for job, words in enumerate(jobs)]

    async def work(collector: Collector) -> list[Any]:
        return await asyncio.gather(*(collector.ask(asked(*mine), 60) for mine in texts))

    found = run(bank, work, max_batch_pieces=pieces, max_wait_ms=wait, threads=threads)
    for mine, job in zip(texts, found, strict=True):
        assert [answer["said"] for answer in job.answers] == mine
        assert [answer["id"] for answer in job.answers] == [str(n) for n in range(len(mine))]
        assert set(job.faults) == {n for n, text in enumerate(mine) if text.startswith("bad")}
        assert all(str(error) == mine[number] for number, error in job.faults.items())
        assert job.rows >= len(mine)
    given_out = [text for batch in bank.batches for text in batch]
    assert sorted(given_out) == sorted(text for mine in texts for text in mine)


def test_a_batch_is_the_oldest_request_and_others_of_its_length() -> None:
    bank = Bank(held=True)
    texts = ["x" * 200, "y" * 20, "x" * 190, "y" * 30, "x" * 210, "y" * 25]

    async def work(collector: Collector) -> None:
        first = await busy(collector, bank)
        tasks = [asyncio.create_task(collector.ask(asked(text), 60)) for text in texts]
        while collector.waiting < len(texts):
            await asyncio.sleep(0.001)
        bank.go.set()
        await asyncio.gather(first, *tasks)

    run(bank, work, max_batch_pieces=100)
    assert [{text[0] for text in batch} for batch in bank.batches[1:3]] == [{"x"}, {"y"}]
    assert [len(batch) for batch in bank.batches] == [1, 3, 3]


def test_idle_threads_share_what_waits() -> None:
    bank = Bank(held=True)

    async def work(collector: Collector) -> Any:
        asking = asyncio.create_task(collector.ask(asked(*["x" * 200] * 20), 60))
        while len(bank.batches) < 2:
            await asyncio.sleep(0.001)
        bank.go.set()
        return await asking

    job = run(bank, work, threads=2)
    assert sorted(map(len, bank.batches)) == [10, 10]
    assert [answer["id"] for answer in job.answers] == [str(number) for number in range(20)]


def test_the_rest_of_a_request_is_dropped_when_its_beginning_broke() -> None:
    bank = Bank(breaks="poison")

    async def work(collector: Collector) -> None:
        with pytest.raises(RuntimeError):
            await collector.ask(asked("poison", *["word " * 99] * 5), 60)

    run(bank, work, max_batch_pieces=1)
    servers.until(lambda: bank.batches[0] == ["poison"])
