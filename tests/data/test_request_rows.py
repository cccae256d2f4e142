"""Requests from files: the columns that a task takes, faults in their places, and what was read as what."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import adapters
from adapters.cli.main import main
from adapters.core.errors import DataError
from adapters.data.request_rows import read_requests
from adapters.tasks.base.task import Task

TEXT, PAIR = (("text",),), (("text", "text_pair"),)


def requests(path: Path, wanted: Any = TEXT, **named: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The requests of a file, and what was said."""
    said: list[str] = []
    return [*read_requests(path, wanted, named=named, say=said.append)], said


def written(path: Path, contents: str) -> Path:
    """A file with these contents."""
    path.write_text(contents, encoding="utf-8")
    return path


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1)] * 2),
        min_size=1,
        max_size=20,
    )
)
def test_a_table_and_its_json_lines_ask_the_same_whatever_else_is_in_them(rows: list[Any], tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("label", "Review"), *rows])
    lines = [json.dumps({"label": label, "Review": text}) for label, text in rows]
    found = [requests(path)[0] for path in (tmp_path / "a.csv", written(tmp_path / "a.jsonl", "\n".join(lines)))]
    inputs = [[one["inputs"] for one in each] for each in found]
    assert inputs[0] == inputs[1] == [{"text": text} for _, text in rows]


def test_a_fault_is_answered_in_its_place_and_the_other_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,stars\ngood,1\nb\xffd,2\nso,so,3\nfine,4\n")
    found, said = requests(path)
    assert [one["id"] for one in found] == ["2", "3", "4", "5"]
    assert [found[0]["inputs"], found[3]["inputs"]] == [{"text": "good"}, {"text": "fine"}]
    for number, line in ((1, 3), (2, 4)):
        assert isinstance(found[number]["inputs"], DataError) and f"a.csv:{line}: " in str(found[number]["inputs"])
    assert said == [f"{path}: not read: stars"]


def test_the_training_datas_names_come_after_the_users_where_the_file_has_them(tmp_path: Path) -> None:
    table = written(tmp_path / "a.csv", "opinion,text,other\no,t,x\n")
    lines = written(tmp_path / "a.jsonl", '{"opinion": "o", "text": "t", "other": "x"}\n{"text": "t"}\n')
    for path in (table, lines):
        for named, expected in (({}, "o"), ({"text": "other"}, "x")):
            found = [*read_requests(path, TEXT, named=named, learned={"text": "opinion"}, say=print)]
            assert found[0]["inputs"] == {"text": expected}
    assert found[1]["inputs"] == {"text": "t"}, "a line without the column"


def test_names_of_the_user_come_first_then_the_tasks_then_usual_ones(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "id\tpremise\thypothesis\ttext\n7\tp\th\tt\n")
    assert requests(path)[0] == [{"id": "7", "inputs": {"text": "t"}}]
    assert requests(path, text="premise")[0] == [{"id": "7", "inputs": {"text": "p"}}]
    found, said = requests(path, PAIR)
    assert found == [{"id": "7", "inputs": {"text": "p", "text_pair": "h"}}]
    assert said == [f"{path}: read text from 'premise', text_pair from 'hypothesis'; not read: text"]
    with pytest.raises(DataError, match=r"no column 'nope' \(--text_column_name\)\. Columns found: id, premise"):
        requests(path, text="nope")
    with pytest.raises(DataError, match=r"no column for question and context\. Columns found"):
        requests(path, (("question", "context"),))


@pytest.mark.parametrize(
    ("name", "contents", "wanted", "inputs"),
    [
        ("a.conll", "Ada NNP B-PER\nsmiled VBD O\n", (("text",), ("tokens",)), {"tokens": ["Ada", "smiled"]}),
        ("a.jsonl", '{"text": "A b", "head": [0, 1], "tail": "b", "relation": "r"}',
         (("text", "head", "tail"), ("text",)), {"text": "A b", "head": [0, 1], "tail": "b"}),
        ("a.jsonl", '"a text"', TEXT, {"text": "a text"}),
        ("a.jsonl", '{"inputs": {"anything": 3}}', TEXT, {"anything": 3}),
        ("a.jsonl", '{"nothing": "known"}', TEXT, {"nothing": "known"}),
        ("a.json", '[{"question": "q", "context": "c", "answers": []}]', (("question", "context"),),
         {"question": "q", "context": "c"}),
        ("a.txt", "one, text\n", TEXT, {"text": "one, text"}),
    ],
)  # fmt: skip
def test_each_format_gives_what_the_task_takes(
    name: str, contents: str, wanted: Any, inputs: dict[str, Any], tmp_path: Path
) -> None:
    found, _ = requests(written(tmp_path / name, contents), wanted)
    assert [one["inputs"] for one in found] == [inputs]


