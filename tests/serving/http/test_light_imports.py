"""`serve --help` and the client import no heavy library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

HEAVY = {"torch", "transformers", "peft", "numpy", "fastapi", "starlette", "uvicorn", "pydantic", "orjson"}


def imported(module: str) -> set[str]:
    """The modules in memory after an import of one, in a new process."""
    program = f"import sys; before = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - before))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


@pytest.mark.parametrize("module", [f"adapters.serving.http.{name}" for name in ("settings", "server", "client")])
def test_what_help_and_the_client_need_imports_no_heavy_library(module: str) -> None:
    names = imported(module)
    assert module in names
    assert not names & HEAVY


def test_the_client_imports_the_standard_library_and_the_errors_alone() -> None:
    names = {name for name in imported("adapters.serving.http.client") if name.partition(".")[0] == "adapters"}
    modules = {
        *(f"adapters.core.{name}" for name in ("errors", "launcher", "processes")),
        "adapters.serving.http.client",
    }
    assert names == {"adapters", "adapters.core", "adapters.serving", "adapters.serving.http", *modules}
    others = {name.partition(".")[0] for name in imported("adapters.serving.http.client")} - {"adapters"}
    assert others <= sys.stdlib_module_names
