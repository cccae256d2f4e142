"""An adapter in the weights of its base answers as the adapter beside it does, and needs no PEFT."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import build_tiny_bert

from adapters.artifacts import loading
from adapters.core.errors import ArtifactError
from adapters.models.base_model import open_base

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"lora_r": 5},
    "rslora": {"lora_r": 16},
    "dora": {"lora_r": 3},
    "ia3": {},
    "bitfit": {},
    "head": {},
}
APART = {"prefix": {"num_virtual_tokens": 3, "prefix_init": "random"}, "bottleneck": {"bottleneck_size": 4}}
TEXTS = ["Ada", "Ada Lovelace lived in New York .", "Alan Turing wrote notes near the old town of Paris ."]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("bases")
    folders = {"bert": build_tiny_bert(root / "bert"), "gpt2": tiny.gpt2(root / "gpt2")}
    return {name: open_base(str(folder)) for name, folder in folders.items()}


def detail(loaded: Any) -> list[np.ndarray]:
    examples = [loaded.task.from_request({"text": text}, "0") for text in TEXTS]
    return [np.asarray(one.detail) for one in loaded.predict(examples)]


@pytest.mark.parametrize("task", ["tagging", "classifying"])
@pytest.mark.parametrize("base", ["bert", "gpt2"])
@pytest.mark.parametrize("method", METHODS)
def test_answers_are_those_of_the_adapter_beside_its_base(
    method: str, base: str, task: str, bases: dict[str, Any], tmp_path: Path
) -> None:
    import peft

    made = tiny.adapter(tmp_path / "a", method, bases[base], getattr(tiny, task)(), seed=1, **METHODS[method])
    folder = str(bases[base].folder)
    whole, apart = (loading.load(made, base=folder, device="cpu", fold=fold) for fold in (True, False))
    assert not isinstance(whole.predictor.model, peft.PeftModel)
    for one, other in zip(detail(whole), detail(apart), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("method", APART)
def test_what_no_weights_can_represent_stays_beside_the_base(
    method: str, bases: dict[str, Any], tmp_path: Path
) -> None:
    made = tiny.adapter(tmp_path / "a", method, bases["bert"], tiny.tagging(), seed=1, **APART[method])
    loaded = [loading.load(made, base=str(bases["bert"].folder), fold=fold) for fold in (True, False)]
    for one, other in zip(*map(detail, loaded), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_head_that_is_not_whole_is_refused(bases: dict[str, Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from adapters.artifacts import artifact

    made = tiny.adapter(tmp_path / "a", "lora", bases["bert"], tiny.tagging(), seed=1)
    weights = made / "adapter_model.safetensors"
    tensors = {name: one for name, one in load_file(weights).items() if "classifier.bias" not in name}
    save_file(tensors, weights)
    card = artifact.read_card(made)
    artifact.write(
        tmp_path / "b",
        lambda draft: [(draft / file.name).write_bytes(file.read_bytes()) for file in made.glob("adapter_*")] and None,
        {key: value for key, value in card.items() if key not in ("files", "tensors", "digest", "format")},
        "# cut",
    )
    with pytest.raises(ArtifactError, match=r"classifier\.bias"):
        loading.load(tmp_path / "b", base=str(bases["bert"].folder))


@pytest.mark.slow
def test_an_answer_imports_neither_peft_nor_what_trains(bases: dict[str, Any], tmp_path: Path) -> None:
    made = tiny.adapter(tmp_path / "a", "lora", bases["bert"], tiny.tagging(), seed=1)
    loading.load(made, base=str(bases["bert"].folder))  # PEFT's options are in the cache from here on
    code = (
        f"import sys, adapters; adapters.load({str(made)!r}, base={str(bases['bert'].folder)!r})('Ada left')\n"
        "print([name for name in ('peft', 'bitsandbytes', 'datasets', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