def test_lines_of_text_are_decoded_or_refused_each_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufefffine\n".encode() + b"caf\xe9\nna\xc3\xafve\n")
    found = list(read_requests(path, TEXT, named={}, say=print))
    assert [one["inputs"] for one in found[::2]] == [{"text": "fine"}, {"text": "naïve"}]
    assert str(found[1]["inputs"]) == (
        f"{path}:2: byte 0xe9 is not utf-8. Name the encoding of the file, for example --encoding latin-1."
    )
    path.write_bytes(b"caf\xe9\n")
    assert [one["inputs"] for one in read_requests(path, TEXT, named={}, say=print, encoding="latin-1")] == [
        {"text": "café"}
    ]


def test_damaged_json_lines_are_answered_each_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "fine"}\n\n{"text": "caf\xe9"}\n{"text": "one", "text": "two"}\n{"text": "a\\ud83d"}\n'
        b'{"text": NaN}\n{"text"\n{"text": "a\0b"}\n"last"\n'
    )
    found, _ = requests(path)
    assert [one["id"] for one in found] == ["1", "3", "4", "5", "6", "7", "8", "9"]
    assert [found[0]["inputs"], found[-1]["inputs"]] == [{"text": "fine"}, {"text": "last"}]
    told = (
        "byte 0xe9 is not utf-8",
        "'text' occurs twice",
        "half of a character",
        "NaN is not JSON",
        "not JSON at",
        "NUL",
    )
    for one, what in zip(found[1:-1], told, strict=True):
        assert isinstance(one["inputs"], DataError) and f"a.jsonl:{one['id']}: " in str(one["inputs"])
        assert what in str(one["inputs"])
    path.write_bytes(b'{"text": "caf\xe9"}\n')
    (latin,) = read_requests(path, TEXT, named={}, say=print, encoding="latin-1")
    assert latin["inputs"] == {"text": "caf\u00e9"}


def test_rows_of_a_list_on_one_line_have_their_numbers(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.json", '[{"text": "one"}, {"text": "two"}, {"text": "a", "text": "b"}, {"text": "four"}]'
    )
    found, _ = requests(path)
    assert [one["id"] for one in found] == ["1", "2", "3", "4"]
    assert str(found[2]["inputs"]).startswith(f"{path}: row 3: the key 'text' occurs twice")
    found, _ = requests(written(path, '[{"text": "one"},\n{"text": "a", "text": "b"},\n\n{"text": "four"}]'))
    assert [one["id"] for one in found] == ["1", "2", "4"]
    assert f"{path}:2: " in str(found[1]["inputs"])


@pytest.mark.parametrize("task", ["tagging", "classifying", "pairing"])
def test_a_task_takes_what_it_says_that_requests_have(task: str) -> None:
    made: Task = tiny.classifying(pair=True) if task == "pairing" else getattr(tiny, task)()
    for columns in made.request_columns():
        inputs = {name: ["A", "text"] if name == "tokens" else f"A {name}." for name in columns}
        assert set(columns) <= set(made.from_request(inputs, "1").inputs)


def test_predict_and_explain_take_the_table_that_was_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"opinion": f"a {word} film", "mark": word} for word in ("good", "bad") for _ in range(6)]
    path = tmp_path / "train.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, ["opinion", "mark"])
        table.writeheader()
        table.writerows(rows)
    run = tmp_path / "run"
    train = ["train", "--task", "classification", "--method", "tfidf", "--train_file", str(path)]
    train += ["--text_column_name", "opinion", "--label_column_name", "mark"]
    assert main([*train, "--output_dir", str(run)]) == 0
    capsys.readouterr()
    assert main(["predict", str(run / "artifact"), "--input", str(path)]) == 0
    found = capsys.readouterr()
    labels = [json.loads(line)["output"]["label"] for line in found.out.splitlines()]
    assert labels == [one["label"] for one in adapters.load(run)([row["opinion"] for row in rows])]
    assert "train.csv: read text from 'opinion'; not read: mark" in found.err
    assert main(["predict", str(run / "artifact"), "--input", str(path), "--output", str(tmp_path / "a.csv")]) == 2
    assert "answers are written as JSON lines. Name it .jsonl." in capsys.readouterr().err
    assert main(["predict", str(run / "artifact"), "a good film", ""]) == 1
    found = capsys.readouterr()
    assert json.loads(found.out)["label"] == "good" and "none of them empty" in found.err
    assert main(["explain", str(run / "artifact"), "--input", str(path), "--json"]) == 0
    targets = [json.loads(line)["target"] for line in capsys.readouterr().out.splitlines()]
    assert targets == labels
    (tmp_path / "latin.txt").write_bytes(b"a good film\n\na caf\xe9\n")
    assert main(["explain", str(run / "artifact"), "--input", str(tmp_path / "latin.txt"), "--json"]) == 2
    assert "latin.txt:3: byte 0xe9 is not utf-8" in capsys.readouterr().err
    latin = ["--input", str(tmp_path / "latin.txt"), "--encoding"]
    assert main(["explain", str(run / "artifact"), *latin, "latin-1", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["predict", str(run / "artifact"), *latin, "latin-99"]) == 2
    assert "latin-99" in capsys.readouterr().err
