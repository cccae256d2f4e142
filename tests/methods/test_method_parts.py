"""What each method adds to a base, compared with slow and obvious computations; and classification heads."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import write_tagged

from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.methods.base.method import WEIGHTS, headed
from adapters.models.batching import collate

CLOSE = 1e-5
BASES = ("bert", "roberta", "deberta", "gpt2", "llama")
ATTENTION = {
    "bert": "bert.encoder.layer.{}.attention.output.dense",
    "roberta": "roberta.encoder.layer.{}.attention.output.dense",
    "deberta": "deberta.encoder.layer.{}.attention.output.dense",
    "gpt2": "transformer.h.{}.attn.c_proj",
    "llama": "model.layers.{}.self_attn.o_proj",
}
FEED_FORWARD = {
    "bert": "bert.encoder.layer.{}.output.dense",
    "roberta": "roberta.encoder.layer.{}.output.dense",
    "deberta": "deberta.encoder.layer.{}.output.dense",
    "gpt2": "transformer.h.{}.mlp.c_proj",
    "llama": "model.layers.{}.mlp.down_proj",
}
MIND = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
# Architectures beside those of tiny.py, with what stands for their sizes: two layers, so two of each in the end.
OTHERS = {
    "Albert": {**MIND, "embedding_size": 16, "num_hidden_groups": 2},
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "Deberta": {**MIND, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "Electra": {**MIND, "embedding_size": 32},
    "Falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "GPTNeo": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    "GPTNeoX": MIND,
    "MPNet": MIND,
    "Mistral": {**MIND, "num_key_value_heads": 2},
    "ModernBert": MIND,
    "Phi": MIND,
    "Qwen2": {**MIND, "num_key_value_heads": 2},
}
TRAINED = (
    "bitfit", "bottleneck", "dora", "full", "head", "ia3", "lora", "peft", "prefix", "prompt_tuning", "rslora",
    "setfit",
)  # fmt: skip
BEGIN_AS_THE_BASE = ("bitfit", "bottleneck", "dora", "ia3", "lora", "peft", "rslora")
WORDS = [
    ["Ada", "lived", "in", "London", "."],
    ["Rome"],
    ["Kurt", "Bohr", "wrote", "notes", "with", "a", "friend", "."],
]

Around = Callable[..., Any]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Any]:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    root = tmp_path_factory.mktemp("tiny")
    folders = {"bert": tiny_bert, **{name: build(root / name) for name, build in tiny.BUILDERS.items()}}
    return {name: open_base(str(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def tagged_names(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The task of named entities and its training examples."""
    from adapters.data.dataset_files import open_splits
    from adapters.tasks.ner import Settings, Task

    folder = tmp_path_factory.mktemp("read")
    write_tagged(folder / "train.conll", 40)
    task, splits = Task.read(open_splits(folder=folder), Settings())
    return task, splits["train"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The task of classifying pairs of texts, and its training examples, of many lengths."""
    from adapters.data.dataset_files import open_splits
    from adapters.tasks.classification import Settings, Task

    folder = tmp_path_factory.mktemp("pairs")
    texts = ["Ada lived in Rome .", "notes .", "Kurt Bohr wrote notes near the old town with a friend .", "Paris"]
    rows = [
        {"text": one, "text_pair": two, "label": "same" if one == two else "other"} for one in texts for two in texts
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    task, splits = Task.read(open_splits(folder=folder), Settings())
    return task, splits["train"]


@pytest.fixture(scope="module")
def around(bases: dict[str, Any], tagged_names: tuple[Any, Any]) -> Around:
    """`around("lora", "bert", lora_r=4)`: the model that a method puts around a base for named entities, untrained."""

    def make(name: str, base: Any, **changes: Any) -> Any:
        import torch

        on = bases[base] if isinstance(base, str) else base
        method = tiny.method(name, **changes)
        method.check(on, tagged_names[0])
        torch.manual_seed(0)
        return method.wrap(on, *tagged_names).eval()

    return make


def rows_of(base: Any, task: Any) -> list[list[int]]:
    from adapters.tasks.base.example import Example

    some = [Example(id=str(i), inputs={"tokens": words}) for i, words in enumerate(WORDS)]
    return [row.input_ids for row in task.encode(some, base.word_tokenizer, 64)]


def run(model: Any, rows: Sequence[Sequence[int]], pad_id: int = 0, **more: Any) -> list[np.ndarray]:
    """Logits of each row of a batch, without those of the padding."""
    import torch

    inputs, _ = collate(rows, [[0]] * len(rows), pad_id)
    with torch.inference_mode():
        found = model(**inputs, **more).logits.numpy()
    return [answer[: len(row)] for answer, row in zip(found, rows, strict=True)]


def differs(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    assert [a.shape for a in one] == [b.shape for b in other]
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def disturb(model: Any) -> Any:
    """Give what is trained values of its own, so that a part that is left out shows."""
    import torch

    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def stock(base: Any, model: Any, kind: str = "AutoModelForTokenClassification", labels: int = 5) -> Any:
    """transformers' own model with the body of a base and the head of a model."""
    import transformers

    bare = getattr(transformers, kind).from_pretrained(base.folder, num_labels=labels)
    head = "score" if hasattr(bare, "score") else "classifier"
    kept = model.get_base_model() if hasattr(model, "get_base_model") else model
    trained = getattr(kept, head)
    trained = trained.modules_to_save["default"] if hasattr(trained, "modules_to_save") else trained
    getattr(bare, head).load_state_dict(trained.state_dict())
    return bare.eval()


def saved(folder: Path, model: Any, like: Any) -> Any:
    """A base of another architecture, with the tokenizer of a tiny one."""
    from adapters.models.base_model import open_base

    model.save_pretrained(folder)
    like.tokenizer.save_pretrained(folder)
    return open_base(str(folder))


def other(folder: Path, name: str, like: Any, **changes: Any) -> Any:
    """A tiny base of transformers' class of that name."""
    import transformers

    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(like.tokenizer),
        max_position_embeddings=128,
        pad_token_id=0,
        **{**OTHERS.get(name, {}), **changes},
    )
    return saved(folder, getattr(transformers, f"{name}Model")(config), like)


