"""Alarms with their evidence, and their events: raised, updated, ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from adapters.applications.news_monitor.watch import EXCESS, Seen

if TYPE_CHECKING:
    from adapters.applications.news_monitor.monitor import Monitor

RAISED, UPDATED, ENDED = "raised", "updated", "ended"
MOST_ITEMS = 20
"""Of an event's evidence."""
CALM, SETTLED = "the negative items are as many as expected again", "it lasts, and is learned as the new level"


def alarm_events(monitor: Monitor, window: int, names: list[str], seen: Seen) -> list[dict[str, Any]]:
    """The events of a window, stored with their alarms."""
    known = {alarm["series"]: alarm for alarm in monitor.store.alarms(only_open=True)}
    events = []
    for place, name in enumerate(names):
        if seen.raised[place]:
            alarm: dict[str, Any] = {
                "id": f"{name}@{_time(window * monitor.seconds)}",
                "series": name,
                "since": _time(window * monitor.seconds),
                "events": 0,
                "windows": [],
            }
            state = RAISED
        elif name in known:
            alarm, ends = known[name], seen.ended[place] or seen.settled[place]
            state = ENDED if ends else UPDATED if seen.p[place] <= EXCESS else ""
        else:
            continue
        evidence = _evidence(monitor, window, name, place, seen)
        alarm["windows"].append({key: evidence[key] for key in ("begin", "items", "negative", "expected", "p")})
        alarm.update(state=state or alarm["state"])
        if state == ENDED:
            alarm.update(until=_time((window + 1) * monitor.seconds), reason=SETTLED if seen.settled[place] else CALM)
        if state == RAISED or (state == UPDATED and evidence["p"] < alarm["evidence"]["p"]):
            alarm["evidence"] = evidence
        if state:
            alarm["events"] += 1
            shown: dict[str, Any] = {key: alarm[key] for key in ("series", "since", "until", "reason") if key in alarm}
            ids: dict[str, Any] = {"event": state, "id": f"{alarm['id']}#{alarm['events']}", "alarm": alarm["id"]}
            events.append({**ids, **shown, **evidence})
        monitor.store.put_alarm(alarm)
    return events


def _evidence(monitor: Monitor, window: int, name: str, place: int, seen: Seen) -> dict[str, Any]:
    """The numbers of a window, and what is behind them."""
    n, k, expected = int(seen.n[place]), int(seen.k[place]), float(seen.expected[place])
    found: dict[str, Any] = {
        "begin": _time(window * monitor.seconds),
        "end": _time((window + 1) * monitor.seconds),
        "items": n,
        "negative": k,
        "expected": round(expected, 2),
        "p": float(f"{seen.p[place]:.3g}"),
    }
    if monitor.correction is not None and n:
        share = monitor.correction.share
        found["corrected"] = {"share": round(share(k, n), 4), "expected": round(share(expected, n), 4)}
    _, sources = monitor.store.sources(window, name)
    found["sources"] = {source.strip(): count for source, count in sources.most_common(MOST_ITEMS)}
    rows = monitor.store.negative_items(window, name, MOST_ITEMS)
    found["evidence"] = [{**row, "at": _time(row["at"]), "text": row["text"][:300]} for row in rows]
    return found


def _time(seconds: float) -> str:
    """A time in ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
