"""The server's page, when an adapter writes: how to write, the text as it comes, and an end to it."""

from __future__ import annotations

from collections.abc import Iterator

import pages
import pytest
from pages import Page, adapter
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow

open_page = pytest.fixture(pages.opened, scope="module", name="open_page")
HOSTILE = '<img src=x onerror="window.owned=1">'


@pytest.fixture
def page(open_page: Page) -> Iterator[Page]:
    """The page as it begins, with two writers."""
    for fresh in pages.fresh(open_page):
        for name in ("poet", "scribe"):
            fresh.server.adapters[name] = adapter(name, "text_generation", labels=[], scores=None)
        yield fresh


def sent(page: Page) -> list[dict[str, object]]:
    """The requests to write."""
    return [body for _, path, body in page.server.requests if path == "/v1/generate"]


def fill(page: Page, **values: str) -> None:
    """Fill fields in."""
    for name, value in values.items():
        page[f"#{name}"].clear()
        page[f"#{name}"].send_keys(value)


def test_how_to_write_is_asked_only_where_an_adapter_writes(page: Page) -> None:
    page.open().choose("ner")
    assert not page["#sampling"].is_displayed() and not page["#stop"].is_displayed()
    page.choose("ner", "poet", "scribe")
    assert page["#sampling legend"].text == "Writing by poet, scribe"
    names = [field.accessible_name for field in page.all("#sampling input, #sampling textarea")]
    assert names == ["New tokens", "Temperature", "Top-p", "Seed", "Stop"]
    page["#max_new_tokens"].clear()
    page.choose("ner")
    page.predict("Ada")
    assert page["#status"].text == "ner: 1 entity.", "what is hidden is not checked"


def test_a_text_is_shown_as_it_is_written_and_told_once_it_is_whole(page: Page) -> None:
    page.server.pause = 0.3
    page.open().choose("poet")
    page["#text"].send_keys("Roses are", Keys.CONTROL, Keys.ENTER)
    page.wait_for(".written", "Roses are red")
    assert "violets" not in page[".written"].text
    assert page["#status"].text == "Running poet…", "not each part"
    assert page["#answers"].get_attribute("aria-busy") == "true" and page["#stop"].is_displayed()
    assert not page.all("#answers [aria-live]")
    page.settled()
    assert page[".written"].text == "Roses are red,\nviolets are blue."
    assert page["#status"].text == "poet: 9 tokens, ended."
    assert page["#answers .answer"].text.split("\n")[-1] == "9 tokens after 3 · ended"
    assert "text_generation · version 1" in page["#answers"].text and "tokens/s" in page["#cost"].text
    assert not page["#stop"].is_displayed() and page.focused().get_attribute("id") == "text"
    assert sent(page) == [
        {
            "adapter": "poet",
            "inputs": "Roses are",
            "max_new_tokens": 64,
            "temperature": 0,
            "top_p": 1,
            "stop": [],
            "stream": True,
        }
    ]


def test_fields_say_how_it_is_written(page: Page) -> None:
    page.open().choose("poet")
    fill(page, max_new_tokens="7", temperature="0.8", top_p="0.95", seed="5", stops="END\n\\n\\n")
    page.predict("Roses are")
    (request,) = sent(page)
    found = [request[name] for name in ("max_new_tokens", "temperature", "top_p", "seed", "stop")]
    assert found == [7, 0.8, 0.95, 5, ["END", "\n\n"]]
    assert "seed 5" in page["#answers .answer"].text
    fill(page, top_p="2")
    page["#send"].click()
    assert page.run("return document.activeElement.id") == "top_p", "the browser shows what is wrong"
    assert len(sent(page)) == 1


def test_a_button_ends_a_text_and_keeps_what_there_is(page: Page) -> None:
    page.server.pause, page.server.parts = 0.1, ["x"] * 100
    page.open().choose("poet")
    page["#text"].send_keys("Roses are", Keys.CONTROL, Keys.ENTER)
    page.wait_for(".written", "xx")
    page["#stop"].send_keys(Keys.ENTER)
    page.settled()
    assert page["#status"].text == "poet: stopped." and page["#problem"].text == ""
    assert page[".written"].text.startswith("Roses arexx") and page["#send"].text == "Run poet"
    assert page.focused().get_attribute("id") == "send", "the focus does not stay on what is gone"
    assert page.server.sent < 50


def test_writers_and_others_answer_side_by_side(page: Page) -> None:
    page.server.pause = 0.2
    page.open().choose("ner", "poet", "scribe")
    page["#text"].send_keys("Ada", Keys.CONTROL, Keys.ENTER)
    page.wait_for("#answers", "PER")
    assert page["#answers"].get_attribute("aria-busy") == "true", "predictions do not wait for writers"
    page.settled()
    assert [title.text for title in page.all("#answers h3")] == ["ner", "poet", "scribe"]
    assert page["#status"].text == "ner: 1 entity; poet: 9 tokens, ended; scribe: 9 tokens, ended."
    (predicted,) = [body for _, path, body in page.server.requests if path == "/v1/predict"]
    assert [one["adapter"] for one in predicted] == ["ner"]


def test_what_is_asked_last_is_written(page: Page) -> None:
    page.server.pause = 0.2
    page.open().choose("poet")
    page["#text"].send_keys("One", Keys.CONTROL, Keys.ENTER)
    page.wait_for(".written", "One red")
    page["#text"].send_keys(" two", Keys.CONTROL, Keys.ENTER)
    page.settled()
    assert [text.text for text in page.all(".written")] == ["One two red,\nviolets are blue."]


def test_a_refusal_and_a_failure_midway_are_shown(page: Page) -> None:
    page.open().choose("poet")
    page.server.refuse = (503, {"error": "The queue is full.", "expected": "later"}, {"Retry-After": "3"})
    page.predict("Roses are")
    assert "The queue is full." in page["#problem"].text and "in 3 seconds" in page["#problem"].text
    assert page["#status"].text == "No answer." and not page.all("#answers article")
    page.server.refuse, page.server.breaks = None, "The request exceeded its time limit."
    page.predict("Roses are")
    assert page[".written"].text.startswith("Roses are red") and page["#status"].text == "poet: failed."
    assert page["#answers .problem"].text == "The request exceeded its time limit."
    page.server.predict_token = "secret"
    page.predict("Roses are")
    page["#problem button"].click()
    assert page.focused().get_attribute("id") == "predict-token"


def test_markup_that_is_written_is_text(page: Page) -> None:
    page.server.parts = [HOSTILE, "</p><script>window.owned=1</script>"]
    page.open().choose("poet")
    page.predict(HOSTILE)
    assert page[".written"].text == HOSTILE * 2 + page.server.parts[1]
    assert page.run("return document.images.length") == 0 and page.run("return window.owned") is None


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_or_too_small_and_a_long_text_can_be_scrolled(page: Page, width: int) -> None:
    page.server.parts = ["a long line of words " * 20 + "\n"] * 20
    page.open(width=width).choose("poet")
    page.predict("Roses are")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    fields = page.all("#sampling input, #sampling textarea, #send")
    assert all(field.size["height"] >= 24 and field.size["width"] >= 60 for field in fields)
    box = page[".written"]
    assert box.get_attribute("tabindex") == "0" and box.get_property("scrollTop") > 0
