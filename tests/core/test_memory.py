"""Available memory, the memory of a batch, and how many rows fit."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import ModelError
from adapters.core.memory import (
    SPARE,
    available_bytes,
    out_of_memory,
    peak_bytes,
    reset_peak,
    rows_that_fit,
    saved_bytes,
)

MIB = 2**20
FREE = 1000 * MIB


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 1000 MiB free."""
    memory = namedtuple("memory", "available")(FREE)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


def cgroup2(folder: Path, limit: str, used: int, inactive: int | None = 0) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    if inactive is not None:
        stat = f"anon 1\nfile 999\nactive_file 77\ninactive_file {inactive}\nslab 5\n"
        (folder / "memory.stat").write_text(stat)
    return folder


def cgroup1(folder: Path, limit: int, used: int, inactive: int = 0) -> Path:
    inner = folder / "memory"
    inner.mkdir()
    (inner / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (inner / "memory.usage_in_bytes").write_text(f"{used}\n")
    (inner / "memory.stat").write_text(f"cache 1\ninactive_file 7\ntotal_cache 9\ntotal_inactive_file {inactive}\n")
    return folder


# free memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("machine")
def test_without_a_control_group_the_machine_says(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) == FREE


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    "limit, used, inactive, expected",
    [
        (f"{500 * MIB}", 200 * MIB, 0, 300 * MIB),
        (f"{500 * MIB}", 200 * MIB, 150 * MIB, 450 * MIB),  # file cache is given back
        ("max", 200 * MIB, 0, FREE),
        (f"{5000 * MIB}", 200 * MIB, 0, FREE),
        (f"{500 * MIB}", 600 * MIB, 0, 0),
        (f"{500 * MIB}", 200 * MIB, None, 300 * MIB),  # no memory.stat: nothing is counted as given back
    ],
)
def test_version_2_of_control_groups_bounds_it(
    tmp_path: Path, limit: str, used: int, inactive: int | None, expected: int
) -> None:
    assert available_bytes(cgroup2(tmp_path, limit, used, inactive)) == expected


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    "limit, used, inactive, expected",
    [
        (500 * MIB, 200 * MIB, 0, 300 * MIB),
        (500 * MIB, 200 * MIB, 50 * MIB, 350 * MIB),
        (9223372036854771712, 200 * MIB, 0, FREE),  # no limit
    ],
)
def test_version_1_of_control_groups_bounds_it(
    tmp_path: Path, limit: int, used: int, inactive: int, expected: int
) -> None:
    assert available_bytes(cgroup1(tmp_path, limit, used, inactive)) == expected


@pytest.mark.usefixtures("machine")
def test_the_narrower_of_both_versions_holds(tmp_path: Path) -> None:
    cgroup2(tmp_path, str(500 * MIB), 100 * MIB)
    assert available_bytes(cgroup1(tmp_path, 300 * MIB, 100 * MIB)) == 200 * MIB


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("text", ["", "lots", "12 34"])
def test_a_control_group_that_cannot_be_read_bounds_nothing(tmp_path: Path, text: str) -> None:
    cgroup2(tmp_path, "1", 0)
    (tmp_path / "memory.max").write_text(text)
    assert available_bytes(tmp_path) == FREE


def test_this_machine_has_memory_and_this_process_uses_some() -> None:
    assert 0 < available_bytes() <= psutil.virtual_memory().total
    peak = peak_bytes(torch.device("cpu"))
    assert psutil.Process().memory_info().rss <= peak * 1.05
    assert 50 * MIB < peak < psutil.virtual_memory().total


# what a forward pass keeps --------------------------------------------------------------------------------------------


def mlp() -> torch.nn.Sequential:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 256), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(256, 8))


def kept(model: torch.nn.Module, rows: int) -> int:
    batch = torch.randn(rows, 64)
    return saved_bytes(lambda: model(batch).square().sum(), model)


def test_what_a_small_network_keeps_is_what_its_layers_need() -> None:
    # Each linear layer keeps its input, GELU its input, tanh its output (the next layer's input), square its input.
    numbers = 64 + 256 + 256 + 256 + 8
    assert kept(mlp(), 100) == pytest.approx(numbers * 4 * 100, rel=0.15)


