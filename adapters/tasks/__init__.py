"""Tasks: what a file of this folder offers, and the examples and predictions that pass between it and the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from adapters import discovery
from adapters.alignment import IGNORED, Pieces
from adapters.constraint import Lines, Stretch
from adapters.data import RowSource
from adapters.files import digest_value
from adapters.labels import LabelSet

if TYPE_CHECKING:
    import datasets
    import torch

ENCODER, CAUSAL, ENCODER_DECODER = "encoder", "causal", "encoder-decoder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One thing to predict: `inputs` under the task's column names, and the gold answer where it is known.

    `starts`: of each gold answer that stands in an input its first character there, where the data say so.
    """

    id: str
    inputs: Mapping[str, Any]
    gold: Any = None
    where: str = ""
    starts: tuple[int, ...] = ()

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
        written: what a prompted model wrote.
        unparsed: not all of what it wrote could be read.
        shots_dropped: demonstrations that did not fit in front of the input.
    """

    value: Any
    detail: Any = None
    truncated: bool = False
    written: str | None = None
    unparsed: bool = False
    shots_dropped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """One row of a model's input.

    Attributes:
        example: index among the examples encoded together; a long example has several rows.
        input_ids: pieces.
        targets: classes or pieces to learn, `IGNORED` where there is nothing to learn; as long as the task wants it.
        token_types: 0 or 1 a piece, where the tokenizer tells two texts apart so; else empty.
        detail: what the task needs to read the model's answer back.
    """

    example: int
    input_ids: list[int]
    targets: list[int]
    token_types: list[int] = field(default_factory=list)
    detail: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerForm:
    """How a prompted model shall write its answer.

    Attributes:
        format: one of the task's `answer_formats`.
        names: the words that stand for a label in the prompt, for labels that are not called by their own names.
        separator: text that ends an answer, so that none may hold it.
        where: the prompt's file, for messages.
    """

    format: str
    separator: str = "\n\n"
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: str = ""


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
    answer: str = ""
    """What an answer is, for metrics that compare answers of one sort alone: tags, label, labels."""
    metrics: tuple[str, ...]
    """The usual metrics; the first one's main score stands for the task."""
    highlights: ClassVar[bool] = False
    """Whether an output's `entities` can be shown inside its text."""
    peft_task: ClassVar[str] = ""
    """PEFT's task type whose folders without a card are taken for this task's."""
    free_labels: ClassVar[bool] = True
    """Whether classes may be called LABEL_0, LABEL_1, … where nobody says what they are."""
    has_head: ClassVar[bool] = True
    """Whether a head is drawn anew for the task; else the base generates with its own."""
    answer_formats: tuple[str, ...] = ()
    """Ways in which a prompted model can write its answer; none: the task cannot be prompted."""
    chosen_formats: tuple[str, ...] = ()
    """Those of them in which the answer is one of `choices`: their likelihoods are compared, and nothing is written."""
    holes: tuple[str, ...] = ()
    """Holes of a prompt that an example fills, each of which its query must have."""
    common_holes: ClassVar[tuple[str, ...]] = ()
    """Holes of a prompt that are the same for every example (the label names, say)."""

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

    def on(self, kind: str) -> Task:
        """The task as bases of a kind do it: itself, but where kinds do it in ways of their own."""
        return self

    @abstractmethod
    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """An example from a request's inputs. Raises DataError that names the inputs the task takes."""

    @abstractmethod
    def auto_class(self, kind: str) -> str:
        """The class of transformers that puts the task's head on a base of this kind (`AutoModelFor…`)."""

    @abstractmethod
    def encode(
        self, examples: Sequence[Example], pieces: Pieces, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """Model inputs of at most `budget` pieces, in the order of the examples; with targets if they are to be learnt.

        Without `learning` nothing of the gold answers may reach the inputs.
        """

    @abstractmethod
    def decode(
        self, examples: Sequence[Example], encoded: Sequence[Encoded], answers: Sequence[np.ndarray], pieces: Pieces
    ) -> list[Prediction]:
        """Predictions, one an example, from `answers` to each encoded row (`[pieces, …]`, `[classes]` or pieces)."""

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

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run the model; what `loss` holds against the targets. An encoder-decoder model is fed the targets, too.

        The model may be wrapped for several processes; its config is `config_of(model)`.
        """
        tensor: torch.Tensor = model(**inputs).logits
        return tensor

    def answers(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], pieces: Pieces
    ) -> Sequence[np.ndarray]:
        """Run the model on a batch; what `decode` reads, a row each: its logits, or the pieces that it generates."""
        return list(self.logits(model, inputs).float().cpu().numpy())

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """Where the head's bias begins: the log share of each class among the targets `[positions]`, a row each.

        A head that begins at the classes' shares has nothing to gain from pushing every position towards the frequent
        ones, which at the learning rates of adapters can wreck the body in the first steps (README, Results; the idea
        for rare classes: Lin et al. 2017, arXiv:1708.02002, sec. 4.1). None leaves the bias as it is.
        """
        if not self.has_head or not len(self.labels):
            return None
        counts = np.ones(len(self.labels))
        for row in targets:
            counts += np.bincount(row[row != IGNORED], minlength=len(counts))
        logs: np.ndarray = np.log(counts / counts.sum())
        return logs

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy summed over the labelled positions, in fp32, and how many there are (both scalars)."""
        import torch.nn.functional as f

        flat, wanted = logits.flatten(0, -2).float(), targets.flatten()
        return f.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum"), (wanted != IGNORED).sum()

    def check_form(self, form: AnswerForm) -> None:
        """Raises SettingsError where a prompt's way of answering cannot hold the task's labels."""
        raise AssertionError(f"{self.name} has no answer_formats, so nobody may ask")

    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """Texts for the holes: the common ones and, for an example, its own."""
        raise AssertionError(f"{self.name} has no answer_formats, so nobody may ask")

    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The gold answer as a prompted model shall write it."""
        raise AssertionError(f"{self.name} has no answer_formats, so nobody may ask")

    def constraint(self, example: Example, form: AnswerForm) -> Lines | Stretch | None:
        """What alone a prompted model may write of an example; None: anything."""
        return None

    def choices(self, form: AnswerForm) -> list[tuple[str, int]]:
        """For a format of `chosen_formats`: every text that may be the answer, and its class.

        `decode` is given log-probabilities `[classes]` of the answers as a head's answer.
        """
        raise AssertionError(f"{self.name} has no chosen_formats, so nobody may ask")

    def read_answer(self, example: Example, written: str, form: AnswerForm) -> Prediction:
        """What a prompted model wrote as a prediction, `unparsed` where a part of it could not be read."""
        raise AssertionError(f"{self.name} has no answer_formats, so nobody may ask")


def config_of(model: Any) -> Any:
    """The config of a model that may be wrapped for several processes."""
    return getattr(model, "module", model).config


def load(name: str, plugin_dirs: Sequence[str] = ()) -> type[Task]:
    """The task class of that name. Raises SettingsError with the names there are."""
    task = discovery.load("tasks", name, plugin_dirs).Task
    assert issubclass(task, Task), name
    return task  # type: ignore[no-any-return]
