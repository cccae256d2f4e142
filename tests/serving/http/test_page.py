"""The server's page, in a headless Chromium, against a stand-in for the server."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator

import pages
import pytest
from pages import Page, adapter
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow

HOSTILE = '<img src=x onerror="window.owned=1">'


open_page = pytest.fixture(pages.opened, scope="module", name="open_page")


@pytest.fixture
def page(open_page: Page) -> Iterator[Page]:
    """The page as it begins."""
    yield from pages.fresh(open_page)


def marks(page: Page) -> list[list[str]]:
    """(text, type, score) of each mark in any answer."""
    return [mark for _, found in page.answers() for mark in found]


def test_entities_are_marked_in_the_text_with_type_and_score(page: Page) -> None:
    page.open().choose("ner")
    page.predict("Ada lived in London.\n\nAnd  then?")
    assert marks(page) == [["Ada", "PER", "0.99"], ["London", "LOC", "0.99"], ["And", "PER", "0.99"]]
    assert page.answers()[0][0] == "Ada lived in London.\n\nAnd  then?"
    assert page["#answers .types"].text.split() == ["PER", "2", "LOC", "1"]
    assert page["#status"].text == "ner: 3 entities."


def test_offsets_count_code_points_whatever_stands_before(page: Page) -> None:
    draw = random.Random(0)
    alphabet = [*"abc \n\t<>&", "é", "e\u0301", "👩‍👧", "😀", "🏳️‍🌈", "𝔸", "\u200f", "שלום", "中", "\u0000", "\ud7ff"]
    names, expected = [f"n{number}" for number in range(40)], []
    page.server.adapters = {name: adapter(name, "ner") for name in names}
    for name in names:
        text = "".join(draw.choices(alphabet, k=draw.randint(1, 40)))
        cuts = sorted(draw.sample(range(len(text) + 1), k=min(len(text) + 1, 2 * draw.randint(0, 5)) // 2 * 2))
        found = [{"start": a, "end": b, "label": "X"} for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
        page.server.outputs[name] = {"text": text, "entities": found}
        expected.append((text, [[text[a["start"] : a["end"]], "X"] for a in found]))
    page.open().choose(*names)
    page.predict("Any.")
    assert page.answers() == expected
    assert any(len(text.encode("utf-16-le")) // 2 > len(text) and found for text, found in expected)


def test_entities_within_others_are_shown_beneath(page: Page) -> None:
    found = [{"start": 0, "end": 17, "label": "ORG"}, {"start": 14, "end": 17, "label": "LOC"}]
    page.server.outputs["ner"] = {"text": "University of Ulm.", "entities": found}
    page.open().choose("ner")
    page.predict("Any.")
    assert marks(page) == [["University of Ulm", "ORG"], ["Ulm", "LOC"]]
    assert page.answers()[0][0] == "University of Ulm."


def test_class_probabilities_are_bars_with_numbers(page: Page) -> None:
    page.open().choose("mood")
    page.predict("A joy.")
    rows = [row.text.split() for row in page.all("#answers .bars li")]
    assert rows == [["fresh", "0.98"], ["rotten", "0.02"]]
    whole, *parts = page.run(
        "return [document.querySelector('.bar').clientWidth, "
        "...[...document.querySelectorAll('.bar span')].map((bar) => bar.getBoundingClientRect().width)]"
    )
    assert [round(part / whole, 2) for part in parts] == [0.98, 0.02]
    assert page["#status"].text == "mood: fresh 0.98."


def test_of_many_classes_the_likeliest_are_shown(page: Page) -> None:
    labels = [f"a_label_of_a_bank_with_a_very_long_name_indeed_{number}" for number in range(77)]
    page.server.adapters = {"bank": adapter("bank", "classification", labels=labels)}
    page.server.outputs["bank"] = {
        "text": "x",
        "label": labels[7],
        "score": 0.5,
        "scores": {labels[n]: 0.5 / (1 + n - 7) for n in range(7, 12)},
    }
    page.open(width=390).predict("Any.")
    assert len(page.all(".bars li")) == 5
    assert "the 5 most likely of 77 labels" in page["#answers"].text
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")


def test_a_relation_is_an_arrow_between_two_marked_entities(page: Page) -> None:
    text = "Ada Lovelace lived in London."
    output = {
        "text": text,
        "head": {"text": "Ada Lovelace", "start": 0, "end": 12, "type": "PER"},
        "tail": {"text": "London", "start": 22, "end": 28},
        "label": "Contains(e2,e1)",
        "score": 0.8,
        "scores": {"Contains(e2,e1)": 0.8, "no_relation": 0.2},
    }
    page.server.outputs["ner"] = output
    page.open().choose("ner")
    page.predict(text)
    assert marks(page) == [["Ada Lovelace", "PER"], ["London", "tail"]]
    assert page[".relation"].text.split("\n") == ["London", "Contains", "Ada Lovelace"]
    assert "Contains(e2,e1)" in page[".bars"].text
    page.server.outputs["ner"] = {**output, "label": "no_relation"}
    page.predict(text)
    assert page[".relation"].text.split("\n") == ["Ada Lovelace", "no_relation", "London"]


def test_a_number_is_shown_as_it_is(page: Page) -> None:
    page.server.adapters = {"stars": adapter("stars", "regression", labels=[])}
    for value in (4.5, -0.125, 0, 1200000):
        page.server.outputs["stars"] = {"text": "x", "text_pair": "y", "value": value}
        page.open().choose("stars")
        page.predict("A joy.")
        assert page["#answers .label"].text == str(value)
        assert page["#status"].text == f"stars: {value}."


def test_several_labels_are_named_and_none_is_said(page: Page) -> None:
    page.server.outputs["mood"] = {"text": "x", "labels": ["sad", "warm"], "scores": {"sad": 0.9, "warm": 0.6, "x": 0}}
    page.open().choose("mood")
    page.predict("Any.")
    assert page["#answers .label"].text == "sad, warm"
    assert [row.text.split()[0] for row in page.all(".bars li.predicted")] == ["sad", "warm"]
    page.server.outputs["mood"] = {"text": "x", "labels": [], "scores": {"sad": 0.1}}
    page.predict("Any.")
    assert page["#answers .label"].text == "None of the labels"


def test_an_output_of_another_shape_is_shown_as_it_is(page: Page) -> None:
    page.server.adapters["qa"] = adapter("qa", "qa")
    page.server.outputs["qa"] = {"answer": "42 <b>", "span": [1, 2]}
    page.open().choose("qa")
    page.predict("Any.")
    assert json.loads(page["#answers pre"].text) == page.server.outputs["qa"]


def test_one_request_asks_every_chosen_adapter_and_tells_its_cost(page: Page) -> None:
    page.open().choose()
    for box in reversed(page.all("#list input")):
        box.click()
    assert page["#send"].text == "Run 2 adapters"
    page.predict("Ada is happy.")
    sent = [body for method, path, body in page.server.requests if path == "/v1/predict"]
    assert sent == [[{"adapter": name, "inputs": {"text": "Ada is happy."}} for name in ("ner", "mood")]]
    assert [title.text for title in page.all("#answers h3")] == ["ner", "mood"]
    cost = page["#cost"].text.split("\n")
    assert cost[0] == "round trip" and cost[1].endswith(" ms") and int(cost[1][:-3]) >= 0
    assert cost[2:] == ["in the server", "wait 3.3 + model 20.5 ms", "batch", "12 rows", "request", "req-7"]


def test_one_adapter_that_cannot_answer_does_not_hide_the_others(page: Page) -> None:
    page.server.outputs["mood"] = "classification takes {'text': a text}, none of them empty."
    page.open().choose("ner", "mood")
    page.predict("Ada.")
    assert marks(page) == [["Ada", "PER", "0.99"]]
    assert "none of them empty" in page["article[aria-label=mood] .problem"].text


def test_an_adapter_of_pairs_gets_a_second_text_and_others_do_not(page: Page) -> None:
    page.server.card = {"task": {"name": "classification", "pair": True}}
    page.open()
    page.wait_for("#pair-of", "for ner")
    page.predict("One.")
    assert "second text" in page["#problem"].text
    page["#second"].send_keys("Two.")
    page.predict("One.")
    assert page.server.requests[-1][2] == [{"adapter": "ner", "inputs": {"text": "One.", "text_pair": "Two."}}]
    page.server.card = {}
    page["#refresh"].click()
    page.until("return document.getElementById('pair').hidden")


def test_what_is_asked_last_is_answered(page: Page) -> None:
    page.server.waits = [0.5]
    page.open().choose("ner")
    page["#text"].send_keys("Ada")
    page["#send"].click()
    assert page["#status"].text == "Running ner…"
    assert page["#answers"].get_attribute("aria-busy") == "true"
    page["#text"].send_keys(" Grace", Keys.CONTROL, Keys.ENTER)
    page.settled()
    time.sleep(0.7)  # the answer to the first request would be there now
    assert [mark[0] for mark in marks(page)] == ["Ada", "Grace"] and page["#problem"].text == ""
    page.predict("Alan")
    assert [mark[0] for mark in marks(page)] == ["Alan"] and page["#send"].text == "Run ner"


def test_half_a_character_is_not_sent(page: Page) -> None:
    page.open()
    page.run("document.getElementById('text').value = 'A' + String.fromCharCode(0xd83d)")
    page["#send"].click()
    assert "half a character" in page["#problem"].text
    assert not [path for _, path, _ in page.server.requests if path == "/v1/predict"]


@pytest.mark.parametrize("missing", ["text", "adapter"])
def test_what_is_missing_is_shown_and_gets_the_focus(page: Page, missing: str) -> None:
    page.open()
    if missing == "adapter":
        page.choose()
        page["#text"].send_keys("Ada")
    page["#send"].click()
    message, focus = {"text": ("paste a text", "text"), "adapter": ("Choose an adapter", "")}[missing]
    assert message in page["#problem"].text
    assert page.focused().get_attribute("id") == focus
    assert not [path for _, path, _ in page.server.requests if path == "/v1/predict"]


def test_markup_is_text_wherever_it_stands(page: Page) -> None:
    page.server.adapters = {
        HOSTILE: adapter(
            HOSTILE, HOSTILE, method=HOSTILE, folder=HOSTILE, labels=[HOSTILE], aliases=[HOSTILE], unchecked=[HOSTILE]
        ),
        "mood": adapter("mood", HOSTILE),
        "ner": adapter("ner", "ner"),
    }
    page.server.card = {"versions": {HOSTILE: HOSTILE}}
    page.server.outputs = {HOSTILE: HOSTILE, "mood": {"label": HOSTILE, "scores": {HOSTILE: 0.5}}}
    marked = {"text": HOSTILE, "entities": [{"start": 0, "end": 4, "label": HOSTILE}]}
    page.server.outputs["ner"] = marked
    page.open().choose(HOSTILE, "mood", "ner")
    page.predict(HOSTILE)
    assert page["#answers"].text.count("onerror") >= 5
    page.all(".acts button")[0].click()
    page.wait_for("#card-body", HOSTILE)
    page["#card-close"].click()
    page.server.refuse = (
        400,
        {"error": HOSTILE, "expected": {HOSTILE: 1}, "found": [HOSTILE]},
        {"X-Request-ID": HOSTILE},
    )
    page.predict(HOSTILE)
    assert page["#problem"].text.count("<img") == 4
    page.all(".acts button")[1].click()
    page["#unload-go"].click()
    page.wait_for("#unload-problem", HOSTILE)
    assert page.run("return document.images.length") == 0
    assert page.run("return window.owned") is None
