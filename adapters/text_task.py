"""A task whose answer is a text that the model writes: all but its columns and what stands around an input.

A causal model reads the input and goes on with the answer; an encoder-decoder model reads the one and writes the other.
The loss is that of the answer alone. An answer may have several references: metrics take the best of them, training and
demonstrations the first.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.alignment import IGNORED, Pieces, valid_text
from adapters.data import Row, RowSource
from adapters.errors import DataError, SettingsError, did_you_mean
from adapters.generation import generate
from adapters.labels import LabelSet
from adapters.settings import require
from adapters.tasks import CAUSAL, ENCODER_DECODER, AnswerForm, Encoded, Example, Examples, Prediction, Task, config_of
from adapters.text_rows import Read, shape, stored

if TYPE_CHECKING:
    import torch

LEAST_ROOM = 8
"""Pieces that must be left for an input beside its answer."""
_AS_TEXT: dict[str, Any] = {"split_special_tokens": True, "verbose": False}  # `</s>` in data is that text


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """What tasks whose answer is a text share."""

    dataset_name: str | None = None
    """Dataset: a folder of files, or a Hub id. Not read where --train_file is given; --validation_file and --test_file
    stand in for its splits."""
    max_length: int = 512
    """Pieces of an input; of a causal model with its answer. A longer input is cut where it is longest, and counted as
    truncated; a prompt's is never cut (one that does not fit is not asked, and counted)."""
    max_new_tokens: int = 64
    """Longest answer, in pieces. What is learnt of a longer one ends there, without an end."""
    source_prefix: str = ""
    """Stands in front of every input of a trained model ("summarize: ", for T5). Prompts have their instruction."""


