"""Text generation: from a prompt to its continuation. It is what an adapter of PEFT's type CAUSAL_LM does by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.data.columns import ColumnRoles
from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base.example import Example
from adapters.tasks.base.generation_task import GenerationTask
from adapters.tasks.base.text_answer_task import GenerationSettings

PROMPTS = ("text", "prompt", "instruction", "input", "question")
COMPLETIONS = ("completion", "response", "output", "target", "answer")


@dataclass(frozen=True, kw_only=True)
class Settings(GenerationSettings):
    """Text generation."""

    prompt_column_name: str | None = None
    """Column of the prompt. Default: text, prompt, instruction, input, … ."""
    completion_column_name: str | None = None
    """Column of the completion, which follows the prompt as it is, without a blank between them. Default: completion,
    response, output, target, … ."""


class Task(GenerationTask):
    """From `{text}` to its completion."""

    name = "text_generation"
    metrics = ("rouge", "chrf")
    columns = ("text",)
    written = "completion"
    roles = ("prompt", "completion")
    peft_task = "CAUSAL_LM"

    @classmethod
    def find_columns(cls, roles: ColumnRoles, settings: Any) -> Mapping[str, str]:
        """The columns of prompt and completion."""
        return {
            "text": roles.find("prompt", PROMPTS, what="prompts"),
            "completion": roles.find("completion", COMPLETIONS, what="completions"),
        }

    def framed(self, example: Example) -> tuple[str, str, str]:
        """The prompt alone."""
        return "", example.inputs["text"], ""

    def continuing(self, text: str, tokenizer: WordTokenizer) -> str:
        """The completion as it is."""
        return text
