"""Comparisons whose runs others run: as a job array of Slurm, as tasks of Ray of which one worker is killed."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import forked
import psutil
import pytest
from conftest import REPOSITORY, build_comparison_folder, call_recipe, ended_runs, run_in_this_process

from adapters.core.errors import SettingsError
from adapters.core.launcher import without_launcher
from adapters.experiments.many_runs import launchers, slurm_launcher
from adapters.experiments.many_runs.planned_run import PlannedRun, Resources

pytestmark = pytest.mark.slow

CLUSTER = """
import logging, sys
from ray.cluster_utils import Cluster

cluster = Cluster()
for _ in range(2):
    cluster.add_node(num_cpus=1, num_gpus=0, include_dashboard=False)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name has a blank and a quote, with tiny bases and data."""
    return build_comparison_folder(tmp_path_factory.mktemp("launchers") / "Ada's runs")


def command(place: Path, out: str, *flags: str) -> list[str]:
    """Two runs: one that trains, one that prompts."""
    given = {
        "--model_name_or_path": place / "bert",
        "--prompt_model_name_or_path": place / "llama",
        "--dataset_name": place / "data",
        "--output_dir": place / out,
        "--methods": "full,zero_shot",
        "--seeds": 1,
        "--num_train_epochs": 15,
        "--learning_rate": 0.01,
        "--mixed_precision": "no",
        "--max_new_tokens": 4,
        "--tuning_trials": 0,
    }
    words = [word for flag, value in given.items() if flag not in flags for word in (flag, str(value))]
    return [sys.executable, "recipes/compare_ner.py", *words, "--also_on_prompt_base", *flags]


def environment(**more: str) -> dict[str, str]:
    given = {name: value for name, value in without_launcher(os.environ).items() if name != "RAY_ADDRESS"}
    return {**given, "OMP_NUM_THREADS": "1", **more}


def start(words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """The comparison in this process; its runs have their own, unless a test runs them here too."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(errors):
        patch.delenv("RAY_ADDRESS", raising=False)
        for name, value in more.items():
            patch.setenv(name, value)
        code = call_recipe(REPOSITORY / words[1], words[2:])
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())


def element(folder: Path, number: int) -> subprocess.CompletedProcess[str]:
    """An element of the job array, in a folder of its own, as Slurm starts it."""
    return subprocess.run(
        ["bash", str(folder / slurm_launcher.SCRIPT)],
        cwd="/",
        check=False,
        capture_output=True,
        text=True,
        env=environment(SLURM_ARRAY_TASK_ID=str(number)),
        timeout=300,
    )


