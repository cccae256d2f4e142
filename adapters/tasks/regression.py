"""Regression: from a text or a pair of texts to one number (a similarity, a rating, the strength of a feeling)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import DataError, ModelError, SettingsError
from adapters.core.settings import require
from adapters.data.columns import ColumnRoles, given_columns, leading, roles_of_splits
from adapters.data.labels import LabelSet
from adapters.data.regression_rows import LabelRange, find_regression_columns, numbers_of, stored_numbers
from adapters.data.rows import RowSource
from adapters.tasks import base
from adapters.tasks.base.example import Example, Examples, Prediction
from adapters.tasks.base.explained import Alternatives, Target
from adapters.tasks.base.text_task import A_NUMBER, TextTask

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Regression."""

    dataset_name: str | None = None
    """Dataset: a folder of files, or a Hub id. Not read with --train_file; --validation_file and --test_file replace
    its splits."""
    sample_selection: str = "random"
    """Which examples --max_…_samples keeps: a random sample, the same in every run, or the first ones."""
    text_column_name: str | None = None
    """Column of the text. Default: the first of text, sentence1, sentence, review, … that exists."""
    text_pair_column_name: str | None = None
    """Column of a pair's second text. Default: text_pair, sentence2, hypothesis, question2, if a first one exists."""
    label_column_name: str | None = None
    """Column of the number. Default: score, label, similarity, relatedness_score, rating, stars, … ."""
    long_texts: str = "truncate"
    """Texts of more than --max_length tokens: truncate (they are counted), or window (answers are averaged); pairs are
    always truncated."""


