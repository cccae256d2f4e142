"""The recommender: items, the signals of users' behaviour, a ranker, and later events.

recommender = Recommender.load("runs/recommend")
recommender.recommend(Request(user="17", number=10))         # items with scores and reasons
recommender.recommend(Request(history=("m1", "m2"), diversity=0.3))
recommender.recommend(Request(wishes="a slow film about the sea"))
recommender.take([Event(user="17", item="m9", time=time.time())])
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adapters.applications.base.folder import bank_with, reading, record_in
from adapters.applications.base.vectors import normalized
from adapters.applications.recommendation.behaviour import Behaviour, matrix
from adapters.applications.recommendation.catalogue import Catalogue, Item, read_text
from adapters.applications.recommendation.ranker import Ranker, highest, ranked
from adapters.applications.recommendation.settings import check_installed
from adapters.applications.recommendation.signals import Profile, Signals
from adapters.applications.recommendation.store import Event, NewItem, Store, digest_of
from adapters.applications.recommendation.towers import Encode, ItemVectors, UserTower
from adapters.core.errors import ArtifactError, DataError, did_you_mean, verb
from adapters.core.files import new_file, write_json
from adapters.models.base_model import Base
from adapters.models.tokenizer import valid_text
from adapters.serving.bank.bank import AdapterBank

ADAPTER = "items"
"""Name of the item tower in the bank, and of its folder."""
RECORD, CATALOGUE, TENSORS, TOWER, RANKER = (
    "recommender.json",
    "items.jsonl",
    "vectors.safetensors",
    "user_tower.safetensors",
    "ranker.txt",
)
EVENTS = "events.db"
OURS = (ADAPTER, RECORD, CATALOGUE, TENSORS, TOWER, RANKER, EVENTS, f"{EVENTS}-wal", f"{EVENTS}-shm")
"""All that a recommender's folder has."""
MOST = 1000
"""Items of one answer, at most."""
REASONS = 2
NEAR = 0.3
"""Cosine from which an item of the history is a reason."""
LONGEST_HISTORY = 1000


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        user: name of a user whose events are known; with a history, the two are joined.
        history: ids of liked items, the oldest first.
        wishes: a sentence of what is wanted.
        candidates: ids of the items among which is chosen; None: all.
        number: of items wanted.
        diversity: from 0, the best ones, to 1, the most different ones.
        tags: of which an item must have one; none: any.
        without_tags: of which an item must have none.
        max_price: items without a price are then left out.
        keep_seen: whether what the user has seen may be recommended again.
    """

    user: str | None = None
    history: tuple[str, ...] = ()
    wishes: str | None = None
    candidates: tuple[str, ...] | None = None
    number: int = 10
    diversity: float = 0.0
    tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    max_price: float | None = None
    keep_seen: bool = False


@dataclass(kw_only=True)
class UserEvents:
    """A user's items, in order of time: liked ones with their times, and all that were seen."""

    liked: dict[int, float] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def take(self, item: int, at: float, liked: bool) -> None:
        """Add an event. An item that is liked again is as recent as its last like."""
        self.seen.add(item)
        if liked:
            at = max(at, self.liked.pop(item, -math.inf))
            late = bool(self.liked) and at < next(reversed(self.liked.values()))
            self.liked[item] = at
            if late:
                self.liked = dict(sorted(self.liked.items(), key=lambda one: one[1]))