class TextTask(Task):
    """A subclass says which columns there are, and what a trained model reads around an input.

    Attributes:
        columns: of the inputs, each a text that every row must have.
        written: what the answer is called in outputs.
    """

    kinds: ClassVar[tuple[str, ...]] = (CAUSAL, ENCODER_DECODER)
    answer = "text"
    has_head = False
    answer_formats: tuple[str, ...] = ("text",)
    columns: ClassVar[tuple[str, ...]]
    written: ClassVar[str]
    words: ClassVar[tuple[str, ...]] = ()
    """What a prompt's [names] may name."""

    def __init__(self, **options: Any) -> None:
        """Args: options: what the card says beside name and labels, of `max_new_tokens` and `source_prefix` first."""
        self.labels = LabelSet(())
        self.max_new_tokens: int = options.setdefault("max_new_tokens", TextSettings.max_new_tokens)
        self.source_prefix: str = options.setdefault("source_prefix", "")
        self.options = options
        self.holes = self.columns

    @classmethod
    @abstractmethod
    def names(cls, source: RowSource, settings: Any) -> Mapping[str, str]:
        """Where a source keeps each input and the answer, by our names. Raises DataError that lists its columns."""

    @classmethod
    def row(cls, row: Row, names: Mapping[str, str], settings: Any) -> Read:
        """What a row says. Raises DataError that says what is wrong with it."""
        values = {ours: row.values.get(theirs) for ours, theirs in names.items()}
        return Read(inputs={name: values[name] for name in cls.columns}, references=values[cls.written])

    @classmethod
    def chosen(cls, settings: Any) -> dict[str, Any]:
        """The options that settings stand for. Raises SettingsError for values that cannot work."""
        require(settings.max_new_tokens >= 1, "max_new_tokens", settings.max_new_tokens, "at least 1")
        return {"max_new_tokens": settings.max_new_tokens, "source_prefix": settings.source_prefix}

    @abstractmethod
    def framed(self, example: Example) -> tuple[str, str, str]:
        """What a trained model reads: what stands in front, the text to be cut where all is too long, and the rest."""

    @classmethod
    def read(cls, sources: Mapping[str, RowSource], settings: Any) -> tuple[Task, dict[str, Examples]]:
        """Read the splits. Raises DataError for a missing column, and for texts that are missing or empty."""
        options = cls.chosen(settings)
        return cls(**options), {name: cls._split(name, source, settings) for name, source in sources.items()}

    @classmethod
    def _split(cls, name: str, source: RowSource, settings: Any) -> Examples:
        """A source's rows, checked and stored."""
        names, digest = cls.names(source, settings), source.digest()
        how = [cls.name, cls.reading(settings), digest]
        dataset = stored(source, names, lambda row: cls.row(row, names, settings), answer=cls.written, key=how)
        return Examples(name, dataset, cls, {"source": source.name, "digest": digest})

    @classmethod
    def reading(cls, settings: Any) -> Any:
        """What beside the columns decides whether a row is sound."""
        return None

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Task:
        """The task as `card` described it."""
        return cls(**{name: value for name, value in card.items() if name not in ("name", "labels")})

    def card(self) -> dict[str, Any]:
        """The options; there are no labels."""
        return {**super().card(), **self.options}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """An example of a stored row; gold is the list of references."""
        gold, starts = list(row["references"]), tuple(row["starts"])
        return Example(id=row["id"], inputs=json.loads(row["inputs"]), gold=gold, starts=starts, where=row["where"])

    def from_request(self, inputs: Mapping[str, Any], id: str) -> Example:
        """From inputs of exactly the task's columns, none of them empty."""
        sound = all(isinstance(value, str) and value.strip() for value in inputs.values())
        if set(inputs) != set(self.columns) or not sound:
            needed = ", ".join(f"{name!r}: a text" for name in self.columns)
            found = ", ".join(f"{name!r}: {shape(value)}" for name, value in inputs.items())
            raise DataError(f"{self.name} takes {{{needed}}}, none of them empty; found {{{found}}}.")
        return Example(id=id, inputs={name: inputs[name] for name in self.columns})

    def auto_class(self, kind: str) -> str:
        """The language-model head that the base was trained with."""
        return "AutoModelForSeq2SeqLM" if kind == ENCODER_DECODER else "AutoModelForCausalLM"

    def config(self) -> dict[str, Any]:
        """The base's own."""
        return {}

    def encode(
        self, examples: Sequence[Example], pieces: Pieces, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """A row an example. A causal model's row leaves room for the answer, and its targets are the next pieces.

        Raises SettingsError where no room is left for an input.
        """
        room = budget - self.max_new_tokens if pieces.leftwards else budget
        if room < LEAST_ROOM:
            raise SettingsError(
                f"--max_new_tokens {self.max_new_tokens}: of {budget} pieces (--max_length, and what the base has) "
                f"{max(room, 0)} are left for the input. Give at most {budget - LEAST_ROOM}, or a larger --max_length."
            )
        out = []
        for number, (ids, cut) in enumerate(self._inputs(examples, pieces, room)):
            targets = [IGNORED]
            if learning:
                targets = self._answer(examples[number], pieces)
                if pieces.leftwards:
                    targets, ids = [*[IGNORED] * (len(ids) - 1), *targets], ids + targets[:-1]
            out.append(Encoded(example=number, input_ids=ids, targets=targets, detail=cut))
        return out

    def _inputs(self, examples: Sequence[Example], pieces: Pieces, room: int) -> Iterator[tuple[list[int], bool]]:
        """Pieces of each input, at most so many, and whether some were cut off: of the text at its end."""
        parts = [tuple(map(valid_text, self.framed(example))) for example in examples]
        texts = [self.source_prefix + "".join(part) for part in parts]
        made = pieces.tokenizer(texts, return_offsets_mapping=True, **_AS_TEXT)
        ends = len(pieces.after) if pieces.leftwards else 0  # an answer follows, so that this is no end
        for (before, text, _), ids, offsets in zip(parts, made.input_ids, made.offset_mapping, strict=True):
            ids = ids[: len(ids) - ends]
            first = len(self.source_prefix) + len(before)
            inside = [i for i, (begin, end) in enumerate(offsets[: len(ids)])
                      if end > begin and first <= begin and end <= first + len(text)]  # fmt: skip
            over = max(len(ids) - room, 0)
            dropped = set(inside[max(len(inside) - over, 0) :] if over else ())
            kept = [piece for i, piece in enumerate(ids) if i not in dropped][-room:]
            yield kept or [pieces.blank], over > 0

    def _answer(self, example: Example, pieces: Pieces) -> list[int]:
        """Pieces of what is to be learnt, with the piece that ends it."""
        tokenizer, text = pieces.tokenizer, valid_text(self.to_learn(example))
        if not pieces.leftwards:
            return list(tokenizer(text, **_AS_TEXT).input_ids)[: self.max_new_tokens]
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.pad_token_id
        ids = [*tokenizer(text, add_special_tokens=False, **_AS_TEXT).input_ids, int(end)]
        return ids[: self.max_new_tokens]

    def to_learn(self, example: Example) -> str:
        """The answer that is learnt and demonstrated."""
        return str(example.gold[0])

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[rows, pieces, vocabulary]`; an encoder-decoder model shifts the targets to the right for its decoder."""
        shown = {"labels": targets} if config_of(model).is_encoder_decoder else {}
        found: torch.Tensor = model(**inputs, **shown).logits
        return found

    def answers(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], pieces: Pieces
    ) -> Sequence[np.ndarray]:
        """The pieces that the model writes, greedily, a row each."""
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        rows = [row.tolist() if mask is None else row[mask[i] == 1].tolist() for i, row in enumerate(ids)]
        written = generate(model, pieces.tokenizer, rows, max_new_tokens=self.max_new_tokens)
        return [np.array(row, np.int64) for row in written]

    def decode(
        self, examples: Sequence[Example], encoded: Sequence[Encoded], answers: Sequence[np.ndarray], pieces: Pieces
    ) -> list[Prediction]:
        """What was written, as the task reads it."""
        written = [pieces.tokenizer.decode(answer.tolist(), skip_special_tokens=True,
                                           clean_up_tokenization_spaces=False) for answer in answers]  # fmt: skip
        return [Prediction(value=self.understood(text), written=text, truncated=bool(row.detail))
                for row, text in zip(encoded, written, strict=True)]  # fmt: skip

    def understood(self, written: str, form: AnswerForm | None = None) -> str:
        """An answer as metrics compare it."""
        return written.strip()

    def output(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """The inputs and the answer."""
        return {**example.inputs, self.written: prediction.value}

    def check_form(self, form: AnswerForm) -> None:
        """Names stand for what the task knows alone."""
        for name in form.names:
            if name not in self.words:
                raise SettingsError(
                    f"{form.where}: [names]: {self.name} has no {name!r}: {did_you_mean(name, self.words)}"
                )

    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """The inputs."""
        return {} if example is None else dict(example.inputs)

    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The answer on one line, so that it cannot hold the separator."""
        return " ".join(self.to_learn(example).split())

    def read_answer(self, example: Example, written: str, form: AnswerForm) -> Prediction:
        """What was written, without the white space around it; nothing written is no answer."""
        return Prediction(value=self.understood(written, form), written=written, unparsed=not written.strip())
