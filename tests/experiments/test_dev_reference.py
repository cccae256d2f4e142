"""What a run's card says of dev is what the trained predictor answers there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import write_tagged

import adapters
from adapters.artifacts.reference import Reference
from adapters.experiments import dev_reference as of_dev
from adapters.tasks.base.example import Example, Prediction

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = {"bad": "rotten", "poor": "rotten", "good": "fresh", "grand": "fresh"}
REVIEWS = [{"text": f"a {word} film {n}", "label": label} for n in range(20) for word, label in WORDS.items()]


def card_of(result: adapters.RunResult | None) -> dict[str, Any]:
    assert result is not None
    found: dict[str, Any] = json.loads((result.artifact / "card.json").read_text())
    return found


def test_it_is_what_the_loaded_artifact_and_a_bank_answer_on_dev(tiny_bert: Path, tmp_path: Path) -> None:
    files = {name: write_tagged(tmp_path / f"{name}.conll", size) for name, size in (("train", 60), ("dev", 40))}
    result = adapters.train(
        task="ner",
        method="lora",
        train=files["train"],
        validation=files["dev"],
        test=files["dev"],
        model=str(tiny_bert),
        output_dir=tmp_path / "run",
        max_train_steps=4,
        learning_rate=0.02,
        mixed_precision="no",
    )
    card = card_of(result)
    assert result is not None
    reference = Reference.of_card(card)
    assert reference is not None and reference.labels is not None and reference.confidence is not None
    assert reference.texts == sum(reference.labels.counts) == sum(reference.confidence.counts) == 40
    assert {"PER", "LOC"} <= reference.labels.shares.keys()
    predictions = [line["prediction"] for line in result.predictions]
    shares = {kind: np.mean([any(tag[2:] == kind for tag in tags) for tags in predictions]) for kind in ("PER", "LOC")}
    assert {kind: reference.labels.shares[kind] for kind in shares} == pytest.approx(shares)
    bank = adapters.AdapterBank(str(tiny_bert))
    bank.load("ner", result.artifact)
    seen: list[Any] = []
    words = [line["inputs"]["tokens"] for line in result.predictions]
    bank.predict([{"adapter": "ner", "inputs": {"tokens": one}} for one in words], None, seen)
    again = Reference.of([one for _, one in seen], reference.labels.shares)
    assert again.labels is not None and again.labels.shares == pytest.approx(reference.labels.shares)
    assert again.confidence is not None
    assert again.confidence.mean == pytest.approx(reference.confidence.mean, abs=1e-5)
    assert (again.unknown, again.tokens) == (reference.unknown, reference.tokens)
    readme = (result.artifact / "README.md").read_text()
    assert f"On 40 dev examples: mean confidence {reference.confidence.mean:.2f}, " in readme


def test_a_method_without_a_base_has_labels_and_no_tokens(tmp_path: Path) -> None:
    result = adapters.train(
        task="classification", method="tfidf", train=REVIEWS[:60], test=REVIEWS[60:], output_dir=tmp_path / "run"
    )
    reference = Reference.of_card(card_of(result))
    assert reference is not None and reference.labels is not None
    assert reference.labels.shares.keys() == {"fresh", "rotten"}
    assert (reference.unknown, reference.tokens) == (None, None)


def test_of_a_base_that_writes_its_answers_tokens_alone_are_counted_and_dev_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"document": f"Ada lived in London {n} .", "summary": "Ada ."} for n in range(64)]
    result = adapters.train(
        task="summarization",
        method="lora",
        train=rows[:60],
        test=rows[60:],
        model=str(tiny.llama(tmp_path / "llama")),
        output_dir=tmp_path / "run",
        max_train_steps=1,
        max_new_tokens=4,
        mixed_precision="no",
    )
    reference = Reference.of_card(card_of(result))
    assert reference is not None and reference.tokens is not None and reference.tokens > 5
    assert (reference.labels, reference.confidence) == (None, None)


class Dev(list[Example]):
    """Examples in memory."""

    def select(self, numbers: list[int]) -> list[Example]:
        return [self[n] for n in numbers]


def fitted(**method: Any) -> Any:
    def predict(_: Any) -> Any:
        raise AssertionError("dev is predicted again")

    return SimpleNamespace(
        task=tiny.classifying(),
        method=SimpleNamespace(trains=True, **method),
        base=None,
        predictor=SimpleNamespace(predict=predict),
    )


def test_a_dev_split_that_was_scored_is_not_predicted_again_and_a_large_one_is_sampled() -> None:
    size = of_dev.MOST + 500
    dev: Any = Dev(Example(id=str(n), inputs={"text": "Ada"}) for n in range(size))
    answers = [Prediction(value="good" if n % 3 else "bad", detail=np.array([0.3, 0.7])) for n in range(size)]
    evaluation: Any = SimpleNamespace(split="dev", predictions=answers)
    found = of_dev.dev_reference(fitted(), dev, evaluation, 128)
    assert found["texts"] == of_dev.MOST
    assert found["labels"]["shares"]["bad"] == pytest.approx(1 / 3, abs=0.05)
    assert found == of_dev.dev_reference(fitted(), dev, evaluation, 128)
    evaluation.split = "test"
    with pytest.raises(AssertionError, match="predicted again"):
        of_dev.dev_reference(fitted(), dev, evaluation, 128)


def test_a_method_that_only_prompts_and_a_run_without_dev_have_none() -> None:
    prompted: Any = fitted()
    prompted.method.trains = False
    evaluation: Any = SimpleNamespace(split="test", predictions=[])
    assert of_dev.dev_reference(prompted, Dev([Example(id="0", inputs={})]), evaluation, 128) is None
    assert of_dev.dev_reference(fitted(), (), evaluation, 128) is None
