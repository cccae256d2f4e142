"""Requests share batches, wait in a bounded queue, and are dropped when nobody wants their answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError
from adapters.serving.http.batcher import Batch, Batcher
from adapters.serving.http.refusal import Refusal
from adapters.serving.http.settings import Settings
from adapters.tasks.base.requests import Request


class Bank:
    """Answers each text by itself; waits to be let go if so made."""

    def __init__(self, *, held: bool = False, breaks: str = "", holds_after_a_break: bool = False) -> None:
        self.go = threading.Event()
        if not held:
            self.go.set()
        self.breaks, self.holds_after_a_break = breaks, holds_after_a_break
        self.batches: list[list[str]] = []

    def __call__(self, requests: Sequence[Request]) -> Any:
        texts = [str(request.inputs) for request in requests]
        self.batches.append(texts)
        assert self.go.wait(60)
        if self.breaks in texts:
            if self.holds_after_a_break:
                self.go.clear()
            raise RuntimeError("broken")
        faults = {number: DataError(text) for number, text in enumerate(texts) if text.startswith("bad")}
        return [{"id": request.id, "text": text} for request, text in zip(requests, texts, strict=True)], faults


def requests_of(*texts: str) -> list[Request]:
    return [Request("a", text, str(number)) for number, text in enumerate(texts)]


def run(bank: Bank, work: Callable[[Batcher], Coroutine[Any, Any, Any]], **given: Any) -> Any:
    """What some work with a batcher returns; the batcher is closed afterwards."""
    batcher = Batcher(bank, Settings(**given), lambda *_: None)
    batcher.start(given.get("threads", 1))
    try:
        return asyncio.run(work(batcher))
    finally:
        bank.go.set()
        batcher.close()
        assert not any(thread.is_alive() for thread in batcher.threads)
        assert (batcher.waiting, batcher.tokens, len(batcher.jobs)) == (0, 0, 0)


async def busy(batcher: Batcher, bank: Bank) -> asyncio.Task[Any]:
    """A request that the bank is at work on, until it is let go."""
    first = asyncio.create_task(batcher.submit(requests_of("first"), 60))
    while not bank.batches:
        await asyncio.sleep(0.001)
    return first


def test_requests_that_come_while_the_bank_is_at_work_share_the_next_batch() -> None:
    bank = Bank(held=True)

    async def work(batcher: Batcher) -> list[Any]:
        first = await busy(batcher, bank)
        others = [asyncio.create_task(batcher.submit(requests_of(f"text {n}"), 60)) for n in range(9)]
        while batcher.waiting < 9:
            await asyncio.sleep(0.001)
        bank.go.set()
        return await asyncio.gather(first, *others)

    jobs = run(bank, work)
    assert bank.batches == [["first"], [f"text {n}" for n in range(9)]]
    assert [job.answers[0]["text"] for job in jobs] == ["first", *(f"text {n}" for n in range(9))]
    assert [job.rows for job in jobs] == [1, *[9] * 9]


def test_a_lone_request_is_not_kept_waiting_for_ever() -> None:
    async def work(batcher: Batcher) -> Any:
        return await batcher.submit(requests_of("alone"), 60)

    assert run(Bank(), work, max_wait_ms=1).answers == [{"id": "0", "text": "alone"}]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    bank = Bank(held=True)

    async def work(batcher: Batcher) -> None:
        first = await busy(batcher, bank)
        waiting = asyncio.create_task(batcher.submit(requests_of("b", "c", "d"), 60))
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="3 of 4 texts wait") as refused:
            await batcher.submit(requests_of("e", "f"), 60)
        assert refused.value.status == 503
        assert int(refused.value.headers["Retry-After"]) >= 1
        last = asyncio.create_task(batcher.submit(requests_of("g"), 60))
        await asyncio.sleep(0)
        bank.go.set()
        assert len(await asyncio.gather(first, waiting, last)) == 3

    run(bank, work, max_queue=4, max_texts=4)
    assert sorted(text for batch in bank.batches for text in batch) == ["b", "c", "d", "first", "g"]


def test_past_its_deadline_a_request_ends_with_504_and_its_texts_never_reach_the_bank() -> None:
    bank = Bank(held=True)

    async def work(batcher: Batcher) -> None:
        first = await busy(batcher, bank)
        with pytest.raises(Refusal, match="exceeded its time limit") as refused:
            await batcher.submit(requests_of("late", "late too"), 0.02)
        assert refused.value.status == 504
        assert refused.value.body["found"] == "2 of its 2 texts still waiting"
        assert batcher.waiting == 0
        bank.go.set()
        await first

    run(bank, work)
    assert bank.batches == [["first"]]


def test_a_deadline_during_the_work_does_not_harm_those_who_share_it() -> None:
    bank = Bank(held=True)

    async def work(batcher: Batcher) -> Any:
        long = asyncio.create_task(batcher.submit(requests_of("long"), 60))
        with pytest.raises(Refusal, match="exceeded its time limit"):
            await batcher.submit(requests_of("short"), 0.2)
        bank.go.set()
        return await long

    assert run(bank, work, max_wait_ms=50).answers[0]["text"] == "long"
    assert bank.batches == [["short", "long"]]


def test_who_hangs_up_frees_the_room() -> None:
    bank = Bank(held=True)

    async def work(batcher: Batcher) -> None:
        first = await busy(batcher, bank)
        gone: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(batcher.submit(requests_of("b", "c"), 60, gone))
        await asyncio.sleep(0)
        assert batcher.waiting == 2
        gone.set_result(None)
        with pytest.raises(Refusal, match="disconnected"):
            await waiting
        assert batcher.waiting == 0
        bank.go.set()
        await first

    run(bank, work)
    assert bank.batches == [["first"]]


def test_a_text_that_breaks_the_bank_breaks_no_other_request() -> None:
    bank = Bank(held=True, breaks="poison")

    async def work(batcher: Batcher) -> list[Any]:
        first = await busy(batcher, bank)
        tasks = [asyncio.create_task(batcher.submit(requests_of(text), 60)) for text in ("b", "poison", "c")]
        while batcher.waiting < 3:
            await asyncio.sleep(0.001)
        bank.go.set()
        return await asyncio.gather(first, *tasks, return_exceptions=True)

    _, good, broken, other = run(bank, work)
    assert (good.answers[0]["text"], other.answers[0]["text"]) == ("b", "c")
    assert isinstance(broken, RuntimeError)


def test_what_was_admitted_is_answered_when_the_batcher_closes_and_nothing_more_is_admitted() -> None:
    bank = Bank(held=True)

    async def work(batcher: Batcher) -> list[Any]:
        first = await busy(batcher, bank)
        waiting = asyncio.create_task(batcher.submit(requests_of("b"), 60))
        await asyncio.sleep(0)
        closing = asyncio.get_running_loop().run_in_executor(None, batcher.close)
        while not batcher.closed:
            await asyncio.sleep(0.001)
        with pytest.raises(Refusal, match="about to stop"):
            await batcher.submit(requests_of("c"), 60)
        bank.go.set()
        await closing
        return await asyncio.gather(first, waiting)

    assert [job.answers[0]["text"] for job in run(bank, work)] == ["first", "b"]


@settings(max_examples=40, deadline=None)
@given(
    jobs=st.lists(
        st.lists(st.sampled_from(["x", "bad", "some more words " * 9, "字" * 30]), min_size=1, max_size=7),
        min_size=1,
        max_size=12,
    ),
    tokens=st.integers(1, 60),
    wait=st.sampled_from([0.0, 1.0]),
    threads=st.integers(1, 3),
)
def test_every_request_is_answered_once_in_its_place_however_batches_are_cut(
    jobs: list[list[str]], tokens: int, wait: float, threads: int
) -> None:
    bank = Bank()
    texts = [[f"{word}/{job}/{place}" for place, word in enumerate(words)] for job, words in enumerate(jobs)]

    async def work(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(*(batcher.submit(requests_of(*mine), 60) for mine in texts))

    found = run(bank, work, max_batch_tokens=tokens, max_wait_ms=wait, threads=threads)
    for mine, job in zip(texts, found, strict=True):
        assert [answer["text"] for answer in job.answers] == mine
        assert [answer["id"] for answer in job.answers] == [str(n) for n in range(len(mine))]
        assert set(job.faults) == {n for n, text in enumerate(mine) if text.startswith("bad")}
        assert all(str(error) == mine[number] for number, error in job.faults.items())
        assert job.rows >= len(mine)
    given_out = [text for batch in bank.batches for text in batch]
    assert sorted(given_out) == sorted(text for mine in texts for text in mine)


def test_a_batch_is_the_oldest_request_and_others_of_its_length() -> None:
    bank = Bank(held=True)
    texts = ["x" * 200, "y" * 20, "x" * 190, "y" * 30, "x" * 210, "y" * 25]

    async def work(batcher: Batcher) -> None:
        first = await busy(batcher, bank)
        tasks = [asyncio.create_task(batcher.submit(requests_of(text), 60)) for text in texts]
        while batcher.waiting < len(texts):
            await asyncio.sleep(0.001)
        bank.go.set()
        await asyncio.gather(first, *tasks)

    run(bank, work, max_batch_tokens=100)
    assert [{text[0] for text in batch} for batch in bank.batches[1:3]] == [{"x"}, {"y"}]
    assert [len(batch) for batch in bank.batches] == [1, 3, 3]


def test_nobody_waits_for_those_who_came_after_a_batch_that_left_him_out() -> None:
    bank = Bank(held=True)

    async def work(batcher: Batcher) -> None:
        first = await busy(batcher, bank)

        async def all_wait(texts: list[str]) -> list[asyncio.Task[Any]]:
            before = batcher.waiting
            tasks = [asyncio.create_task(batcher.submit(requests_of(text), 60)) for text in texts]
            while batcher.waiting < before + len(texts):
                await asyncio.sleep(0.001)
            return tasks

        tasks = await all_wait(["x" * 200, "y" * 30, "x" * 190, "w" * 250, "x" * 210])
        for _ in range(2):
            bank.batches.append([request.inputs for part in batcher._form_batch(100) for request in part.requests])
            tasks += await all_wait(["v" * 32] * 20)
        for task in tasks:
            task.cancel()
        bank.go.set()
        await first

    run(bank, work, max_batch_tokens=100)
    assert [{text[0] for text in batch} for batch in bank.batches[1:3]] == [{"x"}, {"y", "w", "v"}]


def test_idle_threads_share_what_waits() -> None:
    bank = Bank(held=True)

    async def work(batcher: Batcher) -> Any:
        waiting = asyncio.create_task(batcher.submit(requests_of(*["x" * 200] * 20), 60))
        while len(bank.batches) < 2:
            await asyncio.sleep(0.001)
        bank.go.set()
        return await waiting

    job = run(bank, work, threads=2)
    assert sorted(map(len, bank.batches)) == [10, 10]
    assert [answer["id"] for answer in job.answers] == [str(number) for number in range(20)]


def test_the_rest_of_a_request_is_dropped_when_its_beginning_broke() -> None:
    bank = Bank(breaks="poison", holds_after_a_break=True)

    async def work(batcher: Batcher) -> None:
        with pytest.raises(RuntimeError):
            await batcher.submit(requests_of("poison", *["word " * 99] * 5), 60)
        assert batcher.waiting == 0
        bank.go.set()

    run(bank, work, max_batch_tokens=1)
    assert bank.batches[0] == ["poison"]
    assert sum(map(len, bank.batches)) <= 2, "one more at most, which the bank had begun"


class Clock:
    """`time` for a batcher: it goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_who_comes_to_a_full_queue_is_told_the_time_of_a_text_and_not_of_a_batch_that_others_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, counted, begun = Clock(), list[int](), threading.Event()
    monkeypatch.setattr("adapters.serving.http.batcher.time", clock)

    def write(batch: Batch[Request]) -> Any:
        number = 1
        begun.set()
        while number < 40:  # one after the other joins, and is complete after an eighth of a second
            if batch.take(lambda request: True) is not None:
                clock.now += 0.125
                batch.finish(number, {"text": str(batch[number].inputs)}, None)
                number += 1
        clock.now += 0.125
        batch.finish(0, {"text": "first"}, None)
        return [{"text": "nobody reads this"}] * 40, {}

    batcher: Batcher = Batcher(
        write, Settings(max_wait_ms=0), lambda parts, _: counted.append(sum(len(part.requests) for part in parts))
    )
    batcher.start()

    async def clients() -> list[Any]:
        first = asyncio.create_task(batcher.submit(requests_of("first"), 60))
        assert await asyncio.to_thread(begun.wait, 60)
        others = [await batcher.submit(requests_of(str(number)), 60) for number in range(1, 40)]
        return [await first, *others]

    found = asyncio.run(clients())
    assert [job.answers[0]["text"] for job in found] == ["first", *map(str, range(1, 40))]
    assert counted == [1] * 40, "each as it is complete, and once"
    batcher.waiting = 30
    assert batcher.full().headers["Retry-After"] == "4"
    batcher.waiting = 0
    batcher.close()


def test_who_has_joined_a_batch_that_breaks_gets_its_exception_and_the_others_are_tried_alone() -> None:
    batches: list[list[str]] = []

    def write(batch: Batch[Request]) -> Any:
        batches.append([str(request.inputs) for request in batch])
        if len(batch) > 1:
            batch.finish(0, {"text": "early"}, None)
            while batch.take(lambda request: True) is None:
                pass
            raise RuntimeError("broken")
        return [{"text": "alone"}], {}

    batcher: Batcher = Batcher(write, Settings(max_wait_ms=60_000, max_batch_tokens=6), lambda *_: None)
    batcher.start()

    async def clients() -> list[Any]:
        tasks = [asyncio.create_task(batcher.submit(requests_of(text), 60)) for text in ("a", "b", "c")]
        await tasks[0]
        tasks.append(asyncio.create_task(batcher.submit(requests_of("later"), 60)))
        return await asyncio.gather(*tasks, return_exceptions=True)

    *found, later = asyncio.run(clients())
    batcher.close()
    assert [job.answers[0]["text"] for job in found] == ["early", "alone", "alone"]
    assert isinstance(later, RuntimeError) and batches == [["a", "b", "c"], ["b"], ["c"]]
