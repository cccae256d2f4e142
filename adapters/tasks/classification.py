"""Text classification: a text, or a pair of texts, in; one label, or with --multi_label any number of them, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters import tasks
from adapters.alignment import IGNORED, Pieces, valid_text
from adapters.data import RowSource
from adapters.errors import DataError, SettingsError
from adapters.label_words import check_words, label_words
from adapters.labelled_texts import balanced_weights, count_labels, find_columns, in_order, stored
from adapters.labels import LabelSet, refuse_unknown
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER, AnswerForm, Encoded, Example, Examples, Prediction
from adapters.text_rows import shape

if TYPE_CHECKING:
    import torch

SHOWN = 5
"""Labels of which an output gives the probability."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Text classification."""

    dataset_name: str | None = "rotten_tomatoes"
    """Dataset: a folder of files, a Hub id, or an alias (rotten_tomatoes). Not read where --train_file is given;
    --validation_file and --test_file stand in for its splits."""
    sample_selection: str = "random"
    """Which examples --max_…_samples keeps: a random draw, the same in every run, or the first ones; files of texts are
    often sorted by label."""
    text_column_name: str | None = None
    """Column of the text. Default: text, sentence, content, review, utterance, … whichever there is."""
    text_pair_column_name: str | None = None
    """Column of the second text of a pair. Default: text_pair, sentence2, hypothesis, question2 beside a first one."""
    label_column_name: str | None = None
    """Column of the label, a text or a whole number. Default: label, labels, category, intent, class, … ."""
    multi_label: bool = False
    """A text may have several labels, or none: a list, or names with --label_separator between them."""
    label_separator: str = ","
    """Between the labels of one text, with --multi_label."""
    class_weights: str | None = None
    """balanced: a rare class counts as much in training as a frequent one."""
    long_texts: str = "truncate"
    """What becomes of a text of more than --max_length pieces: truncate (counted), or window (answers are averaged);
    pairs are cut in any case."""


