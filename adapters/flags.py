"""Settings from the command line or from one file, in the manner of transformers' examples."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.errors import SettingsError, did_you_mean

ALIASES = {"max_seq_length": "max_length"}
_TRUE, _FALSE = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off"})
FILES = (".toml", ".yaml", ".yml", ".json")
# What a run's own settings.json records beside its settings, so that it can be given back as it is.
_RECORDED = frozenset({"format", "task", "method"})


def parse(kind: type, defaults: Mapping[str, Any], description: str, argv: Sequence[str]) -> Any:
    """Settings of the dataclass `kind`, from flags or from a single settings file.

    Args:
        kind: a frozen keyword-only dataclass; its fields are the flags.
        defaults: what differs from the dataclass's own defaults.
        description: shown by --help.
        argv: flags without the program's name.

    Raises:
        SettingsError: an unknown flag, or a value of the wrong type.
        SystemExit: for --help, with code 0.
    """
    import tyro

    hints = typing.get_type_hints(kind)
    unknown = set(defaults) - set(hints)
    assert not unknown, f"a recipe's defaults name no setting: {unknown}"
    if _is_file(argv):
        argv = _from_file(Path(argv[0]), hints)
    normal = _normal(argv, hints)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(
                kind, default=kind(**defaults), args=normal, description=description,
                config=(tyro.conf.FlagConversionOff,), use_underscores=True, compact_help=False,
            )  # fmt: skip
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise SettingsError(_plain(shown.getvalue())) from None


def _normal(argv: Sequence[str], hints: Mapping[str, Any]) -> list[str]:
    """Flags in the one form that the parser takes: `--name value…`, underscores, lists and booleans spelled out."""
    out: list[str] = []
    words = ["--help" if word == "-h" else word for word in argv]
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise SettingsError(
                f"{word!r} is not a flag: flags begin with --, as in --seed 1. (Values of a list may stand "
                "side by side, or between commas.)"
            )
        if word == "--help":
            out.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = _name(name)
        values = [value] if equals else []
        while not equals and words and not _is_flag(words[0]):
            values.append(words.pop(0))
        if name.startswith("no_") and hints.get(name[3:]) is bool and not values:
            name, values = name[3:], ["false"]
        if name not in hints:
            near = did_you_mean(f"--{name}", [f"--{known}" for known in hints])
            raise SettingsError(f"--{name}: there is no such flag: {near}")
        out += [f"--{name}", *_values(name, values, hints[name])]
    return out


def _name(written: str) -> str:
    """The setting that a flag or a line of a file means."""
    name = written.replace("-", "_")
    return ALIASES.get(name, name)


def _is_file(argv: Sequence[str]) -> bool:
    """Whether a single settings file stands in place of all flags."""
    return len(argv) == 1 and not argv[0].startswith("-") and argv[0].lower().endswith(FILES)


def _is_flag(word: str) -> bool:
    """`--name` is a flag; `-4` is a value."""
    return word.startswith("--") and len(word) > 2


def _values(name: str, values: list[str], hint: Any) -> list[str]:
    """The values of one flag as the parser takes them."""
    if hint is bool:
        word = values[0].lower() if values else "true"
        if len(values) > 1 or word not in _TRUE | _FALSE:
            raise SettingsError(f"--{name} {' '.join(values)}: must be true or false (or --{name} and --no_{name}).")
        return ["True" if word in _TRUE else "False"]
    if typing.get_origin(hint) is list:
        return [item for value in values for item in value.split(",") if item]
    if len(values) != 1:
        raise SettingsError(f"--{name} takes one value, found {len(values)}{': ' if values else ''}{' '.join(values)}.")
    if values[0].lower() == "none" and types.NoneType in typing.get_args(hint):
        return ["None"]
    return values


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

            # Every value stays the word it is, as on the command line: `mixed_precision: no` is no truth value.
            values = yaml.BaseLoader(text).get_single_data()
    except Exception as error:  # each parser has an error of its own, all of them the file's fault
        raise SettingsError(f"{path}: not valid {kind[1:]}: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: must hold settings by name, found {type(values).__name__}.")
    return values


def _from_file(path: Path, hints: Mapping[str, Any]) -> list[str]:
    """A settings file as flags, so that both pass the same checks."""
    kind = path.suffix.lower()
    flags: list[str] = []
    for name, value in _read(path, kind).items():
        hint = hints.get(_name(str(name)))
        if hint is None and name in _RECORDED:
            continue
        if value is None or (kind in (".yaml", ".yml") and value in ("", "~", "null", "Null", "NULL")):
            if hint is not None and typing.get_origin(hint) is not list and types.NoneType not in typing.get_args(hint):
                raise SettingsError(f"{path}: {name}: must not be empty. Leave the line out for the default.")
            value = [] if typing.get_origin(hint) is list else "None"
        items = value if isinstance(value, list) else [value]
        if any(item is None or isinstance(item, (dict, list)) for item in items):
            raise SettingsError(f"{path}: {name}: must be a value or a list of values, found {str(value)[:60]}.")
        flags += [f"--{name}", *map(str, items)]
    return flags


def _plain(boxed: str) -> str:
    """The parser's message without the box that it draws around it."""
    lines = [line.strip("│╭╮╰╯─ \t") for line in boxed.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("For full helptext"))


def as_dict(settings: Any) -> dict[str, Any]:
    """Settings by name, as settings.json holds them."""
    return dataclasses.asdict(settings)


def main_exit(code: int, message: str) -> typing.NoReturn:
    """Print a message for the user and end the process with the code."""
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(code)


def given(argv: Sequence[str]) -> set[str]:
    """Names of the settings that were given, by flags or in a settings file."""
    words = _from_file(Path(argv[0]), {}) if _is_file(argv) else argv
    names = {_name(word[2:].partition("=")[0]) for word in words if _is_flag(word)}
    return names | {name[3:] for name in names if name.startswith("no_")}


def choose(argv: Sequence[str], name: str, known: Sequence[str], *, needed: bool = False) -> tuple[str, list[str]]:
    """The value of a flag that decides which other flags there are, and what stands beside it.

    In a settings file it is an entry of that name, which stays there.

    Args:
        argv: flags without the program's name, or a settings file.
        name: of the flag.
        known: its values, the default first.
        needed: there is no default.

    Raises:
        SettingsError: another value than those, or none where one is needed.
    """
    chosen, rest = "" if needed else known[0], list(argv)
    if _is_file(argv):
        chosen = str(_read(Path(argv[0]), Path(argv[0]).suffix.lower()).get(name, chosen))
    else:
        at = next((i for i, word in enumerate(rest) if word.partition("=")[0] == f"--{name}"), None)
        if at is not None:
            word = rest.pop(at)
            chosen = word.partition("=")[2] or (rest.pop(at) if at < len(rest) else "")
    if chosen not in known:
        raise SettingsError(f"--{name} {chosen}".rstrip() + f": {did_you_mean(chosen, known)}")
    return chosen, rest


def peek(argv: Sequence[str], name: str) -> list[str]:
    """The values of one list flag before the others are known: `--plugin_dir` decides what flags there are."""
    out: list[str] = []
    taking = False
    for word in _from_file(Path(argv[0]), {}) if _is_file(argv) else argv:
        if _is_flag(word):
            key, _, value = word.partition("=")
            taking = key[2:].replace("-", "_") == name
            word = value
        if taking:
            out += [item for item in word.split(",") if item]
    return out
