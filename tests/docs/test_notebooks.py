"""The notebooks of docs/notebooks run from their first cell to their last, small, in one kernel after the other."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_sources
from conftest import REPOSITORY
from doc_pages import text

FOLDER = REPOSITORY / "docs" / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.py"))
SMALL = {"max_train_steps": 2, "max_eval_samples": 8, "max_predict_samples": 8}
SIZE = re.compile(r"^SIZE = \{.*?\}", re.M)
LEFT_OUT = {"prompts": {"max_train_steps", "max_eval_samples"}}
"""Flags that no run of a notebook has."""
IN_THIS_PROCESS = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
import pytest
from conftest import run_in_this_process
run_in_this_process(pytest.MonkeyPatch())
"""
"""Runs of a comparison in the kernel: a process for each takes seconds."""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def collect() -> None:
    """Let the kernel's sockets go now: those that are still open warn, in whatever test comes next."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """A kernel, in a folder with tiny models: each notebook begins where the one before has ended."""
    from jupyter_client.manager import KernelManager

    folder = tmp_path_factory.mktemp("notebooks")
    small_sources.write(folder)
    started = KernelManager(kernel_name="python3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("OMP_NUM_THREADS", "1")
        started.start_kernel(cwd=str(folder))
    yield started, folder
    started.shutdown_kernel(now=True)
    started.cleanup_resources()
    del started
    collect()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_its_first_cell_to_its_last(kernel: tuple[Any, Path], name: str) -> None:
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    manager, folder = kernel
    notebook = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    small = {flag: value for flag, value in SMALL.items() if flag not in LEFT_OUT.get(name, ())}
    for cell in notebook.cells:
        cell.source = SIZE.sub(f"SIZE = {small}", cell.source)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(IN_THIS_PROCESS))
    client = NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(reset_kc=True)
    client = manager = None
    collect()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs, f"the last cell of {name} shows nothing"
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]


def test_every_notebook_is_linked_installs_what_it_needs_and_has_a_size() -> None:
    assert len(NOTEBOOKS) == 7
    for name in NOTEBOOKS:
        code = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert f"notebooks/{name}.py" in text("docs/notebooks.md"), name
        assert code.startswith("# %% [markdown]\n# # ") and len(SIZE.findall(code)) == 1, name
        assert 'find_spec("adapters") is None' in code.split("# %%")[2], name
