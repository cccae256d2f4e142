"""The recommender: who gets what, why, filters and diversity; events and items taken in at once; a store that lasts."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shop
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.applications.base import sqlite_file
from adapters.applications.recommendation import recommender
from adapters.applications.recommendation.behaviour import Behaviour, cooccurrence
from adapters.applications.recommendation.catalogue import Item
from adapters.applications.recommendation.events import Events
from adapters.applications.recommendation.ranker import FEWEST, Ranker, highest, ranked, retrieved
from adapters.applications.recommendation.recommender import Recommender, Request, UserEvents
from adapters.applications.recommendation.signals import FEATURES, Profile
from adapters.applications.recommendation.store import Event, Store, digest_of
from adapters.core.errors import DataError, SessionError

DAY = shop.DAY


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["items"]]


def liked(user: str, *items: str, begin: float = 0.0) -> list[dict[str, Any]]:
    return [{"user": user, "item": item, "time": (begin + place) * DAY} for place, item in enumerate(items)]


@pytest.fixture
def made(tmp_path: Path) -> Recommender:
    """A recommender with some events."""
    return shop.recommender(tmp_path, [*liked("ada", "sea0", "sea1"), *liked("eve", "joke0", "war0", "joke1")])


def test_a_user_gets_what_is_like_the_history_with_the_reason_and_nothing_seen(made: Recommender) -> None:
    answer = made.recommend(Request(user="ada", number=4))
    assert sorted(ids(answer)) == ["sea2", "sea3", "sea4", "sea5"] and answer["basis"] == "history"
    assert {why["item"] for why in answer["items"][0]["why"]} == {"sea0", "sea1"}
    assert answer["items"][0]["why"][0]["cosine"] > 0.9
    assert "sea0" in ids(made.recommend(Request(user="ada", number=6, keep_seen=True)))


def test_a_new_user_gets_by_a_few_clicks_or_a_sentence(made: Recommender) -> None:
    assert all(id.startswith("war") for id in ids(made.recommend(Request(history=("war1",), number=5))))
    answer = made.recommend(Request(wishes="xxxx", number=3))
    assert all(id.startswith("love") for id in ids(answer)) and answer["basis"] == "wishes"
    assert answer["items"][0]["why"][0]["wishes"] == "xxxx"
    both = made.recommend(Request(user="ada", wishes="jjjj", number=3))
    assert all(id.startswith("joke") for id in ids(both)) and both["basis"] == "history and wishes"


def test_an_unknown_user_gets_what_is_popular_and_it_is_said(made: Recommender) -> None:
    made.ranker = Popular()
    answer = made.recommend(Request(user="nobody", number=5))
    assert answer["basis"] == "popularity" and set(ids(answer)) == {"sea0", "sea1", "joke0", "war0", "joke1"}
    assert answer["items"][0]["why"] == []


class Popular(Ranker):
    """Ranks by popularity."""

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, FEATURES.index("recent")].astype(float)


def test_filters_candidates_and_prices(made: Recommender) -> None:
    found = ids(made.recommend(Request(user="ada", tags=("WAR", "joke"), max_price=0.5, number=9)))
    assert sorted(found) == ["joke0", "war0"]
    found = ids(made.recommend(Request(user="ada", without_tags=("sea",), number=24)))
    assert len(found) == 18 and not any(id.startswith("sea") for id in found)
    answer = made.recommend(Request(user="ada", candidates=("sea0", "joke3", "sea4"), number=3))
    assert ids(answer) == ["sea4", "joke3"]
    assert answer["note"] == "only 2 of 24 items are left by what the user has seen, candidates"
    answer = made.recommend(Request(user="ada", tags=("jokes",), number=3))
    assert answer["items"] == [] and "no item has the tag 'jokes': did you mean 'joke'?" in answer["note"]


def test_a_user_who_has_seen_everything_gets_nothing_and_why(tmp_path: Path) -> None:
    made = shop.recommender(tmp_path, liked("ada", *(row["item_id"] for row in shop.items())))
    answer = made.recommend(Request(user="ada"))
    assert answer["items"] == [] and answer["note"].startswith("the user has seen all 24 items")
    assert len(made.recommend(Request(user="ada", keep_seen=True))["items"]) == 10


def test_diversity_gives_other_kinds_and_none_the_best(made: Recommender) -> None:
    plain, diverse = (ids(made.recommend(Request(user="ada", number=4, diversity=share))) for share in (0.0, 0.9))
    assert {id[:3] for id in plain} == {"sea"} and diverse[0] == plain[0]
    assert len({id[:3] for id in diverse}) >= 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"number": 0}, "number: 0 must be from 1"),
        ({"number": 1001}, "must be from 1 to 1,000"),
        ({"diversity": 1.5}, "must be from 0 to 1"),
        ({"history": ("sea9",)}, "history: there is no item 'sea9': did you mean"),
        ({"candidates": ("x",)}, "candidates: there is no item 'x'"),
        ({"history": ("sea1",) * 1001}, "give the last 1,000"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(made: Recommender, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        made.recommend(Request(**wrong))
    assert message in str(caught.value)


def test_events_count_at_once_all_or_none(made: Recommender) -> None:
    assert made.recommend(Request(user="new"))["basis"] == "popularity"
    made.take([Event(user="new", item="war3", time=9 * DAY), Event(user="new", item="sea3", time=9 * DAY, liked=False)])
    answer = made.recommend(Request(user="new", number=24))
    assert ids(answer)[0].startswith("war") and not {"war3", "sea3"} & {*ids(answer)} and len(ids(answer)) == 22
    count = made.signals.behaviour.count[made.catalogue.number["war3"]]
    with pytest.raises(DataError, match="events: there is no item 'gone'"):
        made.take([Event(user="new", item="war4", time=1.0), Event(user="new", item="gone", time=1.0)])
    with pytest.raises(DataError, match="the time nan"):
        made.take([Event(user="new", item="war4", time=float("nan"))])
    assert count == 1 and "war4" in ids(made.recommend(Request(user="new", number=24)))


def test_new_items_are_recommended_by_their_text_alone(made: Recommender) -> None:
    made.add_items([Item(id="deep", text="zzzz deep", title="Deep", tags=("sea",)), Item(id="blank", text="")])
    answer = made.recommend(Request(user="ada", number=24))
    assert "deep" in ids(answer)[:5] and len(made.catalogue) == 26
    made.take([Event(user="eve", item="deep", time=5 * DAY)])
    assert "deep" not in ids(made.recommend(Request(user="eve", number=26)))
    with pytest.raises(DataError, match="there is an item 'deep' already"):
        made.add_items([Item(id="x", text="x"), Item(id="deep", text="y")])
    with pytest.raises(DataError, match="there is an item 'y' already"):
        made.add_items([Item(id="y", text="x"), Item(id="y", text="y")])
    assert len(made.catalogue) == 26 and ids(made.recommend(Request(tags=("SEA",), number=1, candidates=("deep",))))


def test_what_came_in_is_there_after_a_restart_and_on_another_server(made: Recommender, tmp_path: Path) -> None:
    other = shop.recommender(tmp_path)
    made.add_items([Item(id="deep", text="zzzz deep")])
    made.take([Event(user="new", item="deep", time=9 * DAY)])
    for again in (other, shop.recommender(tmp_path)):
        assert ids(again.recommend(Request(user="new", number=2)))[0].startswith("sea")
        assert again.users["new"].liked == {24: 9 * DAY}
        assert np.array_equal(again.signals.vectors, made.signals.vectors)


def test_a_user_is_forgotten_everywhere_and_in_the_file(made: Recommender, tmp_path: Path) -> None:
    other = shop.recommender(tmp_path)
    made.take([Event(user="a-secret-name", item="sea4", time=9 * DAY)])
    assert made.forget("a-secret-name") == 1 and made.forget("a-secret-name") == 0
    for one in (made, other):
        assert one.recommend(Request(user="a-secret-name"))["basis"] == "popularity"
        assert one.recommend(Request(user="ada"))["basis"] == "history"
        one.store.close()
    files = b"".join(path.read_bytes() for path in tmp_path.glob("events.db*"))
    assert b"a-secret-name" not in files and b"ada" in files


def test_a_name_is_in_no_file_while_the_file_is_open_or_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "WAIT_SECONDS", 0.05)
    store = Store(tmp_path / "events.db")
    store.add_events(Event(user=f"a-secret-name {n % 2}", item="sea4", time=float(n)) for n in range(100))
    assert store.forget("a-secret-name 0") == 50
    assert not any(b"a-secret-name 0" in path.read_bytes() for path in tmp_path.iterdir())
    reader = sqlite3.connect(tmp_path / "events.db")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM changes").fetchall()
    with pytest.raises(SessionError, match="its log still has the bytes"):
        store.forget("a-secret-name 1")
    reader.close()
    assert store.forget("a-secret-name 1") == 0
    assert not any(b"a-secret-name" in path.read_bytes() for path in tmp_path.iterdir())


def test_deletions_that_are_kept_cost_nothing_at_each_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "events.db")
    store.add_events(Event(user=f"u{n}", item="sea1", time=float(n)) for n in range(50))
    for n in range(20):
        store.forget(f"gone{n}")
    hashed: list[str] = []

    def digest(user: str) -> str:
        hashed.append(user)
        return digest_of(user)

    monkeypatch.setattr(recommender, "digest_of", digest)
    made = shop.recommender(tmp_path)
    assert len(made.users) == 50 == len(hashed)
    made.forget("u7")
    assert "u7" not in made.users and len(made.users) == 49


def test_a_file_that_cannot_be_written_loses_nothing(made: Recommender) -> None:
    made.store.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(SessionError, match="could not be read or written"):
        made.take([Event(user="ada", item="sea4", time=9 * DAY)])
    assert "sea4" in ids(made.recommend(Request(user="ada", number=24))), "it is neither on disk nor in memory"
    made.store.connection.execute("PRAGMA query_only = OFF")
    made.take([Event(user="ada", item="sea4", time=9 * DAY)])
    assert "sea4" not in ids(made.recommend(Request(user="ada", number=24)))


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "events.db")

    def events() -> Any:
        yield Event(user="u", item="a", time=1.0)
        raise sqlite3.OperationalError("the disk is full")

    with pytest.raises(SessionError):
        store.add_events(events())
    assert store.after(0) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=20))
def test_a_users_likes_are_in_order_of_their_last_time_however_they_come(rows: list[tuple[int, int]]) -> None:
    own = UserEvents()
    for item, at in rows:
        own.take(item, float(at), True)
    last = {item: max(at for other, at in rows if other == item) for item, _ in rows}
    assert own.liked == last and [*own.liked.values()] == sorted(own.liked.values())


def test_popularity_halves_and_late_events_count_as_what_they_are() -> None:
    behaviour = Behaviour.empty(10.0, cooccurrence(Events.of([]), 2))
    for item, at in ((0, 0.0), (0, 10.0), (0, 0.0), (1, 20.0)):
        behaviour.take(item, at)
    assert behaviour.popularity(20.0) == pytest.approx([0.25 + 0.5 + 0.25, 1]) and behaviour.latest == 20
    assert behaviour.count.tolist() == [3, 1]


def test_items_go_together_by_the_cosine_of_their_users() -> None:
    rows = [(f"u{n}", item, 1.0, True) for n in range(9) for item in ((0, 1) if n < 6 else (0, 2))]
    matrix = cooccurrence(Events.of(rows), 4).toarray()
    assert matrix[0, 1] == pytest.approx(6 / (np.sqrt(9 * 6) + 5)) and matrix[1, 2] == 0 and not matrix.diagonal().any()
    assert np.array_equal(matrix, matrix.T)
    grown = Behaviour.of(Events.of(rows), 4, 1.0)
    grown.add(2)
    assert grown.with_history([0, 5]).tolist() == [0, matrix[0, 1], matrix[0, 2], 0, 0, 0]


def test_what_is_retrieved_is_the_highest_of_any_signal_among_what_is_allowed() -> None:
    own = shop.signals(shop.catalogue(), [*liked("ada", "sea0", "joke5"), *liked("eve", "sea0", "joke5", "war2")])
    allowed = np.ones(24, bool)
    allowed[own.catalogue.number["war2"]] = False
    found = own.of(Profile(history=(0,)), 5 * DAY)
    numbers = retrieved(found, allowed, 3)
    names = {own.catalogue.items[n].id for n in numbers}
    assert "joke5" in names and "sea1" in names and "war2" not in names
    scores = ranked(own, Ranker(), own.of(Profile(history=(0,)), 5 * DAY), allowed, 3)
    assert np.isinf(scores[own.catalogue.number["war2"]]) and np.isfinite(scores[allowed]).all()
    assert scores[numbers].min() >= 0 > np.delete(scores, numbers)[np.isfinite(np.delete(scores, numbers))].max()
    assert sorted(highest(np.array([1.0, -np.inf, 3.0]), 2).tolist()) == [0, 2]


def test_features_say_what_they_are_called() -> None:
    own = shop.signals(shop.catalogue(), liked("ada", "sea0", "joke5"))
    found = own.of(Profile(history=(0, 1)), 5 * DAY)
    rows = dict(zip(FEATURES, own.rows(found, np.array([2, 11])).T, strict=True))
    assert rows["tags"].tolist() == pytest.approx([1, 0]) and rows["history"][0] == pytest.approx(np.log(3))
    assert rows["price"][0] == pytest.approx(np.log(3) - np.log([1, 2]).mean()) and np.isnan(rows["age"]).all()
    assert rows["cosine"][0] > 0.9 > rows["cosine"][1] and rows["nearest"][0] > 0.9
    assert rows["similarity"][0] == pytest.approx(rows["cosine"][0] / 0.1 + rows["weight"][0])
    assert rows["words"][0] > 0 == rows["words"][1]


def test_a_ranker_learns_what_the_targets_have_and_is_read_back(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    groups = []
    for _ in range(30):
        rows = draw.standard_normal((40, len(FEATURES))).astype(np.float32)
        groups.append((rows, rows[:, FEATURES.index("tags")] > 1.2))
    ranker = Ranker.learned(groups, 0)
    assert max(ranker.gains(), key=lambda name: ranker.gains()[name]) == "tags"
    rows, right = groups[0]
    assert ranker.scores(rows)[right].min() > np.median(ranker.scores(rows)[~right])
    ranker.save(tmp_path / "ranker.txt")
    assert np.array_equal(Ranker.read(tmp_path / "ranker.txt").scores(rows), ranker.scores(rows))
    none = Ranker.learned(groups[: FEWEST - 1], 0)
    assert none.booster is None and np.array_equal(none.scores(rows), rows[:, 0])
    none.save(tmp_path / "none.txt")
    assert Ranker.read(tmp_path / "none.txt").booster is None
