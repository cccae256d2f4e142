"""The server's page on a real server: it shows the bank's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pages
import pytest
import servers
from browser import chromium
from pages import Page
from selenium.webdriver.common.keys import Keys

from adapters.models.continuation import Sampling
from adapters.tasks.base.requests import Request

pytestmark = pytest.mark.slow

TEXT = "😀 Ada Lovelace lived in 👩‍👧 New York, <b>near</b> Rosa Parks & Niels Bohr in San Marino."


def test_the_page_shows_what_the_bank_answers_and_loads_and_unloads(served_bank: Any, served_root: Path) -> None:
    requests = [{"adapter": name, "inputs": {"text": TEXT}} for name in ("mood", "ner")]
    mood, ner = (answer["output"] for answer in served_bank.predict(requests))
    with chromium() as chrome, servers.Running(served_bank, adapter_root=str(served_root)) as running:
        page = Page(chrome, pages.Server(), f"{running.url}/").open()
        page.choose("mood", "ner")
        page.predict(TEXT)
        (_, none), (text, marks) = page.answers()
        assert text == TEXT and not none
        assert marks and marks == [
            [TEXT[e["start"] : e["end"]], e["label"], f"{e['score']:.2f}"] for e in ner["entities"]
        ]
        rows = [row.text.split() for row in page.all(".bars li")]
        assert rows == [[label, f"{share:.2f}"] for label, share in mood["scores"].items()]
        assert {part.text for part in page.all("#cost dt")} == {"round trip", "in the server", "batch", "request"}
        page.run("document.getElementById('tokens').open = true")
        page["#admin-token"].send_keys(servers.ADMIN, Keys.ENTER)
        page.run("document.getElementById('loading').open = true")
        page["#load-id"].send_keys("other")
        page["#load-folder"].send_keys(str(served_root / "nowhere"), Keys.ENTER)
        page.wait_for("#load-problem", "nowhere")
        page["#load-folder"].clear()
        page["#load-folder"].send_keys(str(served_root / "other"), Keys.ENTER)
        page.wait_for("#list-status", "other is loaded, version 1. 4 adapters.")
        page["button[aria-label='Card of other']"].click()
        assert "lora" in page.wait_for("#card-body", "version")
        page["#card-close"].click()
        page["button[aria-label='Unload other']"].click()
        page["#unload-go"].click()
        page.wait_for("#list-status", "other is unloaded. 3 adapters.")
        assert "other" not in [info["name"] for info in served_bank.adapters()]
        assert not page.faults()


def test_the_page_says_why(served_bank: Any) -> None:
    _, why = served_bank.explain({"adapter": "mood", "inputs": {"text": TEXT}}, target="good")
    with chromium() as chrome, servers.Running(served_bank) as running:
        page = Page(chrome, pages.Server(), f"{running.url}/").open()
        page.choose("mood")
        page.predict(TEXT)
        page.run("document.querySelector('#answers select').value = 'good'")
        page["#answers button"].click()
        page.wait_for("#answers .why", "integrated_gradients")
        assert page["#answers .words"].get_property("textContent") == TEXT
        most = max(abs(part.value) for part in why.parts)
        for side, sign in (("for", 1), ("against", -1)):
            words = [part.text for part in why.parts if sign * part.value / most > 0.051]
            shown = [word.text for word in page.all(f"#answers .words .{side}")]
            assert set(words) <= set(shown)
        assert not page.faults()


def test_the_page_shows_what_the_bank_writes(tmp_path: Path, one_thread: None) -> None:
    bank = servers.writing_bank(tmp_path)
    sampling = Sampling(max_new_tokens=20, temperature=0.9, seed=7)
    poet, scribe = bank.generate([Request(name, TEXT) for name in ("poet", "scribe")], sampling)
    with chromium() as chrome, servers.Running(bank) as running:
        page = Page(chrome, pages.Server(), f"{running.url}/").open()
        page.choose("mood", "poet", "scribe")
        for name, value in {"max_new_tokens": "20", "temperature": "0.9", "seed": "7"}.items():
            page.run("arguments[0].value = arguments[1]", page[f"#{name}"], value)
        page.predict(TEXT)
        shown = [box.get_property("textContent") for box in page.all(".written")]
        assert shown == [TEXT + answer["output"]["completion"] for answer in (poet, scribe)]
        assert page["#status"].text.endswith(
            "; poet: 20 tokens, all new tokens used; scribe: 20 tokens, all new tokens used."
        )
        page["#max_new_tokens"].send_keys("00")
        page.predict(TEXT)
        assert "must be at most 512" in page["article[aria-label=poet] .problem"].text
        assert not page.faults()
