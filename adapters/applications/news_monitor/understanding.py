"""The reading of an item: its sentiment, its topics, and the entities in it, each with whether it is negative."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from adapters.applications.news_monitor.items import Item, ItemError, name_of
from adapters.core.errors import DataError, SettingsError, did_you_mean

if TYPE_CHECKING:
    from adapters.serving.bank.bank import AdapterBank

ALL = "all"
"""The series of every item."""
SENTIMENT, TOPICS, ENTITIES = "sentiment", "topics", "entities"
"""Names of the adapters in the bank, and of what a row may give itself."""
ENTITY_SENTIMENT = "entity_sentiment"
"""Name of the adapter that reads a pair of a text and an entity in it."""
MOST_NAMES = 20
"""Topics, and entities, of an item."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read from an item.

    Attributes:
        sentiment: its label.
        series: whether it is negative, by each series that it belongs to: all, `topic: …`, `entity: …`.
    """

    sentiment: str
    series: Mapping[str, bool]


class Understand(Protocol):
    """What reads items."""

    def __call__(self, items: Sequence[Item]) -> list[Reading | str]:
        """The reading of each item, or why there is none."""


class RecordedPredictions:
    """Takes the predictions in the rows."""

    def __init__(self, negative: Sequence[str]) -> None:
        """Args: negative: labels of sentiment that are negative."""
        self.negative = frozenset(negative)

    def __call__(self, items: Sequence[Item]) -> list[Reading | str]:
        """For each item its own predictions, or which one is missing."""
        return [self.reading(item.given) for item in items]

    def reading(self, given: Mapping[str, Any]) -> Reading | str:
        """The reading of a row's sentiment, topics and entities (a list, or an object with a sentiment for each)."""
        sentiment, topics, entities = (given.get(name) for name in (SENTIMENT, TOPICS, ENTITIES))
        if not isinstance(sentiment, str) or not (label := name_of(sentiment)):
            return "no sentiment: give --sentiment_adapter, or a sentiment in the row"
        bad = label in self.negative
        try:
            own = {f"topic: {name}": bad for name in _names(topics, TOPICS)}
            if isinstance(entities, Mapping):
                said = [(name, entities[name]) for name in [*entities][:MOST_NAMES]]
                if not all(isinstance(value, str) for _, value in said):
                    raise ItemError("the sentiment of an entity is no text")
                named = [(name_of(name), name_of(value) in self.negative) for name, value in said]
                own |= {f"entity: {name}": negative for name, negative in named if name}
            else:
                own |= {f"entity: {name}": bad for name in _names(entities, ENTITIES)}
        except ItemError as error:
            return str(error)
        return Reading(sentiment=label, series={ALL: bad, **own})


