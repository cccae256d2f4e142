"""A task whose inputs are columns of its rows, and whose gold answer is another: all but encoding and decoding."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from adapters.core.discovery import code_version
from adapters.core.errors import DataError, Faults
from adapters.data.columns import ColumnRoles, given_columns, missing_column
from adapters.data.labels import LabelSet, learnable, refuse_unknown
from adapters.data.rows import RowSource
from adapters.data.stored_rows import MEND_ROW, CheckedRows, stored_rows
from adapters.tasks.base.example import Example, Examples, Prediction
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import datasets


class RowTask(Task):
    """Rows are stored as they are; a subclass names the columns, and encodes and decodes.

    Attributes:
        columns: the inputs, each of which every row must have.
        gold: column of the answer.
        labelled: whether answers are labels: those of `train` are then the classes, and no others may occur.
    """

    columns: ClassVar[tuple[str, ...]]
    gold: ClassVar[str] = "label"
    labelled: ClassVar[bool] = True

    def __init__(self, labels: LabelSet) -> None:
        """Args: labels: the classes; none if answers are not labels."""
        self.labels = labels

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[Task, dict[str, Examples]]:
        """Read the splits. Raises DataError for a missing column or value, and for a label that train lacks."""
        splits = {name: cls._split(name, source, settings) for name, source in sources.items()}
        if not cls.labelled:
            return cls(LabelSet(())), splits
        answers = {name: {example.gold for example in split} for name, split in splits.items()}
        learnt = sorted(learnable(answers))
        refuse_unknown(splits, answers, lambda gold: [gold], learnt, role=cls.gold, flag="")
        return cls(LabelSet(tuple(learnt))), splits

    @classmethod
    def _split(cls, name: str, source: RowSource, settings: Any) -> Examples:
        import pyarrow as pa

        wanted = (*cls.columns, cls.gold)
        missing = [column for column in wanted if column not in source.columns]
        if missing:
            needed = f"{cls.name} needs the columns {', '.join(wanted)}."
            raise missing_column(source, f"column {' and no column '.join(map(repr, missing))}", needed)

        roles = ColumnRoles(source, given_columns(settings))
        for column in wanted:
            roles.use(column, column)

        def check(faults: Faults) -> CheckedRows:
            for row in source.rows(faults):
                empty = [column for column in wanted if row.values.get(column) in (None, "", [])]
                if empty:
                    faults.add(row.where(), f"column {empty[0]!r} is empty", MEND_ROW)
                else:
                    yield row, {"values": json.dumps({column: row.values[column] for column in wanted})}

        dataset, notes = stored_rows(
            roles, check, {"values": pa.string()}, key=[cls.name, wanted, code_version(cls)], needs="all columns"
        )
        return Examples(name, dataset, cls, notes)

    @classmethod
    def label_counts(cls, dataset: datasets.Dataset) -> Counter[str]:
        """How often each label occurs, if answers are labels."""
        return Counter(str(json.loads(values)[cls.gold]) for values in dataset["values"] if cls.labelled)

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Task:
        """The task with the label list of a card."""
        return cls(LabelSet(tuple(card["labels"])))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row."""
        values = json.loads(row["values"])
        gold = str(values[cls.gold]) if cls.labelled else values[cls.gold]
        return Example(id=row["id"], inputs={name: values[name] for name in cls.columns}, gold=gold, where=row["where"])

    def sample_request(self) -> str | dict[str, str]:
        """A text where that is all, or each column."""
        return super().sample_request() if self.columns == ("text",) else {name: f"A {name}." for name in self.columns}

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From inputs of exactly the task's columns."""
        if set(inputs) != set(self.columns):
            raise DataError(f"{self.name} takes {', '.join(self.columns)}; found {', '.join(inputs) or 'nothing'}.")
        return Example(id=id, inputs=dict(inputs))

    def config(self) -> dict[str, Any]:
        """A head of one class per label, if answers are labels."""
        return super().config() if self.labelled else {}

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The inputs and the answer."""
        return {**example.inputs, self.gold: prediction.value}


def texts_of(examples: Sequence[Example], column: str) -> list[str]:
    """A column of examples, as texts."""
    return [str(example.inputs[column]) for example in examples]
