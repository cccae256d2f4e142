"""Requests that arrive together share a forward pass: a bounded queue, deadlines, and threads that ask the bank."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.errors import UserError
from adapters.requests import Request
from adapters.server import Refusal, Settings, busy
from adapters.server.sizes import pieces

Answers = tuple[list[dict[str, Any]], dict[int, UserError]]
"""Answers in order, and what is wrong with those that hold an error, by number."""
SMOOTHING = 0.2
LEAST_PIECES = 256
"""What waits is shared among idle threads, but in batches of no fewer pieces, which would take longer together."""


@dataclass(kw_only=True, eq=False)
class Job:
    """Requests of one client that are to be answered together. It is changed only under the collector's lock.

    Attributes:
        requests: in order.
        sizes: about how many pieces each is.
        done: is told when all are answered, or what went wrong; cancelled where nobody waits for it any longer.
        arrived: seconds of `time.perf_counter`.
        answers: to each, once the bank has answered it.
        faults: what is wrong with some of them, by number.
        begun: requests that were handed to the bank.
        answered: requests that it has answered.
        wait: seconds until it had the first of them.
        model: seconds of the batches that they were part of.
        rows: of those batches.
    """

    requests: Sequence[Request]
    sizes: Sequence[int]
    done: asyncio.Future[None]
    arrived: float
    answers: list[dict[str, Any]]
    faults: dict[int, UserError] = field(default_factory=dict)
    begun: int = 0
    answered: int = 0
    wait: float = 0.0
    model: float = 0.0
    rows: int = 0

    @property
    def left(self) -> int:
        """Requests that wait."""
        return len(self.requests) - self.begun


@dataclass(frozen=True, kw_only=True)
class Part:
    """Requests of a job that are answered together: those from `begin` to `end`."""

    job: Job
    begin: int
    end: int

    @property
    def requests(self) -> Sequence[Request]:
        """Those."""
        return self.job.requests[self.begin : self.end]

    def fill(self, answers: list[dict[str, Any]], faults: dict[int, UserError], seconds: float, rows: int) -> bool:
        """Give the job the answers of a batch of so many rows; whether it is complete."""
        job = self.job
        job.model += seconds
        job.rows += rows
        job.answers[self.begin : self.begin + len(answers)] = answers
        job.answered += len(answers)
        job.faults.update({self.begin + number: error for number, error in faults.items()})
        return job.answered == len(job.requests)


class Collector:
    """The queue between the event loop and the threads in which the bank works."""

    def __init__(
        self, answer: Callable[[Sequence[Request]], Answers], settings: Settings,
        seen: Callable[[Sequence[Part], float], None],
    ) -> None:  # fmt: skip
        """Args:
        answer: what the bank says; called in the collector's threads.
        settings: how long to wait, how much to take, how much may wait.
        seen: is told of each batch, and of its seconds.
        """
        self.answer, self.settings, self.seen = answer, settings, seen
        self.changed = threading.Condition()
        self.jobs: dict[Job, None] = {}  # in the order in which they came
        self.waiting = self.pieces = self.idle = 0
        self.closed = False
        self.row_seconds = 0.0
        self.threads: list[threading.Thread] = []

    def start(self, threads: int = 1) -> None:
        """Begin to answer, so many batches at a time."""
        self.threads = [threading.Thread(target=self._work, name=f"bank-{n}", daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Answer what waits, and end. Blocks until then."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()

    @property
    def room(self) -> int:
        """Requests that would still find room."""
        return self.settings.max_queue - self.waiting

    def full(self) -> Refusal:
        """What a client is told that finds no room: when there is likely to be some."""
        seconds = max(1, math.ceil(self.waiting * self.row_seconds / max(1, len(self.threads))))
        return busy("queue", f"{self.waiting} texts wait already, of {self.settings.max_queue} that may.", seconds)

    async def ask(self, requests: Sequence[Request], seconds: float, gone: asyncio.Future[Any] | None = None) -> Job:
        """Answers to some requests.

        Args:
            requests: at most as many as may wait.
            seconds: until they must be answered.
            gone: done when the client has hung up.

        Raises:
            Refusal: there is no room, the time is over, or the client has hung up.
        """
        job = self.admit(requests)
        if gone is not None:
            gone.add_done_callback(lambda _: job.done.cancel())
        try:
            async with asyncio.timeout(seconds):
                await job.done
        except TimeoutError:
            raise Refusal(
                504, "deadline", "The request took too long and was given up.",
                expected=f"an answer within {1000 * seconds:g} ms",
                found=f"{job.left} of its {len(requests)} texts still waiting",
            ) from None  # fmt: skip
        except asyncio.CancelledError:
            if gone is not None and gone.done():
                raise Refusal(499, "hung_up", "The client hung up.") from None
            raise
        finally:
            self.drop(job)
        return job

    def admit(self, requests: Sequence[Request]) -> Job:
        """Put requests into the queue, all or none. Raises Refusal."""
        sizes = [pieces(request.inputs) for request in requests]
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
            if idle or self.pieces >= self.settings.max_batch_pieces:
                self.changed.notify()
        return job

    def drop(self, job: Job) -> None:
        """Forget what of a job the bank has not begun."""
        job.done.cancel()
        if job.left:
            with self.changed:
                if job.left:
                    del self.jobs[job]
                    self._count(-job.left, -sum(job.sizes[job.begun :]))
                    job.begun = len(job.requests)

    def _count(self, rows: int, pieces: int) -> None:
        self.waiting += rows
        self.pieces += pieces

    # in the bank's threads --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while batch := self._take():
            begin = time.perf_counter()
            found = self._answered(batch)
            seconds = time.perf_counter() - begin
            rows = sum(part.end - part.begin for part in batch)
            with self.changed:
                done = [(part.job, error) for part, (answers, faults, error) in zip(batch, found, strict=True)
                        if part.fill(answers, faults, seconds, rows) or error is not None]  # fmt: skip
                each = seconds / rows
                self.row_seconds += (SMOOTHING if self.row_seconds else 1.0) * (each - self.row_seconds)
            try:
                self.seen(batch, seconds)
            except Exception:  # what is counted must not keep anybody from an answer
                logging.getLogger("adapters.server").exception("a batch could not be counted")
            for loop in {job.done.get_loop() for job, _ in done}:
                with contextlib.suppress(RuntimeError):  # it is closed: nobody waits there any longer
                    loop.call_soon_threadsafe(_tell, [one for one in done if one[0].done.get_loop() is loop])

    def _answered(self, batch: Sequence[Part]) -> list[tuple[list[dict[str, Any]], dict[int, UserError], Any]]:
        """Answers, faults and an error of each part; where all together fail, each is tried alone."""
        try:
            answers, faults = self.answer([request for part in batch for request in part.requests])
        except Exception as error:  # a fault of ours: it must not reach the others of the batch, nor end the thread
            if len(batch) == 1:
                return [([], {}, error)]
            return [self._answered([part])[0] for part in batch]
        out, at = [], 0
        for part in batch:
            size = part.end - part.begin
            theirs = {number - at: faults[number] for number in range(at, at + size) if number in faults}
            out.append((answers[at : at + size], theirs, None))
            at += size
        return out

    def _take(self) -> list[Part]:
        """The next batch, once there is one; nothing where the collector is closed."""
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
                    if self.closed or left <= 0 or self.pieces >= self.settings.max_batch_pieces:
                        share = max(LEAST_PIECES, math.ceil(self.pieces / self.idle))
                        return self._cut(min(share, self.settings.max_batch_pieces))
                    self.changed.wait(left)
            finally:
                self.idle -= 1
                self.changed.notify()  # another thread, for what is left

    def _cut(self, room: int) -> list[Part]:
        """Requests that fill a batch: those of the oldest job, at least one, and others of like length.

        Rows of a batch are padded to its longest, so that like lengths are answered sooner; the oldest waits no longer.
        """
        batch: list[Part] = []
        now = time.perf_counter()
        for job in self._by_length() if self.pieces > room else list(self.jobs):
            if room <= 0:
                break
            first = end = job.begun
            if first == 0:
                job.wait = now - job.arrived
            while end < len(job.requests) and room > 0:
                room -= job.sizes[end]
                end += 1
            job.begun = end
            self._count(first - end, -sum(job.sizes[first:end]))
            batch.append(Part(job=job, begin=first, end=end))
            if not job.left:
                del self.jobs[job]
        return batch

    def _by_length(self) -> list[Job]:
        """Jobs by how much their texts differ in length from the oldest job's."""
        means = {job: sum(job.sizes) / len(job.sizes) for job in self.jobs}
        oldest = means[next(iter(means))]
        return sorted(means, key=lambda job: abs(means[job] - oldest))


def _tell(done: Sequence[tuple[Job, Exception | None]]) -> None:
    """Wake those who wait; those who do so no longer are left alone."""
    for job, error in done:
        if job.done.done():
            continue
        if error is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(error)
