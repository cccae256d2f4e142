"""Rows of one batch under different adapters answer as each does alone in stock PEFT, in any mixture and order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import build_tiny_bert
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.models.batching import collate
from adapters.tasks.base.example import Encoded

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
CLOSE = 1e-5
BASES = ("bert", "roberta", "gpt2", "llama", "deberta")
ADAPTERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lora-tags": ("lora", "tags", {"lora_r": 4}),
    "lora-class": ("lora", "class", {"lora_r": 8, "lora_alpha": 64}),
    "lora-few-layers": ("lora", "classes", {"lora_r": 2, "lora_target_modules": ["query", "value"]}),
    "rslora-tags": ("rslora", "more tags", {"lora_r": 16}),
    "dora-tags": ("dora", "tags", {"lora_r": 3}),
    "ia3-tags": ("ia3", "tags", {}),
    "ia3-class": ("ia3", "classes", {}),
    "prefix-tags": ("prefix", "tags", {"num_virtual_tokens": 5, "prefix_init": "random"}),
    "prefix-class": ("prefix", "class", {"num_virtual_tokens": 11, "prefix_init": "random"}),
    "prompt-tags": ("prompt_tuning", "tags", {"num_virtual_tokens": 3, "prompt_init": "random"}),
    "prompt-class": ("prompt_tuning", "classes", {"num_virtual_tokens": 7, "prompt_init": "random"}),
    "bottleneck-tags": ("bottleneck", "more tags", {"bottleneck_size": 6}),
    "bottleneck-class": ("bottleneck", "class", {"bottleneck_size": 10, "bottleneck_where": "pfeiffer"}),
    "bitfit-tags": ("bitfit", "tags", {}),
    "lora-number": ("lora", "number", {"lora_r": 2}),
    "prefix-number": ("prefix", "number", {"num_virtual_tokens": 2, "prefix_init": "random"}),
    "lora-relation": ("lora", "relation", {"lora_r": 3}),
    "prefix-relation": ("prefix", "relation", {"num_virtual_tokens": 3, "prefix_init": "random"}),
    "head-tags": ("head", "tags", {}),
    "head-class": ("head", "classes", {}),
}
UNFIT = {
    ("lora-few-layers", "gpt2"),
    ("lora-few-layers", "llama"),
    ("lora-few-layers", "deberta"),
    ("bitfit-tags", "llama"),
    ("prefix-tags", "deberta"),
    ("prefix-class", "deberta"),
    ("prefix-number", "deberta"),
    ("prefix-relation", "deberta"),
}
TASKS = {
    "tags": tiny.tagging,
    "more tags": lambda: tiny.tagging(("A", "B", "C")),
    "class": tiny.classifying,
    "classes": lambda: tiny.classifying(("a", "b", "c", "d", "e")),
    "number": tiny.regressing,
    "relation": tiny.relating,
}
TEXTS = [
    "Ada",
    "Ada Lovelace lived in New York .",
    "Alan Turing wrote notes near the old town of Paris with a friend .",
    "Grace Hopper",
    "in the town",
    "Emmy Noether worked in San Marino , and Kurt Bohr wrote notes near Rome .",
]


def asked(adapter: str, text: str) -> str:
    """The text as an adapter is asked about it: relations are of two marked entities."""
    return f"<e1>{text[:3]}</e1>{text[3:]} in <e2>Rome</e2>" if "relation" in adapter else text


class Set:
    """A base, adapters on it in a bank, and each of them alone in stock PEFT."""

    def __init__(self, root: Path, folder: Path, name: str) -> None:
        from adapters.artifacts import loading
        from adapters.models.base_model import open_base
        from adapters.serving.bank.adapter_loader import AdapterSource
        from adapters.serving.bank.bank import AdapterBank

        self.base = open_base(str(folder))
        self.bank = AdapterBank(str(folder), capacity=len(ADAPTERS))
        self.names = [adapter for adapter in ADAPTERS if (adapter, name) not in UNFIT]
        self.alone: dict[str, Any] = {}
        self.changes: dict[str, Any] = {}
        for number, adapter in enumerate(self.names):
            method, task, changes = ADAPTERS[adapter]
            made = tiny.adapter(root / adapter, method, self.base, TASKS[task](), seed=number, **changes)
            self.bank.load(adapter, made)
            self.changes[adapter] = self.bank._loader.read(AdapterSource(folder=made)).delta
            self.alone[adapter] = loading.load(made, base=str(folder))

    def encoded(self, adapter: str, text: str) -> Encoded:
        task = self.alone[adapter].task
        example = task.from_request({"text": asked(adapter, text)}, "0")
        (row,) = task.encode([example], self.base.word_tokenizer, 64)
        return row

    def alone_says(self, adapter: str, text: str) -> np.ndarray:
        """The logits of the adapter's own model, of the text alone in its batch."""
        import torch

        row = self.encoded(adapter, text)
        inputs, _ = collate([row.input_ids], [[0]], self.base.tokenizer.pad_token_id)
        with torch.inference_mode():
            return self.alone[adapter].predictor.model.eval()(**inputs).logits[0].numpy()

    def mixed_says(self, rows: list[tuple[str, str]]) -> list[np.ndarray]:
        """The logits of each row in the bank, all rows in as few batches as there can be."""
        from adapters.serving.bank.mixed_inference import _Row

        with self.bank.lease(*dict.fromkeys(adapter for adapter, _ in rows)) as leased:
            made = [_Row(leased[a].resident, self.encoded(a, text), i) for i, (a, text) in enumerate(rows)]
            answers = self.bank._inference._answers(made)
        lengths = [len(row.encoded.input_ids) for row in made]
        return [answer[:n] if answer.ndim == 2 else answer for answer, n in zip(answers, lengths, strict=True)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Set]:
    root, made = tmp_path_factory.mktemp("bank"), {}

    def ask(name: str) -> Set:
        if name not in made:
            build = build_tiny_bert if name == "bert" else tiny.BUILDERS[name]
            made[name] = Set(root / name, build(root / name / "base"), name)
        return made[name]

    return ask


