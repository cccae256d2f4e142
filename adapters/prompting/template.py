"""A prompt is a TOML file with templates, whose `{{placeholders}}` are filled in one pass. Nothing in it is executed.

task = "ner"                      the task
answer = "lines"                  the answer format: one of the task's answer_formats
instruction = "… {{types}} …"     used once, at the top
query = "Text: {{text}}\\n…"       must have every placeholder that an example fills
shot = "…{{answer}}"              a demonstration; by default the query followed by its answer
channel = "…{{answer}}…{{text}}"  for calibration by the noisy channel: the text after its answer
separator = "\\n\\n"              between the parts, and at the end of an answer
language, note                    for people
[verbalizer]                      label = its word in the prompt, or several (["good", "great"])

If the answer is one of the label words, the query may contain {{mask}}, which the masked-language-model head of an
encoder fills.

In a chat the instruction is the system's turn, a query the user's and an answer the assistant's; shot and separator are
not used then.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters.core.errors import SettingsError, did_you_mean
from adapters.core.files import packaged
from adapters.models.tokenizer import WordTokenizer, valid_text
from adapters.prompting.special_tokens import BREAK, guarded, tokens_of_guarded
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import AnswerForm, PromptableTask

ANSWER, MASK = "answer", "mask"
_PLACEHOLDER = re.compile(r"\{\{([^{}]*+)\}\}")
_MASKED = re.compile(r"\{\{\s*+" + MASK + r"\s*+\}\}")
_ANSWERED = re.compile(r"\{\{\s*+" + ANSWER + r"\s*+\}\}")
_KEYS = ("task", "answer", "language", "note", "instruction", "query", "shot", "channel", "separator", "verbalizer")
_NEEDED = ("task", "answer", "query")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt that has been read and checked."""

    name: str
    task: str
    answer: str
    query: str
    shot: str
    instruction: str = ""
    channel: str = ""
    separator: str = "\n\n"
    language: str = ""
    note: str = ""
    verbalizer: Mapping[str, str | list[str]] = field(default_factory=dict)

    @property
    def form(self) -> AnswerForm:
        """The answer format with the verbalizer."""
        words = {
            label: (words,) if isinstance(words, str) else tuple(words) for label, words in self.verbalizer.items()
        }
        return AnswerForm(format=self.answer, verbalizer=words, separator=self.separator, where=self.name)

    @property
    def masked(self) -> bool:
        """Whether the answer replaces `{{mask}}`, rather than following the query."""
        return MASK in _placeholders(self.query)

    def tokenize(self, text: str, tokenizer: WordTokenizer, *, add_special_tokens: bool = True) -> list[int]:
        """Tokens of a text of this prompt. The text of a special token such as `<|endoftext|>` is tokenized as text.

        If the prompt itself contains special tokens (chat turns, a mask), they are recognised where `guarded` has not
        broken them.
        """
        if not self.has_special_tokens(tokenizer):
            return list(tokenizer.encode_data(text, add_special_tokens=add_special_tokens).input_ids)
        if BREAK in text:
            ids = tokens_of_guarded(text, tokenizer)
            return [*tokenizer.before, *ids, *tokenizer.after] if add_special_tokens else ids
        options = {"add_special_tokens": add_special_tokens, "split_special_tokens": False}
        return list(tokenizer.encode(text, verbose=False, **options).input_ids)

    def has_special_tokens(self, tokenizer: WordTokenizer) -> bool:
        """Whether the prompt itself contains special tokens: a mask, or turns that it writes by hand."""
        parts = (self.instruction, self.query, self.shot, self.channel, self.separator)
        return self.masked or any(token in part for token in tokenizer.special_texts for part in parts)

    def instruction_text(self, task: PromptableTask, special: Sequence[str] = ()) -> str:
        """The filled instruction, the separator included. `special`: tokens that values may not spell unbroken."""
        text = fill(self.instruction, task.fill(None, self.form), special)
        return text + self.separator if text else ""

    def demonstration(self, task: PromptableTask, example: Example, special: Sequence[str] = ()) -> str:
        """A filled shot, the separator included; `special` as of `instruction_text`."""
        answer = task.write_answer(example, self.form)
        return fill(self.shot, {**task.fill(example, self.form), ANSWER: answer}, special) + self.separator

    def question(self, task: PromptableTask, example: Example, mask: str = "", special: Sequence[str] = ()) -> str:
        """The filled query of an example. `mask` fills the placeholder of that name; `special` as of the others."""
        values = {name: guarded(value, special) for name, value in task.fill(example, self.form).items()}
        return fill(self.query, {**values, MASK: mask})

    def turn(self, task: PromptableTask, example: Example) -> str:
        """The filled query of an example as a user's turn: without white space at the ends of the template."""
        return fill(self.query.strip(), task.fill(example, self.form))

    def turns(self, task: PromptableTask, example: Example) -> tuple[str, str]:
        """A demonstration as two turns: the query and its answer."""
        return self.turn(task, example), valid_text(task.write_answer(example, self.form))

    def channel_parts(
        self, task: PromptableTask, example: Example, answer: str, special: Sequence[str] = ()
    ) -> tuple[str, str]:
        """The filled channel of an example, split before the first placeholder of the example.

        The first part contains the answer; the second is scored after it. `special` as of `instruction_text`.
        """
        values = {**task.fill(example, self.form), ANSWER: answer}
        split = min(
            match.start() for match in _PLACEHOLDER.finditer(self.channel) if match[1].strip() in task.placeholders
        )
        return fill(self.channel[:split], values, special), fill(self.channel[split:], values, special)

    @property
    def lead(self) -> str:
        """White space that a demonstration has between the end of the query and the answer."""
        shown = _ANSWERED.split(self.shot)[0]
        own = self.query[len(self.query.rstrip()) :]
        return shown[len(shown.rstrip()) :].removeprefix(own)

    def text_before_answer(self) -> str:
        """The text of the query after its last placeholder, up to the mask or the end; the same for all examples."""
        before = _MASKED.split(self.query)[0] if self.masked else self.query
        return _PLACEHOLDER.split(before)[-1]

    def record(self) -> dict[str, Any]:
        """The prompt as JSON; `from_record` is the inverse."""
        return {name: value for name in ("name", *_KEYS) if (value := getattr(self, name))}


