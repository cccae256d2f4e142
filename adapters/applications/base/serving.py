"""What the routes of several applications share: the metrics of their batches, and refusals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from adapters.core.errors import SessionError, UserError
from adapters.serving.http.batcher import JobSlice
from adapters.serving.http.refusal import Refusal, busy, unfit
from adapters.serving.http.service import Service


def batch_counter(service: Service) -> Callable[[Sequence[JobSlice[Any]], float], None]:
    """What a `Batcher` calls after each batch, to count it in the server's metrics."""

    def count(batch: Sequence[JobSlice[Any]], seconds: float) -> None:
        service.metrics.batch_rows.observe(sum(len(part.requests) for part in batch))
        service.metrics.batch_seconds.observe(seconds)

    return count


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
