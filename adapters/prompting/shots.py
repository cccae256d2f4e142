"""Which training examples are shown as demonstrations, and in which order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.errors import SettingsError
from adapters.tasks import Example

if TYPE_CHECKING:
    from adapters.model import Base

SELECTIONS = ("random", "balanced", "hardest", "nearest")
CANDIDATES = 200
"""Training examples, drawn by the seed, among which the hardest or the nearest are looked for."""


def draw(train: Sequence[Example], number: int, seed: int) -> list[Example]:
    """So many different training examples, drawn and ordered by the seed. Raises SettingsError if there are fewer."""
    if number > len(train):
        raise SettingsError(
            f"--shots {number}: there are {len(train)} training examples. Give at most --shots {len(train)}."
        )
    chosen = random.Random(f"shots/{seed}").sample(range(len(train)), number)
    return [train[i] for i in chosen]


def balanced(train: Sequence[Example], number: int, seed: int) -> list[Example]:
    """So many training examples, of each class as many as of any other (or one more), in an order drawn by the seed.

    Raises SettingsError where there are too few, or gold answers are no classes.
    """
    order = draw(train, len(train), seed)
    if not all(isinstance(example.gold, str) for example in order):
        raise SettingsError("--shot_selection balanced: is for tasks whose answer is one label. Use random.")
    draw(train, number, seed)
    of_class: dict[str, list[Example]] = {}
    for example in order:
        of_class.setdefault(example.gold, []).append(example)
    chosen: list[Example] = []
    while len(chosen) < number:  # a class that has no more gives its turn to the others
        turn = [examples.pop() for examples in of_class.values() if examples]
        chosen += turn[: number - len(chosen)]
    random.Random(f"balanced/{seed}").shuffle(chosen)
    return chosen


def hardest(
    train: Sequence[Example], number: int, seed: int, likelihood: Callable[[list[Example]], Sequence[float]]
) -> list[Example]:
    """Of some candidates those whose gold answer is least likely to the model without shots, in an order drawn.

    Args:
        train: the training examples.
        number: of shots.
        seed: draws the candidates and the order.
        likelihood: of the gold answers, by the prompted model without shots.
    """
    candidates = draw(train, min(len(train), max(CANDIDATES, number)), seed)
    draw(candidates, number, seed)
    order = np.argsort(np.asarray(likelihood(candidates)), kind="stable")
    return draw([candidates[i] for i in order[:number]], number, seed)


class Nearest:
    """For each query the candidates that are nearest to it, the nearest last, right in front of the query."""

    def __init__(self, candidates: Sequence[Example], number: int, embed: Callable[[list[str]], np.ndarray]) -> None:
        """Args:
        candidates: training examples.
        number: of shots.
        embed: vectors `[texts, width]` of texts.
        """
        self.candidates, self.number, self.embed = list(candidates), number, embed
        self.vectors = _unit(embed([text_of(example) for example in candidates]))

    def of(self, examples: Sequence[Example]) -> list[list[Example]]:
        """The shots of each example; itself, if it is among the candidates, is none of them."""
        near = _unit(self.embed([text_of(example) for example in examples])) @ self.vectors.T
        out = []
        for example, row in zip(examples, near, strict=True):
            order = [self.candidates[i] for i in np.argsort(-row, kind="stable")]
            others = [one for one in order if one.inputs != example.inputs]
            out.append(others[: self.number][::-1])
        return out


def text_of(example: Example) -> str:
    """What an example's inputs say, for an encoder."""
    said = [
        value if isinstance(value, str) else " ".join(map(str, value))
        for name, value in example.inputs.items()
        if name != "offsets" and not (name == "tokens" and "text" in example.inputs)
    ]
    return " ".join(said)


def encoder(name: str) -> Callable[[list[str]], np.ndarray]:
    """The mean of an encoder's last hidden states for each text: what sentence encoders such as minilm were trained to
    compare. Raises SourceError, ModelError."""
    from adapters.embedding import Task
    from adapters.heads import Heads
    from adapters.mixed import NOTHING, MixedBody
    from adapters.mixed_inference import MixedInference, Placed
    from adapters.model import open_base

    base: Base = open_base(name)
    model: Any = base.load_body().eval().requires_grad_(False)
    mixed = MixedBody(model.base_model, base)
    task = Task()
    placed = Placed(slot=NOTHING, task=task, budget=min(base.positions, 256), head=Heads(base, "cpu").none(task))
    inference = MixedInference(model, base, mixed, batch_pieces=4096)

    def embed(texts: list[str]) -> np.ndarray:
        found = inference.predict([(placed, Example(id="", inputs={"text": text or " "})) for text in texts])
        return np.stack([prediction.value for prediction in found])

    return embed


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)  # type: ignore[no-any-return]
