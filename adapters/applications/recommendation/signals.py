"""The signals of an item for a user at a moment: similarity, words, behaviour, popularity, age, tags and price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters.applications.base.lexical import words
from adapters.applications.recommendation.behaviour import SECONDS_PER_DAY, Behaviour
from adapters.applications.recommendation.catalogue import Catalogue
from adapters.applications.recommendation.towers import UserTower

SEARCHED = ("similarity", "words", "together", "recent")
"""Signals by whose highest values items are retrieved."""
FEATURES = (
    *SEARCHED,
    "cosine",
    "weight",
    "nearest",
    "popularity",
    "age",
    "tags",
    "price",
    "history",
)
"""Numbers of an item by which the ranker decides, in order."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is known of a user.

    Attributes:
        history: numbers of liked items, each once, the oldest first.
        wishes: sentences in which the user says what is wanted.
        wished: float32 `[wishes, hidden]`, their vectors.
    """

    history: tuple[int, ...] = ()
    wishes: tuple[str, ...] = ()
    wished: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class ItemSignals:
    """The signals of all items for one user.

    Attributes:
        searched: by name, float32 `[items]`.
        cosine: of the user's vector and each item's.
        near: float32 `[read, hidden]`, vectors of what was read of the history, wishes last.
        wished: float32 `[items]`, how near each item is to the wishes, by its vector and its words; None without any.
        profile: the user.
        at: the moment, seconds.
    """

    searched: dict[str, np.ndarray]
    cosine: np.ndarray
    near: np.ndarray
    wished: np.ndarray | None
    profile: Profile
    at: float


@dataclass(kw_only=True)
class Signals:
    """Items and users' behaviour, ready to be searched.

    Attributes:
        catalogue: the items.
        vectors: float32 `[items, hidden]`, of length 1.
        weights: float32 `[items]`.
        user: the user tower.
        temperature: divides the cosines.
        behaviour: as of a moment.
        trained: number of items that were there when the recommender was made.
    """

    catalogue: Catalogue
    vectors: np.ndarray
    weights: np.ndarray
    user: UserTower
    temperature: float
    behaviour: Behaviour
    trained: int
    _words: Any = field(default=None, repr=False)
    _tags: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Weigh words and tags by how rare they are among the items that the recommender was made of."""
        first = range(self.trained)
        items = self.catalogue.items
        self._words = TfidfIndex(words, [items[n].text for n in first], [item.text for item in items])
        self._tags = TfidfIndex(list, [items[n].tags for n in first], [item.tags for item in items])
        self._read_facts()

    def _read_facts(self) -> None:
        """Prices, dates and tags of all items; nan where one is not known."""
        items = self.catalogue.items
        self.prices = np.array([np.nan if item.price is None else item.price for item in items], float)
        self._dates = np.array([np.nan if item.published is None else item.published for item in items], float)
        self._of_tag: dict[str, list[int]] = {}
        for number, item in enumerate(items):
            for tag in item.tags:
                self._of_tag.setdefault(tag.lower(), []).append(number)

    def having(self, tags: Sequence[str]) -> list[int]:
        """Numbers of the items that have one of some tags, whatever their case."""
        return [number for tag in tags for number in self._of_tag.get(tag.lower(), ())]

    def tags(self) -> list[str]:
        """All tags in lower case."""
        return [*self._of_tag]

    def with_words(self, text: str) -> np.ndarray:
        """float32 `[items]`: the share of a text's words in the items' texts, weighed by how rare they are."""
        found: np.ndarray = self._words.share(text)
        return found

    def add(self, numbers: Sequence[int], vectors: np.ndarray, weights: np.ndarray) -> None:
        """Add the items at the end of the catalogue."""
        self.vectors, self.weights = np.vstack([self.vectors, vectors]), np.append(self.weights, weights)
        items = [self.catalogue.items[number] for number in numbers]
        self._words.add([item.text for item in items])
        self._tags.add([item.tags for item in items])
        self.behaviour.add(len(items))
        self._read_facts()

    def near(self, profile: Profile) -> np.ndarray:
        """float32 `[read, hidden]`: vectors of the latest items of a history that have one, then of the wishes."""
        near = self.vectors[self._recent(profile)]
        if profile.wished is not None:
            near = np.vstack([near, profile.wished])
        found: np.ndarray = near[np.any(near != 0, axis=1)]
        return found

    def _recent(self, profile: Profile) -> list[int]:
        return list(profile.history[-self.user.history_items :])

    def users(self, profiles: Sequence[Profile]) -> np.ndarray:
        """float32 `[profiles, hidden]`: what the user tower makes of each, in large batches."""
        return self.user.vectors(self.near(profile) for profile in profiles)

    def of(self, profile: Profile, at: float, user: np.ndarray | None = None) -> ItemSignals:
        """The signals of all items.

        Args:
            profile: of a user.
            at: the moment, seconds.
            user: float32 `[hidden]`, the profile's row of `users`, where that is known.
        """
        recent, near = self._recent(profile), self.near(profile)
        words, wished = self._words.with_profile(recent, profile.wishes), None
        cosine = self.vectors @ (self.user.vectors([near])[0] if user is None else user)
        if profile.wished is not None:
            # Vector by vector: a product with a narrow matrix takes NumPy several times as long.
            asked = [self.vectors @ one for one in profile.wished]
            wished = np.max(asked, axis=0) + (self._words.with_profile((), profile.wishes) if recent else words)
        searched = {
            "similarity": cosine / self.temperature + self.weights,
            "words": words,
            "together": self.behaviour.with_history(recent),
            "recent": np.log1p(self.behaviour.popularity(at)).astype(np.float32),
        }
        return ItemSignals(searched=searched, cosine=cosine, near=near, wished=wished, profile=profile, at=at)

    def rows(self, found: ItemSignals, numbers: np.ndarray) -> np.ndarray:
        """float32 `[items, features]`: the features of some items, in the order of `FEATURES`; nan is not known."""
        history = list(found.profile.history)
        near = self.vectors[numbers] @ found.near.T if len(found.near) else np.zeros((len(numbers), 1))
        paid = np.log1p(self.prices[history])
        price = paid[np.isfinite(paid)].mean() if np.isfinite(paid).any() else np.nan
        columns = [
            *(found.searched[name][numbers] for name in SEARCHED),
            found.cosine[numbers],
            self.weights[numbers],
            near.max(1),
            np.log1p(self.behaviour.count[numbers]),
            np.log1p(np.maximum(found.at - self._dates[numbers], 0) / SECONDS_PER_DAY),
            self._tags.with_profile(history, (), numbers),
            np.log1p(self.prices[numbers]) - price,
            np.full(len(numbers), np.log1p(len(history))),
        ]
        return np.stack(columns, 1).astype(np.float32)


