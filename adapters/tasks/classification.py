"""Text classification: from a text or a pair of texts to one label, or with --multi_label to any number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.core.errors import DataError, SettingsError
from adapters.core.settings import require
from adapters.data.class_labels import label_names
from adapters.data.classification_rows import balanced_weights, count_labels, holds_vectors, in_order, stored_texts
from adapters.data.classification_splits import find_columns
from adapters.data.columns import given_columns, leading
from adapters.data.label_cells import LabelForm
from adapters.data.label_checks import check_labels, unused_drops
from adapters.data.labels import LabelSet, refuse_unknown
from adapters.data.rows import RowSource
from adapters.models.tokenizer import IGNORED
from adapters.tasks import base
from adapters.tasks.base.example import Example, Examples, Prediction
from adapters.tasks.base.explained import Alternatives, Target, index_of
from adapters.tasks.base.label_answer import LEAST, LabelAnswerTask, likeliest
from adapters.tasks.base.text_task import A_NUMBER, TextTask

if TYPE_CHECKING:
    import datasets
    import torch


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Text classification."""

    dataset_name: str | None = "rotten_tomatoes"
    """Dataset: a folder of files, a Hub id, or an alias (rotten_tomatoes). Not read with --train_file;
    --validation_file and --test_file replace its splits."""
    sample_selection: str = "random"
    """Which examples --max_…_samples keeps: a random sample, the same in every run, or the first ones; files of texts
    are often sorted by label."""
    text_column_name: str | None = None
    """Column of the text. Default: the first of text, sentence, content, review, utterance, … that exists."""
    text_pair_column_name: str | None = None
    """Column of a pair's second text. Default: text_pair, sentence2, hypothesis, question2, if a first one exists."""
    label_column_name: str | None = None
    """Column of the label, a text or a whole number (default: label, labels, gold_label, category, intent, class, …);
    or several columns of 0 and 1, each of which is a label: toxic,obscene,threat."""
    label_names: list[str] = field(default_factory=list)
    """Names of the classes 0, 1, 2, …, or of the places of 0/1 vectors: a list, or a .json file with one, or with names
    by number. No other labels are then allowed."""
    drop_label: list[str] = field(default_factory=list)
    """Labels whose rows are left out, and counted: -,-1 for those that nobody agreed on; null is a missing label."""
    multi_label: bool = False
    """A text may have several labels, or none: a list, or names with --label_separator between them."""
    label_separator: str = ","
    """Between the labels of one text, with --multi_label."""
    class_weights: str | None = None
    """balanced: in training, a rare class counts as much as a frequent one."""
    long_texts: str = "truncate"
    """Texts of more than --max_length tokens: truncate (they are counted), or window (answers are averaged); pairs are
    always truncated."""


