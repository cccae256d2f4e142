"""Text classification: what is read, encoded, learnt and answered."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny

from adapters.core.errors import DataError, SettingsError
from adapters.data.dataset_files import open_splits
from adapters.data.labels import LabelSet
from adapters.models.tokenizer import IGNORED
from adapters.tasks.base.example import Encoded, Example
from adapters.tasks.base.examples import read_named
from adapters.tasks.base.reading import reading_lines
from adapters.tasks.base.task import AnswerForm, PromptableTask
from adapters.tasks.classification import MultiLabelTask, Settings, Task

AB = LabelSet(("a", "b", "c"))
LONG = "paris london berlin oslo rome " * 40


def save(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def read(folder: Path, **changes: Any) -> tuple[Any, Any]:
    return Task.read_to_learn(open_splits(folder=folder), Settings(**changes))


def labels(*names: Any) -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "label": name} for i, name in enumerate(names)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Any]:
    from adapters.models.base_model import open_base

    root = tmp_path_factory.mktemp("bases")
    folders = {"bert": tiny_bert, **{name: tiny.BUILDERS[name](root / name) for name in ("roberta", "gpt2", "llama")}}
    return {name: open_base(str(folder)) for name, folder in folders.items()}


def test_the_labels_of_train_are_the_classes(tmp_path):
    task, splits = read(save(tmp_path / "d", train=labels("b", "a", "b"), test=labels("a")))
    assert task.labels.names == ("a", "b")
    assert [example.gold for example in splits["train"]] == ["b", "a", "b"]
    assert splits["test"][0].inputs == {"text": "text 0"}
    assert (task.pair, task.multi_label, task.weights) == (False, False, None)


def test_a_class_with_one_example_is_a_class(tmp_path):
    task, _ = read(save(tmp_path / "d", train=labels("a", "a", "b"), test=labels("b", "a")))
    assert task.labels.names == ("a", "b")


def test_a_label_that_train_lacks_is_refused_at_its_line(tmp_path):
    folder = save(tmp_path / "d", train=labels("a", "b"), test=labels("a", "c", "c"))
    with pytest.raises(
        DataError, match=r"test.jsonl:2.*label 'c' does not occur in train \(2 times: also at 3"
    ) as error:
        read(folder)
    assert "train has a, b" in str(error.value)


def test_labels_that_train_lacks_are_named_with_their_column_and_what_was_meant(tmp_path):
    rows = [{"text": "x", "label": cell, "stars": "a"} for cell in ("Postive", "class_2", "10")]
    known = labels("positive", "class_1", "1")
    with pytest.raises(DataError) as error:
        read(save(tmp_path / "d", train=known, test=rows))
    head, *faults, advice = str(error.value).split("\n")
    assert head.endswith("test.jsonl (test), column 'label': 3 faults:")
    assert [fault.partition(": ")[2] for fault in faults] == [
        "label 'Postive' does not occur in train: did you mean 'positive'?",
        "label 'class_2' does not occur in train",
        "label '10' does not occur in train",
    ]
    assert advice.endswith("If another column contains the labels (not read: stars), name it: --label_column_name.")


def test_one_label_alone_is_nothing_to_tell_apart(tmp_path):
    with pytest.raises(DataError, match="only the label a occurs"):
        read(save(tmp_path / "d", train=labels("a", "a"), test=labels("a")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_weights": "even"}, "--class_weights even: must be balanced"),
        ({"long_texts": "cut"}, "--long_texts cut: must be truncate or window"),
        ({"multi_label": True, "label_separator": ""}, "--label_separator: must not be empty"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, changes, message):
    with pytest.raises(SettingsError, match=message):
        read(save(tmp_path / "d", train=labels("a", "b"), test=labels("a")), **changes)


def test_several_labels_are_multi_hot_targets(tmp_path, bases):
    rows = [{"text": "x", "labels": cell} for cell in ("a,c", "", ["b"], "c")]
    task, splits = read(save(tmp_path / "d", train=rows, test=rows), multi_label=True)
    assert task.metrics[0] == "multilabel_f1" and not isinstance(task, PromptableTask)
    encoded = task.encode(splits["train"][:], bases["bert"].word_tokenizer, 32, learning=True)
    assert [row.targets for row in encoded] == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert [example.gold for example in splits["train"]] == [["a", "c"], [], ["b"], ["c"]]


def test_a_card_makes_the_same_task_again():
    for kind in (Task, MultiLabelTask):
        task = kind(AB, pair=True, windows=True)
        again: Any = Task.from_card(json.loads(json.dumps(task.card())))
        assert type(again) is kind and again.card() == task.card() and again.metrics == task.metrics
    assert Task(AB, pair=True).placeholders == ("text", "text_pair")


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama"])
def test_a_text_is_encoded_as_its_tokenizer_does(bases, name):
    base = bases[name]
    task = Task(AB)
    texts = ["Ada lived in Paris .", "rome", "\u200b", "notes"]
    rows = task.encode([Example(id="0", inputs={"text": text}, gold="b") for text in texts], base.word_tokenizer, 60)
    expected = [base.tokenizer(text).input_ids or [base.word_tokenizer.blank] for text in texts]
    assert [row.input_ids for row in rows] == expected
    assert not any(row.targets or row.token_types or row.detail for row in rows)


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama"])
@pytest.mark.parametrize("windows", [False, True])
def test_a_long_text_is_cut_and_said_so_or_windowed_whole(bases, name, windows):
    base = bases[name]
    task = Task(AB, windows=windows)
    examples = [Example(id=str(i), inputs={"text": text}) for i, text in enumerate(["oslo", LONG, "rome"])]
    rows = task.encode(examples, base.word_tokenizer, 24)
    assert all(len(row.input_ids) <= 24 for row in rows)
    assert ([row.example for row in rows] == [0, 1, 2]) == (not windows)
    predictions = task.decode(examples, rows, [np.zeros(3)] * len(rows), base.word_tokenizer)
    assert [p.truncated for p in predictions] == [False, not windows, False]
    if windows:  # nothing of the text is lost: windows overlap, and together hold its tokens in order
        special = {*base.word_tokenizer.before, *base.word_tokenizer.after}
        whole = [p for p in base.tokenizer(LONG).input_ids if p not in special]
        at = 0
        for row in (row for row in rows if row.example == 1):
            own = [p for p in row.input_ids if p not in special]
            begin = next(b for b in range(at, -1, -1) if whole[b : b + len(own)] == own)
            at = begin + len(own)
        assert at == len(whole)


def test_answers_to_windows_are_averaged():
    task = Task(AB, windows=True)
    rows = [Encoded(example=0, input_ids=[1], targets=[]) for _ in range(2)]
    answers = [np.array([2.0, 0.0, 0.0]), np.array([0.0, 3.0, 0.0])]
    (prediction,) = task.decode([Example(id="0", inputs={})], rows, answers, None)  # type: ignore[arg-type]
    mean = np.array([1.0, 1.5, 0.0])
    assert prediction.value == "b"
    assert prediction.detail == pytest.approx(np.exp(mean) / np.exp(mean).sum())


def test_several_labels_are_those_likelier_than_not():
    task = MultiLabelTask(AB)
    rows = [Encoded(example=i, input_ids=[1], targets=[]) for i in range(2)]
    answers = [np.array([0.1, -5.0, 4.0]), np.array([-1.0, -1.0, -1.0])]
    two = [Example(id=str(i), inputs={"text": "x"}) for i in range(2)]
    predictions = task.decode(two, rows, answers, None)  # type: ignore[arg-type]
    assert [p.value for p in predictions] == [["a", "c"], []]
    assert predictions[0].detail == pytest.approx(1 / (1 + np.exp(-answers[0])))
    assert task.output(two[0], predictions[0]) == {
        "text": "x",
        "labels": ["a", "c"],
        "scores": {"c": 0.982, "a": 0.525, "b": 0.0067},
    }


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama"])
def test_of_a_pair_both_texts_are_seen_and_the_longer_is_cut(bases, name):
    base = bases[name]
    task = Task(AB, pair=True)
    pairs = [("ada", "oslo"), (LONG, "rome"), ("rome", LONG)]
    examples = [Example(id="0", inputs={"text": one, "text_pair": two}) for one, two in pairs]
    rows = task.encode(examples, base.word_tokenizer, 24)
    assert [row.detail for row in rows] == [False, True, True]
    assert all(len(row.input_ids) <= 24 for row in rows)
    tokenizer = base.tokenizer
    if base.word_tokenizer.separates_pairs:
        assert rows[0].input_ids == tokenizer("ada", "oslo").input_ids
        assert tokenizer.decode(rows[1].input_ids, skip_special_tokens=True).strip().lower().endswith("rome")
    else:
        assert rows[0].input_ids == tokenizer("ada\noslo").input_ids
    swapped = task.encode([Example(id="0", inputs={"text": "oslo", "text_pair": "ada"})], base.word_tokenizer, 24)
    assert swapped[0].input_ids != rows[0].input_ids
    assert bool(rows[0].token_types) == (name == "bert")


def test_the_loss_is_torchs_own(bases):
    import torch
    import torch.nn.functional as f

    logits = torch.randn(4, 3)
    targets = torch.tensor([[0], [2], [IGNORED], [1]])
    summed, count = Task(AB).loss(logits, targets)
    assert int(count) == 3
    assert float(summed) == pytest.approx(
        float(f.cross_entropy(logits[[0, 1, 3]], torch.tensor([0, 2, 1]), reduction="sum"))
    )
    weighted, _ = Task(AB, weights=[1.0, 2.0, 0.5]).loss(logits, targets)
    each = f.cross_entropy(logits[[0, 1, 3]], torch.tensor([0, 2, 1]), reduction="none")
    assert float(weighted) == pytest.approx(float((each * torch.tensor([1.0, 0.5, 2.0])).sum()))
    several = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [IGNORED] * 3])
    summed, count = MultiLabelTask(AB).loss(logits, several)
    wanted = f.binary_cross_entropy_with_logits(logits[:3], several[:3].float(), reduction="sum")
    assert int(count) == 9 and float(summed) == pytest.approx(float(wanted))


def test_the_head_begins_at_the_shares_of_the_classes():
    targets = [np.array([0]), np.array([0]), np.array([1])]
    assert Task(AB).prior(targets) == pytest.approx(np.log([3 / 6, 2 / 6, 1 / 6]))
    several = MultiLabelTask(AB).prior([np.array([1, 0, 1]), np.array([1, 0, 0])])
    assert several == pytest.approx(np.log([3, 1 / 3, 1]))
    assert Task(AB, weights=[1.0, 1.0, 1.0]).prior(targets) is None


@pytest.mark.parametrize(
    "inputs", [{}, {"text": ""}, {"text": " "}, {"text": 3}, {"text": "x", "text_pair": "y"}, {"tokens": ["x"]}]
)
def test_a_request_that_is_no_text_is_refused(inputs):
    with pytest.raises(DataError, match=r"classification takes {'text': a text}, none of them empty; found"):
        Task(AB).from_request(inputs, "0")


def test_a_pair_lacking_a_side_is_refused():
    task = Task(AB, pair=True)
    assert task.from_request({"text_pair": "y", "text": "x"}, "7").inputs == {"text": "x", "text_pair": "y"}
    for inputs in ({"text": "x"}, {"text": "x", "text_pair": ""}, {"text": "x", "text_pair": None}):
        with pytest.raises(DataError, match="'text_pair': a text"):
            task.from_request(inputs, "0")


def test_an_answer_names_a_label_by_any_of_its_words():
    task = Task(LabelSet(("neg", "pos")))
    form = AnswerForm(format="label", verbalizer={"pos": ("good", "great")})
    one = Example(id="0", inputs={"text": "x"}, gold="pos")
    assert task.choices(form) == [("neg", 0), ("good", 1), ("great", 1)]
    assert task.write_answer(one, form) == "good"
    assert task.fill(one, form) == {"labels": "neg, good", "text": "x"}
    assert [task.read_answer(one, said, form).value for said in ("Great", " neg\n", "bad", "")] == [
        "pos",
        "neg",
        None,
        None,
    ]
    assert task.read_answer(one, "bad", form).parse_failure


def test_an_output_has_the_likeliest_labels_only():
    task = Task(LabelSet(tuple("abcdefgh")))
    shares = np.array([0.3, 0.05, 0.25, 0.1, 0.2, 0.05, 0.03, 0.02])
    out = task.output(Example(id="0", inputs={"text": "x"}), SimpleNamespace(value="a", detail=shares))  # type: ignore[arg-type]
    assert out == {
        "text": "x",
        "label": "a",
        "score": 0.3,
        "scores": {"a": 0.3, "c": 0.25, "e": 0.2, "d": 0.1, "b": 0.05},
    }


def test_a_text_with_two_labels_is_warned_of_within_a_split_and_across(tmp_path):
    def written(name: str, *rows: str) -> str:
        (tmp_path / name).write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
        return str(tmp_path / name)

    train = written("train.csv", "good,yes", "bad,no", "good,no", "fine,yes", "fine,yes", "poor,no")
    test = written("test.csv", "bad,yes", "poor,no")
    dev = written("dev.csv", "long,yes", "short,no")
    _, splits = read_named("classification", (), train_file=train, test_file=test, validation_file=dev)
    (said,) = [line for line in reading_lines(splits) if line.startswith("warning")]
    assert "2 examples with the inputs of an earlier one, but another answer" in said
    assert f"the first: {train}:2 and {train}:4" in said
    _, alone = read_named("classification", (), test_file=test, train_file=written("sound.csv", "a,no", "b,yes"))
    assert not any(line.startswith("warning") for line in reading_lines(alone))
