"""A bank answers requests for `auto` with the adapter that its router chooses, in one batch with all others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import ROUTED

from adapters.core.errors import ArtifactError, BankError, DataError, UnknownAdapterError, UserError
from adapters.models.base_model import open_base
from adapters.serving.bank.bank import AdapterBank, Request
from adapters.serving.bank.router import Router
from adapters.serving.bank.routing import UnroutedError, text_in
from adapters.tasks.base.embedding import text_embedder

pytestmark = pytest.mark.usefixtures("one_thread")
PLACES = ["Ada Lovelace lived in London .", "Alan Turing worked in New York .", "Emmy Noether lived near Rome ."]
MOODS = ["a joy", "dull and slow", "a bright story", "a bad film"]
FAR = "1 2 3 4 5 6 7 8 9 0 " * 5


@pytest.fixture(scope="module")
def root(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of adapters `mood`, `ner`, `topic` and `other`, and of a router."""
    folder = tmp_path_factory.mktemp("root").resolve()
    base = open_base(str(tiny_bert))
    tasks = {"ner": tiny.tagging(), "mood": tiny.classifying(), "topic": tiny.classifying(("a", "b", "c"))}
    for seed, (name, task) in enumerate({**tasks, "other": tiny.classifying()}.items()):
        tiny.adapter(folder / name, "lora", base, task, seed=seed)
    tiny.router(folder / "router", AdapterBank(str(tiny_bert)))
    return folder


@pytest.fixture(scope="module")
def bank(tiny_bert: Path, root: Path, one_thread: None) -> AdapterBank:
    """A bank of three of them."""
    made = AdapterBank(str(tiny_bert), adapter_root=root)
    for name in ("ner", "mood", "topic"):
        made.load(name, root / name)
    return made


@pytest.fixture
def routed(bank: AdapterBank, root: Path) -> Iterator[AdapterBank]:
    """The same, with the router, which knows `ner` and `mood`."""
    bank.load_router(root / "router")
    yield bank
    bank.unload_router()


def test_named_and_unnamed_requests_are_answered_in_one_batch_and_in_order(routed: AdapterBank) -> None:
    texts = [*ROUTED["ner"], *ROUTED["mood"]]
    requests = [Request(name, text, f"{name}-{n}") for n, text in enumerate(texts) for name in ("auto", "topic", None)]
    answers = routed.predict(requests)
    assert [answer["id"] for answer in answers] == [request.id for request in requests]
    chosen = answers[::3]
    expected = ["ner"] * len(ROUTED["ner"]) + ["mood"] * len(ROUTED["mood"])
    assert [answer["adapter"] for answer in chosen] == expected
    named = routed.predict([Request(name, text) for name, text in zip(expected, texts, strict=True)])
    for answer, same in zip(chosen, named, strict=True):
        assert answer["output"].get("tags") == same["output"].get("tags")
        assert answer["output"].get("label") == same["output"].get("label")
        assert answer["version"] == 1 and answer["task"] == same["task"]
        best, *_ = answer["routed"]["scores"]
        assert best == answer["adapter"]
        assert answer["routed"]["confidence"] == answer["routed"]["scores"][best] > 0.5
        assert sorted(answer["routed"]["scores"]) == ["mood", "ner"]
    assert not any("routed" in answer for answer in [*answers[1::3], *answers[2::3]])


def test_a_text_that_fits_no_adapter_is_an_error_that_names_them(routed: AdapterBank) -> None:
    faults: dict[int, UserError] = {}
    refused, answered = routed.predict([Request("auto", FAR, "x"), Request("ner", FAR)], faults)
    assert refused == {"id": "x", "adapter": "auto", "error": str(faults[0])}
    assert "No adapter fits this text. The router knows mood, ner" in refused["error"]
    assert isinstance(faults[0], UnroutedError) and "output" in answered


def test_without_a_router_the_error_says_how_to_load_one(bank: AdapterBank) -> None:
    faults: dict[int, UserError] = {}
    (answer,) = bank.predict([Request("auto", "Ada")], faults)
    assert "bank.load_router(folder)" in answer["error"] and "--router" in answer["error"]
    assert isinstance(faults[0], UnknownAdapterError)
    with pytest.raises(BankError, match="No router is loaded"):
        bank.unload_router()
    with pytest.raises(UnknownAdapterError, match="for predictions only"):
        bank.info("auto")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"text": "a", "text_pair": "b"}, "a"),
        ({"tokens": ["Ada", "lived"]}, "Ada lived"),
        ({"question": "Who?", "context": "Ada.", "n": 3}, "Who?\nAda."),
    ],
)
def test_the_text_of_any_inputs_is_routed(inputs: dict[str, Any], text: str) -> None:
    assert text_in(inputs) == text