# Where training begins


@pytest.mark.parametrize(
    ("name", "base"),
    [(name, base) for name in BEGIN_AS_THE_BASE for base in BASES if (name, base) != ("bitfit", "llama")],
)
def test_training_begins_at_what_the_base_says(name, base, around, bases, tagged_names):
    rows, pad = rows_of(bases[base], tagged_names[0]), bases[base].tokenizer.pad_token_id
    alone = run(around("head", base), rows, pad)
    model = around(name, base)
    assert differs(run(model, rows, pad), alone) < CLOSE
    assert differs(run(disturb(model), rows, pad), alone) > 0.01


# Bottlenecks


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("where", ["houlsby", "pfeiffer"])
def test_a_bottleneck_computes_what_the_papers_say_where_they_say(where, base, around, bases, tagged_names):
    import torch

    class Behind(torch.nn.Module):
        """A linear layer, then h + up(gelu(down(h)))."""

        def __init__(self, layer: Any, found: Any) -> None:
            super().__init__()
            self.layer, self.found = layer, found

        def forward(self, inputs: Any) -> Any:
            hidden = self.layer(inputs)
            down, up = self.found.down, self.found.up
            inside = hidden @ down.weight.T + down.bias
            inside = 0.5 * inside * (1 + torch.erf(inside / 2**0.5))
            return hidden + inside @ up.weight.T + up.bias

    model = disturb(around("bottleneck", base, bottleneck_where=where, bottleneck_size=7))
    slow = stock(bases[base], model)
    places = [FEED_FORWARD[base], *([ATTENTION[base]] if where == "houlsby" else [])]
    names = {place.format(layer) for place in places for layer in range(2)}
    assert {name.rpartition(".bottleneck.")[0] for name, _ in model.named_parameters()} - {""} == names
    for name in names:
        slow.set_submodule(name, Behind(slow.get_submodule(name), model.get_submodule(name).bottleneck))
    rows, pad = rows_of(bases[base], tagged_names[0]), bases[base].tokenizer.pad_token_id
    assert differs(run(model, rows, pad), run(slow, rows, pad)) < CLOSE


def test_a_bottleneck_leaves_the_bases_own_tensors_their_names(around, bases):
    plain = around("head", "bert").state_dict()
    model = around("bottleneck", "bert").state_dict()
    assert {name for name in model if ".bottleneck." not in name} == set(plain)


