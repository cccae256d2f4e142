"""Question answering: a question and a context in, the answer out, which stands in the context.

An encoder marks the answer: a head scores every piece as its begin and as its end, over windows of a long context.
Other bases write it, trained or prompted. Both answer with texts, so that they can be held side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters import tasks
from adapters.alignment import IGNORED, Pieces, valid_text
from adapters.constraint import Stretch, stretch
from adapters.data import Row, RowSource
from adapters.errors import DataError
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER, ENCODER_DECODER, AnswerForm, Encoded, Example, Prediction
from adapters.text_rows import Read, find_column
from adapters.text_task import TextSettings, TextTask
from adapters.words import cut

if TYPE_CHECKING:
    import torch

NO_ANSWER = "no answer"
SHOWN = 40
"""Characters of a context that a message shows."""


@dataclass(frozen=True, kw_only=True)
class Settings(TextSettings):
    """Question answering."""

    question_column_name: str | None = None
    """Column of the question. Default: question, query."""
    context_column_name: str | None = None
    """Column of the text that holds the answer. Default: context, passage, paragraph."""
    answer_column_name: str | None = None
    """Column of the answers: a text, several, or {"text": […], "answer_start": […]}. Default: answers, answer."""
    version_2_with_negative: bool = False
    """Some questions have no answer (SQuAD 2.0): an empty list of answers is right then, not a fault."""
    max_answer_length: int = 30
    """Pieces of the longest answer that an encoder may mark."""


class Task(TextTask):
    """`{question, context}` in, an answer out, which the model writes."""

    name = "question_answering"
    kinds: ClassVar[tuple[str, ...]] = (ENCODER, CAUSAL, ENCODER_DECODER)
    metrics = ("answer_f1",)
    answer_formats: tuple[str, ...] = ("text", "span")
    columns = ("question", "context")
    written = "answer"
    words = ("none",)

    def __init__(self, **options: Any) -> None:
        """Args: options: those of every task that writes, `version_2_with_negative` and `max_answer_length`."""
        super().__init__(**options)
        self.with_none = bool(options.get("version_2_with_negative"))
        self.longest = int(options.setdefault("max_answer_length", Settings.max_answer_length))

    def on(self, kind: str) -> tasks.Task:
        """An encoder marks the answer."""
        return Spans(**self.options) if kind == ENCODER else self

    @classmethod
    def chosen(cls, settings: Any) -> dict[str, Any]:
        """Whether there are questions without an answer, and how long answers may be, too."""
        require(settings.max_answer_length >= 1, "max_answer_length", settings.max_answer_length, "at least 1")
        own = ("version_2_with_negative", "max_answer_length")
        return {**super().chosen(settings), **{name: getattr(settings, name) for name in own}}

    @classmethod
    def reading(cls, settings: Any) -> Any:
        """Whether a question may have no answer."""
        return settings.version_2_with_negative

    @classmethod
    def names(cls, source: RowSource, settings: Any) -> Mapping[str, str]:
        """The columns of question, context and answers."""
        usual = {"question": ("question", "query"), "context": ("context", "passage", "paragraph"),
                 "answer": ("answers", "answer")}  # fmt: skip
        found = {}
        for ours, known in usual.items():
            flag = f"{ours}_column_name"
            found[ours] = find_column(source, f"{ours}s", flag, getattr(settings, flag), known)
        return found

    @classmethod
    def row(cls, row: Row, names: Mapping[str, str], settings: Any) -> Read:
        """Question, context, answers, and where they stand. Raises DataError where they do not stand there."""
        question, context, answers = (row.values.get(names[ours]) for ours in ("question", "context", "answer"))
        texts, starts = (
            (answers.get("text"), answers.get("answer_start")) if isinstance(answers, Mapping) else (answers, ())
        )
        several = texts if isinstance(texts, (list, tuple)) else [texts]
        if not several and not settings.version_2_with_negative:
            raise DataError(
                f"column {names['answer']!r} is empty. If questions may have no answer, add --version_2_with_negative"
            )
        starts = list(starts or ())
        if starts and len(starts) != len(several):
            raise DataError(f"{len(several)} answers, but {len(starts)} times answer_start")
        for text, start in zip(several, starts, strict=False):
            _check_place(context, text, start)
        inputs = {"question": question, "context": context}
        return Read(inputs=inputs, references=texts, starts=starts, may_lack=settings.version_2_with_negative)

    def framed(self, example: Example) -> tuple[str, str, str]:
        """The context, cut where it is too long, then the question."""
        return "Context: ", example.inputs["context"], f"\nQuestion: {example.inputs['question']}\nAnswer:"

    def to_learn(self, example: Example) -> str:
        """The first answer, or words that say that there is none."""
        return str(example.gold[0]) if example.gold else NO_ANSWER

    def understood(self, written: str, form: AnswerForm | None = None) -> str:
        """The text; empty where it says that there is no answer."""
        text = written.strip()
        return "" if text.rstrip(".").lower() == self._none(form).lower() else text

    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The answer on one line, or the prompt's words for none."""
        return super().write_answer(example, form) if example.gold else self._none(form)

    def constraint(self, example: Example, form: AnswerForm) -> Stretch | None:
        """In the format `span` words of the context that stand there side by side, or the words for none."""
        if form.format != "span":
            return None
        context = valid_text(example.inputs["context"])
        return stretch(context, cut(context), self._none(form) if self.with_none else "")

    @staticmethod
    def _none(form: AnswerForm | None) -> str:
        """The words that say that there is no answer: the prompt's, or ours."""
        return form.names["none"][0] if form is not None and "none" in form.names else NO_ANSWER