class Task(tasks.Task):
    """Labels of texts."""

    name = "classification"
    kinds = (ENCODER, CAUSAL)
    answer: str = "label"
    peft_task = "SEQ_CLS"
    metrics: tuple[str, ...] = ("accuracy", "calibration")
    answer_formats: tuple[str, ...] = ("label",)
    chosen_formats: tuple[str, ...] = ("label",)
    holes: tuple[str, ...] = ("text",)
    common_holes = ("labels",)

    def __init__(
        self, labels: LabelSet, *, multi_label: bool = False, pair: bool = False, windows: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        """Args:
        labels: the classes.
        multi_label: whether a text may have several.
        pair: whether an input is two texts.
        windows: whether a long text is windowed; else it is cut.
        weights: of each class in the loss; of several labels, of a label that is there against one that is not.
        """
        self.labels, self.multi_label, self.pair, self.windows = labels, multi_label, pair, windows
        self.weights = weights
        if multi_label:  # a prompt's answer is one label
            self.answer, self.metrics = "labels", ("multilabel_f1", "calibration")
            self.answer_formats, self.chosen_formats = (), ()
        if pair:
            self.holes = ("text", "text_pair")

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[tasks.Task, dict[str, Examples]]:
        """Read splits of labelled texts; the labels of `train` are the classes."""
        _check(settings)
        columns = {
            name: find_columns(
                source, settings.text_column_name, settings.text_pair_column_name, settings.label_column_name
            )
            for name, source in sources.items()
        }
        separator = settings.label_separator if settings.multi_label else None
        splits = {}
        for name, source in sources.items():
            digest = source.digest()
            dataset = stored(source, columns[name], separator, digest)
            splits[name] = Examples(name, dataset, cls, {"source": source.name, "digest": digest})
        counts = {name: count_labels(split.dataset) for name, split in splits.items()}
        learnt = counts.get("train") or sum(counts.values(), Counter())
        for name, split in splits.items():
            if set(counts[name]) - set(learnt):
                subject = f"{split.notes['source']} ({name})"
                refuse_unknown(subject, split, lambda gold: gold if settings.multi_label else [gold], in_order(learnt))
        first = splits.get("train") or next(iter(splits.values()))
        if len(learnt) < (1 if settings.multi_label else 2):
            raise DataError(
                f"{first.notes['source']}: only the label {', '.join(learnt) or '(none)'} occurs, and there is nothing "
                "to tell apart. Give examples of two labels or more, or another --label_column_name."
            )
        labels = LabelSet(in_order(learnt))
        weights = None
        if settings.class_weights:
            each = [learnt[name] for name in labels.names]
            weights = balanced_weights(each, len(first), several=settings.multi_label)
        pair = any(column.pair is not None for column in columns.values())
        windows = settings.long_texts == "window"
        return cls(labels, multi_label=settings.multi_label, pair=pair, windows=windows, weights=weights), splits

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> tasks.Task:
        """The task with the label list of a card."""
        labels = LabelSet(tuple(card["labels"]))
        multi_label, pair, windows = (bool(card.get(name)) for name in ("multi_label", "pair", "windows"))
        return cls(labels, multi_label=multi_label, pair=pair, windows=windows)

    def card(self) -> dict[str, Any]:
        """The label list, and what an input and an answer are."""
        return {**super().card(), "multi_label": self.multi_label, "pair": self.pair, "windows": self.windows}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row: gold is a label, or a list of them where there may be several."""
        inputs = {"text": row["text"]}
        if row["text_pair"] is not None:
            inputs["text_pair"] = row["text_pair"]
        gold = row["labels"] if row["label"] is None else row["label"]
        return Example(id=row["id"], inputs=inputs, gold=gold, where=row["where"])

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From `{text}`, or `{text, text_pair}` for a task of pairs."""
        wanted = ("text", "text_pair") if self.pair else ("text",)
        given = {name: value for name, value in inputs.items() if value is not None}
        sound = all(isinstance(value, str) and value.strip() for value in given.values())
        if set(given) != set(wanted) or not sound:
            found = ", ".join(f"{name!r}: {shape(value)}" for name, value in inputs.items())
            needed = ", ".join(f"{name!r}: a text" for name in wanted)
            raise DataError(f"classification takes {{{needed}}}, none of them empty; found {{{found}}}.")
        return Example(id=id, inputs={name: given[name] for name in wanted})

    def auto_class(self, kind: str) -> str:
        """A linear head on the whole text, as transformers has it for encoders and causal models alike."""
        return "AutoModelForSequenceClassification"

    def encode(
        self, examples: Sequence[Example], pieces: Pieces, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """A row a text, or with `windows` a row a window of it.

        Of a pair the longer side is cut; where the tokenizer sets nothing between the two, a line break does.
        """
        texts = [valid_text(example.inputs["text"]) for example in examples]
        if self.pair:
            seconds = [valid_text(example.inputs["text_pair"]) for example in examples]
            if pieces.tells_pairs_apart:
                pairs = pieces.pairs(texts, seconds, budget)
                return [Encoded(example=number, input_ids=ids, token_types=types, detail=cut,
                                targets=self._targets(examples[number].gold) if learning else [])
                        for number, (ids, types, cut) in enumerate(pairs)]  # fmt: skip
            texts = [f"{one}\n{other}" for one, other in zip(texts, seconds, strict=True)]
        out = []
        for number, windows in enumerate(pieces.texts(texts, budget)):
            targets = self._targets(examples[number].gold) if learning else []
            cut = len(windows) > 1 and not self.windows
            out += [Encoded(example=number, input_ids=ids, targets=targets, detail=cut)
                    for ids in (windows if self.windows else windows[:1])]  # fmt: skip
        return out

    def _targets(self, gold: Any) -> list[int]:
        """The class; of several labels 1 or 0 for each class."""
        if not self.multi_label:
            return [self.labels.index[gold]]
        return [int(name in gold) for name in self.labels.names]

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy (of several labels: binary, a class at a time) summed over the texts, and its terms' number.

        Args:
            logits: `[texts, classes]`.
            targets: `[texts, 1]`, or `[texts, classes]` of 0 and 1.
        """
        import torch
        import torch.nn.functional as f

        weights = None if self.weights is None else torch.tensor(self.weights, device=logits.device)
        count = (targets != IGNORED).sum()
        if self.multi_label:
            each = f.binary_cross_entropy_with_logits(
                logits.float(), targets.clamp(min=0).float(), pos_weight=weights, reduction="none"
            )
            return (each * (targets != IGNORED)).sum(), count
        summed = f.cross_entropy(logits.float(), targets.flatten(), weights, ignore_index=IGNORED, reduction="sum")
        return summed, count

    def prior(self, targets: Iterable[np.ndarray]) -> np.ndarray | None:
        """As for any task; of several labels, the log odds of each. With class weights all classes begin alike."""
        if self.weights is not None:
            return None
        if not self.multi_label:
            return super().prior(targets)
        rows = np.array([*targets])
        share = (rows.sum(0) + 1) / (len(rows) + 2)
        odds: np.ndarray = np.log(share / (1 - share))
        return odds

    def decode(
        self, examples: Sequence[Example], encoded: Sequence[Encoded], answers: Sequence[np.ndarray], pieces: Pieces
    ) -> list[Prediction]:
        """The likeliest label (of several: all that are likelier than not), by the mean over a text's windows."""
        sums = np.zeros((len(examples), len(self.labels)))
        rows = np.zeros(len(examples))
        cut = [False] * len(examples)
        for row, answer in zip(encoded, answers, strict=True):
            sums[row.example] += answer
            rows[row.example] += 1
            cut[row.example] |= bool(row.detail)
        logits = sums / rows[:, None]
        if self.multi_label:
            shares = 1 / (1 + np.exp(-logits))
            values: list[Any] = [[self.labels.names[i] for i in np.flatnonzero(share > 0.5)] for share in shares]
        else:
            shares = np.exp(logits - logits.max(1, keepdims=True))
            shares /= shares.sum(1, keepdims=True)
            values = [self.labels.names[i] for i in shares.argmax(1)]
        return [Prediction(value=value, detail=share, truncated=was_cut)
                for value, share, was_cut in zip(values, shares, cut, strict=True)]  # fmt: skip

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The label (or labels), its probability, and those of the likeliest labels."""
        out: dict[str, Any] = {**example.inputs, "labels" if self.multi_label else "label": prediction.value}
        if prediction.detail is None:
            return out
        likeliest = np.argsort(-prediction.detail, kind="stable")[:SHOWN]
        scores = {self.labels.names[i]: round(float(prediction.detail[i]), 4) for i in likeliest}
        return {**out, **({} if self.multi_label else {"score": next(iter(scores.values()))}), "scores": scores}

    def check_form(self, form: AnswerForm) -> None:
        """No word may stand for two labels."""
        check_words(self.labels.names, form.names, form.separator, form.where)

    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """`labels`: the first word of each label; `text` and, of a pair, `text_pair`."""
        filled = {"labels": ", ".join(label_words(name, form.names)[0] for name in self.labels.names)}
        return filled if example is None else {**filled, **example.inputs}

    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The first word of the gold label."""
        return label_words(example.gold, form.names)[0]

    def choices(self, form: AnswerForm) -> list[tuple[str, int]]:
        """Every word of every label."""
        return [
            (word, number) for number, name in enumerate(self.labels.names) for word in label_words(name, form.names)
        ]

    def read_answer(self, example: Example, written: str, form: AnswerForm) -> Prediction:
        """The label that one of its words names, whatever the case; none where the answer is something else."""
        known = {word.lower(): self.labels.names[number] for word, number in self.choices(form)}
        value = known.get(written.strip().lower())
        return Prediction(value=value, written=written, unparsed=value is None)


def _check(settings: Any) -> None:
    """Refuse settings that cannot work. Raises SettingsError."""
    require(settings.class_weights in (None, "balanced"), "class_weights", settings.class_weights, "balanced")
    require(settings.long_texts in ("truncate", "window"), "long_texts", settings.long_texts, "truncate or window")
    if not settings.label_separator:
        raise SettingsError("--label_separator: must not be empty.")