@pytest.mark.parametrize("inputs", [{}, {"n": 3}, {"tokens": []}, {"tokens": [1]}, {"text": None}])
def test_inputs_without_a_text_are_refused_alone(routed: AdapterBank, inputs: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="routed by its text"):
        text_in(inputs)
    refused, answered = routed.predict([{"adapter": "auto", "inputs": inputs}, Request("auto", ROUTED["ner"][0])])
    assert "error" in refused and answered["adapter"] == "ner"


def test_tokens_are_routed_and_an_adapter_that_cannot_read_them_says_so(routed: AdapterBank) -> None:
    ner, mood = (
        routed.predict([{"adapter": "auto", "inputs": {"tokens": text.split()}}])[0]
        for text in (ROUTED["ner"][0], ROUTED["mood"][0])
    )
    assert ner["adapter"] == "ner" and len(ner["output"]["tags"]) == len(ROUTED["ner"][0].split())
    assert mood["adapter"] == "mood" and "error" in mood and "routed" in mood


def test_a_router_needs_all_its_adapters_and_an_alias_is_as_good(tiny_bert: Path, root: Path) -> None:
    bank = AdapterBank(str(tiny_bert), adapter_root=root)
    bank.load("ner", root / "ner")
    with pytest.raises(BankError, match=r"routes to mood, which the bank has not loaded"):
        bank.load_router(root / "router")
    assert bank.router() is None
    bank.load("other", root / "other")
    bank.alias("mood", "other")
    assert bank.load_router(root / "router")["counts"] == {name: len(texts) for name, texts in sorted(ROUTED.items())}
    request = Request("auto", ROUTED["mood"][0])
    assert bank.predict([request])[0]["adapter"] == "mood"
    bank.unload("other")
    faults: dict[int, UserError] = {}
    (answer,) = bank.predict([request], faults)
    assert "The router chose mood, which is no longer loaded." in answer["error"]
    assert isinstance(faults[0], UnknownAdapterError)


def test_no_adapter_may_be_called_auto(bank: AdapterBank, root: Path) -> None:
    for call in (lambda: bank.load("auto", root / "ner"), lambda: bank.alias("auto", "ner")):
        with pytest.raises(BankError, match="'auto' is not a valid adapter name"):
            call()


def test_a_router_of_another_base_or_outside_the_root_or_damaged_is_refused_and_the_old_one_stays(
    routed: AdapterBank, root: Path, tmp_path: Path
) -> None:
    router = Router.load(root / "router")
    router.save(root / "foreign", tiny.named_base("elsewhere", "0" * 64, routed.base.tokenizer_digest))
    before = routed.router()
    with pytest.raises(ArtifactError, match=r"trained on elsewhere.*not on tiny-bert.*Use it with elsewhere"):
        routed.load_router(root / "foreign")
    shutil.copytree(root / "router", tmp_path / "router")
    with pytest.raises(ArtifactError, match="lies outside"):
        routed.load_router(tmp_path / "router")
    with pytest.raises(ArtifactError, match=r"contains no router\.json"):
        routed.load_router(root / "ner")
    assert routed.router() == before and before is not None and before["rate"] == 0.0


@pytest.mark.parametrize("build", [None, tiny.llama, tiny.roberta], ids=["bert", "llama", "roberta"])
def test_the_banks_features_are_those_of_the_text_embedder(build: Any, tiny_bert: Path, tmp_path: Path) -> None:
    folder = tiny_bert if build is None else build(tmp_path / "base")
    texts = ["Ada", "", " ".join(PLACES * 6), *MOODS]  # an empty one, and one of several windows
    found = AdapterBank(str(folder), batch_tokens=64).embed(texts)
    expected = text_embedder(str(folder))(texts)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_router_learns_and_routes_texts_through_a_banks_features(bank: AdapterBank) -> None:
    router = Router.fit("means", {"places": PLACES, "moods": MOODS}, embed=bank.embed)
    features = bank.embed([*PLACES, *MOODS])
    assert [routed.adapter for routed in router.route([*PLACES, *MOODS])] == [
        routed.adapter for routed in router.choose(features)
    ]
    assert router.route([]) == []


def test_texts_are_embedded_under_an_adapter_whatever_its_head_and_its_batch(bank: AdapterBank) -> None:
    texts = [*PLACES, *MOODS]
    alone = np.concatenate([bank.embed([text], "mood") for text in texts])
    assert np.allclose(bank.embed(texts, "mood"), alone, atol=1e-5)
    for other in ("ner", "topic", None):
        assert not np.allclose(bank.embed(texts, other), alone, atol=1e-3)
    with pytest.raises(UnknownAdapterError):
        bank.embed(texts, "nobody")
