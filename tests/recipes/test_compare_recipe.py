"""compare_ner.py, run whole at tiny size with all six methods: killed, taken up again, failing, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import REPOSITORY, build_comparison_place, ended_cells

from adapters.__main__ import main
from adapters.comparison.cells import Cell, clean_environment, run

SIX = ["full", "head", "lora", "prefix", "zero_shot", "few_shot"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny bases and data."""
    return build_comparison_place(tmp_path_factory.mktemp("compare"))


def command(place: Path, out: str, *flags: str) -> list[str]:
    given = {
        "--model_name_or_path": place / "bert", "--prompt_model_name_or_path": place / "llama",
        "--dataset_name": place / "data", "--output_dir": place / out, "--seeds": 1, "--num_train_epochs": 1,
        "--mixed_precision": "no", "--max_new_tokens": 4, "--shots": 1, "--num_virtual_tokens": 4,
    }  # fmt: skip
    words = [word for flag, value in given.items() if flag not in flags for word in (flag, str(value))]
    return [sys.executable, "recipes/compare_ner.py", *words, *flags]


def start(words: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**clean_environment(os.environ), "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False,
                          timeout=600)  # fmt: skip


def test_a_killed_comparison_goes_on_with_the_missing_cells_and_shows_all_six(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, out = command(place, "all"), place / "all"
    environment = {**clean_environment(os.environ), "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(
        words, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    limit = time.monotonic() + 300
    while len(ended_cells(out)) < 2 and time.monotonic() < limit:
        time.sleep(0.1)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    before = ended_cells(out)
    assert 2 <= len(before) < 8
    second = start(words)
    assert second.returncode == 0, second.stderr
    after = ended_cells(out)
    assert len(after) == 8  # six, and full and LoRA on the prompted base
    assert all(after[name] == moment for name, moment in before.items()), "finished cells are kept"
    third = start(words)
    assert third.returncode == 0 and ended_cells(out) == after
    assert third.stdout == second.stdout
    kept = json.loads((out / "comparison.json").read_text())
    assert [row["method"] for row in kept["rows"]] == [*SIX, "full", "lora"]
    assert [Path(row["base"]).name for row in kept["rows"]] == ["bert"] * 4 + ["llama"] * 4
    assert (out / "comparison.html").read_text().startswith("<!doctype html>")
    assert all(f"\n{method} " in second.stdout for method in SIX)

    capsys.readouterr()
    assert main(["compare", *(str(out / "cells" / name) for name in after)]) == 0
    compared = capsys.readouterr().out
    assert all(method in compared for method in SIX)


def test_a_cell_that_fails_is_shown_with_its_reason_and_the_others_go_on(place: Path) -> None:
    flags = ["--methods", "head,few_shot", "--shots", "61", "--max_predict_samples", "5"]
    failed = start(command(place, "failing", *flags))
    assert failed.returncode == 1
    assert "there are 60 training examples" in failed.stdout
    assert "few_shot-llama" in failed.stdout and "\nhead " in failed.stdout
    kept = json.loads((place / "failing" / "comparison.json").read_text())
    assert [row["method"] for row in kept["rows"]] == ["head"] or len(kept["rows"]) == 3
    assert "failed" in (place / "failing" / "comparison.html").read_text()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--methods", "lroa"], "did you mean 'lora'"),
        (["--seeds", "0"], "--seeds 0: must be at least 1"),
        (
            ["--methods", "few_shot", "--prompt_model_name_or_path", "BERT"],
            "is of the kind encoder; the method few_shot",
        ),
        (["--train_sizes", "50,many"], "--train_sizes many: must be numbers, or all"),
        (["--forbid_overlap"], "--forbid_overlap: "),
        (["--lora_r", "0"], "--lora_r 0: must be at least 1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(place: Path, flags: list[str], told: str) -> None:
    flags = [str(place / "bert") if word == "BERT" else word for word in flags]
    if "--forbid_overlap" in flags:
        flags += ["--test_file", str(place / "data" / "train.conll")]
    refused = start(command(place, "refused", *flags))
    assert refused.returncode == 2, refused.stderr
    assert told in " ".join(refused.stderr.split()) and "Traceback" not in refused.stderr
    assert not (place / "refused").exists()


def test_a_folder_of_another_comparison_or_of_something_else_is_refused(place: Path) -> None:
    folder = place / "other"
    (folder / "cells").mkdir(parents=True)
    start_settings = {"task": "ner", "max_length": 128}
    (folder / "settings.json").write_text(json.dumps(start_settings))
    refused = start(command(place, "other"))
    assert refused.returncode == 2 and "holds another comparison, which differs in" in " ".join(refused.stderr.split())
    (place / "notes").mkdir()
    (place / "notes" / "mine.txt").write_text("mine")
    refused = start(command(place, "notes"))
    assert refused.returncode == 2 and "holds something else than a comparison" in " ".join(refused.stderr.split())
    assert (place / "notes" / "mine.txt").read_text() == "mine"


def test_the_launchers_variables_do_not_reach_a_cell() -> None:
    launched = {"ACCELERATE_MIXED_PRECISION": "no", "RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "1",
                "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1", "HOME": "/h",
                "TASKSWAP_CACHE": "/c"}  # fmt: skip
    assert clean_environment(launched) == {"HOME": "/h", "TASKSWAP_CACHE": "/c"}
    assert clean_environment({"OMP_NUM_THREADS": "1", "HOME": "/h"}) == {"OMP_NUM_THREADS": "1", "HOME": "/h"}
    assert clean_environment({**launched, "OMP_NUM_THREADS": "2"})["OMP_NUM_THREADS"] == "2"


def test_a_cells_name_hangs_on_its_settings_and_not_on_its_folder() -> None:
    one = Cell(method="lora", base="a/b", seed=0, settings={"lora_r": 8, "output_dir": "x"})
    assert one.name == Cell(method="lora", base="a/b", seed=0, settings={"lora_r": 8, "output_dir": "y"}).name
    assert one.name != Cell(method="lora", base="a/b", seed=0, settings={"lora_r": 9}).name
    assert one.name.startswith("lora-b-seed0-")


def test_a_cell_that_an_earlier_comparison_left_running_is_waited_for(tmp_path: Path) -> None:
    import fcntl
    import threading

    cell = Cell(method="full", base="b", seed=0)
    (tmp_path / "cells" / cell.name).mkdir(parents=True)
    lock = (tmp_path / "cells" / f"{cell.name}.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def finish() -> None:
        (tmp_path / "cells" / cell.name / "scores.json").write_text("{}")
        lock.close()

    threading.Timer(0.3, finish).start()
    outcome = run(cell, tmp_path, 1)
    assert not outcome.error and outcome.seconds >= 0.25
    assert not (tmp_path / "cells" / f"{cell.name}.log").exists(), "nothing was run"
