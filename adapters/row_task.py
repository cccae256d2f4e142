"""A task whose inputs are columns of its rows, and whose gold answer is one more: all but encoding and decoding."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from adapters.data import RowSource
from adapters.errors import DataError, Faults
from adapters.files import digest_value
from adapters.labels import LabelSet, refuse_unknown
from adapters.store import store
from adapters.tasks import Example, Examples, Prediction, Task

STORED_AS = 1
"""Raised when stored rows change their meaning, so that older caches are not read."""


class RowTask(Task):
    """Rows are taken as they stand; a subclass says which columns, and what a model makes of them.

    Attributes:
        columns: of the inputs, each of which every row must have.
        gold: column of the answer.
        labelled: whether answers are labels: those of `train` are then the classes, and no others may occur.
    """

    columns: ClassVar[tuple[str, ...]]
    gold: ClassVar[str] = "label"
    labelled: ClassVar[bool] = True

    def __init__(self, labels: LabelSet) -> None:
        """Args: labels: the classes; none where answers are no labels."""
        self.labels = labels

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[Task, dict[str, Examples]]:
        """Read the splits. Raises DataError for a missing column or value, and for a label that train lacks."""
        splits = {name: cls._split(name, source) for name, source in sources.items()}
        if not cls.labelled:
            return cls(LabelSet(())), splits
        answers = {name: {example.gold for example in split} for name, split in splits.items()}
        learnt = answers.get("train") or set().union(*answers.values())
        known = sorted(map(str, learnt))
        for name, split in splits.items():
            if answers[name] - learnt:
                refuse_unknown(f"{split.notes['source']} ({name})", split, lambda gold: [gold], known)
        return cls(LabelSet(tuple(known))), splits

    @classmethod
    def _split(cls, name: str, source: RowSource) -> Examples:
        import pyarrow as pa

        wanted = (*cls.columns, cls.gold)
        missing = [column for column in wanted if column not in source.columns]
        if missing:
            raise DataError(
                f"{source.name}: {cls.name} needs the columns {', '.join(wanted)}; {', '.join(missing)} missing. "
                f"Columns found: {', '.join(source.columns)}."
            )
        faults, digest = Faults(source.name), source.digest()

        def rows() -> Iterator[dict[str, str]]:
            for number, row in enumerate(source.rows(faults)):
                empty = [column for column in wanted if row.values.get(column) in (None, "", [])]
                if empty:
                    faults.add(row.where(), f"column {empty[0]!r} is empty", "Mend the row or remove it.")
                    continue
                values = json.dumps({column: row.values[column] for column in wanted})
                yield {"id": str(row.values.get("id", number)), "values": values, "where": row.where()}
            faults.raise_if_any()

        schema = pa.schema(dict.fromkeys(("id", "values", "where"), pa.string()))
        how = [type(source).__name__, getattr(source, "encoding", None), wanted, cls.name, STORED_AS]
        dataset = store(rows, schema, digest_value([digest, source.name, how]))
        if not len(dataset):
            raise DataError(f"{source.name}: the file holds no example. Give one with rows.")
        return Examples(name, dataset, cls, {"source": source.name, "digest": digest})

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

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From inputs of exactly the task's columns."""
        if set(inputs) != set(self.columns):
            raise DataError(f"{self.name} takes {', '.join(self.columns)}; found {', '.join(inputs) or 'nothing'}.")
        return Example(id=id, inputs=dict(inputs))

    def config(self) -> dict[str, Any]:
        """A head of as many classes as there are labels, if there are some."""
        return super().config() if self.labelled else {}

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The inputs and the answer."""
        return {**example.inputs, self.gold: prediction.value}


def texts_of(examples: Sequence[Example], column: str) -> list[str]:
    """A column of some examples."""
    return [str(example.inputs[column]) for example in examples]
