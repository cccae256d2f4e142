"""Recommendations over HTTP: answers, events and items at once, tokens, and requests that cannot be used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import shop
from servers import ADMIN, Site

from adapters.serving.http.auth import Tokens

STAFF = {"authorization": f"Bearer {ADMIN}"}
ADA = [{"user": "ada", "item": item, "time": place} for place, item in enumerate(("sea0", "sea1"))]


def site(folder: Path, tokens: Tokens | None = None, **more: Any) -> Site:
    return Site(shop.NoAdapters(), tokens, [shop.Shop(folder, ADA, **more)], max_wait_ms=0)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Site]:
    """A shop, called without sockets."""
    made = site(tmp_path)
    yield made
    made.close()


def asked(served: Site, **given: Any) -> Any:
    return served.ask("POST", "/v1/recommend", json=given)


def test_an_answer_has_items_with_their_reasons(served: Site) -> None:
    answer = asked(served, user="ada", number=2)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert {item["id"][:3] for item in found["items"]} == {"sea"} and found["basis"] == "history"
    assert set(found["items"][0]) == {"id", "title", "score", "why"} and found["items"][0]["why"][0]["cosine"] > 0.9


def test_filters_diversity_and_candidates_are_taken(served: Site) -> None:
    found = asked(served, history=["war0"], filters={"tags": ["joke"], "max_price": 1}, number=5, diversity=0.5).json()
    assert [item["id"] for item in found["items"]] == ["joke0", "joke1"] and "only 2 of 24 items" in found["note"]
    found = asked(served, user="ada", candidates=["sea0", "sea5"], keep_seen=True, number=2).json()
    assert {item["id"] for item in found["items"]} == {"sea0", "sea5"}


def test_an_event_counts_in_the_next_answer(served: Site) -> None:
    event = {"user": "bob", "item": "war1"}
    assert served.ask("POST", "/v1/recommend/events", json={"events": [event]}).json() == {"events": 1}
    found = asked(served, user="bob", number=3).json()
    assert {item["id"][:3] for item in found["items"]} == {"war"} and found["basis"] == "history"
    assert "war1" not in {item["id"] for item in found["items"]}
    assert served.ask("DELETE", "/v1/recommend/users/bob").json() == {"deleted": 1}
    assert asked(served, user="bob").json()["basis"] == "popularity"


def test_kinds_of_events_are_likes_as_in_training(tmp_path: Path) -> None:
    served = site(tmp_path, signal_kinds=["click"])
    for item, more in (("war1", {"kind": "view"}), ("joke1", {"kind": "click"}), ("love1", {"liked": True})):
        event = {"user": "bob", "item": item, "time": "2020-01-01T00:00:00Z", **more}
        assert served.ask("POST", "/v1/recommend/events", json={"events": [event]}).status_code == 200
    found = asked(served, user="bob", number=24).json()
    assert {why["item"] for item in found["items"] for why in item["why"]} == {"joke1", "love1"}
    assert "war1" not in {item["id"] for item in found["items"]}
    served.close()


def test_a_user_whose_id_has_slashes_is_forgotten(served: Site) -> None:
    for user in ("a/b", "/a//b/", "a b?c", "ü%2F"):
        event = {"user": user, "item": "war1"}
        assert served.ask("POST", "/v1/recommend/events", json={"events": [event]}).json() == {"events": 1}
        assert served.ask("DELETE", f"/v1/recommend/users/{quote(user, safe='')}").json() == {"deleted": 1}, user
    assert served.ask("DELETE", f"/v1/recommend/users/{'x' * 201}").status_code == 422


def test_an_event_that_does_not_say_whether_it_is_a_like_is_refused(tmp_path: Path) -> None:
    desk = shop.Shop(tmp_path, ADA, signal_kinds=["click"])
    desk.kinds, desk.min_rating = ["click", "view"], 4.0
    served = Site(shop.NoAdapters(), None, [desk], max_wait_ms=0)

    def sent(item: str, **more: Any) -> Any:
        event = {"user": "bob", "item": item, "time": "2020-01-01T00:00:00Z", **more}
        return served.ask("POST", "/v1/recommend/events", json={"events": [event]})

    for more, field in (
        ({}, "kind"),
        ({"kind": "clck", "rating": 5}, "kind"),
        ({"kind": "click"}, "rating"),
        ({"kind": "click", "rating": "5"}, "rating"),
    ):
        refused = sent("war0", **more)
        assert refused.status_code == 422 and field in refused.json()["error"], refused.text
    for item, more in (
        ("war1", {"kind": "view"}),
        ("war2", {"kind": "click", "rating": 3.5}),
        ("joke1", {"kind": "click", "rating": 4}),
        ("love1", {"liked": True}),
    ):
        assert sent(item, **more).status_code == 200
    assert desk.recommender is not None
    (numbers, own) = desk.recommender.catalogue.number, desk.recommender.users["bob"]
    assert set(own.liked) == {numbers["joke1"], numbers["love1"]} and len(own.seen) == 4
    served.close()


def test_a_new_item_is_found_and_recommended(served: Site) -> None:
    item = {"id": "deep", "title": "zzzz deep", "tags": ["sea"], "published": "2024-05-01", "price": 3}
    assert served.ask("POST", "/v1/recommend/items", json={"items": [item]}, headers=STAFF).json() == {"items": 1}
    found = served.ask("GET", "/v1/recommend/items?words=zzzz%20deep").json()["items"]
    assert len(found) == 7 and found[0]["id"] in {"deep", "sea0"} and {"deep"} <= {one["id"] for one in found}
    assert "deep" in {one["id"] for one in asked(served, user="ada", number=5).json()["items"]}
    again = served.ask("POST", "/v1/recommend/items", json={"items": [item]}, headers=STAFF)
    assert again.status_code == 422 and "already" in again.json()["error"]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("", {"user": "ada", "number": 0}, "number"),
    ("", {"user": "ada", "number": 1001}, "number"),
    ("", {"user": "ada", "diversity": 2}, "diversity"),
    ("", {"user": ""}, "user"),
    ("", {"users": "ada"}, "users"),
    ("", {"history": "sea0"}, "history"),
    ("", {"history": ["gone"]}, "there is no item 'gone'"),
    ("", {"candidates": ["gone"]}, "there is no item 'gone'"),
    ("", {"wishes": "x" * 4001}, "wishes"),
    ("", {"filters": {"max_price": -1}}, "max_price"),
    ("/events", {"events": []}, "events"),
    ("/events", {"events": [{"user": "u", "item": "gone"}]}, "there is no item 'gone'"),
    ("/events", {"events": [{"user": "u", "item": "sea0", "time": "soon"}]}, "ISO 8601"),
    ("/events", {"events": [{"user": "u", "item": "sea0", "time": time.time() + 1e6}]}, "in the future"),
    ("/events", {"events": [{"item": "sea0"}]}, "user"),
    ("/items", {"items": [{"id": "x", "price": -1}]}, "price"),
    ("/items", {"items": [{"id": "x", "published": "soon"}]}, "ISO 8601"),
]


@pytest.mark.parametrize(("path", "given", "message"), WRONG)
def test_what_cannot_be_used_is_refused_and_changes_nothing(
    path: str, given: dict[str, Any], message: str, served: Site
) -> None:
    before = asked(served, user="u").json()
    refused = served.ask("POST", f"/v1/recommend{path}", json=given, headers=STAFF)
    assert refused.status_code == 422 and message in refused.text, refused.text
    assert asked(served, user="u").json() == before


def test_a_file_that_cannot_be_written_is_a_503_and_keeps_no_secrets(served: Site) -> None:
    from adapters.applications.recommendation.serving import RecommendationSite

    (application,) = [one.__self__ for one in served.service.on_start if hasattr(one, "__self__")]
    assert isinstance(application, RecommendationSite) and application.recommender is not None
    application.recommender.store.connection.execute("PRAGMA query_only = ON")
    refused = served.ask("POST", "/v1/recommend/events", json={"events": [{"user": "u", "item": "sea0"}]})
    assert refused.status_code == 503 and "retry-after" in refused.headers
    assert str(application.folder) not in refused.text
    application.recommender.store.connection.execute("PRAGMA query_only = OFF")
    assert asked(served, user="u").json()["basis"] == "popularity"


def test_the_page_and_its_files_are_served_under_the_servers_policy(served: Site) -> None:
    for path, kind in (("", "html"), ("recommend.js", "javascript"), ("recommend.css", "css")):
        found = served.ask("GET", f"/recommendation/{path}")
        assert found.status_code == 200 and kind in found.headers["content-type"]
        assert "default-src 'none'" in found.headers["content-security-policy"]
    assert served.ask("GET", "/talk.js").status_code == 200
