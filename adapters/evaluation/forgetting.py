"""What is kept and what is lost when tasks are learned one after the other, from a matrix of scores.

a[i][j] is the score on task j after stage i; tasks are in the order learned, usually one a stage. A number that needs
a score which is missing is None, and `gaps` says which score that is: a mean over the others would be another number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Measures:
    """The published numbers of one matrix, in the unit of its scores; None where they are not known.

    Attributes:
        final_average: mean of the last row.
        averages: after each stage, the mean over the tasks learned so far.
        learning_accuracy: mean over tasks of the score directly after the task was learned (diagonal of the matrix).
        forgetting: mean drop from a task's best earlier score; above 0 where something was lost.
        backward: mean change since a task was learned; below 0 where something was lost.
        forward: how far a task's score before it is learned is above that of an untrained model.
        intransigence: how far the learning accuracy is below the score of a model trained on all tasks.
        gaps: what is missing, in words.
    """

    final_average: float | None
    averages: tuple[float | None, ...]
    learning_accuracy: float | None
    forgetting: float | None
    backward: float | None
    forward: float | None
    intransigence: float | None
    gaps: tuple[str, ...]


def measures(
    matrix: np.ndarray,
    *,
    learned: Sequence[int] | None = None,
    untrained: Sequence[float] | None = None,
    joint: Sequence[float] | None = None,
    names: Sequence[str] = (),
) -> Measures:
    """All numbers of a matrix.

    Args:
        matrix: `[stages, tasks]`, nan where not scored.
        learned: the stage in which each task was learned; None: one task a stage.
        untrained: the scores of a model that learned nothing, nan where not known.
        joint: the scores of a model trained on all tasks, nan where not known.
        names: of the tasks, for `gaps`; empty: their numbers.
    """
    at = _stages(matrix, learned).tolist()
    return Measures(
        final_average=_mean(matrix[-1]),
        averages=averages(matrix, learned=at),
        learning_accuracy=learning_accuracy(matrix, learned=at),
        forgetting=forgetting(matrix, learned=at),
        backward=backward_transfer(matrix, learned=at),
        forward=None if untrained is None else forward_transfer(matrix, untrained, learned=at),
        intransigence=None if joint is None else intransigence(matrix, joint, learned=at),
        gaps=gaps(matrix, learned=at, names=names),
    )


def averages(matrix: np.ndarray, *, learned: Sequence[int] | None = None) -> tuple[float | None, ...]:
    """After each stage, the mean over the tasks learned so far; the last one is the final average.

    A_k = 1/k Σ_{j≤k} a[k][j] (Chaudhry et al. 2018, "Riemannian walk for incremental learning", arXiv:1801.10112;
    the last one is ACC of Lopez-Paz & Ranzato 2017, arXiv:1706.08840).
    """
    at = _stages(matrix, learned)
    return tuple(_mean(row[at <= stage]) for stage, row in enumerate(matrix))


def learning_accuracy(matrix: np.ndarray, *, learned: Sequence[int] | None = None) -> float | None:
    """The mean score on task j directly after learning it, a[j][j] (LA; Riemer et al. 2019, arXiv:1810.11910)."""
    return _mean(_just_learned(matrix, learned))


def forgetting(matrix: np.ndarray, *, learned: Sequence[int] | None = None) -> float | None:
    """The mean over earlier tasks j of max_{l<T} a[l][j] - a[T][j] (Chaudhry et al. 2018, arXiv:1801.10112).

    The maximum is over all stages but the last, those before the task was learned as far as they were scored. None
    where another score is missing, and where no task was learned before the last stage.
    """
    at = _stages(matrix, learned)
    scored = matrix[:-1].copy()
    scored[(np.arange(len(scored))[:, None] < at) & np.isnan(scored)] = -np.inf
    earlier = at < len(matrix) - 1
    return _mean((scored.max(0, initial=-np.inf) - matrix[-1])[earlier])


def backward_transfer(matrix: np.ndarray, *, learned: Sequence[int] | None = None) -> float | None:
    """BWT = 1/(T-1) Σ_{j<T} (a[T][j] - a[j][j]) (Lopez-Paz & Ranzato 2017, arXiv:1706.08840)."""
    at = _stages(matrix, learned)
    return _mean((matrix[-1] - _just_learned(matrix, learned))[at < len(matrix) - 1])


def forward_transfer(
    matrix: np.ndarray, untrained: Sequence[float], *, learned: Sequence[int] | None = None
) -> float | None:
    """FWT = 1/(T-1) Σ_{j>1} (a[j-1][j] - b_j), b of a model that learned nothing (Lopez-Paz & Ranzato 2017)."""
    at = _stages(matrix, learned)
    later = np.flatnonzero(at > 0)
    return _mean(matrix[at[later] - 1, later] - np.asarray(untrained, np.float64)[later])


def intransigence(matrix: np.ndarray, joint: Sequence[float], *, learned: Sequence[int] | None = None) -> float | None:
    """The mean over tasks of a*_j - a[j][j] (Chaudhry et al. 2018, arXiv:1801.10112).

    There, a*_j is of a model trained on the tasks up to j together; here, of one trained on all of them (`joint`).
    """
    return _mean(np.asarray(joint, np.float64) - _just_learned(matrix, learned))


def gaps(matrix: np.ndarray, *, learned: Sequence[int] | None = None, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Of each stage whose score on a task learned by then is missing, which ones these are, in words."""
    at = _stages(matrix, learned)
    named = list(names) or [f"task {j + 1}" for j in range(matrix.shape[1])]
    out = []
    for stage, row in enumerate(matrix):
        missing = [named[j] for j in np.flatnonzero((at <= stage) & np.isnan(row))]
        if missing:
            after = " and ".join(named[j] for j in np.flatnonzero(at == stage)) or f"stage {stage + 1}"
            out.append(f"no score on {', '.join(missing)} after learning {after}")
    return tuple(out)


def _stages(matrix: np.ndarray, learned: Sequence[int] | None) -> np.ndarray:
    """int `[tasks]`, the stage in which each task was learned."""
    stages, tasks = matrix.shape
    at = np.arange(tasks) if learned is None else np.asarray(learned)
    assert len(at) == tasks and at.max() < stages, f"{stages} stages cannot have learned {tasks} tasks as told"
    return at


def _just_learned(matrix: np.ndarray, learned: Sequence[int] | None) -> np.ndarray:
    """`[tasks]`, each task's score after the stage that learned it."""
    at = _stages(matrix, learned)
    return np.asarray(matrix[at, np.arange(len(at))], np.float64)


def _mean(values: np.ndarray) -> float | None:
    """None of no values, and where one of them is missing."""
    return None if not len(values) or bool(np.isnan(values).any()) else float(values.mean())
