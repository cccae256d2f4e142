"""The `taskswap` command, which `python -m adapters` runs as well.

The commands are the files in this folder. A file offers `HELP` (one line), `GROUP` (a title of `GROUPS`),
`run(argv) -> int` (the exit code), and `settings()`, the class whose fields are its flags, for shell completion. It
imports heavy libraries only when it runs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from adapters.core.errors import SettingsError, did_you_mean
from adapters.core.exit_codes import exit_codes
from adapters.core.garbage import look_seldom

GROUPS = ("Train and compare", "Use artifacts", "Look inside")
"""Titles of the list of commands, in order."""

INSTALL_COMPLETION = {
    "bash": "echo 'eval \"$(taskswap --print_completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(taskswap --print_completion zsh)\"' >> ~/.zshrc   # after compinit",
    "fish": "taskswap --print_completion fish > ~/.config/fish/completions/taskswap.fish",
}
VERSIONS = ("python", "torch", "transformers", "peft")
"""What --version reports besides taskswap itself."""
OPTIONS = {
    "--help": "show this list, or with COMMAND its flags",
    "--version": f"versions of taskswap, {', '.join(VERSIONS)}",
    "--print_completion": f"print the completion script for a shell: {', '.join(INSTALL_COMPLETION)}",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 the user's input, 130 Ctrl-C, 143 SIGTERM."""
    look_seldom()
    try:
        with exit_codes():
            return _run(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        return int(end.code or 0)


def command_names() -> list[str]:
    """Names of the commands: the files in this folder."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_") and file.stem != "main")


def load_command(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"adapters.cli.{name}")


def _run(argv: list[str]) -> int:
    first, *rest = argv or ["--help"]
    option, _, value = first.replace("-", "_").replace("__", "--", 1).partition("=")
    known = command_names()
    if first == "-h" or option == "--help":
        print(_overview(known))
    elif option == "--version":
        print(_versions())
    elif option == "--print_completion":
        print(_completion(value or next(iter(rest), ""), known))
    elif first not in known:
        kind = "option" if first.startswith("-") else "command"
        near = did_you_mean(first, [*OPTIONS] if kind == "option" else known)
        raise SettingsError(f"{first}: no such {kind}: {near}")
    else:
        return int(load_command(first).run(rest))
    return 0


def _overview(known: Sequence[str]) -> str:
    """All commands with a line each, by group, and the options."""
    commands = {name: load_command(name) for name in known}
    titles = dict.fromkeys((*GROUPS, *(command.GROUP for command in commands.values())))
    lines = ["usage: taskswap COMMAND …", "", "Train, prompt, compare and serve many tasks on one base model."]
    for title in titles:
        own = {name: command.HELP for name, command in commands.items() if title == command.GROUP}
        lines += _table(title, own)
    lines += _table("Options", OPTIONS)
    lines += ["", "Flags of a command: taskswap COMMAND --help. Completion:"]
    lines += [f"  {shell:6}{line}" for shell, line in INSTALL_COMPLETION.items()]
    return "\n".join(lines)


def _table(title: str, rows: dict[str, str]) -> list[str]:
    return ["", f"{title}:", *(f"  {name:20}{text}" for name, text in rows.items())] if rows else []


def _versions() -> str:
    from adapters.core.environment import versions

    found = versions()
    return "\n".join(f"{name} {found[name]}" for name in ("taskswap", *VERSIONS))


def _completion(shell: str, known: Sequence[str]) -> str:
    from adapters.cli.base.completion import script

    if shell not in INSTALL_COMPLETION:
        given = f"--print_completion {shell}".rstrip()
        raise SettingsError(f"{given}: {did_you_mean(shell, INSTALL_COMPLETION)}")
    return script(shell, {name: load_command(name) for name in known}, OPTIONS)