@pytest.mark.parametrize("name", OTHERS)
def test_the_layers_behind_which_bottlenecks_stand_are_found_in_many_architectures(name, around, bases, tmp_path):
    base = other(tmp_path, name, bases["llama" if name in ("Bloom", "Falcon", "Mistral", "Qwen2") else "bert"])
    found = {
        where: {n for n, m in around("bottleneck", base, bottleneck_where=where).named_modules() if n.endswith(".up")}
        for where in ("houlsby", "pfeiffer")
    }
    assert (len(found["houlsby"]), len(found["pfeiffer"])) == (4, 2), found
    assert found["pfeiffer"] < found["houlsby"]


@pytest.mark.parametrize("where", ["houlsby", "pfeiffer"])
def test_an_architecture_whose_layers_are_not_known_is_refused_with_its_layers(where, around, bases, tmp_path):
    base = other(tmp_path, "Mixtral", bases["llama"], **MIND, num_key_value_heads=2, num_local_experts=2)
    with pytest.raises(
        ModelError, match=r"type mixtral it is not known which layers end .*the feed-forward"
    ) as refusal:
        around("bottleneck", base, bottleneck_where=where)
    assert "Name them by --bottleneck_target_modules: k_proj, o_proj, q_proj, v_proj." in str(refusal.value)
    assert ("attention and" in str(refusal.value)) == (where == "houlsby")
    model = around("bottleneck", base, bottleneck_target_modules=["o_proj"])
    assert len([name for name, _ in model.named_modules() if name.endswith("o_proj.bottleneck")]) == 2


def test_a_layer_that_is_not_there_gets_no_bottleneck(around):
    with pytest.raises(
        SettingsError, match=r"--bottleneck_target_modules dens: matches no linear .* Did you mean 'dense'"
    ):
        around("bottleneck", "bert", bottleneck_target_modules=["dens"])


@pytest.mark.network
def test_of_the_default_encoder_less_than_three_percent_trains(around, minilm_folder):
    from adapters.models.base_model import open_base

    counts = [(p.numel(), p.requires_grad) for p in around("bottleneck", open_base(str(minilm_folder))).parameters()]
    share = sum(n for n, trained in counts if trained) / sum(n for n, _ in counts)
    assert 0.01 < share < 0.03


# Artifacts that are the trained tensors


@pytest.mark.parametrize(
    ("changes", "change", "told"),
    [
        ({"bottleneck_size": 6}, lambda saved: saved, r"Other name or shape: \S+down.bias, .*; missing: none"),
        ({}, lambda saved: {n: t for n, t in saved.items() if n != "classifier.bias"}, "missing: classifier.bias"),
        (
            {},
            lambda saved: {**saved, "more": saved["classifier.bias"].clone()},
            "Other name or shape: more; missing: none",
        ),
        ({}, lambda saved: {}, "missing: bert.encoder.layer.0.attention.output.dense.bottleneck.down.bias, "),
        ({"bottleneck_where": "pfeiffer"}, lambda saved: saved, "Other name or shape: bert.*attention.output.dense"),
    ],
)
def test_tensors_that_are_not_those_that_the_method_trains_are_refused(
    changes, change, told, around, bases, tagged_names, tmp_path
):
    from safetensors.torch import load_file, save_file

    method = tiny.method("bottleneck", bottleneck_size=5)
    method.save(around("bottleneck", "bert", bottleneck_size=5), bases["bert"], tmp_path)
    save_file(change(load_file(tmp_path / WEIGHTS)), tmp_path / WEIGHTS)
    with pytest.raises(ArtifactError, match=told):
        tiny.method("bottleneck", **{"bottleneck_size": 5, **changes}).load(bases["bert"], tagged_names[0], tmp_path)


# Biases


def test_biases_by_another_name_train_too(around, bases, tmp_path):
    base = other(tmp_path, "Deberta", bases["bert"])
    trained = {name for name, p in around("bitfit", base).named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[2] for name in trained} == {"bias", "q_bias", "v_bias", "weight"}
    assert {name for name in trained if name.endswith(".weight")} == {"classifier.weight"}


