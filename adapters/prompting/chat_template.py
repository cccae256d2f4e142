"""A tokenizer's chat template: a prompt becomes turns, as the base was trained to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ModelError
from adapters.core.files import digest_value
from adapters.core.settings import require
from adapters.models.base_model import CAUSAL
from adapters.models.greedy_search import first_token
from adapters.models.tokenizer import WordTokenizer
from adapters.prompting.special_tokens import BREAK, guarded, tokens_of_guarded
from adapters.prompting.template import Prompt

if TYPE_CHECKING:
    from adapters.models.base_model import Base

CHOICES = ("auto", "yes", "no")
"""Values of --apply_chat_template."""

Messages = Sequence[Mapping[str, str]]

_SYSTEM, _QUERY, _ANSWER, _NEXT = "qjxsystem", "qjxquery", "qjxanswer", "qjxnext"
"""Contents by which the parts of a rendered chat are told apart; no template has these words."""


class ChatTemplate:
    """The turns of a tokenizer's chat template.

    Attributes:
        has_system: whether there is a system turn; else an instruction is put before the first query.
        before_answer: text between the last query and its answer.
        opening: the part of it that begins the assistant's turn; empty if the template has none.
        lead: white space that the template puts before an answer.
        end_tokens: the token that ends an answer's turn; empty if no token of its own does.
        end_text: the text that ends it then.
    """

    def __init__(self, tokenizer: WordTokenizer) -> None:
        """Args: tokenizer: that has a chat template (`template_of`). Raises ModelError if it cannot be rendered."""
        self.tokenizer = tokenizer
        self.digest = digest_value(template_of(tokenizer))
        try:
            asked = self._rendered([_user(_QUERY)])
            closed = self._rendered([_user(_QUERY)], answering=False)
            chat = self._rendered([_user(_QUERY), _turn("assistant", _ANSWER), _user(_NEXT)], answering=False)
            self.before_answer = asked[asked.index(_QUERY) + len(_QUERY) :]
            between = chat[chat.index(_QUERY) + len(_QUERY) : chat.index(_ANSWER)]
            after = chat[chat.index(_ANSWER) + len(_ANSWER) : chat.index(_NEXT)]
        except Exception as error:  # a template raises what it likes
            raise ModelError(
                f"the tokenizer's chat template cannot be used for a query, its answer and the next query ({error}). "
                "Give --apply_chat_template no."
            ) from error
        self.has_system = self._renders_system()
        self.opening = asked.removeprefix(closed) if asked.startswith(closed) else ""
        lead = between.removeprefix(self.before_answer) if between.startswith(self.before_answer) else ""
        self.lead = "" if lead.strip() else lead
        added = tokenizer.hf_tokenizer.added_tokens_decoder
        first = [number for number, token in added.items() if after.lstrip().startswith(token.content)]
        self.end_tokens: tuple[int, ...] = (max(first, key=lambda number: len(added[number].content)),) if first else ()
        self.end_text = "" if first else after.rstrip() or after

    def in_words(self) -> str:
        """That it is used, for reports."""
        return "yes" if self.has_system else "yes (it has no system turn: the instruction is before the first query)"

    def _renders_system(self) -> bool:
        try:
            return _SYSTEM in self._rendered([_turn("system", _SYSTEM), _user(_QUERY)])
        except Exception:  # such templates call raise_exception, whose type is jinja2's own
            return False

    def messages(self, instruction: str, shots: Sequence[tuple[str, str]], query: str) -> list[dict[str, str]]:
        """A chat that ends with a query.

        Args:
            instruction: the system turn; before the first query where there is no such turn.
            shots: queries with their answers.
            query: the last one.
        """
        turns = [turn for shot, answer in shots for turn in (_user(shot), _turn("assistant", answer))]
        turns.append(_user(query))
        if instruction and self.has_system:
            return [_turn("system", instruction), *turns]
        return [_user(f"{instruction}\n\n{turns[0]['content']}"), *turns[1:]] if instruction else turns

    def text(self, messages: Messages) -> str:
        """The rendered chat, up to where the answer begins."""
        return self._rendered(messages)

    def tokens(self, messages: Messages) -> list[int]:
        """Tokens of the chat, up to where the answer begins, as the tokenizer's `apply_chat_template` gives them.

        What spells a special token in a message stays text.
        """
        special = self.tokenizer.special_texts
        contents = [guarded(message["content"], special) for message in messages]
        if any(BREAK in content for content in contents):
            told = [{**message, "content": content} for message, content in zip(messages, contents, strict=True)]
            return tokens_of_guarded(self._rendered(told), self.tokenizer)
        options = {"return_dict": False, "tokenizer_kwargs": {"verbose": False}}
        return list(self._apply(messages, tokenize=True, add_generation_prompt=True, **options))

    def answer_tokens(self, answer: str) -> list[int]:
        """Tokens of an answer in its turn, without the turn's end; at least one."""
        before = self._encode(self.before_answer).input_ids
        joined = self._encode(self.before_answer + self.lead + answer).input_ids
        if joined[: len(before)] == before and len(joined) > len(before):
            return list(joined[len(before) :])
        return list(self._encode(self.lead + answer).input_ids) or [first_token(self.tokenizer.hf_tokenizer)]

    def tokens_before(self, query_end: str | None) -> list[int]:
        """Tokens before an answer to a query of which only the end is known; None: where there is no query at all."""
        text = self.opening if query_end is None else query_end + self.before_answer
        return list(self._encode(text).input_ids) or [first_token(self.tokenizer.hf_tokenizer)]

    def _encode(self, text: str, **options: Any) -> Any:
        """Tokens of a rendered text, whose special tokens are special."""
        plain = {"add_special_tokens": False, "split_special_tokens": False, "verbose": False}
        return self.tokenizer.encode(text, **plain, **options)

    def _rendered(self, messages: Messages, *, answering: bool = True) -> str:
        return str(self._apply(messages, tokenize=False, add_generation_prompt=answering))

    def _apply(self, messages: Messages, **options: Any) -> Any:
        with self.tokenizer.turn:
            return self.tokenizer.hf_tokenizer.apply_chat_template([dict(message) for message in messages], **options)


