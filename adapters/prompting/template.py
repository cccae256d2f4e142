"""A prompt is one TOML file of data: texts with `{{holes}}`, filled in one pass; nothing in it or in the data is run.

task = "ner"                   the task it asks
answer = "lines"               how the answer is written: one of the task's answer_formats
instruction = "… {{types}} …"  stands once, at the top
query = "Text: {{text}}\\n…"    asks; must have every hole that an example fills
shot = "…{{answer}}"           a demonstration; by default the query followed by its answer
channel = "…{{answer}}…{{text}}"  for the noisy channel: how likely is the text behind its answer
separator = "\\n\\n"             stands between the parts, and ends an answer
language, note                 for people
[names]                        what labels are called in the prompt: a text, or several (["good", "great"])

Where the answer is one of known words, the query may hold {{mask}}: an encoder's masked-language-model head fills it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters.alignment import valid_text
from adapters.errors import SettingsError, did_you_mean
from adapters.files import packaged
from adapters.tasks import AnswerForm, Example, Task

ANSWER, MASK = "answer", "mask"
_HOLE = re.compile(r"\{\{([^{}]*+)\}\}")
_MASKED = re.compile(r"\{\{\s*+" + MASK + r"\s*+\}\}")
_KEYS = ("task", "answer", "language", "note", "instruction", "query", "shot", "channel", "separator", "names")
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
    names: Mapping[str, str | list[str]] = field(default_factory=dict)

    @property
    def form(self) -> AnswerForm:
        """How the answer is written."""
        names = {label: (words,) if isinstance(words, str) else tuple(words) for label, words in self.names.items()}
        return AnswerForm(format=self.answer, names=names, separator=self.separator, where=self.name)

    @property
    def masked(self) -> bool:
        """Whether the answer is what a model puts in the place of `{{mask}}`, not what it writes behind the query."""
        return MASK in _holes(self.query)

    def cut(self, text: str, tokenizer: Any, **options: Any) -> list[int]:
        """A text of this prompt as pieces; `<|endoftext|>` in data is that text, not the piece that ends one.

        Where the prompt's own texts have special pieces (a chat's turns, a mask), they are told as such everywhere.
        """
        parts = (self.instruction, self.query, self.shot, self.channel, self.separator)
        own = self.masked or any(piece in part for piece in tokenizer.all_special_tokens for part in parts)
        ids: list[int] = tokenizer(text, verbose=False, split_special_tokens=not own, **options).input_ids
        return ids

    def head(self, task: Task) -> str:
        """What stands in front of the first shot, the separator included."""
        text = fill(self.instruction, task.fill(None, self.form))
        return text + self.separator if text else ""

    def demonstration(self, task: Task, example: Example) -> str:
        """A shot, the separator behind it included."""
        answer = task.write_answer(example, self.form)
        return fill(self.shot, {**task.fill(example, self.form), ANSWER: answer}) + self.separator

    def question(self, task: Task, example: Example, mask: str = "") -> str:
        """The query about an example; `mask` fills the hole of that name, and stands nowhere else."""
        values = task.fill(example, self.form)
        if mask:
            values = {name: value.replace(mask, " ") for name, value in values.items()}
        return fill(self.query, {**values, MASK: mask})

    def channelled(self, task: Task, example: Example, answer: str) -> tuple[str, str]:
        """The channel about an example, cut in front of the first thing in it that is the example's own.

        The second part is what is likely or not behind an answer, which stands in the first.
        """
        values = {**task.fill(example, self.form), ANSWER: answer}
        at = min(match.start() for match in _HOLE.finditer(self.channel) if match[1].strip() in task.holes)
        return fill(self.channel[:at], values), fill(self.channel[at:], values)

    def in_front_of_answer(self) -> str:
        """The prompt's own text between the query's last hole and its mask, or its end: the same for every example."""
        before = _MASKED.split(self.query)[0] if self.masked else self.query
        return _HOLE.split(before)[-1]

    def record(self) -> dict[str, Any]:
        """As JSON; `from_record` takes it back."""
        return {name: value for name in ("name", *_KEYS) if (value := getattr(self, name))}


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each hole replaced by its value, in one pass: a hole inside a value stays as it is written."""
    return valid_text(_HOLE.sub(lambda match: values[match[1].strip()], text))


def from_record(record: Mapping[str, Any]) -> Prompt:
    """A prompt that `Prompt.record` described."""
    return Prompt(**record)


def paths(plugin_dirs: Sequence[str] = ()) -> dict[str, Path]:
    """Prompt files by name: those that come with the project and those in `<plugin_dir>/prompts/`."""
    places = [*(Path(folder) / "prompts" for folder in reversed(plugin_dirs)), packaged("prompts")]
    return {path.stem: path for place in places for path in sorted(place.glob("*.toml"))}


def path_of(name: str, known: Mapping[str, Path]) -> Path | None:
    """The file of a prompt by its name, or by its path if that ends in .toml; None where there is none."""
    path = Path(name) if name.endswith(".toml") else known.get(name)
    return path if path is not None and path.is_file() else None


