"""An 8-bit or 4-bit language model is prompted as the full-precision one, and answers nearly the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from adapters.core.settings import CommonSettings
from adapters.models import quantization
from adapters.models.base_model import open_base
from adapters.models.precision import cast_frozen_model
from adapters.prompting.likelihood import CachedScorer

FEWER = ["load_in_8bit", "load_in_4bit"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose matrices are wide enough for blocks of 4-bit numbers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tiny.llama(tmp_path_factory.mktemp("bits") / "llama")
    config = LlamaConfig.from_pretrained(folder, hidden_size=128, intermediate_size=256, head_dim=32)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def reviews(tmp_path: Path) -> list[str]:
    for name in ("train", "test"):
        rows = [f"{'Good' if n % 2 else 'Bad'} film {n},{'fresh' if n % 2 else 'rotten'}" for n in range(40)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return [f"--{name}_file={tmp_path / f'{name}.csv'}" for name in ("train", "test")]


def held(base: Any, settings: CommonSettings) -> Any:
    """The base in fewer bits."""
    config = quantization.config(settings, "bf16")
    return dataclasses.replace(base, quantization=config, device=torch.device("cpu"))


@pytest.mark.parametrize("flag", FEWER)
def test_fewer_bits_take_less_memory_and_score_alike(flag: str, folder: Path) -> None:
    base = open_base(str(folder))
    rows, choices = [[5, 6, 7], [5, 8, 9, 10]], [[11, 12], [13]]
    whole = base.load_generator().eval()
    settings = CommonSettings(**{flag: True})
    small: Any = held(base, settings).load_generator().eval()
    assert small.get_memory_footprint() < 0.8 * whole.get_memory_footprint()
    assert cast_frozen_model(small, "bf16") is small
    found, wanted = (CachedScorer(model).log_probs_after(rows, choices, pad_id=0) for model in (small, whole))
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max() and (found != wanted).any()


@pytest.mark.parametrize("flag", FEWER)
def test_a_recipe_prompts_in_fewer_bits(
    flag: str, folder: Path, reviews: list[str], run_recipe: Any, tmp_path: Path
) -> None:
    given = ["--model_name_or_path", str(folder), *reviews, f"--{flag}", "--shots", "2"]
    assert run_recipe("prompt_classification", *given) == 0
    assert json.loads((tmp_path / "run" / "settings.json").read_text())[flag] is True


def test_what_cannot_be_is_refused(
    folder: Path, reviews: list[str], run_recipe: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model_name_or_path", str(folder), *reviews]
    assert run_recipe("prompt_classification", *given, "--load_in_8bit", "--load_in_4bit") == 2
    assert "without --load_in_8bit" in capsys.readouterr().err
    assert run_recipe("prompt_classification", *given, "--load_in_4bit", "--bnb_4bit_quant_type", "int4") == 2
    assert "nf4 or fp4" in capsys.readouterr().err