def test_a_base_without_biases_is_refused_before_its_weights_are_read(bases, tagged_names, monkeypatch):
    from adapters.models.base_model import Base

    monkeypatch.setattr(Base, "load", lambda *_, **__: pytest.fail("the weights were read"))
    with pytest.raises(ModelError, match=r"llama has no biases.* Use lora, head or full, or a base with biases"):
        tiny.method("bitfit").check(bases["llama"], tagged_names[0])
    tiny.method("bitfit").check(bases["gpt2"], tagged_names[0])


# (IA)³


def test_ia3_takes_pefts_layers_or_those_it_is_given(around):
    def layers(**changes: Any) -> dict[str, bool]:
        model = around("ia3", "bert", **changes)
        found = {name: m.is_feedforward for name, m in model.named_modules() if hasattr(m, "ia3_l")}
        return {name.partition(".layer.0.")[2]: is_input for name, is_input in found.items() if ".layer.0." in name}

    usual = {
        "attention.self.key": False,
        "attention.self.value": False,
        "attention.output.dense": True,
        "output.dense": True,
    }
    assert layers() == usual
    assert layers(ia3_target_modules=["query"]) == {"attention.self.query": False}
    assert layers(ia3_target_modules=["key", "value", "output.dense"]) == usual
    given = {"ia3_target_modules": ["value", "intermediate.dense"], "ia3_feedforward_modules": ["intermediate.dense"]}
    assert layers(**given) == {"attention.self.value": False, "intermediate.dense": True}


def test_ia3_asks_for_the_layers_of_a_type_that_peft_does_not_know(around, bases, tmp_path):
    base = other(tmp_path, "Electra", bases["bert"])
    with pytest.raises(ModelError, match=r"PEFT has no default .* of the type electra. Give .*--ia3_target") as told:
        around("ia3", base)
    assert "Its linear layers: dense, key, query, value." in str(told.value)
    around("ia3", base, ia3_target_modules=["key", "value"])
    with pytest.raises(SettingsError, match=r"--ia3_target_modules vale: matches no linear layer .* mean 'value'"):
        around("ia3", base, ia3_target_modules=["vale"])


# LoRA's family


@pytest.mark.parametrize(
    ("name", "changes", "dora", "rslora", "scale"),
    [
        ("lora", {}, False, False, 2),
        ("dora", {}, True, False, 2),
        ("rslora", {}, False, True, 7 / 12**0.5),
        ("lora", {"lora_r": 4, "lora_alpha": 12}, False, False, 3),
        ("rslora", {"lora_r": 4, "lora_alpha": 12}, False, True, 6),
    ],
)
def test_what_the_method_is_reaches_peft(name, changes, dora, rslora, scale, around, bases, tmp_path):
    model = around(name, "bert", **changes)
    scales = {m.scaling["default"] for m in model.modules() if hasattr(m, "lora_A") and hasattr(m, "scaling")}
    assert scales == {scale}
    tiny.method(name).save(model, bases["bert"], tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["peft_type"], config["use_dora"], config["use_rslora"]) == ("LORA", dora, rslora)


def test_layers_that_are_named_are_all_that_trains_beside_the_head(bases):
    model = tiny.method("lora", lora_target_modules=["query", "value"]).wrap(bases["bert"], tiny.classifying(), ())
    assert not [name for name, p in model.named_parameters() if p.requires_grad and "pooler" in name]
    model = tiny.method("lora", lora_target_modules=["query", "pooler.dense"]).wrap(
        bases["bert"], tiny.classifying(), ()
    )
    assert len([name for name, p in model.named_parameters() if p.requires_grad and "pooler.dense.lora" in name]) == 2


