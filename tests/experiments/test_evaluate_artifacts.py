"""An artifact is scored on other data as its run scored its own, and what is written is compared like runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas
import pytest

import adapters
from adapters.cli.main import main
from adapters.core.errors import ArtifactError, ComparisonError, DataError, SettingsError
from adapters.experiments.many_runs.record import Record
from adapters.experiments.scoring import settings_class
from adapters.tasks.base import examples

GOOD, BAD = ("fine", "lovely", "great"), ("poor", "dull", "bad")


def reviews(path: Path, first: int, count: int, names: tuple[str, str] = ("text", "label")) -> str:
    rows = [f"a {GOOD[n % 3]} film {n},positive\na {BAD[n % 3]} film {n},negative" for n in range(first, first + count)]
    path.write_text("\n".join([",".join(names), *rows]) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> adapters.RunResult:
    folder = tmp_path_factory.mktemp("evaluated")
    train, test = reviews(folder / "train.csv", 0, 30), reviews(folder / "test.csv", 28, 8)
    made = adapters.train(
        task="classification", method="tfidf", train=train, test=test, output_dir=folder / "run", metrics="accuracy"
    )
    assert made is not None
    return made


def test_the_test_data_of_its_run_give_its_scores_again(run, tmp_path):
    again = adapters.evaluate(run, output_dir=tmp_path / "again")
    same = ("task", "method", "main", "labels", "label_digest", "metric_versions", "parse_failures", "seed", "overlap")
    assert {key: again.record[key] for key in same} == {key: run.record[key] for key in same}
    for key in ("name", "train", "split", "n", "digest", "sizes"):
        assert again.record["dataset"][key] == run.record["dataset"][key]
    assert again.predictions == run.predictions
    assert again.artifact == run.artifact
    assert (tmp_path / "again/report.txt").read_text() == again.report and "in train too" in again.report


def test_other_data_are_read_as_by_the_run_or_as_flags_say(run, tmp_path, capsys):
    other = reviews(tmp_path / "other.csv", 90, 5, ("review", "stars"))
    words = ["--test_file", other, "--text_column_name", "review", "--label_column_name", "stars"]
    assert main(["evaluate", str(run.folder), *words, "--output_dir", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert f"data: {other}: 10 test" in said.err and "text <- review, label <- stars" in said.err
    assert f"tfidf for classification: {other}" in said.out.replace("\n", "") and "test Accuracy: " in said.out
    record = json.loads((tmp_path / "out/scores.json").read_text())
    assert record["dataset"]["name"] == other and record["dataset"]["n"] == 10 and record["overlap"]["count"] == 0
    assert record["evaluated"]["artifact"] == str(run.artifact)


def test_evaluations_are_compared_like_runs(run, tmp_path):
    train = run.record["dataset"]["train"]
    other = adapters.train(task="classification", method="majority", train=train, output_dir=tmp_path / "majority")
    rows = [{"text": f"a {word} film", "label": label} for word in GOOD + BAD for label in ["positive"]]
    rows += [{"text": f"one {word} play", "label": "negative"} for word in BAD]
    made = [
        adapters.evaluate(one, test=given, output_dir=tmp_path / name)
        for name, one, given in (("a", run, rows), ("b", other, pandas.DataFrame(rows)))
    ]
    assert all(one.record["dataset"]["n"] == len(rows) for one in made)
    assert main(["compare", *(str(one.folder) for one in made), "--output_dir", str(tmp_path / "compared")]) == 0
    found = json.loads((tmp_path / "compared/comparison.json").read_text())
    assert {row["method"] for row in found["rows"]} == {"tfidf", "majority"} and len(found["tests"]) == 1


def test_an_artifact_without_its_run_is_scored_on_data_that_are_named(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = shutil.copytree(run.folder / "artifact", tmp_path / "alone")
    with pytest.raises(SettingsError, match=r"Give the data to score: test, or data"):
        adapters.evaluate(alone)
    made = adapters.evaluate(adapters.load(alone), test=reviews(tmp_path / "test.csv", 50, 4))
    assert made.folder == Path("runs/evaluate_classification") and made.score > 0.5
    assert made.record["overlap"]["count"] is None and "parameters trained" not in made.report
    assert "95 % interval" in made._repr_html_()
    with pytest.raises(ComparisonError, match="whose run is not known"):
        Record.load(made.folder)


def test_the_data_of_a_run_without_a_test_split_are_named(tmp_path):
    rows = reviews(tmp_path / "rows.csv", 60, 5)
    settings = {"task": "classification", "method": "majority", "train_file": str(rows)}
    (tmp_path / "run.json").write_text(json.dumps({**settings, "output_dir": str(tmp_path / "run")}))
    assert main(["train", str(tmp_path / "run.json")]) == 0
    with pytest.raises(SettingsError, match=r"rows\.csv: has no test split\. Give one: "):
        adapters.evaluate(tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--test_file", "typo.csv"], "'postive', 1 time: did you mean 'positive'?"),
        (["--test_file", "typo.csv", "--tag_scheme", "iob2"], "--tag_scheme: is not for classification"),
        (["--test_file", "gone.csv"], "gone.csv: no such file"),
        (["--train_file", "typo.csv"], "--train_file"),
        (["--test_file", "test.csv", "--output_dir", "."], "holds files of others"),
        (["--test_file", "test.csv", "--metrics", "blue"], "blue"),
    ],
)
def test_wrong_input_is_refused_and_writes_nothing(run, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "typo.csv").write_text("text,label\nfine,postive\nbad,negative\n")
    reviews(tmp_path / "test.csv", 3, 3)
    assert main(["evaluate", str(run.folder), *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("scores.json"))


def test_labels_that_an_artifact_lacks_are_named_in_python_too(run, tmp_path):
    with pytest.raises(DataError, match="2 labels that the artifact does not know"):
        adapters.evaluate(
            run, test=[{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], output_dir=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_no_code_is_run_that_the_folder_of_an_artifact_names(run, tmp_path):
    copy = shutil.copytree(run.folder, tmp_path / "run")
    settings = json.loads((copy / "settings.json").read_text())
    plugin = tmp_path / "mine" / "tasks" / "classification.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("raise AssertionError('run')")
    (tmp_path / "metric.py").write_text("raise AssertionError('run')")
    more = {"plugin_dir": [str(tmp_path / "mine")], "metrics": [str(tmp_path / "metric.py")], "trust_remote_code": True}
    (copy / "settings.json").write_text(json.dumps({**settings, **more}))
    made = adapters.evaluate(copy, output_dir=tmp_path / "out")
    assert made.record["overlap"]["count"] == run.record["overlap"]["count"]
    assert "metric" not in str(sorted(made.scores))


@pytest.mark.parametrize("name", ["settings.json", "scores.json"])
@pytest.mark.parametrize("content", ['{"seed": ', "[]", "\udcff"])
def test_a_damaged_file_of_its_run_is_named_with_what_to_do(run, tmp_path, capsys, name, content):
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    (copy / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArtifactError, match=rf"{name}: damaged, .* or remove it"):
        adapters.evaluate(copy, output_dir=tmp_path / "out")
    assert main(["evaluate", str(copy / "artifact"), "--output_dir", str(tmp_path / "out")]) == 2
    assert "damaged" in capsys.readouterr().err


def test_data_of_one_answer_show_false_alarms_and_are_scored(run, tmp_path):
    """Nothing could be learned from them; that an artifact is scored on them is another matter."""
    rows = [{"text": f"a {word} film", "label": "positive"} for word in GOOD]
    made = adapters.evaluate(run, test=rows, output_dir=tmp_path / "alike")
    assert made.record["dataset"]["n"] == 3 and made.record["labels"] == run.record["labels"]
    with pytest.raises(DataError, match="only the label positive occurs"):
        adapters.train(task="classification", method="tfidf", train=rows, output_dir=tmp_path / "train")


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("ner", [{"tokens": ["Ada", "wrote"], "ner_tags": ["O", "O"]}]),
        ("regression", [{"text": "a film", "label": 3.0}, {"text": "a play", "label": 3.0}]),
        ("relation_extraction", [{"text": "Ada lived in Rome .", "head": "Ada", "tail": "Rome", "relation": "in"}]),
    ],
)
def test_every_task_reads_data_of_one_answer_to_score_and_refuses_to_learn_from_them(task, rows, tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = settings_class([task])(test_file=str(path))
    _, splits, _ = examples.read_splits(task, settings, scored=True)
    assert len(splits["test"]) == len(rows)
    with pytest.raises(DataError, match=r"nothing to|every tag is O"):
        examples.read_splits(task, settings)