class Spans(Task):
    """The same, of an encoder: the first and the last piece of the answer in the context."""

    has_head = True
    answer_formats = ()

    def on(self, kind: str) -> tasks.Task:
        """Itself on encoders."""
        return self if kind == ENCODER else Task(**self.options)

    def auto_class(self, kind: str) -> str:
        """Two scores a piece."""
        return "AutoModelForQuestionAnswering"

    def config(self) -> dict[str, Any]:
        """Begin and end."""
        return {"num_labels": 2}

    def prior(self, targets: Any) -> None:
        """None: the targets are places in a row, not classes."""

    def encode(
        self, examples: Sequence[Example], pieces: Pieces, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """A row a window of the context, behind the question. Windows overlap by a quarter of the budget.

        The targets of a window without the answer are its first piece, which stands for no answer. There are no token
        types: PEFT's class for this head (0.22) drops them, so that an adapter would answer otherwise in a bank, or
        merged. Raises DataError where an answer that is to be learnt does not stand in its context.
        """
        asked = [self._question(example, pieces, budget) for example in examples]
        contexts = [valid_text(example.inputs["context"]) for example in examples]
        made = pieces.tokenizer(
            [question for question, _ in asked], contexts, truncation="only_second", max_length=budget,
            stride=budget // 4, return_overflowing_tokens=True, return_offsets_mapping=True,
            split_special_tokens=True, verbose=False,
        )  # fmt: skip
        answers = [_place(example) if learning else None for example in examples]
        out = []
        for row, number in enumerate(made.overflow_to_sample_mapping):
            where = [pair if text == 1 and pair[1] > pair[0] else None
                     for text, pair in zip(made.sequence_ids(row), made.offset_mapping[row], strict=True)]  # fmt: skip
            targets = _targets(where, answers[number]) if learning else [IGNORED, IGNORED]
            out.append(Encoded(example=number, input_ids=made.input_ids[row], targets=targets,
                               detail=(where, asked[number][1])))  # fmt: skip
        return out

    @staticmethod
    def _question(example: Example, pieces: Pieces, budget: int) -> tuple[str, bool]:
        """The question, and whether it was cut: more than a quarter of the budget leaves too little for the context."""
        text, most = valid_text(example.inputs["question"]), max(budget // 4, 1)
        made = pieces.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True,
                                verbose=False)  # fmt: skip
        offsets = made.offset_mapping
        return (text[: offsets[most - 1][1]], True) if len(offsets) > most else (text, False)

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[rows, 2, pieces]`: the pieces are the classes of the begin and of the end; padding is none of them."""
        import torch

        out = model(**inputs)
        both = torch.stack([out.start_logits, out.end_logits], 1)
        mask = inputs.get("attention_mask")
        return both if mask is None else both.masked_fill(mask[:, None] == 0, torch.finfo(both.dtype).min)

    def answers(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], pieces: Pieces
    ) -> Sequence[np.ndarray]:
        """The scores `[2, pieces]` of each row."""
        return list(self.logits(model, inputs).float().cpu().numpy())

    def decode(
        self, examples: Sequence[Example], encoded: Sequence[Encoded], answers: Sequence[np.ndarray], pieces: Pieces
    ) -> list[Prediction]:
        """The stretch of the highest sum of scores over all windows; none where there may be none and it is higher."""
        best: list[tuple[float, int, int]] = [(-np.inf, 0, 0)] * len(examples)
        none = [np.inf] * len(examples)
        was_cut = [False] * len(examples)
        for row, (begins, ends) in zip(encoded, answers, strict=True):
            where, was_cut[row.example] = row.detail
            best[row.example] = max(best[row.example], self._best(where, begins, ends))
            none[row.example] = min(none[row.example], float(begins[0] + ends[0]))
        out = []
        for example, (score, begin, end), other, cut_off in zip(examples, best, none, was_cut, strict=True):
            there = score > -np.inf and not (self.with_none and other > score)
            value = example.inputs["context"][begin:end] if there else ""
            out.append(Prediction(value=value, detail=[begin, end] if there else None, truncated=cut_off))
        return out

    def _best(self, where: Sequence[Any], begins: np.ndarray, ends: np.ndarray) -> tuple[float, int, int]:
        """The best stretch of a window: its score, and where it begins and ends in the context."""
        there = np.array([place is not None for place in where])
        count = len(where)
        if not there.any():
            return -np.inf, 0, 0
        first, last = np.flatnonzero(there)[[0, -1]]
        size = last - first + 1
        both = begins[first : last + 1, None].astype(np.float64) + ends[None, first : last + 1]
        inside = there[first:count][:size]
        allowed = np.triu(np.ones((size, size), bool)) & ~np.triu(np.ones((size, size), bool), self.longest)
        both[~(allowed & inside[:, None] & inside[None])] = -np.inf
        i, j = np.unravel_index(int(both.argmax()), both.shape)
        return float(both[i, j]), where[first + i][0], where[first + j][1]

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The inputs, the answer, and where it stands in the context."""
        place = dict(zip(("start", "end"), prediction.detail, strict=True)) if prediction.detail else {}
        return {**super().output(example, prediction), **place}


def _check_place(context: Any, text: Any, start: Any) -> None:
    """Raises DataError unless an answer stands where it is said to."""
    if not isinstance(context, str) or not isinstance(text, str):
        return  # told as such
    if type(start) is not int or start < 0 or context[start : start + len(text)] != text:
        read = context[start : start + SHOWN] if type(start) is int and start >= 0 else ""
        raise DataError(f"answer_start {start}: the context reads {read!r} there, not {text[:SHOWN]!r}")


def _place(example: Example) -> tuple[int, int] | None:
    """Where the first answer begins and ends; None where there is none. Raises DataError."""
    if not example.gold:
        return None
    text = example.gold[0]
    start = example.starts[0] if example.starts else example.inputs["context"].find(text)
    if start < 0:
        raise DataError(
            f"{example.where}: the answer {text[:SHOWN]!r} does not stand in the context, so no encoder can learn "
            "to mark it. Mend the row, or use a base that writes (smollm2, gpt2, t5-small)."
        )
    return start, start + len(text)


def _targets(where: Sequence[Any], answer: tuple[int, int] | None) -> list[int]:
    """The pieces in which an answer begins and ends; the first of all, twice, where it is not whole in the window."""
    if answer is None:
        return [0, 0]
    inside = [i for i, at in enumerate(where) if at and at[1] > answer[0] and at[0] < answer[1]]
    whole = inside and where[inside[0]][0] <= answer[0] and where[inside[-1]][1] >= answer[1]
    return [inside[0], inside[-1]] if whole else [0, 0]
