"""The form in which a prompt reaches the model: one text, or the turns of a chat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from adapters.models.greedy_search import first_token
from adapters.models.tokenizer import WordTokenizer
from adapters.prompting.chat_template import ChatTemplate
from adapters.prompting.special_tokens import guarded, unguarded
from adapters.prompting.template import Prompt
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import PromptableTask


class PromptForm(Protocol):
    """How the parts of a prompt are put together, and where its answer begins and ends.

    Attributes:
        lead: what stands before the first word of a generated answer.
        end_text: the text that ends a generated answer; empty if only tokens do.
        end_tokens: tokens that end it, besides the model's own.
    """

    lead: str
    end_text: str
    end_tokens: tuple[int, ...]

    def shot(self, example: Example) -> Any:
        """A demonstration, as `text` and `tokens` take it."""

    def text(self, shots: Sequence[Any], example: Example, mask: str = "") -> str:
        """The whole prompt of an example; `mask` fills the placeholder of that name."""

    def tokens(self, shots: Sequence[Any], example: Example, mask: str = "") -> list[int]:
        """Tokens of the whole prompt."""

    def answer_tokens(self, word: str) -> list[int]:
        """Tokens of an answer where it begins."""

    def context_tokens(self, mask: str, *, own_words: bool) -> list[int]:
        """Tokens before an answer without a query, or after the query's own last words."""


class PlainForm:
    """One text: the instruction, the shots and the query, with the prompt's separator between them."""

    end_tokens: tuple[int, ...] = ()

    def __init__(self, prompt: Prompt, task: PromptableTask, tokenizer: WordTokenizer) -> None:
        """Args: the prompt, its task, and the tokenizer of the base."""
        self.prompt, self.task, self.tokenizer = prompt, task, tokenizer
        self.chosen = prompt.answer in task.chosen_formats
        self.special = tokenizer.special_texts if prompt.has_special_tokens(tokenizer) else []
        """Those that are text where data spell them; none where the prompt has none, and all of it is text."""
        self.instruction = prompt.instruction_text(task, self.special)
        self.lead, self.end_text = prompt.lead, prompt.separator

    def shot(self, example: Example) -> str:
        """The filled shot, the separator included."""
        return self.prompt.demonstration(self.task, example, self.special)

    def channel_parts(self, example: Example, answer: str) -> tuple[str, str]:
        """The filled channel of an example, before and from its first placeholder on."""
        return self.prompt.channel_parts(self.task, example, answer, self.special)

    def text(self, shots: Sequence[str], example: Example, mask: str = "") -> str:
        """The parts one after the other."""
        return unguarded(self._guarded(shots, example, mask))

    def _guarded(self, shots: Sequence[str], example: Example, mask: str) -> str:
        """The text in which special tokens that data spell are broken."""
        return self.instruction + "".join(shots) + self.prompt.question(self.task, example, mask, self.special)

    def tokens(self, shots: Sequence[str], example: Example, mask: str = "") -> list[int]:
        """Tokens of the text. If answers are chosen, a space at its end is removed: it is part of their first token."""
        text = self._guarded(shots, example, mask)
        return self.prompt.tokenize(text.rstrip(" ") if self.chosen else text, self.tokenizer)

    def answer_tokens(self, word: str) -> list[int]:
        """Tokens of a word after the query; a space at the end of the query belongs to the word, as in running text."""
        return self.continuation(self.prompt.text_before_answer(), guarded(word, self.special))

    def context_tokens(self, mask: str, *, own_words: bool) -> list[int]:
        """Tokens of the query's last words and the mask; an end of text if there are none, which begins texts."""
        before = self.prompt.text_before_answer().rstrip(" ") if own_words else ""
        return self.prompt.tokenize(before + mask, self.tokenizer) or [first_token(self.tokenizer.hf_tokenizer)]

    def continuation(self, context: str, text: str) -> list[int]:
        """Tokens of a text after a context, at least one; spaces at the end of the context belong to the text."""
        spaces = context[len(context.rstrip(" ")) :]
        before, joined = self.bare(context.rstrip(" ")), self.bare(context + text)
        if joined[: len(before)] == before and len(joined) > len(before):
            return joined[len(before) :]
        return self.bare(spaces + text) or [first_token(self.tokenizer.hf_tokenizer)]

    def bare(self, text: str) -> list[int]:
        """Tokens of a text without those of the tokenizer's template."""
        return self.prompt.tokenize(text, self.tokenizer, add_special_tokens=False)


class ChatForm:
    """Turns: the instruction as the system's, each shot and the query as the user's, their answers as the assistant's.

    The query is that of the prompt, without white space at its ends; the prompt's `shot` and `separator` are not used.
    """

    def __init__(self, prompt: Prompt, task: PromptableTask, chat: ChatTemplate) -> None:
        """Args: the prompt, its task, and the chat template of the base."""
        self.prompt, self.task, self.chat = prompt, task, chat
        self.instruction = prompt.instruction_text(task).strip()
        self.lead, self.end_text, self.end_tokens = chat.lead, chat.end_text, chat.end_tokens

    def shot(self, example: Example) -> tuple[str, str]:
        """Query and answer."""
        return self.prompt.turns(self.task, example)

    def messages(self, shots: Sequence[tuple[str, str]], example: Example) -> list[dict[str, str]]:
        """The chat, as `apply_chat_template` takes it."""
        return self.chat.messages(self.instruction, shots, self.prompt.turn(self.task, example))

    def text(self, shots: Sequence[tuple[str, str]], example: Example, mask: str = "") -> str:
        """The rendered chat."""
        return self.chat.text(self.messages(shots, example))

    def tokens(self, shots: Sequence[tuple[str, str]], example: Example, mask: str = "") -> list[int]:
        """Tokens of the rendered chat."""
        return self.chat.tokens(self.messages(shots, example))

    def answer_tokens(self, word: str) -> list[int]:
        """Tokens of a word as the beginning of the assistant's turn."""
        return self.chat.answer_tokens(word)

    def context_tokens(self, mask: str, *, own_words: bool) -> list[int]:
        """Tokens of the query's last words with the turn after them, or of the beginning of that turn alone."""
        return self.chat.tokens_before(self.prompt.text_before_answer().rstrip() if own_words else None)