def fill(text: str, values: Mapping[str, str], special: Sequence[str] = ()) -> str:
    """Replace each placeholder by its value, in one pass: a placeholder inside a value is not replaced.

    Of the tokens in `special`, those that a value spells are `guarded`.
    """
    return valid_text(_PLACEHOLDER.sub(lambda match: guarded(values[match[1].strip()], special), text))


def from_record(record: Mapping[str, Any]) -> Prompt:
    """The prompt of a `Prompt.record`."""
    return Prompt(**record)


def paths(plugin_dirs: Sequence[str] = ()) -> dict[str, Path]:
    """Prompt files by name: those of the project and those in `<plugin_dir>/prompts/`."""
    folders = [*(Path(folder) / "prompts" for folder in reversed(plugin_dirs)), packaged("prompts")]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def generating(task: str, plugin_dirs: Sequence[str] = ()) -> list[str]:
    """Names of a task's prompts for bases that generate: the user's own, and ours in the language of `<task>_few`."""
    found = {name: (path, _raw(path)) for name, path in sorted(paths(plugin_dirs).items())}
    usual = found[f"{task}_few"][1].get("language", "") if f"{task}_few" in found else ""
    return [
        name
        for name, (path, values) in found.items()
        if values.get("task") == task
        and MASK not in _placeholders(str(values.get("query", "")))
        and (path.parent != packaged("prompts") or values.get("language", "") in ("", usual))
    ]


def _raw(path: Path) -> dict[str, Any]:
    """The keys of a prompt file that may be faulty; `read` says what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}


def path_of(name: str, known: Mapping[str, Path]) -> Path | None:
    """The file of a prompt, by name or by a path that ends in .toml; None if it does not exist."""
    path = Path(name) if name.endswith(".toml") else known.get(name)
    return path if path is not None and path.is_file() else None


def load(name: str, task: PromptableTask, plugin_dirs: Sequence[str] = ()) -> Prompt:
    """Load a prompt by name or path, and check it against the task.

    Raises:
        SettingsError: unknown prompt, or a fault in it with `file:line`.
    """
    known = paths(plugin_dirs)
    path = path_of(name, known)
    if path is None:
        raise SettingsError(f"--prompt {name}: no prompt or .toml file of that name: {did_you_mean(name, known)}")
    return read(path, task)


def read(path: Path, task: PromptableTask) -> Prompt:
    """Read and check a prompt file. Raises SettingsError."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # a number of 5,000 digits raises a plain ValueError
        match = re.search(r"at line (\d+)", str(error))
        line = match[1] if match else text.rstrip().count("\n") + 1
        where = f"{path}:{line}" if text else str(path)
        raise SettingsError(f"{where}: cannot be read as a prompt ({error}).") from error

    def fault(what: str, key: str | None = None, part: str = "") -> SettingsError:
        return SettingsError(f"{path}: {what}" if key is None else f"{path}:{_line_of(text, key, part)}: {what}")

    check(values, task, fault)
    prompt = Prompt(name=path.stem, **values)
    task.check_form(replace(prompt.form, where=str(path)))
    return prompt


