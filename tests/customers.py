"""A made-up company's questions, templates, slots and documents, for the tests of customer service."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

ASKED: Mapping[str, Sequence[str]] = {
    "card_arrival": ("where is my card", "has my card been sent", "my card is late"),
    "refund": ("i want my money back", "refund my order", "when do i get the refund"),
    "opening_hours": ("when do you open", "are you open on sunday", "opening hours please"),
}
ANSWERS = {
    "card_arrival": "A card takes five days.",
    "refund": "A refund takes ten days.",
    "opening_hours": "We are open from nine to five.",
}
NEAR = ("can i sell my card", "do you buy old cards", "who owns the shop", "is the shop for sale")
FAR = ("what is the capital of france", "tell me a joke", "how tall is a giraffe", "sing a song")
STARTS = ("hello", "please", "well", "excuse me", "hi", "so", "now", "one question")
TEMPLATES = 'refund = "Your order {order_number} is paid back in ten days."\n'
SLOTS = '[order_number]\npattern = "[A-Z]{2}-[0-9]{4}"\nask = "Which order? Its number looks like AB-1234."\n'
COLUMNS = ("question", "intent", "answer", "scope")
FLAGS = "--max_train_steps 4 --mixed_precision no --allow_unknown_tokens --validation_split_percentage 40"


def rows(each: int, seed: int, *, answers: bool = True, outside: bool = True) -> list[dict[str, str | None]]:
    """Questions of each intent with their answers, and half as many that are out of scope."""
    draw = random.Random(seed)
    found: list[dict[str, str | None]] = []
    for intent, texts in ASKED.items():
        for number in range(each):
            text = f"{draw.choice(STARTS)} {texts[number % len(texts)]} {draw.choice(STARTS)} {number}"
            found.append({"question": text, "intent": intent, "answer": ANSWERS[intent] if answers else None})
    for scope, texts in (("near", NEAR), ("far", FAR)):
        for number in range(each // 2 if outside else 0):
            text = f"{draw.choice(STARTS)} {texts[number % len(texts)]} {number}"
            found.append({"question": text, "intent": "oos", "answer": None, "scope": scope})
    return found


def write(path: Path, given: Sequence[Mapping[str, object]]) -> Path:
    """Rows as JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in given), encoding="utf-8")
    return path


def company(folder: Path, each: int = 12) -> dict[str, str]:
    """Files of a company, by the flag that takes them."""
    (folder / "handbook").mkdir(parents=True)
    (folder / "handbook" / "parking.md").write_text("# Parking\n\nThe car park is behind the house.\n")
    (folder / "handbook" / "old.pdf").write_bytes(b"%PDF-1.4 this is none")
    for name, text in (("templates.toml", TEMPLATES), ("slots.toml", SLOTS)):
        (folder / name).write_text(text)
    return {
        "train_file": str(write(folder / "train.jsonl", rows(each, 1))),
        "test_file": str(write(folder / "test.jsonl", rows(each // 2, 2))),
        "templates_file": str(folder / "templates.toml"),
        "slots_file": str(folder / "slots.toml"),
        "documents": str(folder / "handbook"),
    }
