"""Settings from the command line or from one file, with the flag syntax of transformers' examples."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import json
import shlex
import sys
import textwrap
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from adapters.core.errors import SettingsError, did_you_mean
from adapters.core.settings import OWN_DEFAULTS, shortest

POSITIONAL = "positional"
"""Marks a field of a settings class as a positional argument, as in `artifact: Annotated[str, POSITIONAL]`. A list
takes all the words that are left, and needs at least one unless it has a default."""
WHOLE = "whole"
"""Marks a field of a settings class as a list of sentences, which commas do not separate."""

ALIASES = {"max_seq_length": "max_length"}
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
LISTED = 20
"""Flags that a message lists, at most; longer lists are in --help."""
_TRUE, _FALSE = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off"})
_GUARD = "\N{WORD JOINER}"
"""Before texts that begin with a dash, such as the label `-`, while they pass through the parser, which has flags only;
and before items of a list that came as a list, so that their commas do not separate them."""
FILES = (".toml", ".yaml", ".yml", ".json")
# What a run's own settings.json records besides its settings, so that it can be passed back unchanged.
_RECORDED = frozenset({"format", "task", "method", "reading", "given", "defaults"})


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
                description=description,
                prog=program,
                config=(tyro.conf.FlagConversionOff,),
                use_underscores=True,
                compact_help=False,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise SettingsError(_plain(shown.getvalue())) from None
    return kind(**{field.name: _unguarded(getattr(found, field.name)) for field in dataclasses.fields(kind)})


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
    places = positionals(kind)
    return [*(f"--{field.name}" for field in dataclasses.fields(kind) if field.name not in places), "--help"]


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

    marked = []
    for field in dataclasses.fields(kind):
        name, hint = field.name, hints[field.name]
        is_list, optional = typing.get_origin(hint) is list, name not in required
        if name in places:
            word = _shown_name(name)
            word = (f"[{word} …]" if optional else f"{word} […]") if is_list else f"[{word}]" if optional else word
            hint = Annotated[hint, tyro.conf.Positional]
        else:
            word = _value_name(hint)
        own = None if name in replaced else field.metadata.get(OWN_DEFAULTS)
        described = _described(kind, name, own) if OWN_DEFAULTS in field.metadata else None
        shown = tyro.conf.arg(metavar=word, help=described, help_behavior_hint=_default_hint)
        defaults = {key: getattr(field, key) for key in ("default", "default_factory")}
        known = {key: value for key, value in defaults.items() if value is not dataclasses.MISSING}
        marked.append((name, Annotated[hint, shown], dataclasses.field(**known)))
    return dataclasses.make_dataclass(kind.__name__, marked, bases=(kind,), frozen=True, kw_only=True)


def _described(kind: type, name: str, own: str | None) -> str:
    """What is said of a setting where it is first defined, and what its default is."""
    first = next(one for one in reversed(kind.__mro__) if name in inspect.get_annotations(one))
    (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(first))).body)  # type: ignore[attr-defined]
    for line, after in pairwise(body):
        if isinstance(line, ast.AnnAssign) and getattr(line.target, "id", "") == name:
            text = getattr(getattr(after, "value", None), "value", None)  # of the text below it, if there is one
            words = inspect.cleandoc(text).replace("\n", " ") if isinstance(text, str) else ""
            return " ".join(part for part in (words, own) if part)
    return own or ""


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

    Where there are positional arguments, a flag takes no more words than it needs, and `--` ends the flags. Commas do
    not separate the values of flags that are `whole`.
    """
    flags: list[str] = []
    positional: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            flags.append("--help")
            continue
        if places and word == "--":
            positional += words
            break
        if not word.startswith("--"):
            if places:
                positional.append(word)
                continue
            if word.lower().endswith(FILES):
                raise SettingsError(f"{word}: a settings file takes the place of all flags. Write the others into it.")
            raise SettingsError(
                f"{word!r} is not a flag: flags begin with --, as in --seed 1. (Separate the values of a list by "
                "spaces or commas.)"
            )
        name, equals, value = word[2:].partition("=")
        name = _name(name)
        values = [value] if equals else _following(words, hints.get(name), greedy=not places)
        if name.startswith("no_") and _is_boolean(hints.get(name[3:])) and not values:
            name, values = name[3:], ["false"]
        if name not in hints or name in places:
            raise SettingsError(f"--{name}: there is no such flag{_instead(name, hints, places)}")
        if name in whole:
            values = [_GUARD + value for value in values]
        flags += [f"--{name}", *_values(name, values, hints[name])]
    return flags, positional


