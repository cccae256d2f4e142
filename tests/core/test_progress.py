"""Times in words."""

from __future__ import annotations

from adapters.core.progress import duration


def test_durations_are_in_seconds_minutes_and_hours() -> None:
    found = [duration(seconds) for seconds in (0, 0.42, 9.94, 19.4, 89.9, 186, 5399, 9000)]
    assert found == ["0 s", "0.4 s", "9.9 s", "19 s", "90 s", "3.1 min", "90.0 min", "2.5 h"]