@pytest.mark.parametrize("base", BASES)
def test_all_adapters_in_one_batch_answer_as_each_does_alone(base: str, sets: Callable[[str], Set]) -> None:
    one = sets(base)
    rows = [(adapter, TEXTS[i % len(TEXTS)]) for i, adapter in enumerate(one.names * 2)]
    assert len(one.names) >= 12
    for (adapter, text), found in zip(rows, one.mixed_says(rows), strict=True):
        wanted = one.alone_says(adapter, text)
        assert found.shape == wanted.shape, adapter
        assert np.abs(found - wanted).max() < CLOSE, (adapter, text)


@pytest.mark.parametrize("base", BASES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_mixture_answers_as_each_does_alone(base: str, sets: Callable[[str], Set], data: st.DataObject) -> None:
    one = sets(base)
    rows = data.draw(st.lists(st.tuples(st.sampled_from(one.names), st.sampled_from(TEXTS)), min_size=1, max_size=12))
    one.bank._inference.batch_tokens = data.draw(st.sampled_from([1, 40, 1024]))
    for (adapter, text), found in zip(rows, one.mixed_says(rows), strict=True):
        assert np.abs(found - one.alone_says(adapter, text)).max() < CLOSE, (adapter, text)


@pytest.mark.parametrize("base", ["bert", "llama"])
def test_a_list_of_requests_of_all_adapters_comes_back_in_order(base: str, sets: Callable[[str], Set]) -> None:
    from adapters.serving.bank.bank import Request

    one = sets(base)
    named = [(one.names[i % len(one.names)], TEXTS[i % len(TEXTS)]) for i in range(100)]
    requests = [Request(adapter, asked(adapter, text), f"r{i}") for i, (adapter, text) in enumerate(named)]
    answers = one.bank.predict(requests)
    assert [answer["id"] for answer in answers] == [request.id for request in requests]
    for request, found in zip(requests, answers, strict=True):
        (alone,) = one.alone[request.adapter].answer([request.inputs])
        assert "error" not in found, found
        assert found["adapter"] == request.adapter
        assert found["output"].keys() == alone["output"].keys()
        for key in ("tags", "label", "entities"):
            if key in alone["output"] and key != "entities":
                assert found["output"][key] == alone["output"][key]
        for entity in found["output"].get("entities", ()):
            assert request.inputs[entity["start"] : entity["end"]] == entity["text"]


def test_a_row_without_an_adapter_is_the_bare_base(sets: Callable[[str], Set]) -> None:
    import torch
    from transformers import AutoModel

    from adapters.serving.bank.bank import Request

    one = sets("bert")
    rows = [
        Request(None, TEXTS[2]),
        Request("lora-tags", TEXTS[1]),
        Request(None, TEXTS[0]),
        Request("prefix-class", TEXTS[3]),
    ]
    answers = one.bank.predict(rows)
    bare = AutoModel.from_pretrained(one.base.folder).eval()
    for number in (0, 2):
        inputs = one.base.tokenizer([TEXTS[2] if number == 0 else TEXTS[0]], return_tensors="pt")
        with torch.inference_mode():
            wanted = bare(**inputs).last_hidden_state[0].mean(0).numpy()
        assert np.abs(np.array(answers[number]["output"]["embedding"]) - wanted).max() < CLOSE


def test_what_cannot_be_answered_is_an_error_in_its_place(sets: Callable[[str], Set]) -> None:
    from adapters.serving.bank.bank import Request

    one = sets("bert")
    given_rows: list[Any] = [
        Request("lora-tags", "Ada"),
        Request("lora-tag", "Ada"),
        {"adapter": "head-class"},
        Request("head-class", {"tokens": ["a"]}),
        {"adapter": "lora-tags", "inputs": {"text": 3}, "id": "x"},
        Request("../etc", "a"),
        Request("head-class", "Rome"),
    ]
    answers = one.bank.predict(given_rows)
    assert ["error" in answer for answer in answers] == [False, True, True, True, True, True, False]
    assert "did you mean" in answers[1]["error"]
    assert answers[4]["id"] == "x"


def test_a_padding_token_in_a_text_does_not_hang_on_the_rows_beside_it(sets: Callable[[str], Set]) -> None:
    one = sets("roberta")
    text = "Ada <pad> lived in <pad> New York ."
    row = ("lora-class", text)
    alone = one.mixed_says([row])[0]
    for other in ("prompt-tags", "prefix-tags", "head-class"):
        together = one.mixed_says([row, (other, TEXTS[2])])[0]
        assert np.abs(together - alone).max() < CLOSE, other