class Recommender:
    """Recommends. One thread at a time may change it."""

    def __init__(self, signals: Signals, ranker: Ranker, encode: Encode, store: Store, *, retrieved: int) -> None:
        """Args:
        signals: of the items that were there when it was trained, before any event.
        ranker: of what was retrieved.
        encode: from texts to vectors and weights.
        store: has what users did, and items that came later.
        retrieved: items that each search hands to the ranker.
        """
        self.signals, self.ranker, self.encode = signals, ranker, encode
        self.store, self.retrieved = store, retrieved
        self.users: dict[str, UserEvents] = {}
        self._names: dict[str, str] = {}  # by the digests of deletions, which are read at each start
        self._number = 0
        self.read_changes()

    @property
    def catalogue(self) -> Catalogue:
        """The items."""
        return self.signals.catalogue

    # recommending -----------------------------------------------------------------------------------------------------

    def recommend(self, request: Request, now: float | None = None) -> dict[str, Any]:
        """`items`, each with id, title, score and `why`; `basis`, what they were chosen by; `note` where they are few,
        or a tag is unknown.

        Args:
            request: what is asked for.
            now: the moment, seconds; None: that of the last event of all users, as recent popularity is learned so.

        Raises DataError: an unknown item, a number or a diversity out of range.
        """
        _check(request)
        self.read_changes()
        profile, seen, basis = self._profile(request)
        allowed = self._allowed(request, seen)
        there = int(allowed.sum())
        at = self.signals.behaviour.latest if now is None else now
        found = self.signals.of(profile, at)
        scores = ranked(self.signals, self.ranker, found, allowed, max(self.retrieved, request.number))
        order = self._chosen(scores, request)
        items = [self._answer(int(number), float(scores[number]), profile) for number in order]
        note = "" if there >= request.number else _few(there, len(seen), len(self.catalogue), request)
        note = "; ".join([*self._unknown_tags(request), *([note] if note else [])])
        return {"items": items, "basis": basis, **({"note": note} if note else {})}

    def _unknown_tags(self, request: Request) -> list[str]:
        """The note on tags that no item has."""
        unknown = [tag for tag in (*request.tags, *request.without_tags) if not self.signals.having([tag])][:3]
        known = self.signals.tags() if unknown else []
        near = {tag: did_you_mean(tag.lower(), known) if len(known) < MOST else "check the tag" for tag in unknown}
        return [f"no item has the tag {tag!r:.60}: {why:.200}" for tag, why in near.items()]

    def search(self, text: str, number: int) -> list[dict[str, Any]]:
        """Items whose texts have the words of a text: id, title and tags, the best first."""
        self.read_changes()
        scores = self.signals.with_words(text)
        places = highest(np.where(scores > 0, scores, -np.inf), number)
        found = [self.catalogue.items[place] for place in places[np.argsort(-scores[places], kind="stable")]]
        return [{"id": item.id, "title": item.title, "tags": list(item.tags)} for item in found]

    def _profile(self, request: Request) -> tuple[Profile, set[int], str]:
        """The profile of a request, the items that the user has seen, and what is known, in a word."""
        own = self.users.get(request.user) if request.user is not None else None
        given = self._numbers(request.history, "history")
        liked = list(own.liked) if own is not None else []
        history = tuple(dict.fromkeys([number for number in liked if number not in set(given)] + given))
        wishes = (request.wishes.strip(),) if request.wishes and request.wishes.strip() else ()
        wished = self.encode(wishes)[0] if wishes else None
        profile = Profile(history=history[-LONGEST_HISTORY:], wishes=wishes, wished=wished)
        basis = " and ".join([*(["history"] if history else []), *(["wishes"] if wishes else [])])
        return profile, (own.seen if own is not None else set()) | set(given), basis or "popularity"

    def _numbers(self, ids: Sequence[str], where: str) -> list[int]:
        unknown = [id for id in ids if id not in self.catalogue.number]
        if unknown:
            near = did_you_mean(unknown[0], self.catalogue.number) if len(self.catalogue) < MOST else "check the id"
            raise DataError(f"{where}: there is no item {unknown[0]!r:.60}: {near:.300}")
        return [self.catalogue.number[id] for id in ids]

    def _allowed(self, request: Request, seen: set[int]) -> np.ndarray:
        """bool `[items]`: which items may be recommended."""
        allowed = np.ones(len(self.catalogue), bool)
        if request.candidates is not None:
            allowed[:] = False
            allowed[self._numbers(request.candidates, "candidates")] = True
        if not request.keep_seen:
            allowed[list(seen)] = False
        signals = self.signals
        if request.tags:
            wanted = np.zeros(len(allowed), bool)
            wanted[signals.having(request.tags)] = True
            allowed &= wanted
        allowed[signals.having(request.without_tags)] = False
        if request.max_price is not None:
            allowed &= signals.prices <= request.max_price  # not of nan
        return allowed

    def _chosen(self, scores: np.ndarray, request: Request) -> list[int]:
        """Numbers of the items, the best first; with diversity, each as good as it is new to those before it.

        Maximal marginal relevance (Carbonell & Goldstein 1998), of scores brought to [0, 1] among what is considered.
        """
        most = max(5 * request.number, self.retrieved) if request.diversity else request.number
        pool = highest(scores, most)
        pool = pool[np.argsort(-scores[pool], kind="stable")]
        if not request.diversity or len(pool) < 2:
            return [int(number) for number in pool[: request.number]]
        good = 1 - np.arange(len(pool)) / (len(pool) - 1)
        vectors = self.signals.vectors[pool]
        alike = np.zeros(len(pool))
        left = np.ones(len(pool), bool)
        chosen: list[int] = []
        while left.any() and len(chosen) < request.number:
            value = (1 - request.diversity) * good - request.diversity * alike
            place = int(np.where(left, value, -np.inf).argmax())
            left[place] = False
            chosen.append(int(pool[place]))
            alike = np.maximum(alike, vectors @ vectors[place])
        return chosen

    def _answer(self, number: int, score: float, profile: Profile) -> dict[str, Any]:
        item = self.catalogue.items[number]
        return {"id": item.id, "title": item.title, "score": round(score, 4), "why": self._why(number, profile)}

    def _why(self, number: int, profile: Profile) -> list[dict[str, Any]]:
        """The items of the history, or wishes, that an item is nearest to, with the cosine of their texts."""
        read = list(profile.history[-self.signals.user.history_items :])
        vectors = self.signals.vectors[read]
        if profile.wished is not None:
            vectors = np.vstack([vectors, profile.wished])
        cosines = vectors @ self.signals.vectors[number]
        found = []
        for place in np.argsort(-cosines, kind="stable")[:REASONS]:
            if cosines[place] < NEAR:
                break
            if place < len(read):
                near = self.catalogue.items[read[place]]
                found.append({"item": near.id, "title": near.title, "cosine": round(float(cosines[place]), 3)})
            else:
                found.append({"wishes": profile.wishes[place - len(read)], "cosine": round(float(cosines[place]), 3)})
        return found

    # what comes in ----------------------------------------------------------------------------------------------------

    def take(self, events: Sequence[Event]) -> None:
        """Add events: they are on disk, and histories and popularity have them, when it returns.

        Raises:
            DataError: an unknown item, or a time that is no number; then none is taken in.
            SessionError: they cannot be written.
        """
        self.read_changes()
        self._numbers([event.item for event in events], "events")
        wrong = [event.time for event in events if not math.isfinite(event.time)]
        if wrong:
            raise DataError(f"events: the time {wrong[0]} is no number of seconds since 1970.")
        self.store.add_events(events)
        self.read_changes()

    def add_items(self, items: Sequence[Item]) -> None:
        """Add new items: they can be recommended from their text when it returns.

        Raises:
            DataError: an id that is there already, or twice; then none is taken in.
            SessionError: they cannot be written.
        """
        self.read_changes()
        ids = [item.id for item in items]
        taken = [id for id in ids if id in self.catalogue.number or ids.count(id) > 1]
        if taken:
            raise DataError(f"items: there is an item {taken[0]!r:.60} already. Give new items ids of their own.")
        if not items:
            return
        texts = [read_text(item) for item in items]
        vectors, weights = self.encode(texts)
        empty = [not text for text in texts]
        vectors[empty], weights[empty] = 0, np.median(self.signals.weights)
        self.store.add_items(
            NewItem(item=item, vector=vector, weight=float(weight))
            for item, vector, weight in zip(items, vectors, weights, strict=True)
        )
        self.read_changes()

    def forget(self, user: str) -> int:
        """Forget a user: the events are deleted, and count in no popularity once it is loaded again; how many.

        Raises SessionError: they cannot be deleted.
        """
        count = self.store.forget(user)
        self.read_changes()
        return count

    def read_changes(self) -> None:
        """Apply all changes of the store since the last call, from any process. Raises SessionError."""
        items: list[NewItem] = []
        for number, change in self.store.after(self._number):
            if isinstance(change, NewItem):
                items.append(change)
            else:
                self._add(items)
                items = []
                if isinstance(change, Event):
                    self._take(change)
                else:
                    self.users.pop(self._names.pop(change.digest, ""), None)
            self._number = number
        self._add(items)

    def _take(self, event: Event) -> None:
        number = self.catalogue.number.get(event.item)
        if number is None:  # two servers took in items of one id at once, or the file is another recommender's
            return
        if event.user not in self.users:
            self.users[event.user] = UserEvents()
            self._names[digest_of(event.user)] = event.user
        self.users[event.user].take(number, event.time, event.liked)
        if event.liked:
            self.signals.behaviour.take(number, event.time)

    def _add(self, items: Sequence[NewItem]) -> None:
        new = {one.item.id: one for one in items if one.item.id not in self.catalogue.number}
        if new:
            numbers = self.catalogue.add(one.item for one in new.values())
            vectors, weights = (np.stack([one.vector for one in new.values()]), [one.weight for one in new.values()])
            self.signals.add(numbers, vectors, np.array(weights, np.float32))

    # files ------------------------------------------------------------------------------------------------------------

    @classmethod
    def load(
        cls, folder: str | Path, bank: AdapterBank | None = None, *, base: str | None = None, device: str = "auto"
    ) -> Recommender:
        """A recommender from its folder.

        Args:
            folder: of the recommender.
            bank: of its base, that the item tower is loaded into; None: one of its own.
            base: of its own bank, where that has moved.
            device: of its own bank.

        Raises:
            ArtifactError: it is no recommender's, or damaged; SourceError: its base cannot be found; BankError: the
                bank has another adapter of the name.
        """
        from safetensors.numpy import load_file
        from safetensors.torch import load_file as load_module

        check_installed()
        folder = Path(folder)
        record = saved_record(folder)
        with _reading(folder):
            tensors = load_file(folder / TENSORS)
            user = UserTower(tensors["vectors"].shape[1], record["heads"], record["history_items"])
            user.load_state_dict(load_module(folder / TOWER))
            catalogue = Catalogue.read(folder / CATALOGUE)
            count = len(catalogue)
            shape = (tensors["indptr"], tensors["indices"], tensors["data"])
            signals = Signals(
                catalogue=catalogue,
                vectors=tensors["vectors"],
                weights=tensors["weights"],
                user=user.eval(),
                temperature=record["temperature"],
                behaviour=Behaviour.empty(record["half_life"], matrix(*shape, count)),
                trained=count,
            )
            most, retrieved, digest = record["max_item_tokens"], record["retrieved"], record["digest"]
        if len(signals.vectors) != count:
            raise ArtifactError(f"{folder / TENSORS}: has not the vectors of {CATALOGUE}. Train it again.")
        bank = bank_with(folder, {ADAPTER: digest}, bank, base=base or record["base"], device=device)
        ranker = Ranker.read(folder / RANKER)
        return cls(signals, ranker, encoder(bank, most), Store(folder / EVENTS), retrieved=retrieved)


