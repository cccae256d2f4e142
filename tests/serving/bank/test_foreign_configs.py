"""What others' PEFT folders hold beyond the plain case: read as stock PEFT reads it, or refused for its true reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import build_tiny_bert
from safetensors.torch import load_file, save_file

from adapters.core.errors import ArtifactError
from adapters.methods.base import peft_layout
from adapters.serving.bank.bank import AdapterBank

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*no card:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*fan_in_fan_out:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*lora_bias=True"),
    pytest.mark.filterwarnings("ignore:.*save_embedding_layers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LoRA tensor.*invalid shape"),
]
TEXTS = ("Ada Lovelace lived in New York .", "Paris", "Grace Hopper wrote notes near Rome with a friend .")
CLASSIFIER = "AutoModelForSequenceClassification"
TAGGER = "AutoModelForTokenClassification"
Bases = Callable[[str], Path]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """A tiny base by the name of its class, with weights so large that no layer's update is lost."""
    root = tmp_path_factory.mktemp("bases")

    def of(name: str) -> Path:
        folder = root / name
        if not folder.exists():
            {"bert": build_tiny_bert, **tiny.BUILDERS, **tiny.MORE}[name](folder)
            path = folder / "model.safetensors"
            weights = {key: one * 5 if one.dim() > 1 else one for key, one in load_file(path).items()}
            save_file(weights, path, metadata={"format": "pt"})
        return folder

    return of


def write(folder: Path, base: Path, config: Any, headed: str = CLASSIFIER, **given: Any) -> Path:
    """A folder that PEFT saves, its trained parameters random."""
    import peft
    import torch
    import transformers

    torch.manual_seed(0)
    model: Any = getattr(transformers, headed).from_pretrained(base, num_labels=3, **given)
    if given:
        model.resize_token_embeddings(model.config.vocab_size)
    wrapped = peft.get_peft_model(model, config)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    wrapped.save_pretrained(folder)
    return folder


def edit(folder: Path, *without: str, **changes: Any) -> None:
    """Change options of a folder's config, and remove others."""
    path = folder / "adapter_config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in config.items() if name not in without}))


def of_bank(bank: AdapterBank, name: str) -> tuple[list[list[int]], list[np.ndarray]]:
    """The tokens of each text, and the logits of a bank in one batch."""
    from adapters.serving.bank.mixed_inference import _Row

    with bank.lease(name) as leased:
        resident = leased[name].resident
        task: Any = resident.task
        examples = [task.from_request({"text": text}, "0") for text in TEXTS]
        rows = [task.encode([one], bank.base.word_tokenizer, resident.budget)[0] for one in examples]
        answers = bank._inference._answers([_Row(resident, row, number) for number, row in enumerate(rows)])
    found = [
        answer[: len(row.input_ids)] if answer.ndim == 2 else answer for row, answer in zip(rows, answers, strict=True)
    ]
    return [list(row.input_ids) for row in rows], found


def equal(folder: Path, base: Path, headed: str = CLASSIFIER, **load: Any) -> AdapterBank:
    """Load a folder into a bank, and hold its logits to those of stock PEFT; the bank."""
    import torch
    import transformers
    from peft import PeftModel

    bank = AdapterBank(str(base))
    bank.load("x", folder, **load)
    tokens, found = of_bank(bank, "x")
    model: Any = getattr(transformers, headed).from_pretrained(base, num_labels=3)
    asked = [{"input_ids": torch.tensor([row]), "output_hidden_states": True} for row in tokens]
    with torch.inference_mode():
        bare = [model.eval()(**one).hidden_states[-1][0, -1] for one in asked]
        stock = PeftModel.from_pretrained(model, folder).eval()
        wanted = [stock(**one) for one in asked]
    for one, other, before in zip(found, wanted, bare, strict=True):
        assert one.shape == other.logits[0].shape
        logits = other.logits[0].numpy()
        assert np.abs(one - logits).max() < 1e-5 * max(1, np.abs(logits).max())
        assert (other.hidden_states[-1][0, -1] - before).abs().max() > 5e-3, "the body's layers must change"
    return bank


