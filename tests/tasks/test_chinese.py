"""Text without blanks, in whatever length: nothing of it is lost, and a base that cannot read it says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import build_tiny_bert

from adapters.core import discovery
from adapters.core.errors import DataError, ModelError
from adapters.core.settings import CommonSettings, join
from adapters.data.labels import LabelSet
from adapters.data.tag_schemes import tag_labels
from adapters.evaluation.report.run_report import predict_arguments
from adapters.tasks import classification, ner, question_answering
from adapters.tasks.base import examples
from adapters.tasks.base.example import Example

LONG = "曹雪芹住在北京，著有《红楼梦》。" * 320
"""5,120 characters without a blank."""
BASES = ("bert", "roberta")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    root = tmp_path_factory.mktemp("tiny")
    folders = {"bert": build_tiny_bert(root / "bert"), "roberta": tiny.roberta(root / "roberta")}
    return {name: open_base(str(folder)) for name, folder in folders.items()}


@pytest.mark.parametrize("name", BASES)
def test_every_character_of_a_long_text_has_its_tag_in_one_window(name: str, bases: dict[str, Any]) -> None:
    task = ner.Task(tag_labels(["PER"]))
    example = task.from_request({"text": LONG}, "0")
    assert example.inputs["tokens"] == [*LONG]
    rows = task.encode([example], bases[name].word_tokenizer, 64)
    words = sorted(word for row in rows for _, word, _ in row.detail)
    assert len(rows) > 80 and words == [*range(len(LONG))] and max(len(row.input_ids) for row in rows) <= 64


@pytest.mark.parametrize("name", BASES)
def test_an_answer_at_the_end_of_a_long_text_is_in_a_window(name: str, bases: dict[str, Any]) -> None:
    context = f"{LONG}作者是高鹗"
    example = Example(
        id="0", inputs={"question": "谁写的？", "context": context}, gold=["高鹗"], starts=(len(LONG) + 3,)
    )
    rows = question_answering.Task().on("encoder").encode([example], bases[name].word_tokenizer, 64, learning=True)
    (with_answer,) = [row for row in rows if row.targets != [0, 0]]
    offsets, _ = with_answer.detail
    start, end = (offsets[target] for target in with_answer.targets)
    assert "高鹗" in context[start[0] : end[1]]


@pytest.mark.parametrize("name", BASES)
def test_a_long_text_is_classified_in_windows_or_said_to_be_truncated(name: str, bases: dict[str, Any]) -> None:
    example = Example(id="0", inputs={"text": LONG}, gold="a")
    labels = LabelSet(("a", "b"))
    whole = classification.Task(labels, windows=True).encode([example], bases[name].word_tokenizer, 64)
    cut = classification.Task(labels).encode([example], bases[name].word_tokenizer, 64)
    assert len(whole) > 1 == len(cut) and len(cut[0].input_ids) == 64


BY_CHARACTER = "高 B-NAME\n勇 E-NAME\n， O\nP B-TITLE\nM E-TITLE\n\n男 O\n李 S-NAME\n"


def read(name: str, folder: Path, text: str, **given: Any) -> Any:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    kind = join(CommonSettings, ner.Settings)
    return examples.read_splits("ner", kind(train_file=str(path), validation_file=str(path), **given))


def test_a_request_to_what_learned_characters_is_split_into_characters(tmp_path: Path) -> None:
    task, splits, _ = read("train.bmes", tmp_path, BY_CHARACTER)
    assert task.card()["single_characters"] is True
    assert splits["train"].notes["reading"]["notes"] == ["the words are characters, into which texts are split, too"]
    for one in (task, ner.Task.from_card(task.card())):
        asked = one.from_request({"text": "高勇，PM2"}, "0")
        assert asked.inputs["tokens"] == [*"高勇，PM2"]
    assert task.gold_output(splits["train"][0])[1] == {"start": 3, "end": 5, "label": "TITLE", "text": "PM"}
    words = ner.Task(tag_labels(["NAME"]))
    assert "single_characters" not in words.card()
    assert words.from_request({"text": "高勇，PM2"}, "0").inputs["tokens"] == ["高", "勇", "，", "PM2"]


@pytest.mark.parametrize("name", BASES)
def test_a_text_and_its_characters_one_by_one_have_the_same_tokens(name: str, bases: dict[str, Any]) -> None:
    task = ner.Task(tag_labels(["NAME"]), single_characters=True)
    as_text = task.from_request({"text": "高勇，PM2011"}, "0")
    as_tokens = task.from_request({"tokens": [*"高勇，PM2011"]}, "1")
    one, other = (task.encode([asked], bases[name].word_tokenizer, 64) for asked in (as_text, as_tokens))
    assert [row.input_ids for row in one] == [row.input_ids for row in other]
    assert [word for row in one for _, word, shared in row.detail if not shared] == [*range(9)]


def test_entities_that_cut_words_are_read_by_character_where_that_was_said(tmp_path: Path) -> None:
    row = {"text": "突袭CPL2011赛", "entities": [{"start": 2, "end": 5, "label": "organization"}]}
    with pytest.raises(DataError, match=r"cuts a word: 'CPL2011'.*\n.*--by_character"):
        read("train.jsonl", tmp_path, json.dumps(row) + "\n")
    task, splits, _ = read("train.jsonl", tmp_path, json.dumps(row) + "\n", by_character=True)
    assert task.single_characters and task.gold_output(splits["train"][0])[0]["text"] == "CPL"


@pytest.mark.parametrize(
    ("task", "row", "inputs"),
    [
        ("classification", {"编号": 7, "评论": "屏幕很好", "标签": "好评"}, {"text": "屏幕很好"}),
        ("classification", {"句子1": "几点", "句子2": "何时", "标签": "1"}, {"text": "几点", "text_pair": "何时"}),
        (
            "question_answering",
            {"问题": "谁？", "原文": "他是鲁迅", "答案": "鲁迅"},
            {"question": "谁？", "context": "他是鲁迅"},
        ),
        ("summarization", {"正文": "今天下雨。", "摘要": "下雨"}, {"text": "今天下雨。"}),
        ("ner", {"字": ["鲁", "迅"], "标签": ["B-PER", "I-PER"]}, {"tokens": ["鲁", "迅"]}),
    ],
)
def test_columns_with_usual_chinese_names_are_read(
    tmp_path: Path, task: str, row: dict[str, Any], inputs: dict[str, str]
) -> None:
    path = tmp_path / "test.jsonl"
    other = {**row, "标签": "0"} if task == "classification" else row  # there must be two to tell apart
    path.write_text(f"{json.dumps(other)}\n{json.dumps(row)}\n")
    kind = join(CommonSettings, discovery.load("tasks", task).Settings)
    found = examples.read_splits(task, kind(train_file=str(path), validation_file=str(path)))[1]["train"]
    assert found[1].inputs == inputs


def test_the_command_to_try_has_the_beginning_of_a_text_without_blanks() -> None:
    assert predict_arguments(Example(id="0", inputs={"text": LONG})) == f"'{LONG[:60]}'"
    assert (
        predict_arguments(Example(id="0", inputs={"text": "Ada lived " * 20})) == f"'{'Ada lived ' * 6}".rstrip() + "'"
    )


def test_a_base_that_cannot_read_chinese_names_one_that_can_in_few_words(tmp_path: Path, bases: dict[str, Any]) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + f"{LONG},a\n{LONG[1:]},b\n")
    kind = join(CommonSettings, classification.Settings)
    split = examples.read_splits("classification", kind(train_file=str(path), validation_file=str(path)))[1]["train"]
    with pytest.raises(ModelError, match=r"this base cannot read the text\..*\(e5 reads a hundred") as caught:
        examples.check_unknown_tokens(split, bases["bert"], allowed=False, say=print)
    assert len(str(caught.value)) < 500