def check(values: dict[str, Any], task: PromptableTask, fault: Callable[..., Exception]) -> None:
    """Check the keys of a prompt, and set the default shot if there is none.

    Args:
        values: by key; modified in place.
        task: the task of the prompt.
        fault: returns the error to raise, given the message, the key and the part of its text.
    """
    for key, value in values.items():
        if key not in _KEYS:
            raise fault(f"unknown key {key!r}: {did_you_mean(key, _KEYS)}", key)
        texts = [*_words(value)] if key == "verbalizer" and isinstance(value, dict) else [value]
        if (key == "verbalizer") != isinstance(value, dict) or not all(isinstance(text, str) for text in texts):
            raise fault(
                f"{key} must be {'a table of texts or lists of texts' if key == 'verbalizer' else 'a text'}.", key
            )
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        raise fault(f"has no {', '.join(missing)}. A prompt needs {', '.join(_NEEDED)}.")
    if values["task"] != task.name:
        raise fault(f"is a prompt for {values['task']}, not for {task.name}.", "task")
    if values["answer"] not in task.answer_formats:
        known = did_you_mean(values["answer"], task.answer_formats)
        raise fault(f"{task.name} has no answer format {values['answer']!r}: {known}", "answer")
    # Without a separator, an answer could not be distinguished from what follows it.
    if not values.get("separator", "\n\n"):
        raise fault("separator must not be empty.", "separator")
    answer = "{{" + ANSWER + "}}"
    masked = MASK in _placeholders(values["query"])
    if len(_MASKED.findall(values["query"])) > 1:
        raise fault(f"query: {{{{{MASK}}}}} may occur once, as there is one answer.", "query")
    values.setdefault("shot", _MASKED.sub(answer, values["query"]) if masked else values["query"] + answer)
    _check_placeholders(values, task, fault)


def _check_placeholders(values: Mapping[str, Any], task: PromptableTask, fault: Callable[..., Exception]) -> None:
    """Check that each text has only allowed placeholders, and all required ones."""
    masks = (MASK,) if values["answer"] in task.chosen_formats else ()
    allowed = {
        "instruction": (task.common_placeholders, ()),
        "query": ((*task.placeholders, *task.common_placeholders, *masks), task.placeholders),
        "shot": ((*task.placeholders, *task.common_placeholders, ANSWER), (*task.placeholders, ANSWER)),
        "channel": (
            (*task.placeholders, *task.common_placeholders, ANSWER),
            (*task.placeholders, ANSWER) if values.get("channel") else (),
        ),
    }
    for key, (known, required) in allowed.items():
        placeholders = _placeholders_as_written(values.get(key, ""))
        for placeholder, name in placeholders.items():
            if name not in known:
                raise fault(f"{key}: unknown placeholder {{{{{name}}}}}: {did_you_mean(name, known)}", key, placeholder)
        unused = [name for name in required if name not in placeholders.values()]
        if unused:
            raise fault(
                f"{key}: the placeholder {{{{{unused[0]}}}}} is not used; without it the model sees no {unused[0]}.",
                key,
            )
    own = [
        name
        for name in _placeholders_as_written(values.get("channel", "")).values()
        if name in (*task.placeholders, ANSWER)
    ]
    if own and own[0] != ANSWER:
        raise fault(
            f"channel: {{{{{ANSWER}}}}} must come before {{{{{own[0]}}}}}, whose likelihood is computed.", "channel"
        )


def _placeholders_as_written(text: str) -> dict[str, str]:
    """The placeholders of a text as they are written, with their names."""
    return {match[0]: match[1].strip() for match in _PLACEHOLDER.finditer(text)}


def _placeholders(text: str) -> set[str]:
    return set(_placeholders_as_written(text).values())


def _words(verbalizer: Mapping[str, Any]) -> Iterator[Any]:
    """The words of a verbalizer; an empty list yields None."""
    for value in verbalizer.values():
        yield from (value or [None]) if isinstance(value, list) else [value]


def _line_of(text: str, key: str, part: str) -> int:
    """Line of a part of a key's value in a TOML text, or of the key if the part is not found; 1 without the key."""
    match = re.search(rf"^[ \t]*+\[{{0,2}}[ \t]*+[\"']?{re.escape(key)}[\"']?[ \t]*+[=\].]", text, re.MULTILINE)
    at = match.start() if match else 0
    return text.count("\n", 0, max(at, text.find(part, at))) + 1
