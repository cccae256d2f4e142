"""Settings from the command line or from one file, with the flag syntax of transformers' examples."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import re
import shlex
import sys
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from adapters.core.errors import SettingsError, did_you_mean
from adapters.core.flags import GUARD, HELP, as_item, given, is_flag, items, name_of, unguarded
from adapters.core.settings import OWN_DEFAULTS, shortest
from adapters.core.settings_files import RECORDED, is_file, names_file, not_alone, read

POSITIONAL = "positional"
"""Marks a field of a settings class as a positional argument, as in `artifact: Annotated[str, POSITIONAL]`. A list
takes all the words that are left, and needs at least one unless it has a default."""
WHOLE = "whole"
"""Marks a field of a settings class as a list of sentences, which commas do not separate."""
UNUSED = "unused"
"""Marks a field of a settings class that has another one's in it as no flag of this command."""

ELSEWHERE = {
    "base": ("model_name_or_path", ""),
    "model": ("model_name_or_path", ""),
    "lr": ("learning_rate", ""),
    "epochs": ("num_train_epochs", ""),
    "batch_size": ("per_device_train_batch_size", ""),
    "rank": ("lora_r", ""),
    "train": ("train_file", ""),
    "test": ("test_file", ""),
    "output": ("output_dir", ""),
    "device": (
        "mixed_precision",
        "training runs on the device that Accelerate finds. CUDA_VISIBLE_DEVICES chooses among GPUs, and "
        "`accelerate launch --cpu` takes none.",
    ),
}
"""By a flag of other commands or tools: the flag here that stands for it; or one by which the command is known that
needs none, and what to do."""
_COMMAND = re.compile(r"\n+(?=taskswap )")
"""Before a line of a description that is a command, which the parser would join to the line above."""
_PARAGRAPH = re.compile(r"(?<!\n)\n(?!\n)")
"""Between two lines of a paragraph."""
LISTED = 20
"""Flags that a message lists, at most; longer lists are in --help."""
NEEDED = {int: "a whole number, such as 8", float: "a number, such as 1e-3", Path: "the path of a file or a folder"}
"""By the type of a value: what it must be."""
_TRUE, _FALSE = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off"})


