"""Tasks: what a file of this folder offers, and the examples and predictions that pass between it and the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from adapters import discovery
from adapters.alignment import IGNORED, Pieces
from adapters.data import RowSource
from adapters.files import digest_value
from adapters.labels import LabelSet

if TYPE_CHECKING:
    import datasets
    import torch

ENCODER, CAUSAL, ENCODER_DECODER = "encoder", "causal", "encoder-decoder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One thing to predict: `inputs` under the task's column names, and the gold answer where it is known."""

    id: str
    inputs: Mapping[str, Any]
    gold: Any = None
    where: str = ""

    def digest(self) -> str:
        """sha256 of the inputs: equal inputs are the same example, whatever their id."""
        return digest_value(dict(self.inputs))


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a predictor says of one example.

    Attributes:
        value: the answer as metrics compare it with `Example.gold`.
        detail: what the task's `output` shows beside it (probabilities, say).
        truncated: a part of the input did not reach the model.
        unparsed: a prompted model's answer could not be read.
    """

    value: Any
    detail: Any = None
    truncated: bool = False
    unparsed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """One row of a model's input.

    Attributes:
        example: index among the examples encoded together; a long example has several rows.
        input_ids: pieces.
        targets: classes or pieces to learn, `IGNORED` where there is nothing to learn; as long as the task wants it.
        detail: what the task needs to read the model's answer back.
    """

    example: int
    input_ids: list[int]
    targets: list[int]
    detail: Any = None


class Examples(Sequence[Example]):
    """A split, memory-mapped: an example is made of its row when it is asked for."""

    def __init__(self, name: str, dataset: datasets.Dataset, task: type[Task], notes: Mapping[str, Any]) -> None:
        """Args:
        name: `train`, `validation` or `test`.
        dataset: rows in the task's own schema.
        task: makes an example of a row.
        notes: what is recorded of this split (its source, its digest, what was repaired).
        """
        self.name = name
        self.dataset = dataset
        self.task = task
        self.notes = dict(notes)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.dataset)

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> list[Example]: ...
    def __getitem__(self, at: int | slice) -> Example | list[Example]:
        """One example, or a list of those in a slice."""
        if isinstance(at, slice):
            chosen = range(*at.indices(len(self)))
            return [self.task.from_row(row) for row in self.dataset.select(chosen)]
        return self.task.from_row(self.dataset[at])

    def __iter__(self) -> Iterator[Example]:
        """Examples in order."""
        return (self.task.from_row(row) for row in self.dataset)

    def select(self, indices: Sequence[int], name: str = "", **notes: Any) -> Examples:
        """Some of the examples, still memory-mapped."""
        return Examples(name or self.name, self.dataset.select(indices), self.task, {**self.notes, **notes})


class Task(ABC):
    """What a file of this folder offers, as a class `Task`, beside its settings, a dataclass `Settings`.

    A task knows its columns, which kinds of base model it runs on, what head it needs, how examples become model inputs
    and how the model's answers become predictions. It knows neither methods nor training.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    """Kinds of base model that can do this task with a head or by generating: encoder, causal, encoder-decoder."""
    metrics: ClassVar[tuple[str, ...]]
    """The usual metrics; the first one's main score stands for the task."""
    highlights: ClassVar[bool] = False
    """Whether an output's `entities` can be shown inside its text."""

    labels: LabelSet

    @classmethod
    @abstractmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[Task, dict[str, Examples]]:
        """Read the splits there are, check them, and make the task from the labels of `train`. Raises DataError."""

    @classmethod
    @abstractmethod
    def from_card(cls, card: Mapping[str, Any]) -> Task:
        """The task as `card` described it."""

    @classmethod
    @abstractmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example from a row in the task's own schema."""

    @abstractmethod
    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """An example from a request's inputs. Raises DataError that names the inputs the task takes."""

    @abstractmethod
    def auto_class(self, kind: str) -> str:
        """The class of transformers that puts the task's head on a base of this kind (`AutoModelFor…`)."""

    @abstractmethod
    def encode(self, examples: Sequence[Example], pieces: Pieces, budget: int) -> list[Encoded]:
        """Model inputs of at most `budget` pieces, in the order of the examples."""

    @abstractmethod
    def decode(
        self, examples: Sequence[Example], encoded: Sequence[Encoded], logits: Sequence[np.ndarray]
    ) -> list[Prediction]:
        """Predictions, one an example, from the model's answers to each encoded row (`[pieces, …]` or `[classes]`)."""

    @abstractmethod
    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The prediction as it is given to users, JSON values only."""

    def card(self) -> dict[str, Any]:
        """What `from_card` needs to make this task again."""
        return {"name": self.name, "labels": list(self.labels.names)}

    def config(self) -> dict[str, Any]:
        """Changes to the base model's config that give the head its size and its label names."""
        names = dict(enumerate(self.labels.names))
        return {"num_labels": len(names), "id2label": names, "label2id": {n: i for i, n in names.items()}}

    def logits(self, outputs: Any) -> torch.Tensor:
        """The part of a model's outputs that `loss` and `decode` read."""
        tensor: torch.Tensor = outputs.logits
        return tensor

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy summed over the labelled positions, in fp32, and how many there are (both scalars)."""
        import torch.nn.functional as f

        flat, wanted = logits.flatten(0, -2).float(), targets.flatten()
        return f.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum"), (wanted != IGNORED).sum()


def load(name: str, plugin_dirs: Sequence[str] = ()) -> type[Task]:
    """The task class of that name. Raises SettingsError with the names there are."""
    task = discovery.load("tasks", name, plugin_dirs).Task
    assert issubclass(task, Task), name
    return task  # type: ignore[no-any-return]
