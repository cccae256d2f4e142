"""The server's page for everybody: by keyboard, for screen readers, wide and narrow, light and dark, at rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise

import pages
import pytest
from pages import Page, adapter
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.slow

open_page = pytest.fixture(pages.opened, scope="module", name="open_page")
TEXT = "Ada Lovelace lived in London. " * 12
# Every text that can be seen, with its contrast to what lies behind it; parents' colours are laid over one another.
CONTRASTS = """
const parse = (written) => {
  const n = written.match(/[\\d.]+/g).map(Number);
  return written.startsWith("color(") ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1];
};
const over = (front, back) => [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3]));
const light = (rgb) => {
  const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  if (!node) return [255, 255, 255];
  const own = parse(getComputedStyle(node).backgroundColor);
  return own[3] === 1 ? own.slice(0, 3) : over(own, behind(node.parentElement));
};
const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const texts = [...node.childNodes].filter((child) => child.nodeType === 3 && child.data.trim());
  if (!node.checkVisibility() || !(texts.length || node.matches("input, textarea"))) continue;
  const ground = behind(node), style = getComputedStyle(node);
  const name = node.tagName + "." + node.className + "#" + node.id;
  found.push([name, ratio(over(parse(style.color), ground), ground), 4.5]);
  const grey = parse(getComputedStyle(node, "::placeholder").color);
  if (node.placeholder) found.push([name + "::placeholder", ratio(grey, ground), 4.5]);
  const edge = ratio(parse(style.borderTopColor), behind(node.parentElement));
  if (node.matches("input:not([type=checkbox]), textarea")) found.push([name + " edge", edge, 3]);
}
for (const bar of document.querySelectorAll(".bar span")) {
  found.push(["bar", ratio(behind(bar), behind(bar.parentElement)), 3]);
}
return found;
"""


@pytest.fixture
def page(open_page: Page) -> Iterator[Page]:
    """The page as it begins."""
    yield from pages.fresh(open_page)


def furnish(page: Page, *, width: int = 1280, scheme: str = "light") -> Page:
    """The page with everything open, types of every colour, classes, a refusal and a long list."""
    server = page.server
    for n in range(9):
        server.adapters[f"more-{n}"] = adapter(f"more-{n}", "ner", unchecked=["the base"] if n else [])
    words = TEXT.split(" ")[:9]
    starts = [sum(len(word) + 1 for word in words[:n]) for n in range(9)]
    server.outputs = {
        "ner": {
            "text": TEXT,
            "entities": [
                {"start": start, "end": start + 2, "label": f"TYPE{n}", "score": 0.5} for n, start in enumerate(starts)
            ],
        },
        "more-0": "What went wrong.",
        "more-1": {"start": 1},
    }
    page.open(width=width, scheme=scheme).choose("ner", "mood", "more-0", "more-1")
    page.predict(TEXT)
    page.run("for (const part of document.querySelectorAll('details')) part.open = true")
    page["#predict-token"].send_keys("é", Keys.ENTER)
    page["button[aria-label='Card of ner']"].click()
    page.wait_for("#card-body", "versions")
    page["#card"].find_element("css selector", "summary").click()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(page: Page, scheme: str) -> None:
    furnish(page, scheme=scheme)
    found = page.run(CONTRASTS)
    assert len(found) > 100 and sum("c7" in name for name, _, _ in found) == 2
    assert (page.run("return matchMedia('(prefers-color-scheme: dark)').matches")) == (scheme == "dark")
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 64) == (scheme == "dark")
    assert not sorted({(name, round(ratio, 2), least) for name, ratio, least in found if ratio < least})


def test_every_control_has_a_role_and_a_name_of_its_own(page: Page) -> None:
    furnish(page)
    page["#card-close"].click()
    shown = [part for part in page.all("a, button, input, textarea, summary, dialog, fieldset") if part.is_displayed()]
    named = [(part.aria_role, part.accessible_name) for part in shown]
    assert len(named) > 40
    assert not [pair for pair in named if not pair[1]] and len(set(named)) == len(named)
    assert ("textbox", "Text") in named and ("button", "Unload ner") in named
    assert ("group", "Adapters to run scores × 100, with their 95 % interval") in named
    assert page["#list input"].accessible_name == "ner ner · lora Entity F1 86.8 (85.9 to 87.8)"
    ids = page.run("return [...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids)) > 30
    for name in ("aria-labelledby", "aria-describedby", "for"):
        pointed = [part.get_attribute(name) for part in page.all(f"[{name}]")]
        assert pointed and set(pointed) <= set(ids)


def test_headings_go_down_by_one_and_what_happens_is_announced(page: Page) -> None:
    furnish(page)
    page["#card-close"].click()
    levels = [int(part.tag_name[1]) for part in page.all("header :is(h1, h2, h3), main :is(h1, h2, h3)")]
    assert levels[0] == 1 and levels.count(1) == 1 and 3 in levels
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page["#status"].get_attribute("aria-live") == "polite" and page["#status"].aria_role == "status"
    assert page["#list-status"].aria_role == "status"
    places = ("problem", "load-problem", "list-problem", "unload-problem", "token-problem")
    assert {page[f"#{place}"].get_attribute("role") for place in places} == {"alert"}
    assert page["html"].get_attribute("lang") == "en" and page["#answers article"].aria_role == "article"


def test_everything_can_be_reached_and_done_by_keyboard(page: Page) -> None:
    page.open()

    def press(*keys: str) -> None:
        ActionChains(page.chrome).send_keys(*keys).perform()

    def follow(link: WebElement) -> None:
        page.run("arguments[0].focus()", link)  # it is out of sight without the focus
        press(Keys.ENTER)

    press(Keys.TAB)
    skip = page.focused()
    assert skip.text == "Skip to the text" and skip.rect["y"] >= 0
    reached = []
    while len(reached) < 40:
        press(Keys.TAB)
        focus = page.focused()
        if focus.tag_name in ("body", "html"):
            break
        assert page.run("return getComputedStyle(arguments[0]).outlineStyle !== 'none'", focus), focus.accessible_name
        reached.append(focus.accessible_name.split(" ")[0])
    assert " ".join(reached) == "API Refresh ner Card Unload mood Card Unload Text Run Load Tokens"
    follow(skip)
    assert page.focused().get_attribute("id") == "text"
    page.all("#list input")[1].send_keys(Keys.SPACE)
    follow(skip)
    press("Ada", Keys.ENTER, "Grace")
    ActionChains(page.chrome).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    page.wait_for("#status", "mood: fresh")
    assert page["#status"].text == "ner: 2 entities; mood: fresh 0.98."
    assert page.focused().get_attribute("id") == "text"
    assert page.server.requests[-1][2][0]["inputs"] == {"text": "Ada\nGrace"}


@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (390, 1)])
def test_answers_stand_side_by_side_or_beneath_one_another(page: Page, width: int, columns: int) -> None:
    furnish(page, width=width)
    card = page["#card"].rect
    assert card["x"] >= 0 and card["x"] + card["width"] <= width
    page["#card-close"].click()
    lefts = [answer.rect["x"] for answer in page.all("#answers article")]
    assert len(lefts) == 4 and len(set(lefts)) == columns
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    small = [
        (part.accessible_name, part.size)
        for part in page.all("button, #list label, summary")
        if part.is_displayed() and min(part.size["height"], part.size["width"]) < 24
    ]
    assert not small
    cut = page.run(
        "return [...document.querySelectorAll('button, label, dd, h2, h3, .dim')].filter((node) => "
        "node.clientWidth && node.scrollWidth > node.clientWidth + 1).map((node) => node.outerHTML)"
    )
    assert not cut


def test_a_long_answer_can_be_scrolled_by_keyboard(page: Page) -> None:
    page.open().choose("ner")
    page.predict("Ada lived in London, and so on.\n" * 3000)
    box = page["#answers .text"]
    assert box.size["height"] <= 0.61 * 900 and box.get_attribute("tabindex") == "0"
    assert page.run("return document.querySelectorAll('#answers mark').length") == 6000


def test_nothing_moves_for_those_who_ask_for_rest(page: Page) -> None:
    moving = "return document.getAnimations().length"
    for motion, moves in (("reduce", False), ("no-preference", True)):
        page.open(motion=motion)
        page.server.waits = [0.4]
        page["#text"].send_keys("Ada")
        page["#send"].click()
        assert (page.run(moving) > 0) == moves
        page.settled()


class Source(HTMLParser):
    """Tags and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_holds_no_script_or_style_of_its_own_and_nothing_from_outside() -> None:
    texts = {name: (pages.FOLDER / name).read_text(encoding="utf-8") for name, _ in pages.FILES.values()}
    tags = Source(texts["index.html"]).tags
    assert len(tags) > 50
    assert [attributes["src"] for tag, attributes in tags if tag == "script"] == ["page.js"]
    names = {tag for tag, _ in tags} | {name for _, attributes in tags for name in attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}
    outside = [a for _, attributes in tags for n, a in attributes.items() if n in ("src", "href") and a and "//" in a]
    assert all(address.startswith("data:image/svg+xml,") for address in outside)
    assert not re.search(r"https?://|@import|url\(", texts["page.css"] + texts["page.js"])
    assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|DOMParser|eval\(|Function\(", texts["page.js"])
