"""How the server refuses a request."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adapters.core.errors import UserError

RETRY = "Retry-After"


class Refusal(UserError):
    """A request that is not answered, or not completely."""

    def __init__(
        self,
        status: int,
        reason: str,
        error: str,
        *,
        expected: str = "",
        found: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Args:
        status: HTTP status.
        reason: one word, for the count of refusals.
        error: what is wrong, and what to do.
        expected: what would have been right.
        found: what was given.
        headers: of the answer.
        """
        super().__init__(error)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})
        self.body: dict[str, object] = {"error": error, "expected": expected, "found": found}


def busy(reason: str, error: str, seconds: int = 1, found: str = "no room at present") -> Refusal:
    """A refusal after which the client may try again in some seconds."""
    return Refusal(
        503,
        reason,
        error,
        expected=f"the same request again after {seconds} s",
        found=found,
        headers={RETRY: str(seconds)},
    )


ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""A valid request id; any other is not copied to logs and headers."""
