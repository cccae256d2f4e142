"""Test is scored against the column that train learned from, also where test has another one with a likelier name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.core.discovery import load
from adapters.core.errors import DataError
from adapters.core.settings import CommonSettings, join
from adapters.tasks.base import examples

Rows = list[dict[str, Any]]
MARKED = "<e1>Ada</e1> met <e2>Bo</e2>"


def read(task: str, folder: Path, train: Rows, test: Rows, **given: Any) -> dict[str, Any]:
    """The splits, test of the same rows as dev."""
    files = {}
    for name, rows in (("train", train), ("validation", test), ("test", test)):
        files[f"{name}_file"] = str(folder / f"{name}.jsonl")
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = join(CommonSettings, load("tasks", task).Settings)(**files, **given)
    return examples.read_splits(task, settings)[1]


CASES: list[tuple[str, dict[str, list[Any]], dict[str, list[Any]], list[Any]]] = [
    ("regression", {"text": ["a", "b"], "rating": [1, 2]}, {"score": [8, 9]}, [1.0, 2.0]),
    (
        "ner",
        {"tokens": [["Ada", "met"]] * 2, "tags": [["B-PER", "O"]] * 2},
        {"ner_tags": [["O", "B-PER"]] * 2},
        [["B-PER", "O"]] * 2,
    ),
    ("summarization", {"document": ["a", "b"], "title": ["T1", "T2"]}, {"summary": ["S1", "S2"]}, [["T1"], ["T2"]]),
    ("classification", {"text": ["a", "b"], "category": ["x", "y"]}, {"label": ["y", "x"]}, ["x", "y"]),
    ("relation_extraction", {"text": [MARKED] * 2, "label": ["knows", "likes"]}, {"relation": ["likes", "knows"]},
     ["knows", "likes"]),
    ("question_answering", {"question": ["a", "b"], "context": ["x y", "x y"], "answer": ["x", "y"]},
     {"answers": [["y"], ["x"]]}, [["x"], ["y"]]),
    ("text_generation", {"question": ["a", "b"], "answer": ["x", "y"]}, {"completion": ["c", "c"]}, [["x"], ["y"]]),
]  # fmt: skip


@pytest.mark.parametrize(("task", "columns", "more", "wanted"), CASES, ids=[case[0] for case in CASES])
def test_test_is_read_from_the_columns_of_train(
    task: str, columns: dict[str, list[Any]], more: dict[str, list[Any]], wanted: list[Any], tmp_path: Path
) -> None:
    def rows(of: dict[str, list[Any]]) -> Rows:
        return [dict(zip(of, values, strict=True)) for values in zip(*of.values(), strict=True)]

    found = read(task, tmp_path, rows(columns), rows({**columns, **more}))
    assert [example.gold for example in found["train"]] == wanted
    assert [example.gold for example in found["test"]] == wanted
    said = " ".join(found["test"].notes["reading"]["notes"])
    assert "as in train; it could also be" in said or task in ("question_answering",), said


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_pair_in_one_split_alone_is_refused_before_anything_is_trained(task: str, tmp_path: Path) -> None:
    pairs = [{"sentence1": "a", "sentence2": "b", "label": n % 2} for n in range(4)]
    single = [{"sentence1": "a", "label": n % 2} for n in range(4)]
    with pytest.raises(DataError, match="no column 'sentence2' as in train"):
        read(task, tmp_path, pairs, single)
    others = [{"premise": "a", "hypothesis": "b", "label": n % 2} for n in range(4)]
    with pytest.raises(DataError, match="no column sentence1 alone, as in train; found the pair premise, hypothesis"):
        read(task, tmp_path, single, others)
    found = read(task, tmp_path, pairs, others)
    assert found["test"][0].inputs == {"text": "a", "text_pair": "b"}


def test_an_instruction_is_read_rather_than_the_text_that_has_the_answer_too(tmp_path: Path) -> None:
    rows = [{"instruction": f"say {n}", "input": "", "output": f"{n}", "text": f"say {n}: {n}"} for n in range(4)]
    found = read("text_generation", tmp_path, rows, rows)
    assert found["train"][0].inputs == {"text": "say 0"}


def test_columns_of_languages_may_have_a_region(tmp_path: Path) -> None:
    rows = [{"en": "a", "zh-CN": "b"}] * 2
    found = read("translation", tmp_path, rows, rows, source_lang="en", target_lang="zh-CN")
    assert found["train"][0].gold == ["b"]


def test_no_relation_is_found_however_late_it_comes(tmp_path: Path) -> None:
    rows = [{"text": MARKED, "label": "knows" if n < 1500 else "Other"} for n in range(1600)]
    found = read("relation_extraction", tmp_path, rows, rows)
    assert set(found["train"].label_counts()) == {"knows", "no_relation"}
