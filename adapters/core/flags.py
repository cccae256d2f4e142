"""How flags and lists are spelled, and what is asked of a command's arguments before they are parsed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from adapters.core.errors import SettingsError, did_you_mean, most_similar
from adapters.core.settings_files import RECORDED, is_file, names_file, not_alone, read

ALIASES = {"max_seq_length": "max_length"}
HELP = frozenset({"-h", "--help"})
GUARD = "\N{WORD JOINER}"
"""Before texts that begin with a dash, such as the label `-`, while they pass through the parser, which has flags only;
and before items of a list that came as a list, so that their commas do not separate them."""


def name_of(written: str) -> str:
    """The setting that a flag or a line of a file means."""
    name = written.replace("-", "_")
    return ALIASES.get(name, name)


def is_flag(word: str) -> bool:
    """`--name` is a flag, and so are `--` and `-h`; `-4` is a value."""
    return word.startswith("--") or word == "-h"


def items(value: str) -> list[str]:
    """The items of a list that one word of a command names, separated by commas; one that came as an item is whole."""
    if value.startswith(GUARD):
        return [value]
    if "," not in value:
        return [value] if value else []
    return [item.strip() for item in value.split(",") if item.strip()]


def listed(value: object) -> list[str]:
    """The items of a list that a caller in Python gave, or of a text as a command would read that one word.

    Raises SettingsError for a set, whose items are in no order.
    """
    if isinstance(value, Set):
        raise SettingsError(f"{value!r:.60}: is a set, whose items are in no order. Give a list.")
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return [str(item) for item in value]
    return items(value) if isinstance(value, str) else [str(value)]


def as_item(value: object) -> str:
    """An item of a list as a word of a command."""
    return f"{GUARD}{value}" if "," in str(value) else str(value)


def unguarded(value: Any) -> Any:
    """A parsed value as the user wrote it."""
    if isinstance(value, list):
        return [unguarded(item) for item in value]
    return value.removeprefix(GUARD) if isinstance(value, str) else value


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether --help is among the arguments."""
    return not HELP.isdisjoint(argv)


def is_about_a_folder(argv: Sequence[str], names: Collection[str]) -> bool:
    """Whether a command that makes a folder is asked about one: that is named first, or flags of a question are given.

    Args:
        argv: the arguments without the program's name.
        names: of the flags that only such questions have.
    """
    named = bool(argv) and not argv[0].startswith("-") and not names_file(argv[0])
    return (named or not given(argv).isdisjoint(names)) and not asks_for_help(argv)


def given(argv: Sequence[str]) -> set[str]:
    """Names of the settings that were given as flags or in a settings file."""
    if is_file(argv):
        names = {name_of(str(name)) for name in read(Path(argv[0])) if name not in RECORDED}
    else:
        names = {name_of(word[2:].partition("=")[0]) for word in argv if is_flag(word)}
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
        chosen = str(read(Path(argv[0])).get(name, chosen))
    else:
        at = next((i for i, word in enumerate(rest) if word.partition("=")[0] == f"--{name}"), None)
        if at is not None:
            word = rest.pop(at)
            chosen = word.partition("=")[2] or (rest.pop(at) if at < len(rest) and not is_flag(rest[at]) else "")
    if not chosen and argv and names_file(argv[0]) and not is_file(argv):
        raise not_alone(argv[0])
    if not chosen:
        written = (word.partition("=")[0] for word in rest if is_flag(word))
        meant = next(
            (f"{word}: there is no such flag. " for word in written if most_similar(word[2:], [name], least=0.75)), ""
        )
        raise SettingsError(f"{meant}--{name} is missing: choose from {', '.join(known)}.")
    if chosen not in known:
        raise SettingsError(f"--{name} {chosen}: {did_you_mean(chosen, known)}")
    return chosen, rest


def peek(argv: Sequence[str], name: str) -> list[str]:
    """The values of one list flag before the other flags are known: `--plugin_dir` decides which flags exist."""
    return take(as_flags(read_file(Path(argv[0]))) if is_file(argv) else argv, name)[0]


def take(argv: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """The values of one list flag, and the remaining arguments."""
    out: list[str] = []
    rest: list[str] = []
    taking = False
    for word in argv:
        value = word
        if is_flag(word):
            key, _, value = word.partition("=")
            taking = name_of(key[2:]) == name
        if taking:
            out += map(unguarded, items(value))
        else:
            rest.append(word)
    return out, rest


def named_folders(
    flag: str, every: Iterable[str], example: str, fault_of: Callable[[str], str | None]
) -> dict[str, Path]:
    """The folders of a flag that takes NAME=FOLDER, by name.

    Args:
        flag: without its dashes.
        every: what was given.
        example: of a value, for the message.
        fault_of: why a name cannot be used; None if it can.

    Raises SettingsError for a value of another form, a name that cannot be used, or is there already.
    """
    folders: dict[str, Path] = {}
    for given in every:
        name, _, folder = given.partition("=")
        if not (name and folder):
            raise SettingsError(f"--{flag} {given}: must be NAME=FOLDER, as in --{flag} {example}.")
        fault = fault_of(name)
        if fault is not None:
            raise SettingsError(f"--{flag} {given}: {fault}")
        if name in folders:
            raise SettingsError(f"--{flag} {given}: {name} is given twice. Choose another name.")
        folders[name] = Path(folder)
    return folders


def read_file(path: Path) -> dict[str, Any]:
    """The settings of a .toml, .yaml or .json file by name. Raises SettingsError."""
    return {name_of(str(name)): value for name, value in read(path).items()}


def as_flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings by name as the flags that a command would be given."""
    argv: list[str] = []
    for name, value in settings.items():
        if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
            argv += [f"--{name}", *map(as_item, listed(value))]
        else:
            argv += [f"--{name}", "none" if value is None else str(value)]
    return argv