class Classification(TextTask):
    """What tasks of one label per text and of several share."""

    name = "classification"
    multi_label: ClassVar[bool]

    def __init__(
        self,
        labels: LabelSet,
        *,
        pair: bool = False,
        windows: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Args:
        labels: the classes.
        pair: whether an input is two texts.
        windows: whether a long text is read in windows; else it is truncated.
        weights: each class's weight in the loss; for several labels, of a present label relative to an absent one.
        """
        self.labels, self.pair, self.windows, self.weights = labels, pair, windows, weights

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[base.Task, dict[str, Examples]]:
        """Read splits of labelled texts; the labels of `train` are the classes."""
        _check(settings)
        form = LabelForm(
            separator=settings.label_separator if settings.multi_label else None,
            names=tuple(label_names(settings.label_names)),
            dropped=tuple(settings.drop_label),
        )
        lead = leading(sources)
        named = given_columns(settings, "text", "text_pair", "label")
        roles, columns, hidden = find_columns(sources, named, lead)
        first = columns[lead]
        if form.names and first.one_hot:
            raise SettingsError("--label_names: labels in several columns are named as these are. Leave it out.")
        vectors = holds_vectors(roles[lead], first, form)
        splits = {}
        for name in columns:
            dataset, notes = stored_texts(roles[name], columns[name], form, vectors=vectors)
            splits[name] = Examples(name, dataset, cls, notes)
        counts = {name: count_labels(split.dataset) for name, split in splits.items()}
        declared = first.labels if first.one_hot else form.names if vectors else ()
        learnt = counts[lead] if lead == "train" else sum(counts.values(), Counter())
        learnt = Counter({**dict.fromkeys(declared, 0), **learnt})
        if not first.one_hot:
            of_column = {name: (split.notes["source"], columns[name].label, split) for name, split in splits.items()}
            hidden += check_labels(of_column, counts, form, lead)
        said = [note for split in splits.values() for note in split.notes["reading"]["notes"]]
        splits[lead].notes["reading"]["notes"] += [*hidden, *unused_drops(form, said)]
        refuse_unknown(splits, counts, lambda gold: gold if settings.multi_label else [gold], in_order(learnt))
        labels = LabelSet(tuple(name for name in declared or form.names or in_order(learnt) if name in learnt))
        weights = None
        if settings.class_weights:
            each = [max(learnt[name], 1) for name in labels.names]
            weights = balanced_weights(each, len(splits[lead]), several=settings.multi_label)
        kind = MultiLabelTask if settings.multi_label else Task
        pair = first.pair is not None
        return kind(labels, pair=pair, windows=settings.long_texts == "window", weights=weights), splits

    def check_splits(self, splits: Mapping[str, Examples]) -> None:
        """Raises DataError for a single label."""
        if len(self.labels) < (1 if self.multi_label else 2):
            raise DataError(
                f"{splits[leading(splits)].notes['source']}: only the label {', '.join(self.labels.names) or '(none)'} "
                "occurs, and there is nothing to tell apart. Give examples of two labels or more, or another "
                "--label_column_name."
            )

    @classmethod
    def label_counts(cls, dataset: datasets.Dataset) -> Counter[str]:
        """How often each label occurs."""
        return count_labels(dataset)

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> base.Task:
        """The task with the label list of a card."""
        return cls._of(
            card["labels"],
            bool(card.get("multi_label")),
            pair=bool(card.get("pair")),
            windows=bool(card.get("windows")),
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
        """One label or several: as given, or as transformers does by the problem type."""
        if problem == A_NUMBER and len(labels) > 1:
            raise DataError(f"problem_type is regression, of {len(labels)} numbers; a head of one number is supported.")
        several = problem == "multi_label_classification" if multi_label is None else multi_label
        return cls._of(labels, several, pair=bool(pair))

    @classmethod
    def takes_head(cls, outputs: int, *, multi_label: bool | None, problem: str | None) -> bool:
        """Any but a number, as transformers tells them apart."""
        return outputs != 1 or bool(multi_label) or problem not in (None, A_NUMBER)

    @staticmethod
    def _of(labels: Sequence[str], several: bool, *, pair: bool, windows: bool = False) -> base.Task:
        """The task of a head that is trained already."""
        if len(labels) == 1 and not several:
            raise DataError("a head of one output gives a number, not labels: that is the task regression.")
        return (MultiLabelTask if several else Task)(LabelSet(tuple(labels)), pair=pair, windows=windows)

    def card(self) -> dict[str, Any]:
        """The label list, and what an input and an answer are."""
        return {**super().card(), "multi_label": self.multi_label}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row; gold is a label, or for several labels a list."""
        gold = row["labels"] if row["label"] is None else row["label"]
        return Example(id=row["id"], inputs=cls.inputs_of(row), gold=gold, where=row["where"])

    def target(self, example: Example, prediction: Prediction, wanted: str | None = None) -> Target:
        """A label: the one that was asked for, or the likeliest."""
        if wanted is None:
            if prediction.detail is None:
                raise DataError("There is no answer to the text, so there is nothing to explain. Is it too long?")
            wanted = self.labels.names[int(np.argmax(prediction.detail))]
        return Target(name=wanted, of=index_of(wanted, self.labels.names, "the label"))

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The inputs, the answer, and the probabilities of the likeliest labels."""
        out: dict[str, Any] = {**example.inputs, self.answer: prediction.value}
        if prediction.detail is None:
            return out
        scores = likeliest(self.labels.names, prediction.detail)
        return {**out, **({} if self.multi_label else {"score": next(iter(scores.values()))}), "scores": scores}


class Task(Classification, LabelAnswerTask):
    """One label per text."""

    multi_label = False
    metrics = ("accuracy", "expected_calibration_error")

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return ("text", "text_pair") if self.pair else ("text",)

    def _targets(self, gold: Any) -> list[int]:
        """The class."""
        return [self.labels.index[gold]]

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy summed over the texts, and their number.

        Args:
            logits: `[texts, classes]`.
            targets: `[texts, 1]`.
        """
        import torch
        import torch.nn.functional as f

        weights = None if self.weights is None else torch.tensor(self.weights, device=logits.device)
        summed = f.cross_entropy(logits.float(), targets.flatten(), weights, ignore_index=IGNORED, reduction="sum")
        return summed, (targets != IGNORED).sum()

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """As for any task; with class weights all classes start alike."""
        return super().prior(targets) if self.weights is None else None

    def _answers(self, logits: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """The likeliest label."""
        return self.chosen(logits)


class MultiLabelTask(Classification):
    """Any number of labels per text. It cannot be prompted: a prompt's answer is one label."""

    multi_label = True
    answer = "labels"
    metrics = ("multilabel_f1", "expected_calibration_error")

    def _targets(self, gold: Any) -> list[int]:
        """1 or 0 for each class."""
        return [int(name in gold) for name in self.labels.names]

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Binary cross-entropy summed over texts and classes, and the number of its terms.

        Args:
            logits: `[texts, classes]`.
            targets: `[texts, classes]` of 0 and 1.
        """
        import torch
        import torch.nn.functional as f

        weights = None if self.weights is None else torch.tensor(self.weights, device=logits.device)
        each = f.binary_cross_entropy_with_logits(
            logits.float(), targets.clamp(min=0).float(), pos_weight=weights, reduction="none"
        )
        return (each * (targets != IGNORED)).sum(), (targets != IGNORED).sum()

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """The log odds of each label; with class weights all labels start alike."""
        if self.weights is not None:
            return None
        rows = np.array([*targets])
        share = (rows.sum(0) + 1) / (len(rows) + 2)
        odds: np.ndarray = np.log(share / (1 - share))
        return odds

    def _answers(self, logits: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """All labels with a probability above one half."""
        shares = 1 / (1 + np.exp(-logits))
        return [[self.labels.names[i] for i in np.flatnonzero(share > 0.5)] for share in shares], shares

    def logits_of(self, prediction: Prediction) -> np.ndarray | None:
        """The log odds of each label."""
        if prediction.detail is None:
            return None
        shares = np.clip(prediction.detail, LEAST, 1 - LEAST)
        odds: np.ndarray = np.log(shares / (1 - shares))
        return odds

    def _among(self, target: Target, outputs: Any) -> Alternatives:
        """A label that is there or not: other labels are no alternatives to it."""
        return Alternatives(scores=outputs[target.of : target.of + 1], chosen=0)

    def confidence(self, prediction: Prediction) -> float | None:
        """The product of the probabilities that each label is present or absent, as the answer has it."""
        shares = prediction.detail
        return None if shares is None else float(np.maximum(shares, 1 - shares).prod())


def _check(settings: Any) -> None:
    """Raises SettingsError for settings that cannot work."""
    require(settings.class_weights in (None, "balanced"), "class_weights", settings.class_weights, "balanced")
    require(settings.long_texts in ("truncate", "window"), "long_texts", settings.long_texts, "truncate or window")
    if not settings.label_separator:
        raise SettingsError("--label_separator: must not be empty.")
