"""The page of recommendations in a headless Chromium, against the server; what is hostile stays text."""

from __future__ import annotations

from pathlib import Path

import pytest
import shop
from browser import chromium
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from servers import Running

pytestmark = pytest.mark.slow
HOSTILE = '<img src=x onerror="window.owned=1"> zzzz'


def test_the_page_recommends_takes_likes_and_shows_what_is_hostile_as_text(tmp_path: Path) -> None:
    rows = [*shop.items(), {"item_id": "bad", "title": HOSTILE, "tags": ["sea"], "price": 1}]
    made = shop.Shop(tmp_path, given=rows)
    with chromium() as chrome, Running(shop.NoAdapters(), [made], max_wait_ms=0) as running:
        chrome.get(f"{running.url}/recommendation/")

        def listed(selector: str) -> list[str]:
            return [one.text for one in chrome.find_elements(By.CSS_SELECTOR, selector)]

        def until(script: str) -> None:
            WebDriverWait(chrome, 20, 0.05).until(lambda driver: driver.execute_script(f"return {script}"))

        until("document.querySelectorAll('#recommended li').length === 10")
        chrome.find_element(By.ID, "words").send_keys("zzzz", Keys.ENTER)
        until("document.querySelectorAll('#found button').length >= 5")
        chrome.find_element(By.CSS_SELECTOR, "#found button").click()
        until("document.querySelectorAll('#history button').length === 1")
        chrome.find_element(By.ID, "send").click()
        until("document.getElementById('basis').textContent === 'By history'")
        assert "near zzzz" in listed("#recommended li")[0] or "near <img" in listed("#recommended li")[0]
        assert any("<img" in text for text in listed("#recommended li") + listed("#history li"))
        chrome.find_element(By.ID, "user").send_keys("ada")
        chrome.find_element(By.CSS_SELECTOR, "#recommended button").click()
        until("!document.querySelector('#recommended button:disabled')")
        assert made.recommender is not None and len(made.recommender.users["ada"].liked) == 1
        chrome.find_element(By.ID, "tags").send_keys("no such tag")
        chrome.find_element(By.ID, "send").click()
        until("document.getElementById('basis').textContent.includes('only 0 of ')")
        assert listed("#recommended li") == []
        assert chrome.execute_script("return window.owned") is None
        faults = [one["message"] for one in chrome.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]
        assert faults == []
