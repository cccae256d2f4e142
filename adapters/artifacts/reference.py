"""The `reference` of a card: what the trained predictor says on dev, with which a server compares its answers.

Each text falls into one category by its labels, one by its confidence and one by its share of unknown tokens, so that
the counts of texts in a server are one sample of these categories and those of dev another.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adapters.core.errors import ArtifactError
from adapters.tasks.base.observation import Observation

MOST_SETS = 200
"""Sets of labels with a category of their own, the most frequent ones; all others share one."""
DIGITS = 6
"""Decimals to which values are rounded: a batch of another size changes later ones."""
CONFIDENCES = (
    *(n / 20 for n in range(1, 18)),
    *(n / 100 for n in range(88, 98, 2)),
    *(n / 1000 for n in range(970, 1000, 3)),
    0.9995,
    0.9999,
)
"""Cuts between confidences, denser where models are sure."""
UNKNOWN = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Cuts between shares of unknown tokens."""


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """Which labels the answers on dev have.

    Attributes:
        shares: of the texts with each label.
        none: share of the texts without any.
        sets: the labels of one text, a category each.
        counts: dev's texts of each set, then of all other sets.
    """

    shares: Mapping[str, float]
    none: float
    sets: tuple[tuple[str, ...], ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, answers: Sequence[tuple[str, ...]], names: Sequence[str]) -> LabelCounts:
        """The counts of some answers; `names` are listed even where no answer has them."""
        found = Counter(answers)
        kept = sorted(found, key=lambda labels: (-found[labels], labels))[:MOST_SETS]
        counts = [found[labels] for labels in kept]
        each = Counter(label for labels in answers for label in labels)
        return cls(
            shares={name: each[name] / len(answers) for name in dict.fromkeys((*names, *sorted(each)))},
            none=found[()] / len(answers),
            sets=tuple(kept),
            counts=(*counts, len(answers) - sum(counts)),
        )

    @cached_property
    def _places(self) -> dict[tuple[str, ...], int]:
        return {labels: number for number, labels in enumerate(self.sets)}

    def category(self, labels: tuple[str, ...]) -> int:
        """The index of the count that a text with these labels adds to."""
        return self._places.get(labels, len(self.sets))

    def record(self) -> dict[str, Any]:
        """As JSON."""
        sets = [{"labels": list(labels), "texts": texts} for labels, texts in zip(self.sets, self.counts, strict=False)]
        return {"shares": dict(self.shares), "none": self.none, "sets": sets, "other": self.counts[-1]}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> LabelCounts:
        """What `record` gave."""
        return cls(
            shares={str(name): float(share) for name, share in record["shares"].items()},
            none=float(record["none"]),
            sets=tuple(tuple(map(str, one["labels"])) for one in record["sets"]),
            counts=(*(_whole(one["texts"]) for one in record["sets"]), _whole(record["other"])),
        )


@dataclass(frozen=True, kw_only=True)
class ValueCounts:
    """How a number of each text is distributed on dev.

    Attributes:
        mean: on dev.
        deciles: of dev's values.
        cuts: between the categories; they are the same for every dev split, as cuts at the deciles of a small one would
            let a test of equal frequencies raise twice the stated number of false alarms.
        counts: dev's texts with values up to each cut and above the one before, then of those above the last.
    """

    mean: float
    deciles: tuple[float, ...]
    cuts: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: Sequence[float], cuts: tuple[float, ...]) -> ValueCounts:
        """The counts of some values between some cuts."""
        rounded = np.round(np.asarray(values, dtype=np.float64), DIGITS)
        deciles = np.quantile(rounded, np.arange(1, 10) / 10, method="inverted_cdf")
        counts = np.bincount(np.searchsorted(cuts, rounded), minlength=len(cuts) + 1)
        return cls(
            mean=round(float(rounded.mean()), DIGITS),
            deciles=tuple(deciles.tolist()),
            cuts=cuts,
            counts=tuple(counts.tolist()),
        )

    def category(self, value: float) -> int:
        """The index of the count that a text with this value adds to."""
        return bisect_left(self.cuts, round(value, DIGITS))

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "mean": self.mean,
            "deciles": list(self.deciles),
            "cuts": list(self.cuts),
            "counts": list(self.counts),
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> ValueCounts:
        """What `record` gave."""
        cuts, counts = tuple(map(float, record["cuts"])), tuple(map(_whole, record["counts"]))
        if len(counts) != len(cuts) + 1 or any(low >= high for low, high in itertools.pairwise(cuts)):
            raise ValueError("cuts must increase, with one more count than there are cuts")
        deciles = tuple(map(float, record["deciles"]))
        return cls(mean=float(record["mean"]), deciles=deciles, cuts=cuts, counts=counts)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a predictor says on dev. What a task or a base does not have is None.

    Attributes:
        texts: number of dev examples that were counted.
        labels: of the answers.
        confidence: the probability of each answer.
        unknown: the share of each text's tokens that are unknown.
        tokens: mean number per text, special ones included.
    """

    texts: int
    labels: LabelCounts | None = None
    confidence: ValueCounts | None = None
    unknown: ValueCounts | None = None
    tokens: float | None = None

    @classmethod
    def of(cls, observations: Sequence[Observation], names: Sequence[str]) -> Reference:
        """The reference of some texts, at least one. `names` are the labels that the task counts."""
        labels = [one.labels for one in observations if one.labels is not None]
        confidences = [one.confidence for one in observations if one.confidence is not None]
        tokens = [one.tokens for one in observations if one.tokens is not None]
        unknown = [share for one in observations if (share := unknown_share(one)) is not None]
        return cls(
            texts=len(observations),
            labels=LabelCounts.of(labels, names) if labels else None,
            confidence=ValueCounts.of(confidences, CONFIDENCES) if confidences else None,
            unknown=ValueCounts.of(unknown, UNKNOWN) if unknown else None,
            tokens=round(float(np.mean(tokens)), 2) if tokens else None,
        )

    def record(self) -> dict[str, Any]:
        """As JSON, for a card; what there is not is left out."""
        parts = {"labels": self.labels, "confidence": self.confidence, "unknown": self.unknown}
        there = {name: part.record() for name, part in parts.items() if part is not None}
        return {"texts": self.texts, **there, **({} if self.tokens is None else {"tokens": self.tokens})}

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Reference | None:
        """The reference in a card; None where it has none. Raises ArtifactError if it cannot be one."""
        record = card.get("reference")
        if record is None:
            return None
        try:
            return cls(
                texts=_whole(record["texts"]),
                labels=LabelCounts.of_record(record["labels"]) if "labels" in record else None,
                confidence=ValueCounts.of_record(record["confidence"]) if "confidence" in record else None,
                unknown=ValueCounts.of_record(record["unknown"]) if "unknown" in record else None,
                tokens=float(record["tokens"]) if "tokens" in record else None,
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"the card's reference cannot be read ({type(error).__name__}: {error}). Train the adapter again."
            ) from error


def unknown_share(observation: Observation) -> float | None:
    """The share of a text's tokens that are unknown; None where that is not known."""
    if observation.unknown is None or not observation.tokens:
        return None
    return observation.unknown / observation.tokens


def _whole(value: Any) -> int:
    """A count. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a count, found {value!r:.40}")
    return value