class TfidfIndex:
    """Words or tags of items as sparse vectors of length 1, weighed by how rare they are (scikit-learn's TF-IDF)."""

    def __init__(self, analyzer: Any, first: Sequence[Any], all_items: Sequence[Any]) -> None:
        """Args:
        analyzer: from an item's text or tags to a list.
        first: what the weights are learned from.
        all_items: what is searched; it begins with `first`.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(analyzer=analyzer, sublinear_tf=True, dtype=np.float32)
        self._empty = not any(analyzer(one) for one in first)
        if not self._empty:
            self._vectorizer.fit(first)
            self._matrix = self._vectorizer.transform(all_items)
        self._analyzer, self._count, self._learned = analyzer, len(all_items), len(first)
        self._later: dict[str, list[int]] = {}
        """By a word that has no weight, the items that came later and have it."""
        self._note(all_items[len(first) :], len(first))

    def _note(self, items: Sequence[Any], begin: int) -> None:
        known = {} if self._empty else self._vectorizer.vocabulary_
        for number, item in enumerate(items, begin):
            for word in {word for word in self._analyzer(item) if word not in known}:
                self._later.setdefault(word, []).append(number)

    def add(self, items: Sequence[Any]) -> None:
        """Add further items."""
        from scipy.sparse import vstack

        self._note(items, self._count)
        self._count += len(items)
        if not self._empty:
            self._matrix = vstack([self._matrix, self._vectorizer.transform(items)], format="csr")

    def share(self, text: Any) -> np.ndarray:
        """float32 `[items]`: the share of a text's words that an item has, each weighed by its inverse document
        frequency; a word that came with later items weighs as one that no item had."""
        asked = {*self._analyzer(text)}
        known = {} if self._empty else self._vectorizer.vocabulary_
        columns = [known[word] for word in sorted(asked) if word in known]
        rarest = np.log(1 + self._learned) + 1  # scikit-learn's, of a word in no document
        found = np.zeros(self._count, np.float32)
        whole = rarest * (len(asked) - len(columns))
        if columns:
            weights = self._vectorizer.idf_[columns]
            found += (self._matrix[:, columns] > 0) @ weights.astype(np.float32)
            whole += weights.sum()
        for word in (word for word in asked if word not in known):
            found[self._later.get(word, [])] += rarest
        return found / np.float32(whole) if whole else found

    def with_profile(
        self, history: Sequence[int], texts: Sequence[Any] = (), numbers: np.ndarray | None = None
    ) -> np.ndarray:
        """float32 `[items]`: inner products with the mean of a history's vectors and of further texts'.

        Args:
            history: numbers of items.
            texts: that count as items of the history.
            numbers: of the items; None: all.
        """
        count = len(history) + len(texts)
        if self._empty or not count:
            return np.zeros(self._count if numbers is None else len(numbers), np.float32)
        mean = self._matrix[list(history)].sum(0)
        if texts:
            mean = mean + self._vectorizer.transform(texts).sum(0)
        matrix = self._matrix if numbers is None else self._matrix[numbers]
        found: np.ndarray = np.asarray(matrix @ np.asarray(mean, np.float32).ravel() / count, np.float32)
        return found
