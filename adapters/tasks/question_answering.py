"""Question answering: from a question and a context to an answer in the context.

An encoder marks the answer: a head scores every token as its start and as its end, over windows of a long context.
Other bases generate it, trained or prompted. Both answer with texts, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.core.errors import DataError
from adapters.core.settings import require
from adapters.data.answer_cells import SHOWN, nearest, placed, read_answers
from adapters.data.columns import DOCUMENT, ColumnRoles
from adapters.data.generation_rows import GenerationRow
from adapters.data.label_cells import as_flag, is_missing
from adapters.data.rows import Row
from adapters.data.stored_rows import MEND_ROW
from adapters.data.word_splitter import split_words
from adapters.models.base_model import CAUSAL, ENCODER, ENCODER_DECODER
from adapters.models.tokenizer import IGNORED, WordTokenizer, own_characters, valid_text
from adapters.tasks import base
from adapters.tasks.base.answer_constraints import SpanConstraint, span_constraint
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.explained import Alternatives, Span, Target, Traced, traced
from adapters.tasks.base.generation_task import GenerationTask
from adapters.tasks.base.task import AnswerForm
from adapters.tasks.base.text_answer_task import GenerationSettings, TextAnswerTask

if TYPE_CHECKING:
    import torch
    from transformers import BatchEncoding

NO_ANSWER = "no answer"
USUAL = {
    "question": ("question", "query", "问题"),
    "context": ("context", "passage", "paragraph", "document", "article", "text", "原文", "文章", "段落"),
    "answer": ("answers", "answer", "answer_text", "答案"),
}
"""Usual names of columns, by role."""
BESIDE = ("answer_start", "is_impossible")
"""Columns that tables may have besides."""
FOUND = "answers missing at their answer_start, found elsewhere in the context"
NO_MARK = "rows whose is_impossible is no truth value, read by their answers alone"
CONTRADICTED = "rows with answers that is_impossible denies, read as without an answer"
LOST = "answers missing in their context, scored against but not learned"


@dataclass(frozen=True, kw_only=True)
class Settings(GenerationSettings):
    """Question answering."""

    question_column_name: str | None = None
    """Column of the question. Default: question, query."""
    context_column_name: str | None = None
    """Column of the text that contains the answer. Default: context, passage, paragraph, document, article, text."""
    answer_column_name: str | None = None
    """Column of the answers: a text, several, or {"text": […], "answer_start": […]}, also as Python or NumPy writes it
    into a CSV. Default: answers, answer, answer_text; where it starts may be in a column answer_start."""
    version_2_with_negative: bool = False
    """Some questions have no answer (SQuAD 2.0): an empty list of answers is then valid, not a fault."""
    repair_questions: bool = False
    """Look for an answer that is not at its answer_start elsewhere in the context, only score against one that is not
    in it at all, and leave out rows without a question (all counted), instead of refusing the file."""
    max_answer_length: int = 30
    """Tokens of the longest answer that an encoder may mark."""


class QuestionAnswering(TextAnswerTask):
    """What generating an answer and marking it share: `{question, context}` and an answer in the context."""

    name = "question_answering"
    kinds: ClassVar[tuple[str, ...]] = (ENCODER, CAUSAL, ENCODER_DECODER)
    metrics = ("answer_f1",)
    columns = ("question", "context")
    written = "answer"
    roles = ("question", "context", "answer")
    advice = (
        f"{MEND_ROW} Or add --repair_questions: answers are looked for elsewhere in the context, rows without a "
        "question left out (counted)."
    )
    peft_task = "QUESTION_ANS"

    def __init__(self, **options: Any) -> None:
        """Args: options: those of every task whose answer is a text, version_2_with_negative, max_answer_length."""
        super().__init__(**options)
        self.with_none = bool(options.get("version_2_with_negative"))
        self.longest = int(options.setdefault("max_answer_length", Settings.max_answer_length))

    @classmethod
    def options_of(cls, settings: Any) -> dict[str, Any]:
        """Whether there are questions without an answer, and the longest answer, too."""
        require(settings.max_answer_length >= 1, "max_answer_length", settings.max_answer_length, "at least 1")
        own = ("version_2_with_negative", "max_answer_length")
        return {**super().options_of(settings), **{name: getattr(settings, name) for name in own}}

    @classmethod
    def row_key(cls, settings: Any) -> Any:
        """Whether a question may have no answer, and whether rows are repaired."""
        return [settings.version_2_with_negative, settings.repair_questions]

    @classmethod
    def find_columns(cls, roles: ColumnRoles, settings: Any) -> Mapping[str, str]:
        """The columns of question, context and answers; of where these start and of whether there is one, if there are.

        `answer_start` and `is_impossible` are SQuAD's names, in tables. Questions of one context are of one document,
        unless another column says more.
        """
        found = {name: roles.find(name, known, what=f"{name}s") for name, known in USUAL.items()}
        beside = {name: roles.look(name, (name,)) for name in BESIDE}
        if roles.document() is None:
            roles.use(DOCUMENT, found["context"])
        return found | {name: column for name, column in beside.items() if column is not None}

    @classmethod
    def row(cls, row: Row, columns: Mapping[str, str], settings: Any) -> GenerationRow:
        """Question, context, answers, and where these start (-1: not in the context, with --repair_questions).

        Raises DataError where an answer is not at its place.
        """
        values = {name: row.values.get(column) for name, column in columns.items()}
        if settings.repair_questions and not str(values["question"] or "").strip():
            return GenerationRow(inputs={}, references=[], left_out=True, notes=("rows without a question left out",))
        context, may_lack = values["context"], settings.version_2_with_negative
        texts, starts = read_answers(values["answer"], values.get("answer_start"))
        impossible, notes = cls._impossible(values.get("is_impossible"), texts, settings.repair_questions)
        if impossible or (not texts and (may_lack or texts is not None)):
            texts, starts = [], []
        if texts == [] and not may_lack:
            raise DataError(
                f"column {columns['answer']!r} is empty. If questions may have no answer, add --version_2_with_negative"
            )
        several = list(texts) if isinstance(texts, (list, tuple)) else [texts]
        if starts and len(starts) != len(several):
            raise DataError(f"{len(several)} answers, but {len(starts)} times answer_start")
        moved = False
        for number, start in enumerate(starts):
            try:
                several[number], starts[number], changed = placed(context, several[number], start)
                moved |= changed
            except DataError:
                if not settings.repair_questions:
                    raise
                starts[number] = nearest(str(context), several[number], start)
                notes.append(FOUND if starts[number] >= 0 else LOST)
        inputs = {"question": values["question"], "context": context}
        notes += ["rows whose answer_start missed the answer by blanks, put right"] if moved else []
        return GenerationRow(inputs=inputs, references=several, starts=starts, may_lack=may_lack, notes=notes)

    @staticmethod
    def _impossible(flag: Any, answers: Any, repair: bool) -> tuple[bool, list[str]]:
        """Whether a question is marked as one without an answer, and with --repair_questions what was put right.

        Raises DataError where the mark is no truth value, or the question has answers all the same.
        """
        found = as_flag(flag)
        if found is None and not is_missing(flag):
            if repair:
                return False, [NO_MARK]
            raise DataError(f"is_impossible must be 0 or 1 (or false or true), found {flag!r:.40}")
        filled = answers if isinstance(answers, list | tuple) else [answers]
        if found and not all(is_missing(one) for one in filled):
            if repair:
                return True, [CONTRADICTED]
            raise DataError("is_impossible says that there is no answer, and the row has answers")
        return bool(found), []


class Task(QuestionAnswering, GenerationTask):
    """Question answering on bases that generate."""

    answer_formats = ("text", "span")
    verbalized = ("none",)

    def on(self, kind: str) -> base.Task:
        """On an encoder, the task that marks the answer."""
        return Spans(**self.options) if kind == ENCODER else self

    def framed(self, example: Example) -> tuple[str, str, str]:
        """The context, truncated if too long, then the question."""
        return "Context: ", example.inputs["context"], f"\nQuestion: {example.inputs['question']}\nAnswer:"

    def to_learn(self, example: Example) -> str:
        """The first answer, or the words for none."""
        return str(example.gold[0]) if example.gold else NO_ANSWER

    def understood(self, written: str, form: AnswerForm | None = None) -> str:
        """The text; empty if it is the words for no answer."""
        text = written.strip()
        return "" if text.rstrip(".。").lower() == self._none(form).lower() else text

    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The answer on one line, or the prompt's words for none."""
        return super().write_answer(example, form) if example.gold else self._none(form)

    def constraint(self, example: Example, form: AnswerForm) -> SpanConstraint | None:
        """In the format `span`, a span of the context or the words for none."""
        if form.format != "span":
            return None
        context = valid_text(example.inputs["context"])
        return span_constraint(context, split_words(context), self._none(form) if self.with_none else "")

    @staticmethod
    def _none(form: AnswerForm | None) -> str:
        """The words for no answer: the prompt's, or ours."""
        return form.verbalizer["none"][0] if form is not None and "none" in form.verbalizer else NO_ANSWER


