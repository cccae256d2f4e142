"""What is counted of texts and answers: labels, confidence, tokens; never the text."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from adapters.models.base_model import open_base
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.observation import Observation, observe
from adapters.tasks.base.task import load_task


def test_one_label_is_counted_with_its_probability() -> None:
    task = tiny.classifying(("bad", "good"))
    answer = Prediction(value="good", detail=np.array([0.2, 0.8]))
    unread = Prediction(value=None, written="?", parse_failure=True)
    one, other = observe(task, [answer, unread])
    assert (one.labels, one.confidence) == (("good",), pytest.approx(0.8))
    assert (other.labels, other.confidence) == ((), None)


def test_of_several_labels_each_is_counted_once_and_the_probability_is_that_of_the_whole_answer() -> None:
    task = load_task("classification").from_card({"labels": ["a", "b", "c"], "multi_label": True})
    shares = np.array([0.9, 0.4, 0.7])
    one, none = observe(task, [Prediction(value=["c", "a"], detail=shares), Prediction(value=[], detail=shares / 10)])
    assert one.labels == ("a", "c")
    assert one.confidence == pytest.approx(0.9 * 0.6 * 0.7)
    assert none.labels == ()


def test_of_entities_the_types_are_counted_and_the_mean_probability_of_the_tags() -> None:
    tags = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC"]
    one, none, empty = observe(
        tiny.tagging(),
        [
            Prediction(value=tags, detail=np.array([0.9, 0.8, 1.0, 0.6, 0.7])),
            Prediction(value=["O"], detail=np.array([1.0])),
            Prediction(value=[], detail=np.array([])),
        ],
    )
    assert (one.labels, one.confidence) == (("LOC", "PER"), pytest.approx(0.8))
    assert (none.labels, none.confidence) == ((), 1.0)
    assert (empty.labels, empty.confidence) == ((), None)


@pytest.mark.parametrize("task", [tiny.regressing(), load_task("text_generation").from_card({"labels": []})])
def test_a_task_whose_answers_are_no_labels_counts_none(task: Any) -> None:
    (one,) = observe(task, [Prediction(value=3.5 if task.name == "regression" else "a text")])
    assert one == Observation()


def test_a_probability_that_is_no_number_is_not_counted() -> None:
    (one,) = observe(tiny.classifying(), [Prediction(value="good", detail=np.array([np.nan, np.nan]))])
    assert one.confidence is None


def test_tokens_and_unknown_ones_are_those_of_all_windows_of_a_text(tiny_bert: Path) -> None:
    base, task = open_base(str(tiny_bert)), tiny.tagging()
    texts = ["Ada lived in Rome .", "Ada 漢 字 lived .", " ".join(["Ada"] * 50)]
    examples = [Example(id=str(n), inputs={"tokens": text.split()}) for n, text in enumerate(texts)]
    encoded = task.encode(examples, base.word_tokenizer, 16)
    known, strange, long = observe(task, [None] * 3, encoded, base.word_tokenizer)
    assert (known.labels, known.confidence, known.unknown, strange.unknown) == (None, None, 0, 2)
    assert long.tokens == sum(len(row.input_ids) for row in encoded if row.example == 2) > 50
    assert not any(isinstance(value, str) for value in dataclasses.astuple(strange))


def test_a_tokenizer_that_knows_every_text_has_no_unknown_token_to_count(tmp_path: Path) -> None:
    base = open_base(str(tiny.gpt2(tmp_path / "gpt2")))
    task = tiny.classifying()
    encoded = task.encode([Example(id="0", inputs={"text": "漢字"})], base.word_tokenizer, 32)
    (one,) = observe(task, [None], encoded, base.word_tokenizer)
    assert one.tokens == len(encoded[0].input_ids)
    assert not one.unknown
