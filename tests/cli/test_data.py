"""`taskswap data`: what a run would read of some data, said before any model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.cli import data, main

ROWS = [("a fine film", "good"), ("a dull film", "bad"), ("a fine film", "bad"), ("fine", "good")]


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return save(tmp_path / "r.jsonl", [{"idx": n, "content": t, "label": y} for n, (t, y) in enumerate(ROWS)])


def record(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> dict[str, Any]:
    assert main.main(["data", *map(str, argv), "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_was_understood_is_one_json_object(reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, reviews, "--task", "classification")
    assert {key: found[key] for key in ("task", "format", "columns", "unused", "splits", "labels", "faults")} == {
        "task": "classification",
        "format": "jsonl",
        "columns": {"text": ["content"], "label": ["label"]},
        "unused": ["idx"],
        "splits": {"train": 4},
        "labels": {"bad": 2, "good": 2},
        "faults": [],
    }
    assert found["first"][0] == {"inputs": {"text": "a fine film"}, "gold": "good"}
    assert len(found["first"]) == 3
    assert found["lengths"]["train"]["words"]["percentiles"] == {"5": 1, "50": 3, "95": 3, "100": 3}
    assert sum(found["lengths"]["train"]["words"]["histogram"]["counts"]) == 4


def test_equal_inputs_and_those_with_other_answers_are_said_with_their_places(
    reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = record(capsys, reviews, "--test_file", reviews, "--task", "classification")["notes"]
    assert f"train: 1 example with the inputs of an earlier one (the first: {reviews}:3 as {reviews}:1)" in notes
    assert f"4 examples of test also in train (the first: {reviews}:1 as {reviews}:1)" in notes
    assert any(note.startswith("2 examples with equal inputs but another label:") for note in notes)


def test_chinese_is_counted_by_character_and_what_looks_alike_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("屏幕很好，推荐！", "好"), ("屏幕很差", "差"), ("ＡＢ屏幕　很差", "差"), ("ab屏幕很差", "差")]
    path = save(tmp_path / "zh.jsonl", [{"text": text, "label": label} for text, label in rows])
    found = record(capsys, path, "--task", "classification")
    assert found["lengths"]["train"]["words"]["percentiles"]["100"] == 8
    said = "\n".join(found["notes"])
    assert "each character of a script without blanks is a word" in said and "(82 % of the words" in said
    assert "train: 1 text with full-width letters or digits" in said
    assert "1 example with the inputs of an earlier one but for full-width forms, upper case or white space" in said
    assert f"(the first: {path}:4 as {path}:3)" in said


def test_double_width_characters_keep_the_columns_of_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.cells import cell_len

    rows = [("一", "新闻"), ("二", "a"), ("三", "新闻联播节目"), ("四", "a")]
    path = save(tmp_path / "zh.jsonl", [{"text": text, "label": label} for text, label in rows])
    assert main.main(["data", str(path), "--task", "classification"]) == 0
    lines = capsys.readouterr().out.splitlines()
    bars = [line for line in lines if "█" in line and not line.startswith("train")]
    assert len(bars) == 3 and len({cell_len(line.partition("█")[0]) for line in bars}) == 1


def test_the_gold_of_entities_has_offsets_into_the_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada B-PER\nLovelace I-PER\nleft O\n\nOslo B-LOC\n")
    found = record(capsys, path)
    assert found["task"] == "ner" and found["labels"] == {"LOC": 1, "PER": 1}
    assert found["first"][0]["gold"] == [{"start": 0, "end": 12, "label": "PER", "text": "Ada Lovelace"}]
    assert found["first"][1]["inputs"] == {"tokens": ["Oslo"]}


def test_where_a_run_would_refuse_the_exit_code_is_2_and_what_is_sound_is_shown(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = save(tmp_path / "t.jsonl", [{"text": "x", "label": None}, {"text": "", "label": "good"}])
    found = record(capsys, reviews, "--test_file", bad, "--task", "classification", code=2)
    assert found["splits"] == {"train": 4} and found["labels"] == {"bad": 2, "good": 2}
    assert any(f"{bad}:1: column 'label'" in fault for fault in found["faults"])
    assert any(f"{bad}:2: column 'text' is empty" in fault for fault in found["faults"])
    assert main.main(["data", str(bad), "--task", "classification"]) == 2
    assert "a run would refuse this data:" in capsys.readouterr().out


def test_a_label_that_train_lacks_is_refused_as_a_run_does(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save(tmp_path / "t.jsonl", [{"text": "x", "label": "ugly"}])
    found = record(capsys, reviews, "--test_file", other, "--task", "classification", code=2)
    assert any("label 'ugly' does not occur in train" in fault for fault in found["faults"])
    assert found["splits"]["train"] == 4


@pytest.mark.parametrize("name", ["nowhere.csv", "nobody/nothing"])
def test_data_that_is_not_there_is_a_fault(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = record(capsys, name, "--task", "ner", code=2)
    assert name in " ".join(found["faults"]) and found["splits"] == {}


def test_without_a_task_the_one_that_leaves_the_fewest_columns_is_chosen_and_others_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": f"text {n}", "summary": f"s {n}", "completion": "c"} for n in range(3)]
    found = record(capsys, save(tmp_path / "a.jsonl", rows))
    assert found["task"] in ("summarization", "text_generation")
    assert any("leaves the fewest columns unread" in note for note in found["notes"])


def test_where_no_task_can_read_it_the_reason_of_each_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = record(capsys, save(tmp_path / "a.jsonl", [{"x": 1}]), code=2)
    assert "no task can read it" in found["faults"][0]
    assert any(fault.startswith("ner: no tagged sentences") for fault in found["faults"])
    assert all(len(fault.replace(str(tmp_path), "")) < 140 for fault in found["faults"])


def test_where_no_task_can_read_it_the_faults_of_the_nearest_are_shown_and_the_rest_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"text {n},{'' if n % 2 else 'ab'[n % 4 // 2]}\n" for n in range(4000)))
    assert main.main(["data", str(path)]) == 2
    shown = capsys.readouterr().out.strip().splitlines()
    assert len(shown) == 6 and "Nearest is --task classification" in shown[1]
    assert "column 'label' must be" in shown[3] and "2,000 times: also at 5, 7, 9, …" in shown[3]


def test_people_see_columns_splits_labels_notes_and_examples(reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["data", str(reviews), "--task", "classification", "--examples", "1"]) == 0
    shown = capsys.readouterr().out
    for part in ("text <- content", "not read: idx", "train", "good", "note: train: 1 example", "-> good"):
        assert part in shown
    assert "a dull film" not in shown


def test_a_data_file_in_json_is_not_taken_for_a_settings_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": t, "label": y} for t, y in ROWS]))
    assert record(capsys, path)["splits"] == {"train": 4}


def test_tokens_are_counted_with_a_base_model(
    reviews: Path, capsys: pytest.CaptureFixture[str], tiny_bert: Path
) -> None:
    from transformers import AutoTokenizer

    found = record(capsys, reviews, "--task", "classification", "--model_name_or_path", tiny_bert)
    lengths = sorted(len(ids) for ids in AutoTokenizer.from_pretrained(tiny_bert)([text for text, _ in ROWS]).input_ids)
    percentiles = found["lengths"]["train"]["tokens"]["percentiles"]
    assert (percentiles["5"], percentiles["100"]) == (lengths[0], lengths[-1])
    assert lengths[0] > 3, "more than words: letters, and special tokens"


def test_the_flags_are_those_of_every_task() -> None:
    names = set(data.settings().__dataclass_fields__)
    assert {"data", "task", "json", "train_file", "label_column_name", "multi_label", "tag_scheme"} <= names
    assert not {"learning_rate", "output_dir", "seed"} & names


def test_how_many_inputs_are_longer_than_a_run_reads_at_once_is_said_for_any_length(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_bert: Path
) -> None:
    rows = [{"document": "old town " * length, "summary": "town"} for length in (300, 10, 10, 10)]
    path = save(tmp_path / "a.jsonl", rows)
    notes = record(capsys, path, "--task", "summarization", "--model_name_or_path", tiny_bert)["notes"]
    assert any("train: 25.0 % of the inputs have more than 512 tokens (--max_length)" in note for note in notes)


def test_documents_are_counted_and_those_in_two_splits_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"text": f"{word} {n}", "label": word, "doc_id": f"d{n // 2}"} for n in range(8) for word in ("bad", "good")
    ]
    train, test = save(tmp_path / "a.jsonl", rows[:12]), save(tmp_path / "b.jsonl", rows[10:])
    found = record(capsys, train, "--test_file", test, "--task", "classification")
    assert found["documents"] == {"train": 3, "test": 2} and found["columns"]["document"] == ["doc_id"]
    assert any(note.startswith("1 document of test also in train (the first: d2)") for note in found["notes"])
    assert main.main(["data", str(train), "--task", "classification"]) == 0
    assert "documents: train 3" in capsys.readouterr().out
    tagged = tmp_path / "a.conll"
    tagged.write_text("-DOCSTART- O\n\nAda B-PER\n\nin O\nOslo B-LOC\n")
    numbered = record(capsys, tagged, "--test_file", tagged, "--task", "ner")
    assert numbered["documents"] == {"train": 1, "test": 1}, "numbers say nothing of another file"
    assert not any("1 document of" in note for note in numbered["notes"])