def parse(
    kind: type, defaults: Mapping[str, Any], description: str, argv: Sequence[str], *, program: str | None = None
) -> Any:
    """Settings of the dataclass `kind`, from flags or from a single settings file.

    Args:
        kind: a frozen keyword-only dataclass. Its fields are the flags, or positional arguments where they are marked
            `POSITIONAL`. A field without a default is required.
        defaults: values that replace the dataclass's own defaults.
        description: shown by --help.
        argv: the arguments without the program's name.
        program: the command as the user typed it, for --help. Default: taken from the process's own arguments.

    Raises:
        SettingsError: an unknown flag, a value of the wrong type, or a required argument that is missing.
        SystemExit: for --help, with code 0.
    """
    import tyro

    hints = typing.get_type_hints(kind)
    unknown = set(defaults) - set(hints)
    assert not unknown, f"a recipe's defaults name no setting: {unknown}"
    unused = _marked_as(kind, UNUSED)
    hints = {name: hint for name, hint in hints.items() if name not in unused}
    places = positionals(kind)
    program = program or _program()
    if is_file(argv) and not places:
        argv = _from_file(Path(argv[0]), hints)
    flags, words = _normal(argv, hints, places, _marked_as(kind, WHOLE))
    required = _required(kind, defaults)
    if "--help" not in flags:
        _check_given(flags, words, {name: hints[name] for name in places}, required, program)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            found = tyro.cli(
                _marked(kind, places, hints, required, defaults) if places or "--help" in flags else kind,
                default=kind(**defaults, **dict.fromkeys(required, tyro.MISSING)),
                args=[*flags, "--", *words] if words else flags,
                description=_COMMAND.sub("\n\n", description),
                prog=program,
                config=(tyro.conf.FlagConversionOff,),
                use_underscores=True,
                compact_help=False,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise SettingsError(_plain(shown.getvalue())) from None
    return kind(**{field.name: unguarded(getattr(found, field.name)) for field in dataclasses.fields(kind)})


def parse_training(kind: type, defaults: Mapping[str, Any], description: str, argv: Sequence[str]) -> Any:
    """As `parse`, of settings with a training, which has a least number of steps where no length is given."""
    trains = "min_train_steps" in {field.name for field in dataclasses.fields(kind)}
    return parse(kind, {**(shortest(given(argv)) if trains else {}), **defaults}, description, argv)


def positionals(kind: type) -> list[str]:
    """Names of the fields that are positional arguments, in order."""
    return _marked_as(kind, POSITIONAL)


def _marked_as(kind: type, mark: str) -> list[str]:
    """Names of the fields that are annotated with a mark, in order."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return [field.name for field in dataclasses.fields(kind) if mark in getattr(hints[field.name], "__metadata__", ())]


def flags_of(kind: type) -> list[str]:
    """Every flag of a settings class, --help included."""
    others = {*positionals(kind), *_marked_as(kind, UNUSED)}
    return [*(f"--{field.name}" for field in dataclasses.fields(kind) if field.name not in others), "--help"]


def _program() -> str:
    """The command as the user typed it: `taskswap train`, or the file of a recipe."""
    first, *rest = sys.argv or [""]
    name = Path(first).name
    return f"taskswap {rest[0]}" if name in ("taskswap", "__main__.py") and rest else name


def command_line() -> str:
    """The command of this process, to be typed again; empty in a notebook."""
    first, *rest = sys.argv or [""]
    name = Path(first).name
    if name == "ipykernel_launcher.py":
        return ""
    return shlex.join(["taskswap", *rest] if name in ("taskswap", "__main__.py") else ["python", first, *rest])


def _required(kind: type, defaults: Mapping[str, Any]) -> list[str]:
    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is missing and field.default_factory is missing and field.name not in defaults
    ]


def _shown_name(name: str) -> str:
    """The name of a positional argument in --help and in messages: `artifacts` is a list of ARTIFACT."""
    return name.upper().removesuffix("S")


def _marked(
    kind: type,
    places: Sequence[str],
    hints: Mapping[str, Any],
    required: Sequence[str],
    replaced: Mapping[str, Any],
) -> type:
    """The class with its positional arguments marked as tyro marks them, and every field as --help shows it."""
    import tyro

    marked: list[tuple[str, Any, Any]] = []
    texts = [_texts(one) for one in kind.__mro__]
    for field in dataclasses.fields(kind):
        if field.name not in hints:
            marked.append((field.name, Annotated[Any, tyro.conf.Suppress], dataclasses.field(default=field.default)))
            continue
        name, hint = field.name, hints[field.name]
        is_list, optional = typing.get_origin(hint) is list, name not in required
        if name in places:
            word = _shown_name(name)
            word = (f"[{word} …]" if optional else f"{word} […]") if is_list else f"[{word}]" if optional else word
            hint = Annotated[hint, tyro.conf.Positional]
        else:
            word = _value_name(hint)
        # a setting that each method has of its own is described where it is first defined, another where it is last
        of_classes = texts[::-1] if OWN_DEFAULTS in field.metadata else texts
        own = None if name in replaced else field.metadata.get(OWN_DEFAULTS)
        text = next((known[name] for known in of_classes if name in known), None)
        described = " ".join(part for part in (text, own) if part) or None
        shown = tyro.conf.arg(metavar=word, help=described, help_behavior_hint=_default_hint)
        defaults = {key: getattr(field, key) for key in ("default", "default_factory")}
        known = {key: value for key, value in defaults.items() if value is not dataclasses.MISSING}
        marked.append((name, Annotated[hint, shown], dataclasses.field(**known)))
    return dataclasses.make_dataclass(kind.__name__, marked, bases=(kind,), frozen=True, kw_only=True)


def _texts(kind: type) -> dict[str, str]:
    """What the source of a class says below each of its fields, in one line a paragraph, which the parser wraps."""
    try:
        source = inspect.getsource(kind) if inspect.get_annotations(kind) else ""
    except (OSError, TypeError):  # a class without source, such as a notebook's
        source = ""
    found = {}
    for node in ast.parse(textwrap.dedent(source)).body:
        for line, after in pairwise(getattr(node, "body", ())):
            text = getattr(getattr(after, "value", None), "value", None)
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(text, str):
                found[line.target.id] = _PARAGRAPH.sub(" ", inspect.cleandoc(text))
    return found


def _value_name(hint: Any) -> str:
    """The value of a flag, as --help shows it."""
    if _is_boolean(hint):
        return "[true|false]"
    inner = [one for one in typing.get_args(hint) if one is not types.NoneType] or [hint]
    word = getattr(inner[0], "__name__", "value").upper()
    return f"{word} …" if typing.get_origin(hint) is list else word


def _is_boolean(hint: Any) -> bool:
    """Whether a setting is true or false, and may have no value of its own."""
    return hint is bool or {*typing.get_args(hint)} == {bool, types.NoneType}


def _default_hint(default: str) -> str:
    """The default of a flag, as --help shows it: nothing where the default is no value."""
    return "" if default in ("", "None") else f"(default: {default})"


def _check_given(
    flags: Sequence[str], words: Sequence[str], places: Mapping[str, Any], required: Sequence[str], program: str
) -> None:
    """Raises SettingsError for a required argument that is missing, or for a positional one that is not taken."""
    scalars = [name for name, hint in places.items() if typing.get_origin(hint) is not list]
    several = len(scalars) < len(places)
    if len(words) > len(scalars) and not several:
        raise SettingsError(f"{words[len(scalars)]!r}: unexpected argument. See {program} --help.")
    filled = list(places)[: len(words)]
    for name in required:
        if name not in filled and f"--{name}" not in flags:
            shown = _shown_name(name) if name in places else f"--{name}"
            raise SettingsError(f"{shown} is missing. See {program} --help.")


def _normal(
    argv: Sequence[str], hints: Mapping[str, Any], places: Sequence[str], whole: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Flags in the one form that the parser takes (`--name value…`, underscores, lists and booleans spelled out), and
    the positional arguments.

    Where there are positional arguments, a flag takes no more words than it needs, and `--` ends the flags. A list that
    is given in several parts is joined; of other flags the last one counts. Commas do not separate the values of flags
    that are `whole`.
    """
    found: dict[str, list[str]] = {}
    positional: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in HELP:
            found["help"] = []
            continue
        if places and word == "--":
            positional += words
            break
        if not word.startswith("--"):
            if places:
                positional.append(word)
                continue
            if names_file(word):
                raise not_alone(word)
            raise SettingsError(
                f"{word!r} is not a flag: flags begin with --, as in --seed 1. (Separate the values of a list by "
                "spaces or commas.)"
            )
        name, equals, value = word[2:].partition("=")
        name = name_of(name)
        values = [value] if equals else _following(words, hints.get(name), greedy=not places)
        if name.startswith("no_") and _is_boolean(hints.get(name[3:])) and not values:
            name, values = name[3:], ["false"]
        if name not in hints or name in places:
            raise SettingsError(f"--{name}: there is no such flag{_instead(name, hints, places)}")
        if name in whole:
            values = [GUARD + value for value in values]
        own = _values(name, values, hints[name])
        found[name] = [*found.get(name, ()), *own] if typing.get_origin(hints[name]) is list else own
    return [word for name, values in found.items() for word in (f"--{name}", *values)], positional


def _instead(name: str, hints: Mapping[str, Any], places: Sequence[str]) -> str:
    """What can be done where there is no flag of a name, as the end of a sentence."""
    known = [f"--{one}" for one in hints if one not in places]
    near, advice = ELSEWHERE.get(name, ("", ""))
    if near in hints:
        return f": {advice}" if advice else f": did you mean '--{near}'?"
    near = did_you_mean(f"--{name}", known)
    return f": {near}" if "did you mean" in near or len(known) <= LISTED else f". --help lists all {len(known)} flags."


def _following(words: list[str], hint: Any, *, greedy: bool) -> list[str]:
    """The values after a flag, taken from the front of `words`; greedy: every word up to the next flag."""
    if greedy or typing.get_origin(hint) is list:
        end = next((i for i, word in enumerate(words) if is_flag(word)), len(words))
    elif _is_boolean(hint):
        end = int(bool(words) and words[0].lower() in _TRUE | _FALSE)
    else:
        end = int(hint is not None and bool(words) and not is_flag(words[0]))
    values, words[:] = words[:end], words[end:]
    return values


def _values(name: str, values: list[str], hint: Any) -> list[str]:
    """The values of one flag in the form that the parser takes."""
    texts = str in (hint, *typing.get_args(hint))
    return [GUARD + value if texts and value.startswith("-") else value for value in _plain_values(name, values, hint)]


def _plain_values(name: str, values: list[str], hint: Any) -> list[str]:
    if types.NoneType in typing.get_args(hint) and [value.lower() for value in values] == ["none"]:
        return ["None"]
    if _is_boolean(hint):
        word = values[0].lower() if values else "true"
        if len(values) > 1 or word not in _TRUE | _FALSE:
            raise SettingsError(f"--{name} {' '.join(values)}: must be true or false (or use --{name}, --no_{name}).")
        return ["True" if word in _TRUE else "False"]
    if typing.get_origin(hint) is list:
        values = [item for value in values for item in items(value)]
    elif len(values) != 1:
        raise SettingsError(f"--{name} takes one value, found {len(values)}{': ' if values else ''}{' '.join(values)}.")
    for value in values:
        _check_value(name, value, hint)
    return values


def _check_value(name: str, value: str, hint: Any) -> None:
    """Raises SettingsError, in our words and not the parser's, for a value that is not of a flag's kind."""
    kinds = [one for one in typing.get_args(hint) if one is not types.NoneType] or [hint]
    kind = hint if typing.get_origin(hint) is Literal else kinds[0]
    if typing.get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        choices = [str(one) for one in typing.get_args(kind)] or [*kind.__members__]
        if value not in choices:
            raise SettingsError(f"--{name} {value or repr(value)}: {did_you_mean(value, choices)}")
    elif kind in NEEDED:
        try:
            fits = kind is not Path or bool(value)
            kind(value)
        except ValueError:
            fits = False
        if not fits:
            needed = f"{NEEDED[kind]}, or none" if types.NoneType in typing.get_args(hint) else NEEDED[kind]
            each = "each value " if typing.get_origin(hint) is list else ""
            raise SettingsError(f"--{name} {value or repr(value)}: {each}must be {needed}.")


def _from_file(path: Path, hints: Mapping[str, Any]) -> list[str]:
    """The contents of a settings file as flags, so that both pass the same checks."""
    kind = path.suffix.lower()
    flags: list[str] = []
    for name, value in read(path).items():
        hint = hints.get(name_of(str(name)))
        if hint is None and name in RECORDED:
            continue
        if value is None or (kind in (".yaml", ".yml") and value in ("", "~", "null", "Null", "NULL")):
            if hint is not None and typing.get_origin(hint) is not list and types.NoneType not in typing.get_args(hint):
                raise SettingsError(f"{path}: {name}: must not be empty. Remove the line to use the default.")
            value = [] if typing.get_origin(hint) is list else "None"
        several = value if isinstance(value, list) else [value]
        if any(item is None or isinstance(item, (dict, list)) for item in several):
            raise SettingsError(f"{path}: {name}: must be a value or a list of values, found {str(value)[:60]}.")
        flags += [f"--{name}", *map(as_item if isinstance(value, list) else str, several)]
    return flags


def _plain(boxed: str) -> str:
    """The parser's message without the box around it."""
    lines = [line.strip("│╭╮╰╯─ \t") for line in boxed.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("For full helptext"))


def as_dict(settings: Any) -> dict[str, Any]:
    """Settings by name, as settings.json contains them."""
    return dataclasses.asdict(settings)
