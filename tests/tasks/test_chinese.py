"""Text without blanks, in whatever length: nothing of it is lost, and a base that cannot read it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import build_tiny_bert

from adapters.core.errors import ModelError
from adapters.core.settings import CommonSettings, join
from adapters.data.labels import LabelSet
from adapters.data.tag_schemes import tag_labels
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


def test_a_base_that_cannot_read_chinese_names_one_that_can_in_few_words(tmp_path: Path, bases: dict[str, Any]) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + f"{LONG},a\n{LONG[1:]},b\n")
    kind = join(CommonSettings, classification.Settings)
    split = examples.read_splits("classification", kind(train_file=str(path), validation_file=str(path)))[1]["train"]
    with pytest.raises(ModelError, match=r"this base cannot read the text\..*\(e5 reads a hundred") as caught:
        examples.check_unknown_tokens(split, bases["bert"], allowed=False, say=print)
    assert len(str(caught.value)) < 500
