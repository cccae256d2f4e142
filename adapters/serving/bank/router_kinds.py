"""How a router scores features for each adapter: by class means, by Mahalanobis distance, or by a classifier.

Each learns one adapter at a time and needs no text of the others again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import numpy as np

from adapters.core.errors import DataError

Tensors = Mapping[str, np.ndarray]
LEAST_SHRINKAGE = 1e-8
"""Keeps the covariance invertible if a feature is the same in all texts."""


class Scorer(ABC):
    """Scores features for adapters.

    Attributes:
        counts: number of texts by adapter.
    """

    name: str

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """Names of the adapters, sorted: the order of scores and tensors, however they were added."""
        return sorted(self.counts)

    def add(self, name: str, features: np.ndarray) -> None:
        """Learn a new adapter from the features of its texts, `[texts, hidden]`, each of length one."""
        self.counts[name] = len(features)

    def remove(self, name: str) -> None:
        """Forget an adapter."""
        del self.counts[name]

    @abstractmethod
    def scores(self, features: np.ndarray) -> np.ndarray:
        """`[texts, adapters]`, the higher the better the adapter fits. Raises DataError if too little was learnt."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """All that is stored."""

    @classmethod
    @abstractmethod
    def shapes(cls, counts: Mapping[str, int], hidden: int) -> dict[str, tuple[int, ...]]:
        """The shapes of `tensors`."""

    @classmethod
    @abstractmethod
    def restore(cls, counts: Mapping[str, int], tensors: Tensors) -> Self:
        """The scorer that had these counts and tensors."""


class Means(Scorer):
    """The negative squared Euclidean distance to the mean of an adapter's texts (a nearest centroid)."""

    name = "means"

    def __init__(self) -> None:
        super().__init__()
        self.means: dict[str, np.ndarray] = {}

    def add(self, name: str, features: np.ndarray) -> None:
        """Store the mean."""
        super().add(name, features)
        self.means[name] = features.mean(0)

    def remove(self, name: str) -> None:
        """Forget the mean."""
        super().remove(name)
        del self.means[name]

    def centres(self) -> np.ndarray:
        """The means, `[adapters, hidden]`."""
        return np.stack([self.means[name] for name in self.names])

    def scores(self, features: np.ndarray) -> np.ndarray:
        """`-‖x - mean‖²`."""
        return -_squared_distances(features, self.centres())

    def tensors(self) -> dict[str, np.ndarray]:
        """The means."""
        return {"means": self.centres()}

    @classmethod
    def shapes(cls, counts: Mapping[str, int], hidden: int) -> dict[str, tuple[int, ...]]:
        """Of the means."""
        return {"means": (len(counts), hidden)}

    @classmethod
    def restore(cls, counts: Mapping[str, int], tensors: Tensors) -> Self:
        """From the means."""
        made = cls()
        made.counts = {name: counts[name] for name in sorted(counts)}
        made.means = dict(zip(made.names, tensors["means"], strict=True))
        return made


