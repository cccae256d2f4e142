"""Runs of methods without a base model: what they write, and who takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

import adapters
from adapters.artifacts.combining import Adapters
from adapters.artifacts.merging import merge
from adapters.cli.main import main
from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.experiments.comparison.comparison import Comparison

TEXTS = [{"text": f"a {word} film {n}", "label": label} for n in range(12)
         for word, label in (("bad", "rotten"), ("poor", "rotten"), ("good", "fresh"), ("grand", "fresh"))]  # fmt: skip
NOWHERE: dict[str, Any] = {"model": "no/such-base", "mixed_precision": "fp16", "load_in_8bit": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> adapters.RunResult:
    folder = tmp_path_factory.mktemp("without") / "run"
    made = adapters.train(
        task="classification", method="tfidf", train=TEXTS[:36], test=TEXTS[36:], output_dir=folder, **NOWHERE
    )
    assert made is not None
    return made


def test_a_run_opens_no_base_and_records_what_any_run_does(run):
    record, cost = run.record, run.record["cost"]
    assert record["base"] == "" and record["seeded"] is False and record["precision"] == "no"
    assert run.score == 1.0 and cost["trainable_params"] == cost["total_params"] > 10
    assert cost["train_seconds"] > 0 and cost["latency_ms"]["p50"] > 0 and cost["artifact_bytes"] > 1000
    assert "tfidf for classification: " in repr(run) and "tfidf for classification:\n" in run.report
    card = json.loads((run.artifact / "card.json").read_text())
    assert card["base"] is None and "base_model" not in (run.artifact / "README.md").read_text()
    assert run._repr_html_().count("<table>") >= 1 and run.curve is None


def test_its_artifact_is_loaded_inspected_and_asked_without_a_base(run, capsys):
    loaded = adapters.load(run.folder)
    assert [one["label"] for one in loaded(["a good one", "so poor"])] == ["fresh", "rotten"]
    assert main(["inspect", str(run.artifact)]) == 0
    assert "tfidf for classification without a base model" in capsys.readouterr().out
    assert main(["inspect", str(run.artifact), "--base", "minilm"]) == 2
    assert "tfidf has no base model" in capsys.readouterr().err
    assert main(["predict", str(run.artifact), "a grand film", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"]["label"] == "fresh"
    with pytest.raises(SettingsError, match="has no base model"):
        adapters.load(run.folder, base="minilm")


def test_a_bank_answers_with_it_alone_beside_others(run, tiny_bert, tmp_path):
    bank = adapters.AdapterBank(str(tiny_bert))
    folder = tiny.adapter(tmp_path / "lora", "lora", bank.base, tiny.classifying())
    assert bank.load("mood", folder)["mixed"] is True
    loaded = bank.load("rival", run.artifact)
    assert (loaded["mixed"], loaded["method"], loaded["base"]) == (False, "tfidf", "")
    texts = ["a good one", "so poor"]
    asked = [adapters.Request(name, text) for text in texts for name in ("rival", "mood")]
    observed: list[Any] = []
    answers = bank.predict(asked, observed=observed)
    assert [one["output"] for one in answers[::2]] == adapters.load(run.folder)(texts)
    assert [one["output"] for one in answers[1::2]] == adapters.load(folder, base=str(tiny_bert))(texts)
    assert sorted(one.name for one, _ in observed) == ["mood", "mood", "rival", "rival"]
    with pytest.raises(ModelError, match="rival answers alone"):
        bank.embed(texts, "rival")
    version, why = bank.explain(adapters.Request("rival", "a good one"))
    assert version == 1 and why.complete and why.model == "tfidf"


def test_a_merge_refuses_it_and_says_what_to_do(run, tmp_path):
    with pytest.raises(ModelError, match="tfidf has no base model that it could be merged into"):
        merge(run.artifact, tmp_path / "merged")
    with pytest.raises((ModelError, ArtifactError), match="tfidf"):
        Adapters([run.artifact, run.artifact])


def test_a_trial_and_a_dry_run_leave_no_artifact(tmp_path, capsys):
    given: dict[str, Any] = {"task": "classification", "train": TEXTS, **NOWHERE}
    made = adapters.train(method="majority", trial=True, output_dir=tmp_path / "trial", **given)
    assert made is not None and made.record["dataset"]["split"] == "dev" and not made.artifact.exists()
    assert made.record["cost"]["trainable_params"] == 1
    assert adapters.train(method="tfidf", dry_run=True, output_dir=tmp_path / "dry", **given) is None
    printed = capsys.readouterr().out
    assert "tfidf without a base model" in printed and "training about" in printed
    assert not (tmp_path / "dry" / "scores.json").exists()


def test_a_comparison_of_them_alone_has_one_family_and_no_base(tmp_path, runs_in_process, capsys):
    result = adapters.compare(task="classification", methods=["majority", "tfidf"], train=TEXTS[:36], test=TEXTS[36:],
                              output_dir=tmp_path / "out", seeds=2, tuning_trials=0)  # fmt: skip
    assert result is not None
    assert [(row["method"], row["base"], row["seeds"]) for row in result.rows] == [("majority", "", [0]),
                                                                                   ("tfidf", "", [0])]  # fmt: skip
    assert result.verdict[0].startswith("tfidf (100.0) scores highest") and "On " not in result.verdict[0]
    (test,) = result.record["tests"]
    assert test["base"] == "" and test["rows"] == [0, 1]
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "| tfidf | – |" in text and "majority − tfidf (no base)" in text
    assert sorted(path.name.rpartition("-")[0] for path in (tmp_path / "out" / "runs").iterdir() if path.is_dir()) == [
        "majority-seed0",
        "tfidf-seed0",
    ]


def test_only_methods_that_nobody_named_are_left_out(tiny_bert: Path, tmp_path: Path, capsys) -> None:
    rows = [{"text": f"word {n} of a text", "score": float(n % 5)} for n in range(30)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--train_file", str(tmp_path / "train.jsonl"), "--model_name_or_path", str(tiny_bert)]
    flags += ["--tuning_trials", "0"]
    comparison = Comparison(None, task="regression", defaults={"output_dir": str(tmp_path / "out")}, argv=flags)
    comparison.check()
    assert list(dict.fromkeys(run.method for run in comparison.runs)) == ["majority", "tfidf", "full", "head", "lora",
                                                                         "prefix"]  # fmt: skip
    assert {run.base for run in comparison.runs if run.method == "tfidf"} == {""}
    said = capsys.readouterr().err
    assert all(f"left out: {name}: " in said for name in ("crf", "zero_shot", "few_shot"))
    named = Comparison(None, task="regression", defaults={"output_dir": "x"}, argv=[*flags, "--methods", "tfidf,crf"])
    with pytest.raises(ModelError, match="crf learns answers that are tags of words"):
        named.check()