def test_what_is_kept_is_what_the_graph_holds() -> None:
    model = mlp()
    loss = model(torch.randn(50, 64)).square().sum()
    own = {parameter.data_ptr() for parameter in model.parameters()}
    found: dict[int, int] = {}
    seen, nodes = set(), [loss.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        for name in dir(node):
            tensor = getattr(node, name) if name.startswith("_saved_") else None
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in own:
                found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    assert kept(model, 50) == pytest.approx(sum(found.values()), rel=0.15)


def test_what_is_kept_grows_with_the_rows() -> None:
    model = mlp()
    one, many = kept(model, 10), kept(model, 1000)
    assert many == pytest.approx(100 * one, rel=0.02)


def test_parameters_and_what_needs_no_gradient_are_not_counted() -> None:
    model = mlp()
    parameters = sum(parameter.numel() for parameter in model.parameters()) * 4
    assert kept(model, 1) < parameters / 10
    model.requires_grad_(False)
    assert kept(model, 100) == 0


def test_a_row_of_a_transformer_takes_as_much_as_its_tokens(tiny_bert: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_bert).train()

    def taken(rows: int, tokens: int) -> int:
        ids = torch.ones(rows, tokens, dtype=torch.long)
        return saved_bytes(lambda: model(input_ids=ids).last_hidden_state.sum(), model)

    assert taken(8, 32) == pytest.approx(8 * taken(1, 32), rel=0.1)
    assert taken(2, 64) > 1.8 * taken(2, 32)


# what fits ------------------------------------------------------------------------------------------------------------


def test_a_batch_that_fits_is_let_pass() -> None:
    for case in ((10 * MIB, 10 * MIB, 100 * MIB), (0, 0, 0)):
        row_bytes, fixed, available = case
        assert rows_that_fit(rows=8, tokens=100, row_bytes=row_bytes, fixed_bytes=fixed, available=available) == 8


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 5000),
    st.integers(1, 512),
    st.integers(1, 200 * MIB),
    st.integers(0, 900 * MIB),
    st.integers(0, 4000 * MIB),
)
def test_the_rows_that_are_named_fit_and_one_more_does_not(
    rows: int, tokens: int, row_bytes: int, fixed: int, available: int
) -> None:
    def fits(number: int) -> bool:
        return fixed + number * row_bytes <= int(available * SPARE)

    try:
        fitting = rows_that_fit(rows=rows, tokens=tokens, row_bytes=row_bytes, fixed_bytes=fixed, available=available)
    except ModelError as error:
        assert "Not even one row fits" in str(error) and not fits(1)
        return
    assert 1 <= fitting <= rows and fits(fitting) and (fitting == rows or not fits(fitting + 1))


def test_the_message_says_what_is_needed_and_what_is_free() -> None:
    gib = 1024 * MIB
    with pytest.raises(ModelError) as raised:
        rows_that_fit(rows=64, tokens=256, row_bytes=9 * gib, fixed_bytes=2 * gib, available=10 * gib)
    assert str(raised.value).startswith("A training batch of 64 rows of 256 tokens needs about 578.0 GiB, 9.0 are free")


def test_a_gpu_without_room_is_advised_half_the_batch() -> None:
    said = str(out_of_memory(RuntimeError("CUDA out of memory. " + "x" * 500), 9))
    assert "--per_device_train_batch_size 4 --gradient_accumulation_steps 2" in said and len(said) < 350
    assert "--per_device_train_batch_size 1 " in str(out_of_memory(RuntimeError(""), 1))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a system without /proc")
def test_the_peak_of_a_process_is_not_its_parents() -> None:
    import subprocess
    import sys

    held = bytearray(b"x") * (600 * MIB)
    code = "import torch; from adapters.core.memory import peak_bytes; print(peak_bytes(torch.device('cpu')))"
    told = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert told < peak_bytes(torch.device("cpu")) and len(held) == 600 * MIB and told > 50 * MIB


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="a system without /proc")
def test_a_peak_begins_anew() -> None:
    code = """
import torch
from adapters.core.memory import peak_bytes, reset_peak
cpu = torch.device("cpu")
held = bytearray(b"x") * (200 * 2**20)
before = peak_bytes(cpu)
del held
reset_peak(cpu)
print(before - peak_bytes(cpu))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 190 * MIB


def test_a_system_that_cannot_begin_a_peak_anew_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, text: str) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "write_text", refused)
    reset_peak(torch.device("cpu"))
    assert peak_bytes(torch.device("cpu")) > 0


FRAGMENTED = """
import psutil
from adapters.core.memory import release_fragmented_memory
held = [bytes(60_000) for _ in range(4_000)]
del held[::2], held[1::2]
left = psutil.Process().memory_info().rss
release_fragmented_memory()
print(left, psutil.Process().memory_info().rss, len(held))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's alone")
def test_fragmented_memory_is_returned_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True)
    before, after, held = map(int, done.stdout.split())
    assert held == 1_000 and before - after > 100e6, "a hundred of 180 MB that nobody holds"
