"""Batches the requests of different clients: a bounded queue, deadlines, and threads in which the bank works."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, overload

from adapters.core.errors import UserError
from adapters.serving.http.refusal import Refusal, busy, disconnected
from adapters.serving.http.settings import Settings
from adapters.serving.http.token_estimate import tokens
from adapters.tasks.base.requests import Request

R = TypeVar("R", bound=Request)
Answers = tuple[list[dict[str, Any]], dict[int, UserError]]
"""Answers in order, and the exceptions of those that have an error, by number."""
Result = tuple[Sequence[dict[str, Any]], dict[int, UserError], Exception | None]
"""Answers and faults of a slice, or the exception of its batch."""
KEPT = 0.95
"""How much of what was measured is kept for each row that is answered after it."""
MIN_BATCH_TOKENS = 256
"""Idle threads share what waits, but in batches of at least this many tokens: smaller ones take longer in total."""


@dataclass(kw_only=True, eq=False)
class Job(Generic[R]):
    """The requests of one client, answered together. Only the batcher modifies it, under its lock.

    Attributes:
        requests: in order.
        sizes: approximate number of tokens of each.
        done: set when all are answered, or to an exception; cancelled when the client no longer waits.
        arrived: seconds of `time.perf_counter`.
        answers: to each, once the bank has answered it.
        faults: exceptions by the number of their request.
        begun: number of requests that were handed to the bank.
        passed: number of batches that were formed without all of them.
        answered: number of requests that it has answered.
        wait: seconds until the first was handed to the bank.
        model: seconds of the batches with its requests.
        rows: rows of those batches.
    """

    requests: Sequence[R]
    sizes: Sequence[int]
    done: asyncio.Future[None]
    arrived: float
    answers: list[dict[str, Any]]
    faults: dict[int, UserError] = field(default_factory=dict)
    begun: int = 0
    passed: int = 0
    answered: int = 0
    wait: float = 0.0
    model: float = 0.0
    rows: int = 0

    @property
    def left(self) -> int:
        """Number of requests that wait."""
        return len(self.requests) - self.begun


@dataclass(frozen=True, kw_only=True)
class JobSlice(Generic[R]):
    """The requests of a job that are in one batch: from number `begin` to before `end`; `begun` at that time."""

    job: Job[R]
    begin: int
    end: int
    begun: float

    @property
    def requests(self) -> Sequence[R]:
        """The requests of the slice."""
        return self.job.requests[self.begin : self.end]

    @property
    def answers(self) -> Sequence[Mapping[str, Any]]:
        """The answers to them, empty where there is none."""
        return self.job.answers[self.begin : self.end]

    def fill(self, answers: Sequence[dict[str, Any]], faults: dict[int, UserError], seconds: float, rows: int) -> bool:
        """Give the job the slice's answers.

        Args:
            answers: to the requests of the slice.
            faults: by number in the slice.
            seconds: of the batch.
            rows: of the batch.

        Returns:
            Whether the job is complete.
        """
        job = self.job
        job.model += seconds
        job.rows += rows
        job.answers[self.begin : self.begin + len(answers)] = answers
        job.answered += len(answers)
        job.faults.update({self.begin + number: error for number, error in faults.items()})
        return job.answered == len(job.requests)


class Batch(Sequence[R]):
    """Requests that are answered together, as `predict` gets them.

    What takes long may hand over the answer to one of them before the others', and take requests that have come
    meanwhile, whose numbers follow.
    """

    def __init__(self, batcher: Batcher[R], parts: Sequence[JobSlice[R]]) -> None:
        """Args: the batcher, and what it has handed out."""
        self._batcher, self._requests = batcher, [request for part in parts for request in part.requests]
        starts = itertools.accumulate((part.end - part.begin for part in parts), initial=0)
        self._open = dict(zip(starts, parts, strict=False))
        """Slices that have no answers yet, by the number of their first request."""
        self._several, self._joined = len(parts) > 1, len(self._requests)
        """Whether it began with several slices; and the number from which on requests have come later."""
        self._since = time.perf_counter()
        """When the batch began, or had its last answer."""

    def __len__(self) -> int:
        return len(self._requests)

    @overload
    def __getitem__(self, number: int) -> R: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[R]: ...

    def __getitem__(self, number: int | slice) -> R | Sequence[R]:
        """A request, or several, by number."""
        return self._requests[number]

    def take(self, admits: Callable[[R], bool]) -> R | None:
        """The request that waits longest, where it is admitted; None where there is none that is."""
        part = self._batcher._take(admits)
        if part is None:
            return None
        self._open[len(self._requests)] = part
        self._requests += part.requests
        return self._requests[-1]

    def finish(self, number: int, answer: dict[str, Any], fault: UserError | None) -> None:
        """Hand over the answer to a client's only request."""
        assert len(self._open[number].requests) == 1
        self._finish({number: ([answer], {} if fault is None else {0: fault}, None)})

    def finish_others(self, answers: Sequence[dict[str, Any]], faults: Mapping[int, UserError]) -> None:
        """Hand over the answers to those that have none yet. Args: of all requests."""
        results: dict[int, Result] = {}
        for first, part in self._open.items():
            end = first + part.end - part.begin
            own = {number - first: faults[number] for number in range(first, end) if number in faults}
            results[first] = answers[first:end], own, None
        self._finish(results)

    def fail(self, error: Exception) -> list[JobSlice[R]]:
        """Give up: what came later, or began alone, ends with the exception. Returns the others, to be tried alone."""
        again = [first for first in self._open if self._several and first < self._joined]
        self._finish({first: ([], {}, error) for first in self._open if first not in again})
        return [self._open[first] for first in again]

    def _finish(self, results: Mapping[int, Result]) -> None:
        if results:
            parts = [self._open.pop(first) for first in results]
            self._since = self._batcher._finish(parts, [*results.values()], self._since)


