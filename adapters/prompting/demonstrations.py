"""Selection and order of the demonstrations (shots)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from adapters.core.errors import SettingsError, there_are
from adapters.tasks.base.example import Example

SELECTIONS = ("random", "balanced", "hardest", "nearest")
CANDIDATES = 200
"""Number of training examples, sampled by the seed, among which the hardest or nearest are chosen."""
REFERENCE, LEAST_REFERENCE = 128, 8
"""Training texts over which the calibration `batch` takes its mean, and the fewest that tell something of a class's
share. Zhou et al. 2023 (arXiv:2309.17249), sec. 5, find little gain beyond some tens."""


def draw(train: Sequence[Example], number: int, seed: int) -> list[Example]:
    """Sample `number` training examples, ordered by the seed. Raises SettingsError if there are fewer."""
    if number > len(train):
        raise SettingsError(
            f"--shots {number}: {there_are(len(train), 'training examples')}. Give at most --shots {len(train)}."
        )
    chosen = random.Random(f"shots/{seed}").sample(range(len(train)), number)
    return [train[i] for i in chosen]


def balanced(train: Sequence[Example], number: int, seed: int) -> list[Example]:
    """Sample `number` training examples, equally many of each class (or one more), in a random order by the seed.

    Raises SettingsError if there are too few, or gold answers are not single labels.
    """
    order = draw(train, len(train), seed)
    if not all(isinstance(example.gold, str) for example in order):
        raise SettingsError("--shot_selection balanced: only for tasks whose answer is one label. Use random.")
    draw(train, number, seed)
    of_class: dict[str, list[Example]] = {}
    for example in order:
        of_class.setdefault(example.gold, []).append(example)
    chosen: list[Example] = []
    while len(chosen) < number:  # a class without further examples is skipped
        next_of_each = [examples.pop() for examples in of_class.values() if examples]
        chosen += next_of_each[: number - len(chosen)]
    random.Random(f"balanced/{seed}").shuffle(chosen)
    return chosen


def hardest(
    train: Sequence[Example], number: int, seed: int, likelihood: Callable[[list[Example]], Sequence[float | None]]
) -> tuple[list[Example], int]:
    """The candidates whose gold answer is least likely to the model without shots, in a random order.

    Args:
        train: the training examples.
        number: of shots.
        seed: for candidates and order.
        likelihood: log-probabilities of the gold answers, by the prompted model without shots; None of a candidate that
            does not fit into its prompt.

    Returns:
        The shots, and the number of candidates that were left out as they do not fit.

    Raises:
        SettingsError: there are fewer candidates.
    """
    candidates = draw(train, min(len(train), max(CANDIDATES, number)), seed)
    draw(candidates, number, seed)
    found = [(value, one) for value, one in zip(likelihood(candidates), candidates, strict=True) if value is not None]
    left_out = len(candidates) - len(found)
    if number > len(found):
        raise SettingsError(
            f"--shots {number}: of {len(candidates)} candidates for the hardest, {left_out} do not fit into the "
            f"prompt. Give at most --shots {len(found)}, or another --shot_selection."
        )
    order = np.argsort([value for value, _ in found], kind="stable")
    return draw([found[i][1] for i in order[:number]], number, seed), left_out


def reference(train: Sequence[Example], shots: Sequence[Example]) -> list[Example]:
    """Training texts, always the same ones and none of them a shot, whose mean probabilities `batch` takes out.

    A shot is left out because a prompt that shows it knows its answer. Raises SettingsError if there are too few.
    """
    drawn = draw(train, min(len(train), REFERENCE + len(shots)), 0)
    shown = [shot.inputs for shot in shots]
    found = [example for example in drawn if example.inputs not in shown][:REFERENCE]
    if len(found) < LEAST_REFERENCE:
        raise SettingsError(
            f"--calibration batch: takes the mean over {LEAST_REFERENCE} or more training texts that are no shots, and "
            f"there are {len(found)}. Give more of them (--train_file), or --calibration contextual."
        )
    return found


class Nearest:
    """The candidates most similar to each query; the most similar is last, directly before the query."""

    def __init__(self, candidates: Sequence[Example], number: int, embed: Callable[[list[str]], np.ndarray]) -> None:
        """Args:
        candidates: training examples.
        number: of shots.
        embed: vectors `[texts, width]` of texts.
        """
        self.candidates, self.number, self.embed = list(candidates), number, embed
        self.vectors = _unit(embed([text_of(example) for example in candidates]))

    def of(self, examples: Sequence[Example]) -> list[list[Example]]:
        """The shots of each example; the example itself is excluded from its candidates."""
        similarities = _unit(self.embed([text_of(example) for example in examples])) @ self.vectors.T
        out = []
        for example, row in zip(examples, similarities, strict=True):
            order = [self.candidates[i] for i in np.argsort(-row, kind="stable")]
            others = [one for one in order if one.inputs != example.inputs]
            out.append(others[: self.number][::-1])
        return out


def text_of(example: Example) -> str:
    """The text of an example's inputs, for an encoder."""
    texts = [
        value if isinstance(value, str) else " ".join(map(str, value))
        for name, value in example.inputs.items()
        if name != "offsets" and not (name == "tokens" and "text" in example.inputs)
    ]
    return " ".join(texts)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)  # type: ignore[no-any-return]