class Spans(QuestionAnswering):
    """Question answering on encoders: the first and the last token of the answer in the context."""

    def on(self, kind: str) -> base.Task:
        """On a base that generates, the task that generates the answer."""
        return self if kind == ENCODER else Task(**self.options)

    def auto_class(self, kind: str) -> str:
        """Two scores per token."""
        return "AutoModelForQuestionAnswering"

    def config(self) -> dict[str, Any]:
        """A head for the start and the end."""
        return {"num_labels": 2}

    def prior(self, targets: Any) -> None:
        """None: the targets are positions in a row, not classes."""

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """One row per window of the context, after the question. Windows overlap by a quarter of the budget.

        The targets of a window without the answer are its first token, which means no answer. There are no token
        types: PEFT's class for this head (0.22) drops them, so that an adapter would answer differently in a bank, or
        merged. Raises DataError where an answer to learn is not in its context.
        """
        encoded, cut = self._encoded(examples, tokenizer, budget)
        spans = [_answer_span(example) if learning else None for example in examples]
        out = []
        for row, number in enumerate(encoded.overflow_to_sample_mapping):
            offsets = own_characters(encoded, row, 1)
            targets = _targets(offsets, spans[number]) if learning else [IGNORED, IGNORED]
            detail = offsets, cut[number]
            out.append(Encoded(example=number, input_ids=encoded.input_ids[row], targets=targets, detail=detail))
        return out

    def _encoded(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int
    ) -> tuple[BatchEncoding, list[bool]]:
        """The tokens of all windows with their characters; of each example, whether its question was cut."""
        questions = [self._question(example, tokenizer, budget) for example in examples]
        encoded = tokenizer.encode_data(
            [question for question, _ in questions],
            [valid_text(example.inputs["context"]) for example in examples],
            truncation="only_second",
            max_length=budget,
            stride=budget // 4,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        return encoded, [was_cut for _, was_cut in questions]

    def traced(self, example: Example, tokenizer: WordTokenizer, budget: int) -> Traced:
        """From the characters of each token, in the question and in the context."""
        encoded, _ = self._encoded([example], tokenizer, budget)
        rows: list[list[Span | None]] = []
        for row in range(len(encoded.input_ids)):
            sides = zip(own_characters(encoded, row, 0), own_characters(encoded, row, 1), strict=True)
            rows.append([("question", *at) if at else other and ("context", *other) for at, other in sides])
        return traced(self.words(example), rows)

    def target(self, example: Example, prediction: Prediction, wanted: str | None = None) -> Target:
        """The answer that was given, or the first place in the context of a text that was asked for."""
        context = example.inputs["context"]
        if wanted is None:
            if not prediction.detail:
                raise DataError("No answer was found in the context. Name a part of it as the target.")
            start, end = prediction.detail
        else:
            start, end = context.find(wanted), context.find(wanted) + len(wanted)
            if start < 0 or not wanted.strip():
                raise DataError(f"the answer {wanted[:SHOWN]!r} is not in the context. Name words as they are there.")
        return Target(name=context[start:end], of=(start, end))

    def alternatives(self, target: Target, encoded: Sequence[Encoded], answers: Sequence[Any]) -> list[Alternatives]:
        """All tokens of a window as the start and as the end; of several windows the one that scores the target best.

        Raises DataError where no window has the whole answer.
        """
        found = []
        for row, answer in zip(encoded, answers, strict=True):
            first, last = _targets(row.detail[0], target.of)
            if first or last:
                tokens = len(row.input_ids)  # without padding, whose scores are masked
                pair = [Alternatives(scores=answer[i][:tokens], chosen=at) for i, at in enumerate((first, last))]
                found.append((answer[0][first] + answer[1][last], pair))
        if not found:
            raise DataError(f"the answer {target.name[:SHOWN]!r} is in no window of the context as a whole.")
        return max(found, key=lambda one: one[0])[1]

    @staticmethod
    def _question(example: Example, tokenizer: WordTokenizer, budget: int) -> tuple[str, bool]:
        """The question, and whether it was cut: more than a quarter of the budget leaves too little for the context."""
        text, most = valid_text(example.inputs["question"]), max(budget // 4, 1)
        encoded = tokenizer.encode_data(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = encoded.offset_mapping
        return (text[: offsets[most - 1][1]], True) if len(offsets) > most else (text, False)

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[rows, 2, tokens]`: scores of each token as the start and as the end; padding is masked."""
        import torch

        out = model(**inputs)
        both = torch.stack([out.start_logits, out.end_logits], 1)
        mask = inputs.get("attention_mask")
        return both if mask is None else both.masked_fill(mask[:, None] == 0, torch.finfo(both.dtype).min)

    def answers(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], tokenizer: WordTokenizer
    ) -> Sequence[np.ndarray]:
        """The scores `[2, tokens]` of each row."""
        return list(self.logits(model, inputs).float().cpu().numpy())

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        """The span with the highest sum of scores in all windows; none if there may be none and that scores higher."""
        best: list[tuple[float, int, int]] = [(-np.inf, 0, 0)] * len(examples)
        none = [np.inf] * len(examples)
        was_cut = [False] * len(examples)
        for row, (starts, ends) in zip(encoded, answers, strict=True):
            offsets, was_cut[row.example] = row.detail
            best[row.example] = max(best[row.example], self._best(offsets, starts, ends))
            none[row.example] = min(none[row.example], float(starts[0] + ends[0]))
        out = []
        for example, (score, start, end), other, cut_off in zip(examples, best, none, was_cut, strict=True):
            found = score > -np.inf and not (self.with_none and other > score)
            value = example.inputs["context"][start:end] if found else ""
            out.append(Prediction(value=value, detail=[start, end] if found else None, truncated=cut_off))
        return out

    def _best(self, offsets: Sequence[Any], starts: np.ndarray, ends: np.ndarray) -> tuple[float, int, int]:
        """The best span of a window: its score, and its start and end in the context."""
        of_context = np.array([offset is not None for offset in offsets])
        if not of_context.any():
            return -np.inf, 0, 0
        first, last = np.flatnonzero(of_context)[[0, -1]]
        size = last - first + 1
        both = starts[first : last + 1, None].astype(np.float64) + ends[None, first : last + 1]
        inside = of_context[first : last + 1]
        allowed = np.triu(np.ones((size, size), bool)) & ~np.triu(np.ones((size, size), bool), self.longest)
        both[~(allowed & inside[:, None] & inside[None])] = -np.inf
        i, j = np.unravel_index(int(both.argmax()), both.shape)
        return float(both[i, j]), offsets[first + i][0], offsets[first + j][1]

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The inputs, the answer, and its start and end in the context."""
        place = dict(zip(("start", "end"), prediction.detail, strict=True)) if prediction.detail else {}
        return {**super().output(example, prediction), **place}


def _answer_span(example: Example) -> tuple[int, int] | None:
    """The start and the end of the first answer in the context; None if there is no answer. Raises DataError."""
    if not example.gold:
        return None
    starts = example.starts or [example.inputs["context"].find(text) for text in example.gold]
    places = [(start, start + len(text)) for text, start in zip(example.gold, starts, strict=True) if start >= 0]
    if not places:
        raise DataError(
            f"{example.where}: the answer {example.gold[0][:SHOWN]!r} is not in the context, so no encoder can learn "
            "to mark it. Mend the row, or use a base that generates (smollm2, gpt2, t5-small)."
        )
    return places[0]


def _targets(offsets: Sequence[Any], span: tuple[int, int] | None) -> list[int]:
    """The first and the last token of an answer; the window's first token, twice, if it lacks a part of the answer."""
    if span is None:
        return [0, 0]
    inside = [i for i, at in enumerate(offsets) if at and at[1] > span[0] and at[0] < span[1]]
    whole = inside and offsets[inside[0]][0] <= span[0] and offsets[inside[-1]][1] >= span[1]
    return [inside[0], inside[-1]] if whole else [0, 0]
