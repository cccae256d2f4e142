"""Scores are of the data that were scored, not of those that were learned from."""

from __future__ import annotations

import json
from pathlib import Path

import adapters
from adapters.experiments.run_state import RunData


def reviews(path: Path, count: int) -> str:
    lines = [f"a {'good' if n % 2 else 'bad'} film {n},{'positive' if n % 2 else 'negative'}" for n in range(count)]
    path.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_scores_name_the_file_that_was_scored(tmp_path, capsys):
    train, test = reviews(tmp_path / "mine.csv", 40), reviews(tmp_path / "other.csv", 12)
    made = adapters.train(task="classification", method="tfidf", train=train, test=test, output_dir=tmp_path / "run")
    assert made is not None and made.record["dataset"]["name"] == test and made.record["dataset"]["train"] == train
    said = capsys.readouterr().err
    assert f"data: {train}: 36 train, 4 validation; {test}: 12 test; 2 labels" in said
    assert f"{test}test" in "".join((tmp_path / "run/report.txt").read_text().split())  # whose lines are wrapped
    assert f"{test} test" in repr(made)
    card = json.loads((made.artifact / "card.json").read_text())
    assert card["scores"]["dataset"] == test
    readme = (made.artifact / "README.md").read_text()
    assert f"Made with taskswap from {train}" in readme and f"| {test} | test | 12 |" in readme


def test_a_split_that_was_cut_is_of_the_file_it_was_cut_from(tmp_path):
    train = reviews(tmp_path / "mine.csv", 60)
    made = adapters.train(task="classification", method="tfidf", train=train, output_dir=tmp_path / "run")
    assert made is not None and made.record["dataset"]["name"] == train


def test_the_sizes_of_splits_stand_by_their_sources():
    splits = {"train": range(3000), "validation": range(20), "test": range(7)}
    data = RunData(name="conll2003", revision=None, splits=splits, files={"test": "t.csv"})
    assert data.in_words() == "conll2003: 3,000 train, 20 validation; t.csv: 7 test"


def test_data_that_nobody_chose_are_said_to_be_the_default(tmp_path, capsys):
    short = {"max_train_samples": 50, "max_predict_samples": 20}
    adapters.train(task="ner", method="majority", output_dir=tmp_path / "a", **short)
    assert "(the default data; for your own: --train_file, --test_file)" in capsys.readouterr().err
