"""SQuAD's JSON: its rows, and what is wrong with a file, said with its place in the document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.core import discovery
from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file, open_splits
from adapters.data.rows import HEAD, Row

READER = discovery.load("readers", "squad")
ASKED = {"id": "q1", "question": "Where?", "answers": [{"text": "Oslo", "answer_start": 13}]}


def document(*qas: Any, context: Any = "Ada lived in Oslo.", **more: Any) -> dict[str, Any]:
    return {**more, "data": [{"title": "Ada", "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def write(folder: Path, content: Any, name: str = "train.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> tuple[list[Row], str]:
    """Rows and faults of a file that can be opened."""
    faults = Faults("x")
    rows = list(open_file(path, **options).rows(faults))
    try:
        faults.raise_if_any()
    except DataError as error:
        return rows, str(error)
    return rows, ""


def test_a_question_is_a_row_with_its_place(tmp_path: Path) -> None:
    second = {"id": "q2", "question": "Who?", "is_impossible": True, "answers": []}
    path = write(tmp_path, document(ASKED, second, version="v2.0"))
    rows, said = read(path)
    assert not said
    assert [row.values["id"] for row in rows] == ["q1", "q2"]
    assert rows[0].values["answers"] == {"text": ["Oslo"], "answer_start": [13]}
    assert rows[1].values["answers"] == {"text": [], "answer_start": []}
    assert rows[1].where() == f"{path}: data[0].paragraphs[0].qas[1] (id q2)"
    assert open_file(path).columns == ["id", "question", "context", "answers", "is_impossible"]
    assert open_file(write(tmp_path, document(ASKED))).columns == ["id", "question", "context", "answers"]


def test_it_is_known_by_what_it_holds_before_its_ending_says_json(tmp_path: Path) -> None:
    assert type(open_file(write(tmp_path, document(ASKED)))).__name__ == "SquadSource"
    rows = [{"id": "1", "question": "Where?", "context": "Oslo", "answers": ["Oslo"]}]
    assert type(open_file(write(tmp_path, {"data": rows}, "rows.json"))).__name__ == "JsonSource"
    assert read(write(tmp_path, document(ASKED)), reader="jsonl")[0][0].values["title"] == "Ada"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (document({**ASKED, "question": 3}), "data[0].paragraphs[0].qas[0]: 'question' must be a text"),
        (document({"question": "Where?", "answers": []}), "qas[0]: 'id' must be a text"),
        (document({"id": "q1", "question": "Where?"}), "qas[0]: id q1: 'answers' must be a list"),
        (document({**ASKED, "answers": [{"text": "Oslo"}]}), "id q1: an answer must have 'text'"),
        (document({**ASKED, "answers": [{"text": "Oslo", "answer_start": "13"}]}), "id q1: an answer must have 'text'"),
        (document({**ASKED, "answers": [{"text": "Oslo", "answer_start": True}]}), "id q1: an answer must have 'text'"),
        (document(ASKED, context=None), "the paragraph's 'context' must be a text"),
        (document({**ASKED, "question": "\ud800"}), "half of a character"),
        ({"data": [{"paragraphs": [{"context": "Oslo"}]}]}, "data[0].paragraphs[0]: has no list 'qas'"),
        ({"data": [{"paragraphs": [7]}]}, "data[0].paragraphs[0]: has no list 'qas'"),
        ({"data": [{"paragraphs": []}]}, "the file contains no question"),
        ('{"data": [{"paragraphs": [', "train.json:1: not JSON at column"),
        ('{"data": [{"paragraphs": [\0]}]}', "train.json:1: the line contains a NUL character"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        open_file(write(tmp_path, content), reader="squad")
    assert said in str(caught.value)


def test_a_fault_does_not_hide_the_questions_behind_it(tmp_path: Path) -> None:
    bad = {**ASKED, "id": "q0", "question": None}
    rows, said = read(write(tmp_path, document(ASKED, bad, {**ASKED, "id": "q2"})))
    assert [row.values["id"] for row in rows] == ["q1", "q2"]
    assert "qas[1]: 'question' must be a text" in said


def test_a_folder_of_such_files_has_its_splits(tmp_path: Path) -> None:
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        write(tmp_path, document(ASKED), name)
    assert list(open_splits(folder=tmp_path)) == ["train", "validation"]


def test_real_files_are_read_whole(shared_data: Path) -> None:
    for language in ("en", "zh"):
        path = shared_data / "xquad" / f"xquad.{language}.json"
        with path.open(encoding="utf-8") as stream:
            assert READER.recognises(path, stream.read(HEAD))
        rows, said = read(path)
        assert (len(rows), said) == (1190, "")
        answers = rows[0].values["answers"]
        start, text = answers["answer_start"][0], answers["text"][0]
        assert rows[0].values["context"][start : start + len(text)] == text


PARAGRAPH = {"context": "Ada lived in Oslo.", "qas": [ASKED, {**ASKED, "id": "q2"}]}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([PARAGRAPH], "[0].qas[1]"),
        ({"data": [PARAGRAPH]}, "data[0].qas[1]"),
        ({"paragraphs": [PARAGRAPH]}, "paragraphs[0].qas[1]"),
        ({"title": "Ada", "paragraphs": [PARAGRAPH]}, "paragraphs[0].qas[1]"),
        ([{"title": "Ada", "paragraphs": [PARAGRAPH]}], "[0].paragraphs[0].qas[1]"),
        (PARAGRAPH, "qas[1]"),
        (json.dumps({"header": {"split": "dev"}}) + "\n" + json.dumps(PARAGRAPH), "[0].qas[1]"),
        (json.dumps(PARAGRAPH) + "\n" + json.dumps({**PARAGRAPH, "qas": []}) + "\n", "[0].qas[1]"),
    ],
)
@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_outer_levels_may_be_missing(tmp_path: Path, content: Any, place: str, name: str) -> None:
    path = write(tmp_path, content, name)
    rows, said = read(path)
    assert ([row.values["id"] for row in rows], said) == (["q1", "q2"], "")
    assert rows[1].where() == f"{path}: {place} (id q2)"


def test_a_context_may_be_longer_than_what_a_file_is_recognised_by(tmp_path: Path) -> None:
    long = {**PARAGRAPH, "context": PARAGRAPH["context"] + " Notes." * HEAD}
    assert len(read(write(tmp_path, [long]))[0]) == 2
    assert len(read(write(tmp_path, {"data": [{"title": "Ada" * HEAD, "paragraphs": [long]}]}))[0]) == 2


@pytest.mark.parametrize(
    "answers",
    [
        {"text": "Oslo", "answer_start": 13},
        {"text": ["Oslo"], "answer_start": [13]},
        [{"text": "Oslo", "answer_start": 13, "answer_end": 17}],
    ],
)
def test_answers_may_be_written_as_in_tables(tmp_path: Path, answers: Any) -> None:
    (row,) = read(write(tmp_path, document({**ASKED, "answers": answers})))[0]
    assert row.values["answers"] == {"text": ["Oslo"], "answer_start": [13]}


@pytest.mark.parametrize("question", [{"answers": "Oslo"}, {"answer": "Oslo"}])
def test_an_answer_may_be_a_text_alone(tmp_path: Path, question: dict[str, Any]) -> None:
    rows, faults = read(write(tmp_path, document({"id": "q1", "question": "Where?", **question})))
    assert not faults and [row.values["answers"]["text"] for row in rows] == [["Oslo"]]


def test_questions_of_mrqa_have_another_id_and_answers_without_a_place(tmp_path: Path) -> None:
    asked = {"qid": "m1", "question": "Where?", "answers": ["Oslo", "oslo"]}
    (row,) = read(write(tmp_path, [{"context": "Ada lived in Oslo.", "qas": [asked]}]))[0]
    assert (row.values["id"], row.values["answers"]) == ("m1", {"text": ["Oslo", "oslo"], "answer_start": []})


@pytest.mark.parametrize(
    "content",
    [
        [{"id": 1, "question": "Where?", "context": "Oslo", "answers": ["Oslo"]}],
        {"title": "Ada", "paragraphs": ["One.", "Two."]},
        [{"context": 'the list "qas" is empty', "label": "a"}],
    ],
)
def test_other_json_is_not_taken_for_it(tmp_path: Path, content: Any) -> None:
    path = write(tmp_path, content)
    assert not READER.recognises(path, path.read_text()[:HEAD])


def test_answers_beside_the_mark_of_an_impossible_question_are_kept_for_the_task_to_refuse(tmp_path: Path) -> None:
    (row,), said = read(write(tmp_path, document({**ASKED, "is_impossible": True})))
    assert not said and row.values["answers"]["text"] == ["Oslo"] and row.values["is_impossible"] is True


def test_a_key_that_occurs_twice_is_a_fault(tmp_path: Path) -> None:
    text = json.dumps(document(ASKED)).replace('"id": ', '"id": "q0", "id": ')
    _, said = read(write(tmp_path, text))
    assert "train.json:1: the key 'id' occurs twice" in said
    lines = json.dumps(PARAGRAPH) + "\n" + json.dumps(PARAGRAPH).replace('"context": ', '"context": "", "context": ')
    assert "train.json:2: the key 'context' occurs twice" in read(write(tmp_path, lines))[1]
