"""PEFT's other methods: equal to stock PEFT, AdaLoRA's ranks, and what is refused."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import REPOSITORY, forget_accelerate, write_tagged

from adapters.artifacts import loading
from adapters.cli.main import main
from adapters.core import discovery
from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.core.files import as_json, digest_file, digest_value
from adapters.methods.base.method import load_method
from adapters.methods.base.peft_method import PeftMethod
from adapters.methods.peft import OWN_FILES, peft_types

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]  # PEFT's own warnings

FEW = [
    ("ADALORA", "bert", "tagging"),
    ("BOFT", "bert", "classifying"),
    ("CARTRIDGE", "gpt2", "tagging"),
    ("LN_TUNING", "llama", "generating"),
    ("LOHA", "llama", "classifying"),
    ("P_TUNING", "llama", "tagging"),
    ("SHIRA", "bert", "tagging"),
    ("TRAINABLE_TOKENS", "gpt2", "generating"),
    ("VBLORA", "gpt2", "classifying"),
]
RANKS = {"init_r": 6, "target_r": 2, "tinit": 2, "tfinal": 3}


@pytest.fixture(scope="module")
def trials() -> Iterator[Any]:
    """The benchmark, which runs one type on one base and task."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "tests" / "benchmarks"))
        yield importlib.import_module("peft_methods")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Any]:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    root = tmp_path_factory.mktemp("tiny")
    folders = {"bert": tiny_bert, "gpt2": tiny.gpt2(root / "gpt2"), "llama": tiny.llama(root / "llama")}
    return {name: open_base(str(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def tasks(trials: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = trials.data(tmp_path_factory.mktemp("data"))
    return found


def made(kind: str, **options: Any) -> Any:
    return tiny.method("peft", peft_type=kind, peft_options=json.dumps(options))


# Equal to stock PEFT


@pytest.mark.parametrize(("kind", "base", "task"), FEW)
def test_a_trained_and_loaded_model_answers_as_stock_peft(kind, base, task, trials, bases, tasks, tmp_path):
    assert trials.run(kind, base, bases[base], *tasks[task], tmp_path / "artifact") < 1e-5


@pytest.mark.slow
def test_every_type_is_equal_or_says_why_it_cannot(trials, bases, tasks):
    assert len(peft_types()) >= 20
    outcomes = {kind: trials.outcome(kind, "bert", bases["bert"], *tasks["tagging"]) for kind in peft_types()}
    assert not {kind: said for kind, said in outcomes.items() if said.startswith(("FAILS", "DIFFERS"))}
    assert sum(said == "equal" for said in outcomes.values()) > len(outcomes) * 3 / 4


def test_the_head_trains_and_is_saved_beside_what_the_options_name(bases, tasks, tmp_path):
    task, train = tasks["tagging"]
    method = made("LOHA", target_modules=["query"], modules_to_save=["LayerNorm"])
    model = method.wrap(bases["bert"], task, train)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any("classifier.modules_to_save" in name for name in trained)
    assert any("LayerNorm.modules_to_save" in name for name in trained)
    method.save(model, bases["bert"], tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert {"classifier", "LayerNorm"} <= set(config["modules_to_save"]) and config["target_modules"] == ["query"]


def test_layers_that_are_not_named_are_pefts_or_all_linear_ones_but_the_head(bases, tasks, tmp_path, capsys):
    from test_method_parts import other

    task, train = tasks["tagging"]
    assert made("LOHA").wrap(bases["bert"], task, train).active_peft_config.target_modules == {"query", "value"}
    assert "PEFT's LOHA on query, value" in capsys.readouterr().err
    unknown = made("LOHA").wrap(other(tmp_path, "MPNet", bases["bert"]), task, train)
    assert unknown.active_peft_config.target_modules == {"q", "k", "v", "o", "dense"}
    assert not any("classifier" in name and "hada" in name for name, _ in unknown.named_parameters())


# AdaLoRA


def pruned(base: Any, task: Any, train: Any, steps: int, **options: Any) -> tuple[Any, Any]:
    """A method and its model after some steps."""
    import torch

    given = json.dumps({**RANKS, **options})
    method = tiny.method("peft", peft_type="ADALORA", peft_options=given, max_train_steps=steps)
    torch.manual_seed(0)
    model = method.wrap(base, task, train)
    scores = iter(range(steps))
    tiny.trainer(method, model, base, task, train).run(lambda: next(scores))  # the last weights are the best
    return method, model


def ranks(model: Any) -> list[int]:
    return [int((p != 0).sum()) for name, p in model.named_parameters() if "lora_E" in name]


def test_adalora_reduces_its_ranks_to_the_target_and_saves_no_others(bases, tasks, tmp_path):
    from safetensors.torch import load_file

    task, train = tasks["tagging"]
    method, model = pruned(bases["bert"], task, train, 8)
    kept = ranks(model)
    assert sum(kept) == len(kept) * RANKS["target_r"], kept
    assert model.active_peft_config.total_step == 8
    method.save(model, bases["bert"], tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert sorted(len(t) for name, t in saved.items() if name.endswith("lora_E")) == sorted(max(n, 1) for n in kept)


def test_the_gradient_of_adaloras_regulariser_is_that_of_pefts_loss(bases, tasks):
    import torch

    from adapters.methods.base.rank_allocation import _add_regulariser

    task, train = tasks["tagging"]
    model: Any = made("ADALORA", **RANKS).wrap(bases["bert"], task, train)
    named = {name: p for name, p in model.base_model.model.named_parameters() if "lora_" in name and p.requires_grad}
    for parameter in named.values():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
        parameter.grad = torch.zeros_like(parameter)
    _add_regulariser(named, 0.5)
    ids = torch.tensor([[2, 7, 8, 3]])
    theirs = model.eval()(input_ids=ids, labels=ids % 3).loss
    plain = model.get_base_model()(input_ids=ids, labels=ids % 3).loss
    gradients = torch.autograd.grad(theirs - plain, [*named.values()], allow_unused=True)
    for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-5, msg=name)


def test_an_adalora_run_that_is_resumed_goes_on_bit_by_bit(tiny_bert, tmp_path):
    from safetensors.torch import load_file

    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "dev", "test"):
        write_tagged(data / f"{name}.conll", 24)
    flags = {"task": "ner", "method": "peft", "peft_type": "ADALORA", "peft_options": json.dumps(RANKS),
             "model_name_or_path": tiny_bert, "dataset_name": data, "mixed_precision": "no", "dropout": 0.1,
             "max_train_steps": 8, "max_tokens_per_batch": 200, "checkpointing_steps": 1, "save_total_limit": 9,
             "early_stopping_patience": 9}  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]

    def run(folder: str, *more: str) -> dict[str, Any]:
        """All tensors of the last checkpoint."""
        forget_accelerate()
        assert main(["train", *words, "--output_dir", str(tmp_path / folder), *more]) == 0
        forget_accelerate()
        last = tmp_path / folder / "checkpoints" / "step-00000008"
        files = [load_file(path) for path in sorted(last.glob("*.safetensors"))]
        return {name: tensor for file in files for name, tensor in file.items()}

    whole = run("whole")
    assert any(name.endswith(".kept") for name in whole)
    for stopped in (1, 4, 6):  # before, while and after ranks are reduced
        checkpoint = tmp_path / "whole" / "checkpoints" / f"step-{stopped:08d}"
        again = run(f"from {stopped}", "--resume_from_checkpoint", str(checkpoint))
        assert whole.keys() == again.keys()
        assert [name for name, tensor in whole.items() if not (again[name] == tensor).all()] == []


# Settings


def test_methods_with_a_file_of_their_own_are_refused_by_its_name():
    known = [load_method(name) for name in discovery.names("methods")]
    own = {method.peft_type for method in known if issubclass(method, PeftMethod) and not method.any_type}
    assert own == OWN_FILES.keys()
    for kind, names in OWN_FILES.items():
        assert set(names.replace(" or", ",").split(", ")) <= set(discovery.names("methods"))
        with pytest.raises(SettingsError, match=f"--peft_type {kind}: has a method of its own: --method {names}"):
            made(kind)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peft_type": None}, "--peft_type is missing: choose from ADALORA, "),
        ({"peft_type": "ADALORRA"}, "--peft_type ADALORRA: did you mean 'adalora'.* PEFT's types: ADALORA, .*VERA"),
        ({"peft_type": "POLY"}, "--peft_type POLY: learns several tasks at once.* Choose from ADALORA"),
        ({"peft_type": "XLORA"}, "--peft_type XLORA: mixes adapters"),
        ({"peft_options": "{"}, r"--peft_options \{: is no JSON"),
        ({"peft_options": "[1]"}, r"--peft_options \[1\]: must be a JSON object"),
        ({"peft_options": '{"rr": 4}'}, "--peft_options rr: LOHA: did you mean 'r'|known: "),
        ({"peft_options": '{"rank": 4}'}, "--peft_options rank: LOHA: "),
        ({"peft_options": '{"r": "4"}'}, '--peft_options r "4": LOHA takes another type: '),
        ({"peft_options": '{"target_modules": [1]}'}, r"--peft_options target_modules \[1\]: LOHA takes another type"),
        ({"peft_config": "/none.json", "peft_type": None}, "--peft_config /none.json: cannot be read"),
        ({"peft_type": "ADALORA", "peft_options": '{"target_r": 12}'}, "target_r must be below init_r"),
        (
            {"peft_type": "ADALORA", "peft_options": '{"total_step": 9}'},
            "total_step: is the number of steps of the run",
        ),
        ({"peft_type": "ADAMSS", "peft_options": '{"use_asa": true}'}, "use_asa: it freezes parameters"),
        ({"peft_type": "SHADOW", "peft_options": '{"shadow_model": "gpt2"}'}, "shadow_model: names something outside"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, told):
    with pytest.raises(SettingsError, match=told):
        tiny.method("peft", **{"peft_type": "LOHA", **changes})


@pytest.mark.parametrize(
    ("kind", "base", "task", "options", "error", "told"),
    [
        ("P_TUNING", "bert", "tagging", {}, SettingsError, "num_virtual_tokens: P_TUNING needs it"),
        (
            "P_TUNING",
            "gpt2",
            "generating",
            {"num_virtual_tokens": 4},
            ModelError,
            "translation has no head, and PEFT's",
        ),
        (
            "P_TUNING",
            "bert",
            "tagging",
            {"num_virtual_tokens": 60},
            ModelError,
            "peft would use 60 of the 64 positions",
        ),
        ("TRAINABLE_TOKENS", "bert", "tagging", {"token_indices": [5]}, ModelError, "no modules_to_save"),
        ("LOHA", "gpt2", "tagging", {}, ModelError, "LOHA cannot do ner on .*gpt2: TypeError: .*Conv1D"),
        (
            "LOHA",
            "bert",
            "tagging",
            {"target_modules": ["none"]},
            ModelError,
            "NoMatchingPeftModuleError: No modules were targeted",
        ),
        ("OFT", "bert", "tagging", {"r": 3, "oft_block_size": 5}, SettingsError, "OFT refuses its options: ValueError"),
        ("LN_TUNING", "bert", "tagging", {}, ModelError, "LN_TUNING cannot do ner .* ValueError: .*target_modules"),
        ("OSF", "gpt2", "tagging", {}, ModelError, "OSF adds nothing to .*gpt2 that could be trained"),
    ],
)
def test_what_peft_cannot_do_is_said_with_its_reason(kind, base, task, options, error, told, bases, tasks):
    on, (found, train) = bases[base], tasks[task]
    with pytest.raises(error, match=told):
        method = made(kind, **options)
        found = found.on(on.kind)
        method.check(on, found)
        method.wrap(on, found, train)


@pytest.mark.parametrize(("steps", "options"), [(5, {}), (1, {"tinit": 0, "tfinal": 0})])
def test_a_schedule_that_is_longer_than_the_run_is_refused(steps, options, bases, tasks):
    with pytest.raises(SettingsError, match=f"tinit . and tfinal . leave none of the {steps} steps"):
        pruned(bases["bert"], *tasks["tagging"], steps, **options)


def test_a_saved_config_is_a_config_and_the_card_needs_no_file(bases, tasks, tmp_path):
    task, train = tasks["tagging"]
    method, model = pruned(bases["bert"], task, train, 8)
    method.save(model, bases["bert"], tmp_path)
    path = str(tmp_path / "adapter_config.json")
    again = tiny.method("peft", peft_type=None, peft_config=path, peft_options='{"init_r": 5}')
    assert again.peft_type == "ADALORA" and again.title == "peft ADALORA"
    assert again.options["init_r"] == 5 and again.options["tfinal"] == 3
    assert not {"total_step", "rank_pattern", "inference_mode"} & again.options.keys()
    recorded = again.recorded()
    assert recorded["peft_config"] is None and json.loads(recorded["peft_options"]) == again.options
    with pytest.raises(SettingsError, match=r"--peft_type LOHA: .*adapter_config.json is of ADALORA"):
        tiny.method("peft", peft_type="LOHA", peft_config=path)


# Artifacts


def test_a_bank_answers_with_it_alone(bases, tasks, tmp_path):
    from adapters.serving.bank.bank import AdapterBank

    folder = tiny.adapter(tmp_path / "loha", "peft", bases["bert"], tasks["tagging"][0], peft_type="LOHA")
    bank = AdapterBank(str(bases["bert"].folder))
    assert not bank.load("loha", folder)["mixed"]
    (answer,) = bank.predict([{"adapter": "loha", "inputs": {"text": "Ada smiled"}}])
    assert answer["output"] == loading.load(folder, base=str(bases["bert"].folder))("Ada smiled")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"peft_type": "LOKR"}, "peft_type: expected 'LOHA' as its card says, found 'LOKR'"),
        ({"r": 5}, "r: expected 4 as its card says, found 5"),
        ({"target_modules": ["query", "value", "key"]}, r"expected the tensors of its config. Missing: .*key"),
        ({"target_modules": ["query"]}, r"Missing: \[\]; of no layer: .*value"),
        ({"alpha": 3}, "alpha: expected 8 as its card says, found 3"),
        ({"tokenizer_name_or_path": "x"}, None),  # LoHa has no such option: PEFT ignores it
    ],
)
def test_a_config_that_differs_from_its_card_is_refused(change, told, bases, tasks, tmp_path):
    from adapters.artifacts import loading

    options = {"peft_type": "LOHA", "peft_options": '{"r": 4}'}
    folder = tiny.adapter(tmp_path / "loha", "peft", bases["bert"], tasks["tagging"][0], **options)
    path, card = folder / "adapter_config.json", json.loads((folder / "card.json").read_text())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    card["files"][path.name] = digest_file(path)
    del card["digest"]
    (folder / "card.json").write_text(as_json({**card, "digest": digest_value(card)}))
    if told is None:
        loading.load(folder, base=str(bases["bert"].folder))
        return
    with pytest.raises(ArtifactError, match=told):
        loading.load(folder, base=str(bases["bert"].folder))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("peft_config", "{outside}", "a file outside the artifact"),
        ("peft_config", "../secret.json", "a file outside the artifact"),
        ("peft_config", 5, "PEFT|expected|cannot"),
        ("train_file", "{outside}", "train_file"),
        ("trust_remote_code", True, "trust_remote_code"),
    ],
)
def test_a_card_makes_nobody_read_another_file(name, value, told, bases, tasks, tmp_path):
    from adapters.serving.bank.bank import AdapterBank

    outside = tmp_path / "secret.json"
    outside.write_text('{"password": "hunter2"}')
    folder = tiny.adapter(tmp_path / "loha", "peft", bases["bert"], tasks["tagging"][0], peft_type="LOHA")
    value = str(outside) if value == "{outside}" else value
    tiny.rewrite(folder, lambda card: card["method"]["settings"].update({name: value}))
    base = str(bases["bert"].folder)
    for load in (lambda: loading.load(folder, base=base), lambda: AdapterBank(base).load("loha", folder)):
        with pytest.raises(ArtifactError, match=told) as raised:
            load()
        assert "password" not in str(raised.value)


