"""prompt_lab.py itself, as a command: it ends with its page, or with the user's fault and code 2."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

RunRecipe = Callable[..., int]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_recipe_runs_and_refuses(run_recipe: RunRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    for name in ("train", "dev", "test"):
        lines = [f"{'Ada' if n % 2 else 'Rome'} film {n},{'fresh' if n % 2 else 'rotten'}" for n in range(12)]
        (tmp_path / "data" / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    flags = (
        "--model_name_or_path",
        str(tiny.llama(tmp_path / "llama")),
        "--dataset_name",
        str(tmp_path / "data"),
        "--shots",
        "0,2",
        "--seeds",
        "2",
    )
    assert run_recipe("prompt_lab", *flags) == 0
    told = capsys.readouterr()
    assert "[6/6] test, classification_sentiment, 2 shots, seed 1: none " in told.err
    assert len(re.findall(r"^classification_\w+ +[02]  \w+ +\d", told.out, re.MULTILINE)) == 2 * 2 * 3
    assert (tmp_path / "run" / "lab.html").read_text().startswith("<!doctype html>")
    assert run_recipe("prompt_lab", *flags, "--shots", "13") == 2
    assert "--shots 13: there are 12 training examples" in capsys.readouterr().err
    assert run_recipe("prompt_lab", *flags, "--calibration", "chanel") == 2
