"""The server's page, when adapters are loaded and unloaded, tokens are required, and the server refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pages
import pytest
from pages import Page, adapter
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow

open_page = pytest.fixture(pages.opened, scope="module", name="open_page")
DENIED = (403, {"error": "Loading is off.", "expected": "a server with --adapter_root", "found": "none"}, {})


@pytest.fixture
def page(open_page: Page) -> Iterator[Page]:
    """The page as it begins."""
    yield from pages.fresh(open_page)


def listed(page: Page) -> list[str]:
    """Names in the list that can be seen."""
    return [item.find_element("css selector", "b").text for item in page.all(".adapter") if item.is_displayed()]


def load(page: Page, name: str, folder: str) -> None:
    """Fill the form in and send it."""
    page.run("document.getElementById('loading').open = true")
    page["#load-id"].send_keys(name)
    page["#load-folder"].send_keys(folder, Keys.ENTER)


def test_the_list_tells_task_method_and_score_with_its_interval(page: Page) -> None:
    page.server.adapters["old"] = adapter("old", "ner", scores=None, pinned=True, resident=False, aliases=["was"])
    page.open()
    assert [box.text.split("\n") for box in page.all(".adapter label")] == [
        ["ner", "ner · lora", "Entity F1 86.8 (85.9 to 87.8)"],
        ["mood", "classification · prefix", "Entity F1 86.8 (85.9 to 87.8)"],
        ["old", "ner · lora · also was · pinned · read from disk on demand", "no score recorded"],
    ]
    assert page["#base"].text == "One base model, many adapters: minilm, encoder"


def test_a_score_is_named_by_its_title_or_by_the_words_of_its_metric(page: Page) -> None:
    for name, told in (("one", {"title": "Chunk F1 (strict)"}), ("two", {"metric": "expected_calibration_error"})):
        made = pages.adapter(name, "ner")
        page.server.adapters[name] = {**made, "scores": {**made["scores"], **told}}
    page.open()
    shown = page["#list"].text
    assert "Chunk F1 (strict) 86.8" in shown and "Expected calibration error 86.8" in shown


def test_the_list_tells_whose_answers_have_drifted(page: Page) -> None:
    states = {"drift": "caution", "no drift": "dim", "counting": "dim", "no reference in the card": "dim"}
    page.server.adapters = {
        f"a{n}": pages.adapter(f"a{n}", "ner", drift=state) for n, state in enumerate([*states, None])
    }
    page.open()
    told = page.run(
        "return [...document.querySelectorAll('#list li')].map((item) => [...item.querySelectorAll('label span')]"
        ".filter((span) => span.textContent.startsWith('Drift: ')).map((span) => [span.textContent, span.className]))"
    )
    assert told == [
        [["Drift: its answers differ from those on dev", "caution"]],
        [["Drift: its answers are like those on dev", "dim"]],
        [["Drift: answers are being counted, too few yet to compare with those on dev", "dim"]],
        [["Drift: its card has no answers on dev to compare with", "dim"]],
        [],
    ]


def test_an_empty_bank_says_what_to_do(page: Page) -> None:
    page.server.adapters = {}
    page.open()
    assert "No adapter is loaded." in page["#empty"].text
    assert "taskswap serve --adapter" in page["#empty"].text
    assert not page["#adapters"].is_displayed() and not page["#predict"].is_displayed()
    page["#load-id"].send_keys("ner")
    page["#load-folder"].send_keys("runs/x/artifact", Keys.ENTER)
    page.wait_for("#list-status", "ner is loaded")
    assert not page["#empty"].is_displayed() and listed(page) == ["ner"]
    page.predict("Ada")
    assert page["#status"].text == "ner: 1 entity."


def test_a_long_list_can_be_narrowed_and_what_was_chosen_stays(page: Page) -> None:
    page.server.adapters = {f"a{n}": adapter(f"a{n}", "ner" if n % 2 else "classification") for n in range(64)}
    page.open().choose("a3", "a4")
    page["#filter"].send_keys("a6")
    assert listed(page) == ["a6", "a60", "a61", "a62", "a63"]
    page["#filter"].clear()
    page["#filter"].send_keys("CLASSI")
    assert len(listed(page)) == 32
    assert page["#send"].text == "Run 2 adapters"
    page["#none"].click()
    assert page["#send"].text == "Run" and not [box for box in page.all("#list input") if box.is_selected()]


def test_loading_asks_for_the_folder_and_goes_to_the_new_adapter(page: Page) -> None:
    page.open()
    load(page, "places", "runs/places/artifact")
    page.wait_for("#list-status", "places is loaded, version 1. 3 adapters.")
    assert ("PUT", "/v1/adapters/places", {"folder": "runs/places/artifact"}) in page.server.requests
    assert page.focused().get_attribute("value") == "places" and page.focused().is_selected()
    assert page["#load-id"].get_attribute("value") == ""
    load(page, "places", "runs/other/artifact")
    page.wait_for("#list-status", "places is loaded, version 2. 3 adapters.")


def test_an_id_that_cannot_be_is_not_sent(page: Page) -> None:
    page.open()
    load(page, "Not An Id", "runs/x")
    assert page.run("return document.getElementById('load-id').matches(':invalid')")
    assert not [method for method, _, _ in page.server.requests if method == "PUT"]


def test_a_refused_load_says_why_and_keeps_what_was_typed(page: Page) -> None:
    page.server.refuse = DENIED
    page.open()
    load(page, "places", "runs/places/artifact")
    shown = page.wait_for("#load-problem", "Loading is off.")
    assert shown.split("\n") == ["Loading is off.", "expected", "a server with --adapter_root", "found", "none"]
    assert page["#load-folder"].get_attribute("value") == "runs/places/artifact"
    assert listed(page) == ["ner", "mood"]


def test_unloading_asks_first(page: Page) -> None:
    page.open()
    button = page["button[aria-label='Unload ner']"]
    button.click()
    assert page["#unload-title"].text == "Unload ner?"
    assert page.focused().get_attribute("id") == "unload-keep"
    page.focused().send_keys(Keys.ENTER)
    assert page.focused() == button and "ner" in page.server.adapters
    button.click()
    page["#unload-go"].click()
    page.wait_for("#list-status", "ner is unloaded. 1 adapter.")
    assert listed(page) == ["mood"] and "ner" not in page.server.adapters
    assert page.focused().get_attribute("id") == "adapters-title"


def test_a_refused_unload_says_why(page: Page) -> None:
    page.server.refuse = (409, {"error": "ner is in use.", "found": 3}, {})
    page.open()
    page["button[aria-label='Unload ner']"].click()
    page["#unload-go"].click()
    assert page.wait_for("#unload-problem", "ner is in use.").split("\n") == ["ner is in use.", "found", "3"]
    assert listed(page) == ["ner", "mood"]


def test_the_card_is_shown_and_closing_it_returns_the_focus(page: Page) -> None:
    page.server.card = {"task": {"name": "ner", "entity_types": ["LOC", "PER"]}}
    page.server.adapters["ner"]["unchecked"] = ["the base's weights"]
    page.open()
    button = page["button[aria-label='Card of ner']"]
    button.click()
    shown = page.wait_for("#card-body", "versions").split("\n")
    rows = dict(zip(shown[1::2], shown[2::2], strict=False))
    assert "the base's weights" in shown[0]
    assert rows["entity types"] == "LOC, PER (2)"
    assert rows["score × 100"] == "Entity F1 86.8 (85.9 to 87.8), 95 % interval"
    assert rows["on"] == "conll2003, test, n = 3,453" and rows["versions"] == "torch 2.13.0"
    page.focused().send_keys(Keys.ESCAPE)
    assert not page["#card"].is_displayed() and page.focused() == button


def test_a_card_that_is_gone_says_so(page: Page) -> None:
    page.open()
    page.server.adapters.pop("mood")
    page["button[aria-label='Card of mood']"].click()
    assert "No adapter is called 'mood'" in page.wait_for("#card-body", "No adapter")
    page["#card-close"].click()


def test_tokens_are_asked_for_used_apart_and_kept_in_the_tab_alone(page: Page) -> None:
    page.server.predict_token, page.server.admin_token = "p-1", "a-1"
    page.open()
    assert page["#list-problem"].text.startswith("A token is needed.\nexpected\nAuthorization: Bearer …")
    page["#list-problem button"].click()
    assert page.focused().get_attribute("id") == "predict-token"
    page.focused().send_keys("p-1", Keys.ENTER)
    page.wait_for("#list-status", "2 adapters")
    page.predict("Ada")
    assert page["#status"].text == "ner: 1 entity."
    load(page, "x", "runs/x")
    page.wait_for("#load-problem", "A token is needed.")
    page["#load-problem button"].click()
    assert page.focused().get_attribute("id") == "admin-token"
    page.focused().send_keys("a-1", Keys.ENTER)
    page["#load button"].click()
    page.wait_for("#list-status", "x is loaded")
    page.open()
    assert listed(page) == ["ner", "mood", "x"]
    kept = "return [{...sessionStorage}, {...localStorage}, document.cookie, location.href]"
    assert page.run(kept) == [{"predict-token": "p-1", "admin-token": "a-1"}, {}, "", page.address]


def test_the_token_for_loading_is_enough(page: Page) -> None:
    page.server.predict_token = page.server.admin_token = "a-1"
    page.open()
    page.run("document.getElementById('tokens').open = true")
    page["#admin-token"].send_keys("a-1", Keys.ENTER)
    page.wait_for("#list-status", "2 adapters")
    page.predict("Ada")
    assert page["#status"].text == "ner: 1 entity."


def test_a_token_that_no_header_can_hold_is_refused(page: Page) -> None:
    page.open()
    page.run("document.getElementById('tokens').open = true")
    page["#admin-token"].send_keys("clé", Keys.ENTER)
    assert "ASCII" in page["#token-problem"].text
    assert page.focused().get_attribute("id") == "admin-token" and page.run("return sessionStorage.length") == 0


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (
            (
                503,
                {"error": "The queue is full.", "expected": "at most 64", "found": 65},
                {"Retry-After": "1", "X-Request-ID": "r-9"},
            ),
            [
                "The queue is full.",
                "expected",
                "at most 64",
                "found",
                "65",
                "try again",
                "in 1 second",
                "request",
                "r-9",
            ],
        ),
        ((502, "<h1>Bad gateway</h1>", {}), ["The server answered 502 Bad Gateway.", "found", "<h1>Bad gateway</h1>"]),
        ((200, "<p>A login page", {}), ["The answer is not JSON.", "found", "<p>A login page"]),
    ],
    ids=["busy", "a proxy", "no json"],
)
def test_a_refusal_is_shown_as_its_body_tells_it(page: Page, answer: tuple, shown: list[str]) -> None:
    page.open().predict("Ada")
    assert page["#answers"].text
    page.server.refuse = answer
    page.predict("Ada")
    assert page["#problem"].text.split("\n") == shown
    assert page["#answers"].text == "" and page["#status"].text == "No answer."
    page.server.refuse = None
    page.predict("Ada")
    assert page["#problem"].text == "" and page["#status"].text == "ner: 1 entity."


def test_where_no_adapter_can_answer_each_says_why(page: Page) -> None:
    page.open().choose("ner", "mood")
    answers = [{"id": "0", "adapter": "ner", "error": "Too long."}, {"id": "1", "adapter": "mood", "error": "Empty."}]
    page.server.refuse = (
        422,
        {"error": "None can be answered.", "expected": "x", "found": "y", "answers": answers},
        {},
    )
    page.predict("Ada")
    assert page["#problem"].text.startswith("None can be answered.")
    assert [answer.text.split("\n") for answer in page.all("article")] == [["ner", "Too long."], ["mood", "Empty."]]


def test_a_server_that_is_not_ready_is_asked_again_by_itself(page: Page) -> None:
    page.server.unready = 1
    page.open()
    assert page["#list-problem"].text.startswith("The base is being opened.")
    page.wait_for("#list-status", "2 adapters")
    assert page["#list-problem"].text == ""


def test_a_server_that_is_gone_is_told_apart(page: Page) -> None:
    page.open()
    page.chrome.execute_cdp_cmd("Network.enable", {})
    page.chrome.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/v1/*"]})
    try:
        page.predict("Ada")
        assert page["#problem"].text.startswith("The server did not answer.")
        page["#refresh"].click()
        assert "did not answer" in page.wait_for("#list-problem", "did not answer")
        assert page["#list-status"].text == "The list may be out of date." and listed(page) == ["ner", "mood"]
    finally:
        page.chrome.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    page["#refresh"].click()
    page.wait_for("#list-status", "2 adapters")
