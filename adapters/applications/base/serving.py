"""What the routes of several applications share: a queue that one thread answers, and refusals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from fastapi import Request as HttpRequest
from fastapi import Response

from adapters.core.errors import SessionError, UserError
from adapters.serving.http.application import private
from adapters.serving.http.batcher import Answers, Batcher, JobSlice
from adapters.serving.http.refusal import Refusal, busy, unfit
from adapters.serving.http.service import Service, hang_up
from adapters.tasks.base.requests import Request

R = TypeVar("R", bound=Request)


class AnswerQueue(Generic[R]):
    """What waits for an application's one thread, which answers in batches: what arrives meanwhile is the next one."""

    def __init__(
        self, service: Service, answers: Callable[[Sequence[R]], Answers], refused: Callable[[UserError], Refusal]
    ) -> None:
        """Args:
        service: the server's.
        answers: to a batch; called in the thread.
        refused: the refusal for the error of a request.
        """
        self.service, self.refused = service, refused
        self.batcher: Batcher[R] = Batcher(answers, service.settings, self._count)

    def start(self) -> None:
        """Start to answer."""
        self.batcher.start()

    def close(self) -> None:
        """Answer what waits, and end the thread. Blocks."""
        self.batcher.close()

    def _count(self, batch: Sequence[JobSlice[R]], seconds: float) -> None:
        self.service.metrics.batch_rows.observe(sum(len(part.requests) for part in batch))
        self.service.metrics.batch_seconds.observe(seconds)

    def begin(self, http: HttpRequest, request: R) -> float:
        """Log a request for which there is room. Returns its time limit, in seconds. Raises Refusal."""
        if self.batcher.room <= 0:
            raise self.batcher.full()
        self.service.log_texts([request], http.scope["log"])
        return self.service.seconds(http)

    async def answer(self, request: R, seconds: float, gone: asyncio.Future[Any] | None = None) -> dict[str, Any]:
        """The answer to a request. Raises Refusal.

        Args:
            request: of one client.
            seconds: time limit.
            gone: done when the client has disconnected.
        """
        job = await self.batcher.submit([request], seconds, gone)
        if job.faults:
            raise self.refused(job.faults[0])
        return job.answers[0]

    async def respond(self, http: HttpRequest, request: R) -> Response:
        """The answer to a request, as long as its client waits for it. Raises Refusal."""
        seconds = self.begin(http, request)
        async with hang_up(http) as gone:
            return private(await self.answer(request, seconds, gone))


def refusal(error: UserError, *, application: str, stored: str, request: str) -> Refusal:
    """The refusal for the error of a request. What is wrong with a database is only logged.

    Args:
        error: that it failed with.
        application: named in the log.
        stored: what the database holds; the reason where it fails.
        request: what was sent; the reason where it is unfit.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, SessionError):
        logging.getLogger("adapters.serving").error("%s: %s", application, error)
        return busy(stored, f"The {stored} could not be read or written, and nothing of the {request} was kept.")
    return unfit(request, error)