def lora(**options: Any) -> Any:
    import peft

    return peft.LoraConfig(**{"task_type": "SEQ_CLS", "r": 3, "lora_alpha": 9, **options})


def ia3(**options: Any) -> Any:
    import peft

    return peft.IA3Config(**{"task_type": "SEQ_CLS", **options})


PREFIXED = ["bert.encoder.layer.0.attention.self.query", "encoder.layer.1.output.dense", "no_such_layer"]
LOADED: dict[str, tuple[str, Callable[[], Any]]] = {
    **{
        f"all-linear on {name}": (name, lambda: lora(target_modules="all-linear"))
        for name in ("bert", "roberta", "xlmr", "electra", "mpnet", "albert", "modernbert", "gpt2", "qwen3")
    },
    "whole names, and one that matches nothing": ("bert", lambda: lora(target_modules=PREFIXED)),
    "a layer of ALBERT by its whole name": (
        "albert",
        lambda: lora(target_modules=["albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query"]),
    ),
    "a layer of Llama by its whole name": ("llama", lambda: lora(target_modules=["model.layers.0.self_attn.q_proj"])),
    "the head among the targets": ("bert", lambda: lora(target_modules=["query", "classifier"])),
    "the head among the targets and saved": (
        "roberta",
        lambda: lora(target_modules=["query", "classifier", "dense"], modules_to_save=["classifier"]),
    ),
    "ranks and alphas by layer": (
        "bert",
        lambda: lora(
            target_modules=["query", "value", "dense"],
            rank_pattern={r"layer\.0\..*query": 5, "value": 2},
            alpha_pattern={"value": 3, r"1.*dense": 20.5},
        ),
    ),
    "ranks by layer, scaled by their roots": (
        "bert",
        lambda: lora(target_modules=["query", "value"], rank_pattern={"query": 7}, use_rslora=True),
    ),
    "one layer by number": ("bert", lambda: lora(target_modules=["query"], layers_to_transform=0)),
    "layers by number and pattern": (
        "gpt2",
        lambda: lora(target_modules=["c_attn"], layers_to_transform=[1], layers_pattern=["blocks", "h"]),
    ),
    "excluded layers": ("bert", lambda: lora(target_modules=["query", "dense"], exclude_modules=["pooler.dense"])),
    "excluded by a pattern": ("bert", lambda: lora(target_modules=["query"], exclude_modules=r".*layer\.1\..*")),
    "a pattern": ("bert", lambda: lora(target_modules=r"(?i).*layer\.[01]\.attention\.self\.(QUERY|value)")),
    "the default layers": ("roberta", lambda: lora()),
    "biases of the adapted layers": ("bert", lambda: lora(target_modules=["query"], bias="lora_only")),
    "all biases": ("bert", lambda: lora(target_modules=["query"], bias="all")),
    "all biases, and a layer trained in full": (
        "bert",
        lambda: lora(target_modules=["query"], modules_to_save=["intermediate.dense", "pooler"], bias="all"),
    ),
    "all biases of DoRA": ("roberta", lambda: lora(target_modules=["query", "dense"], bias="all", use_dora=True)),
    "updates with a bias": ("electra", lambda: lora(target_modules=["query"], lora_bias=True)),
    "DoRA with rsLoRA": ("bert", lambda: lora(target_modules=["query", "dense"], use_dora=True, use_rslora=True)),
    "norms trained in full": ("bert", lambda: lora(target_modules=["query"], modules_to_save=["LayerNorm"])),
    "a layer trained in full": ("bert", lambda: lora(target_modules=["query"], modules_to_save=["intermediate.dense"])),
    "a pooler trained in full": ("bert", lambda: lora(target_modules=["query"], modules_to_save=["pooler"])),
    "ALBERT's pooler trained in full": ("albert", lambda: lora(target_modules=["query"], modules_to_save=["pooler"])),
    "a Conv1D trained in full": ("gpt2", lambda: lora(target_modules=["c_attn"], modules_to_save=["c_fc"])),
    "DistilBERT's two layers of a head": ("distilbert", lambda: lora(target_modules=["q_lin"])),
    "IA3 by default": ("bert", lambda: ia3()),
    "IA3 without feed-forward": ("bert", lambda: ia3(target_modules=["key", "output.dense"], feedforward_modules=[])),
    "IA3 by patterns": (
        "bert",
        lambda: ia3(target_modules=r".*(key|value|output\.dense)", feedforward_modules=r".*layer\.\d\.output\.dense"),
    ),
    "IA3 by ends of names": (
        "roberta",
        lambda: ia3(
            target_modules=["key", "dense"], feedforward_modules=["dense"], exclude_modules=["attention.output.dense"]
        ),
    ),
    "IA3 on a Conv1D": ("gpt2", lambda: ia3(target_modules=["c_attn", "c_proj"], feedforward_modules=["c_proj"])),
    "IA3 on the head in the base": (
        "modernbert",
        lambda: ia3(target_modules=["Wqkv", "head.dense", "mlp.Wo"], feedforward_modules=["mlp.Wo"]),
    ),
    "DoRA on the head in the base": ("modernbert", lambda: lora(target_modules=["Wqkv", "head.dense"], use_dora=True)),
    "a bias for a layer of the head that has none": (
        "modernbert",
        lambda: lora(target_modules=["Wqkv", "head.dense"], lora_bias=True, use_rslora=True),
    ),
    "half of a head in the base": ("modernbert", lambda: lora(target_modules=["Wqkv", "Wo"])),
    "a prompt, and half of a head in the base": ("modernbert", lambda: prompt()),
}


