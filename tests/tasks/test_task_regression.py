"""Regression: what is read, encoded, learnt and answered."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from test_task_classification import LONG, save

from adapters.core.errors import DataError, ModelError, SettingsError
from adapters.data.dataset_files import open_splits
from adapters.tasks.base.example import Encoded, Example
from adapters.tasks.base.reading import reading_lines
from adapters.tasks.base.task import PromptableTask, promptable
from adapters.tasks.regression import Settings, Task

pytestmark = pytest.mark.usefixtures("one_thread")


def read(folder: Path, **changes: Any) -> tuple[Any, Any]:
    return Task.read_to_learn(open_splits(folder=folder), Settings(**changes))


def scored(*numbers: Any) -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "score": number} for i, number in enumerate(numbers)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Any]:
    from adapters.models.base_model import open_base

    root = tmp_path_factory.mktemp("bases")
    folders = {"bert": tiny_bert, **{name: tiny.BUILDERS[name](root / name) for name in ("gpt2", "llama")}}
    return {name: open_base(str(folder)) for name, folder in folders.items()}


def test_the_range_of_train_is_kept_and_said(tmp_path: Path) -> None:
    task, splits = read(save(tmp_path / "d", train=scored(1, 2.5, "4"), test=scored(0, 9)))
    assert [example.gold for example in splits["train"]] == [1.0, 2.5, 4.0]
    assert [example.gold for example in splits["test"]] == [0.0, 9.0], (
        "numbers outside of train's are scored like others"
    )
    known = task.label_range
    assert (known.minimum, known.maximum, known.mean, known.sd) == (1.0, 4.0, 2.5, pytest.approx(np.std([1, 2.5, 4])))
    assert any("train: 3 numbers from 1 to 4, mean 2.5, sd 1.225" in line for line in reading_lines(splits))
    assert (len(task.labels), task.pair, splits["train"].label_counts()) == (0, False, {})


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_split_of_equal_numbers_is_nothing_to_learn_or_to_score(tmp_path: Path, split: str) -> None:
    rows = {"train": scored(1, 2), "dev": scored(1, 2), split: scored(-1, -1.0, "-1")}
    with pytest.raises(DataError, match=rf"{split}.jsonl: every number .*is -1.*there is nothing to (learn|score)"):
        read(save(tmp_path / "d", **rows))


def test_a_test_split_without_gold_numbers_is_left_out_and_said(tmp_path: Path) -> None:
    folder = save(tmp_path / "d", train=scored(0, 5), dev=scored(0, 5), test=scored(-1, -1))
    _, splits = read(folder)
    assert set(splits) == {"train", "validation"}
    (line,) = [line for line in reading_lines(splits) if "left out" in line]
    assert "test.jsonl: every number is -1" in line
    # One number that train has may well be right, and so may one example.
    for rows in (scored(5, 5), scored(-1)):
        assert "test" in read(save(tmp_path / "d", test=rows))[1]


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--long_texts cut: must be truncate or window"):
        read(save(tmp_path / "d", train=scored(1, 2)), long_texts="cut")


def test_a_card_makes_the_same_task_again() -> None:
    for task in (tiny.regressing(pair=True, windows=True), Task(None)):
        again: Any = Task.from_card(json.loads(json.dumps(task.card())))
        assert again.card() == task.card() and again.label_range == task.label_range
    assert tiny.regressing().card()["label_range"] == {"minimum": 1.0, "maximum": 5.0, "mean": 3.5, "sd": 1.25}
    assert tiny.regressing().config()["num_labels"] == 1
    assert tiny.regressing().config()["problem_type"] == "regression"
    for label_range in ({"mean": 1.0}, "1 to 5", {**tiny.regressing().card()["label_range"], "sd": 0.0}):
        with pytest.raises(DataError, match="label_range"):
            Task.from_card({**tiny.regressing().card(), "label_range": label_range})


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("pair", [False, True])
def test_it_is_encoded_as_classification_is_with_one_standard_score(
    bases: dict[str, Any], name: str, pair: bool
) -> None:
    tokenizer = bases[name].word_tokenizer
    second = {"text_pair": "in Oslo"} if pair else {}
    texts = ["Ada lived in Paris .", LONG]
    examples = [Example(id="0", inputs={"text": text, **second}, gold=4.75) for text in texts]
    rows = tiny.regressing(pair=pair).encode(examples, tokenizer, 24, learning=True)
    labels = [Example(id="0", inputs=one.inputs, gold="good") for one in examples]
    same = tiny.classifying(pair=pair).encode(labels, tokenizer, 24, learning=True)
    assert [(row.input_ids, row.token_types, row.detail) for row in rows] == [
        (row.input_ids, row.token_types, row.detail) for row in same
    ]
    assert [row.targets for row in rows] == [[1.0], [1.0]]
    assert [row.detail for row in rows] == [False, True]
    blind = tiny.regressing(pair=pair).encode(examples, tokenizer, 24)
    assert not any(row.targets for row in blind), "nothing of the answer reaches the input"


def test_answers_to_windows_are_averaged_and_leave_the_range_unclipped() -> None:
    rows = [Encoded(example=0, input_ids=[1], targets=[]), Encoded(example=0, input_ids=[1], targets=[])]
    rows.append(Encoded(example=1, input_ids=[1], targets=[], detail=True))
    two = [Example(id=str(i), inputs={"text": "x"}) for i in range(2)]
    answers = [np.array([1.0]), np.array([0.0]), np.array([4.0])]
    predictions = tiny.regressing(windows=True).decode(two, rows, answers, None)
    assert [p.value for p in predictions] == [3.5 + 1.25 / 2, 8.5]
    assert [p.truncated for p in predictions] == [False, True]
    assert tiny.regressing().output(two[1], predictions[1]) == {"text": "x", "value": 8.5}
    raw = Task(None).decode(two, rows, answers, None)  # type: ignore[arg-type]
    assert [p.value for p in raw] == [0.5, 4.0]


@pytest.mark.parametrize("output", [np.nan, np.inf])
def test_an_output_that_is_no_number_is_no_answer(output: float) -> None:
    row = Encoded(example=0, input_ids=[1], targets=[])
    with pytest.raises(ModelError, match="no finite number"):
        tiny.regressing().decode([Example(id="0", inputs={"text": "x"})], [row], [np.array([output])], None)


def test_the_loss_is_torchs_own_on_standard_scores() -> None:
    import torch
    import torch.nn.functional as f

    numbers = torch.tensor([[1.0], [2.0], [5.0], [3.5]])
    targets = torch.tensor([tiny.regressing()._targets(float(number)) for number in numbers])
    logits = torch.randn(4, 1).to(torch.bfloat16)
    summed, count = tiny.regressing().loss(logits, targets)
    assert summed.dtype == torch.float32 and int(count) == 4
    assert float(summed) == pytest.approx(
        float(f.mse_loss(logits.float() * 1.25 + 3.5, numbers, reduction="sum")) / 1.25**2, rel=1e-5
    )
    with pytest.raises(ModelError, match="range of the numbers is not known"):
        Task(None)._targets(3.0)


def test_targets_are_stored_to_the_precision_of_the_model_and_all_count(tmp_path: Path, bases: dict[str, Any]) -> None:
    import torch

    from adapters.training.train_dataset import TrainDataset

    numbers = [-100.0, 0.25, 1e6, 3.0]  # -100 marks positions without a target, where targets are classes
    task, splits = read(save(tmp_path / "d", train=scored(*numbers)))
    dataset = TrainDataset(splits["train"], task, bases["bert"], tiny.method("lora").settings, budget=32)
    _, targets = dataset.collate(range(4), torch.device("cpu"))
    assert targets.dtype == torch.float32 and targets.shape == (4, 1)
    wanted = (np.array(numbers) - np.mean(numbers)) / np.std(numbers)
    assert targets[:, 0].numpy() == pytest.approx(wanted, rel=1e-6)
    assert dataset.labelled(range(4)) == 4
    exact = Task(type(task.label_range)(minimum=-200.0, maximum=0.0, mean=0.0, sd=1.0))
    dataset = TrainDataset(splits["train"], exact, bases["bert"], tiny.method("lora").settings, budget=32)
    assert float(dataset.targets[0][0]) == -100.0 and dataset.labelled(range(4)) == 4


def test_any_unit_is_learnt_alike(tmp_path: Path, bases: dict[str, Any]) -> None:
    import torch

    rows = [{"text": " ".join(["Oslo"] * (i % 5) + ["Paris"] * (5 - i % 5)), "score": i % 5} for i in range(60)]
    gold, learnt = np.array([row["score"] for row in rows]), []
    for shift, unit in ((0.0, 1.0), (70.0, 25.0), (2e5, 1e4), (-0.5, 1e-3)):
        moved = [{**row, "score": shift + unit * float(row["score"])} for row in rows]
        task, splits = read(save(tmp_path / f"{unit}", train=moved))
        method = tiny.method("full", max_train_steps=100, learning_rate=0.003)
        torch.manual_seed(0)
        model = method.wrap(bases["bert"], task, splits["train"])
        better = itertools.count().__next__  # each epoch's weights are kept
        tiny.trainer(method, model, bases["bert"], task, splits["train"]).run(better)
        found = method.predictor(model, bases["bert"], task).predict(splits["train"][:])
        learnt.append((np.array([prediction.value for prediction in found]) - shift) / unit)
    assert np.sqrt(np.mean((learnt[0] - gold) ** 2)) < 0.5 * gold.std()
    for values in learnt[1:]:
        assert values == pytest.approx(learnt[0], abs=1e-3)


def test_a_request_that_is_no_text_is_refused_with_the_tasks_name() -> None:
    for inputs in ({}, {"text": " "}, {"text": "x", "text_pair": "y"}, {"text": 3}):
        with pytest.raises(DataError, match=r"regression takes {'text': a text}, none of them empty; found"):
            tiny.regressing().from_request(inputs, "0")
    with pytest.raises(DataError, match=r"regression takes {'text': a text, 'text_pair': a text}"):
        tiny.regressing(pair=True).from_request({"text": "x"}, "0")


def test_it_cannot_be_prompted_and_says_so() -> None:
    assert not isinstance(tiny.regressing(), PromptableTask)
    with pytest.raises(ModelError, match="The task regression cannot be prompted; train a method for it"):
        promptable(tiny.regressing())


@pytest.mark.parametrize(
    ("outputs", "multi_label", "problem", "takes"),
    [
        (1, None, None, True), (1, None, "regression", True), (1, False, None, True), (3, None, None, False),
        (1, True, None, False), (1, None, "multi_label_classification", False), (3, None, "regression", False),
        (0, None, None, False), (1, None, "single_label_classification", False),
    ],
)  # fmt: skip
def test_a_head_of_others_is_this_tasks_or_classifications_never_both(
    outputs: int, multi_label: bool | None, problem: str | None, takes: bool
) -> None:
    from adapters.tasks.classification import Task as Classification

    given: dict[str, Any] = {"multi_label": multi_label, "problem": problem}
    assert Task.takes_head(outputs, **given) == takes
    assert Classification.takes_head(outputs, **given) != takes


def test_a_head_that_does_not_fit_is_refused() -> None:
    assert Task.of_head(["LABEL_0"], pair=True).card() == {**Task(None, pair=True).card()}
    with pytest.raises(DataError, match="the head has 3 outputs; regression needs a head of one"):
        Task.of_head(["a", "b", "c"])
    with pytest.raises(SettingsError, match="multi_label: the task regression has no such alternative"):
        Task.of_head(["a"], multi_label=True)
    from adapters.tasks.classification import Task as Classification

    for card in ({"labels": ["LABEL_0"], "number": True}, {"labels": ["LABEL_0"]}):
        with pytest.raises(DataError, match="gives a number, not labels: that is the task regression"):
            Classification.from_card(card)