def _text_size(request: Request) -> int:
    return tokens(request.inputs)


class Batcher(Generic[R]):
    """The queue between the event loop and the bank's threads."""

    def __init__(
        self,
        predict: Callable[[Batch[R]], Answers],
        settings: Settings,
        on_batch: Callable[[Sequence[JobSlice[R]], float], None],
        size: Callable[[R], int] = _text_size,
    ) -> None:
        """Args:
        predict: answers a batch; called in the batcher's threads. Answers that it has handed over itself are ignored.
        settings: time to wait, size of a batch, size of the queue.
        on_batch: called after each batch, with its seconds.
        size: approximate number of tokens of a request. Default: of its text.
        """
        self.predict, self.settings, self.on_batch, self.size = predict, settings, on_batch, size
        self.changed = threading.Condition()
        self.jobs: dict[Job[R], None] = {}  # in order of arrival
        self.waiting = self.tokens = self.idle = 0
        self.closed = False
        self.seconds = self.rows = 0.0
        """Time that a thread has lately spent, and rows that it has answered in it."""
        self.threads: list[threading.Thread] = []

    def start(self, threads: int = 1) -> None:
        """Start to answer, in a number of threads."""
        self.threads = [threading.Thread(target=self._work, name=f"bank-{n}", daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Answer the requests that wait, then end the threads. Blocks."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()

    @property
    def room(self) -> int:
        """Number of requests for which the queue has room."""
        return self.settings.max_queue - self.waiting

    def full(self) -> Refusal:
        """The refusal of a request for which there is no room, with the seconds after which there may be."""
        row_seconds = self.seconds / max(self.rows, 1)
        seconds = max(1, math.ceil(self.waiting * row_seconds / max(1, len(self.threads))))
        return busy("queue", f"The queue is full: {self.waiting} of {self.settings.max_queue} texts wait.", seconds)

    async def submit(self, requests: Sequence[R], seconds: float, gone: asyncio.Future[Any] | None = None) -> Job[R]:
        """Answer requests.

        Args:
            requests: at most as many as may wait.
            seconds: time limit.
            gone: done when the client has disconnected.

        Raises:
            Refusal: there is no room, the time is over, or the client has disconnected.
        """
        job = self.admit(requests)
        if gone is not None:
            gone.add_done_callback(lambda _: job.done.cancel())
        try:
            async with asyncio.timeout(seconds):
                await job.done
        except TimeoutError:
            raise Refusal(
                504,
                "deadline",
                "The request exceeded its time limit and was cancelled.",
                expected=f"an answer within {1000 * seconds:g} ms",
                found=f"{job.left} of its {len(requests)} texts still waiting",
            ) from None
        except asyncio.CancelledError:
            if gone is not None and gone.done():
                raise disconnected() from None
            raise
        finally:
            self.drop(job)
        return job

    def admit(self, requests: Sequence[R]) -> Job[R]:
        """Put requests into the queue, all or none. Raises Refusal."""
        sizes = [self.size(request) for request in requests]
        done = asyncio.get_running_loop().create_future()
        job = Job(requests=requests, sizes=sizes, done=done, arrived=time.perf_counter(), answers=[{}] * len(requests))
        with self.changed:
            if self.closed:
                raise busy("draining", "The server is about to stop.")
            if len(requests) > self.room:
                raise self.full()
            idle = not self.jobs
            self.jobs[job] = None
            self._count(len(requests), sum(sizes))
            if idle or self.tokens >= self.settings.max_batch_tokens:
                self.changed.notify()
        return job

    def drop(self, job: Job[R]) -> None:
        """Remove a job's requests that the bank has not begun."""
        job.done.cancel()
        if job.left:
            with self.changed:
                if job.left:
                    del self.jobs[job]
                    self._count(-job.left, -sum(job.sizes[job.begun :]))
                    job.begun = len(job.requests)

    def _count(self, rows: int, tokens: int) -> None:
        self.waiting += rows
        self.tokens += tokens

    # in the bank's threads --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while parts := self._next_batch():
            self._answer(parts)

    def _answer(self, parts: Sequence[JobSlice[R]]) -> None:
        """Answer a batch; if it fails, each of its slices is tried alone."""
        batch = Batch(self, parts)
        try:
            answers, faults = self.predict(batch)
        except Exception as error:  # a bug: it must neither affect the other slices nor end the thread
            for part in batch.fail(error):
                self._answer([part])
        else:
            batch.finish_others(answers, faults)

    def _take(self, admits: Callable[[R], bool]) -> JobSlice[R] | None:
        """The request that waits longest, where it is admitted, for a batch that is at work and has room."""
        with self.changed:
            job = next(iter(self.jobs), None)
            if job is None or not admits(job.requests[job.begun]):
                return None
            return self._begin(job, job.begun + 1, time.perf_counter())

    def _finish(self, parts: Sequence[JobSlice[R]], results: Sequence[Result], since: float) -> float:
        """Give jobs their answers, and wake the clients whose jobs are complete.

        Args:
            parts: what was answered.
            results: of each slice.
            since: when their batch began, or had its last answer.

        Returns:
            The time.
        """
        rows, now = sum(part.end - part.begin for part in parts), time.perf_counter()
        with self.changed:
            kept = KEPT**rows
            self.seconds, self.rows = kept * self.seconds + now - since, kept * self.rows + rows
            done = [
                (part.job, error)
                for part, (answers, faults, error) in zip(parts, results, strict=True)
                if part.fill(answers, faults, now - part.begun, rows) or error is not None
            ]
        try:
            self.on_batch(parts, now - min(part.begun for part in parts))
        except Exception:  # a failure to count must not keep a client from its answer
            logging.getLogger("adapters.serving").exception("a batch could not be counted")
        for loop in {job.done.get_loop() for job, _ in done}:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits in it
                loop.call_soon_threadsafe(_wake, [one for one in done if one[0].done.get_loop() is loop])
        return now

    def _next_batch(self) -> list[JobSlice[R]]:
        """Wait for the next batch; empty when the batcher is closed."""
        with self.changed:
            self.idle += 1
            try:
                while True:
                    if not self.jobs:
                        if self.closed:
                            return []
                        self.changed.wait()
                        continue
                    left = next(iter(self.jobs)).arrived + self.settings.max_wait_ms / 1000 - time.perf_counter()
                    if self.closed or left <= 0 or self.tokens >= self.settings.max_batch_tokens:
                        share = max(MIN_BATCH_TOKENS, math.ceil(self.tokens / self.idle))
                        return self._form_batch(min(share, self.settings.max_batch_tokens))
                    self.changed.wait(left)
            finally:
                self.idle -= 1
                self.changed.notify()  # another thread, for the requests that remain

    def _form_batch(self, room: int) -> list[JobSlice[R]]:
        """Requests of about `room` tokens: those that were passed over most often, of these the ones of similar length.

        Rows are padded to the longest of a batch, so similar lengths are answered sooner. Of those that arrived during
        the same batch some are answered before others; none waits for those that came later.
        """
        batch: list[JobSlice[R]] = []
        now = time.perf_counter()
        for job in self._by_length() if self.tokens > room else list(self.jobs):
            if room <= 0:
                break
            end = job.begun
            while end < len(job.requests) and room > 0:
                room -= job.sizes[end]
                end += 1
            batch.append(self._begin(job, end, now))
        for job in self.jobs:
            job.passed += 1
        return batch

    def _begin(self, job: Job[R], end: int, now: float) -> JobSlice[R]:
        """Hand the next requests of a job, up to a number, to the bank."""
        first = job.begun
        if first == 0:
            job.wait = now - job.arrived
        job.begun = end
        self._count(first - end, -sum(job.sizes[first:end]))
        if not job.left:
            del self.jobs[job]
        return JobSlice(job=job, begin=first, end=end, begun=now)

    def _by_length(self) -> list[Job[R]]:
        """Jobs by how often they were passed over, then by how little their texts' mean length differs from that of
        the oldest job."""
        means = {job: sum(job.sizes) / len(job.sizes) for job in self.jobs}
        oldest = means[next(iter(means))]
        return sorted(means, key=lambda job: (-job.passed, abs(means[job] - oldest)))


def _wake(done: Sequence[tuple[Job[Any], Exception | None]]) -> None:
    """Wake the clients that still wait."""
    for job, error in done:
        if job.done.done():
            continue
        if error is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(error)