def element_here(folder: Path, number: int) -> subprocess.CompletedProcess[str]:
    """What an element of the job array would start, run in this process."""
    said = (folder / slurm_launcher.SCRIPT).read_text().replace("exec ", "printf '%s\\n' ")
    found = subprocess.run(
        ["bash", "-c", said], env={"SLURM_ARRAY_TASK_ID": str(number)}, capture_output=True, text=True, check=True
    )
    python, _, module, *words = found.stdout.splitlines()
    assert (python, module) == (sys.executable, slurm_launcher.__name__)
    errors, before = io.StringIO(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(errors):
        run_in_this_process(patch)
        code = slurm_launcher.main(words)
    signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(words, code, "", errors.getvalue())


def scores(folder: Path) -> list[list[Any]]:
    """What the table says of each row, but for times and memory."""
    kept = json.loads((folder / "comparison.json").read_text())
    names = ("method", "base", "seeds", "value", "low", "high", "sd", "trainable_params", "train_examples")
    return [[row[name] for name in names] for row in kept["rows"]]


@pytest.fixture(scope="module")
def local(place: Path, one_thread: None) -> list[list[Any]]:
    """The table that the default launcher makes."""
    with pytest.MonkeyPatch.context() as patch:
        run_in_this_process(patch)
        done = start(command(place, "local"))
    assert done.returncode == 0, done.stderr
    found = scores(place / "local")
    assert [row[0] for row in found] == ["full", "zero_shot"] and found[0][3] > 0
    return found


def test_a_job_array_runs_each_run_and_the_same_command_then_gives_the_table(
    place: Path, local: list[list[Any]]
) -> None:
    words, folder = command(place, "array", "--launcher", "slurm", "--runs_at_once", "2"), place / "array"
    written = start(words)
    assert written.returncode == 0, written.stderr
    assert f"sbatch {shlex.quote(str(folder / slurm_launcher.SCRIPT))}\n" in written.stdout
    assert "2 of 2 runs are not finished" in written.stdout
    assert "run this same command again" in " ".join(written.stdout.split())
    assert not ended_runs(folder) and not (folder / "comparison.json").exists(), "nothing is run, there is no table"
    text = (folder / slurm_launcher.SCRIPT).read_text()
    assert "#SBATCH --array=0-1%2\n" in text and "#SBATCH --cpus-per-task=1\n" in text and "gpu" not in text
    assert subprocess.run(["bash", "-n", str(folder / slurm_launcher.SCRIPT)], check=False).returncode == 0

    first = element(folder, 0)
    assert first.returncode == 0, first.stderr
    (name,) = before = ended_runs(folder)
    assert name.startswith("full-bert-seed0-")
    again = element(folder, 0)
    assert again.returncode == 0 and ended_runs(folder) == before, "a finished run is skipped"
    assert element(folder, 2).returncode == 2, "there is no third"

    rest = start(words)
    assert rest.returncode == 0 and "1 of 2 runs is not finished" in rest.stdout
    assert "#SBATCH --array=0-0%2\n" in (folder / slurm_launcher.SCRIPT).read_text()
    assert element_here(folder, 0).returncode == 0
    collected = start(words)
    assert collected.returncode == 0, collected.stderr
    assert "\nfull " in collected.stdout and "sbatch" not in collected.stdout
    assert scores(folder) == local
    assert name in ended_runs(folder) and ended_runs(folder)[name] == before[name]
    printed = start(command(place, "array", "--launcher", "local"))
    assert printed.returncode == 0 and printed.stdout == collected.stdout, "by any launcher, once all are finished"


def test_an_element_ends_with_the_exit_code_and_the_reason_of_its_run(place: Path) -> None:
    words = command(place, "failing", "--launcher", "slurm", "--methods", "few_shot", "--shots", "61")
    written = start(words)
    assert written.returncode == 0, written.stderr
    failed = element_here(place / "failing", 0)
    assert failed.returncode == 2 and "there are 60 training examples" in failed.stderr
    collected = start(words)
    (kept,) = (place / "failing" / "runs").glob("few_shot-*.failed")
    assert collected.returncode == 2 and f"To run it again, delete {kept}" in " ".join(collected.stderr.split())
    kept.unlink()
    again = start(words)
    assert again.returncode == 0 and not ended_runs(place / "failing")
    (log,) = (place / "failing" / "runs").glob("few_shot-*.log")
    assert f"started before, killed or still running: see {log}" in " ".join(again.stdout.split())


def test_the_job_array_asks_for_the_resources_of_a_run_and_is_sound_bash(tmp_path: Path) -> None:
    runs = [PlannedRun(method="lora", base='b\'s "$HOME" `x`', seed=seed) for seed in range(3)]
    names = [run.name for run in runs]
    script = slurm_launcher.script(names, tmp_path / "a b", Resources(processes=2, cpus=4, gpus=2.0))
    assert "#SBATCH --array=0-2\n" in script
    assert "#SBATCH --cpus-per-task=4\n" in script and "#SBATCH --gres=gpu:2\n" in script
    assert f'#SBATCH --output="{tmp_path}/a b/runs/slurm-%A_%a.out"\n' in script
    assert "--output" not in slurm_launcher.script(names, tmp_path / "50% %j", Resources()), (
        "Slurm would read a pattern"
    )
    said = script.replace("exec ", "printf '%s\\n' ")
    for number, name in enumerate(names):
        ran = subprocess.run(
            ["bash", "-c", said], env={"SLURM_ARRAY_TASK_ID": str(number)}, capture_output=True, text=True, check=True
        )
        assert ran.stdout.splitlines()[1:] == [
            "-m",
            "adapters.experiments.many_runs.slurm_launcher",
            f"{tmp_path}/a b",
            name,
            "2",
        ]
    assert subprocess.run(["bash", "-c", said], env={}, capture_output=True).returncode != 0, "by hand, without sbatch"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed: pip install '.[test]'")
def test_shellcheck_finds_nothing_in_the_job_array(tmp_path: Path) -> None:
    (tmp_path / "x.sbatch").write_text(
        slurm_launcher.script(["one", "two words"], tmp_path / "it's here", Resources(gpus=1))
    )
    found = subprocess.run(["shellcheck", str(tmp_path / "x.sbatch")], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("name", "share", "told"),
    [
        ("slrum", Resources(), "--launcher slrum: unknown launcher: did you mean 'slurm'"),
        ("local", Resources(processes=0), "--num_processes 0: must be at least 1"),
        ("slurm", Resources(cpus=0), "--run_cpus 0: must be at least 1"),
        ("slurm", Resources(at_once=0), "--runs_at_once 0: must be at least 1"),
        ("ray", Resources(at_once=2), "--runs_at_once 2: must be left out with ray: --run_cpus decides"),
        ("slurm", Resources(gpus=0.5), "--run_gpus 0.5: must be a whole number"),
        ("ray", Resources(gpus=1.5), "--run_gpus 1.5: must be below 1, or a whole number"),
        ("ray", Resources(gpus=float("nan")), "--run_gpus nan: must be 0 or more"),
    ],
)
def test_what_a_launcher_cannot_do_is_refused(name: str, share: Resources, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        launchers.check(name, share)


def test_without_ray_its_launcher_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "adapters.experiments.many_runs.ray_launcher", raising=False)
    with pytest.raises(SettingsError, match=r"--launcher ray needs ray.*pip install -e .*\[ray\]"):
        launchers.check("ray", Resources())
    launchers.check("local", Resources())
    launchers.check("slurm", Resources())


def processes_of(folder: Path) -> dict[str, psutil.Process]:
    """The runs that run: their names, and the process of each."""
    found = {}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if words[1:4] == ["-m", "adapters", "train"] and words[4].startswith(f"{folder}/runs/"):
            found[Path(words[4]).stem] = process
    return found


def until(holds: Callable[[], Any], seconds: float = 240) -> Any:
    limit = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < limit, "not within the time"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two machines with a core each, both of them this one."""
    words = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(
        words,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
    ) as started:
        assert started.stdout is not None
        lines = iter(started.stdout.readline, "")
        address = next((line.strip() for line in lines if re.fullmatch(r"[\d.]+:\d+\s*", line)), "")
        assert address, "the cluster has not started"
        yield address
        started.communicate()


IN_THE_BACKGROUND = """
import signal, sys
from pathlib import Path
from conftest import call_recipe

signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.exit(call_recipe(Path(sys.argv[1]), sys.argv[2:]))
"""


def test_runs_of_a_killed_ray_worker_are_done_again_a_failure_is_shown_and_the_table_is_the_same(
    place: Path, local: list[list[Any]], cluster: str
) -> None:
    flags = ["--launcher", "ray", "--methods", "full,few_shot", "--shots", "61"]
    words, folder = command(place, "ray", *flags), place / "ray"
    out, err = place / "ray.out", place / "ray.err"
    comparing = forked.Forked(words[1:], out, err, environment={"RAY_ADDRESS": cluster})

    def training() -> dict[str, psutil.Process]:
        assert comparing.poll() is None, comparing.printed()
        return {name: process for name, process in processes_of(folder).items() if name.startswith("full-")}

    ((name, own),) = until(training).items()
    (worker,) = [parent for parent in own.parents() if parent.name().startswith("ray::")][:1]
    for process in (worker, own):  # as where a machine goes down
        process.send_signal(signal.SIGKILL)
    assert name not in ended_runs(folder), "it was killed before it had ended"
    until(lambda: training().get(name, own).pid != own.pid)  # the comparison goes on, and the run is run again
    assert comparing.wait(400) == 1, comparing.printed()
    assert [*ended_runs(folder)] == [name]
    assert "\nfull " in out.read_text() and scores(folder) == local[:1]
    lines = [(place / launcher / "runs" / name / "predictions.jsonl").read_text() for launcher in ("ray", "local")]
    assert lines[0] == lines[1]
    assert "[2/2] " in err.read_text()
    assert "there are 60 training examples" in out.read_text()
    assert re.search(r"^\[\d/2\] few_shot-llama-\S+: failed: ", err.read_text(), re.MULTILINE)


def test_sigterm_ends_the_runs_of_a_ray_cluster(place: Path, cluster: str) -> None:
    """Also where Ctrl-C is ignored, as below nohup, which is how Ray ends a task."""
    endless = ("--num_train_epochs", "100000", "--early_stopping_patience", "100000")
    words, folder = command(place, "ended", "--launcher", "ray", "--methods", "full", *endless), place / "ended"
    (place / "background.py").write_text(IN_THE_BACKGROUND)
    comparing = forked.Forked(
        [place / "background.py", *words[1:]], place / "ended.log", environment={"RAY_ADDRESS": cluster}
    )
    comparing.until(lambda: processes_of(folder))
    (run,) = processes_of(folder).values()
    comparing.until(lambda: any(re.search(r"epoch \d+:", log.read_text()) for log in folder.glob("runs/*.log")))
    comparing.send_signal(signal.SIGTERM)
    assert comparing.wait() == 143, comparing.printed()
    assert not run.is_running() and not processes_of(folder) and not ended_runs(folder)


def test_a_ray_cluster_that_is_not_there_or_is_too_small_is_refused(place: Path, cluster: str) -> None:
    import ray

    nowhere = start(command(place, "nowhere", "--launcher", "ray"), RAY_ADDRESS="127.0.0.1:9")
    assert nowhere.returncode == 2, nowhere.stderr
    assert "RAY_ADDRESS 127.0.0.1:9: no Ray cluster answers there" in " ".join(nowhere.stderr.split())
    with ray.init(address=cluster, logging_level="WARNING"):  # as one that is started for the comparison
        small = start(command(place, "small", "--launcher", "ray", "--run_cpus", "4000"))
    assert small.returncode == 2, small.stderr
    assert "no machine of the Ray cluster has --run_cpus 4000" in " ".join(small.stderr.split())
