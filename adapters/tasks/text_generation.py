"""Text generation: from a prompt to its continuation. It is what an adapter of PEFT's type CAUSAL_LM does by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.core.errors import DataError
from adapters.data.cell_values import parse_cell
from adapters.data.classification_columns import holds_decisions
from adapters.data.columns import ColumnRoles, plain
from adapters.data.generation_rows import GenerationRow
from adapters.data.rows import Row
from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base.example import Example
from adapters.tasks.base.generation_task import GenerationTask
from adapters.tasks.base.text_answer_task import GenerationSettings

PROMPTS = ("prompt", "instruction", "text", "input", "question")
"""Before `text`, as that is a whole example in some data of instructions (Alpaca's), the completion included."""
COMPLETIONS = ("completion", "response", "output", "target", "answer")
INPUTS = ("input", "context")
"""Columns that belong to an `instruction` (Alpaca's and Dolly's); often empty."""
CONVERSATIONS = ("messages", "conversations", "conversation")
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
"""Other names of the two who speak (ShareGPT's)."""


@dataclass(frozen=True, kw_only=True)
class Settings(GenerationSettings):
    """Text generation."""

    prompt_column_name: str | None = None
    """Column of the prompt. Default: prompt, instruction (with input or context after it), text, input, …; or messages,
    of which the last is the completion."""
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
        """The columns of prompt and completion, and of an instruction's input; or one of conversations.

        A conversation is read where no usual name of a prompt exists. Its prompt is a line for each turn, `user: …`,
        and `assistant:` at the end; the last turn is the completion.
        """
        talks = roles.matching(CONVERSATIONS)
        if talks and not roles.given.get("prompt") and not roles.matching(PROMPTS):
            for role in cls.roles:
                roles.use(role, talks[0])
            return {"text": talks[0], "completion": talks[0], "turns": talks[0]}
        prompt = roles.find("prompt", PROMPTS, what="prompts")
        usual = [name for name in COMPLETIONS if name != "answer" or not holds_decisions(roles.source)]
        completion = roles.find("completion", usual, what="completions")
        more = [] if roles.given.get("prompt") or plain(prompt) != "instruction" else roles.matching(INPUTS)
        if not more:
            return {"text": prompt, "completion": completion}
        roles.use("prompt", prompt, more[0])
        roles.notes.append(
            f"the prompt is {prompt} and, where it is not empty, {more[0]} after a blank line (--prompt_column_name "
            f"{prompt} reads that alone)"
        )
        return {"text": prompt, "completion": completion, "input": more[0]}

    @classmethod
    def row(cls, row: Row, columns: Mapping[str, str], settings: Any) -> GenerationRow:
        """Prompt and completion."""
        if "turns" in columns:
            prompt, completion = _of_turns(row.values.get(columns["turns"]))
            return GenerationRow(inputs={"text": prompt}, references=completion)
        text, more = row.values.get(columns["text"]), row.values.get(columns.get("input", ""))
        if isinstance(text, str) and isinstance(more, str) and more.strip():
            text = f"{text}\n\n{more}"
        return GenerationRow(inputs={"text": text}, references=row.values.get(columns["completion"]))

    def framed(self, example: Example) -> tuple[str, str, str]:
        """The prompt alone."""
        return "", example.inputs["text"], ""

    def continuing(self, text: str, tokenizer: WordTokenizer) -> str:
        """The completion as it is."""
        return text


def _of_turns(cell: Any) -> tuple[str, str]:
    """Prompt and completion of a conversation. Raises DataError."""
    try:
        turns = parse_cell(cell) if isinstance(cell, str) else cell
    except ValueError as error:
        raise DataError(f"the conversation: the cell {error}") from error
    lines = []
    for turn in turns if isinstance(turns, list | tuple) else ():
        turn = turn if isinstance(turn, Mapping) else {}
        who = next((turn[key] for key in ("role", "from", "speaker") if key in turn), None)
        said = next((turn[key] for key in ("content", "value", "text") if key in turn), None)
        if not isinstance(who, str) or not isinstance(said, str) or not said.strip():
            raise DataError('the conversation: a turn needs {"role": "user", "content": "…"}, neither of them empty')
        lines.append((ROLES.get(who.lower(), who.lower()), said.strip()))
    if len(lines) < 2 or lines[-1][0] != "assistant":
        raise DataError("the conversation: its last turn must be the assistant's, after another one")
    return "\n".join([*(f"{who}: {said}" for who, said in lines[:-1]), "assistant:"]), f" {lines[-1][1]}"
