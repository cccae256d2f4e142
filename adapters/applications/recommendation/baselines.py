"""The baselines of a recommender: popularity, item-kNN, BM25 on the history, and implicit's ALS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adapters.applications.base.lexical import Lexical
from adapters.applications.recommendation.behaviour import Behaviour
from adapters.applications.recommendation.catalogue import Catalogue
from adapters.applications.recommendation.events import Case, Events
from adapters.core.environment import require_libraries

Score = Callable[[Case], np.ndarray]
"""From a case to scores of all items, float `[items]`, of which only the order counts."""
READ = 20
"""Items of a history that BM25 asks for, the last ones: a query of more takes long and finds less."""
FACTORS, ALPHA, REGULARIZATION, ITERATIONS = 64, 10.0, 0.05, 20
"""Of ALS: dimensions; weight of a like over none (Hu et al. 2008); implicit's own defaults of the rest but for 64."""


def popularity(behaviour: Behaviour) -> Score:
    """All users' likes before the test, the same for everybody."""
    return lambda case: behaviour.count


def item_knn(behaviour: Behaviour) -> Score:
    """Items that the users of the history's items like (Sarwar et al. 2001)."""
    return lambda case: behaviour.with_history(case.history)


def bm25(catalogue: Catalogue) -> Score:
    """Items with the words of the history's texts, by BM25."""
    texts = catalogue.texts()
    index = Lexical(texts)
    return lambda case: index.scores(" ".join(texts[number] for number in case.history[-READ:]))


def als(events: Events, items: int, seed: int) -> Score:
    """implicit's alternating least squares on the likes before the test; a user's factors are those of the history.

    Raises SettingsError where implicit is missing.
    """
    require_libraries("--als", ["implicit"], "test")
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    liked = events.likes
    matrix = csr_matrix((np.ones(len(liked), np.float32), (liked.users, liked.items)), (len(liked.names), items))
    matrix.data[:] = ALPHA
    model: Any = AlternatingLeastSquares(
        factors=FACTORS, regularization=REGULARIZATION, iterations=ITERATIONS, random_state=seed, num_threads=1
    )
    model.fit(matrix, show_progress=False)

    def score(case: Case) -> np.ndarray:
        if not case.history:
            return np.zeros(items)
        row = csr_matrix(
            (np.full(len(case.history), ALPHA, np.float32), ([0] * len(case.history), list(case.history))), (1, items)
        )
        factors = model.recalculate_user(0, row)
        found: np.ndarray = model.item_factors @ np.asarray(factors).ravel()
        return found

    return score
