"""Experience replay: some examples of each task are kept, and learned again with every later task.

Chaudhry et al. 2019, "On tiny episodic memories in continual learning", arXiv:1902.10486, where half of what a step
learns from is remembered: here half of an epoch, in which remembered examples are repeated. Herding: Welling 2009, as
in iCaRL (Rebuffi et al. 2017, arXiv:1611.07725), on the frozen base's features.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from adapters.core.errors import ModelError
from adapters.core.search_space import Choice, Space
from adapters.core.settings import require
from adapters.experiments.continual.sequence import SequenceTask
from adapters.experiments.continual.strategies import base
from adapters.experiments.continual.strategies.base.strategy import bytes_of
from adapters.tasks.base.example import Example, Examples

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

CHOICES = ("random", "balanced", "herding")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Experience replay."""

    replay_examples: int = 50
    """Examples of each task that are kept."""
    replay_per_class: int | None = None
    """Examples of each class that are kept, instead of --replay_examples."""
    replay_share: float = 0.5
    """Share of the remembered examples in an epoch, in which they are repeated; each is there at least once."""
    replay_selection: str = "balanced"
    """Which are kept: random; balanced, as many of each class; or herding, those of each class whose mean feature is
    nearest the class's."""


class Strategy(base.Strategy):
    """Trains on the present task's data and on the memory."""

    name = "replay"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(settings.replay_examples >= 1, "replay_examples", settings.replay_examples, "at least 1")
        each = settings.replay_per_class
        require(each is None or each >= 1, "replay_per_class", each, "at least 1")
        share = settings.replay_share
        require(0 <= share < 1, "replay_share", share, "from 0 to below 1")
        selection = settings.replay_selection
        require(selection in CHOICES, "replay_selection", selection, " or ".join(CHOICES))
        needed = "balanced or herding with --replay_per_class"
        require(each is None or selection != "random", "replay_selection", selection, needed)
        self.memory: dict[str, list[int]] = {}
        self.size = 0

    @classmethod
    def search_space(cls) -> Space:
        """The share of the remembered examples."""
        return {"replay_share": Choice(0.1, 0.3, 0.5, 0.7)}

    def parts(self, stage: base.Stage) -> list[tuple[int, Examples]]:
        """The present task's training data, and what is kept of the tasks before."""
        present, share = super().parts(stage), self.settings.replay_share
        kept = [(one, i) for one in stage.learned for i in self.memory[one.name]]
        wanted = round(sum(len(part) for _, part in present) * share / (1 - share))
        repeated = _repeated(kept, wanted, random.Random(f"replay/{self._draw}/{len(stage.learned)}"))
        remembered = [
            (stage.number(one), one.train.select([i for of, i in repeated if of is one])) for one in stage.learned
        ]
        return [*present, *remembered]

    @property
    def _draw(self) -> str:
        """What random draws depend on: the run's seed and order."""
        return f"{self.settings.seed}/{self.settings.order_number}"

    def after_training(self, stage: base.Stage) -> None:
        """Keep examples of the present task."""
        for one in stage.present:
            chosen = select(one, self.settings, stage.features)
            self.memory[one.name] = chosen
            self.size += sum(bytes_of(one.train[i]) for i in chosen)
            if len(chosen) == len(one.train):
                stage.say(f"{one.name}: all its {len(chosen)} training examples are kept")

    def kept(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Numbers of the examples that are kept."""
        return {}, {"memory": self.memory, "bytes": self.size}

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Take the memory back."""
        self.memory, self.size = dict(values["memory"]), values["bytes"]

    def memory_bytes(self) -> int:
        """Bytes of the kept examples, as JSON."""
        return self.size


def select(task: SequenceTask, settings: Any, features: Callable[[Sequence[Example]], np.ndarray]) -> list[int]:
    """Numbers of the training examples that are kept of a task, in order.

    Args:
        task: whose training data are chosen from.
        settings: of the strategy.
        features: `[examples, hidden]` of examples, for herding.

    Raises:
        ModelError: examples have no single class to balance by.
    """
    generator = random.Random(f"replay/{settings.seed}/{settings.order_number}/{task.name}")
    wanted = min(settings.replay_examples, len(task.train))
    if settings.replay_selection == "random":
        return sorted(generator.sample(range(len(task.train)), wanted))
    of_class = _by_class(task)
    for members in of_class.values():
        generator.shuffle(members)
    if settings.replay_selection == "herding":
        of_class = {label: _herded(members, task, features) for label, members in of_class.items()}
    if settings.replay_per_class is not None:
        return sorted({i for members in of_class.values() for i in members[: settings.replay_per_class]})
    chosen: dict[int, None] = {}
    for round_ in range(len(task.train)):
        for members in of_class.values():
            if round_ < len(members) and len(chosen) < wanted:
                chosen.setdefault(members[round_])
    return sorted(chosen)


def _by_class(task: SequenceTask) -> dict[str, list[int]]:
    """Numbers of the training examples of each class; of tagged words, of each entity type in them, and of none."""
    found: dict[str, list[int]] = {name: [] for name in task.task.label_names()}
    for number, example in enumerate(task.train):
        if isinstance(example.gold, str):
            found[example.gold].append(number)
        elif isinstance(example.gold, list):
            types = {tag.partition("-")[2] for tag in example.gold if tag != "O"}
            for name in sorted(types) or [""]:
                found.setdefault(name, []).append(number)
        else:
            raise ModelError(f"{task.name}: --replay_selection balanced needs labels. Use random.")
    return found


def _herded(
    members: Sequence[int], task: SequenceTask, features: Callable[[Sequence[Example]], np.ndarray]
) -> list[int]:
    """The members in the order in which herding takes them: the mean of the first k is as near the mean as can be."""
    if not members:
        return []
    found = features([task.train[i] for i in members]).astype(np.float64)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    mean, chosen, total = found.mean(0), list[int](), np.zeros(found.shape[1])
    for count in range(1, len(members) + 1):
        distance = np.linalg.norm(mean - (total + found) / count, axis=1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
        total += found[chosen[-1]]
    return [members[i] for i in chosen]


def _repeated(kept: Sequence[T], wanted: int, generator: random.Random) -> list[T]:
    """As many as are wanted, each as often as the others or once more; all of them if fewer are wanted."""
    if not kept:
        return []
    times, more = divmod(max(wanted, len(kept)), len(kept))
    return [*kept] * times + generator.sample([*kept], more)
