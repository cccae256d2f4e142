"""A run with a metric script of Hugging Face's `evaluate`: scored beside the task's metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.evaluation.metrics.base import resampled

RunRecipe = Callable[..., int]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
SCRIPT = """
import datasets
import evaluate

class Whole(evaluate.Metric):
    def _info(self):
        tags = datasets.Sequence(datasets.Value("string"))
        features = datasets.Features(predictions=tags, references=tags)
        return evaluate.MetricInfo(description="d", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {"whole": sum(a == b for a, b in zip(predictions, references)) / len(references)}
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "whole.py").write_text(SCRIPT)
    return str(tmp_path / "whole")


def test_a_run_reports_its_scores_and_trains_by_the_tasks_own(
    run_recipe: RunRecipe, script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampled, "RESAMPLES", 50)
    assert run_recipe("head_ner", "--metrics", script, "--num_train_epochs", "1") == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    expected = sum(line["gold"] == line["prediction"] for line in lines) / len(lines)
    assert record["quality"]["evaluate:whole"]["whole"]["value"] == pytest.approx(expected)
    assert record["main"]["metric"] == "entity_f1" and "evaluate:whole" in record["metric_versions"]
    assert all(set(line["counts"]) == {"entity_f1", "token_f1"} for line in lines)
    (section,) = record["reports"]["evaluate:whole"]
    assert section["as_given"] and "no significance test uses it" in section["remark"]
    report = (tmp_path / "run" / "report.txt").read_text()
    assert "evaluate:whole" in report and "no significance test uses it" in " ".join(report.split())


def test_a_script_of_the_hub_is_refused_before_anything_is_trained(
    run_recipe: RunRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe("head_ner", "--metrics", "evaluate:exact_match") == 2
    assert "Add --trust_remote_code" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