def write(folder: Path, record: Mapping[str, Any], signals: Signals, ranker: Ranker, *, retrieved: int) -> None:
    """Write a recommender, but for its store, which is there already, and its item tower.

    Its record is written last: where that is, the rest is.

    Args:
        folder: of the recommender.
        record: `base`, `digest` of the item tower, `max_item_tokens`, and what else is to be known.
        signals: of all items.
        ranker: of what was retrieved.
        retrieved: items that each search hands to the ranker.
    """
    from safetensors.numpy import save as tensor_bytes
    from safetensors.torch import save as module_bytes

    signals.catalogue.save(folder / CATALOGUE)
    ranker.save(folder / RANKER)
    together = signals.behaviour.together
    tensors = {"vectors": signals.vectors, "weights": signals.weights}
    tensors |= {name: getattr(together, name) for name in ("indptr", "indices", "data")}
    state = {name: tensor.cpu().contiguous() for name, tensor in signals.user.state_dict().items()}
    given = {TENSORS: tensor_bytes({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})}
    for name, content in {**given, TOWER: module_bytes(state)}.items():
        with new_file(folder / name, text=False) as stream:
            stream.write(content)
    own = {
        "temperature": signals.temperature,
        "half_life": signals.behaviour.half_life,
        "retrieved": retrieved,
        "heads": signals.user.heads,
        "history_items": signals.user.history_items,
    }
    write_json(folder / RECORD, {**record, **own})


