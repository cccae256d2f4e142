"""List the prompts, or show one filled with real examples, as the model reads it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from adapters.core import arguments, discovery, flags
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import SettingsError, did_you_mean, numbered
from adapters.core.settings import CommonSettings, join

HELP = "list the prompts, or show one filled with real examples and its tokens counted"
GROUP = "Look inside"
DESCRIPTION = """List the prompts, or show one filled with real examples, as the model reads it.

A prompt is shown on the data and the base model of a recipe's flags: taskswap prompts ner_json --help"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The list of prompts."""

    name: Annotated[str | None, POSITIONAL] = None
    """Prompt to show, by its name or as a .toml file; must come before all flags. Default: list them all."""
    plugin_dir: list[str] = field(default_factory=list)
    """Folders with tasks and prompts of your own."""


@dataclass(frozen=True, kw_only=True)
class PreviewSettings:
    """What is shown of a prompt."""

    shots: int = 2
    """Demonstrations to show."""
    examples: int = 2
    """Queries to show."""
    apply_chat_template: str = "auto"
    """Show the turns of the base's chat template: auto (where its tokenizer has one), yes or no."""


def settings() -> type:
    """The class of all flags, whatever the task of the prompt."""
    tasks = [discovery.load("tasks", name).Settings for name in discovery.names("tasks")]
    joined: type = join(CommonSettings, *tasks, PreviewSettings)
    return joined


def run(argv: Sequence[str]) -> int:
    """Run `taskswap prompts`."""
    if argv and not argv[0].startswith("-"):
        return _preview(argv[0], argv[1:])
    given: Settings = arguments.parse(Settings, {}, DESCRIPTION, argv, program="taskswap prompts")
    if given.name is not None:
        raise SettingsError(f"{given.name}: the prompt must come before all flags: taskswap prompts {given.name} …")
    return _list_prompts(given.plugin_dir)


def _list_prompts(plugin_dirs: Sequence[str]) -> int:
    """Print one line for each prompt: its name, its task and its note."""
    from adapters.prompting import template

    for name, path in sorted(template.paths(plugin_dirs).items()):
        prompt = tomllib.loads(path.read_text(encoding="utf-8"))
        print(f"{name:32} {prompt.get('task', ''):16} {prompt.get('note', '')}")
    return 0


def _preview(name: str, argv: Sequence[str]) -> int:
    """Print a prompt with shots from train and the first queries of test (or dev), and the tokens of each part.

    Raises:
        SettingsError: an unknown prompt or flag, a fault in the prompt (as `file:line`), or more shots than examples.
    """
    from adapters.models.base_model import open_base
    from adapters.prompting import template
    from adapters.prompting.chat_template import chosen_template
    from adapters.prompting.demonstrations import draw
    from adapters.prompting.prompt_predictor import PromptPredictor

    given, task, splits = _read_data(name, argv)
    prompt = template.load(name, task, given.plugin_dir)
    base = open_base(given.model_name_or_path)
    shots = draw(splits.get("train", ()), given.shots, given.seed)
    queries = (splits.get("test") or splits["validation"])[: given.examples]
    # Nothing is predicted, so there is no model: the tokens depend on the tokenizer alone.
    chat = chosen_template(given.apply_chat_template, base, prompt)
    predictor = PromptPredictor(None, base, task, prompt, shots, max_new_tokens=1, chat=chat)
    tokenizer = base.tokenizer
    mask = str(tokenizer.mask_token) if prompt.masked else ""
    print(f"{prompt.name} for {task.name}, tokens of {base.name} ({base.positions:,} positions)\n")
    print(f"chat template: {chat.in_words() if chat else 'no'}\n")
    if chat is None:
        _print_part("instruction", predictor.instruction, tokenizer)
        for number, shot in enumerate(predictor.shots, 1):
            _print_part(f"shot {number}", str(shot), tokenizer)
    for query in queries:
        fitting = predictor.fit(query)
        title = f"query, its answer {task.write_answer(query, prompt.form)!r}"
        if chat is None:
            _print_part(title, prompt.question(task, query, mask), tokenizer)
        else:
            _print_part(f"chat with the {title}", predictor.form.text(predictor.shots[:fitting], query), tokenizer)
        if fitting is None:
            print("  does not fit even without shots: it will not be answered\n")
            continue
        tokens = len(predictor.tokens(query, fitting, mask))
        print(f"  whole: {tokens:,} tokens with {fitting} of {numbered(len(shots), 'shots')}\n")
    if predictor.label_scorer is not None:
        answers = zip(task.choices(prompt.form), predictor.label_scorer.tokens, strict=True)
        words = [f"{word} ({len(tokens)})" for (word, _), tokens in answers]
        print(f"answers compared, and their tokens: {', '.join(words)}")
    return 0


def _print_part(title: str, text: str, tokenizer: Any) -> None:
    """Print a part of the prompt, each line after a bar, so that blanks and line ends are visible."""
    if not text:
        return
    tokens = len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
    print(f"{title}: {numbered(tokens, 'tokens')}")
    for line in text.splitlines():
        print(f"  | {line}")
    print()


def _read_data(prompt: str, argv: Sequence[str]) -> tuple[Any, Any, dict[str, Any]]:
    """The settings, the prompt's task, and its splits."""
    from adapters.models.base_model import quiet_libraries
    from adapters.prompting import template
    from adapters.tasks.base import examples
    from adapters.tasks.base.reading import tell
    from adapters.tasks.base.task import promptable

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
    doc, usual = f"Show the prompt {prompt}, filled with real examples.", {"model_name_or_path": "smollm2"}
    given = arguments.parse(kind, usual, doc, argv, program=f"taskswap prompts {prompt}")
    given.check()
    quiet_libraries()
    task, splits, _ = examples.read_splits(name, given)
    tell(splits)
    return given, promptable(task), splits
