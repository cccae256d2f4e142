"""The server's page, when a router chooses the adapter."""

from __future__ import annotations

from collections.abc import Iterator

import pages
import pytest
from pages import Page

pytestmark = pytest.mark.slow

open_page = pytest.fixture(pages.opened, scope="module", name="open_page")
ROUTER = {
    "kind": "means",
    "counts": {"mood": 9, "ner": 7},
    "threshold": -3.5,
    "rate": 0.05,
    "temperature": 1.0,
    "bytes": 768,
    "folder": "runs/router",
}


@pytest.fixture
def page(open_page: Page) -> Iterator[Page]:
    """The page as it begins."""
    yield from pages.fresh(open_page)


def test_without_a_router_auto_is_not_offered(page: Page) -> None:
    page.open()
    assert [box.get_attribute("value") for box in page.all("#list input")] == ["ner", "mood"]


def test_auto_shows_which_adapter_answered_and_how_sure_it_was(page: Page) -> None:
    page.server.router = ROUTER
    page.open()
    offered = page.all(".adapter label")[0].text.split("\n")
    assert offered == [
        "auto",
        "the router chooses one of 2 adapters · means · none for 5.0 % of the texts it was set on",
    ]
    assert page["#list-status"].text == "2 adapters"
    page.choose("auto", "mood")
    page.predict("Ada lived in London.")
    assert page.server.requests[-1][2] == [
        {"adapter": name, "inputs": {"text": "Ada lived in London."}} for name in ("auto", "mood")
    ]
    auto, mood = page.all("article")
    assert auto.find_element("css selector", "h3").text == "auto: ner"
    assert (
        auto.find_element("css selector", ".routed").text
        == "Chosen by the router with confidence 0.93, before mood 0.07"
    )
    assert mood.find_element("css selector", "h3").text == "mood" and not mood.find_elements("css selector", ".routed")
    assert page["#status"].text == "auto: ner: 2 entities; mood: fresh 0.98."


def test_auto_beside_the_adapter_that_it_chooses_are_two_answers(page: Page) -> None:
    page.server.router = ROUTER
    page.open().choose("auto", "ner")
    page.predict("Ada lived in London.")
    assert [heading.text for heading in page.all("article h3")] == ["auto: ner", "ner"]
    assert len(page.answers()) == 2


def test_where_no_adapter_fits_the_page_says_so(page: Page) -> None:
    page.server.router = ROUTER
    page.server.outputs["auto"] = "No adapter fits this text."
    page.open().choose("auto", "ner")
    page.predict("Ada")
    assert page.all("article")[0].text.split("\n") == ["auto", "No adapter fits this text."]


def test_many_adapters_are_filtered_and_auto_stays(page: Page) -> None:
    page.server.router = ROUTER
    page.server.adapters = {f"n{n}": pages.adapter(f"n{n}", "ner") for n in range(12)}
    page.open()
    page["#filter"].send_keys("n11")
    names = [item.find_element("css selector", "b").text for item in page.all(".adapter") if item.is_displayed()]
    assert names == ["auto", "n11"]
