"""A task whose gold answers are texts: its columns, rows, card and requests, however a model finds the answer.

An answer may have several references: metrics take the best of them, training and demonstrations the first.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from adapters.core.errors import DataError
from adapters.core.settings import require
from adapters.data.columns import ColumnRoles, given_columns, roles_of_splits
from adapters.data.generation_rows import GenerationRow, shape, stored_generation_rows
from adapters.data.labels import LabelSet
from adapters.data.rows import Row, RowSource
from adapters.data.stored_rows import MEND_ROW
from adapters.tasks.base.example import Example, Examples, Prediction
from adapters.tasks.base.task import Task


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """What tasks whose answer is a text share."""

    dataset_name: str | None = None
    """Dataset: a folder of files, or a Hub id. Not read with --train_file; --validation_file and --test_file replace
    its splits."""
    max_length: int = 512
    """Tokens of an input; for a causal model, of input and answer. A longer input is truncated in its longest part and
    counted as truncated; a prompt is never truncated (one that does not fit is skipped and counted)."""
    max_new_tokens: int = 64
    """Longest answer, in tokens. In training, a longer one is cut there and has no end token."""
    source_prefix: str = ""
    """Text before every input of a trained model ("summarize: ", for T5). Prompts have their instruction instead."""


class TextAnswerTask(Task):
    """A subclass says which columns there are, and what a model makes of them.

    Attributes:
        columns: the inputs, each a text that every row must have.
        written: the answer's name in outputs.
        roles: those of its columns, each with a setting `…_column_name`.
        advice: what to do about rows with faults.
    """

    answer = "text"
    columns: ClassVar[tuple[str, ...]]
    written: ClassVar[str]
    roles: ClassVar[tuple[str, ...]]
    advice: ClassVar[str] = MEND_ROW

    def __init__(self, **options: Any) -> None:
        """Args: options: what the card contains besides name and labels; of all tasks max_new_tokens, source_prefix."""
        self.labels = LabelSet(())
        self.max_new_tokens: int = options.setdefault("max_new_tokens", GenerationSettings.max_new_tokens)
        self.source_prefix: str = options.setdefault("source_prefix", "")
        self.options = options

    @classmethod
    @abstractmethod
    def find_columns(cls, roles: ColumnRoles, settings: Any) -> Mapping[str, str]:
        """The column of each input and of the answer, by the task's names. Raises DataError that lists the columns."""

    @classmethod
    def row(cls, row: Row, columns: Mapping[str, str], settings: Any) -> GenerationRow:
        """A row's inputs and references. Raises DataError that says what is wrong with it."""
        values = {name: row.values.get(column) for name, column in columns.items()}
        return GenerationRow(inputs={name: values[name] for name in cls.columns}, references=values[cls.written])

    @classmethod
    def options_of(cls, settings: Any) -> dict[str, Any]:
        """The options that follow from settings. Raises SettingsError for values that cannot work."""
        require(settings.max_new_tokens >= 1, "max_new_tokens", settings.max_new_tokens, "at least 1")
        return {"max_new_tokens": settings.max_new_tokens, "source_prefix": settings.source_prefix}

    @classmethod
    def row_key(cls, settings: Any) -> Any:
        """What decides, besides the columns, which rows are stored, as JSON."""
        return None

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[Task, dict[str, Examples]]:
        """Read the splits. Raises DataError for a missing column, and for texts that are missing or empty."""
        options = cls.options_of(settings)
        roles = roles_of_splits(sources, given_columns(settings, *cls.roles))
        splits = {name: cls._split(name, own, settings) for name, own in roles.items()}
        return cls(**options), {name: splits[name] for name in sources}

    @classmethod
    def _split(cls, name: str, roles: ColumnRoles, settings: Any) -> Examples:
        columns = cls.find_columns(roles, settings)
        dataset, notes = stored_generation_rows(
            roles,
            columns,
            lambda row: cls.row(row, columns, settings),
            answer=cls.written,
            key=[cls.name, cls.row_key(settings)],
            advice=cls.advice,
        )
        return Examples(name, dataset, cls, notes)

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Task:
        """The task that `card` described."""
        return cls(**{name: value for name, value in card.items() if name not in ("name", "labels")})

    def card(self) -> dict[str, Any]:
        """The options; there are no labels."""
        return {**super().card(), **self.options}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row; gold is the list of references."""
        gold, starts = list(row["references"]), tuple(row["starts"])
        return Example(id=row["id"], inputs=json.loads(row["inputs"]), gold=gold, starts=starts, where=row["where"])

    def sample_request(self) -> str | dict[str, str]:
        """A text where that is all, or each input."""
        return super().sample_request() if self.columns == ("text",) else {name: f"A {name}." for name in self.columns}

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From inputs of exactly the task's columns, none of them empty."""
        sound = all(isinstance(value, str) and value.strip() for value in inputs.values())
        if set(inputs) != set(self.columns) or not sound:
            needed = ", ".join(f"{name!r}: a text" for name in self.columns)
            found = ", ".join(f"{name!r}: {shape(value)}" for name, value in inputs.items())
            raise DataError(f"{self.name} takes {{{needed}}}, none of them empty; found {{{found}}}.")
        return Example(id=id, inputs={name: inputs[name] for name in self.columns})

    def gold_output(self, example: Example) -> Any:
        """The reference, or the list of several."""
        return example.gold[0] if len(example.gold) == 1 else example.gold

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The inputs and the answer."""
        return {**example.inputs, self.written: prediction.value}
