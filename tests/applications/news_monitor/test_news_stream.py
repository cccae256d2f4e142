"""Items are counted once, whatever comes twice, late, damaged or in another order; alarms have their evidence."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta, timezone

import news
import pytest

from adapters.applications.news_monitor.copies import Copies
from adapters.applications.news_monitor.correction import Correction
from adapters.applications.news_monitor.monitor import IncomingItem
from adapters.core.errors import DataError, SessionError, SettingsError

SURGE = (60 * 60, 62 * 60)


@pytest.fixture(scope="module")
def surged(tmp_path_factory):
    """A store after four days and a surge of two hours, and its monitor."""
    path = tmp_path_factory.mktemp("news") / "monitor.db"
    found = news.taken(news.monitor(path), news.rows(72 * 60, surge=SURGE))
    found.finish()
    return path, found


def test_a_surge_is_raised_once_with_its_evidence(surged):
    _, monitor = surged
    (alarm,) = [one for one in monitor.alarms() if one["series"] == "all"]
    begin = datetime.fromtimestamp(news.START + 60 * 3600, UTC)
    assert datetime.fromisoformat(alarm["since"]) == begin and alarm["state"] == "ended"
    evidence = alarm["evidence"]
    assert evidence["items"] == 60 and evidence["negative"] > 36 and evidence["p"] < 1e-6
    assert evidence["expected"] == pytest.approx(12, abs=2)
    assert sum(evidence["sources"].values()) == evidence["negative"] and len(evidence["evidence"]) == 20
    assert {"id", "at", "source", "text"} == set(evidence["evidence"][0])
    assert {one["series"] for one in monitor.alarms()} >= {"all", "topic: topic 0"}


def test_the_events_of_an_alarm_are_raised_updated_and_ended_in_order(surged):
    _, monitor = surged
    events = [json.loads(line) for line in monitor.store.events()]
    own = [one for one in events if one["series"] == "all"]
    assert [one["event"] for one in own] == ["raised", "updated", "ended"]
    assert len({one["id"] for one in own}) == 3 and len({one["alarm"] for one in own}) == 1
    assert own[-1]["reason"] == "as expected again"


@pytest.mark.parametrize("batch", [17, 500])
def test_batches_and_restarts_change_nothing(surged, tmp_path, batch):
    """Out-of-order and repeated items among them; a new monitor continues at each thousandth item."""
    own = [*news.rows(1500, surge=(60 * 20, 60 * 21))]
    messy = sorted(own, key=lambda row: row["time"] + random.Random(row["id"]).uniform(-2400, 2400))
    again = [row for row in messy for _ in range(2 if random.Random(row["id"] + "x").random() < 0.1 else 1)]
    settings = {"delay_minutes": 30.0, "learning_days": 0.5}
    whole = news.taken(news.monitor(tmp_path / "whole.db", **settings), again, batch=64)
    whole.finish()
    path = tmp_path / "parts.db"
    for begin in range(0, len(again), 1000):
        monitor = news.taken(news.monitor(path, **settings), again[begin : begin + 1000], batch=batch)
        monitor.store.close()
    monitor = news.monitor(path, **settings)
    monitor.finish()
    found, expected = news.contents(path), news.contents(tmp_path / "whole.db")
    assert found == expected
    assert {row[3] for row in found["items"]} == {"counted", "late"}
    assert len(found["items"]) == 1500 and found["alarms"]


def test_late_items_within_the_delay_are_counted_and_others_not(tmp_path):
    monitor = news.monitor(tmp_path / "m.db", delay_minutes=60.0)
    rows = [*news.rows(4, per_hour=1)]
    late = {**rows[0], "id": "late", "text": "something else"}
    news.taken(monitor, [*rows[:2], late, *rows[2:], {**late, "id": "later", "text": "or so"}])
    assert [row[3] for row in news.contents(tmp_path / "m.db")["items"] if row[0] in ("late", "later")] == [
        "counted",
        "late",
    ]


def test_windows_close_by_the_clock_where_the_stream_is_live_and_by_the_items_otherwise(tmp_path):
    rows = [*news.rows(3, per_hour=1)]
    monitor = news.taken(news.monitor(tmp_path / "m.db"), rows[:1], now=news.START + 1e7)
    monitor.advance(news.START + 1e7)
    assert not monitor.store.history("all"), "a history"
    news.taken(monitor, rows[1:2], now=news.START + 3700.0)
    assert len(monitor.store.history("all")) == 1
    monitor.advance(news.START + 7100.0)
    assert len(monitor.store.history("all")) == 1
    monitor.advance(news.START + 7300.0)
    assert len(monitor.store.history("all")) == 2
    news.taken(monitor, [{**rows[1], "id": "late", "text": "too late"}], now=news.START + 7301.0)
    assert any("too late" in what for what in monitor.tally)


WRONG = {
    "no time": {"text": "a"},
    "the time is not in ISO 8601": {"time": "yesterday", "text": "a"},
    "the time is no number of seconds": {"time": 1.6e12, "text": "a"},
    "the time is in the future": {"time": "2999-01-01", "text": "a"},
    "no text": {"time": 1, "title": "  "},
    "not valid UTF-8": b'{"time": 1, "text": "\xff"}',
    "not valid JSON": b'{"time": 1',
    "not a JSON object": b"[1]",
    "the id is neither": {"id": [1], "time": 1, "text": "a"},
    "no sentiment": {"time": news.START, "text": "a"},
    "not read: the sentiment of an entity is no text": {
        **{"time": news.START, "text": "a", "sentiment": "neutral"},
        **{"entities": {"Acme": {"sentiment": "negative"}}},
    },
    "not read: the entities are no list": {
        **{"time": news.START, "text": "a", "sentiment": "neutral", "entities": [["Acme"]]},
    },
    "not read: the topics are no list": {
        **{"time": news.START, "text": "a", "sentiment": "neutral", "topics": {"oil": 1}},
    },
    "time is no number of seconds since": b'{"time": 1' + b"0" * 400 + b', "text": "a"}',
    "the time is before 1970": {"time": "1969-12-31T23:00:00Z", "text": "a"},
    "the time is not in the years": {"time": "0001-01-01T00:00:00Z", "text": "a"},
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_wrong_item_is_refused_with_its_place_and_the_others_go_on(tmp_path, reason):
    good = [*news.rows(2)]
    monitor = news.monitor(tmp_path / "m.db", time_zone="America/New_York")
    news.taken(monitor, [good[0], WRONG[reason], good[1]])
    (found,) = [own for what, own in monitor.tally.items() if reason in what]
    assert found == {"count": 1, "places": ["news:2"]}
    assert monitor.tally["counted"]["count"] == 2


def test_halves_of_letters_are_replaced_wherever_they_are(tmp_path):
    half = "\ud800"
    row = {"time": news.START, "sentiment": f"good{half}", "entities": {f"Acme{half}": f"negative {half}"}}
    row |= dict.fromkeys(("id", "text", "source"), f"a{half}") | {"topics": [f"oil{half}"]}
    monitor = news.taken(news.monitor(tmp_path / "m.db"), [row])
    assert monitor.tally == {"counted": {"count": 1, "places": ["news:1"]}}
    assert set(monitor.store.counts(monitor.window_of(news.START))) == {"all", "topic: oil?", "entity: Acme?"}


def test_an_item_that_fails_in_a_way_nobody_thought_of_is_said_and_harms_no_other(tmp_path, monkeypatch):
    rows = [*news.rows(4)]
    monitor = news.monitor(tmp_path / "m.db")
    read = monitor.understand

    def fails(items):
        if any(item.id == "n1" for item in items):
            raise ZeroDivisionError
        return read(items)

    monitor.understand = fails
    deep = {"id": "deep", "time": news.START, "sentiment": "neutral", "text": []}
    for _ in range(5000):
        deep["text"] = [deep["text"]]
    news.taken(monitor, [*rows, deep])
    assert {what: own["count"] for what, own in monitor.tally.items()} == {
        "counted": 3,
        "not read: it fails (ZeroDivisionError)": 1,
        "refused: it fails (RecursionError)": 1,
    }

    def full(items):
        raise SessionError("no room")

    monitor.understand = full
    with pytest.raises(SessionError):
        news.taken(monitor, news.rows(9))


def test_no_input_is_late_because_another_one_is_ahead(tmp_path):
    """Of one, eight hours are still to be read when an item of now is posted; a list has its newest item first."""
    rows = [*news.rows(9, per_hour=1)]
    monitor = news.monitor(tmp_path / "m.db")

    def take(own, behind, **more):
        given = [IncomingItem(where=f"x:{row['id']}", item=row, **more) for row in own]
        return monitor.take(given, now=news.START + 1e7, behind=behind)

    assert take(rows[8:], ["file", "feed"]) == ["counted"] and monitor.clock is None
    assert take(rows[:4], ["file", "feed"], input="file") == ["counted"] * 4
    assert monitor.clock is None, "the feed has not said yet what it has"
    assert take(rows[1::-1], ["file"], input="feed") == ["came again"] * 2
    assert monitor.clock == rows[3]["time"] and monitor.next == monitor.window_of(monitor.clock)
    assert take(rows[4:7], ["file"], input="file") == ["counted"] * 3
    monitor.advance(news.START + 1e7)
    assert monitor.clock == rows[8]["time"] and len(monitor.store.history("all")) == 7
    assert take(rows[7:8], [], input="file") == ["came too late to be counted (--delay_minutes)"]
    more = [{**row, "id": f"m{n}", "time": row["time"] + 9 * 3600, "text": row["text"][::-1]} for n, row in
            enumerate(rows)]  # fmt: skip
    assert take(more[::-1], [], together="a list") == ["counted"] * 9


def test_the_same_id_with_another_text_keeps_the_first(tmp_path):
    (row,) = news.rows(1)
    monitor = news.taken(news.monitor(tmp_path / "m.db"), [row, row, {**row, "text": "a correction"}], batch=2)
    assert monitor.tally["came again"]["count"] == 1
    assert monitor.tally["came again with another text: the first one stays"]["places"] == ["news:3"]
    assert monitor.store._rows("SELECT text FROM items") == [(row["text"],)]


def test_times_of_other_zones_are_the_same_moment(tmp_path):
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    zones = [moment.isoformat(), moment.astimezone(timezone(timedelta(hours=9))).isoformat(), "2026-03-01T12:00:00Z"]
    rows = [{"time": time, "text": f"{n} {n * 7919}", "sentiment": "x"} for n, time in enumerate(zones)]
    rows += [{"time": "2026-03-01T13:00:00", "text": "of Berlin", "sentiment": "x"}, {**rows[0], "id": "s"}]
    rows[-1] |= {"time": moment.timestamp(), "text": "seconds"}
    monitor = news.taken(news.monitor(tmp_path / "m.db", time_zone="Europe/Berlin"), rows, now=moment.timestamp())
    assert {row[0] for row in monitor.store._rows("SELECT at FROM items")} == {moment.timestamp()}
    assert monitor.when(monitor.window_of(moment.timestamp())).hour == 13


def test_a_topic_that_nobody_has_seen_is_learned_before_it_is_tested(surged, tmp_path):
    rows = [*news.rows(60 * 60)]
    for row in rows[56 * 60 :]:
        row["topics"], row["sentiment"] = ["strange"], "negative"
    monitor = news.taken(news.monitor(tmp_path / "m.db"), rows)
    monitor.finish()
    assert "topic: strange" in monitor.series
    assert {one["series"] for one in monitor.alarms()} == {"all"}
    assert not any(one["tested"] for one in monitor.store.history("topic: strange"))


@pytest.mark.parametrize(("sources", "alarms"), [(1, False), (8, True)])
def test_one_source_alone_raises_no_alarm(tmp_path, sources, alarms):
    """In the surge, one source repeats itself in other words; or all have it."""
    rows = [*news.rows(60 * 52, surge=(60 * 50, 60 * 51))]
    for number, row in enumerate(rows):
        if row["sentiment"] == "negative" and number >= 60 * 50:
            row["source"] = f"wire {number % sources}"
    monitor = news.taken(news.monitor(tmp_path / "m.db"), rows)
    monitor.finish()
    assert any(one["series"] == "all" for one in monitor.alarms()) == alarms
    alone = news.taken(news.monitor(tmp_path / "alone.db", min_sources=1), rows)
    alone.finish()
    assert any(one["series"] == "all" for one in alone.alarms())


def test_near_copies_count_once_and_different_news_do_not(tmp_path):
    text = "Shares of Acme Corp fall 12 percent after the regulator opens an inquiry into its accounts for 2025"
    texts = [text, f"UPDATE 1-{text}", text.upper() + ".", text.replace("Acme", "Apex").replace("fall 12", "rise 3")]
    rows = [
        {"time": news.START + n, "text": body, "source": f"s{n}", "sentiment": "negative"}
        for n, body in enumerate(texts)
    ]
    monitor = news.taken(news.monitor(tmp_path / "m.db"), [*rows, {**rows[0], "time": news.START + 72 * 3600}])
    assert [row[0] for row in monitor.store._rows("SELECT status FROM items ORDER BY at")] == [
        "counted", "copy", "copy", "counted", "counted"
    ]  # fmt: skip


def test_estimated_similarity_is_near_jaccards():
    copies, words = Copies(0.5, 1e9), [f"{n:05d}" for n in range(200)]
    for shared in (0.0, 0.5, 0.9):
        kept = int(100 * shared)
        one, other = " ".join(words[:100]), " ".join([*words[:kept], *words[100 : 200 - kept]])
        sets = [{text[i : i + 5] for i in range(len(text) - 4)} for text in (one, other)]
        jaccard = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        found = copies.minhash(copies.sketch(one)).jaccard(copies.minhash(copies.sketch(other)))
        assert found == pytest.approx(jaccard, abs=0.15)


def test_shares_are_corrected_as_rogan_and_gladen_do():
    found = Correction.of({(True, True): 80, (True, False): 20, (False, True): 10, (False, False): 90})
    assert (found.sensitivity, found.specificity) == (0.8, 0.9)
    true = 0.37
    assert found.share(1000 * (true * 0.8 + (1 - true) * 0.1), 1000) == pytest.approx(true)
    assert found.share(0, 10) == 0 and found.share(10, 10) == 1
    with pytest.raises(DataError, match="has no information"):
        Correction.of({(True, True): 1, (True, False): 9, (False, True): 2, (False, False): 8})


def test_other_settings_need_another_folder(surged):
    path, _ = surged
    with pytest.raises(SettingsError, match="learned with window_minutes 60"):
        news.monitor(path, window_minutes=30)


def test_a_store_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "m.db").write_bytes(b"not a database, but long enough to be read as one" * 40)
    with pytest.raises(SessionError, match="could not be read or written"):
        news.monitor(tmp_path / "m.db")


def test_old_items_are_deleted_and_windows_stay(tmp_path):
    monitor = news.taken(news.monitor(tmp_path / "m.db", keep_days=3.0), news.rows(24 * 10, per_hour=1))
    monitor.finish()
    assert monitor.store._rows("SELECT COUNT(*) FROM items")[0][0] < 24 * 4
    assert len(monitor.store.history("all")) == 24 * 10
    assert len(monitor.copies.known) < 24 * 4
