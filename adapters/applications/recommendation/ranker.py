"""The order of what was retrieved: LightGBM's lambdarank over the signals of an item, learned on dev."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters.applications.recommendation.signals import FEATURES, SEARCHED, ItemSignals, Signals
from adapters.core.errors import ArtifactError

OPTIONS = {
    "objective": "lambdarank",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "lambda_l2": 1.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
    "lambdarank_truncation_level": 20,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
"""Chosen on MovieLens's dev: nDCG@10 of what was retrieved, in three folds of its 83 users: 17.1; with 7 leaves 16.9,
with all features and cases 16.8 (7 leaves, 150 rounds). Differences of half a point are chance."""
ROUNDS = 100
MORE_IS_BETTER = ("similarity", "words", "together", "recent", "cosine", "weight", "nearest", "popularity", "tags")
"""Features of which more never counts against an item, all else equal: few cases then teach less that is chance."""
WISHED, NEARNESS = 50, 0.8
"""Items that are retrieved by wishes, at most; and how near each is, as a share of the nearest one's."""
FEWEST = 10
"""Cases with a target among what was retrieved that a ranker needs to learn."""


class Ranker:
    """Trees that score an item's features, or the similarity alone where there was too little to learn from."""

    def __init__(self, booster: Any = None) -> None:
        """Args: booster: LightGBM's; None ranks by similarity."""
        self.booster = booster

    @classmethod
    def learned(cls, groups: Sequence[tuple[np.ndarray, np.ndarray]], seed: int) -> Ranker:
        """A ranker of groups of (features `[items, features]`, bool `[items]` whether an item is a target)."""
        import lightgbm

        useful = [(rows, right) for rows, right in groups if right.any() and not right.all()]
        if len(useful) < FEWEST:
            return cls()
        data = lightgbm.Dataset(
            np.vstack([rows for rows, _ in useful]),
            np.concatenate([right for _, right in useful]).astype(int),
            group=[len(right) for _, right in useful],
            feature_name=list(FEATURES),
        )
        signs = [int(name in MORE_IS_BETTER) for name in FEATURES]
        return cls(lightgbm.train({**OPTIONS, "seed": seed, "monotone_constraints": signs}, data, ROUNDS))

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """float64 `[items]`, of features `[items, features]`."""
        if self.booster is None or not len(rows):
            return rows[:, FEATURES.index("similarity")].astype(float)
        found: np.ndarray = self.booster.predict(rows, num_threads=1)
        return found

    def gains(self) -> dict[str, float]:
        """By feature, its share of the gain of all splits; empty without trees."""
        if self.booster is None:
            return {}
        gains = self.booster.feature_importance("gain")
        return dict(zip(FEATURES, (gains / max(gains.sum(), 1e-12)).round(4).tolist(), strict=True))

    def save(self, path: Path) -> None:
        """Write it as LightGBM's text."""
        from adapters.core.files import write_text

        write_text(path, self.booster.model_to_string() if self.booster is not None else "")

    @classmethod
    def read(cls, path: Path) -> Ranker:
        """What `save` wrote. Raises ArtifactError."""
        import lightgbm

        try:
            text = path.read_text(encoding="utf-8")
            return cls(lightgbm.Booster(model_str=text) if text else None)
        except (OSError, ValueError, lightgbm.basic.LightGBMError) as error:
            raise ArtifactError(f"{path}: no ranker of a recommender ({error!r:.200}). Train it again.") from error


def retrieved(found: ItemSignals, allowed: np.ndarray, most: int) -> np.ndarray:
    """Numbers of the allowed items with the highest values of any searched signal, each once, in ascending order.

    A signal of 0 carries no information on an item, except for the similarity.

    Args:
        found: signals of all items.
        allowed: bool `[items]`.
        most: of each signal.
    """
    first, *others = SEARCHED
    chosen = [highest(np.where(allowed, found.searched[first], -np.inf), most)]
    for name in others:
        values = found.searched[name]
        chosen.append(highest(np.where(allowed & (values > 0), values, -np.inf), most))
    return np.unique(np.concatenate(chosen))


def highest(values: np.ndarray, most: int) -> np.ndarray:
    """The places of the highest finite values, in no order."""
    found: np.ndarray = np.arange(len(values)) if len(values) <= most else np.argpartition(-values, most)[:most]
    finite: np.ndarray = found[np.isfinite(values[found])]
    return finite


def ranked(signals: Signals, ranker: Ranker, found: ItemSignals, allowed: np.ndarray, most: int) -> np.ndarray:
    """float64 `[items]`: scores of all allowed items, -inf of the others.

    What was retrieved has the ranker's scores, above all others, which follow in the order of their similarity. Where
    there are wishes, what is nearest to them is retrieved, and the rest follows in that order; without a history, which
    the ranker has learned from, all are in that order.
    """
    follow = found.searched["similarity"] if found.wished is None else found.wished
    scores = np.where(allowed, follow.astype(float) - float(follow.max(initial=0.0)) - 1, -np.inf)  # all below 0
    if found.wished is None:
        numbers = retrieved(found, allowed, most)
    else:
        near = np.where(allowed, found.wished, -np.inf)
        numbers = highest(np.where(near >= NEARNESS * near.max(initial=0.0), near, -np.inf), WISHED)
    own = (
        ranker.scores(signals.rows(found, numbers))
        if found.wished is None or found.profile.history
        else follow[numbers]
    )
    scores[numbers] = own - own.min(initial=0.0)
    return scores
