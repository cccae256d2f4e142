"""Alarms with their evidence, and their events: raised, updated, ended."""

from __future__ import annotations

from typing import Any

from adapters.applications.news_monitor.correction import Correction
from adapters.applications.news_monitor.detector import EXCESS, WindowResult
from adapters.applications.news_monitor.store import Store
from adapters.data.times import iso_time

RAISED, UPDATED, ENDED = "raised", "updated", "ended"
MOST_ITEMS = 20
"""Of an event's evidence."""
CALM, SETTLED = "as expected again", "it lasts: the new level"


def alarm_events(
    store: Store, correction: Correction | None, begin: float, end: float, names: list[str], result: WindowResult
) -> list[dict[str, Any]]:
    """The events of a window, stored with their alarms.

    Args:
        store: in a transaction.
        correction: of shares that are shown.
        begin, end: of the window, in seconds.
        names: of the series of `result`, in order.
    """
    known = {alarm["series"]: alarm for alarm in store.alarms(only_open=True)}
    window = round(begin / (end - begin))
    events = []
    for place, name in enumerate(names):
        if result.raised[place]:
            alarm: dict[str, Any] = {
                "id": f"{name}@{iso_time(begin)}",
                "series": name,
                "since": iso_time(begin),
                "events": 0,
                "windows": [],
            }
            state = RAISED
        elif name in known:
            alarm, ends = known[name], result.ended[place] or result.settled[place]
            state = ENDED if ends else UPDATED if result.p[place] <= EXCESS else ""
        else:
            continue
        evidence = {
            "begin": iso_time(begin),
            "end": iso_time(end),
            **_numbers(result, place, correction),
            **_behind(store, window, name),
        }
        alarm["windows"].append({key: evidence[key] for key in ("begin", "items", "negative", "expected", "p")})
        alarm.update(state=state or alarm["state"])
        if state == ENDED:
            alarm.update(until=iso_time(end), reason=SETTLED if result.settled[place] else CALM)
        if state == RAISED or (state == UPDATED and evidence["p"] < alarm["evidence"]["p"]):
            alarm["evidence"] = evidence
        if state:
            alarm["events"] += 1
            shown: dict[str, Any] = {key: alarm[key] for key in ("series", "since", "until", "reason") if key in alarm}
            ids: dict[str, Any] = {"event": state, "id": f"{alarm['id']}#{alarm['events']}", "alarm": alarm["id"]}
            events.append({**ids, **shown, **evidence})
        store.put_alarm(alarm)
    return events


def _numbers(result: WindowResult, place: int, correction: Correction | None) -> dict[str, Any]:
    """The counts of a series."""
    n, k, expected = int(result.n[place]), int(result.k[place]), float(result.expected[place])
    p = float(f"{result.p[place]:.3g}")
    found: dict[str, Any] = {"items": n, "negative": k, "expected": round(expected, 2), "p": p}
    if correction is not None and n:
        shares = {"share": correction.share(k, n), "expected": correction.share(expected, n)}
        found["corrected"] = {name: round(share, 4) for name, share in shares.items()}
    return found


def _behind(store: Store, window: int, name: str) -> dict[str, Any]:
    """The negative items of a series, and their sources."""
    _, sources = store.sources(window, name)
    rows = store.negative_items(window, name, MOST_ITEMS)
    return {
        "sources": {source.strip(): count for source, count in sources.most_common(MOST_ITEMS)},
        "evidence": [{**row, "at": iso_time(row["at"]), "text": row["text"][:300]} for row in rows],
    }
