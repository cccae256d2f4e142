"""What is exported to GGUF says in llama.cpp what it says here; what llama.cpp would compute otherwise is refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import build_tiny_bert

from adapters.artifacts import loading
from adapters.artifacts.export.base.export_format import ExportRequest, export
from adapters.core import discovery
from adapters.core.errors import ArtifactError, ModelError

xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp's wheel is there for Linux only")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
NEW = 8
MARGIN = 0.01
"""Difference of two logits below which rounding to f16 may choose another token."""
FAMILIES = {"llama": tiny.llama, "gpt2": tiny.gpt2, "qwen2": tiny.qwen2, "qwen3": tiny.qwen3}
PROMPTS = [
    "Ada Lovelace", "Alan Turing worked", "Grace Hopper wrote", "Emmy Noether and", "Kurt Bohr lived in",
    "a friend of 1842", "New York is", "London ,", "Paris , 東京", "location : none", "person :", "It's 10 o'clock",
    "notes", "The capital of France is", "Two and two are", "Once upon a time", "def main ( ) :", "In San Marino",
    "Text : a\nEntities :", "He said ' no '",
]  # fmt: skip


def writing() -> Any:
    return discovery.load("tasks", "text_generation").Task()


class Written:
    """llama.cpp with a model, and perhaps an adapter."""

    def __init__(self, model: Path, adapter: Path | None = None) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx, params.n_parallel, params.warmup, params.fit_params = 128, 1, False, False
        params.cpuparams.n_threads, params.verbosity = 1, -1
        if adapter is not None:
            params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        self.server = xllamacpp.Server(params)

    def __call__(self, prompt: str | list[int], tokens: int) -> tuple[str, int]:
        """The likeliest continuation, and the number of tokens in the prompt."""
        asked = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "cache_prompt": False}
        found = self.server.handle_completions(asked)
        assert "choices" in found, found
        return found["choices"][0]["text"], found["usage"]["prompt_tokens"]


def greedy(model: Any, ids: list[int], end: int | None, tokens: int = NEW) -> list[int]:
    """The likeliest continuation by torch, as far as it is clear, and does not end."""
    import torch

    out: list[int] = []
    with torch.inference_mode():
        for _ in range(tokens):
            logits = model(input_ids=torch.tensor([ids + out])).logits[0, -1]
            best, second = logits.topk(2).values.tolist()
            token = int(logits.argmax())
            if best - second < MARGIN or token == end:
                break
            out.append(token)
    return out


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, root: Path) -> Iterator[tuple[Any, Any, Written, Written]]:
    """A base, the model of an adapter on it by torch, and both forms of its export in llama.cpp."""
    from adapters.models.base_model import open_base

    base = open_base(str(FAMILIES[request.param](root / request.param)))
    folder = tiny.adapter(root / f"{request.param}-lora", "lora", base, writing(), lora_r=3)
    merged, apart = root / f"{request.param}-merged", root / f"{request.param}-apart"
    for out, separate in ((merged, False), (apart, True)):
        request = ExportRequest(folder=folder, output_dir=out, base=str(base.folder), apart=separate)
        notes = export("gguf", request)
        assert any("NFC" in note for note in notes) == (base.folder.name in ("qwen2", "qwen3"))
    predictor: Any = loading.load(folder, base=str(base.folder), device="cpu").predictor
    yield base, predictor.model, Written(merged / "model.gguf"), Written(apart / "base.gguf", apart / "adapter.gguf")


def compare(base: Any, model: Any, runs: Written, tokens: int = NEW) -> int:
    """Asserts that torch and llama.cpp continue each prompt alike; gives the number of compared tokens."""
    compared = 0
    for prompt in PROMPTS:
        ids = base.tokenizer(prompt).input_ids
        wanted = greedy(model, ids, base.tokenizer.eos_token_id, tokens)
        if not wanted:
            continue
        found, size = runs(prompt, len(wanted))
        assert size == len(ids), prompt  # cut into the same tokens
        assert found == base.tokenizer.decode(wanted), prompt
        compared += len(wanted)
    return compared


@pytest.mark.parametrize("apart", [False, True])
def test_llama_cpp_continues_as_torch(family: Any, apart: bool) -> None:
    base, model, merged, separate = family
    assert compare(base, model, separate if apart else merged) > 3 * len(PROMPTS) // 2


def test_prompts_are_composed_first_where_the_tokenizer_does_it_and_llama_cpp_does_not(family: Any, root: Path) -> None:
    base, _, merged, _ = family
    split, composed = "cafe\u0301", "caf\u00e9"
    assert merged(composed, 1)[1] == len(base.tokenizer(composed).input_ids)
    differs = merged(split, 1)[1] != len(base.tokenizer(split).input_ids)
    assert differs == (base.folder.name in ("qwen2", "qwen3"))
    out = root / f"{base.folder.name}-merged"
    card, said = json.loads((out / "card.json").read_text()), (out / "README.md").read_text()
    assert (card["export"].get("normalizer") == "NFC") == differs
    assert ('unicodedata.normalize("NFC", prompt)' in said) == differs


def test_the_adapter_changes_what_the_base_says(root: Path) -> None:
    from adapters.models.base_model import open_base

    base = open_base(str(tiny.llama(root / "alone")))
    folder = tiny.adapter(root / "alone-lora", "lora", base, writing(), lora_r=3)
    out = root / "alone-apart"
    export("gguf", ExportRequest(folder=folder, output_dir=out, base=str(base.folder), apart=True))
    alone, with_adapter = Written(out / "base.gguf"), Written(out / "base.gguf", out / "adapter.gguf")
    assert [alone(one, NEW) for one in PROMPTS] != [with_adapter(one, NEW) for one in PROMPTS]
    model = base.load_generator().eval()
    assert compare(base, model, alone) > len(PROMPTS)
    card = json.loads((out / "card.json").read_text())
    assert card["export"] == {"format": "gguf", "architecture": "llama", "apart": True}
    assert "llama-cli -m base.gguf --lora adapter.gguf" in (out / "README.md").read_text()
    with pytest.raises(ArtifactError, match="export to gguf, not an export to ONNX"):
        loading.load(out)


def test_what_llama_cpp_would_not_compute_is_refused(root: Path, tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    def base(name: str, build: Any) -> Any:
        folder = root / f"refused-{name}"
        return open_base(str(folder if folder.exists() else build(folder)))

    llama, opt = base("llama", tiny.llama), base("opt", tiny.opt)
    bert, t5 = base("bert", build_tiny_bert), base("t5", tiny.t5)
    cases: list[tuple[Any, str, Any, bool, str]] = [
        (bert, "lora", tiny.classifying(), False, "leaves out the pooler"),
        (llama, "lora", tiny.classifying(), False, "has a head of its own"),
        (opt, "lora", writing(), False, "has not been compared"),
        (t5, "lora", discovery.load("tasks", "summarization").Task(), False, "of the kind encoder-decoder"),
        (llama, "dora", writing(), True, "merges it first"),
        (llama, "prefix", writing(), False, "no weights can represent"),
    ]
    for number, (on, method, task, apart, said) in enumerate(cases):
        random = {"prefix_init": "random"} if method == "prefix" else {}
        folder = tiny.adapter(tmp_path / f"{number}", method, on, task, **random)
        with pytest.raises(ModelError, match=said):
            request = ExportRequest(folder=folder, output_dir=tmp_path / "out", base=str(on.folder), apart=apart)
            export("gguf", request)
    assert sorted(path.name for path in tmp_path.iterdir()) == [str(number) for number in range(len(cases))]


def test_dora_merged_says_what_it_says_here(root: Path) -> None:
    from adapters.models.base_model import open_base

    base = open_base(str(tiny.llama(root / "dora-base")))
    folder = tiny.adapter(root / "dora", "dora", base, writing(), lora_r=3)
    export("gguf", ExportRequest(folder=folder, output_dir=root / "dora-merged", base=str(base.folder)))
    model: Any = loading.load(folder, base=str(base.folder), device="cpu").predictor
    assert compare(base, model.model, Written(root / "dora-merged" / "model.gguf")) > len(PROMPTS)


@pytest.mark.network
def test_twenty_prompts_on_smollm2(tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    base = open_base("smollm2")
    folder = tiny.adapter(tmp_path / "lora", "lora", base, writing(), lora_r=2, lora_alpha=0.5)
    export("gguf", ExportRequest(folder=folder, output_dir=tmp_path / "out", base="smollm2"))
    model: Any = loading.load(folder, base="smollm2", device="cpu").predictor
    assert compare(base, model.model, Written(tmp_path / "out" / "model.gguf"), 4) > 2 * len(PROMPTS)


def test_rows_of_rotary_heads_are_interleaved() -> None:
    import numpy as np

    from adapters.artifacts.export import gguf

    class Config:
        model_type, num_attention_heads, num_key_value_heads = "llama", 2, 1

    class Base:
        config = Config()

    values = np.arange(12.0).reshape(12, 1)
    base: Any = Base()
    assert gguf._rows("layers.0.self_attn.q_proj", values, base)[:, 0].tolist() == [
        *itertools.chain.from_iterable((i, i + 3) for i in range(3)),
        *itertools.chain.from_iterable((i + 6, i + 9) for i in range(3)),
    ]
    assert gguf._rows("layers.0.self_attn.v_proj", values, base) is values
