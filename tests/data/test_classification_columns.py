"""Which columns are texts, pairs and labels: by usual names, by the user, or in a table of two columns by contents."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError, Faults
from adapters.data.annotation_tools import choices_as_labels
from adapters.data.classification_columns import LABELS, PAIRS, TEXTS, find_classification_columns
from adapters.data.classification_splits import find_columns
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file
from adapters.tasks.text_generation import Task as TextGeneration

ROWS = [
    ("the lamp arrived broken", "spam"),
    ("works as described, would buy again", "ham"),
    ("fine for the price", "ham"),
    ("the strap tore on day two", "spam"),
]


def roles_of(folder: Path, rows: list[dict[str, Any]], given: dict[str, Any] | None = None) -> ColumnRoles:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ColumnRoles(open_file(path), given or {})


def columns_of(folder: Path, *names: str) -> tuple[Any, ...]:
    chosen = find_classification_columns(roles_of(folder, [dict.fromkeys(names, "x")]))
    return (chosen.text, chosen.pair, *chosen.labels)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_usual_pairs_are_pairs_in_any_order_and_case(tmp_path: Path, pair: tuple[str, str]) -> None:
    first, second = pair
    assert columns_of(tmp_path, "label", second, first) == (first, second, "label")
    assert columns_of(tmp_path, first.upper(), "idx", second.title(), "label")[:2] == (first.upper(), second.title())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("index", "question", "sentence", "label"), ("question", "sentence", "label")),  # QNLI
        (("Class Index", "Title", "Description"), ("Description", None, "Class Index")),  # AG News
        (("id", "comment_text", "Label"), ("comment_text", None, "Label")),
        (("sentence1", "sentence2", "gold_label", "genre"), ("sentence1", "sentence2", "gold_label")),
        (("target", "sentiment", "text"), ("text", None, "sentiment")),
        (("target", "tweet", "stance"), ("tweet", None, "stance")),
        (("headline", "Category"), ("headline", None, "Category")),
        (("stars", "business", "text"), ("text", None, "stars")),
        (("question", "answer", "category"), ("question", None, "category")),
        (("text", "aspect", "polarity"), ("text", None, "polarity")),
        (("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"), ("#1 String", "#2 String", "Quality")),  # MRPC
        (("genre", "sentence1", "sentence2", "score"), ("sentence1", "sentence2", "score")),  # STS-B
        (("id", "qid1", "question1", "question2", "is_duplicate"), ("question1", "question2", "is_duplicate")),  # QQP
        (("question", "passage", "idx", "label"), ("question", "passage", "label")),  # BoolQ
        (("reviewText", "overall", "summary"), ("reviewText", None, "overall")),
    ],
)
def test_columns_of_known_data_sets_are_found(tmp_path: Path, names: Any, expected: Any) -> None:
    assert columns_of(tmp_path, *names) == expected


def test_the_other_likely_columns_are_said(tmp_path: Path) -> None:
    roles = roles_of(tmp_path, [dict.fromkeys(("title", "description", "label", "category", "aspect"), "x")])
    find_classification_columns(roles)
    said = " | ".join(roles.record()["notes"])
    assert "text is read from description" in said and "could also be title" in said
    assert "label is read from label" in said and "could also be category" in said
    assert "aspect is not read; if it belongs to the text: --text_pair_column_name aspect" in said


@pytest.mark.parametrize("order", [("v1", "v2"), ("v2", "v1")])
@pytest.mark.parametrize("extra", [{}, {"id": 7}, {"Unnamed: 0": 3, "empty": ""}])
def test_in_a_table_of_two_columns_contents_tell_label_and_text(tmp_path: Path, order: Any, extra: Any) -> None:
    rows = [{**extra, order[0]: label, order[1]: text} for text, label in ROWS]
    roles = roles_of(tmp_path, rows)
    chosen = find_classification_columns(roles)
    assert (chosen.text, chosen.labels) == (order[1], (order[0],))
    assert f"by their contents, {order[1]} is read as the text and {order[0]} as the label" in " ".join(roles.notes)


def test_contents_find_the_one_column_that_names_leave_open(tmp_path: Path) -> None:
    chosen = find_classification_columns(roles_of(tmp_path, [{"text": text, "mood": label} for text, label in ROWS]))
    assert chosen.labels == ("mood",)
    chosen = find_classification_columns(roles_of(tmp_path, [{"memo": text, "label": label} for text, label in ROWS]))
    assert chosen.text == "memo"


@pytest.mark.parametrize(
    "rows",
    [
        [{"v1": label, "v2": text, "v3": text[::-1]} for text, label in ROWS],  # three columns
        [{"v1": text, "v2": text[::-1]} for text, _ in ROWS],  # two of texts
        [{"v1": label, "v2": label} for _, label in ROWS],  # two of labels
        [{"v1": label, "v2": "short"} for _, label in ROWS],  # the text does not differ
        [{"v1": number / 3, "v2": text} for number, (text, _) in enumerate(ROWS)],  # scores
        [{"v1": "spam", "v2": text} for text, _ in ROWS],  # one label
        [{"v1": label, "v2": text} for text, label in ROWS[:2]],  # no label repeats
        [{"v1": label, "v2": f"id{number}{number * 7919:012}"} for number, (_, label) in enumerate(ROWS)],  # ids
        [{"only": text} for text, _ in ROWS],
        [{"sentence1": text, "sentence2": label} for text, label in ROWS],  # a pair
    ],
)
def test_contents_that_do_not_tell_are_refused_with_the_columns_and_the_flag(tmp_path: Path, rows: Any) -> None:
    with pytest.raises(DataError, match=rf"Columns found: {', '.join(rows[0])}.*--(text|label)_column_name"):
        find_classification_columns(roles_of(tmp_path, rows))


def test_columns_of_0_and_1_are_named_in_the_advice(tmp_path: Path) -> None:
    rows = [{"comment_text": text, "toxic": "1", "threat": "0", "n": 5} for text, _ in ROWS]
    with pytest.raises(DataError, match=r"toxic, threat contain only 0 and 1.*--label_column_name toxic,threat"):
        find_classification_columns(roles_of(tmp_path, rows))


def test_label_columns_that_disagree_are_said(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 0, "label_text": "bad"}, {"text": "b", "label": 1, "label_text": "good"}]
    roles = roles_of(tmp_path, rows)
    find_classification_columns(roles)
    assert not any("disagree" in note for note in roles.notes)
    roles = roles_of(tmp_path, [*rows, {"text": "c", "label": 0, "label_text": "good"}])
    find_classification_columns(roles)
    assert "label and label_text disagree: '0' is both 'bad' and 'good' in label_text" in " ".join(roles.notes)


def test_other_splits_are_read_as_train_is(tmp_path: Path) -> None:
    train = tmp_path / "train.csv"
    test = tmp_path / "test.csv"
    train.write_text("v1,v2\n" + "".join(f'{label},"{text}"\n' for text, label in ROWS))
    test.write_text("v2,v1\nwhat is it,spam\n")
    named = dict.fromkeys(("text", "text_pair", "label"))
    _, columns, hidden = find_columns({"train": open_file(train), "test": open_file(test)}, named, "train")
    assert columns["test"] == columns["train"] and hidden == []


def test_a_split_without_the_second_text_of_pairs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("premise,hypothesis,label\na,b,c\n")
    (tmp_path / "dev.csv").write_text("premise,label\na,c\n")
    sources = {"train": open_file(tmp_path / "train.csv"), "validation": open_file(tmp_path / "dev.csv")}
    with pytest.raises(DataError, match=r"dev\.csv: no column 'hypothesis' as in train"):
        find_columns(sources, dict.fromkeys(("text", "text_pair", "label")), "train")


@given(
    text=st.sampled_from(TEXTS),
    label=st.sampled_from(LABELS[:10]),
    others=st.lists(st.sampled_from(("idx", "source_url", "date", "n_words", "user")), unique=True),
    shuffled=st.randoms(use_true_random=False),
    change=st.sampled_from((str, str.upper, str.title, lambda name: name.replace("_", " "))),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shuffled_and_renamed_columns_are_read_right(
    tmp_path: Path, text: str, label: str, others: list[str], shuffled: Any, change: Any
) -> None:
    names = [change(text), change(label), *others]
    shuffled.shuffle(names)
    path = tmp_path / "a.tsv"
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, names, delimiter="\t")
        table.writeheader()
        for one, other in ROWS:
            table.writerow({**dict.fromkeys(others, "3"), change(text): one, change(label): other})
    chosen = find_classification_columns(ColumnRoles(open_file(path)))
    assert (chosen.text, chosen.pair, chosen.labels) == (change(text), None, (change(label),))


def test_the_words_of_prodigy_are_no_completions(tmp_path: Path) -> None:
    rows = [
        {"text": text, "label": "GOOD", "answer": "accept" if n % 2 else "reject"} for n, (text, _) in enumerate(ROWS)
    ]
    with pytest.raises(DataError, match="no column of completions"):
        TextGeneration.find_columns(roles_of(tmp_path, rows), None)


def test_each_question_of_label_studios_full_json_is_a_column(tmp_path: Path) -> None:
    def result(name: str, choice: str) -> dict[str, Any]:
        return {"type": "choices", "from_name": name, "value": {"choices": [choice]}}

    region = {**result("mood", "bad"), "value": {"choices": ["bad"], "start": 0, "end": 1, "text": "a"}}
    rows = [
        {"data": {"text": "a"}, "annotations": [{"result": [result("mood", "good"), result("topic", "film"), region]}]},
        {
            "data": {"text": "b"},
            "annotations": [
                {"was_cancelled": True, "result": [result("mood", "bad")]},
                {"result": [result("mood", "ok")]},
                {"ground_truth": True, "result": [result("mood", "bad"), {"type": "rating", "value": {"rating": 3}}]},
            ],
        },
        {"data": {"text": "c"}, "annotations": []},
        {"data": {"text": "d"}, "annotations": [{"result": [result("mood", "good"), result("mood", "bad")]}]},
    ]
    source = choices_as_labels(roles_of(tmp_path, rows).source)
    faults = Faults("x")
    values = [row.values for row in source.rows(faults)]
    assert source.columns == ["text", "mood", "topic"] and faults.count == 0
    assert values == [
        {"text": "a", "mood": ["good"], "topic": ["film"]},
        {"text": "b", "mood": ["bad"]},
        {"text": "d", "mood": ["good", "bad"]},
    ]
    assert set(faults.notes) == {
        "tasks without an annotation, or with cancelled ones alone, left out",
        "annotations left out: one of a task is read, the ground truth, else the first",
        "results of Label Studio other than choices left out",
        "choices for a part of the text left out",
    }
