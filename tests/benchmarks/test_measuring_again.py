"""The commands of docs/results.md parse, and are run one by one, taken up where they ended."""

from __future__ import annotations

import argparse
import importlib
import json
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, call_recipe

from adapters.cli.main import main
from adapters.core import arguments

HERE = Path(__file__).parent
again: Any = importlib.import_module("tests.benchmarks.__main__")
COMMANDS = [*again.measurements(again.RESULTS.read_text(encoding="utf-8"))]


class Parsed(BaseException):
    """The flags were read; nothing else is done."""


@pytest.fixture
def only_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever parses flags ends after it."""
    monkeypatch.syspath_prepend(str(HERE))
    read, other = argparse.ArgumentParser.parse_args, arguments.parse

    def parse_args(self: argparse.ArgumentParser, *given: Any, **named: Any) -> None:
        read(self, *given, **named)
        raise Parsed

    def parse(*given: Any, **named: Any) -> None:
        other(*given, **named)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(arguments, "parse", parse)


def run(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command, in this process."""
    monkeypatch.chdir(REPOSITORY)
    if words[0] == "taskswap":
        code = main([*words[1:]])
    elif words[1].startswith("recipes/"):
        code = call_recipe(REPOSITORY / words[1], [*words[2:]])
    else:
        monkeypatch.setattr(sys, "argv", [*words[1:]])
        runpy.run_path(words[1], run_name="__main__")
        code = 0
    raise AssertionError(f"{shlex.join(words)} ended with {code} before its flags were read")


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
@pytest.mark.filterwarnings("ignore")
def test_the_flags_of_each_table_are_still_known(one: Any, only_parses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Parsed):
        run(one.words, monkeypatch)


def test_a_flag_that_is_gone_is_found(only_parses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((SystemExit, AssertionError)):
        run(("python", "tests/benchmarks/seeds.py", "--no_such_flag"), monkeypatch)
    with pytest.raises((SystemExit, AssertionError)):
        run(("python", "recipes/lora_ner.py", "--no_such_flag"), monkeypatch)


def test_each_command_has_a_file_and_keeps_what_it_makes_below_the_folder(tmp_path: Path) -> None:
    assert len(COMMANDS) >= 40 and len({one.name for one in COMMANDS}) == len(COMMANDS)
    for one in COMMANDS:
        words = one.command(tmp_path)
        assert words[0] == sys.executable and (one.words[0] == "python" or words[1:3] == ["-m", "adapters"])
        recipe = one.words[0] == "taskswap" or one.words[1].startswith("recipes/")
        assert ("--output_dir" in words) == recipe


def test_what_failed_is_run_again_and_what_ended_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script, flag = tmp_path / "one.py", tmp_path / "works"
    script.write_text(f"import pathlib, sys\nprint('ran', 7)\nsys.exit(not pathlib.Path({str(flag)!r}).exists())\n")
    page = tmp_path / "results.md"
    page.write_text(f"### A table\n\n<!-- result -->\n```bash\npython {script} \\\n  --flag\n```\n")
    monkeypatch.setattr(again, "RESULTS", page)
    folder = tmp_path / "measured"
    monkeypatch.setattr(sys, "argv", ["x", "table", "--resume", "--folder", str(folder)])
    assert again.main() == 1 and "failed: python" in capsys.readouterr().err
    (part,) = folder.iterdir()
    assert part.suffix == ".part"
    flag.touch()
    assert again.main() == 0
    (done,) = folder.iterdir()
    head, *printed, tail = done.read_text().splitlines()
    assert done.suffix == ".txt" and printed == ["ran 7"] and json.loads(tail)["exit_code"] == 0
    assert json.loads(head)["command"] == f"python {script} --flag" and json.loads(head)["hardware"]["cores"] >= 1
    flag.unlink()
    capsys.readouterr()
    assert again.main() == 0 and not capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["x", "nothing like it"])
    with pytest.raises(SystemExit):
        again.main()