def prompt(tokens: int = 3) -> Any:
    import peft

    return peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=tokens)


@pytest.mark.parametrize("case", LOADED)
def test_it_answers_as_in_stock_peft(case: str, bases: Bases, tmp_path: Path) -> None:
    name, config = LOADED[case]
    folder = write(tmp_path / "x", bases(name), config())
    equal(folder, bases(name))


REFUSED: dict[str, tuple[str, Callable[[], Any], str]] = {
    "a head that is lost": (
        "deberta",
        lambda: lora(target_modules=["query_proj"]),
        "the head's pooler.dense.(weight|bias) is in neither this folder nor the weights of",
    ),
    "an update to a head that is lost": (
        "bert",
        lambda: lora(task_type=None, target_modules=["query", "classifier"]),
        "the head's classifier.weight is in neither",
    ),
    "embeddings adapted": (
        "bert",
        lambda: lora(target_modules=["query", "word_embeddings"]),
        "adapts bert.embeddings.word_embeddings, a module of the class Embedding",
    ),
    "embeddings trained": (
        "bert",
        lambda: lora(target_modules=["query"], modules_to_save=["word_embeddings"]),
        "bert.embeddings.word_embeddings: a module of the class Embedding is trained in full",
    ),
    "a module inside another one, both trained in full": (
        "electra",
        lambda: lora(target_modules=["query"], modules_to_save=["out_proj"]),
        "modules_to_save names a module and one inside it",
    ),
    "an RMSNorm trained": (
        "llama",
        lambda: lora(target_modules=["q_proj"], modules_to_save=["input_layernorm"]),
        "input_layernorm: a module of the class LlamaRMSNorm is trained in full",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_for_its_reason(case: str, bases: Bases, tmp_path: Path) -> None:
    name, config, reason = REFUSED[case]
    folder = write(tmp_path / "x", bases(name), config())
    with pytest.raises(ArtifactError, match=reason):
        AdapterBank(str(bases(name))).load("x", folder, task="classification", labels=["a", "b", "c"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"target_modules": r"((\w|\.)+)+!"}, r"target_modules: the pattern .* does not end within 1 seconds"),
        ({"target_modules": "(query"}, r"target_modules: the pattern '\(query' cannot be used: re.error: missing \)"),
        ({"exclude_modules": r"((\w|\.)+)+!"}, "exclude_modules: the pattern .* does not end"),
        ({"rank_pattern": {r"((\w|\.)+)+!": 3}}, "rank_pattern: the pattern .* does not end"),
        ({"modules_to_save": [r"((\w|\.)+)+!"]}, "modules_to_save: the pattern .* does not end"),
        (
            {"rank_pattern": {f"no_such_layer_{i}": 2 for i in range(9_999)}},
            "rank_pattern: the pattern .* does not end",
        ),
        ({"target_modules": ["x"] * 10_001}, "target_modules: expected at most 10,000 names, found 10,001"),
        ({"target_modules": 5}, "adapter_config.json: PEFT cannot apply it .*TypeError"),
        ({"target_modules": "query", "layers_to_transform": [0]}, "cannot be used when `target_modules` is a str"),
        ({"r": None}, "lora_r: expected a number, found None"),
        ({"r": 2.5}, "PEFT cannot apply it|expected a whole number"),
        ({"alpha_pattern": {"query": float("nan")}}, "alpha_pattern: expected finite numbers, found {'query': nan}"),
        ({"bias": "some"}, "PEFT cannot apply it .* some"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices .* changes what the adapter computes"),
        ({"novel": 0}, "novel is 0, an option that PEFT does not know"),
        ({"novel": True}, "novel is True, an option that PEFT does not know"),
    ],
)
def test_a_config_is_refused_by_name(
    changes: dict[str, Any], reason: str, bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = len(changes.get("rank_pattern", ())) > 1  # they do end, on some machines within a second
    monkeypatch.setattr(peft_layout, "PATTERN_SECONDS", 0.1 if many else 1.0)
    folder = write(tmp_path / "x", bases("bert"), lora(target_modules=["query"]))
    edit(folder, **changes)
    with pytest.raises(ArtifactError, match=reason):
        AdapterBank(str(bases("bert"))).load("x", folder)


def test_a_config_without_rank_and_alpha_has_those_of_peft(bases: Bases, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", bases("bert"), lora(target_modules=["query"], r=8, lora_alpha=8))
    edit(folder, "r", "lora_alpha", "bias", "rank_pattern", "use_dora", "use_rslora", "layers_to_transform")
    equal(folder, bases("bert"))


def test_a_config_without_targets_has_those_of_peft(bases: Bases, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", bases("bert"), lora())
    edit(folder, target_modules=None)
    equal(folder, bases("bert"))


def test_unknown_options_that_are_off_are_named(bases: Bases, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", bases("bert"), lora(target_modules=["query"]))
    edit(folder, novel=None, newer=False, newest={})
    bank = AdapterBank(str(bases("bert")))
    with pytest.warns(UserWarning, match="does not know .* all of them off: newer, newest, novel"):
        info = bank.load("x", folder)
    assert any("newer, newest, novel" in line for line in info["unchecked"])


def test_a_base_that_has_a_head_lends_what_the_folder_lacks(bases: Bases, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    base = tmp_path / "base"
    shutil.copytree(bases("bert"), base)
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=3).save_pretrained(base)
    given = {"task": "classification", "labels": ["a", "b", "c"]}
    for number, targets in enumerate((["query"], ["query", "classifier"], ["query", "classifier", "pooler.dense"])):
        folder = write(tmp_path / f"x{number}", base, lora(task_type=None, target_modules=targets, lora_bias=True))
        assert not any("classifier.weight" in name for name in load_file(folder / "adapter_model.safetensors"))
        equal(folder, base, **given)
    folder = write(tmp_path / "five", base, lora(task_type=None, target_modules=["query"]))
    with pytest.raises(ArtifactError, match=r"the head's classifier\.(bias|weight) is in neither"):
        AdapterBank(str(base)).load("x", folder, task="classification", labels=["a", "b", "c", "d", "e"])
    folder = write(tmp_path / "lost", base, lora(target_modules=["query"]))
    tensors = load_file(folder / "adapter_model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "classifier" not in name}
    save_file(kept, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"classifier\.(bias|weight) .* is missing"):
        AdapterBank(str(base)).load("x", folder, labels=["a", "b", "c"])


def test_a_base_without_a_pooler_takes_no_adapter_that_needs_one(bases: Bases, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(bases("bert"), base)
    kept = {n: t for n, t in load_file(base / "model.safetensors").items() if "pooler" not in n}
    save_file(kept, base / "model.safetensors", metadata={"format": "pt"})
    folder = write(tmp_path / "x", base, lora(target_modules=["query"]))
    with pytest.raises(ArtifactError, match=r"needs pooler\.dense\.bias, pooler\.dense\.weight, which neither it nor"):
        AdapterBank(str(base)).load("x", folder)
    equal(write(tmp_path / "own", base, lora(target_modules=["query"], modules_to_save=["pooler"])), base)
    tags = write(tmp_path / "tags", base, lora(task_type="TOKEN_CLS", target_modules=["query"]), TAGGER)
    equal(tags, base, TAGGER, labels=["O", "B-PER", "I-PER"])


def test_an_adapter_of_a_resized_vocabulary_is_refused_by_both_sizes(bases: Bases, tmp_path: Path) -> None:
    size = json.loads((bases("bert") / "config.json").read_text())["vocab_size"]
    folder = tmp_path / "x"
    config = lora(target_modules=["query"], modules_to_save=["word_embeddings"])
    write(folder, bases("bert"), config, vocab_size=size + 2, ignore_mismatched_sizes=True)
    with pytest.raises(ArtifactError, match=f"a vocabulary of {size + 2} tokens, .* has {size}"):
        AdapterBank(str(bases("bert"))).load("x", folder)


def test_embeddings_saved_unchanged_change_nothing(bases: Bases, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", bases("bert"), lora(target_modules=["query"]))
    path = folder / "adapter_model.safetensors"
    name = "embeddings.word_embeddings.weight"
    same = load_file(bases("bert") / "model.safetensors")[name]
    tensors = {**load_file(path), f"base_model.model.bert.{name}": same}
    save_file(tensors, path, metadata={"format": "pt"})
    equal(folder, bases("bert"))
    tensors[f"base_model.model.bert.{name}"] = same + 1
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="word_embeddings: a module of the class Embedding is trained in full"):
        AdapterBank(str(bases("bert"))).load("x", folder)


LONG = " ".join(["Paris London"] * 60)


def test_texts_are_read_as_far_as_the_base_reads_them(
    bases: Bases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import adapters
    from adapters.cli.main import main

    base = build_tiny_bert(tmp_path / "base", positions=400)
    folder = write(tmp_path / "x", base, lora(target_modules=["query"]))
    bank = AdapterBank(str(base))
    with pytest.warns(UserWarning, match="longer than 400 tokens are cut"):
        bank.load("whole", folder)
    with pytest.warns(UserWarning, match="longer than 64 tokens are cut"):
        info = bank.load("cut", folder, max_length=64)
    assert any("64 tokens" in line for line in info["unchecked"])
    with pytest.warns(UserWarning, match="longer than 390 tokens are cut"):
        bank.load("prompt", write(tmp_path / "y", base, prompt(10)))
    answers = bank.predict([adapters.Request(name, LONG * 2) for name in ("whole", "cut")])
    assert [answer["truncated"] for answer in answers] == [False, True]
    loaded = adapters.load(folder, max_length=64)
    assert loaded.answer([LONG * 2])[0]["truncated"]
    assert main(["predict", str(folder), LONG * 2, "--json", "--max_length", "64"]) == 0
    assert json.loads(capsys.readouterr().out)["truncated"]
    assert main(["predict", str(folder), LONG * 2, "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["truncated"]
    with pytest.raises(ValueError, match="max_length 1: must be above 2"):
        bank.load("none", folder, max_length=1)


def test_a_checkpoint_of_trainer_loads_and_its_pickles_stay_unread(
    bases: Bases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer, Trainer, TrainingArguments

    import adapters
    from adapters.cli.main import main

    model, tokenizer = _wrapped(bases("bert")), AutoTokenizer.from_pretrained(bases("bert"))
    rows = [{"input_ids": [2, 5, 3], "attention_mask": [1, 1, 1], "labels": 1}] * 4
    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, save_steps=1, report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=100
    )
    Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer).train()
    folder = tmp_path / "checkpoint-1"
    present = {path.name for path in folder.iterdir()}
    assert present >= {"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "tokenizer.json"}
    (folder / "optimizer.pt").write_bytes(b"not read")
    equal(folder, bases("bert"))
    bank = AdapterBank(str(bases("bert")))
    (line,) = [line for line in bank.load("x", folder)["unchecked"] if "never read" in line]
    assert "optimizer.pt, rng_state.pth, scheduler.pt, training_args.bin" in line
    assert "label" in adapters.load(folder)("Paris")
    capsys.readouterr()
    assert main(["inspect", str(folder)]) == 0
    assert "not checked: pickles in the folder, which are never read: optimizer.pt" in capsys.readouterr().out
    with pytest.raises(ArtifactError, match=r"contains no card\.json"):
        bank.load("y", folder, require_card=True)


def _wrapped(base: Path) -> Any:
    import peft
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    return peft.get_peft_model(model, lora(target_modules=["query"], init_lora_weights=False))


def test_a_folder_with_only_a_pickle_is_refused_with_what_to_do(bases: Bases, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", bases("bert"), lora(target_modules=["query"]))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ArtifactError, match=r"adapter_model\.bin is a pickle.* convert it: .* writes safetensors"):
        AdapterBank(str(bases("bert"))).load("x", folder)


def test_an_artifact_with_a_card_may_have_no_pickle(bases: Bases, tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    folder = tiny.adapter(tmp_path / "x", "lora", open_base(str(bases("bert"))), tiny.classifying())
    (folder / "training_args.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"training_args\.bin: loading a pickle can run code"):
        AdapterBank(str(bases("bert"))).load("x", folder)


@pytest.mark.parametrize("name", ["bert", "roberta", "xlmr", "llama"])
def test_a_tokenizer_in_the_folder_must_read_texts_as_the_base_does(name: str, bases: Bases, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    base = bases(name)
    targets = ["q_proj"] if name == "llama" else ["query"]
    folder = write(tmp_path / "x", base, lora(target_modules=targets))
    bank = AdapterBank(str(base))
    tokenizer: Any = AutoTokenizer.from_pretrained(base, model_max_length=40, padding_side="left")
    tokenizer("a b", padding=tokenizer.pad_token is not None and "max_length", truncation=True)
    tokenizer.save_pretrained(folder)
    bank.load("x", folder)
    path = folder / "tokenizer.json"
    saved = path.read_text()
    config = json.loads(saved)
    config["added_tokens"].append({**config["added_tokens"][-1], "id": 9999, "content": "<new>"})
    path.write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: differs from the tokenizer of .*added_tokens.*<new>"):
        bank.load("y", folder)
    config = json.loads(saved)
    config["normalizer"] = {"type": "NFKC"}
    path.write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: differs from the tokenizer of .*normalizer"):
        bank.load("y", folder)
    path.write_text(saved[: len(saved) // 2])
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: damaged"):
        bank.load("y", folder)


def test_a_tokenizer_for_words_is_that_of_the_base(bases: Bases, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = write(tmp_path / "x", bases("roberta"), lora(target_modules=["query"]))
    AutoTokenizer.from_pretrained(bases("roberta"), add_prefix_space=True).save_pretrained(folder)
    info = AdapterBank(str(bases("roberta"))).load("x", folder)
    assert any("blank before the first word of a text" in line for line in info["unchecked"])


def test_a_chat_template_is_named_as_unread(bases: Bases, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", bases("bert"), lora(target_modules=["query"]))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    info = AdapterBank(str(bases("bert"))).load("x", folder)
    assert any("its chat template" in line for line in info["unchecked"])


def test_the_vocabulary_of_a_slow_tokenizer_must_be_that_of_the_base(bases: Bases, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", bases("bert"), lora(target_modules=["query"]))
    words = (bases("bert") / "vocab.txt").read_text()
    (folder / "vocab.txt").write_text(words)
    bank = AdapterBank(str(bases("bert")))
    bank.load("x", folder)
    (folder / "vocab.txt").write_text(words.replace("paris", "parís"))
    with pytest.raises(ArtifactError, match=r"vocab\.txt: differs from the tokenizer of"):
        bank.load("y", folder)