def load(name: str, task: Task, plugin_dirs: Sequence[str] = ()) -> Prompt:
    """The prompt of that name, or in the file of that path, checked against the task.

    Raises:
        SettingsError: no such prompt; a fault in it, as `file:line`.
    """
    known = paths(plugin_dirs)
    path = path_of(name, known)
    if path is None:
        raise SettingsError(f"--prompt {name}: no prompt or .toml file of that name: {did_you_mean(name, known)}")
    return read(path, task)


def read(path: Path, task: Task) -> Prompt:
    """Read and check a prompt file. Raises SettingsError."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError of Python's own
        said = re.search(r"at line (\d+)", str(error))
        line = said[1] if said else text.rstrip().count("\n") + 1
        where = f"{path}:{line}" if text else str(path)
        raise SettingsError(f"{where}: cannot be read as a prompt ({error}).") from error

    def fault(what: str, key: str | None = None, part: str = "") -> SettingsError:
        return SettingsError(f"{path}: {what}" if key is None else f"{path}:{_line_of(text, key, part)}: {what}")

    check(values, task, fault)
    prompt = Prompt(name=path.stem, **values)
    task.check_form(replace(prompt.form, where=str(path)))
    return prompt


def check(values: dict[str, Any], task: Task, fault: Callable[..., Exception]) -> None:
    """Check the keys of a prompt, and set the shot where there is none.

    Args:
        values: by key; a default is set in place.
        task: what is asked.
        fault: the error to raise, from what is wrong, in which key, and in which part of its text.
    """
    for key, value in values.items():
        if key not in _KEYS:
            raise fault(f"unknown key {key!r}: {did_you_mean(key, _KEYS)}", key)
        texts = [*_words(value)] if key == "names" and isinstance(value, dict) else [value]
        if (key == "names") != isinstance(value, dict) or not all(isinstance(text, str) for text in texts):
            raise fault(f"{key} must be {'a table of texts, or lists of them' if key == 'names' else 'a text'}.", key)
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        raise fault(f"has no {', '.join(missing)}. A prompt needs {', '.join(_NEEDED)}.")
    if values["task"] != task.name:
        raise fault(f"is a prompt for {values['task']}, not for {task.name}.", "task")
    if values["answer"] not in task.answer_formats:
        known = did_you_mean(values["answer"], task.answer_formats)
        raise fault(f"{task.name} has no answer format {values['answer']!r}: {known}", "answer")
    # An answer could not be told from what follows it, nor would generation know where to end.
    if not values.get("separator", "\n\n"):
        raise fault("separator must not be empty.", "separator")
    shown = "{{" + ANSWER + "}}"
    masked = MASK in _holes(values["query"])
    values.setdefault("shot", _MASKED.sub(shown, values["query"]) if masked else values["query"] + shown)
    _check_holes(values, task, fault)


def _check_holes(values: Mapping[str, Any], task: Task, fault: Callable[..., Exception]) -> None:
    """Each text may have these holes, and must have those."""
    masks = (MASK,) if values["answer"] in task.chosen_formats else ()
    allowed = {
        "instruction": (task.common_holes, ()),
        "query": ((*task.holes, *task.common_holes, *masks), task.holes),
        "shot": ((*task.holes, *task.common_holes, ANSWER), (*task.holes, ANSWER)),
        "channel": ((*task.holes, *task.common_holes, ANSWER), (*task.holes, ANSWER) if values.get("channel") else ()),
    }
    for key, (may, must) in allowed.items():
        holes = _holes_as_written(values.get(key, ""))
        for hole, name in holes.items():
            if name not in may:
                raise fault(f"{key}: unknown hole {{{{{name}}}}}: {did_you_mean(name, may)}", key, hole)
        unused = [name for name in must if name not in holes.values()]
        if unused:
            raise fault(
                f"{key}: the hole {{{{{unused[0]}}}}} is not used; without it the model sees no {unused[0]}.", key
            )
    own = [name for name in _holes_as_written(values.get("channel", "")).values() if name in (*task.holes, ANSWER)]
    if own and own[0] != ANSWER:
        raise fault(
            f"channel: {{{{{ANSWER}}}}} must stand in front of {{{{{own[0]}}}}}, whose likelihood is asked.", "channel"
        )


def _holes_as_written(text: str) -> dict[str, str]:
    """Each hole of a text as it stands there, and its name."""
    return {match[0]: match[1].strip() for match in _HOLE.finditer(text)}


def _holes(text: str) -> set[str]:
    return set(_holes_as_written(text).values())


def _words(names: Mapping[str, Any]) -> Iterator[Any]:
    """The words in a table of names; a list without one counts as none."""
    for value in names.values():
        yield from (value or [None]) if isinstance(value, list) else [value]


def _line_of(text: str, key: str, part: str) -> int:
    """Line in a TOML text of a part of a key's value, or of the key where that is not found; 1 without the key."""
    match = re.search(rf"^[ \t]*+\[{{0,2}}[ \t]*+[\"']?{re.escape(key)}[\"']?[ \t]*+[=\].]", text, re.MULTILINE)
    at = match.start() if match else 0
    return text.count("\n", 0, max(at, text.find(part, at))) + 1
