"""Faster steps give the same numbers: frozen matrices in the dtype of their products, a compiled model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import build_tiny_bert

from adapters.cli.main import main
from adapters.core.errors import SettingsError
from adapters.models import compile as compiling
from adapters.models import precision
from adapters.models.byte_dropout import ByteDropout
from adapters.models.compile import dynamo

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
TRAINED = ("lora", "prefix", "ia3", "bitfit", "bottleneck", "head", "prompt_tuning", "rslora")


@pytest.fixture
def run(tiny_bert: Path, tagged: Path, tmp_path: Path) -> Callable[..., None]:
    """`run(method, flags)`: named entities on the tiny base, into tmp_path / "run"."""

    def by(method: str, *flags: str, base: Path = tiny_bert) -> None:
        own = ["--model_name_or_path", str(base), "--dataset_name", str(tagged), "--overwrite_output_dir"]
        given = ["--task", "ner", "--method", method, "--output_dir", str(tmp_path / "run"), *own, *flags]
        assert main(["train", *given]) == 0

    return by


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "scores.json").read_text())  # type: ignore[no-any-return]


def told(folder: Path) -> list[Any]:
    """All that came out of a run: losses, dev scores, predictions."""
    training = record(folder)["training"]
    answers = [json.loads(line)["prediction"] for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return [training["last_loss"], [epoch["loss"] for epoch in training["dev_scores"]], answers]


@pytest.mark.parametrize("name", TRAINED)
def test_frozen_matrices_in_bf16_give_the_losses_and_answers_that_casting_gives(
    name: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--mixed_precision", "bf16", "--learning_rate", "0.02", "--num_train_epochs", "2")
    run(name, *given)
    held = told(tmp_path / "run")
    monkeypatch.setattr(precision, "cast_frozen_weights", lambda *given: None)
    run(name, *given)
    assert told(tmp_path / "run") == held


def test_only_frozen_matrices_of_linear_layers_are_held_in_fewer_bits(tmp_path: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(build_tiny_bert(tmp_path / "base")).requires_grad_(False)
    model.pooler.dense.requires_grad_(True)
    precision.cast_frozen_weights(model, "no")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    precision.cast_frozen_weights(model, "bf16")
    held = {name for name, parameter in model.named_parameters() if parameter.dtype == torch.bfloat16}
    assert len(held) == 12  # six matrices in each of two layers
    assert all(name.endswith(("query.weight", "key.weight", "value.weight", "dense.weight")) for name in held)
    assert not [name for name in held if "pooler" in name]


def test_dora_keeps_the_base_whole_as_it_takes_its_norms(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(precision, "cast_frozen_weights", lambda *given: called.append(given))
    given = ("--mixed_precision", "bf16", "--max_train_steps", "1")
    run("dora", *given)
    assert not called
    run("lora", *given)
    assert len(called) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")  # as dynamo traces
def test_a_compiled_model_learns_the_same(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--learning_rate", "0.02", "--num_train_epochs", "2", "--mixed_precision", "no", "--dropout", "0")
    base = build_tiny_bert(tmp_path / "base", layers=1)  # tracing takes longest
    run("lora", *given, base=base)
    plain = record(tmp_path / "run")["training"]
    AcceleratorState._reset_state(reset_partial_state=True)  # it is a process's
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")  # traced as for the compiler, without its half minute
    compiled = []
    whole = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *given, **how: compiled.append(how) or whole(*given, **how))
    run("lora", *given, "--torch_compile", base=base)
    assert compiled[0]["backend"] == "aot_eager" and compiled[0]["dynamic"] is True
    again = record(tmp_path / "run")["training"]
    assert again["steps"] == plain["steps"]
    assert [epoch["loss"] for epoch in again["dev_scores"]] == pytest.approx(
        [epoch["loss"] for epoch in plain["dev_scores"]], abs=1e-5
    )


def test_repeated_layers_are_compiled_and_the_compiler_draws_their_dropout() -> None:
    assert dynamo(True, "cuda").use_regional_compilation
    layer = ByteDropout(0.5)
    plain = torch.compile(torch.nn.Dropout(0.5), backend="aot_eager")
    torch.manual_seed(0)
    found = torch.compile(layer, backend="aot_eager", fullgraph=True)(torch.ones(64))
    torch.manual_seed(0)
    assert torch.equal(found, plain(torch.ones(64))) and 0 < found.count_nonzero() < 64


def test_without_a_compiler_the_flag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SettingsError, match=r"--torch_compile: needs a C\+\+ compiler on a CPU"):
        dynamo(True, "cpu")
    assert dynamo(False, "cpu") is None and dynamo(True, "cuda") is not None
