"""Label Studio and Prodigy: which annotations are read, and what is left out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.core.errors import Faults
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file
from adapters.data.entity_spans import SpanRules
from adapters.data.ner_rows import find_ner_columns, find_tag_form, read_sentences

TEXT = "Ada met Bob."


def read(path: Path) -> tuple[list[list[str]], Faults, ColumnRoles]:
    roles = ColumnRoles(open_file(path))
    columns = find_ner_columns(roles)
    faults = Faults(roles.source.name)
    form = find_tag_form(roles.source, columns)
    found = list(read_sentences(roles.source, columns, form, rules=SpanRules(), faults=faults))
    return [sentence.tags for _, sentence in found], faults, roles


def write(path: Path, *rows: Any) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ADA = {"value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}, "type": "labels", "from_name": "label"}
BOB = {"value": {"start": 8, "end": 11, "text": "Bob", "labels": ["PER"]}, "type": "labels", "from_name": "label"}
FIRST, BOTH = ["B-PER", "O", "O", "O"], ["B-PER", "O", "B-PER", "O"]


def task(*annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {"id": 1, "annotations": list(annotations), "data": data or {"text": TEXT}, "meta": {}, "predictions": []}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_label_studios_own_export_is_read(tmp_path: Path, name: str) -> None:
    found, faults, roles = read(write(tmp_path / name, task({"result": [ADA, BOB]}), task({"result": []})))
    assert (found, faults.count) == ([BOTH, ["O"] * 4], 0)
    record = roles.record()
    assert record["format"] == "jsonl, Label Studio" and record["columns"]["text"] == ["text"]
    assert record["unused"] == ["meta", "predictions"]


def test_of_several_annotations_the_ground_truth_is_read_else_the_first(tmp_path: Path) -> None:
    one, two = {"result": [ADA]}, {"result": [ADA, BOB]}
    cancelled = {"result": [BOB], "was_cancelled": True}
    rows = [task(one, two), task(one, {**two, "ground_truth": True}), task(cancelled, two), task(cancelled), task()]
    found, faults, _ = read(write(tmp_path / "a.json", *rows))
    assert found == [FIRST, BOTH, BOTH]
    assert dict(faults.notes) == {
        "annotations left out: one of a task is read, the ground truth, else the first": 2,
        "tasks without an annotation, or with cancelled ones alone, left out": 2,
    }


def test_other_results_are_left_out_and_counted(tmp_path: Path) -> None:
    choice = {"value": {"choices": ["news"]}, "type": "choices"}
    relation = {"from_id": "a", "to_id": "b", "type": "relation"}
    _, faults, _ = read(write(tmp_path / "a.json", task({"result": [choice, ADA, relation]})))
    assert dict(faults.notes) == {"results of Label Studio other than spans of the text left out": 2}


def test_the_text_may_have_another_name(tmp_path: Path) -> None:
    found, faults, _ = read(write(tmp_path / "a.json", task({"result": [ADA]}, my_text=TEXT, number=3)))
    assert (found, faults.count) == ([FIRST], 0)
    path = write(tmp_path / "b.json", task({"result": [ADA]}), task({"result": [ADA]}, one=TEXT, two=TEXT))
    assert read(path)[1].shown == [f"{path}: row 2: no text in 'data', which has one, two"]


def test_label_studios_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    spans = [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}]
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [["annotator", "id", "label", "text"], [1, 1, json.dumps(spans), TEXT], [1, 2, "", TEXT]]
        )
    found, faults, _ = read(path)
    assert (found, faults.count) == ([FIRST, ["O"] * 4], 0)
    assert dict(faults.notes) == {"rows with nothing in 'label', read as having no entity": 1}


def test_a_task_of_another_form_is_a_fault(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", task({"result": [ADA]}), {"annotations": [], "data": "x"}, {"data": {"text": "x"}}
    )
    assert [shown.split(": ")[0] for shown in read(path)[1].shown] == [f"{path}:2"]
    assert read(path)[1].count == 2


def test_of_prodigy_the_accepted_rows_are_read_and_the_others_counted(tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 3, "token_start": 0, "token_end": 0, "label": "PER"}]
    rows = [
        {
            "text": TEXT,
            "spans": spans,
            "answer": "accept",
            "_view_id": "ner_manual",
            "tokens": [{"text": "Ada", "start": 0}],
        },
        {"text": TEXT, "spans": spans, "answer": "reject"},
        {"text": TEXT, "answer": "accept"},
        {"text": TEXT, "answer": "ignore"},
        {"text": TEXT, "answer": "ignore"},
    ]
    found, faults, roles = read(write(tmp_path / "a.jsonl", *rows))
    assert (found, faults.count) == ([FIRST, ["O"] * 4], 0)
    assert dict(faults.notes) == {"rows with the answer reject left out": 1, "rows with the answer ignore left out": 2}
    assert roles.record()["unused"] == ["_view_id", "tokens"]


def test_spans_of_tokens_alone_are_read(tmp_path: Path) -> None:
    tokens = [{"text": "Ada", "start": 0, "end": 3}, {"text": "met", "start": 4, "end": 7}]
    rows = {
        "text": TEXT,
        "tokens": tokens,
        "spans": [{"token_start": 0, "token_end": 1, "label": "X"}],
        "answer": "accept",
    }
    assert read(write(tmp_path / "a.jsonl", rows))[0] == [["B-X", "I-X", "O", "O"]]


def test_no_row_of_prodigy_needs_spans(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.jsonl", {"text": TEXT, "answer": "accept"}))[0] == [["O"] * 4]


@pytest.mark.parametrize("answer", [["accept"], {"a": 1}, None])
def test_an_answer_that_is_no_word_is_no_prodigys_or_a_fault(answer: Any, tmp_path: Path) -> None:
    rows = [{"text": TEXT, "entities": [[0, 3, "PER"]], "answer": answer}]
    found, _, roles = read(write(tmp_path / "a.jsonl", *rows))
    assert found == [FIRST] and roles.record()["unused"] == ["answer"]
    many = [{"text": TEXT, "answer": "accept"}] * 1000
    _, faults, _ = read(write(tmp_path / "b.jsonl", *many, {"text": TEXT, "answer": answer}))
    assert faults.count == 1 and "the answer must be accept, reject or ignore" in faults.shown[0]


@pytest.mark.parametrize("result", [None, 3, {"value": {}}])
def test_a_label_studio_result_that_is_no_list_is_a_fault(result: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", task({"result": [ADA]}), task({"result": result}))
    assert [shown.split(": ")[0] for shown in read(path)[1].shown] == [f"{path}:2"]


def test_other_answers_are_no_prodigys(tmp_path: Path) -> None:
    rows = {"text": TEXT, "entities": [[0, 3, "PER"]], "answer": "yes"}
    found, _, roles = read(write(tmp_path / "a.jsonl", rows))
    assert found == [FIRST] and roles.record()["unused"] == ["answer"]
