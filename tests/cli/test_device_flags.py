"""The device and the number format that commands choose, report and use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from adapters.cli.main import main
from adapters.models import devices

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def artifact(tiny_bert: Path, tmp_path: Path) -> Path:
    from adapters.models.base_model import open_base

    task = tiny.classifying(("person", "place"))
    return tiny.adapter(tmp_path / "one", "lora", open_base(str(tiny_bert)), task, lora_r=2)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Devices that models are moved to, on a machine that claims to have a GPU; they stay where they are."""
    found: list[str] = []
    own = torch.nn.Module.to

    def to(self: torch.nn.Module, *targets: Any, **options: Any) -> torch.nn.Module:
        found.extend(str(target) for target in targets if isinstance(target, torch.device | str))
        kept = [target for target in targets if isinstance(target, torch.dtype)]
        return own(self, *kept) if kept else self

    monkeypatch.setattr(torch.nn.Module, "to", to)
    monkeypatch.setattr(devices, "available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    monkeypatch.setattr(devices, "_supports_bfloat16", lambda device: True)
    return found


def test_predict_reports_its_device_once_and_answers_the_same_on_it(
    artifact: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = []
    for flags in ([], ["--device", "cpu", "--dtype", "float32"], ["--dtype", "bfloat16"]):
        assert main(["predict", str(artifact), "Rome", "--base", str(tiny_bert), "--json", *flags]) == 0
        shown = capsys.readouterr()
        assert shown.err.count("device: ") == 1
        assert ("bfloat16" if "bfloat16" in flags else "float32") in shown.err
        outputs.append(json.loads(shown.out)["output"])
    assert outputs[0] == outputs[1]
    assert outputs[2]["scores"] == pytest.approx(outputs[0]["scores"], abs=0.02)


@pytest.mark.parametrize(
    ("flags", "device", "dtype"),
    [
        ([], "cuda", "bfloat16"),
        (["--dtype", "float32"], "cuda", "float32"),
        (["--device", "cuda:1"], "cuda:1", "bfloat16"),
        (["--device", "cpu"], "cpu", "float32"),
    ],
)
def test_a_gpu_is_taken_where_there_is_one(
    flags: list[str],
    device: str,
    dtype: str,
    artifact: Path,
    tiny_bert: Path,
    moved: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["predict", str(artifact), "Rome", "--base", str(tiny_bert), "--json", *flags]) == 0
    assert device in moved
    assert {name for name in moved if name.startswith("cuda")} <= {device}
    shown = capsys.readouterr()
    assert device in shown.err and dtype in shown.err


def test_an_adapter_is_merged_on_the_device_in_full_precision(
    artifact: Path, tiny_bert: Path, tmp_path: Path, moved: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    out = tmp_path / "merged"
    assert main(["merge", str(artifact), "--output_dir", str(out), "--base", str(tiny_bert)]) == 0
    assert "cuda" in moved
    assert "float32" in capsys.readouterr().err
    assert {tensor.dtype for tensor in load_file(out / "model.safetensors").values()} == {torch.float32}