def encoder(bank: AdapterBank, most: int) -> Encode:
    """What encodes texts by the item tower in a bank, as in training.

    Args:
        bank: has it under the name `items`.
        most: tokens of a text that are read.
    """

    def encode(texts: Sequence[str]) -> ItemVectors:
        read = cut(bank.base, texts, most)
        answers = bank.predict([{"adapter": ADAPTER, "inputs": {"text": text}} for text in read])
        failed = [answer["error"] for answer in answers if "error" in answer]
        if failed:
            raise DataError(failed[0])
        weights = np.array([answer["output"]["value"] for answer in answers], np.float32)
        return normalized(bank.embed(read, ADAPTER)), weights

    return encode


def cut(base: Base, texts: Sequence[str], most: int) -> list[str]:
    """Texts up to the end of their last token that is read; a blank instead of an empty one."""
    tokenizer = base.word_tokenizer
    given = [valid_text(text or " ") for text in texts]
    found = tokenizer.encode_data(
        given, truncation=True, max_length=min(most, base.positions), return_offsets_mapping=True
    )
    ends = [max((end for _, end in offsets), default=0) for offsets in found["offset_mapping"]]
    return [text[:end] or " " for text, end in zip(given, ends, strict=True)]


def saved_record(folder: Path) -> dict[str, Any]:
    """The record saved with a recommender: `base` is how its base is found. Raises ArtifactError."""
    with _reading(folder):
        return record_in(folder / RECORD)