@pytest.mark.parametrize("kind", ["LOHA", "BOFT"])
def test_a_merged_model_answers_as_the_adapter(kind, bases, tasks, trials, tmp_path):
    from adapters.artifacts import loading, merging

    folder = tiny.adapter(tmp_path / "one", "peft", bases["bert"], tasks["tagging"][0], peft_type=kind)
    base = str(bases["bert"].folder)
    merging.merge(folder, tmp_path / "merged", base=base)
    one, two = loading.load(folder, base=base).predictor.model, loading.load(tmp_path / "merged").predictor.model
    rows = [[2, 7, 8, 9, 3], [2, 5, 3]]
    assert trials.apart(trials.logits(one, rows), trials.logits(two, rows)) < 1e-5


def test_what_peft_cannot_merge_is_said_with_its_reason(bases, tasks, tmp_path):
    from adapters.artifacts import merging

    folder = tiny.adapter(tmp_path / "one", "peft", bases["bert"], tasks["tagging"][0], peft_type="LILY")
    with pytest.raises(ModelError, match=r"cannot be merged: PEFT's reason: .*Lily"):
        merging.merge(folder, tmp_path / "merged", base=str(bases["bert"].folder))


def test_runs_of_two_types_are_two_rows_of_a_comparison(tiny_bert, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "dev", "test"):
        write_tagged(data / f"{name}.conll", 12)
    for kind in ("LOHA", "VERA"):
        forget_accelerate()
        flags = f"--task ner --method peft --peft_type {kind} --model_name_or_path {tiny_bert} --dataset_name {data}"
        more = f"--output_dir {tmp_path / kind} --mixed_precision no --max_train_steps 1"
        assert main(["train", *flags.split(), *more.split()]) == 0
    forget_accelerate()
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "LOHA"), str(tmp_path / "VERA")]) == 0
    shown = capsys.readouterr().out
    assert "peft LOHA" in shown and "peft VERA" in shown