class Mahalanobis(Means):
    """The log-density of a Gaussian with the adapter's mean and one covariance that all share (Lee et al. 2018).

    The covariance is that of all texts around their own adapter's mean, shrunk as by Ledoit and Wolf (2004): its sums
    grow with each adapter. A removed adapter's texts stay in them, as they cannot be told apart; its mean goes.
    """

    name = "mahalanobis"

    def __init__(self) -> None:
        super().__init__()
        self.scatter = np.zeros((0, 0))
        """Sum of the outer products of texts around their mean, `[hidden, hidden]`."""
        self.texts, self.fourth = 0, 0.0
        """Number of texts in it, and the sum of the fourth powers of their distances from their mean."""
        self._root: np.ndarray | None = None

    def add(self, name: str, features: np.ndarray) -> None:
        """Store the mean, and add to the sums."""
        super().add(name, features)
        around = features - self.means[name]
        product = around.T @ around
        self.scatter = self.scatter + product if self.texts else product
        self.texts += len(features)
        self.fourth += float((np.square(around).sum(1) ** 2).sum())
        self._root = None

    def covariance(self) -> tuple[np.ndarray, float]:
        """The shared covariance, `[hidden, hidden]`, and its shrinkage: the share of a multiple of the identity.

        Equal to scikit-learn's `LedoitWolf(assume_centered=True)` of the texts around their means.
        """
        size = len(self.scatter)
        empirical = self.scatter / self.texts
        mean = float(np.trace(empirical)) / size
        if not mean > 0:
            raise DataError(
                "Each adapter's texts have the same features, so they have no covariance. Give at least two different "
                "texts of an adapter, or choose the kind means."
            )
        squares = float(np.square(empirical).sum())
        noise = max((self.fourth / self.texts - squares) / self.texts, 0.0)
        spread = squares - size * mean**2
        shrinkage = 1.0 if noise >= spread else max(noise / spread, LEAST_SHRINKAGE)
        shrunk = (1 - shrinkage) * empirical
        shrunk.flat[:: size + 1] += shrinkage * mean
        return shrunk, shrinkage

    def scores(self, features: np.ndarray) -> np.ndarray:
        """`-½ (x - mean)ᵀ Σ⁻¹ (x - mean)`."""
        from scipy.linalg import solve_triangular

        root = self._root
        if root is None:
            root = self._root = np.linalg.cholesky(self.covariance()[0])
        white, centres = (solve_triangular(root, rows.T, lower=True).T for rows in (features, self.centres()))
        return -0.5 * _squared_distances(white, centres)

    def tensors(self) -> dict[str, np.ndarray]:
        """The means, half of the symmetric sums, and the two numbers."""
        half = self.scatter[np.tril_indices(len(self.scatter))]
        return {**super().tensors(), "scatter": half, "moments": np.array([self.texts, self.fourth])}

    @classmethod
    def shapes(cls, counts: Mapping[str, int], hidden: int) -> dict[str, tuple[int, ...]]:
        """Of the means, half of the sums, and the two numbers."""
        return {**super().shapes(counts, hidden), "scatter": (hidden * (hidden + 1) // 2,), "moments": (2,)}

    @classmethod
    def restore(cls, counts: Mapping[str, int], tensors: Tensors) -> Self:
        """From the means and the sums."""
        made = super().restore(counts, tensors)
        hidden = tensors["means"].shape[1]
        scatter = np.zeros((hidden, hidden))
        scatter[np.tril_indices(hidden)] = tensors["scatter"]
        made.scatter = scatter + np.tril(scatter, -1).T
        made.texts, made.fourth = int(tensors["moments"][0]), float(tensors["moments"][1])
        return made


class Classifier(Scorer):
    """The logit of a multinomial logistic regression in which all adapters weigh the same.

    Logits tell texts of no adapter better than probabilities (Hendrycks et al. 2022). It keeps the features of all
    texts (4 bytes a number), without which it could not learn another adapter.
    """

    name = "classifier"

    def __init__(self) -> None:
        super().__init__()
        self.features: dict[str, np.ndarray] = {}
        self._linear: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, name: str, features: np.ndarray) -> None:
        """Store the features."""
        super().add(name, features)
        self.features[name] = features.astype(np.float32)
        self._linear = None

    def remove(self, name: str) -> None:
        """Forget the features."""
        super().remove(name)
        del self.features[name]
        self._linear = None

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights `[adapters, hidden]` and bias `[adapters]` of the logits, fitted if an adapter came or went."""
        if self._linear is None:
            self._linear = self._fitted()
        return self._linear

    def _fitted(self) -> tuple[np.ndarray, np.ndarray]:
        rows = np.concatenate([self.features[name] for name in self.names]).astype(np.float64)
        if len(self.names) == 1:
            return np.zeros((1, rows.shape[1])), np.zeros(1)
        from sklearn.linear_model import LogisticRegression

        labels = np.repeat(np.arange(len(self.names)), [self.counts[name] for name in self.names])
        centre, scale = rows.mean(0), rows.std(0)
        scale[scale == 0] = 1.0
        fitted = LogisticRegression(class_weight="balanced", max_iter=1000).fit((rows - centre) / scale, labels)
        weight, bias = fitted.coef_, fitted.intercept_
        if len(weight) == 1:  # of two classes scikit-learn has the log-odds of the second
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        weight = weight / scale
        return weight, bias - weight @ centre

    def scores(self, features: np.ndarray) -> np.ndarray:
        """The logits."""
        weight, bias = self.linear()
        found: np.ndarray = features @ weight.T + bias
        return found

    def tensors(self) -> dict[str, np.ndarray]:
        """The features, adapter after adapter, and what was fitted to them."""
        weight, bias = self.linear()
        return {
            "features": np.concatenate([self.features[name] for name in self.names]),
            "weight": weight,
            "bias": bias,
        }

    @classmethod
    def shapes(cls, counts: Mapping[str, int], hidden: int) -> dict[str, tuple[int, ...]]:
        """Of the features, the weights and the bias."""
        adapters = len(counts)
        return {"features": (sum(counts.values()), hidden), "weight": (adapters, hidden), "bias": (adapters,)}

    @classmethod
    def restore(cls, counts: Mapping[str, int], tensors: Tensors) -> Self:
        """From the features, the weights and the bias."""
        made = cls()
        made.counts = {name: counts[name] for name in sorted(counts)}
        ends = np.cumsum([*made.counts.values()])[:-1]
        made.features = dict(zip(made.names, np.split(tensors["features"], ends), strict=True))
        made._linear = tensors["weight"], tensors["bias"]
        return made


KINDS: Mapping[str, type[Scorer]] = {kind.name: kind for kind in (Means, Mahalanobis, Classifier)}


def _squared_distances(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """`[rows, centres]`."""
    from scipy.spatial.distance import cdist

    found: np.ndarray = cdist(rows, centres, "sqeuclidean")
    return found
