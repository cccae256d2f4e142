"""What a task's file offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from adapters.core import discovery
from adapters.core.errors import ModelError, SettingsError
from adapters.data.labels import LabelSet
from adapters.data.rows import RowSource
from adapters.models.tokenizer import IGNORED, WordTokenizer
from adapters.tasks.base.answer_constraints import LinesConstraint, SpanConstraint
from adapters.tasks.base.example import Encoded, Example, Examples, Prediction
from adapters.tasks.base.explained import Alternatives, Span, Target, Traced, Word, text_without, words_of

if TYPE_CHECKING:
    import datasets
    import torch


class Objective(Protocol):
    """All that the trainer needs of what it learns: a task, or what a method learns in its place."""

    target_type: ClassVar[str]
    """Type of a target, by its name in NumPy and Arrow."""

    def card(self) -> dict[str, Any]:
        """What the encoded rows depend on, as JSON."""

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """Model inputs and targets of examples."""

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """The initial value of the head's bias; None leaves it as it is."""

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the model says of a batch, which `loss` compares with the targets."""

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss summed over all targets, and their number."""


class InferenceTask(ABC):
    """How requests become model inputs, and a model's answers predictions: all that a predictor needs of a task."""

    name: ClassVar[str]
    step: ClassVar[str] = ""
    """What it does in a pipeline from texts to relations: `entities`, `relation`, or nothing."""

    @abstractmethod
    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """An example from a request's inputs. Raises DataError that names the inputs the task takes."""

    @abstractmethod
    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """Model inputs of at most `budget` tokens, in the order of the examples; for `learning` with their targets.

        Without `learning` nothing of the gold answers may reach the inputs.
        """

    @abstractmethod
    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        """One prediction per example, from `answers` to each encoded row (`[tokens, …]`, `[classes]` or tokens)."""

    @abstractmethod
    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The prediction as users receive it, JSON values only."""

    def sample_request(self) -> str | dict[str, str]:
        """Inputs that the task takes, as a model card shows them."""
        return "A text."

    def request_columns(self) -> Sequence[Sequence[str]]:
        """Columns of which a request has all; the likeliest first where there are several ways to ask."""
        sample = self.sample_request()
        return (("text",) if isinstance(sample, str) else (*sample,),)

    def counted(self, prediction: Prediction) -> tuple[str, ...] | None:
        """The labels in an answer, each once and in order, by which drift is noticed; None: answers are not labels."""
        return None

    def confidence(self, prediction: Prediction) -> float | None:
        """The model's probability of its answer, by which drift is noticed; None where it has none."""
        return None

    def card(self) -> dict[str, Any]:
        """The task's description, as JSON."""
        return {"name": self.name}

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The model's scores, which `loss` compares with the targets. An encoder-decoder model is fed the targets, too.

        The model may be wrapped for several processes; its config is `config_of(model)`.
        """
        tensor: torch.Tensor = model(**inputs).logits
        return tensor

    def answers(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], tokenizer: WordTokenizer
    ) -> Sequence[np.ndarray]:
        """What `decode` reads of a batch, one array per row: its logits, or the tokens that the model generates."""
        return list(self.logits(model, inputs).float().cpu().numpy())


class Task(InferenceTask):
    """What a file of this folder offers, as a class `Task`, alongside its settings, a dataclass `Settings`.

    A task knows its columns, the kinds of base model that it runs on, the head that it needs, how examples become model
    inputs, and how the model's answers become predictions. It knows neither methods nor training.
    """

    kinds: ClassVar[tuple[str, ...]]
    """Kinds of base model that can do this task with a head or by generating: encoder, causal, encoder-decoder."""
    answer: str = ""
    """What an answer is, for metrics that compare one type of answer only: tags, label, labels, text, number."""
    metrics: tuple[str, ...]
    """The usual metrics; the first one's main score represents the task."""
    highlights: ClassVar[bool] = False
    """Whether an output's `entities` can be shown inside its text."""
    peft_task: ClassVar[str] = ""
    """PEFT's task type; a PEFT folder of that type without a card is read as this task's, if `takes_head`."""
    free_labels: ClassVar[bool] = True
    """Whether classes without given names may be called LABEL_0, LABEL_1, …."""
    target_type: ClassVar[str] = "int32"
    """Type of a target, by its name in NumPy and Arrow: int32 for classes and tokens, float32 for numbers, of which
    none is `IGNORED`."""
    has_head: ClassVar[bool] = True
    """Whether the task has a head of its own, initialised anew; else the base generates with the one it has."""

    labels: LabelSet

    @classmethod
    @abstractmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[Task, dict[str, Examples]]:
        """Read and check the given splits, and make the task from the labels of `train`. Raises DataError."""

    @classmethod
    def read_to_learn(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[Task, dict[str, Examples]]:
        """As `read`, of data that something is to be learned from, or that prompts choose by. Raises DataError."""
        task, splits = cls.read(sources, settings)
        task.check_splits(splits)
        return task, splits

    def check_splits(self, splits: Mapping[str, Examples]) -> None:
        """Raises DataError where there is nothing to tell apart. Of data that an artifact is scored on it is not asked:
        texts of one class, or without entities, show its false alarms."""

    @classmethod
    @abstractmethod
    def from_card(cls, card: Mapping[str, Any]) -> Task:
        """The task that `card` described."""

    @classmethod
    def of_head(
        cls,
        labels: Sequence[str],
        *,
        multi_label: bool | None = None,
        pair: bool | None = None,
        problem: str | None = None,
    ) -> Task:
        """The task of a model that others trained, for which there is no card.

        Args:
            labels: of its head, in order; none if the model generates.
            multi_label: whether a text has any number of labels; None if not known.
            pair: whether an input is two texts; None if not known.
            problem: `problem_type` of the model's config.

        Raises:
            SettingsError: the task has no such alternative.
            DataError: the labels do not fit the task.
        """
        for name, value in (("multi_label", multi_label), ("pair", pair)):
            if value is not None:
                raise SettingsError(f"{name}: the task {cls.name} has no such alternative; leave it out.")
        return cls.from_card({"labels": list(labels)})

    @classmethod
    def takes_head(cls, outputs: int, *, multi_label: bool | None, problem: str | None) -> bool:
        """Whether a model's head can be this task's, where several tasks have one `peft_task`; see `of_head`.

        Args:
            outputs: numbers in an output of the head; 0 if not known.
            multi_label: as of `of_head`.
            problem: as of `of_head`.
        """
        return True

    @classmethod
    @abstractmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example from a row in the task's own schema."""

    @classmethod
    def label_counts(cls, dataset: datasets.Dataset) -> Counter[str]:
        """How often each label occurs among stored rows; empty where answers are not labels."""
        return Counter()

    def label_names(self) -> tuple[str, ...]:
        """The names that `label_counts` counts."""
        return self.labels.names

    def counted(self, prediction: Prediction) -> tuple[str, ...] | None:
        """The task's labels in an answer that is a label or a list of them; of one that could not be read, none."""
        if not len(self.labels):
            return None
        given = prediction.value if isinstance(prediction.value, list) else [prediction.value]
        found = {one for one in given if isinstance(one, str)}
        return tuple(name for name in self.labels.names if name in found)

    def gold_output(self, example: Example) -> Any:
        """The gold answer as people read it, JSON values only."""
        return example.gold

    def on(self, kind: str) -> Task:
        """The task for base models of a kind; another object where kinds do it differently."""
        return self

    @abstractmethod
    def auto_class(self, kind: str) -> str:
        """The class of transformers that puts the task's head on a base of this kind (`AutoModelFor…`)."""

    def card(self) -> dict[str, Any]:
        """What `from_card` needs to make this task again."""
        return {**super().card(), "labels": list(self.labels.names)}

    def config(self) -> dict[str, Any]:
        """Changes to the base model's config that set the head's size and its label names."""
        names = dict(enumerate(self.labels.names))
        return {"num_labels": len(names), "id2label": names, "label2id": {n: i for i, n in names.items()}}

    def shown_inputs(self, example: Example) -> dict[str, Any]:
        """The inputs of an example for people; of words in a text, the text."""
        return {key: value for key, value in example.inputs.items() if "text" not in example.inputs or key != "offsets"}

    def plain_texts(self, example: Example) -> list[str]:
        """The texts that a method without a base model reads of an example: one, or the two of a pair."""
        return [example.inputs[name] for name in ("text", "text_pair") if name in example.inputs]

    def explained_texts(self, example: Example) -> dict[str, str]:
        """The texts of an example whose words explain an answer, by their column. Default: all its texts."""
        return {name: value for name, value in example.inputs.items() if isinstance(value, str)}

    def words(self, example: Example) -> list[Word]:
        """The words of those texts, in order."""
        return words_of(self.explained_texts(example))

    def without(self, example: Example, words: Sequence[Word], erased: np.ndarray) -> Example:
        """An example from whose texts some words are deleted, with all that lies in them where it then is.

        Args:
            example: the example.
            words: of it, as of `words`.
            erased: bool `[words]`.

        Raises ModelError where inputs have places that would change: tokens, tags.
        """
        inputs = example.inputs
        if self.answer == "tags" or any(not isinstance(inputs.get(word.column), str) for word in words):
            raise ModelError(f"Words of {self.name} have places, which would change if some were deleted.")
        return replace(example, inputs=text_without(example, words, erased))

    def traced(self, example: Example, tokenizer: WordTokenizer, budget: int) -> Traced:
        """The words of each token of the rows that `encode` makes of an example.

        Raises ModelError where the task cannot tell: its answers are then explained by occlusion alone.
        """
        raise ModelError(f"The task {self.name} does not say which tokens are of which word. Use --method occlusion.")

    def target(self, example: Example, prediction: Prediction, wanted: str | None = None) -> Target:
        """The part of an answer that is explained.

        Args:
            example: the example.
            prediction: the answer to it.
            wanted: a label, an entity or another part, as the task names them; None for what was answered.

        Raises:
            DataError: there is no such part.
            ModelError: answers of the task have no scores that could be explained.
        """
        raise ModelError(
            f"Answers of the task {self.name} are no labels, entities, spans or numbers, so no score of them can be "
            "explained."
        )

    def alternatives(self, target: Target, encoded: Sequence[Encoded], answers: Sequence[Any]) -> list[Alternatives]:
        """The scores of a target, of which it is one or more choices.

        Args:
            target: of this task.
            encoded: all rows of one example, or those of them on which the target's scores depend.
            answers: what `decode` reads of each row, as arrays of NumPy or torch.
        """
        raise ModelError(f"The task {self.name} has no scores that could be explained.")

    def logits_of(self, prediction: Prediction) -> np.ndarray | None:
        """What a head would have said for an answer, `[classes]`, up to what no probability depends on.

        None where the answer does not tell. By it answers of predictors without a head are explained.
        """
        return None

    def plain_span(self, example: Example, text: int, start: int, end: int) -> Span | None:
        """The characters of an input that are those of one of `plain_texts`; None for what is added to it."""
        return list(self.explained_texts(example))[text], start, end

    def remarks(self, tokenizer: WordTokenizer) -> list[str]:
        """What is done with this base in another way than usual, each in a sentence. Default: nothing."""
        return []

    def cautions(self, examples: Sequence[Example], tokenizer: WordTokenizer) -> list[str]:
        """What of some examples this base can neither learn nor predict, each in a sentence. Default: nothing."""
        return []

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """The head bias's initial value: each class's log share among the targets, one `[positions]` per row.

        A head that starts at the classes' shares gains nothing from pushing every position towards the frequent
        ones, which at the learning rates of adapters can wreck the body in the first steps (docs/results.md; the idea
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
        """Cross-entropy summed over the labelled positions, in fp32, and their number (both scalars)."""
        import torch.nn.functional as f

        flat, wanted = logits.flatten(0, -2).float(), targets.flatten()
        return f.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum"), (wanted != IGNORED).sum()


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerForm:
    """How a prompted model is to write its answer.

    Attributes:
        format: one of the task's `answer_formats`.
        separator: text that ends an answer, so that no answer may contain it.
        verbalizer: a label's words in the prompt, for labels that have other words than their names.
        where: the prompt's file, for messages.
    """

    format: str
    separator: str = "\n\n"
    verbalizer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: str = ""


class PromptableTask(Task):
    """A task that a model can also do from a prompt: how its answer is written, constrained and read."""

    answer_formats: ClassVar[tuple[str, ...]]
    """Formats in which a prompted model can write its answer."""
    chosen_formats: ClassVar[tuple[str, ...]] = ()
    """Those in which the answer is one of `choices`: their likelihoods are compared, and nothing is generated."""
    common_placeholders: ClassVar[tuple[str, ...]] = ()
    """Placeholders that have the same value for every example (the label names, say)."""

    @property
    @abstractmethod
    def placeholders(self) -> tuple[str, ...]:
        """Placeholders that an example fills, each of which a prompt's query must have."""

    def check_form(self, form: AnswerForm) -> None:
        """Raises SettingsError where answers in this form cannot express the task's labels. Default: any form can."""

    @abstractmethod
    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """Values of the common placeholders and, for an example, of its own."""

    def content_free(self, example: Example, text: str) -> Example:
        """An example that says nothing, by which answers are calibrated: this text in the place of each of its own."""
        return replace(example, inputs=dict.fromkeys(example.inputs, text), gold=None)

    @abstractmethod
    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The gold answer as a prompted model is to write it."""

    def constraint(self, example: Example, form: AnswerForm) -> LinesConstraint | SpanConstraint | None:
        """The answers that constrained decoding allows for an example; None allows any."""
        return None

    def choices(self, form: AnswerForm) -> list[tuple[str, int]]:
        """For a format of `chosen_formats`: every text that may be the answer, and its class.

        `decode` receives log-probabilities `[classes]` of the answers in place of a head's logits.
        """
        return []

    @abstractmethod
    def read_answer(self, example: Example, written: str, form: AnswerForm) -> Prediction:
        """The prediction in a generated answer, `parse_failure` where a part of it could not be read."""


def promptable(task: Task) -> PromptableTask:
    """The task, if it can be prompted. Raises ModelError if not."""
    if not isinstance(task, PromptableTask):
        raise ModelError(
            f"The task {task.name} cannot be prompted; train a method for it. In a comparison, --methods without the "
            "prompted ones."
        )
    return task


def config_of(model: Any) -> Any:
    """The config of a model that may be wrapped for several processes."""
    return getattr(model, "module", model).config


def load_task(name: str, plugin_dirs: Sequence[str] = ()) -> type[Task]:
    """The task class of that name. Raises SettingsError with the known names."""
    task = discovery.load("tasks", name, plugin_dirs).Task
    assert issubclass(task, Task), name
    return task  # type: ignore[no-any-return]
