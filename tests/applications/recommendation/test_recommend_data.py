"""Files of items and events, wrong ones among them; and the split by time, which never looks ahead."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shop
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.applications.recommendation import reading
from adapters.applications.recommendation.catalogue import Catalogue, Item, read_text
from adapters.applications.recommendation.events import Events, cases, cut_times, histories
from adapters.applications.recommendation.settings import all_settings
from adapters.core.errors import DataError, SettingsError
from adapters.data.times import seconds_since_1970

ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 7), st.integers(0, 12).map(float), st.booleans()), max_size=40
)


def given_files(folder: Path, items: list[dict[str, Any]], events: list[dict[str, Any]], **more: Any) -> Any:
    """Settings with files of these rows."""
    paths = {name: str(shop.write(folder / name, rows)) for name, rows in (("i.jsonl", items), ("e.jsonl", events))}
    return all_settings()(items_file=paths["i.jsonl"], events_file=paths["e.jsonl"], **more)


def read(folder: Path, items: list[dict[str, Any]], events: list[dict[str, Any]], **more: Any) -> tuple[Any, ...]:
    """Catalogue, events, and all lines that are printed."""
    settings = given_files(folder, items, events, **more)
    catalogue, first = reading.read_items(settings)
    found, second = reading.read_events(settings, catalogue)
    return catalogue, found, "\n".join([*first, *second])


ITEMS = [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}]


def test_items_and_events_are_read_by_their_usual_names(tmp_path: Path) -> None:
    items = [
        {"movieId": 7, "title": "Jaws", "overview": "A shark.", "genres": "Sea|Fear", "price": "$3.50", "year": 1975},
        {"movieId": 8, "title": "Duel", "overview": "", "genres": "Road, Fear", "price": None, "year": None},
    ]
    events = [
        {"userId": 1, "movieId": 8, "rating": 5, "timestamp": 20},
        {"userId": 1, "movieId": 7, "rating": 2, "timestamp": 30},
    ]
    catalogue, found, told = read(tmp_path, items, events, min_rating=4)
    assert catalogue.items == [
        Item(
            id="7",
            text="Jaws A shark.",
            title="Jaws",
            tags=("Sea", "Fear"),
            price=3.5,
            published=seconds_since_1970("1975-01-01", UTC),
        ),
        Item(id="8", text="Duel", title="Duel", tags=("Road", "Fear")),
    ]
    assert found.liked.tolist() == [True, False] and found.items.tolist() == [1, 0]
    assert "item from movieId" in told and "1 of the events is liked" in told
    assert read_text(catalogue.items[0]) == "Jaws A shark. (Sea, Fear)"


def test_times_are_seconds_years_or_iso_and_nothing_else() -> None:
    day = seconds_since_1970("2018-01-02", UTC)
    assert [seconds_since_1970(one, UTC) for one in ("1514851200", 1514851200, "20180102", "2018-01-02T00:00Z")] == [
        day
    ] * 4
    assert seconds_since_1970("2018", UTC) == seconds_since_1970("2018-01-01", UTC)
    assert seconds_since_1970("1000", UTC) == seconds_since_1970(seconds_since_1970("1000", UTC), UTC) < 0
    wrong_years = ("0001-01-01T00:00:00Z", "0999", "9999-12-31T23:59:59-12:00", -1e11, 10**400)
    for wrong in ("yesterday", "12:00", None, "", True, float("nan"), 1e12, "1514851200000", *wrong_years):
        with pytest.raises(ValueError, match="the time is"):
            seconds_since_1970(wrong, UTC)


def test_what_can_be_used_is_used_and_the_rest_is_counted(tmp_path: Path) -> None:
    items = [*ITEMS, ITEMS[0], {"id": "c", "title": "", "price": "dear"}]
    events = [
        {"user": "u", "item": "b", "time": 5},
        {"user": "u", "item": "a", "time": 3},
        {"user": "u", "item": "a", "time": 3},
        {"user": "u", "item": "gone", "time": 9},
    ]
    catalogue, found, told = read(tmp_path, items, events)
    assert found.times.tolist() == [3, 5] and len(catalogue) == 3
    assert catalogue.items[2].price is None
    for line in (
        "1 item given twice",
        "1 item without a text",
        "1 price that cannot be read",
        "1 event of unknown items left out (the first: ",
        "'gone'",
        "2 events not in order of time",
        "1 event given twice",
    ):
        assert line in told, (line, told)


@pytest.mark.parametrize(
    ("items", "events", "more", "message"),
    [
        ([*ITEMS, {"id": "a", "title": "other"}], [], {}, "i.jsonl:3: another item of the id 'a'"),
        ([*ITEMS, {"id": "", "title": "x"}], [], {}, "i.jsonl:3: an item without an id"),
        ([{"id": "a"}], [], {}, "no column of texts with a usual name"),
        ([{"name": "a"}], [], {}, "no column of ids of items"),
        (ITEMS, [{"user": "u", "item": "a"}], {}, "no column of times"),
        (ITEMS, [{"user": "u", "item": "a", "time": "soon"}], {}, "e.jsonl:1: the time is not in ISO 8601"),
        (ITEMS, [{"user": "", "item": "a", "time": 1}], {}, "e.jsonl:1: an event without user or item"),
        (ITEMS, [{"user": "u", "item": "z", "time": 1}], {}, "1 of 1 event is of items that"),
        (ITEMS, [{"user": "u", "item": "a", "time": 1}], {"min_rating": 4}, "--min_rating needs a column"),
        (ITEMS, [{"user": "u", "item": "a", "time": 1}], {"signal_kinds": ["x"]}, "--signal_kinds needs a column"),
        (
            ITEMS,
            [{"user": "u", "item": "a", "time": 1, "kind": "view"}],
            {"signal_kinds": ["clck"]},
            "no event has this kind. Kinds found: view",
        ),
        (ITEMS, [{"user": "u", "item": "a", "time": 1, "rating": 3}], {"min_rating": 4}, "no event is a like"),
        (
            ITEMS,
            [{"user": "u", "item": "a", "time": 1, "rating": "x"}],
            {"min_rating": 4},
            "a rating that is no number",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, items: Any, events: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, items, events, **more)
    assert message in str(caught.value)


def test_a_user_with_100000_events_is_cut_to_the_last_ones_quickly(tmp_path: Path) -> None:
    rows = [("u", n % 500, float(n), True) for n in range(100_000)] + [("v", 1, 5.0, True)]
    found, left = Events.of(rows).last_of_each(1000)
    assert left == 99_000 and found.times.min() == 5.0
    assert sorted(found.where(found.users == 0).times.tolist()) == [float(n) for n in range(99_000, 100_000)]
    assert len(list(histories(found, 30))) == 499, "each item once: the other likes are repetitions"


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 13).map(float), clicks=st.integers(1, 3), moments=st.integers(1, 3))
def test_no_case_looks_ahead(rows: list[tuple[str, int, float, bool]], cut: float, clicks: int, moments: int) -> None:
    events = Events.of(rows)
    found = cases(events, cut, np.inf, clicks, moments)
    assert moments > 1 or len({case.user for case in found}) == len(found)
    for case in found:
        own = [(item, at, liked) for user, item, at, liked in rows if user == case.user]
        likes = [(item, at) for item, at, liked in own if liked]
        assert case.new == all(at >= cut for _, at, _ in own)
        known = {item for item, at, _ in own if at <= case.at}
        if case.new:
            assert known >= case.seen and len(case.history) >= 1
        else:
            assert case.at >= np.nextafter(cut, -np.inf), "popularity is as fresh as in service"
            assert case.seen == known and (moments > 1 or case.at < cut)
        assert set(case.history) <= case.seen and not set(case.targets) & case.seen
        for target in case.targets:
            assert any(item == target and at >= cut and at > case.at for item, at in likes)
            assert not any(item == target and at <= case.at for item, at in likes)
        newest = max(at for item, at, _ in own if item in case.seen and at <= case.at)
        assert newest <= case.at, "the history ends at the moment"
    learned = events.before(cut)
    assert all(at < cut for at in learned.times)
    users = {user for user, _, at, liked in rows if at >= cut and liked}
    assert {case.user for case in found} <= users


@settings(max_examples=50, deadline=None)
@given(rows=ROWS, most=st.integers(1, 4))
def test_a_history_has_what_was_liked_strictly_before_and_each_item_once(
    rows: list[tuple[str, int, float, bool]], most: int
) -> None:
    events = Events.of(rows)
    found = dict(histories(events, most))
    expected = {}
    for place in range(len(events)):
        user, at, item = events.users[place], events.times[place], events.items[place]
        earlier = [
            (events.times[n], n)
            for n in range(len(events))
            if events.users[n] == user and events.liked[n] and events.times[n] < at
        ]
        numbers = [int(events.items[n]) for _, n in sorted(earlier)]
        once = list(dict.fromkeys(numbers[::-1]))[::-1]
        if events.liked[place] and once and item not in once:
            expected[place] = once[-most:]
    assert {place: own.tolist() for place, own in found.items()} == expected


@settings(max_examples=50, deadline=None)
@given(rows=ROWS.filter(bool))
def test_the_cuts_are_by_one_global_time_and_in_order(rows: list[tuple[str, int, float, bool]]) -> None:
    events = Events.of(rows)
    dev, test = cut_times(events, 20, 20)
    assert dev <= test
    assert (events.times >= test).mean() >= 0.2 - 1 / len(rows)
    assert len(events.before(dev)) + len(events.where(events.times >= dev)) == len(events)


def test_items_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    made = Catalogue([Item(id="ü", text="x\n\ud800", tags=("a",), price=1.5, published=3.0), Item(id="b", text="")])
    made.save(tmp_path / "items.jsonl")
    assert Catalogue.read(tmp_path / "items.jsonl").items == made.items


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"items_file": None}, "--items_file None: must be a file of items"),
        ({"test_percentage": 95.0, "dev_percentage": 10.0}, "so small that events are left"),
        ({"batch_items": 1}, "at least 2"),
        ({"half_life_days": 0.0}, "above 0"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        all_settings()(**{"items_file": "i", "events_file": "e", **flags}).check()
    assert message in str(caught.value)


def test_a_case_of_a_test_file_needs_known_items(tmp_path: Path) -> None:
    catalogue, found, _ = read(tmp_path, ITEMS, [{"user": "u", "item": "a", "time": 1}])
    path = shop.write(tmp_path / "t.jsonl", [{"user": "u", "history": ["a"], "target": "b", "candidates": ["a"]}])
    own = given_files(tmp_path, ITEMS, [])
    (case,), _ = reading.read_cases(str(path), own, catalogue, found)
    assert (case.history, case.targets, case.candidates, case.new) == ((0,), (1,), (0, 1), False)
    path = shop.write(tmp_path / "t.jsonl", [{"user": "u", "history": ["z"], "target": "b"}])
    with pytest.raises(DataError, match=r"t.jsonl:1: no item 'z'"):
        reading.read_cases(str(path), own, catalogue, found)


CASE = {"user": "v", "history": ["a"], "target": "b"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user": None}, "t.jsonl:2: a case without a user"),
        ({"target": ""}, "t.jsonl:2: a case without a target"),
        ({"history": 5}, "t.jsonl:2: history that is no list"),
        ({"candidates": "a"}, "t.jsonl:2: candidates that is no list"),
        ({"candidates": ["a", "z"]}, "t.jsonl:2: no item 'z'"),
        ({"user": "u", "target": "a", "history": []}, "t.jsonl:2: a target that --events_file has of this user"),
    ],
)
def test_a_case_that_cannot_be_scored_is_refused_with_its_place(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    catalogue, found, _ = read(tmp_path, ITEMS, [{"user": "u", "item": "a", "time": 1}])
    own, path = given_files(tmp_path, ITEMS, []), shop.write(tmp_path / "t.jsonl", [CASE, {**CASE, **given}])
    with pytest.raises(DataError) as caught:
        reading.read_cases(str(path), own, catalogue, found)
    assert message in str(caught.value)


def test_cases_of_one_user_and_repeated_targets_are_said(tmp_path: Path) -> None:
    catalogue, found, _ = read(tmp_path, ITEMS, [{"user": "u", "item": "a", "time": 1}])
    rows = [CASE, CASE, {**CASE, "user": "u", "target": "a"}]
    path, own = shop.write(tmp_path / "t.jsonl", rows), given_files(tmp_path, ITEMS, [])
    cases_, said = reading.read_cases(str(path), own, catalogue, found)
    assert len(cases_) == 3 and "3 cases of 2 users" in said[0]
    assert said[1:] == ["1 target that the history has already"]


def test_a_number_of_400_digits_is_none(tmp_path: Path) -> None:
    huge = 10**400
    event = {"user": "u", "item": "a", "time": 1}
    catalogue, *_ = read(tmp_path, [{**ITEMS[0], "price": huge, "published": huge}], [event])
    assert (catalogue.items[0].price, catalogue.items[0].published) == (None, None)
    for wrong, message in (({"time": huge}, "the time is no number"), ({"rating": huge}, "a rating that is no number")):
        with pytest.raises(DataError, match=message):
            read(tmp_path, ITEMS, [{**event, "rating": 5, **wrong}], min_rating=4)