class Task(TextTask):
    """One number per text or pair. It cannot be prompted.

    The head's output is a standard score, (number - mean) / sd of train. So the same learning rates learn ratings from
    1 to 5 and prices, a head without a bias (causal models) can learn numbers that are far from 0, and half precision
    neither rounds nor overflows them. Mean and sd are in the card.
    """

    name = "regression"
    answer = "number"
    metrics = ("pearson", "spearman", "rmse")
    target_type = "float32"

    def __init__(self, label_range: LabelRange | None, *, pair: bool = False, windows: bool = False) -> None:
        """Args:
        label_range: of train's numbers; None where the head's output is the number itself.
        pair: whether an input is two texts.
        windows: whether a long text is read in windows; else it is truncated.
        """
        self.labels = LabelSet(())
        self.label_range, self.pair, self.windows = label_range, pair, windows

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[base.Task, dict[str, Examples]]:
        """Read splits of texts with numbers."""
        require(settings.long_texts in ("truncate", "window"), "long_texts", settings.long_texts, "truncate or window")
        given = given_columns(settings, "text", "text_pair", "label")
        roles = roles_of_splits(sources, given)
        columns = {name: find_regression_columns(found) for name, found in roles.items()}
        splits = {name: Examples(name, *_stored(cls, roles[name], columns[name])) for name in sources}
        first = splits.get("train") or next(iter(splits.values()))
        learnt = LabelRange.of(numbers_of(first.dataset))
        if learnt is not None:
            first.notes["reading"]["notes"].append(f"{len(first):,} numbers {learnt}")
            _leave_out_hidden(splits, first, learnt)
        pair = any(column.pair is not None for column in columns.values())
        return cls(learnt, pair=pair, windows=settings.long_texts == "window"), splits

    def check_splits(self, splits: Mapping[str, Examples]) -> None:
        """Raises DataError for a single number."""
        if self.label_range is None:
            first = splits[leading(splits)]
            number = ", ".join(first.notes["reading"]["columns"]["label"])
            raise DataError(
                f"{first.notes['source']}: every number in column {number!r} is {numbers_of(first.dataset)[0]:g}, and "
                "there is nothing to learn. Give examples of different numbers, or another --label_column_name."
            )

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> base.Task:
        """The task with the label range of a card. Raises DataError if it is none."""
        return cls(
            LabelRange.of_card(card["label_range"]), pair=bool(card.get("pair")), windows=bool(card.get("windows"))
        )

    @classmethod
    def of_head(
        cls,
        labels: Sequence[str],
        *,
        multi_label: bool | None = None,
        pair: bool | None = None,
        problem: str | None = None,
    ) -> base.Task:
        """A head whose output is the number itself."""
        if multi_label is not None:
            raise SettingsError(f"multi_label: the task {cls.name} has no such alternative; leave it out.")
        if len(labels) > 1:
            raise DataError(f"the head has {len(labels)} outputs; {cls.name} needs a head of one.")
        return cls(None, pair=bool(pair))

    @classmethod
    def takes_head(cls, outputs: int, *, multi_label: bool | None, problem: str | None) -> bool:
        """A number, as transformers tells heads apart."""
        return outputs == 1 and not multi_label and problem in (None, A_NUMBER)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row; gold is its number."""
        return Example(id=row["id"], inputs=cls.inputs_of(row), gold=row["number"], where=row["where"])

    def card(self) -> dict[str, Any]:
        """What an input is, and the range of train's numbers."""
        return {**super().card(), "label_range": None if self.label_range is None else asdict(self.label_range)}

    def config(self) -> dict[str, Any]:
        """A head of one output, which transformers too reads as a number."""
        return {"num_labels": 1, "id2label": {0: "value"}, "label2id": {"value": 0}, "problem_type": A_NUMBER}

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """None: the mean of standard scores is 0, where a head starts by itself."""
        return None

    def _targets(self, gold: Any) -> list[float]:
        """The standard score."""
        if self.label_range is None:
            raise ModelError("The range of the numbers is not known, so a head cannot learn them.")
        return [(gold - self.label_range.mean) / self.label_range.sd]

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared error of standard scores summed over the texts, in fp32, and their number.

        Args:
            logits: `[texts, 1]`.
            targets: `[texts, 1]`.
        """
        import torch

        squared = (logits.float() - targets).square()
        return squared.sum(), torch.tensor(squared.numel(), device=logits.device)

    def _answers(self, logits: np.ndarray) -> tuple[list[float], list[None]]:
        """The number, which may be outside the range of train: it is not clipped."""
        known, outputs = self.label_range, logits[:, 0]
        numbers = outputs if known is None else outputs * known.sd + known.mean
        if not np.isfinite(numbers).all():
            raise ModelError(
                "The model's output is no finite number, so there is no answer. Its weights do not fit the number "
                "format: try --dtype float32 (in training, --mixed_precision no)."
            )
        return numbers.tolist(), [None] * len(numbers)

    def logits_of(self, prediction: Prediction) -> np.ndarray | None:
        """The standard score of the number."""
        known = self.label_range
        return np.array([prediction.value if known is None else (prediction.value - known.mean) / known.sd])

    def _among(self, target: Target, outputs: Any) -> Alternatives:
        """The number, in the unit of the data, less the mean of train's."""
        return Alternatives(scores=outputs * (1.0 if self.label_range is None else self.label_range.sd), chosen=0)

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The inputs and the number, to six significant digits."""
        return {**example.inputs, "value": float(f"{prediction.value:.6g}")}


def _stored(kind: type[Task], roles: ColumnRoles, columns: Any) -> tuple[Any, type[Task], dict[str, Any]]:
    dataset, notes = stored_numbers(roles, columns)
    return dataset, kind, notes


def _leave_out_hidden(splits: dict[str, Examples], first: Examples, learnt: LabelRange) -> None:
    """Leave out a test split without gold: one number for all of it, outside the range of train (GLUE writes -1).

    Raises DataError for such a dev split.
    """
    for name, split in [*splits.items()]:
        numbers = numbers_of(split.dataset)
        constant = split is not first and len(numbers) > 1 and numbers.min() == numbers.max()
        if not constant or learnt.minimum <= numbers[0] <= learnt.maximum:
            continue
        what = f"{split.notes['source']}: every number is {numbers[0]:g}, outside train's ({learnt})"
        if name != "test":
            raise DataError(f"{what}: there is nothing to score. Give a {name} split with its numbers.")
        first.notes["reading"]["notes"].append(f"{what}: taken for a split without gold numbers, and left out")
        del splits[name]