class Adapters:
    """Predicts by adapters of one bank, in shared batches; what has no adapter is taken from the row."""

    def __init__(
        self,
        bank: AdapterBank,
        negative: Sequence[str],
        entity_types: Sequence[str] = (),
        names: Sequence[str] = (SENTIMENT, TOPICS, ENTITIES, ENTITY_SENTIMENT),
    ) -> None:
        """Args:
        bank: with adapters of these names.
        negative: labels of sentiment that are negative.
        entity_types: that are watched; none: all.
        names: what is read by an adapter; by default, all of these that the bank has.

        Raises SettingsError where an adapter is of another task, or lacks a label.
        """
        self.bank, self.recorded = bank, RecordedPredictions(negative)
        known = [name for name in names if name in bank.names()]
        self.names = [name for name in known if name != ENTITY_SENTIMENT]
        self.pairs = ENTITY_SENTIMENT in known
        self.types = frozenset(entity_types)
        for name in known:
            _check(bank, name, entity_types if name == ENTITIES else () if name == TOPICS else negative)

    def __call__(self, items: Sequence[Item]) -> list[Reading | str]:
        """The adapters' reading of each item, in one mixed batch; then the sentiment of each entity, in another."""
        requests = [{"adapter": name, "inputs": {"text": item.text}} for item in items for name in self.names]
        answers = iter(self.bank.predict(requests))
        read: list[tuple[dict[str, Any], str]] = []
        for item in items:
            given, error = dict(item.given), ""
            for name in self.names:
                answer = next(answers)
                error = error or str(answer.get("error", ""))
                given[name] = self._value(name, answer.get("output", {}))
            read.append((given, error))
        if self.pairs:
            read = self._of_entities(items, read)
        return [error or self.recorded.reading(given) for given, error in read]

    def _of_entities(
        self, items: Sequence[Item], read: Sequence[tuple[dict[str, Any], str]]
    ) -> list[tuple[dict[str, Any], str]]:
        """What was read of the items, with a sentiment for each entity that has none yet."""
        named = [[] if error else _unread_entities(given) for given, error in read]
        requests = [
            {"adapter": ENTITY_SENTIMENT, "inputs": {"text": item.text, "text_pair": name}}
            for item, names in zip(items, named, strict=True)
            for name in names
        ]
        answers = iter(self.bank.predict(requests) if requests else [])
        found = []
        for (given, error), names in zip(read, named, strict=True):
            own = {name: next(answers) for name in names}
            error = error or next((str(one["error"]) for one in own.values() if "error" in one), "")
            said = {name: one.get("output", {}).get("label") for name, one in own.items()}
            found.append(({**given, ENTITIES: said} if said else given, error))
        return found

    def _value(self, name: str, output: Mapping[str, Any]) -> Any:
        """An adapter's output as a row has it."""
        if name == ENTITIES:
            own = output.get("entities", ())
            return [one["text"] for one in own if not self.types or one["label"] in self.types]
        return output.get("label", output.get("labels"))


def confusion(understand: Understand, rows: Sequence[Item], negative: Sequence[str]) -> Counter[tuple[bool, bool]]:
    """Of labelled items, how many are (negative, read as negative). Raises DataError for one that cannot be read."""
    found: Counter[tuple[bool, bool]] = Counter()
    for row, reading in zip(rows, understand(rows), strict=True):
        if isinstance(reading, str):
            raise DataError(f"{row.where}: {reading}.")
        found[row.given["label"] in negative, reading.series[ALL]] += 1
    return found


def _names(given: object, what: str) -> list[str]:
    """Names of topics or entities, each once, on one line. Raises ItemError where one is neither text nor number."""
    listed = [] if given is None else [given] if isinstance(given, str) or not isinstance(given, Sequence) else given
    if not all(isinstance(one, str | int | float) for one in listed[:MOST_NAMES]):
        raise ItemError(f"the {what} are no list of names")
    return [name for name in dict.fromkeys(name_of(one) for one in listed[:MOST_NAMES]) if name]


def _unread_entities(given: Mapping[str, Any]) -> list[str]:
    """The entities of a row that have no sentiment yet; none where they are no names, which `reading` reports."""
    try:
        return [] if isinstance(given.get(ENTITIES), Mapping) else _names(given.get(ENTITIES), ENTITIES)
    except ItemError:
        return []


def _check(bank: AdapterBank, name: str, needed: Sequence[str]) -> None:
    """Raises SettingsError unless an adapter has labels of this kind, and these among them."""
    labels = bank.info(name).get("labels") or []
    kinds = {label.partition("-")[2] for label in labels if "-" in label} if name == ENTITIES else {*labels}
    flag = {TOPICS: "topic_adapter", ENTITIES: "entity_adapter"}.get(name, f"{name}_adapter")
    if not kinds:
        raise SettingsError(f"--{flag}: {bank.info(name)['task']} has no labels that could be {name}.")
    for one in needed:
        if one not in kinds:
            what = "entity_types" if name == ENTITIES else "negative_labels"
            raise SettingsError(f"--{what} {one}: the adapter has no such label: {did_you_mean(one, sorted(kinds))}")