def _instead(name: str, hints: Mapping[str, Any], places: Sequence[str]) -> str:
    """What can be done where there is no flag of a name, as the end of a sentence."""
    known = [f"--{one}" for one in hints if one not in places]
    near, advice = ELSEWHERE.get(name, ("", ""))
    if near in hints:
        return f": {advice}" if advice else f": did you mean '--{near}'?"
    near = did_you_mean(f"--{name}", known)
    return f": {near}" if "did you mean" in near or len(known) <= LISTED else f". --help lists all {len(known)} flags."


def _unguarded(value: Any) -> Any:
    """A parsed value as the user wrote it."""
    if isinstance(value, list):
        return [_unguarded(item) for item in value]
    return value.removeprefix(_GUARD) if isinstance(value, str) else value


def _following(words: list[str], hint: Any, *, greedy: bool) -> list[str]:
    """The values after a flag, taken from the front of `words`; greedy: every word up to the next flag."""
    if greedy or typing.get_origin(hint) is list:
        end = next((i for i, word in enumerate(words) if _is_flag(word)), len(words))
    elif _is_boolean(hint):
        end = int(bool(words) and words[0].lower() in _TRUE | _FALSE)
    else:
        end = int(hint is not None and bool(words) and not _is_flag(words[0]))
    values, words[:] = words[:end], words[end:]
    return values


def _name(written: str) -> str:
    """The setting that a flag or a line of a file means."""
    name = written.replace("-", "_")
    return ALIASES.get(name, name)


def is_file(argv: Sequence[str]) -> bool:
    """Whether a single settings file replaces all flags."""
    return len(argv) == 1 and not argv[0].startswith("-") and argv[0].lower().endswith(FILES)


def is_about_a_folder(argv: Sequence[str], names: Collection[str]) -> bool:
    """Whether a command that makes a folder is asked about one: that is named first, or flags of a question are given.

    Args:
        argv: the arguments without the program's name.
        names: of the flags that only such questions have.
    """
    named = bool(argv) and not argv[0].startswith("-") and not argv[0].lower().endswith(FILES)
    return (named or not given(argv).isdisjoint(names)) and not {"-h", "--help"} & {*argv}


def _is_flag(word: str) -> bool:
    """`--name` is a flag, and so are `--` and `-h`; `-4` is a value."""
    return word.startswith("--") or word == "-h"


def _values(name: str, values: list[str], hint: Any) -> list[str]:
    """The values of one flag in the form that the parser takes."""
    texts = str in (hint, *typing.get_args(hint))
    return [_GUARD + value if texts and value.startswith("-") else value for value in _plain_values(name, values, hint)]


def _plain_values(name: str, values: list[str], hint: Any) -> list[str]:
    if types.NoneType in typing.get_args(hint) and [value.lower() for value in values] == ["none"]:
        return ["None"]
    if _is_boolean(hint):
        word = values[0].lower() if values else "true"
        if len(values) > 1 or word not in _TRUE | _FALSE:
            raise SettingsError(f"--{name} {' '.join(values)}: must be true or false (or use --{name}, --no_{name}).")
        return ["True" if word in _TRUE else "False"]
    if typing.get_origin(hint) is list:
        return [item for value in values for item in _items(value)]
    if len(values) != 1:
        raise SettingsError(f"--{name} takes one value, found {len(values)}{': ' if values else ''}{' '.join(values)}.")
    return values


def _items(value: str) -> list[str]:
    """The items of a list that one word of a command names, separated by commas; one that came as an item is whole."""
    if value.startswith(_GUARD):
        return [value]
    if "," not in value:
        return [value] if value else []
    return [item.strip() for item in value.split(",") if item.strip()]


def _as_item(value: object) -> str:
    """An item of a list as a word of a command."""
    return f"{_GUARD}{value}" if "," in str(value) else str(value)


