"""Adapters merged into their base answer as before; LoRA adapters combined are what the arithmetic says."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import build_tiny_bert

from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.models.batching import collate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
CLOSE = 1e-5
TASKS = {"tags": tiny.tagging, "classes": lambda: tiny.classifying(("a", "b", "c")), "number": tiny.regressing}
TEXTS = ["Ada Lovelace lived in New York .", "Grace Hopper", "Emmy Noether worked in San Marino , and wrote notes ."]
SMALL = {
    "lora": {"lora_r": 4},
    "rslora": {"lora_r": 9},
    "dora": {"lora_r": 3},
    "prefix": {"prefix_init": "random"},
    "prompt_tuning": {"prompt_init": "random"},
}
MERGED = [
    (base, method, task)
    for base in ("bert", "roberta", "gpt2", "llama")
    for method in ("lora", "rslora", "dora", "ia3", "bitfit", "head")
    for task in ("tags", "classes")
    if (base, method) != ("llama", "bitfit")  # it has no biases
] + [("bert", "lora", "number"), ("gpt2", "head", "number")]
QUERY = {"lora_target_modules": ["query", "value"]}
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    from adapters.models.base_model import open_base

    root, made = tmp_path_factory.mktemp("bases"), {}

    def ask(name: str) -> Any:
        if name not in made:
            build = build_tiny_bert if name == "bert" else tiny.BUILDERS[name]
            made[name] = open_base(str(build(root / name)))
        return made[name]

    return ask


@pytest.fixture
def make(tmp_path: Path, bases: Callable[[str], Any]) -> Make:
    """Makes an adapter's artifact, in a run's folder of that name."""

    def ask(
        name: str, method: str = "lora", task: str | Any = "classes", base: str = "bert", seed: int = 0, **given: Any
    ) -> Path:
        chosen = TASKS[task]() if isinstance(task, str) else task
        changes = {**SMALL.get(method, {}), **given}
        (tmp_path / name).mkdir()
        return tiny.adapter(tmp_path / name / "artifact", method, bases(base), chosen, seed=seed, **changes)

    return ask


def on(base: Any) -> str:
    return str(base.folder)


def logits(folder: Path, base: str | None = None) -> list[np.ndarray]:
    """Of each text alone."""
    import torch

    from adapters.artifacts import loading

    loaded = loading.load(folder, base=base)
    found = []
    for text in TEXTS:
        example = loaded.task.from_request({"text": text}, "0")
        (row,) = loaded.task.encode([example], loaded.predictor.base.word_tokenizer, 64)
        inputs, _ = collate([row.input_ids], [[0]], loaded.predictor.base.tokenizer.pad_token_id)
        with torch.inference_mode():
            found.append(loaded.predictor.model.eval()(**inputs).logits[0].numpy())
    return found


def combine(folders: list[Path], output_dir: Path, *, weights: Any = None, **options: Any) -> Path:
    from adapters.artifacts.combining import Adapters

    return Adapters(folders, **options).combine(output_dir, weights)


def apart(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


def card(folder: Path) -> dict[str, Any]:
    from adapters.artifacts import artifact

    return artifact.verify(folder)


def rewrite(folder: Path, target: Path, **changes: Any) -> Path:
    """The same artifact with another card."""
    import shutil

    from adapters.artifacts import artifact

    own = {k: v for k, v in card(folder).items() if k not in ("format", "files", "tensors", "digest")}

    def fill(draft: Path) -> None:
        for path in folder.iterdir():
            if path.name not in ("card.json", "README.md"):
                shutil.copy(path, draft)

    artifact.write(target, fill, {**own, **changes}, "# changed\n")
    return target


def changes(folder: Path) -> dict[str, np.ndarray]:
    """The change to each layer's weight, `[out, in]`, by hand: scaling * B @ A."""
    from safetensors.numpy import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / (math.sqrt(config["r"]) if config["use_rslora"] else config["r"])
    return {
        name: scale * tensors[name.replace("lora_A", "lora_B")] @ tensor
        for name, tensor in tensors.items()
        if "lora_A" in name
    }


