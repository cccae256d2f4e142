"""Times of rows: seconds since 1970, or ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

LATEST_SECONDS = 1e11
"""Seconds since 1970 beyond this are milliseconds."""
FIRST_YEAR, LAST_YEAR = 1000, 9000
"""Of a time. Beyond them, another zone or a window's end could be in a year that Python has not."""
EARLIEST_SECONDS = -30_610_224_000
"""The beginning of the first year."""

_SECONDS = re.compile(r"-?(\d{1,3}|\d{5,7}|\d{9,11})(\.\d*)?")
"""Written as text. Four digits are a year, and eight a day in ISO 8601's basic form."""
_YEAR = re.compile(r"\d{4}")


def seconds_since_1970(value: object, zone: tzinfo) -> float:
    """A time in seconds since 1970, UTC.

    Args:
        value: a number of seconds, which may be a text; or a text in ISO 8601, or with a year.
        zone: of a text that names none.

    Raises ValueError, whose message is the same for the same fault.
    """
    if isinstance(value, str) and _SECONDS.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not EARLIEST_SECONDS <= value <= LATEST_SECONDS:  # before float(), which fails for a number of 400 digits
            raise ValueError("the time is no number of seconds since 1970")
        return float(value)
    text = str(value).strip()
    try:
        found = datetime.fromisoformat(f"{text}-01-01" if _YEAR.fullmatch(text) else text)
    except (ValueError, OverflowError) as error:
        raise ValueError("the time is not in ISO 8601 (2026-01-31T09:30:00+01:00)") from error
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError(f"the time is not in the years {FIRST_YEAR} to {LAST_YEAR}")
    found = found if found.tzinfo else found.replace(tzinfo=zone)
    return found.astimezone(UTC).timestamp()


def iso_time(seconds: float) -> str:
    """Seconds since 1970 in ISO 8601, UTC: 2026-01-31T08:30:00Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
