"""Methods on an 8-bit or 4-bit base train, resume from checkpoints, and work with the full-precision base too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from conftest import build_tiny_bert, forget_accelerate, write_tagged

from adapters.cli.main import main
from adapters.core import discovery
from adapters.core.errors import ModelError
from adapters.core.settings import CommonSettings
from adapters.methods.base.method import load_method
from adapters.models import quantization
from adapters.models.base_model import open_base

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
BITS = ("load_in_8bit", "load_in_4bit")
TRAIN = [name for name in discovery.names("methods") if load_method(name).trains and load_method(name).needs_base]
OWN = {"peft": ["--peft_type", "HIRA"]}
BESIDE = [name for name in TRAIN if not load_method(name).trains_base]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose matrices are wide enough for blocks of 4-bit numbers."""
    return build_tiny_bert(tmp_path_factory.mktemp("bits") / "bert", hidden=64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many sentences to learn from, few to answer: products in fewer bits are slow on a CPU."""
    folder = tmp_path_factory.mktemp("few")
    for name, size in (("train", 120), ("dev", 12), ("test", 6)):
        write_tagged(folder / f"{name}.conll", size)
    return folder


Run = Callable[..., int]


@pytest.fixture(scope="module")
def run_into(folder: Path, data: Path) -> Run:
    """`run_into(folder, method, flags)`: named entities on that base; returns the exit code."""

    def by(out: Path, method: str, *flags: str) -> int:
        forget_accelerate()
        own = ["--model_name_or_path", str(folder), "--dataset_name", str(data), "--output_dir", str(out)]
        return main(["train", "--task", "ner", "--method", method, *OWN.get(method, []), *own, *flags])

    return by


@pytest.fixture
def run(run_into: Run, tmp_path: Path) -> Run:
    """`run(method, out, flags)`: the same, into a folder of tmp_path."""
    return lambda method, out, *flags: run_into(tmp_path / out, method, *flags)


@pytest.fixture(scope="module")
def learned(run_into: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """`learned(method, flag)`: the folder of a run in so many bits, made once."""
    place = tmp_path_factory.mktemp("learned")

    def by(method: str, flag: str) -> Path:
        out = place / f"{method}-{flag}"
        if not out.exists():
            assert run_into(out, method, f"--{flag}", "--learning_rate", "0.02", "--num_train_epochs", "4") == 0
        return out

    return by


@pytest.fixture(scope="module")
def whole_cost(run_into: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """`whole_cost(method)`: what a run on the whole base says of its parameters, made once."""
    place = tmp_path_factory.mktemp("whole")

    def by(method: str) -> Any:
        if not (place / method).exists():
            assert run_into(place / method, method, "--max_train_steps", "1", "--mixed_precision", "bf16") == 0
        return json.loads((place / method / "scores.json").read_text())["cost"]

    return by


def held(folder: Path, flag: str) -> Any:
    """The base in fewer bits."""
    config = quantization.config(CommonSettings(**{flag: True}), "bf16")
    return dataclasses.replace(open_base(str(folder)), quantization=config, device=torch.device("cpu"))


def gradients(model: Any, task: Any, tokens: int) -> dict[str, torch.Tensor]:
    """What a step would change the parameters by."""
    ids = torch.arange(5, 5 + tokens)[None]
    with torch.autocast("cpu", torch.bfloat16):
        task.loss(task.logits(model, {"input_ids": ids}), torch.zeros(1, tokens, dtype=torch.long))[0].backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def test_all_methods_that_train_are_looked_at() -> None:
    assert len(TRAIN) == 12 and set(TRAIN) - set(BESIDE) == {"full", "bitfit", "setfit"}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("flag", BITS)
def test_a_method_learns_beside_a_base_in_fewer_bits(
    flag: str, name: str, run: Any, learned: Callable[[str, str], Path], whole_cost: Callable[[str], Any]
) -> None:
    if (name, flag) == ("dora", "load_in_8bit"):
        assert run(name, "run", f"--{flag}") == 2
        return
    record = json.loads((learned(name, flag) / "scores.json").read_text())
    losses = [epoch["loss"] for epoch in record["training"]["dev_scores"]]
    assert losses[-1] < 0.8 * losses[0] and record["precision"] == "bf16"
    for key in ("trainable_params", "total_params"):
        assert record["cost"][key] == whole_cost(name)[key]


@pytest.mark.parametrize("flag", BITS)
def test_a_causal_base_is_tried_for_masks_in_the_format_it_computes_in(flag: str, data: Path, tmp_path: Path) -> None:
    base = ["--model_name_or_path", str(tiny.llama(tmp_path / "llama")), "--dataset_name", str(data)]
    flags = [f"--{flag}", "--max_train_steps", "3", "--output_dir", str(tmp_path / "run")]
    assert main(["train", "--task", "ner", "--method", "lora", *base, *flags]) == 0


@pytest.mark.parametrize("flag", BITS)
@pytest.mark.parametrize("name", sorted(set(TRAIN) - set(BESIDE)))
def test_a_method_that_trains_the_base_itself_is_refused_before_anything_is_written(
    flag: str, name: str, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, "run", f"--{flag}") == 2
    assert f"the method {name} trains its weights" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flag", BITS)
def test_head_and_norms_stay_whole_and_the_body_is_small(flag: str, folder: Path) -> None:
    task = tiny.classifying()
    model = tiny.method("lora").wrap(held(folder, flag), task, ())
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "weight")}
    small = [name for name, module in layers.items() if module.weight.dtype in (torch.int8, torch.uint8)]
    small = [name for name in small if name.endswith("base_layer")]
    assert len(small) == 12 and not [name for name in small if "pooler" in name or "classifier" in name]
    for name, module in layers.items():
        if "LayerNorm" in name or "classifier" in name or "lora_" in name:
            assert module.weight.dtype == torch.float32, name
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert layers["base_model.model.bert.embeddings.word_embeddings"].weight.dtype == torch.bfloat16


@pytest.mark.parametrize("flag", BITS)
def test_gradients_still_pass_through_the_base_once_dev_was_scored(flag: str, folder: Path) -> None:
    task = tiny.tagging()
    model: Any = tiny.method("lora").wrap(held(folder, flag), task, ())
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.config.hidden_dropout_prob = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    before = gradients(model.train(), task, 6)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        model.eval()(input_ids=torch.arange(5, 11)[None])
    after = gradients(model.train(), task, 6)
    lowest = [name for name in before if "layer.0.attention.self.query.lora_A" in name]
    assert lowest and before.keys() == after.keys() and before[lowest[0]].abs().max() > 0
    for name, gradient in before.items():
        assert torch.equal(gradient, after[name]), name


@pytest.mark.parametrize("flag", BITS)
def test_a_run_in_fewer_bits_goes_on_from_a_checkpoint_to_the_same_bytes(flag: str, run: Any, tmp_path: Path) -> None:
    flags = (f"--{flag}", "--learning_rate", "0.02", "--max_train_steps", "6", "--num_train_epochs", "9")
    assert run("lora", "whole", *flags, "--checkpointing_steps", "4", "--save_total_limit", "9") == 0
    path = tmp_path / "whole" / "checkpoints" / "step-00000004"
    assert run("lora", "again", *flags, "--resume_from_checkpoint", str(path)) == 0
    for name in ("artifact/adapter_model.safetensors", "predictions.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("flag", BITS)
def test_what_was_trained_in_fewer_bits_is_merged_into_the_whole_base(
    flag: str, folder: Path, learned: Callable[[str, str], Path], tmp_path: Path
) -> None:
    from adapters.artifacts.loading import load

    artifact = learned("lora", flag) / "artifact"
    own = ["--base", str(folder), "--output_dir", str(tmp_path / "merged")]
    assert main(["merge", str(artifact), *own]) == 0
    bits = "8" if "8" in flag else "4 (nf4)"
    assert json.loads((artifact / "card.json").read_text())["base"]["bits"] == bits
    assert f"quantized to {bits} bits" in (artifact / "README.md").read_text()
    texts = ["Ada Lovelace met Charles in London .", "Nobody came ."]
    whole, merged = load(artifact, base=str(folder)), load(tmp_path / "merged")
    assert [a["output"] for a in whole.answer(texts)] == [a["output"] for a in merged.answer(texts)]


@pytest.mark.parametrize("flag", BITS)
def test_a_method_of_peft_without_layers_for_quantized_weights_is_refused(flag: str, folder: Path) -> None:
    with pytest.raises(ModelError, match="PEFT's VERA has no layers for quantized weights"):
        tiny.method("peft", peft_type="VERA").check(held(folder, flag), tiny.tagging())


def test_eight_bits_of_a_dora_are_refused_with_what_works(folder: Path) -> None:
    with pytest.raises(ModelError, match="Use --load_in_4bit, --method lora"):
        tiny.method("dora").check(held(folder, "load_in_8bit"), tiny.tagging())
