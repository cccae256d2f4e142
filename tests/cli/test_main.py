"""`taskswap` itself: its help, version and completion, what it says of a wrong name, and how it ends."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY

from adapters.cli.main import GROUPS, INSTALL_COMPLETION, command_names, load_command, main
from adapters.core.arguments import flags_of
from adapters.core.errors import SettingsError

COMMANDS = [
    "compare",
    "continual",
    "customer_service",
    "data",
    "evaluate",
    "explain",
    "export",
    "inspect",
    "lab",
    "launch",
    "merge",
    "news_monitor",
    "predict",
    "prompts",
    "recommend",
    "serve",
    "train",
]
PAIR = ["--task", "ner", "--method", "lora"]


def failed(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed on stderr by a command that the user got wrong."""
    capsys.readouterr()
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    return shown.err


def test_the_commands_are_the_files_of_the_folder() -> None:
    assert command_names() == COMMANDS
    for name in COMMANDS:
        command = load_command(name)
        assert command.HELP and "\n" not in command.HELP and command.GROUP in GROUPS, name
        assert "--help" in flags_of(command.settings()), name


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_every_command_with_its_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in COMMANDS:
        assert [line for line in lines if line.split() == [name, *load_command(name).HELP.split()]], name
    assert [line[:-1] for line in lines if line[:-1] in GROUPS] == list(GROUPS)
    assert any("--print_completion" in line for line in lines)
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_describes_its_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "--help" in shown.out and " --" in shown.out and shown.out.startswith("usage: ")


