"""What is started for a number of processes and a config: torchrun on CPUs, Accelerate's launcher on GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from adapters.cli import launch as launching
from adapters.cli.base import launched
from adapters.cli.launch import ProcessLayout, launch
from adapters.core.errors import SettingsError
from adapters.core.exit_codes import exit_codes

CONFIGS = REPOSITORY / "accelerate_configs"
Started = list[tuple[list[str], dict[str, str]]]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No launcher's variables."""
    for name in ("WORLD_SIZE", "TASKSWAP_NUM_PROCESSES", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Commands that would have been started."""
    found: Started = []

    def replace_process(program: str, command: list[str], environment: dict[str, str]) -> None:
        found.append((command, environment))
        raise SystemExit(7)  # as the launcher would end in this process's place

    monkeypatch.setattr(os, "execve", replace_process)
    monkeypatch.setattr(launching, "cores", lambda: 8)
    return found


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "recipe.py").touch()
    return str(tmp_path / "recipe.py")


def begin(layout: ProcessLayout, recipe: str, **how: Any) -> None:
    with pytest.raises(SystemExit, match="7"):
        launch(layout, [recipe, "--seed", "1"], **how)


def test_torchrun_starts_a_recipe_which_knows_how_many_processes_were_requested(started: Started, recipe: str) -> None:
    begin(ProcessLayout(num_processes=3), recipe)
    ((command, environment),) = started
    assert command[:4] == [sys.executable, "-m", "adapters.cli.base.launched", "torch.distributed.run"]
    assert {"--nproc_per_node=3", "--standalone"} < set(command) and command[-3:] == [recipe, "--seed", "1"]
    assert environment["TASKSWAP_NUM_PROCESSES"] == "3"
    assert environment["OMP_NUM_THREADS"] == "2"  # 8 cores for 3
    assert "ACCELERATE_USE_FSDP" not in environment


def test_a_number_of_threads_of_the_users_is_kept(
    started: Started, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    begin(ProcessLayout(num_processes=16), recipe)
    monkeypatch.delenv("OMP_NUM_THREADS")
    begin(ProcessLayout(num_processes=16), recipe)
    assert [environment["OMP_NUM_THREADS"] for _, environment in started] == ["5", "1"]


def test_a_config_says_what_no_flag_says(started: Started, recipe: str) -> None:
    two = str(CONFIGS / "cpu_two_processes.yaml")
    begin(ProcessLayout(), recipe, config_file=two)
    begin(ProcessLayout(num_processes=4), recipe, config_file=two)
    assert "--nproc_per_node=2" in started[0][0] and "--nproc_per_node=4" in started[1][0]


def test_several_machines_meet_at_the_first_ones_address(started: Started, recipe: str) -> None:
    layout = ProcessLayout(num_processes=4, machine_rank=1, main_process_ip="10.9.8.7")
    begin(layout, recipe, config_file=str(CONFIGS / "many_machines.yaml"), cpu=True)
    ((command, environment),) = started
    wanted = {"--nproc_per_node=2", "--nnodes=2", "--node_rank=1", "--master_addr=10.9.8.7", "--master_port=29500"}
    assert wanted < set(command) and "--standalone" not in command
    assert environment["TASKSWAP_NUM_PROCESSES"] == "4" and environment["OMP_NUM_THREADS"] == "4"


def test_what_a_config_says_of_fsdp_is_what_accelerates_launcher_would_say(
    started: Started, recipe: str, tmp_path: Path
) -> None:
    import yaml
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    config = yaml.safe_load((CONFIGS / "fsdp2.yaml").read_text())
    config["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"] = "BertLayer"
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    begin(ProcessLayout(), recipe, config_file=str(tmp_path / "own.yaml"), cpu=True)
    given = launch_command_parser().parse_args(["--config_file", str(tmp_path / "own.yaml"), recipe])
    theirs = prepare_multi_gpu_env(_validate_launch_command(given)[0])
    ours = {name: value for name, value in started[0][1].items() if "FSDP" in name}
    assert len(ours) == len(config["fsdp_config"]) + 1
    assert ours == {name: theirs[name] for name in ours}


def test_a_config_for_gpus_is_accelerates_to_start(
    started: Started, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    config = str(CONFIGS / "fsdp2.yaml")
    begin(ProcessLayout(num_processes=8), recipe, config_file=config)
    command = started[0][0]
    assert command[1:6] == ["-m", "adapters.cli.base.launched", "accelerate.commands.launch", "--config_file", config]
    assert command[command.index("--num_processes") + 1] == "8" and command[-3:] == [recipe, "--seed", "1"]


@pytest.mark.parametrize(
    ("layout", "config", "message"),
    [
        (ProcessLayout(), None, "needs --num_processes, or a --config_file"),
        (ProcessLayout(num_processes=0), None, "--num_processes 0: must be at least 1"),
        (
            ProcessLayout(num_processes=3, num_machines=2),
            None,
            r"--num_machines 2: must be a divisor of --num_processes \(3\)",
        ),
        (ProcessLayout(num_processes=2, num_machines=2), None, "need --main_process_ip and --main_process_port"),
        (ProcessLayout(num_processes=2, num_machines=2, machine_rank=2), None, "--machine_rank 2: must be from 0 to 1"),
        (ProcessLayout(), "fsdp2.yaml", "is for GPUs, and torch finds none. Give --cpu"),
        (ProcessLayout(), "no.yaml", "no.yaml: Accelerate cannot read it"),
    ],
)
def test_what_cannot_be_launched_is_refused(
    layout: ProcessLayout, config: str | None, message: str, started: Started, recipe: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        launch(layout, [recipe], config_file=None if config is None else str(CONFIGS / config))
    assert started == []


@pytest.mark.parametrize("command", [[], ["nowhere.py"]])
def test_a_recipe_that_is_not_there_is_refused(command: list[str], started: Started) -> None:
    with pytest.raises(SettingsError, match=f"launch needs a recipe's file, found '{(command or ['nothing'])[0]}'"):
        launch(ProcessLayout(num_processes=2), command)
    assert started == []


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b\n", "{", "distributed_type: NONSENSE\n", "nix: 3\n"])
def test_a_file_that_is_no_config_is_named(text: str, started: Started, recipe: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"--config_file .*own.yaml"):
        launch(ProcessLayout(num_processes=2), [recipe], config_file=str(tmp_path / "own.yaml"))
    assert started == []


def test_deepspeed_is_refused_with_what_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from adapters.core.processes import check_launcher

    check_launcher()
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(SettingsError, match=r"fsdp2\.yaml"):
        check_launcher()


def test_the_command_passes_on_everything_after_the_recipe(started: Started, recipe: str) -> None:
    from adapters.cli.main import main

    words = ["--num-processes", "3", "--main_process_port=29501", recipe, "--num_processes", "9", "--help", "a.py"]
    assert main(["launch", *words]) == 7, "the launcher's own exit code"
    ((command, environment),) = started
    assert command[-5:] == [recipe, "--num_processes", "9", "--help", "a.py"]
    assert environment["TASKSWAP_NUM_PROCESSES"] == "3"


LAUNCHED = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"}
"""What Accelerate's launcher sets; users set the first themselves."""


@pytest.mark.parametrize("variables", [{}, {"ACCELERATE_MIXED_PRECISION": "no"}, LAUNCHED])
def test_under_accelerate_launch_a_refusal_stands_apart_with_how_to_have_it_alone(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*LAUNCHED, "TASKSWAP_NUM_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["recipes/x.py", "--bad"])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="2"), exit_codes():
        raise SettingsError("--bad: there is no such flag.")
    told = capsys.readouterr().err
    if variables == LAUNCHED:
        assert told.startswith("\nerror: --bad: there is no such flag.\n\n(") and "python recipes/x.py …" in told
    else:
        assert told == "--bad: there is no such flag.\n"


@pytest.mark.parametrize(("codes", "ends"), [({0: 2, 1: -6}, SystemExit), ({0: -6, 1: 1}, ChildFailedError)])
def test_of_several_processes_one_that_refused_has_said_why(
    codes: dict[int, int], ends: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failures = {
        rank: ProcessFailure(local_rank=rank, pid=1, exitcode=code, error_file=str(tmp_path / "none"))
        for rank, code in codes.items()
    }

    def fail(*_: Any, **__: Any) -> None:
        raise ChildFailedError("recipe", failures)

    monkeypatch.setattr("runpy.run_module", fail)
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(ends):
        launched.main("torch.distributed.run")


@pytest.mark.slow
def test_a_refusal_of_the_data_by_several_processes_is_its_message_alone(tmp_path: Path, tiny_bert: Path) -> None:
    (tmp_path / "bad.csv").write_text("text,label\na,\nb,x\n")
    data = ["--train_file", str(tmp_path / "bad.csv"), "--model_name_or_path", str(tiny_bert)]
    recipe = ["recipes/lora_classification.py", *data, "--output_dir", str(tmp_path / "run")]
    words = [sys.executable, "-m", "adapters", "launch", "--num_processes", "2", "--cpu", *recipe]
    ended = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 2
    first, fault, advice = ended.stderr.strip().splitlines()
    assert first.endswith("bad.csv: 1 fault:") and "bad.csv:2: column 'label'" in fault and "--drop_label" in advice


def test_what_only_another_process_refuses_is_said_by_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("adapters.core.exit_codes.PATIENCE", 0.0)
    with pytest.raises(SystemExit, match="2"), exit_codes():
        raise SettingsError("data.csv: no such file")
    assert capsys.readouterr().err == "process 1: data.csv: no such file\n"


@pytest.mark.slow
@pytest.mark.parametrize(("code", "quiet"), [(2, True), (7, False)])
def test_the_launcher_reports_a_process_that_died_and_not_one_that_refused(
    code: int, quiet: bool, tmp_path: Path
) -> None:
    (tmp_path / "ending.py").write_text(f"import sys; sys.exit({code})")
    words = [sys.executable, "-m", "adapters", "launch", "--num_processes", "2", str(tmp_path / "ending.py")]
    ended = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == (2 if quiet else 1)
    assert ("Traceback" in ended.stderr) is not quiet and ("exitcode" in ended.stderr) is not quiet, ended.stderr
