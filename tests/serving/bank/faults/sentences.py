"""Sentences that tokenizers stumble over, drawn at random, and what an answer to each must hold to."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from typing import Any

from adapters.serving.bank.bank import AdapterBank, Request

FAMILY = "👩\u200d👩\u200d👧\u200d👦"
PARTS = (
    "",
    " ",
    "\u00a0",
    "\u3000",
    "\t",
    "\n",
    "\r\n",
    "\u2028",
    "\x00",
    "\x1f",
    "\x7f",
    "\ufffd",
    "\ud800",
    "\udc00",
    "\u200b",
    "\u200c",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u034f",
    "\u180e",
    "\ufe0f",
    "\U000e0001",
    "\u3164",
    "\u202a",
    "\u202b",
    "\u202c",
    "\u202d",
    "\u202e",
    "\u2066",
    "\u2067",
    "\u2069",
    "\u200e",
    "\u200f",
    "\u061c",
    "😀",
    FAMILY,
    "👍🏽",
    "🇩🇪",
    "🏴\U000e0067\U000e0062\U000e007f",
    "❤️",
    "🤷🏾\u200d♀️",
    "☃",
    "🀄",
    "é",
    "e\u0301",
    "Å",
    "A\u030a",
    "ﬁ",
    "ſ",
    "İ",
    "ß",
    "ẞ",
    "Ǆ",
    "o\u0308\u0304",
    "\u0301",
    "한국",
    "\u1112\u1161\u11ab",
    "中文",
    "𠮷",
    "日本",
    "ไทย",
    "हिन्दी",
    "עברית",
    "العربية",
    "Ελλάδα",
    "Москва",
    "𝔄𝔡𝔞",
    "ＡＢＣ",
    "①",
    "½",
    "٣",
    "Ada",
    "Lovelace",
    "New York",
    "U.N.",
    "don't",
    "a-b",
    "...",
    "$3.50",
    "x" * 70,
    "##ing",
    "[SEP]",
    "[CLS]",
    "[PAD]",
    "</s>",
    "<unk>",
    "'",
    '"',
    "\\",
    "/",
    "(",
    "—",
    "-",
    "_",
    "@a",
    "#b",
    "http://a.b/c?d=e",
)


def sentences(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Requests' inputs: words or a text, by turns; an NFC or an NFD form, or as it is."""
    draw = random.Random(seed)
    for number in range(count):
        words = ["".join(draw.choices(PARTS, k=draw.randint(1, 3))) for _ in range(draw.randint(0, 12))]
        form = draw.choice(("NFC", "NFD", ""))
        if form:
            words = [unicodedata.normalize(form, word) for word in words]
        yield {"tokens": words} if number % 2 else {"text": draw.choice(("", " ", "  ", "\u200b")).join(words)}


def faults(inputs: dict[str, Any], answer: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a tagger's answer."""
    if "error" in answer:
        yield f"{inputs!r}: {answer['error']}"
        return
    out = answer["output"]
    words, tags, text = out["tokens"], out["tags"], out["text"]
    if len(words) != len(tags):
        yield f"{inputs!r}: {len(words)} words, {len(tags)} tags"
    if inputs.get("tokens", words) != words:
        yield f"{inputs!r}: other words: {words!r}"
    if inputs.get("text", text) != text:
        yield f"{inputs!r}: another text: {text!r}"
    if "text" in inputs and "".join(words) != "".join(text.split()) and not _only_blank(text, words):
        yield f"{inputs!r}: words lost: {words!r}"
    for entity in out["entities"]:
        begin, end = entity["words"]
        cut = text[entity["start"] : entity["end"]]
        if cut != entity["text"] or not cut.startswith(words[begin]) or not cut.endswith(words[end - 1]):
            yield f"{inputs!r}: {entity!r} cuts {cut!r}"
    begun = sum(tag.startswith("B-") for tag in tags)
    if begun != len(out["entities"]):
        yield f"{inputs!r}: {begun} entities in the tags, {len(out['entities'])} in the answer"


def _only_blank(text: str, words: list[str]) -> bool:
    """Whether all that stands in no word is blank or a character that nobody sees."""
    rest = text
    for word in words:
        before, found, rest = rest.partition(word)
        if not found or not all(_unseen(letter) for letter in before):
            return False
    return all(map(_unseen, rest))


def _unseen(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Cn", "Mn")


def tag(bank: AdapterBank, name: str, count: int, *, seed: int = 0, batch: int = 500) -> tuple[int, int, list[str]]:
    """Tag so many; returns how many words and entities there were, and what is wrong."""
    words = entities = 0
    wrong: list[str] = []
    drawn = sentences(count, seed)
    while given := [inputs for inputs, _ in zip(drawn, range(batch), strict=False)]:
        for inputs, answer in zip(given, bank.predict([Request(name, inputs) for inputs in given]), strict=True):
            wrong += faults(inputs, answer)
            words += len(answer.get("output", {}).get("tags", ()))
            entities += len(answer.get("output", {}).get("entities", ()))
    return words, entities, wrong
