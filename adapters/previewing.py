"""`python -m adapters prompts`: which there are, and one filled with real examples, as a model reads it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters import discovery, flags, splits
from adapters.errors import SettingsError, did_you_mean
from adapters.model import open_base, quiet_libraries
from adapters.prompting import template
from adapters.prompting.decoding import PromptPredictor
from adapters.prompting.shots import draw
from adapters.settings import CommonSettings, join


def list_prompts(plugin_dirs: Sequence[str]) -> int:
    """One line a prompt."""
    for name, path in sorted(template.paths(plugin_dirs).items()):
        prompt = tomllib.loads(path.read_text(encoding="utf-8"))
        print(f"{name:32} {prompt.get('task', ''):16} {prompt.get('note', '')}")
    return 0


@dataclass(frozen=True, kw_only=True)
class PreviewSettings:
    """What is shown."""

    shots: int = 2
    """Demonstrations to show."""
    examples: int = 2
    """Queries to show."""


def preview(name: str, argv: Sequence[str]) -> int:
    """Print a prompt with shots from train and the first queries of test (or dev), and how many pieces each is.

    Args:
        name: of the prompt, or its .toml file.
        argv: flags of its task's data, of the base, and of what is shown.

    Raises SettingsError: no such prompt, a fault in it as `file:line`, more shots than train has, an unknown flag.
    """
    quiet_libraries()
    given, task, found = _data(name, argv)
    prompt = template.load(name, task, given.plugin_dir)
    base = open_base(given.model_name_or_path)
    shots = draw(found.get("train", ()), given.shots, given.seed)
    examples = (found.get("test") or found["validation"])[: given.examples]
    # Nothing is asked, so there is no model: pieces hang on the tokenizer alone.
    asked = PromptPredictor(None, base, task, prompt, shots, max_new_tokens=1)
    tokenizer = base.text_tokenizer
    mask = str(tokenizer.mask_token) if prompt.masked else ""
    print(f"{prompt.name} for {task.name}, pieces of {base.name} ({base.positions:,} positions)\n")
    _part("instruction", asked.head, tokenizer)
    for number, shot in enumerate(asked.shots, 1):
        _part(f"shot {number}", shot, tokenizer)
    for example in examples:
        fitting = asked.fit(example)
        title = f"query, its answer {task.write_answer(example, prompt.form)!r}"
        _part(title, prompt.question(task, example, mask), tokenizer)
        if fitting is None:
            print("  does not fit even alone: the model is not asked\n")
            continue
        said = f"{len(asked.pieces(example, fitting, mask)):,} pieces with {fitting} of {len(shots)} shots"
        print(f"  whole: {said}\n")
    if asked.choices is not None:
        words = [f"{word} ({len(pieces)})" for (word, _), pieces in
                 zip(task.choices(prompt.form), asked.choices.pieces, strict=True)]  # fmt: skip
        print(f"answers compared, and their pieces: {', '.join(words)}")
    return 0


def _part(title: str, text: str, tokenizer: Any) -> None:
    """A part of the prompt behind a bar, so that blanks and line ends show."""
    if not text:
        return
    pieces = len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
    print(f"{title}: {pieces:,} pieces")
    for line in text.splitlines():
        print(f"  | {line}")
    print()


def _data(prompt: str, argv: Sequence[str]) -> tuple[Any, Any, dict[str, Any]]:
    """Settings, and the prompt's task with its data."""
    plugins = flags.peek(argv, "plugin_dir")
    known = template.paths(plugins)
    path = template.path_of(prompt, known)
    if path is None:
        raise SettingsError(f"{prompt}: no prompt or .toml file of that name: {did_you_mean(prompt, known)}")
    try:
        name = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("task")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read as a prompt ({error}).") from error
    tasks = discovery.names("tasks", plugins)
    if name not in tasks:
        raise SettingsError(f"{path}: task = {name!r}: {did_you_mean(str(name), tasks)}")
    kind = join(CommonSettings, discovery.load("tasks", name, plugins).Settings, PreviewSettings)
    given = flags.parse(kind, {"model_name_or_path": "smollm2"}, "Show a prompt filled with real examples.", argv)
    given.check()
    task, found, _ = splits.read(name, given)
    return given, task, found