def _reading(folder: Path) -> AbstractContextManager[None]:
    return reading(folder, "recommender", "Give the folder that was trained.")


def _check(request: Request) -> None:
    """Raises DataError for a value out of range."""
    if not 1 <= request.number <= MOST:
        raise DataError(f"number: {request.number} must be from 1 to {MOST:,}.")
    if not 0 <= request.diversity <= 1:
        raise DataError(f"diversity: {request.diversity} must be from 0 to 1.")
    if len(request.history) > LONGEST_HISTORY:
        raise DataError(f"history: {len(request.history):,} items; give the last {LONGEST_HISTORY:,} at most.")


def _few(there: int, seen: int, items: int, request: Request) -> str:
    """Why there are fewer items than were asked for."""
    if seen >= items and not request.keep_seen:
        return f"the user has seen all {items:,} items; with keep_seen they are recommended again"
    given = {"candidates": request.candidates is not None, "tags": request.tags, "without_tags": request.without_tags}
    filters = [*(name for name, there in given.items() if there)]
    filters += ["max_price, which leaves out items without a price"] if request.max_price is not None else []
    by = ", ".join([*(["what the user has seen"] if seen and not request.keep_seen else []), *filters])
    return f"only {there:,} of {items:,} items {verb(there, 'are')} left by {by or 'what there is'}"
