"""A made-up shop for the tests of recommendation: items of four kinds, users who like one of them, and a recommender.

The letters of a text are its vector, so that no model is needed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from desk import NoAdapters as NoAdapters

from adapters.applications.base.vectors import normalized
from adapters.applications.recommendation.behaviour import Behaviour
from adapters.applications.recommendation.catalogue import Catalogue, Item
from adapters.applications.recommendation.events import Events
from adapters.applications.recommendation.ranker import Ranker
from adapters.applications.recommendation.recommender import Recommender
from adapters.applications.recommendation.serving import RecommendationSite
from adapters.applications.recommendation.signals import Signals
from adapters.applications.recommendation.store import Event, Store
from adapters.applications.recommendation.towers import UserTower

KINDS = {"sea": "zzzz", "war": "qqqq", "love": "xxxx", "joke": "jjjj"}
DAY = 86_400.0
FLAGS = "--mixed_precision no --batch_items 8 --events_per_item 2 --attention_heads 2 --max_item_tokens 16"


def items(each: int = 6) -> list[dict[str, Any]]:
    """Items of each kind, whose texts share a word."""
    return [
        {"item_id": f"{kind}{n}", "title": f"{word} {n}", "tags": [kind], "price": n, "published": f"20{10 + n}-01-01"}
        for kind, word in KINDS.items()
        for n in range(each)
    ]


def events(users: int = 24, each: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """Each user likes items of one kind, one a day, beginning at some day."""
    draw, rows = random.Random(seed), []
    kinds = list(KINDS)
    for user in range(users):
        kind, begin = kinds[user % len(kinds)], draw.randrange(60)
        for place, n in enumerate(draw.sample(range(6), each)):
            rows.append({"user": f"u{user}", "item": f"{kind}{n}", "time": (begin + place) * DAY})
    return sorted(rows, key=lambda row: row["time"])


def write(path: Path, given: Iterable[Mapping[str, Any]]) -> Path:
    """Rows as JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in given), encoding="utf-8")
    return path


def files(folder: Path, **more: Any) -> dict[str, str]:
    """Files of the shop, by the flag that takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "items_file": str(write(folder / "items.jsonl", items())),
        "events_file": str(write(folder / "events.jsonl", events(**more))),
    }


def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Counts of letters, and weights of 0."""
    rows = [[text.lower().count(c) + 0.01 for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts]
    return normalized(np.array(rows)), np.zeros(len(texts), np.float32)


def catalogue(given: Iterable[Mapping[str, Any]] = ()) -> Catalogue:
    """The items of rows; none: those of the shop."""
    rows = [*given] or items()
    return Catalogue(
        Item(
            id=row["item_id"],
            text=row["title"],
            title=row["title"],
            tags=tuple(row.get("tags", ())),
            price=row.get("price"),
        )
        for row in rows
    )


def signals(own: Catalogue, past: Sequence[Mapping[str, Any]] = ()) -> Signals:
    """Signals of items, after events."""
    vectors, weights = encode(own.texts())
    rows = [(row["user"], own.number[row["item"]], row["time"], row.get("liked", True)) for row in past]
    return Signals(
        catalogue=own,
        vectors=vectors,
        weights=weights,
        user=UserTower(vectors.shape[1], 2, 10).eval(),
        temperature=0.1,
        behaviour=Behaviour.of(Events.of(rows), len(own), 30 * DAY),
        trained=len(own),
    )


def recommender(
    folder: Path, past: Sequence[Mapping[str, Any]] = (), given: Iterable[Mapping[str, Any]] = (), **more: Any
) -> Recommender:
    """A recommender without a ranker, with events in its store."""
    made = signals(catalogue(given), past)
    made.behaviour = Behaviour.empty(30 * DAY, made.behaviour.together)
    store = Store(folder / "events.db")
    store.add_events(
        Event(user=row["user"], item=row["item"], time=row["time"], liked=row.get("liked", True)) for row in past
    )
    return Recommender(made, Ranker(), encode, store, **{"retrieved": 10, **more})


class Shop(RecommendationSite):
    """The application with a recommender that is there already."""

    def __init__(self, folder: Path, past: Sequence[Mapping[str, Any]] = (), **more: Any) -> None:
        super().__init__(folder, "minilm", more.pop("signal_kinds", ()))
        self.recommender_at_open = recommender(folder, past, **more)

    def open(self, bank: Any) -> None:
        self.use(self.recommender_at_open)
