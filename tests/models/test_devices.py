"""A device and a number format are chosen automatically, or refused with a list of those there are."""

from __future__ import annotations

import contextlib

import pytest
import torch

from adapters.core.errors import SettingsError
from adapters.models.devices import available_devices, choose_and_report, choose_device, choose_dtype, describe

CPU = torch.device("cpu")


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, mps: bool = False, bfloat16: bool = True) -> None:
    """Let torch report so many CUDA devices, and whether there is mps and bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "devices", "chosen"),
    [
        (0, False, ["cpu"], "cpu"),
        (0, True, ["mps", "cpu"], "mps"),
        (2, False, ["cuda:0", "cuda:1", "cpu"], "cuda"),
        (1, True, ["cuda:0", "mps", "cpu"], "cuda"),
    ],
)
def test_auto_prefers_cuda_then_mps_then_cpu(
    cuda: int, mps: bool, devices: list[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, cuda=cuda, mps=mps)
    assert available_devices() == devices
    assert choose_device("auto") == choose_device() == torch.device(chosen)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps"])
def test_a_device_that_is_there_may_be_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=2, mps=True)
    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "cuda:", "gpu", "", "cpu:1", "meta"])
def test_a_device_that_is_not_there_is_refused_with_a_list_of_those_that_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch)
    with pytest.raises(SettingsError, match=f"device '{name}': not available. This machine has: cpu "):
        choose_device(name)


def test_a_cuda_device_of_too_high_a_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=2)
    with pytest.raises(SettingsError, match="This machine has: cuda:0, cuda:1, cpu "):
        choose_device("cuda:2")


def test_auto_is_bfloat16_on_a_cuda_device_that_supports_it_and_float32_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, cuda=2, mps=True)
    assert choose_dtype("auto", torch.device("cuda:1")) == torch.bfloat16
    assert choose_dtype("auto", torch.device("mps")) == choose_dtype("auto", CPU) == torch.float32
    machine(monkeypatch, cuda=1, bfloat16=False)
    assert choose_dtype("auto", torch.device("cuda")) == torch.float32


def test_a_format_may_be_named_and_one_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(SettingsError, match=r"dtype 'bfloat': did you mean 'bfloat16'"):
        choose_dtype("bfloat", CPU)
    machine(monkeypatch, cuda=1, bfloat16=False)
    with pytest.raises(SettingsError, match="cuda does not support it"):
        choose_dtype("bfloat16", torch.device("cuda"))


def test_what_was_chosen_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(torch.device("cuda:1"), torch.bfloat16, requested="cuda:1") == "device: cuda:1, bfloat16"
    assert choose_and_report("auto") == ("cpu", "float32")
    assert capsys.readouterr().err == "device: cpu (auto), float32\n"