@pytest.mark.parametrize("name", ["lora", "dora", "rslora"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_pooler_trains_whole_or_as_a_layer_like_others(name, whole, bases, tmp_path):
    import peft
    import torch

    method, task = tiny.method(name, lora_train_pooler=whole), tiny.classifying()
    torch.manual_seed(0)
    model = method.wrap(bases["bert"], task, ())
    of_pooler = {n.split("pooler.")[1] for n, p in model.named_parameters() if p.requires_grad and "pooler" in n}
    if whole:
        assert of_pooler == {"modules_to_save.default.dense.weight", "modules_to_save.default.dense.bias"}
    else:
        assert all(part.startswith("dense.lora_") for part in of_pooler)
        assert len(of_pooler) == (3 if name == "dora" else 2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=0.1 if p.requires_grad else 0)
    method.save(model, bases["bert"], tmp_path)
    ids = {"input_ids": torch.tensor([[2, 7, 8, 3]])}
    wanted = model.eval()(**ids).logits
    for loaded in (
        method.load(bases["bert"], task, tmp_path),
        peft.PeftModel.from_pretrained(headed(bases["bert"], task, method.settings), tmp_path),
    ):
        torch.testing.assert_close(loaded.eval()(**ids).logits, wanted)


# Soft prompts


def embeddings_of(model: Any, base: Any, rows: Sequence[Sequence[int]]) -> list[Any]:
    """The prompt, then the embeddings of each row's tokens, `[1, virtual tokens + tokens, width]`."""
    import torch

    prompt = model.prompt_encoder["default"].embedding.weight
    table = model.get_base_model().get_input_embeddings().weight
    return [torch.cat([prompt, table[list(row)]])[None] for row in rows]


@pytest.mark.parametrize("base", BASES)
def test_a_tagged_text_behind_a_soft_prompt_has_as_many_answers_as_tokens(base, around, bases, tagged_names):
    import torch

    model = disturb(around("prompt_tuning", base, num_virtual_tokens=5))
    rows, pad = rows_of(bases[base], tagged_names[0]), bases[base].tokenizer.pad_token_id
    assert len(set(map(len, rows))) == 3
    found = run(model, rows, pad)
    assert [len(answer) for answer in found] == [len(row) for row in rows]
    slow = stock(bases[base], model)
    with torch.inference_mode():
        whole = [slow(inputs_embeds=e).logits[0].numpy() for e in embeddings_of(model, bases[base], rows)]
    assert differs(found, [answer[5:] for answer in whole]) < CLOSE


@pytest.mark.parametrize(
    ("name", "base"),
    # Llama has no biases, DeBERTa takes no past keys and values.
    sorted(
        {*product(TRAINED, BASES)} - {("setfit", base) for base in BASES} - {("bitfit", "llama"), ("prefix", "deberta")}
    ),
)
def test_a_method_learns_in_bf16_on_a_base_that_is_stored_so(name, base, around, bases, tagged_names):
    import torch

    from adapters.models.precision import cast_frozen_weights

    model = around(name, base).train()
    cast_frozen_weights(model, "bf16", torch.bfloat16)
    task, _ = tagged_names
    ids = torch.tensor(rows_of(bases[base], task)[:1])
    with torch.autocast("cpu", torch.bfloat16):
        model(input_ids=ids).logits.float().square().sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.dtype == torch.float32 for parameter in trained)
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in trained)


@pytest.mark.parametrize("method", ["head", "lora", "prefix"])
def test_a_head_that_the_base_brings_is_replaced_which_is_said(method, run_recipe, bases, tmp_path, capsys):
    model = bases["bert"].load("AutoModelForTokenClassification", {"num_labels": 5})
    model.save_pretrained(tmp_path / "tagger")
    bases["bert"].tokenizer.save_pretrained(tmp_path / "tagger")
    flags = ["--max_train_steps", "1"]
    assert run_recipe(f"{method}_ner", *flags) == 0
    assert "is replaced" not in capsys.readouterr().err
    given = ["--model_name_or_path", str(tmp_path / "tagger"), "--output_dir", str(tmp_path / "other")]
    assert run_recipe(f"{method}_ner", *flags, *given) == 0
    assert "tagger: its own head (classifier) is replaced by a new one" in capsys.readouterr().err


