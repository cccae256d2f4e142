"""The settings of recommendations, and those of the method that adapts the base."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from adapters.core import discovery
from adapters.core.environment import require_libraries
from adapters.core.launcher import require_one_process
from adapters.core.settings import CommonSettings, join, require

METHOD = "lora"
"""Adapts the base in the item tower that is saved."""
LIBRARIES = ("bm25s", "lightgbm")


@dataclass(frozen=True, kw_only=True)
class RecommendationSettings:
    """Items with their texts, what users did with them, and how both are learned."""

    items_file: str | None = None
    """File of items, one per row: an id, a text, and optionally tags, a price and a date; CSV, JSONL, Parquet, …"""
    events_file: str | None = None
    """File of events, one per row: a user, an item, a time, and optionally a kind or a rating."""
    test_file: str | None = None
    """File of test cases, JSONL: {"user", "history", "target"} and optionally "candidates", by item id, the oldest
    first. All of --events_file is then train and dev. Default: the last events by time are the test."""
    item_column_name: str | None = None
    """Column of the item's id. Default: item_id, item, product_id, movieId, asin, sku, article_id, news_id, id."""
    user_column_name: str | None = None
    """Column of the user's id. Default: user_id, user, userId, customer_id, reviewer_id."""
    time_column_name: str | None = None
    """Column of an event's time: ISO 8601, or seconds since 1970. Default: time, timestamp, date, at."""
    kind_column_name: str | None = None
    """Column of an event's kind. Default: kind, event, event_type, action."""
    rating_column_name: str | None = None
    """Column of an event's rating. Default: rating, stars, score."""
    text_column_names: list[str] = field(default_factory=list)
    """Columns of an item's text, in this order. Default: title or name or headline, then description, overview,
    abstract, summary or text."""
    tags_column_names: list[str] = field(default_factory=list)
    """Columns of an item's tags: a list, or texts with | or , between them. Default: tags, genres, categories,
    category."""
    price_column_name: str | None = None
    """Column of an item's price. Default: price."""
    published_column_name: str | None = None
    """Column of the date since which an item exists. Default: published, published_at, release_date, date, year."""
    slice_column_name: str | None = None
    """Column of the items whose values are slices of the report: the items of each are also ranked separately."""
    signal_kinds: list[str] = field(default_factory=list)
    """Kinds of events that count as likes. The others only mark the item as seen. Default: all."""
    min_rating: float | None = None
    """Minimum rating that counts as a like. Default: any rating does."""
    encoding: str = "utf-8"
    """Encoding of the files."""
    test_percentage: float = 20.0
    """Percentage of the events, the last ones of all users by time, used as test."""
    dev_percentage: float = 10.0
    """Percentage of the events, those before the test, used to fit the ranker and to choose the epoch."""
    new_user_clicks: int = 5
    """Number of first events of a new user given as history; the later ones are the targets."""
    model_name_or_path: str = "minilm"
    """Path, Hub id or alias (minilm, e5) of the base model, an encoder."""
    max_item_tokens: int = 96
    """Maximum number of tokens of an item's text."""
    history_items: int = 30
    """Number of last items of a user's history that the user tower reads."""
    num_train_epochs: float = 3.0
    """Number of training epochs. Each event is used once per epoch."""
    max_train_steps: int | None = None
    """Number of optimizer steps; overrides --num_train_epochs."""
    batch_items: int = 96
    """Number of items drawn per batch. Each is encoded once, and is a negative for the events of the others."""
    events_per_item: int = 8
    """Maximum number of events that share one encoding of their item."""
    temperature: float = 0.07
    """Temperature by which the cosine of user and item is divided."""
    learning_rate: float = 2e-3
    """Peak learning rate of the item tower."""
    user_learning_rate: float = 1e-3
    """Peak learning rate of the user tower."""
    attention_heads: int = 8
    """Number of heads of the self-attention over a history, of 16 dimensions each."""
    max_events_per_user: int = 1000
    """Maximum number of events of a user. The last ones are used."""
    max_train_events: int | None = None
    """Maximum number of training events. The last ones are used. Default: all."""
    half_life_days: float | None = None
    """Half-life of an event's weight in an item's recent popularity, in days. Default: a tenth of the time that the
    training events span."""
    retrieved: int = 200
    """Number of items that each retriever passes to the ranker."""
    compared_methods: list[str] = field(default_factory=list)
    """Methods to compare with, each with towers and a ranker of its own: full (fine-tuning), head (the frozen base)."""
    als: bool = False
    """Also compare with the ALS of implicit (pip install implicit)."""
    mixed_precision: str = "auto"
    """no, bf16, fp16, or auto: bf16 if it is faster on this machine."""
    device: str = "auto"
    """auto (cuda, mps or cpu), or the name of a device."""
    seed: int = 0
    """Random seed."""
    output_dir: str = "runs/recommend"
    """Folder of the recommender."""
    overwrite_output_dir: bool = False
    """Replace the recommender that the folder has."""

    def check(self) -> None:
        """Check all values before anything is read. Raises SettingsError that names the flag."""
        for name, what in (("items_file", "items with their texts"), ("events_file", "what users did with items")):
            require(getattr(self, name) is not None, name, getattr(self, name), f"a file of {what}")
        for name in ("test_percentage", "dev_percentage"):
            require(0 < getattr(self, name) < 100, name, getattr(self, name), "between 0 and 100")
        both = self.test_percentage + self.dev_percentage
        require(both < 100, "test_percentage", self.test_percentage, "so small that events are left to learn from")
        counts = (
            "new_user_clicks",
            "max_item_tokens",
            "history_items",
            "events_per_item",
            "attention_heads",
            "max_events_per_user",
            "retrieved",
        )
        for name in counts:
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.batch_items >= 2, "batch_items", self.batch_items, "at least 2: each is the others' negative")
        for name in ("max_train_steps", "max_train_events"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
        for name in ("temperature", "user_learning_rate", "num_train_epochs"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        days = self.half_life_days
        require(days is None or days > 0, "half_life_days", days, "above 0")
        require_one_process("the towers are small")


def all_settings() -> Any:
    """The class of all flags: those of the method that is saved among them."""
    return join(discovery.load("methods", METHOD).Settings, RecommendationSettings)


def check_installed() -> None:
    """Raises SettingsError where a library of the extra is missing."""
    require_libraries("recommendation", LIBRARIES, "recommendation")


def method_settings(settings: Any, name: str) -> Any:
    """The settings of a method around the item tower: for that which is saved as given, for others their defaults."""
    kind = join(CommonSettings, discovery.load("methods", name).Settings)
    own = {one.name for one in fields(discovery.load("methods", METHOD).Settings)}
    shared = {"model_name_or_path", "seed", "mixed_precision", "num_train_epochs", "max_train_steps", "output_dir"}
    taken = shared | (own if name == METHOD else set())
    given = {one.name: getattr(settings, one.name) for one in fields(settings) if one.name in taken}
    found = kind(**given, max_length=settings.max_item_tokens)
    found.check()
    return found
