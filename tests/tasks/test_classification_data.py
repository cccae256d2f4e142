"""Labelled data as people have them: what is learnt of them, what is left out and said, and what is refused."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import datasets
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.core.arguments import parse
from adapters.core.discovery import load
from adapters.core.errors import DataError, SettingsError
from adapters.core.settings import CommonSettings, join
from adapters.data.dataset_files import open_splits
from adapters.tasks.base import examples

SETTINGS = join(CommonSettings, load("tasks", "classification").Settings)
WORDS = ("lamp", "arrived", "broken", "price", "lovely", "strap", "nobody", "great")


def save(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(flags: str = "", **files: Any) -> tuple[Any, dict[str, Any], list[str]]:
    """The task, its splits, and the notes, of files and flags as a user gives them."""
    given = [word for split, path in files.items() for word in (f"--{split}_file", str(path))]
    chosen = parse(SETTINGS, {"dataset_name": None}, "", [*given, *shlex.split(flags)])
    task, splits = load("tasks", "classification").Task.read_to_learn(
        open_splits(files={split: str(path) for split, path in files.items()}), chosen
    )
    return task, splits, [note for split in splits.values() for note in split.notes["reading"]["notes"]]


def texts(*labels: Any, column: str = "label") -> list[dict[str, Any]]:
    return [{"text": f"text number {i} of a few", column: label} for i, label in enumerate(labels)]


# labels that are none -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["-", "?", "n/a", "NaN", "unlabeled", "-1", "NA", "null"])
def test_a_label_that_means_none_is_refused_left_out_or_named_a_class(tmp_path: Path, odd: str) -> None:
    train = save(tmp_path / "train.jsonl", texts("good", "bad", odd, "good", "bad"))
    with pytest.raises(DataError, match=rf"train\.jsonl:3: label '{odd.replace('?', '.')}'.* none") as caught:
        read(train=train)
    assert f"--drop_label {odd}" in str(caught.value) and f"--label_names bad,good,{odd}" in str(caught.value)
    task, splits, notes = read(f"--drop_label '{odd}'", train=train)
    assert (len(splits["train"]), task.labels.names) == (4, ("bad", "good"))
    assert f"1 row labelled {odd!r}, left out by --drop_label" in notes
    task, _, _ = read(f"--label_names 'good,bad,{odd}'", train=train)
    assert task.labels.names == ("good", "bad", odd)


@pytest.mark.parametrize("labels", [(-1, 0, 1), ("-1", "1", "0"), (-1, 1)])
def test_classes_that_are_whole_numbers_may_be_negative(tmp_path: Path, labels: Any) -> None:
    task, _, notes = read(train=save(tmp_path / "a.jsonl", texts(*labels, *labels)))
    assert task.labels.names == tuple(sorted(map(str, labels), key=int)) and notes == []


def test_minus_one_next_to_the_classes_of_a_list_and_the_word_none_are_said(tmp_path: Path) -> None:
    _, _, notes = read(train=save(tmp_path / "a.jsonl", texts(0, 1, 2, -1)))
    assert any("label -1 (1 row) is read as a class" in note and "--drop_label -1" in note for note in notes)
    task, _, notes = read(train=save(tmp_path / "b.jsonl", texts("FAVOR", "AGAINST", "NONE")))
    assert len(task.labels) == 3 and any("label NONE (1 row) is read as a class" in note for note in notes)


def test_several_dropped_labels_that_begin_with_a_dash_reach_the_task(tmp_path: Path) -> None:
    train = save(tmp_path / "a.jsonl", texts("a", "b", "-", "-1", "-x", None))
    task, splits, _ = read("--drop_label -,-1 -x null", train=train)
    assert task.labels.names == ("a", "b") and len(splits["train"]) == 2


def test_a_dropped_label_that_no_row_has_is_said(tmp_path: Path) -> None:
    _, _, notes = read("--drop_label x y", train=save(tmp_path / "a.jsonl", texts("a", "b", "x")))
    assert notes == ["1 row labelled 'x', left out by --drop_label", "warning: --drop_label y: no row has this label"]


def test_spans_are_for_another_task(tmp_path: Path) -> None:
    rows = texts([[0, 4, "PER"]], [[0, 4, "PER"], [5, 7, "LOC"]], [{"start": 0, "end": 4, "label": "PER"}])
    with pytest.raises(DataError, match=r"found a list of lists or dicts.*3 times(.|\n)*--task ner"):
        read(train=save(tmp_path / "a.jsonl", rows))


# a test split without gold --------------------------------------------------------------------------------------------

HIDDEN: list[list[dict[str, Any]]] = [
    texts(-1, -1),
    texts("-1", "-1"),
    texts("", None),
    texts(None, None),
    [{"text": "a b"}, {"text": "c d"}],
    [{"idx": 1, "text": "a b"}],
    texts([], []),
]


@pytest.mark.parametrize("rows", HIDDEN)
@pytest.mark.parametrize("flags", ["", "--label_column_name label"])
def test_a_test_split_without_gold_is_left_out_and_said(tmp_path: Path, rows: Any, flags: str) -> None:
    train, test = save(tmp_path / "train.jsonl", texts("a", "b")), save(tmp_path / "test.jsonl", rows)
    task, splits, notes = read(flags, train=train, test=test)
    assert list(splits) == ["train"] and task.labels.names == ("a", "b")
    assert any("test.jsonl (test) is left out" in note and "Scores are those of dev" in note for note in notes)


def test_then_dev_is_scored(tmp_path: Path) -> None:
    train = save(tmp_path / "train.jsonl", texts(*"abab" * 20))
    test = save(tmp_path / "test.jsonl", [{"text": "a b"}])
    chosen = SETTINGS(train_file=train, test_file=test, dataset_name=None)
    _, splits, _ = examples.read_splits("classification", chosen)
    assert set(splits) == {"train", "validation"}


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("rows", HIDDEN[2:])
def test_never_for_train_or_dev(tmp_path: Path, split: str, rows: Any) -> None:
    files = {"train": save(tmp_path / "train.jsonl", texts("a", "b")), split: save(tmp_path / "x.jsonl", rows)}
    with pytest.raises(DataError, match=r"x\.jsonl"):
        read(**files)


def test_gold_that_is_hidden_in_some_test_rows_only_is_a_fault(tmp_path: Path) -> None:
    train, test = save(tmp_path / "train.jsonl", texts("a", "b")), save(tmp_path / "test.jsonl", texts("a", None))
    with pytest.raises(DataError, match=r"test\.jsonl:2: column 'label'.*found nothing"):
        read(train=train, test=test)
    assert len(read("--drop_label null", train=train, test=test)[1]["test"]) == 1


def test_a_hidden_label_of_datasets_is_hidden_here(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    for split, labels in (("train", [0, 1, 1]), ("test", [-1, -1, -1])):
        rows = {"text": ["a b", "c d", "e f"], "label": labels}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / split))
    task, splits, _ = read(train=tmp_path / "train", test=tmp_path / "test")
    assert (list(splits), task.labels.names) == (["train"], ("neg", "pos"))


# scores, ids, names that look alike -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scores", [("0.5", "5.0", "3.867"), (0.5, 5.0, 3.867), ("1", "2.5", "nan")])
def test_decimal_numbers_are_scores_for_another_task(tmp_path: Path, scores: Any) -> None:
    with pytest.raises(DataError, match="--task regression"):
        read(train=save(tmp_path / "a.jsonl", texts(*scores, column="score")))


@pytest.mark.parametrize("scores", [("0,5", "5,0", "3,867"), ("1", "2,5", "nan")])
def test_numbers_with_a_comma_are_scores_or_several_labels(tmp_path: Path, scores: Any) -> None:
    with pytest.raises(DataError, match=r"decimal point.*--task regression.*--multi_label"):
        read(train=save(tmp_path / "a.jsonl", texts(*scores, column="score")))
    assert read("--multi_label", train=save(tmp_path / "b.jsonl", texts("1,2", "2", "")))[0].labels.names == ("1", "2")


def test_whole_numbers_in_a_score_column_are_classes(tmp_path: Path) -> None:
    assert read(train=save(tmp_path / "a.jsonl", texts("1.0", "5.0", 3, column="stars")))[0].labels.names == (
        "1",
        "3",
        "5",
    )


def test_a_column_in_which_nearly_every_label_differs_is_refused_or_said(tmp_path: Path) -> None:
    many = save(tmp_path / "a.jsonl", texts(*(f"id{i}" for i in range(95)), *["x"] * 5))
    with pytest.raises(DataError, match=r"column 'label' has 96 different labels in 100 rows: it seems to contain ids"):
        read(train=many)
    _, _, notes = read(train=save(tmp_path / "b.jsonl", texts(*(f"id{i}" for i in range(30)), *["x"] * 20)))
    assert "31 different labels in 50 rows: most classes have one example" in notes
    # One example of each class is a few-shot train set, where the test split has the same labels.
    shots = [f"intent {i}" for i in range(60)]
    task, _, _ = read(
        train=save(tmp_path / "c.jsonl", texts(*shots)), test=save(tmp_path / "d.jsonl", texts(*shots[:9]))
    )
    assert len(task.labels) == 60


def test_labels_that_differ_in_case_or_blanks_alone_are_named(tmp_path: Path) -> None:
    task, _, notes = read(
        train=save(tmp_path / "a.jsonl", texts("Positive", "positive", " bad ", "very bad", "verybad"))
    )
    assert len(task.labels) == 5
    assert any("'Positive' and 'positive'" in note and "'very bad' and 'verybad'" in note for note in notes)
    assert not any("'bad'" in note for note in notes)


# class numbers, vectors, one-hot columns ------------------------------------------------------------------------------


def test_class_numbers_are_named_by_a_list_or_a_file_and_keep_their_order(tmp_path: Path) -> None:
    train = save(tmp_path / "a.jsonl", texts(1, 0, 1, 0))
    names = tmp_path / "names.json"
    names.write_text('{"0": "worse", "1": "better"}')
    for flags in ("--label_names worse,better", "--label_names worse better", f"--label_names {names}"):
        task, splits, _ = read(flags, train=train)
        assert task.labels.names == ("worse", "better") and splits["train"][0].gold == "better"
    with pytest.raises(DataError, match=r"a\.jsonl:1: column 'label': '1' is none of the 1 classes"):
        read("--label_names worse", train=train)


def test_class_numbers_from_1_are_named_with_a_name_for_0(tmp_path: Path) -> None:
    train = save(tmp_path / "a.jsonl", texts(1, 2, 1, 2))
    with pytest.raises(DataError, match="Classes are counted from 0"):
        read("--label_names World,Sports", train=train)
    task, _, notes = read("--label_names none,World,Sports", train=train)
    assert task.labels.names == ("World", "Sports")
    assert any("no row is of class 0, none: " in note for note in notes)


def test_vectors_need_names_and_are_not_the_labels_0_and_1(tmp_path: Path) -> None:
    train = save(tmp_path / "a.jsonl", texts([1.0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0], column="labels"))
    with pytest.raises(
        DataError, match=r"column 'labels' contains vectors of 0 and 1 \(\[1\.0, 0, 0\]\).*--label_names"
    ):
        read("--multi_label", train=train)
    task, splits, _ = read("--multi_label --label_names bad,good,ok", train=train)
    assert task.labels.names == ("bad", "good", "ok")
    assert [example.gold for example in splits["train"]] == [["bad"], ["good"], [], ["bad", "good"]]
    with pytest.raises(DataError, match=r"3 numbers, but --label_names has 2 names"):
        read("--multi_label --label_names bad,good", train=train)


def test_lists_of_class_numbers_are_no_vectors(tmp_path: Path) -> None:
    train = save(tmp_path / "a.jsonl", texts([0], [1, 2], [2], column="labels"))
    assert read("--multi_label --label_names bad,good,ok", train=train)[1]["train"][1].gold == ["good", "ok"]


def test_one_hot_columns_are_labels_even_without_an_example(tmp_path: Path) -> None:
    rows = [
        {"comment_text": "you fool", "toxic": "1", "threat": "0"},
        {"comment_text": "hello", "toxic": 0, "threat": 0},
    ]
    train = save(tmp_path / "a.jsonl", rows)
    flags = "--label_column_name toxic,threat --multi_label --class_weights balanced"
    task, splits, _ = read(flags, train=train)
    assert task.labels.names == ("toxic", "threat") and [e.gold for e in splits["train"]] == [["toxic"], []]
    assert splits["train"].notes["reading"]["columns"]["label"] == ["toxic", "threat"]
    with pytest.raises(DataError, match=r"a\.jsonl:2: of the columns toxic, threat none is 1"):
        read("--label_column_name toxic,threat", train=train)
    with pytest.raises(DataError, match=r"no column 'thread' \(--label_column_name\)"):
        read("--label_column_name toxic,thread", train=train)
    with pytest.raises(SettingsError, match="labels in several columns are named as these are"):
        read("--label_column_name toxic,threat --label_names a,b", train=train)


def test_a_column_whose_name_contains_commas_can_be_named(tmp_path: Path) -> None:
    rows = [{"text": "x y", "good,bad": label} for label in "abab"]
    assert read("--label_column_name good,bad", train=save(tmp_path / "a.jsonl", rows))[0].labels.names == ("a", "b")


# several labels, and the forms of tools -------------------------------------------------------------------------------


def test_another_separator_that_most_rows_have_is_said(tmp_path: Path) -> None:
    train = save(tmp_path / "a.jsonl", texts("a|b", "b|c", "a", column="labels"))
    _, _, notes = read("--multi_label", train=train)
    assert any("never contains ',', but mostly '|'" in note and "--label_separator '|'" in note for note in notes)
    task, _, notes = read("--multi_label --label_separator '|'", train=train)
    assert task.labels.names == ("a", "b", "c") and notes == []


def test_prodigys_rejected_and_ignored_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    answers = ["accept", "reject", "accept", "ignore", "reject", "accept"]
    rows = [{**row, "answer": answer} for row, answer in zip(texts(*"ababab"), answers, strict=True)]
    _, splits, notes = read(train=save(tmp_path / "a.jsonl", rows))
    assert [example.gold for example in splits["train"]] == ["a", "a", "b"]
    assert set(notes) == {"2 rows answered 'reject', left out", "1 row answered 'ignore', left out"}
    chosen = [
        {"text": f"t {i}", "accept": [label], "options": [{"id": label}], "answer": "accept"}
        for i, label in enumerate("abab")
    ]
    assert read(train=save(tmp_path / "b.jsonl", chosen))[0].labels.names == ("a", "b")
    asked = [{"question": f"q {i}", "answer": answer} for i, answer in enumerate(("accept", "reject"))]
    task, _, _ = read("--label_column_name answer", train=save(tmp_path / "c.jsonl", asked))
    assert task.labels.names == ("accept", "reject")


def test_label_studios_choices_are_read(tmp_path: Path) -> None:
    rows = [
        {"id": i, "text": f"t {i}", "sentiment": s}
        for i, s in enumerate(["a", {"choices": ["b"]}, '{"choices": ["a"]}'])
    ]
    assert [example.gold for example in read(train=save(tmp_path / "a.jsonl", rows))[1]["train"]] == ["a", "b", "a"]
    rows = [{"text": f"t {i}", "topics": s} for i, s in enumerate([{"choices": ["a", "b"]}, "a"])]
    _, splits, _ = read("--multi_label --label_column_name topics", train=save(tmp_path / "b.jsonl", rows))
    assert [example.gold for example in splits["train"]] == [["a", "b"], ["a"]]


def test_tables_of_pandas_are_read_back(tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"text": ["a b", "c d", "e f"], "label": [1.0, 2.0, 1.0], "labels": [["x"], ["x", "y"], []]}
    )
    frame.to_csv(tmp_path / "a.csv")
    task, splits, _ = read("--label_column_name label", train=tmp_path / "a.csv")
    assert task.labels.names == ("1", "2") and len(splits["train"]) == 3
    _, splits, _ = read("--label_column_name labels --multi_label", train=tmp_path / "a.csv")
    assert [example.gold for example in splits["train"]] == [["x"], ["x", "y"], []]


LABELLED = st.lists(
    st.tuples(st.lists(st.sampled_from(WORDS), min_size=2), st.sampled_from(("bad", "good", "-", "Good"))), min_size=1
)


@given(
    rows=LABELLED,
    delimiter=st.sampled_from(",;\t|"),
    names=st.sampled_from((("text", "label"), ("label", "text"), ("Content", "Type"), ("v1", "v2"), ("a", "b", "c"))),
    drop=st.booleans(),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_is_read_right_or_refused_never_with_another_number_of_examples(
    tmp_path: Path, rows: Any, delimiter: str, names: tuple[str, ...], drop: bool
) -> None:
    path = tmp_path / f"a.{'tsv' if delimiter == chr(9) else 'csv'}"
    label_first = names[0] in ("label", "v1")
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, delimiter=delimiter)
        table.writerow(names)
        for number, (words, label) in enumerate(rows):
            cells = [f"{' '.join(words)} {number}", label]
            table.writerow([*(cells[::-1] if label_first else cells), "x"][: len(names)])
    try:
        _, splits, notes = read("--drop_label -" if drop else "", train=path)
    except DataError as error:
        assert str(path) in str(error)
        return
    kept = [(words, label) for words, label in rows if label != "-" or not drop]
    assert [example.gold for example in splits["train"]] == [label for _, label in kept]
    assert [example.inputs["text"].split()[:-1] for example in splits["train"]] == [words for words, _ in kept]
    assert drop or "-" not in {label for _, label in rows}  # never a class unsaid
    assert any("left out" in note for note in notes) == (len(kept) < len(rows))


# ../shared/data/wild --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["09", "22", "23", "25", "26", "27", "29"])
def test_files_as_people_have_them_are_read_as_they_should(shared_data: Path, number: str) -> None:
    folder = shared_data / "wild"
    if not folder.is_dir():
        pytest.skip("../shared/data/wild is not there")
    (name,) = (path.name for path in folder.glob(f"{number}_*"))
    want = json.loads((folder / "want.json").read_text())[name]
    if "refuse" in want:
        with pytest.raises(DataError) as caught:
            read(want["flags"], train=folder / name)
        assert all(word in str(caught.value) for word in want["refuse"])
        return
    task, splits, _ = read(want["flags"], train=folder / name)
    assert len(splits["train"]) == want["examples"]
    assert sorted(task.labels.names) == want.get("labels", sorted(task.labels.names))
    if "columns" in want:
        columns = splits["train"].notes["reading"]["columns"]
        assert [*columns["text"], *columns["text_pair"]] == want["columns"]


def test_a_test_split_whose_label_may_have_another_name_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\n" + "a,x\nb,y\n" * 3)
    (folder / "test.csv").write_text("text,verdict\na,x\nb,y\n")
    with pytest.raises(DataError, match=r"test\.csv: no column 'label' .*Columns found: text, verdict"):
        examples.read_named("classification", (), dataset_name=str(folder))
