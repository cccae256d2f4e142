"""A command looks for garbage less often than Python does by default."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
from conftest import REPOSITORY, call_recipe

from adapters.cli.main import main


@pytest.fixture
def usual() -> Iterator[int]:
    """Objects between two looks by default, which are in force."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield 700
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    "run",
    [lambda: main(["--help"]), lambda: call_recipe(REPOSITORY / "recipes" / "lora_ner.py", ["--help"])],
    ids=["command", "recipe"],
)
def test_a_command_looks_seldom(run: Callable[[], int], usual: int) -> None:
    assert run() == 0
    assert gc.get_threshold()[0] > 10 * usual