@pytest.mark.parametrize("base", ["bert", "llama"])
@pytest.mark.parametrize("name", ["prefix", "prompt_tuning"])
def test_virtual_tokens_begin_as_text_where_the_base_is_on_another_device(
    name: str, base: str, around: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a quantized base is, which is on the GPU before it is wrapped."""
    from adapters.methods.base.peft_method import PeftMethod

    wrap, devices = PeftMethod.wrap, set()

    def watched(module: Any, inputs: Any) -> None:
        devices.add(inputs[0].device.type)

    def elsewhere(self: Any, *given: Any) -> Any:
        model = wrap(self, *given).to("meta")
        model.get_base_model().get_input_embeddings().register_forward_pre_hook(watched)
        return model

    monkeypatch.setattr(PeftMethod, "wrap", elsewhere)
    around(name, base, num_virtual_tokens=5)
    assert devices == {"meta"}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("tokens", [1, 40])
def test_a_soft_prompt_begins_as_the_embeddings_of_training_text(tokens, base, around, bases, tagged_names):
    import torch

    model = around("prompt_tuning", base, num_virtual_tokens=tokens)
    task, train = tagged_names
    ids = [i for row in task.encode(train[:tokens], bases[base].word_tokenizer, 64) for i in row.input_ids]
    begun = model.get_base_model().get_input_embeddings().weight[ids[:tokens]]
    assert torch.equal(model.prompt_encoder["default"].embedding.weight, begun)
    random = around("prompt_tuning", base, num_virtual_tokens=tokens, prompt_init="random")
    assert not torch.equal(random.prompt_encoder["default"].embedding.weight, begun)


@pytest.mark.parametrize("name", ["prefix", "prompt_tuning"])
def test_token_types_reach_the_text_behind_a_soft_prompt(name, around, bases, tagged_names):
    import torch

    base = bases["bert"]
    model = disturb(around(name, "bert", num_virtual_tokens=5))
    row = rows_of(base, tagged_names[0])[0]
    types = torch.tensor([[0] * 4 + [1] * (len(row) - 4)])
    found = run(model, [row], token_type_ids=types)
    slow, kinds = stock(base, model), torch.cat([torch.zeros(1, 5, dtype=torch.long), types], 1)
    with torch.inference_mode():
        if name == "prefix":  # keys and values have no type; the text keeps its own
            more = {"input_ids": torch.tensor([row]), "past_key_values": model.get_prompt(1), "token_type_ids": types}
        else:
            more = {"inputs_embeds": embeddings_of(model, base, [row])[0], "token_type_ids": kinds}
        whole = slow(**more).logits[0].numpy()[-len(row) :]
    assert differs(found, [whole]) < CLOSE
    assert differs(found, run(model, [row])) > 1e-3


@pytest.mark.parametrize("base", ["gpt2", "llama"])
def test_a_padded_causal_classification_behind_a_soft_prompt_is_that_of_the_row_alone(base, bases, pairs, tmp_path):
    import torch
    from peft import PeftModel

    task, train = pairs
    on, method = bases[base], tiny.method("prompt_tuning", num_virtual_tokens=5)
    model = disturb(method.wrap(on, task, train)).eval()
    rows = [row.input_ids for row in task.encode(train[:], on.word_tokenizer, 64)]
    assert len(set(map(len, rows))) > 3
    pad = on.tokenizer.pad_token_id
    together = run(model, rows, pad)
    method.save(model, on, tmp_path)
    slow = stock(on, model, "AutoModelForSequenceClassification", 2)
    slow.config.pad_token_id = pad
    with torch.inference_mode():
        alone = [slow(inputs_embeds=e).logits[0].numpy() for e in embeddings_of(model, on, rows)]
    assert differs(together, alone) < CLOSE
    theirs = PeftModel.from_pretrained(slow, tmp_path).eval()
    assert differs([run(theirs, [row], pad)[0] for row in rows], alone) < CLOSE
    assert differs(run(theirs, rows, pad), alone) > 1e-3, "PEFT sees padding now: the hooks can go"


def test_a_soft_prompt_narrower_than_the_layers_fits_the_embeddings(around, bases, tagged_names, tmp_path):
    base = other(tmp_path, "Albert", bases["bert"])
    model = around("prompt_tuning", base)
    assert model.prompt_encoder["default"].embedding.weight.shape == (8, 16)
    rows = rows_of(base, tagged_names[0])
    assert [answer.shape for answer in run(model, rows)] == [(len(row), 5) for row in rows]


def test_a_soft_prompt_is_trained_where_the_config_has_other_names_for_its_sizes(tagged_names, tmp_path):
    from adapters.models.base_model import open_base

    task, train = tagged_names
    method, base = tiny.method("prompt_tuning"), open_base(str(tiny.distilbert(tmp_path / "base")))
    method.check(base, task)
    model = method.wrap(base, task, train)
    before = model.prompt_encoder["default"].embedding.weight.clone()
    tiny.trainer(method, model, base, task, train).run(lambda: 0.5)
    assert not before.equal(model.prompt_encoder["default"].embedding.weight)
    model.eval()
    alone = run(model, rows_of(base, task))
    method.save(model, base, tmp_path / "saved")
    assert differs(run(method.load(base, task, tmp_path / "saved").eval(), rows_of(base, task)), alone) < CLOSE


def test_what_peft_refuses_is_an_error_of_ours_with_what_to_use(bases, tagged_names, monkeypatch):
    from adapters.models.peft_library import peft

    def refuse(*given):
        raise ValueError("Please specify `token_dim` in `peft_config`.")

    monkeypatch.setattr(peft, "get_peft_model", refuse)
    with pytest.raises(ModelError, match=r"PEFT's LORA cannot do .*: Please specify .* Use head or full"):
        tiny.method("lora").wrap(bases["bert"], *tagged_names)


def test_a_task_that_generates_is_refused_behind_a_soft_prompt(bases, tagged_names):
    from adapters.tasks.ner import Task

    class Writing(Task):
        has_head = False

    with pytest.raises(
        ModelError, match="ner has no head, and prompt_tuning cannot generate: use prefix, lora or full"
    ):
        tiny.method("prompt_tuning").check(bases["gpt2"], Writing(tagged_names[0].labels))


@pytest.fixture(scope="session")
def kept() -> list[Any]:
    """What outlives its test."""
    return []


def test_answers_are_cut_under_ddp_too(around, bases, tagged_names, tmp_path, kept):
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    model, rows = around("prompt_tuning", "bert"), rows_of(bases["bert"], tagged_names[0])
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        spread = DistributedDataParallel(model)
        # Freed while a thread of gloo still lets go of the last reduction, torch waits for that thread with Python's
        # lock, which the thread needs: the process stands still for ever.
        kept.append(spread)
        assert differs(run(spread, rows), run(model, rows)) == 0
        inputs, _ = collate(rows, [[0]] * len(rows), 0)
        spread(**inputs).logits.square().sum().backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        assert trained and all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
    finally:
        distributed.destroy_process_group()


# Classification


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", TRAINED)
def test_a_classifier_of_pairs_trains_and_answers_alike_loaded_and_unpadded(name, base, bases, pairs, tmp_path):
    import torch

    (task, train), on = pairs, bases[base]
    method = tiny.method(name)
    try:
        method.check(on, task)
    except ModelError as refusal:
        decoders = {("setfit", decoder) for decoder in ("gpt2", "llama", "t5")}
        assert (name, base) in {("bitfit", "llama"), ("prefix", "deberta"), *decoders}, refusal
        return
    torch.manual_seed(0)
    model = method.wrap(on, task, train)
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    history = tiny.trainer(method, model, on, task, train).run(lambda: 0.5)
    assert len(history.losses) == 4
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    method.save(model, on, tmp_path)
    asked = train[:]
    ours = method.predictor(model, on, task).predict(asked)
    loaded = method.predictor(method.load(on, task, tmp_path), on, task)
    for other in (loaded.predict(asked), [loaded.predict([example])[0] for example in asked]):
        assert [p.value for p in other] == [p.value for p in ours]
        assert np.allclose([p.detail for p in other], [p.detail for p in ours], atol=CLOSE)


@pytest.mark.parametrize(
    ("name", "changes", "used"),
    [
        ("head", {}, {"train": 300, "validation": 40}),
        ("zero_shot", {}, {}),
        ("few_shot", {"shots": 0}, {}),
        ("few_shot", {"shots": 5, "ensemble_seeds": 3}, {"train": 15}),
        ("few_shot", {"shots": 5, "shot_selection": "nearest"}, {"train": 200}),
        ("few_shot", {"shots": 5, "shot_selection": "hardest", "ensemble_seeds": 2}, {"train": 300}),
    ],
)
def test_a_method_says_how_many_labelled_examples_it_learns_from(name, changes, used):
    assert tiny.method(name, **changes).labelled({"train": 300, "validation": 40, "test": 9}) == used
