"""The chat page and the staff's page in a headless Chromium, against the server; what is hostile stays text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from desk import FAQ, Desk, NoAdapters
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from servers import ADMIN, Running

from adapters.applications.customer_service.knowledge import Knowledge, Question, Questions, Reply
from adapters.applications.customer_service.policy import MAIN, TWO

pytestmark = pytest.mark.slow

HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
MARKUP = Knowledge(
    questions=Questions([Question(text=f"{HOSTILE} one", reply="r1"), Question(text=f"{HOSTILE} two", reply="r2")]),
    replies={name: Reply(id=name, versions=(f"{HOSTILE} {name}",), where=f"{HOSTILE}:1") for name in ("r1", "r2")},
)


class Pages:
    """A desk's pages in a browser."""

    def __init__(self, chrome: webdriver.Chrome, url: str) -> None:
        self.chrome, self.url = chrome, url

    def open(self, name: str = "") -> Pages:
        self.chrome.get(f"{self.url}/customer_service/{name}")
        return self

    def all(self, selector: str) -> list[str]:
        return [one.text for one in self.chrome.find_elements(By.CSS_SELECTOR, selector)]

    def until(self, script: str, *given: Any) -> Any:
        return WebDriverWait(self.chrome, 10, 0.02).until(
            lambda chrome: chrome.execute_script(f"return {script}", *given)
        )

    def say(self, text: str) -> None:
        """Send a message, and wait until it is answered, or refused."""
        before = len(self.all("#turns li"))
        field = self.chrome.find_element(By.ID, "text")
        self.chrome.execute_script("arguments[0].value = arguments[1]", field, text)
        self.chrome.find_element(By.ID, "send").click()
        self.until(
            "!document.getElementById('send').disabled && (document.querySelectorAll('#turns li').length > arguments[0]"
            " || document.getElementById('problem').textContent)",
            before,
        )

    def click(self, selector: str) -> None:
        self.chrome.find_element(By.CSS_SELECTOR, selector).click()

    def faults(self) -> list[str]:
        """What the browser complained of, but for refusals, which are shown."""
        lines = [one["message"] for one in self.chrome.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]
        return [line for line in lines if "Failed to load resource" not in line]


@pytest.fixture(scope="module")
def chrome() -> Iterator[webdriver.Chrome]:
    with chromium() as opened:
        yield opened


def pages(chrome: webdriver.Chrome, desk: Desk) -> Iterator[Pages]:
    """The pages of a desk; nothing hostile may have been executed at the end."""
    with Running(NoAdapters(), [desk], max_wait_ms=0) as running:
        found = Pages(chrome, running.url)
        yield found
        assert chrome.execute_script("return window.owned") is None
        assert not found.faults()
        chrome.get("about:blank")


@pytest.fixture
def answering(chrome: webdriver.Chrome, tmp_path: Path) -> Iterator[Pages]:
    yield from pages(chrome, Desk(tmp_path, MAIN))


@pytest.fixture
def closed(chrome: webdriver.Chrome, tmp_path: Path) -> Iterator[Pages]:
    yield from pages(chrome, Desk(tmp_path))


@pytest.fixture
def hostile(chrome: webdriver.Chrome, tmp_path: Path) -> Iterator[Pages]:
    yield from pages(chrome, Desk(tmp_path, TWO, knowledge=MARKUP))


def test_an_answer_is_shown_with_its_source_and_confidence_and_is_there_after_a_reload(answering: Pages) -> None:
    answering.open().say("where is my card")
    told = answering.all("#turns p")
    assert told[:2] == ["where is my card", "It takes five days."]
    assert told[2].startswith("Source: faq.csv:r1 · Confidence ")
    answering.open()
    answering.until("document.querySelectorAll('#turns li').length === 2")
    assert answering.all("#turns p") == told
    answering.click("#forget")
    answering.until("!document.querySelectorAll('#turns li').length")
    answering.open().say("hi")
    assert answering.all("#turns p")[:2] == ["hi", "Hello."]


def test_what_is_handed_over_is_decided_by_the_staff_and_answered_in_the_chat(closed: Pages) -> None:
    closed.open().say(HOSTILE)
    assert closed.all("#turns p")[0] == HOSTILE
    assert closed.all("#turns p")[2].startswith("Handed over to a colleague")
    closed.open("staff.html")
    closed.until("document.getElementById('access').open")
    token = closed.chrome.find_element(By.ID, "token")
    closed.chrome.execute_script("arguments[0].value = arguments[1]", token, ADMIN)
    closed.click("#refresh")
    closed.until("document.querySelector('#items li')")
    assert closed.all("#items h2") == [HOSTILE] and set(closed.all(".choices button")) >= {"Hello."}
    closed.click("#items button.main")
    closed.until("document.getElementById('problem').textContent.includes('Choose an intent')")
    closed.chrome.find_elements(By.CSS_SELECTOR, "#items textarea")[1].send_keys("It <b>is</b> so.")
    closed.click("#items button.main")
    closed.until("document.getElementById('count').textContent === '0 shown'")
    closed.open()
    closed.until("document.querySelectorAll('#turns li').length === 3")
    assert closed.all("#turns li.staff p") == ["It <b>is</b> so.", "From a colleague"]


@pytest.mark.parametrize("text", [HOSTILE, "\x00\x1b[2J\u202e\u2028", "🃏\u200d" * 99, "<b>" * 6000, "\ud83c lone"])
def test_whatever_is_said_stays_text_and_the_page_goes_on(text: str, hostile: Pages) -> None:
    hostile.open()
    hostile.chrome.execute_script("document.getElementById('text').value = arguments[0]", "")
    hostile.say(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    choices = hostile.all("#turns button")
    assert len(choices) == 2 and all(HOSTILE in choice for choice in choices)
    hostile.click("#turns button")
    hostile.until("document.querySelectorAll('#turns li').length === 4")
    assert any(one.startswith(HOSTILE) for one in hostile.all("#turns li.answer p"))
    assert hostile.chrome.execute_script("return document.querySelectorAll('main img, main script').length") == 0


def test_a_megabyte_is_refused_in_words_and_the_page_goes_on(answering: Pages) -> None:
    answering.open().say("x" * 1_100_000)
    assert "too large" in answering.all("#problem")[0]
    answering.say("hi")
    assert answering.all("#turns p")[:2] == ["hi", "Hello."] and answering.all("#problem") == [""]
    assert len(FAQ.replies) == 3