def heads(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    return {name: tensor for name, tensor in tensors.items() if "lora_" not in name}


@pytest.mark.parametrize(("base", "method", "task"), MERGED)
def test_a_merged_adapter_answers_as_the_adapter_does(
    base: str, method: str, task: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    from adapters.artifacts.merging import merge

    folder = make("run", method, task, base)
    merged = merge(folder, tmp_path / "merged", base=on(bases(base)))
    before = logits(folder, on(bases(base)))
    assert apart(before, logits(merged)) < CLOSE
    told = card(merged)
    assert told["method"]["name"] == "full" and told["merged"]["digest"] == card(folder)["digest"]
    assert {name: told[name] for name in ("task", "base", "label_digest", "max_length")} == {
        name: card(folder)[name] for name in ("task", "base", "label_digest", "max_length")
    }


def test_a_merged_adapter_keeps_the_scores_and_says_what_it_was(
    bases: Callable[[str], Any], make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from adapters.artifacts.merging import merge
    from adapters.cli.main import main

    scores = {
        "dataset": "films",
        "split": "test",
        "n": 40,
        "metric": "accuracy",
        "title": "Accuracy",
        "score": "accuracy",
        "value": 0.75,
        "low": 0.6,
        "high": 0.9,
    }
    folder = rewrite(make("first"), tmp_path / "films_run" / "artifact", scores=scores)
    merged = merge(folder, tmp_path / "merged", base=on(bases("bert")))
    assert card(merged)["scores"] == scores
    readme = (merged / "README.md").read_text()
    assert "films_run" in readme and "lora" in readme and "75.00" in readme
    assert str(tmp_path) not in readme and str(tmp_path) not in json.dumps(card(merged)["merged"])
    assert main(["inspect", str(merged)]) == 0
    assert main(["predict", str(merged), "Ada", "--json"]) == 0
    assert main(["predict", str(merged), "Ada", "--json", "--base", on(bases("bert"))]) == 0, "which it does not need"
    assert '"label"' in capsys.readouterr().out


def test_merging_leaves_the_embeddings_of_a_tied_base_alone(
    bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    from transformers import AutoModelForTokenClassification

    from adapters.artifacts.merging import merge

    folder = make("run", "lora", "tags", "llama")
    merged = merge(folder, tmp_path / "merged", base=on(bases("llama")))
    model = AutoModelForTokenClassification.from_pretrained(merged)
    bare = bases("llama").load_body()
    assert (model.get_input_embeddings().weight == bare.get_input_embeddings().weight).all()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("prefix", "adds virtual tokens"),
        ("prompt_tuning", "adds virtual tokens"),
        ("bottleneck", r"does not have \(bert.encoder.*bottleneck"),
        ("full", "full model already"),
        ("zero_shot", "only prompts"),
    ],
)
def test_what_no_weight_can_hold_is_not_merged(
    method: str, said: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    from adapters.artifacts.merging import merge

    folder = make("run", method, base="llama" if method == "zero_shot" else "bert")
    with pytest.raises(ModelError, match=said) as refused:
        merge(folder, tmp_path / "merged", base=None if method == "full" else on(bases("bert")))
    assert method in str(refused.value) and "Use it as it is" in str(refused.value)
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    ("base", "task"), [("bert", "tags"), ("roberta", "classes"), ("gpt2", "tags"), ("llama", "classes")]
)
def test_an_adapter_with_itself_half_and_half_is_the_adapter(
    base: str, task: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    folder = make("run", "lora", task, base)
    made = combine([folder, folder], tmp_path / "made", weights=[0.5, 0.5], base=on(bases(base)))
    assert apart(logits(folder, on(bases(base))), logits(made, on(bases(base)))) < CLOSE
    assert card(made)["method"]["settings"]["lora_r"] == 8


@pytest.mark.parametrize(
    ("whole", "told"), [(True, True), (False, True), (False, False)], ids=["whole", "low rank", "an older card"]
)
def test_poolers_are_combined_as_they_were_trained(
    whole: bool, told: bool, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    folder = make("run", lora_train_pooler=whole)
    if not told:
        merge_method = card(folder)["method"]
        merge_method["settings"].pop("lora_train_pooler")
        folder = rewrite(folder, tmp_path / "older", method=merge_method)
    made = combine([folder, folder], tmp_path / "made", weights=[0.5, 0.5], base=on(bases("bert")))
    assert apart(logits(folder, on(bases("bert"))), logits(made, on(bases("bert")))) < CLOSE
    assert card(made)["method"]["settings"]["lora_train_pooler"] == whole


def test_a_whole_pooler_and_one_of_low_rank_are_not_combined(
    bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    two = [make("whole"), make("low", lora_train_pooler=False)]
    told = r"layers differ \(\[\]; \['base_model.model.bert.pooler.dense'\]\).* and --lora_train_pooler"
    with pytest.raises(ArtifactError, match=told):
        combine(two, tmp_path / "made", weights=[0.5, 0.5], base=on(bases("bert")))


@pytest.mark.parametrize("merge_method", ["linear", "svd", "ties", "dare_linear", "dare_ties"])
def test_weights_one_and_nought_are_the_first(
    merge_method: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    a, b = make("a"), make("b", seed=1)
    made = combine([a, b], tmp_path / "made", weights=[1, 0], merge_method=merge_method, base=on(bases("bert")))
    assert apart(logits(a, on(bases("bert"))), logits(made, on(bases("bert")))) < CLOSE
    assert card(made)["method"]["settings"]["lora_r"] == 4


@pytest.mark.parametrize(
    ("base", "weights"), [("bert", (0.5, 0.3, 0.2)), ("bert", (1.0, 1.0, 1.0)), ("gpt2", (1.5, -0.75, 0.25))]
)
def test_a_linear_combination_is_the_weighted_sum_of_the_changes(
    base: str, weights: tuple[float, ...], bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    given = [make("a", lora_r=4, lora_alpha=20), make("b", seed=1, lora_r=2, lora_alpha=1), make("c", "rslora", seed=2)]
    if base == "gpt2":
        given = [make(f"g{i}", base=base, seed=i, lora_r=4 - i, lora_alpha=6.5) for i in range(3)]
    made = combine(given, tmp_path / "made", weights=weights, base=on(bases(base)))
    found, own = changes(made), [changes(folder) for folder in given]
    assert found.keys() == own[0].keys() and len(found) >= 8
    for name, value in found.items():
        wanted = sum(w * one[name] for w, one in zip(weights, own, strict=True))
        assert np.abs(value - wanted).max() < CLOSE * max(1, np.abs(wanted).max())
    shares = [w / sum(weights) for w in weights]
    for name, value in heads(made).items():
        wanted = sum(w * heads(folder)[name] for w, folder in zip(shares, given, strict=True))
        assert np.abs(value - wanted).max() < CLOSE
    told = card(made)
    assert [one["weight"] for one in told["combined"]["of"]] == list(weights)
    assert [one["digest"] for one in told["combined"]["of"]] == [card(folder)["digest"] for folder in given]
    assert "scores" not in told


def test_svd_of_changes_of_low_rank_is_their_sum_as_near_as_its_rank_allows(
    bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    given = [make("a", lora_r=6), make("b", seed=1, lora_r=3)]
    exact = changes(combine(given, tmp_path / "exact", base=on(bases("bert"))))
    cut = combine(given, tmp_path / "cut", merge_method="svd", base=on(bases("bert")))
    assert card(cut)["method"]["settings"]["lora_r"] == 6
    for name, value in changes(cut).items():
        u, s, v = np.linalg.svd(exact[name], full_matrices=False)
        assert np.abs(value - (u[:, :6] * s[:6]) @ v[:6]).max() < CLOSE


@pytest.mark.parametrize("base", ["bert", "gpt2"])
def test_ties_of_equal_weights_is_the_mean_of_those_that_agree(
    base: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    """Yadav et al. 2023, section 3, by hand; the widest rank holds it whole."""
    given = [make("a", base=base, lora_r=16), make("b", base=base, seed=1, lora_r=16)]
    made = changes(combine(given, tmp_path / "made", merge_method="ties", density=0.3, base=on(bases(base))))
    for name, value in made.items():
        trimmed = []
        for folder in given:
            one = changes(folder)[name]
            least = np.sort(np.abs(one).ravel())[-int(0.3 * one.size)]
            trimmed.append(np.where(np.abs(one) >= least, one, 0))
        sign = np.where(sum(trimmed) >= 0, 1, -1)
        kept = [np.where(np.sign(one) == sign, one, 0) for one in trimmed]
        count = sum((np.sign(one) == sign).astype(int) for one in trimmed)
        assert np.abs(value - sum(kept) / np.maximum(count, 1)).max() < CLOSE


@pytest.mark.parametrize("merge_method", ["ties", "dare_linear", "dare_ties"])
def test_ties_and_dare_are_made_again_by_their_seed(
    merge_method: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    import torch

    given, named = [make("a"), make("b", seed=1, lora_r=3)], on(bases("bert"))
    one = combine(given, tmp_path / "one", merge_method=merge_method, seed=3, base=named)
    torch.manual_seed(99)
    two = combine(given, tmp_path / "two", merge_method=merge_method, seed=3, base=named)
    other = combine(given, tmp_path / "other", merge_method=merge_method, seed=4, base=named)
    assert card(one)["digest"] == card(two)["digest"]
    assert (card(one)["files"]["adapter_model.safetensors"] == card(other)["files"]["adapter_model.safetensors"]) == (
        merge_method == "ties"
    )
    assert card(one)["combined"]["density"] == 0.5
    assert all(np.isfinite(row).all() for row in logits(one, named))
    whole = combine([given[0], given[0]], tmp_path / "whole", merge_method=merge_method, density=1, base=named)
    assert apart(logits(whole, named), logits(given[0], named)) < CLOSE


@pytest.mark.parametrize(
    ("base", "task", "merge_method"),
    [
        ("bert", "classes", "ties"),
        ("roberta", "classes", "linear"),
        ("gpt2", "tags", "dare_ties"),
        ("llama", "tags", "linear"),
    ],
)
def test_a_combination_answers_alike_in_stock_peft_in_the_bank_and_merged(
    base: str, task: str, merge_method: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    import peft
    import torch
    import transformers

    from adapters.artifacts import loading
    from adapters.artifacts.merging import merge
    from adapters.serving.bank.bank import AdapterBank, Request

    given, named = [make("a", "lora", task, base), make("b", "rslora", task, base, seed=1)], on(bases(base))
    made = combine(given, tmp_path / "made", merge_method=merge_method, base=named)
    alone = logits(made, named)
    assert apart(alone, logits(merge(made, tmp_path / "merged", base=named))) < CLOSE
    bank = AdapterBank(named)
    bank.load("made", made, require_card=True)
    bank.load("a", given[0])
    answers = bank.predict([Request(name, text) for text in TEXTS for name in ("made", "a")])
    wanted_outputs = [one["output"] for one in loading.load(made, base=named).answer(TEXTS)]
    for found_one, wanted_one in zip(answers[::2], wanted_outputs, strict=True):
        assert {k: v for k, v in found_one["output"].items() if k in ("label", "tags")} == {
            k: v for k, v in wanted_one.items() if k in ("label", "tags")
        }
    kind = {"tags": "AutoModelForTokenClassification", "classes": "AutoModelForSequenceClassification"}[task]
    chosen = TASKS[task]()
    model = getattr(transformers, kind).from_pretrained(named, num_labels=len(chosen.labels.names))
    model.config.pad_token_id = bases(base).tokenizer.pad_token_id
    stock = peft.PeftModel.from_pretrained(model, made).eval()
    for text, wanted in zip(TEXTS, alone, strict=True):
        (row,) = chosen.encode([chosen.from_request({"text": text}, "0")], bases(base).word_tokenizer, 64)
        with torch.inference_mode():
            found = stock(input_ids=torch.tensor([row.input_ids])).logits[0].numpy()
        assert np.abs(found - wanted).max() < CLOSE
    config = json.loads((made / "adapter_config.json").read_text())
    settings = card(made)["method"]["settings"]
    assert (config["r"], config["lora_alpha"]) == (settings["lora_r"], settings["lora_alpha"])
    assert not config["use_rslora"]


@pytest.mark.parametrize(
    ("merge_method", "said"),
    [
        ({"task": "tags"}, "their task differ .classification; ner"),
        ({"task": tiny.classifying(("a", "c", "b"))}, "their labels differ ..'a', 'b', 'c'.; .'a', 'c', 'b'."),
        ({"base": "roberta"}, "their base weights differ"),
        ({"task": "number"}, "their task differ .classification; regression"),
        (QUERY, "their target modules differ .*dense.*; .'query', 'value'."),
    ],
)
def test_adapters_that_do_not_belong_together_are_refused(
    merge_method: dict[str, Any], said: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    given = [make("a"), make("b", seed=1, **merge_method)]
    with pytest.raises(ArtifactError, match=said) as refused:
        combine(given, tmp_path / "made", base=on(bases("bert")))
    assert str(given[0]) in str(refused.value) and str(given[1]) in str(refused.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("method", ["dora", "ia3", "prefix", "bitfit", "full", "head"])
def test_adapters_without_low_rank_sums_are_not_combined(
    method: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    given = [make("a"), make("b", method)]
    with pytest.raises(ModelError, match=f"adapters of {method} cannot be combined.*lora or rslora"):
        combine(given, tmp_path / "made", base=on(bases("bert")))


def test_another_base_is_refused(bases: Callable[[str], Any], other_bert: Path, make: Make, tmp_path: Path) -> None:
    from adapters.artifacts.merging import merge

    given = [make("a"), make("b", seed=1)]
    with pytest.raises(ArtifactError, match="was trained on"):
        combine(given, tmp_path / "made", base=str(other_bert))
    with pytest.raises(ArtifactError, match="was trained on"):
        merge(given[0], tmp_path / "made", base=str(other_bert))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": [1.0]}, "--weights 1.0: must be one number per adapter, 2"),
        ({"weights": [0.5, math.nan]}, "--weights 0.5 nan: must be finite"),
        ({"weights": [0.5, math.inf]}, "must be finite"),
        ({"weights": [0.0, 0.0]}, "sum above 0"),
        ({"weights": [1.0, -1.0]}, "sum above 0"),
        ({"merge_method": "tie"}, "--merge_method tie: must be one of linear, svd, ties, dare_linear, dare_ties"),
        ({"merge_method": "cat"}, "--merge_method cat: must be one of linear, svd, ties"),
        ({"density": 0.5}, "--density 0.5: must be omitted: linear drops no values"),
        ({"merge_method": "ties", "density": 0.0}, "--density 0.0: must be above 0 and at most 1"),
        ({"merge_method": "dare_ties", "density": 1.5}, "--density 1.5"),
        ({"merge_method": "dare_ties", "density": math.nan}, "--density nan"),
    ],
)
def test_weights_and_options_that_cannot_work_are_refused(
    changes: dict[str, Any], said: str, bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=said):
        combine([make("a"), make("b", seed=1)], tmp_path / "made", base=on(bases("bert")), **changes)


def test_one_adapter_alone_is_not_combined(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two or more"):
        combine([tmp_path / "a"], tmp_path / "made")


def test_nothing_is_written_over(bases: Callable[[str], Any], make: Make, tmp_path: Path) -> None:
    from adapters.artifacts.merging import merge

    given, named = make("a"), on(bases("bert"))
    full, empty, file = tmp_path / "full", tmp_path / "empty", tmp_path / "file"
    full.mkdir(), empty.mkdir()
    (full / "mine.txt").write_text("kept")
    file.write_text("kept")
    for taken in (full, file):
        with pytest.raises(SettingsError, match=r"--output_dir .*absent or empty"):
            merge(given, taken, base=named)
        with pytest.raises(SettingsError, match="--output_dir"):
            combine([given, given], taken, base=named)
    assert (full / "mine.txt").read_text() == file.read_text() == "kept"
    assert merge(given, empty, base=named) == empty


def test_plain_peft_folders_are_not_combined(bases: Callable[[str], Any], make: Make, tmp_path: Path) -> None:
    given, named = make("a"), on(bases("bert"))
    (given / "card.json").unlink()
    with pytest.raises(ArtifactError, match=r"a plain PEFT folder without card\.json"):
        combine([given] * 2, tmp_path / "made", base=named)


def test_a_damaged_adapter_is_refused(bases: Callable[[str], Any], make: Make, tmp_path: Path) -> None:
    given = [make("a"), make("b", seed=1)]
    path = given[1] / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="damaged or modified"):
        combine(given, tmp_path / "made", base=on(bases("bert")))


def labelled(folder: Path, base: str) -> list[Any]:
    """Examples whose gold answers are what an adapter says."""
    from adapters.artifacts import loading

    loaded = loading.load(folder, base=base)
    texts = [" ".join(TEXTS[i % 3].split()[: 1 + i % 5]) + f" {i}" for i in range(24)]
    examples = [loaded.task.from_request({"text": text}, str(i)) for i, text in enumerate(texts)]
    found = loaded.predict(examples)
    return [dataclasses.replace(one, gold=said.value) for one, said in zip(examples, found, strict=True)]


def test_the_weights_chosen_on_dev_leave_a_broken_adapter_out(
    bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    from adapters.artifacts.combining import Adapters
    from adapters.evaluation.metrics.base.metric import load_metric

    good, broken, named = make("good"), make("broken", seed=1, lora_alpha=400), on(bases("bert"))
    examples = labelled(good, named)
    metric = load_metric("accuracy", ("a", "b", "c"))
    given = [broken, good]
    adapters = Adapters(given, base=named)
    best, tried = adapters.choose_weights(examples, metric)
    assert best == (0, 1)
    assert dict(tried)[best] == 1.0 > min(dict(tried).values())
    assert [weights for weights, _ in tried] == [(0.5, 0.5), (0, 1), (0.25, 0.75), (0.75, 0.25), (1, 0)]
    notes = {"chosen_by": [[list(weights), score] for weights, score in tried]}
    made = adapters.combine(tmp_path / "made", best, notes=notes)
    assert len(card(made)["combined"]["chosen_by"]) == 5
    assert apart(logits(made, named), logits(good, named)) < CLOSE


@pytest.mark.parametrize(("number", "points"), [(2, 5), (3, 16), (4, 35), (5, 36), (10, 56), (40, 41)])
def test_the_grid_is_small_whatever_the_number_of_adapters(number: int, points: int) -> None:
    from adapters.artifacts.combining import _grid

    grid = list(_grid(number))
    assert len(grid) == len(set(grid)) == points
    assert grid[0] == (1 / number,) * number
    for weights in grid:
        assert math.isclose(sum(weights), 1) and min(weights) >= 0 and len(weights) == number


def test_weights_are_not_chosen_on_test_nor_on_foreign_labels_nor_among_too_many(
    bases: Callable[[str], Any], make: Make, tmp_path: Path
) -> None:
    from adapters.artifacts.combining import Adapters
    from adapters.evaluation.metrics.base.metric import load_metric

    class Split(list):
        name = "test"

    given, named = [make("a"), make("b", seed=1)], on(bases("bert"))
    examples, metric = labelled(given[0], named), load_metric("accuracy", ("a", "b", "c"))
    adapters = Adapters(given, base=named)
    with pytest.raises(SettingsError, match="Weights chosen on test"):
        adapters.choose_weights(Split(examples), metric)
    with pytest.raises(SettingsError, match="dev split"):
        adapters.choose_weights([], metric)
    with pytest.raises(SettingsError, match="labels x, y: must be labelled as the adapters are: a, b, c"):
        adapters.choose_weights(examples, load_metric("accuracy", ("x", "y")))
    with pytest.raises(SettingsError, match="fewer than 64"):
        Adapters([given[0]] * 64, base=named).choose_weights(examples, metric)
