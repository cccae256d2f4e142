"""One evaluator: the same examples, in order, for whatever predicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.core.files import write_json
from adapters.data.dataset_files import open_splits
from adapters.data.tag_schemes import tag_labels
from adapters.evaluation.evaluate import Evaluation, evaluate, latency, main_score, overlap, split_digest, time
from adapters.evaluation.metrics.base.metric import Metric, load_metric
from adapters.experiments import records
from adapters.models.base_model import open_base
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.ner import Settings, Task

LABELS = tag_labels(["LOC", "PER"]).names
GOLD = [["B-PER", "O"], ["O", "B-LOC"], ["B-LOC", "I-LOC"]]
FOUND = [["B-PER", "O"], ["O", "O"], ["B-LOC", "O"]]
EXAMPLES = [
    Example(id=str(i), inputs={"tokens": [f"w{i}", "x"]}, gold=gold, where=f"a.conll:{3 * i + 1}")
    for i, gold in enumerate(GOLD)
]


class Fixed:
    """Says what it was told to, and remembers what it was asked."""

    def __init__(self, answers: Sequence[Prediction]) -> None:
        self.answers = {example.id: answer for example, answer in zip(EXAMPLES, answers, strict=True)}
        self.asked: list[list[str]] = []

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        self.asked.append([example.id for example in examples])
        return [self.answers[example.id] for example in examples]


def both() -> list[Metric]:
    return [load_metric("entity_f1", LABELS), load_metric("token_f1", LABELS)]


def test_a_predictor_is_scored_on_all_examples_with_every_metric() -> None:
    predictor = Fixed([Prediction(value=value) for value in FOUND])
    result = evaluate(predictor, EXAMPLES, both(), split="test")
    assert predictor.asked == [["0", "1", "2"]]
    assert list(result.quality) == ["entity_f1", "token_f1"]
    # One of two predicted entities is right, and one of three gold ones is found.
    assert result.main["value"] == result.quality["entity_f1"]["f1"]["value"] == pytest.approx(0.4)
    assert result.quality["entity_f1"]["precision"]["value"] == pytest.approx(1 / 2)
    assert result.quality["entity_f1"]["recall"]["value"] == pytest.approx(1 / 3)
    assert result.quality["token_f1"]["accuracy_with_o"]["value"] == pytest.approx(4 / 6)
    assert (result.split, result.examples, [p.value for p in result.predictions]) == ("test", EXAMPLES, FOUND)
    assert result.examples_per_second > 0


def test_counts_stand_in_the_order_of_the_examples() -> None:
    result = evaluate(Fixed([Prediction(value=value) for value in FOUND]), EXAMPLES, both(), split="test")
    for metric in both():
        rows = [metric.counts(gold, found) for gold, found in zip(GOLD, FOUND, strict=True)]
        np.testing.assert_array_equal(result.counts[metric.name], rows)


def test_each_score_lies_in_its_interval_and_the_seed_decides_the_interval() -> None:
    predictor = Fixed([Prediction(value=value) for value in FOUND])
    first, again, other = (evaluate(predictor, EXAMPLES, both(), split="test", seed=seed) for seed in (0, 0, 1))
    assert first.quality == again.quality
    assert first.main["value"] == other.main["value"]
    for scores in first.quality.values():
        for score in scores.values():
            assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
            assert set(map(type, score.values())) == {float}


def test_answers_that_failed_are_counted() -> None:
    answers = [
        Prediction(value=FOUND[0], truncated=True),
        Prediction(value=FOUND[1], parse_failure=True, truncated=True),
        Prediction(value=FOUND[2]),
    ]
    result = evaluate(Fixed(answers), EXAMPLES, both(), split="test")
    assert result.failures() == {"parse_failures": 1, "truncated": 2, "shots_dropped": 0}


def test_a_predictor_that_leaves_out_an_example_is_our_own_mistake() -> None:
    class Lazy:
        def predict(self, examples: Sequence[Example]) -> list[Prediction]:
            return [Prediction(value=["O", "O"])] * (len(examples) - 1)

    with pytest.raises(AssertionError):
        evaluate(Lazy(), EXAMPLES, both(), split="test")


def test_the_main_score_is_that_of_the_whole_evaluation() -> None:
    predictor = Fixed([Prediction(value=value) for value in FOUND])
    for metric in both():
        value = evaluate(predictor, EXAMPLES, [metric], split="dev").main["value"]
        assert main_score(predictor, EXAMPLES, metric) == value > 0


# metrics of what stands beside the answer -------------------------------------------------------------------------

CLASSES = ["neg", "pos"]
TEXTS = [Example(id=str(i), inputs={"text": f"t{i}"}, gold=CLASSES[i % 2], where=f"a.csv:{i + 2}") for i in range(40)]


class Sure:
    """Says `pos` of everything, with probabilities for the first examples only."""

    def __init__(self, with_detail: int) -> None:
        self.with_detail = with_detail

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        detail = np.array([0.25, 0.75])
        return [Prediction(value="pos", detail=detail if int(e.id) < self.with_detail else None) for e in examples]


def of_both(with_detail: int) -> Evaluation:
    chosen = [load_metric(name, CLASSES) for name in ("accuracy", "expected_calibration_error")]
    return evaluate(Sure(with_detail), TEXTS, chosen, split="test")


def test_a_metric_is_given_the_part_of_the_prediction_that_it_asks_for() -> None:
    result = of_both(40)
    assert result.main["value"] == 0.5
    assert result.quality["expected_calibration_error"]["ece"]["value"] == pytest.approx(0.25)
    assert main_score(Sure(40), TEXTS, load_metric("expected_calibration_error", CLASSES)) == pytest.approx(0.25)


def test_an_interval_is_of_the_examples_that_had_what_was_asked_for() -> None:
    # Of 40 examples one resample in three holds none of a single one: its score would be nan.
    (error,) = of_both(1).quality["expected_calibration_error"].values()
    assert error == {"value": 0.75, "low": 0.75, "high": 0.75}
    two = evaluate(Sure(2), TEXTS[:2], [load_metric("expected_calibration_error", CLASSES)], split="test").quality
    assert of_both(2).quality["expected_calibration_error"] == two["expected_calibration_error"]


def test_a_score_that_nothing_can_be_judged_by_is_left_out_and_json_stays_valid(tmp_path: Path) -> None:
    result = of_both(0)
    assert result.quality["expected_calibration_error"] == {} and result.counts["expected_calibration_error"].shape == (
        40,
        45,
    )
    assert np.isnan(main_score(Sure(0), TEXTS, load_metric("expected_calibration_error", CLASSES)))
    write_json(tmp_path / "scores.json", {"quality": result.quality, "reports": records._sections(result)})
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["reports"]["expected_calibration_error"][0]["rows"] == {}
    confusions = written["reports"]["accuracy"][1]
    assert confusions["title"] == "Confusion matrix"
    assert confusions["rows"] == {"neg": {"neg": 0, "pos": 20}, "pos": {"neg": 0, "pos": 20}}


def test_latency_is_of_single_examples_after_one_that_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Fixed([Prediction(value=value) for value in FOUND])
    clock = iter([0, 100, 200, 201, 300, 303, 400, 402])  # the first takes 100 s, the others 1, 3 and 2 s
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert latency(predictor, EXAMPLES) == {"p50": 2000.0, "p95": 2900.0}
    assert predictor.asked == [["0"], ["0"], ["1"], ["2"]]


@pytest.mark.whole_end
def test_latency_asks_for_64_examples_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Fixed([Prediction(value=value) for value in FOUND])
    latency(predictor, EXAMPLES * 100)
    assert len(predictor.asked) == 65


def test_test_examples_that_stand_in_train_are_counted_with_their_places() -> None:
    def example(word: str, where: str) -> Example:
        return Example(id=where, inputs={"tokens": [word]}, gold=["O"], where=where)

    train = [example(word, f"train:{i}") for i, word in enumerate("abcdefgh")]
    test = [example(word, f"test:{i}") for i, word in enumerate("xaybzcdefg")]
    found = overlap(test, train)
    assert found["count"] == 7 and [test[number].where for number in found["numbers"]] == [
        f"test:{i}" for i, word in enumerate("xaybzcdefg") if word in "abcdefgh"
    ]
    assert found["first"][0] == {"test": "test:1", "train": "train:0"} and len(found["first"]) == 5
    assert overlap(test, []) == {"count": 0, "equal": 0, "first": [], "numbers": []}


def test_overlap_is_what_the_base_cannot_tell_apart_and_what_is_equal_to_the_letter(tiny_bert: Path) -> None:
    def example(**inputs: Any) -> Example:
        return Example(id="", inputs=inputs, gold="x", where="")

    train = [example(tokens=["Ada", "lived", "."]), example(text="In Oslo"), example(text="a", pair="b")]
    test = [
        example(tokens=["Ada", "lived", "."]),
        example(text="ADA lived.", tokens=["ADA", "lived", "."], offsets=[[0, 3], [4, 9], [9, 10]]),
        example(text="Ada  lived."),
        example(tokens=["in", "oslo"]),
        example(text="b", pair="a"),
        example(text="ab"),
    ]
    uncased = open_base(str(tiny_bert))
    found = overlap(test, train, uncased.seen)
    assert (found["numbers"], found["count"], found["equal"]) == ([0, 1, 2, 3], 4, 1)
    assert overlap(test, train)["numbers"] == [0, 2], "a cased one can tell them apart"


def test_a_split_has_the_same_digest_only_with_the_same_examples_answers_and_order(tagged: Path) -> None:
    base = split_digest(EXAMPLES)
    renamed = [Example(id="x", inputs=e.inputs, gold=e.gold, where="elsewhere") for e in EXAMPLES]
    assert split_digest(renamed) == base
    other_gold = [Example(id=e.id, inputs=e.inputs, gold=["O", "O"]) for e in EXAMPLES]
    assert len({base, split_digest(EXAMPLES[::-1]), split_digest(EXAMPLES[:2]), split_digest(other_gold)}) == 4
    splits = Task.read(open_splits(folder=tagged), Settings())[1]
    assert split_digest(splits["test"]) == split_digest(splits["test"][:]) != split_digest(splits["validation"])