def template_of(tokenizer: WordTokenizer) -> str | None:
    """A tokenizer's chat template, of several the default one; None if there is none."""
    try:
        return str(tokenizer.hf_tokenizer.get_chat_template())
    except ValueError:  # how transformers says so
        return None


def chosen_template(wanted: str, base: Base, prompt: Prompt, *, channel: bool = False) -> ChatTemplate | None:
    """The chat template in whose turns a prompt is written; None for one text.

    Args:
        wanted: one of `CHOICES`; `auto` takes the base's template where that is possible.
        base: whose tokenizer may have a template.
        prompt: to be written.
        channel: whether texts are scored after their labels.

    Raises SettingsError where turns are wanted and impossible.
    """
    require(wanted in CHOICES, "apply_chat_template", wanted, f"one of {', '.join(CHOICES)}")
    if wanted == "no":
        return None
    needed = ""
    if base.kind != CAUSAL:
        needed = f"used with a causal base, which {base.name} is not"
    elif template_of(base.word_tokenizer) is None:
        needed = f"used with a base whose tokenizer has a chat template, which {base.name} lacks"
    elif prompt.has_special_tokens(base.word_tokenizer):
        needed = f"used with a prompt without special tokens of its own, which {prompt.name} has"
    elif channel:
        needed = "used without --calibration channel, which is read as one text"
    require(not needed or wanted == "auto", "apply_chat_template", wanted, needed)
    return None if needed else ChatTemplate(base.word_tokenizer)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _user(content: str) -> dict[str, str]:
    return _turn("user", content)
