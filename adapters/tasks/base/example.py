"""Examples, predictions and encoded rows: what tasks exchange with the other packages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, overload

from adapters.core.errors import DataError
from adapters.core.files import digest_value

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One thing to predict.

    Attributes:
        id: the data's own, else the row's number.
        inputs: by the task's column names.
        gold: the gold answer, if known.
        where: the place in the data, for messages.
        starts: for gold answers that are spans of an input, the first character of each, if the data have it.
        document: the name of the document that it is a part of; "" where that is not known.
    """

    id: str
    inputs: Mapping[str, Any]
    gold: Any = None
    where: str = ""
    starts: tuple[int, ...] = ()
    document: str = ""

    def digest(self) -> str:
        """sha256 of the inputs: equal inputs are the same example, whatever their ids."""
        return digest_value(dict(self.inputs))


def check_examples(given: Sequence[Example], instead: str) -> None:
    """Raises DataError unless a predictor was given examples. `instead` is what answers texts and requests."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    if not several or (len(given) > 0 and not isinstance(given[0], Example)):
        found: object = given[0] if several else given
        raise DataError(
            "predict takes examples, as the evaluator gives them. Texts and requests are answered by "
            f"{instead}. Found {found!r:.60}{'…' if len(repr(found)) > 60 else ''}."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A predictor's answer to one example.

    Attributes:
        value: the answer as metrics compare it with `Example.gold`.
        detail: what the task's `output` shows in addition (probabilities, say).
        truncated: a part of the input did not reach the model.
        written: the text that the model generated.
        parse_failure: a part of that text could not be read.
        shots_dropped: demonstrations that did not fit before the input.
    """

    value: Any
    detail: Any = None
    truncated: bool = False
    written: str | None = None
    parse_failure: bool = False
    shots_dropped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """One row of a model's input.

    Attributes:
        example: index among the examples encoded together; a long example has several rows.
        input_ids: tokens.
        targets: classes or tokens to learn, `IGNORED` at positions without one, or numbers; the task decides how many,
            and their type (`Task.target_type`).
        token_types: 0 or 1 per token, if the tokenizer distinguishes two texts so; else empty.
        detail: what the task needs to decode the model's answer.
    """

    example: int
    input_ids: list[int]
    targets: list[int] | list[float]
    token_types: list[int] = field(default_factory=list)
    detail: Any = None


class RowDecoder(Protocol):
    """What makes an example of a stored row: a task's class."""

    def from_row(self, row: Mapping[str, Any]) -> Example:
        """An example of a row in the task's own schema."""

    def label_counts(self, dataset: datasets.Dataset) -> Counter[str]:
        """How often each label occurs among stored rows; empty where answers are not labels."""


class Examples(Sequence[Example]):
    """A split, memory-mapped: examples are made of their rows on access."""

    def __init__(self, name: str, dataset: datasets.Dataset, decoder: RowDecoder, notes: Mapping[str, Any]) -> None:
        """Args:
        name: `train`, `validation` or `test`.
        dataset: rows in the task's own schema.
        decoder: makes an example of a row.
        notes: for the record: the split's source, its digest, the number of repaired tags.
        """
        self.name = name
        self.dataset = dataset
        self.decoder = decoder
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
            return [self._example(row) for row in self.dataset.select(chosen)]
        return self._example(self.dataset[at])

    def __iter__(self) -> Iterator[Example]:
        """Examples in order."""
        return (self._example(row) for row in self.dataset)

    def _example(self, row: Mapping[str, Any]) -> Example:
        """The task's example, with its document, which is no matter of the task."""
        example = self.decoder.from_row(row)
        document = row.get("document")
        return replace(example, document=document) if document else example

    def documents(self) -> list[str]:
        """The document of each example; "" where it is not known."""
        if "document" not in self.dataset.column_names:
            return [""] * len(self)
        return list(self.dataset["document"])

    def label_counts(self) -> Counter[str]:
        """How often each label occurs, from the stored rows; empty where answers are not labels."""
        return self.decoder.label_counts(self.dataset)

    def select(self, indices: Sequence[int], name: str = "", **notes: Any) -> Examples:
        """Some of the examples, still memory-mapped."""
        return Examples(name or self.name, self.dataset.select(indices), self.decoder, {**self.notes, **notes})