def _read(path: Path, kind: str) -> dict[str, Any]:
    """The contents of a settings file of a kind of `FILES`. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SettingsError(f"{path}: cannot be read ({why}). Give a .toml, .yaml or .json of settings.") from error
    try:
        if kind == ".toml":
            import tomllib

            values = tomllib.loads(text)
        elif kind == ".json":
            values = json.loads(text)
        else:
            import yaml

            # Every value stays a string, as on the command line: `mixed_precision: no` is not a boolean.
            values = yaml.BaseLoader(text).get_single_data()
    except Exception as error:  # each parser has exceptions of its own, all of them caused by the file
        raise SettingsError(f"{path}: not valid {kind[1:]}: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: must contain settings by name, found {type(values).__name__}.")
    return values


def _from_file(path: Path, hints: Mapping[str, Any]) -> list[str]:
    """The contents of a settings file as flags, so that both pass the same checks."""
    kind = path.suffix.lower()
    flags: list[str] = []
    for name, value in _read(path, kind).items():
        hint = hints.get(_name(str(name)))
        if hint is None and name in _RECORDED:
            continue
        if value is None or (kind in (".yaml", ".yml") and value in ("", "~", "null", "Null", "NULL")):
            if hint is not None and typing.get_origin(hint) is not list and types.NoneType not in typing.get_args(hint):
                raise SettingsError(f"{path}: {name}: must not be empty. Remove the line to use the default.")
            value = [] if typing.get_origin(hint) is list else "None"
        items = value if isinstance(value, list) else [value]
        if any(item is None or isinstance(item, (dict, list)) for item in items):
            raise SettingsError(f"{path}: {name}: must be a value or a list of values, found {str(value)[:60]}.")
        flags += [f"--{name}", *map(_as_item if isinstance(value, list) else str, items)]
    return flags


def _plain(boxed: str) -> str:
    """The parser's message without the box around it."""
    lines = [line.strip("│╭╮╰╯─ \t") for line in boxed.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("For full helptext"))


def as_dict(settings: Any) -> dict[str, Any]:
    """Settings by name, as settings.json contains them."""
    return dataclasses.asdict(settings)


def main_exit(code: int, message: str) -> typing.NoReturn:
    """Print a message on stderr and end the process with the exit code."""
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(code)


def given(argv: Sequence[str]) -> set[str]:
    """Names of the settings that were given as flags or in a settings file."""
    words = _from_file(Path(argv[0]), {}) if is_file(argv) else argv
    names = {_name(word[2:].partition("=")[0]) for word in words if _is_flag(word)}
    return names | {name[3:] for name in names if name.startswith("no_")}


def choose(argv: Sequence[str], name: str, known: Sequence[str], *, needed: bool = False) -> tuple[str, list[str]]:
    """The value of a flag that decides which other flags exist, and the remaining arguments.

    In a settings file it is the entry of that name, which stays in the file.

    Args:
        argv: the arguments without the program's name: flags, or a settings file.
        name: name of the flag.
        known: its allowed values, the default first.
        needed: whether the flag is required.

    Raises:
        SettingsError: the value is not an allowed one, or a required flag is missing.
    """
    chosen, rest = "" if needed else known[0], list(argv)
    if is_file(argv):
        chosen = str(_read(Path(argv[0]), Path(argv[0]).suffix.lower()).get(name, chosen))
    else:
        at = next((i for i, word in enumerate(rest) if word.partition("=")[0] == f"--{name}"), None)
        if at is not None:
            word = rest.pop(at)
            chosen = word.partition("=")[2] or (rest.pop(at) if at < len(rest) and not _is_flag(rest[at]) else "")
    if not chosen:
        raise SettingsError(f"--{name} is missing: choose from {', '.join(known)}.")
    if chosen not in known:
        raise SettingsError(f"--{name} {chosen}: {did_you_mean(chosen, known)}")
    return chosen, rest


def peek(argv: Sequence[str], name: str) -> list[str]:
    """The values of one list flag before the other flags are known: `--plugin_dir` decides which flags exist."""
    return take(_from_file(Path(argv[0]), {}) if is_file(argv) else argv, name)[0]


def take(argv: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """The values of one list flag, and the remaining arguments."""
    out: list[str] = []
    rest: list[str] = []
    taking = False
    for word in argv:
        value = word
        if _is_flag(word):
            key, _, value = word.partition("=")
            taking = _name(key[2:]) == name
        if taking:
            out += map(_unguarded, _items(value))
        else:
            rest.append(word)
    return out, rest


def read_file(path: Path) -> dict[str, Any]:
    """The settings of a .toml, .yaml or .json file by name. Raises SettingsError."""
    return {_name(str(name)): value for name, value in _read(path, path.suffix.lower()).items()}


def as_flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings by name as the flags that a command would be given."""
    argv: list[str] = []
    for name, value in settings.items():
        if isinstance(value, list | tuple):
            argv += [f"--{name}", *map(_as_item, value)]
        else:
            argv += [f"--{name}", "none" if value is None else str(value)]
    return argv
