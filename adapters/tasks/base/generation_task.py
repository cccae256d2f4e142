"""A task whose answer the model generates: all but its columns and the text around an input.

A causal model continues the input with the answer; an encoder-decoder model encodes the input and decodes the answer.
The loss covers the answer only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.core.errors import SettingsError, did_you_mean, verb
from adapters.models.base_model import CAUSAL, ENCODER_DECODER
from adapters.models.generation import generate
from adapters.models.tokenizer import IGNORED, WordTokenizer, valid_text
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.task import AnswerForm, PromptableTask, config_of
from adapters.tasks.base.text_answer_task import TextAnswerTask

if TYPE_CHECKING:
    import torch

LEAST_ROOM = 8
"""Tokens that must be left for an input besides its answer."""


class GenerationTask(TextAnswerTask, PromptableTask):
    """A subclass adds its columns, and the text that a trained model reads around an input."""

    kinds: ClassVar[tuple[str, ...]] = (CAUSAL, ENCODER_DECODER)
    has_head = False
    answer_formats: ClassVar[tuple[str, ...]] = ("text",)
    verbalized: ClassVar[tuple[str, ...]] = ()
    """The keys that a prompt's [verbalizer] may have."""

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The columns of the inputs."""
        return self.columns

    @abstractmethod
    def framed(self, example: Example) -> tuple[str, str, str]:
        """What a trained model reads: the text before, the text that is truncated if need be, and the text after."""

    def auto_class(self, kind: str) -> str:
        """The language-model head that the base was trained with."""
        return "AutoModelForSeq2SeqLM" if kind == ENCODER_DECODER else "AutoModelForCausalLM"

    def config(self) -> dict[str, Any]:
        """The base's own."""
        return {}

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """One row per example. A causal model's row leaves room for the answer, and its targets are the next tokens.

        Raises SettingsError where no room is left for an input.
        """
        room = budget - self.max_new_tokens if tokenizer.causal else budget
        if room < LEAST_ROOM:
            raise SettingsError(
                f"--max_new_tokens {self.max_new_tokens}: of {budget} tokens (--max_length, limited by the base) "
                f"{max(room, 0)} are left for the input. Give at most {budget - LEAST_ROOM}, or a larger --max_length."
            )
        out = []
        for number, (ids, cut) in enumerate(self._inputs(examples, tokenizer, room)):
            targets = [IGNORED]
            if learning:
                targets = self._answer(examples[number], tokenizer)[: self.max_new_tokens]
                if tokenizer.causal:
                    targets, ids = [*[IGNORED] * (len(ids) - 1), *targets], ids + targets[:-1]
            out.append(Encoded(example=number, input_ids=ids, targets=targets, detail=cut))
        return out

    def _inputs(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, room: int
    ) -> Iterator[tuple[list[int], bool]]:
        """At most `room` tokens of each input, and whether tokens were cut off, at the end of its framed text."""
        parts = [tuple(map(valid_text, self.framed(example))) for example in examples]
        texts = [self.source_prefix + "".join(part) for part in parts]
        encoded = tokenizer.encode_data(texts, return_offsets_mapping=True)
        end_tokens = len(tokenizer.after) if tokenizer.causal else 0  # the answer follows, so the text has no end yet
        for (before, text, _), ids, offsets in zip(parts, encoded.input_ids, encoded.offset_mapping, strict=True):
            ids = ids[: len(ids) - end_tokens]
            first = len(self.source_prefix) + len(before)
            inside = [
                i
                for i, (begin, end) in enumerate(offsets[: len(ids)])
                if end > begin and first <= begin and end <= first + len(text)
            ]
            over = max(len(ids) - room, 0)
            dropped = set(inside[max(len(inside) - over, 0) :] if over else ())
            kept = [token for i, token in enumerate(ids) if i not in dropped][-room:]
            yield kept or [tokenizer.blank], over > 0

    def _answer(self, example: Example, tokenizer: WordTokenizer) -> list[int]:
        """Tokens of the answer to learn, with the token that ends it."""
        own, text = tokenizer.hf_tokenizer, valid_text(self.to_learn(example))
        if not tokenizer.causal:
            return list(tokenizer.encode_data(text).input_ids)
        end = own.eos_token_id if own.eos_token_id is not None else own.pad_token_id
        following = self.continuing(text, tokenizer)
        return [*tokenizer.encode_data(following, add_special_tokens=False).input_ids, int(end)]

    def cautions(self, examples: Sequence[Example], tokenizer: WordTokenizer) -> list[str]:
        """How many answers are longer than `max_new_tokens`, so that their rest and their end are not learned."""
        lengths = [len(self._answer(example, tokenizer)) for example in examples]
        cut = sum(length > self.max_new_tokens for length in lengths)
        if not cut:
            return []
        return [
            f"{cut:,} of the first {len(lengths):,} answers {verb(cut, 'are')} longer than --max_new_tokens "
            f"{self.max_new_tokens}, so that the model learns neither their rest nor where they end: "
            f"--max_new_tokens {max(lengths)} would fit all of them"
        ]

    def continuing(self, text: str, tokenizer: WordTokenizer) -> str:
        """An answer as it follows the input of a causal model: a word after others."""
        return tokenizer.inside_text(text)

    def to_learn(self, example: Example) -> str:
        """The answer that is learnt and demonstrated."""
        return str(example.gold[0])

    def logits(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`[rows, tokens, vocabulary]`; an encoder-decoder model shifts the targets to the right for its decoder."""
        labels = {"labels": targets} if config_of(model).is_encoder_decoder else {}
        found: torch.Tensor = model(**inputs, **labels).logits
        return found

    def answers(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], tokenizer: WordTokenizer
    ) -> Sequence[np.ndarray]:
        """The tokens that the model generates greedily, one array per row."""
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        rows = [row.tolist() if mask is None else row[mask[i] == 1].tolist() for i, row in enumerate(ids)]
        generated = generate(model, tokenizer.hf_tokenizer, rows, max_new_tokens=self.max_new_tokens)
        return [np.array(row, np.int64) for row in generated]

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        """The generated texts, as the task reads them."""
        as_text = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        texts = [tokenizer.hf_tokenizer.decode(answer.tolist(), **as_text) for answer in answers]
        return [
            Prediction(value=self.understood(text), written=text, truncated=bool(row.detail))
            for row, text in zip(encoded, texts, strict=True)
        ]

    def understood(self, written: str, form: AnswerForm | None = None) -> str:
        """A generated answer as metrics compare it."""
        return written.strip()

    def check_form(self, form: AnswerForm) -> None:
        """Raises SettingsError where [verbalizer] has a key that the task does not know."""
        for name in form.verbalizer:
            if name not in self.verbalized:
                known = did_you_mean(name, self.verbalized)
                raise SettingsError(f"{form.where}: [verbalizer]: {self.name} has no {name!r}: {known}")

    def fill(self, example: Example | None, form: AnswerForm) -> dict[str, str]:
        """The inputs."""
        return {} if example is None else dict(example.inputs)

    def write_answer(self, example: Example, form: AnswerForm) -> str:
        """The answer on one line, so that it cannot contain the separator."""
        return " ".join(self.to_learn(example).split())

    def read_answer(self, example: Example, written: str, form: AnswerForm) -> Prediction:
        """The generated text without surrounding white space; an empty one is a parse failure."""
        return Prediction(value=self.understood(written, form), written=written, parse_failure=not written.strip())
