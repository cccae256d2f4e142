"""Train a recommender, or ask one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from adapters.core import arguments, flags
from adapters.core.arguments import POSITIONAL

HELP = "train a recommender from texts and events, or ask it"
GROUP = "Train and compare"
DESCRIPTION = """Train a recommender from items with texts and what users did with them, and evaluate it by time.

taskswap recommend --items_file items.jsonl --events_file events.jsonl

taskswap recommend RUN --user u1: what a user will like, with reasons. --history ID … for a user without events,
--wishes "a slow film about the sea" for one without any. taskswap serve --application recommendation=RUN serves it."""
ASKS = frozenset({"user", "history", "wishes", "candidates"})


@dataclass(frozen=True, kw_only=True)
class RecommendSettings:
    """A question to a finished recommender."""

    run: Annotated[Path, POSITIONAL]
    """Folder of the recommender."""
    user: str | None = None
    """A user of the events."""
    history: list[str] = field(default_factory=list)
    """Ids of items that the user likes, the oldest first."""
    wishes: str | None = None
    """A sentence of what is wanted."""
    candidates: list[str] = field(default_factory=list)
    """Ids of the items among which is chosen. Default: all."""
    number: int = 10
    """Items wanted."""
    diversity: float = 0.0
    """From 0, the best items, to 1, the most different ones."""
    tags: list[str] = field(default_factory=list)
    """Tags of which an item must have one."""
    without_tags: list[str] = field(default_factory=list)
    """Tags of which an item must have none."""
    max_price: float | None = None
    """Highest price; items without one are left out."""
    keep_seen: bool = False
    """Also recommend what the user has seen."""
    base: str | None = None
    """Base model by its path, where it has moved."""
    device: str = "auto"
    """auto (cuda, mps or cpu), or the name of a device."""
    json: bool = False
    """Print the answer as JSON."""


def settings() -> type:
    """The class of all flags."""
    from adapters.applications.recommendation.settings import all_settings

    found: type = all_settings()
    return found


def run(argv: Sequence[str]) -> int:
    """Run `taskswap recommend`."""
    if flags.is_about_a_folder(argv, ASKS):
        return _ask(arguments.parse(RecommendSettings, {}, DESCRIPTION, argv, program="taskswap recommend"))
    from adapters.applications.recommendation.learning import Recommendation

    recommendation = Recommendation(DESCRIPTION, {}, argv)
    recommendation.read()
    recommendation.learn()
    recommendation.rank()
    recommendation.save_and_print(recommendation.evaluate())
    return 0


def _ask(given: RecommendSettings) -> int:
    """Print what is recommended."""
    from adapters.applications.recommendation.recommender import Recommender, Request

    recommender = Recommender.load(given.run, base=given.base, device=given.device)
    answer = recommender.recommend(
        Request(
            user=given.user,
            history=tuple(given.history),
            wishes=given.wishes,
            candidates=tuple(given.candidates) or None,
            number=given.number,
            diversity=given.diversity,
            tags=tuple(given.tags),
            without_tags=tuple(given.without_tags),
            max_price=given.max_price,
            keep_seen=given.keep_seen,
        )
    )
    if given.json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    print(f"by {answer['basis']}{'; ' + answer['note'] if 'note' in answer else ''}", file=sys.stderr)
    for item in answer["items"]:
        near = "; ".join(f"{why.get('title') or why.get('wishes')} ({why['cosine']:.2f})" for why in item["why"])
        print(f"{item['id']}\t{item['title']}\t{item['score']:.2f}" + (f"\tnear {near}" if near else ""))
    return 0