def test_version_names_the_libraries_that_results_depend_on(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib import metadata

    import adapters

    assert main(["--version"]) == 0
    shown = dict(line.split(" ") for line in capsys.readouterr().out.splitlines())
    assert shown.pop("python") == sys.version.split()[0]
    assert shown.pop("taskswap") == adapters.__version__
    assert shown == {name: metadata.version(name) for name in ("torch", "transformers", "peft")}


def test_python_m_adapters_is_the_same_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--help"]) == 0
    own = capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["adapters", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("adapters", run_name="__main__")
    assert stop.value.code == 0
    assert capsys.readouterr().out == own


def test_train_without_a_pair_lists_tasks_and_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "classification, ner, " in shown and "few_shot, full, head" in shown
    assert "taskswap train --task ner --method lora --help" in shown
    assert main(["train", *PAIR, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--lora_r " in shown and "--tag_scheme" in shown and "runs/lora_ner" in shown


def test_the_lab_has_the_defaults_of_its_recipe() -> None:
    recipe = runpy.run_path(str(REPOSITORY / "recipes" / "prompt_lab.py"))
    own = load_command("lab").DEFAULTS
    assert {**own, "output_dir": ""} == {**recipe["DEFAULTS"], "output_dir": ""}


# Wrong names


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian", "trian: no such command: did you mean 'train'?"),
        (
            "zzz",
            "zzz: no such command: known: compare, continual, customer_service, data, evaluate, explain, export,",
        ),
        ("main", "main: no such command"),
        ("base", "base: no such command"),
        ("--hlep", "--hlep: no such option: did you mean '--help'?"),
        ("--print_completion", "--print_completion: known: bash, fish, zsh"),
        ("--print-completion bsh", "--print_completion bsh: did you mean 'bash'"),
        ("train", "--task is missing: choose from classification, ner"),
        ("train --task nre", "--task nre: did you mean 'ner'?"),
        ("train --task ner", "--method is missing: choose from bitfit"),
        ("train --task ner --methd=lora", "--methd: there is no such flag. --method is missing: choose from bitfit"),
        ("train --task --method lora", "--task is missing"),
        ("train --prompt=mine.toml", "--task is missing"),
        ("train settings.json --output_dir x", "settings.json: a settings file takes the place of all flags"),
        ("train --task ner --method lroa", "--method lroa: did you mean 'lora'"),
        ("train --task ner --method lora --lora_rank 4", "--lora_rank: there is no such flag: did you mean '--lora_r'"),
        ("train missing/settings.json", "missing/settings.json: cannot be read"),
        ("compare", "Give the folders of finished runs; or --task with data"),
        ("compare --output_dir x", "RUN is missing. See taskswap compare --help."),
        ("compare --exports onnx", "--exports: only where the methods are run as well. Add --task"),
        (
            "train --task ner --method lora --base x",
            "--base: there is no such flag: did you mean '--model_name_or_path'?",
        ),
        ("compare runs --output_dri x", "--output_dri: there is no such flag: did you mean '--output_dir'"),
        ("compare --task nre", "--task nre: did you mean 'ner'?"),
        ("compare --task ner --method lora", "--method: there is no such flag: did you mean '--methods'"),
        ("lab --task nre", "--task nre: did you mean 'ner'?"),
        ("lab --shot 1", "--shot: there is no such flag: did you mean '--shots'"),
        ("predict", "Give the folder of a run, or the `artifact` in it; or --pipeline with two of them."),
        ("predict folder text --devise cpu", "--devise: there is no such flag: did you mean '--device'"),
        ("predict folder text --artifact x", "--artifact: there is no such flag"),
        ("merge", "ARTIFACT is missing. See taskswap merge --help."),
        ("merge one", "--output_dir is missing. See taskswap merge --help."),
        ("merge one other --output_dir out --weights 1 x", "--weights"),
        ("inspect one other", "'other': unexpected argument. See taskswap inspect --help."),
        ("prompts --shots 2 ner_json", "--shots: there is no such flag"),
        ("prompts --plugin_dir=x ner_json", "ner_json: the prompt must come before all flags"),
        ("launch --num_proceses 2 x.py", "--num_proceses: there is no such flag: did you mean '--num_processes'"),
        ("launch --num_processes two x.py", "--num_processes"),
        ("serve --adaptor ner=x", "--adaptor: there is no such flag: did you mean '--adapter'"),
    ],
)
def test_a_wrong_name_ends_with_code_2_and_what_was_meant(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        assert message in failed(*line.split(), capsys=capsys)
    except SystemExit as stop:
        pytest.fail(f"SystemExit {stop.code}")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("line", ["predict one text", "merge one --output_dir out"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    message = failed(*line.split(), "--device", "cuda", capsys=capsys)
    assert "'cuda'" in message and "cpu" in message
    message = failed(*line.split(), "--device", "gpu", capsys=capsys)
    assert "'gpu'" in message and "cpu" in message


def test_a_number_format_that_is_unknown_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "did you mean 'float32'" in failed("predict", str(tmp_path), "a", "--dtype", "float23", capsys=capsys)


# Ends


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SettingsError("wrong"), 2, "wrong\n"),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
        (SystemExit(1), 1, ""),
        (SystemExit(None), 0, ""),
    ],
)
def test_what_ends_a_command_becomes_its_exit_code(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(argv: object) -> int:
        raise error

    monkeypatch.setattr(load_command("prompts"), "run", fail)
    assert main(["prompts"]) == code
    assert capsys.readouterr() == ("", message)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(argv: object) -> int:
        raise AssertionError("ours")

    monkeypatch.setattr(load_command("prompts"), "run", fail)
    with pytest.raises(AssertionError, match="ours"):
        main(["prompts"])


def test_sigterm_ends_a_command_with_143(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(argv: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("goes on after SIGTERM")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(load_command("prompts"), "run", stop)
    try:
        assert main(["prompts"]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_reader_that_has_gone_is_no_error() -> None:
    command = f"{sys.executable} -m adapters prompts | head -c 1; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True)
    assert (ended.stdout[1:].strip(), ended.stderr) == ("0", "")


# Completion


@pytest.fixture
def scripts(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    found = {}
    for shell in INSTALL_COMPLETION:
        assert main(["--print_completion", shell]) == 0
        found[shell] = capsys.readouterr().out
    return found


def test_completion_knows_every_command_and_every_flag(scripts: dict[str, str]) -> None:
    for shell, text in scripts.items():
        for name in COMMANDS:
            assert name in text, shell
            for flag in flags_of(load_command(name).settings()):
                assert (f"-l {flag[2:]}" if shell == "fish" else flag) in text, (shell, name, flag)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], ["train"]),
        (["--v"], ["--version"]),
        (["train", "--lora_a"], ["--lora_alpha"]),
        (["train", "--task", "n"], ["ner"]),
        (["train", "--seed", "1", "--method", "rs"], ["rslora"]),
        (["merge", "--merge"], ["--merge_method"]),
        (["launch", "--num_p"], ["--num_processes"]),
        (["predict", "runs/"], []),  # bash then completes files
        (["predict", "--lora"], []),
    ],
)
def test_bash_completes(scripts: dict[str, str], words: list[str], offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "completion.sh").write_text(scripts["bash"])
    line = f"source completion.sh; COMP_WORDS=(taskswap {' '.join(words)}); COMP_CWORD={len(words)}; _taskswap; "
    command = ["bash", "-c", line + 'printf "%s\\n" "${COMPREPLY[@]}"']
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == offered


# Settings files


def test_a_runs_settings_are_given_back_and_name_its_task_and_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters import recipe

    class Started(Exception):
        pass

    seen = {}

    def start(doc: str, **how: object) -> object:
        seen.update(how)
        raise Started

    monkeypatch.setattr(recipe, "start", start)
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"task": "ner", "method": "head", "seed": 3, "output_dir": str(tmp_path / "again")}))
    with pytest.raises(Started):
        main(["train", str(path)])
    assert seen == {"task": "ner", "method": "head", "defaults": {"output_dir": "runs/head_ner"}, "argv": [str(path)]}
