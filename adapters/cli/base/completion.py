"""Completion scripts for bash, zsh and fish, written from the commands and their flags."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import ModuleType

from adapters.core import discovery
from adapters.core.arguments import flags_of

VALUES = {"--task": "tasks", "--method": "methods", "--format": "formats"}
"""Flags whose values are names of plugins, and the kind of plugin."""


def script(shell: str, commands: Mapping[str, ModuleType], options: Mapping[str, str]) -> str:
    """The completion script of a shell.

    Args:
        shell: bash, zsh or fish.
        commands: the commands by name, each with `HELP` and `settings()`.
        options: the options of `taskswap` itself, with a line of help each.
    """
    flags = {name: flags_of(command.settings()) for name, command in commands.items()}
    values = {flag: discovery.names(kind) for flag, kind in VALUES.items()}
    help_lines = {name: str(command.HELP) for name, command in commands.items()}
    if shell == "fish":
        return _fish(flags, values, help_lines, options)
    return (_bash if shell == "bash" else _zsh)(flags, values, list(options))


def _bash(flags: Mapping[str, list[str]], values: Mapping[str, list[str]], options: list[str]) -> str:
    cases = _cases(flags, '    {name}) words="{words}" ;;')
    given = _cases(values, '    {name}) words="{words}" ;;')
    return f"""\
_taskswap() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join([*flags, *options])}" -- "$current"))
    return
  fi
  case "${{COMP_WORDS[COMP_CWORD-1]}}" in
{given}
    *) if [[ "$current" == -* ]]; then case "${{COMP_WORDS[1]}}" in
{cases}
    esac; fi ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _taskswap taskswap"""


def _zsh(flags: Mapping[str, list[str]], values: Mapping[str, list[str]], options: list[str]) -> str:
    cases = _cases(flags, "    {name}) compadd -- {words} ;;")
    given = _cases(values, "    {name}) compadd -- {words}; return ;;")
    return f"""\
#compdef taskswap
_taskswap() {{
  if (( CURRENT == 2 )); then
    compadd -- {" ".join([*flags, *options])}
    return
  fi
  case "${{words[CURRENT-1]}}" in
{given}
  esac
  if [[ "${{words[CURRENT]}}" != -* ]]; then
    _files
    return
  fi
  case "${{words[2]}}" in
{cases}
  esac
}}
compdef _taskswap taskswap"""


def _fish(
    flags: Mapping[str, list[str]],
    values: Mapping[str, list[str]],
    help_lines: Mapping[str, str],
    options: Mapping[str, str],
) -> str:
    start = "complete -c taskswap -n __fish_use_subcommand"
    lines = [f"{start} -f -a {name} -d {shlex.quote(text)}" for name, text in help_lines.items()]
    lines += [f"{start} -l {option[2:]} -d {shlex.quote(text)}" for option, text in options.items()]
    for name, own in flags.items():
        for flag in own:
            taken = f" -x -a {shlex.quote(' '.join(values[flag]))}" if flag in values else ""
            lines.append(f"complete -c taskswap -n '__fish_seen_subcommand_from {name}' -l {flag[2:]}{taken}")
    return "\n".join(lines)


def _cases(words: Mapping[str, list[str]], line: str) -> str:
    return "\n".join(line.format(name=name, words=" ".join(own)) for name, own in words.items())
