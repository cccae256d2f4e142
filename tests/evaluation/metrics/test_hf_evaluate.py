"""Metrics of Hugging Face's `evaluate`: local scripts run, Hub ids only when trusted, and they decide nothing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.core.errors import SettingsError
from adapters.core.settings import CommonSettings
from adapters.evaluation.evaluate import evaluate, score_of
from adapters.evaluation.metrics.base import resampled
from adapters.evaluation.metrics.base.any_metric import AnyMetric
from adapters.evaluation.metrics.base.metric import load_metric, task_metrics
from adapters.evaluation.report import run_report
from adapters.tasks.base.example import Example, Prediction

LABELS = ("neg", "pos")
STRING, NUMBER = 'datasets.Value("string")', 'datasets.Value("int32")'
FLOAT = 'datasets.Value("float32")'
LISTS = f"datasets.Sequence({STRING})"
SHARE = "{'share': sum(a == b for a, b in zip(predictions, references)) / len(references), 'n': len(references)}"


def script(
    folder: Path,
    *,
    name: str = "mine",
    prediction: str = STRING,
    reference: str = STRING,
    more: str = "",
    result: str = SHARE,
    head: str = "",
) -> str:
    """A metric folder as `evaluate` expects it."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / f"{name}.py").write_text(f"""{head}
import datasets
import evaluate

class Mine(evaluate.Metric):
    def _info(self):
        features = datasets.Features(predictions={prediction}, references={reference}{more})
        return evaluate.MetricInfo(description="d", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {result}
""")
    return str(folder / name)


def task(answer: str = "label") -> Any:
    firsts = {"label": "accuracy", "text": "rouge", "tags": "entity_f1", "labels": "multilabel_f1", "number": "pearson"}
    return SimpleNamespace(name="made", answer=answer, metrics=(firsts[answer],), labels=SimpleNamespace(names=LABELS))


def load(name: str, answer: str = "label", *, allow_hub: bool = False) -> AnyMetric:
    """The last metric of a task with this one more."""
    return task_metrics(task(answer), [name], allow_hub=allow_hub)[-1]


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not cost the interval."""
    monkeypatch.setattr(resampled, "INTERVAL_SECONDS", math.inf)


EXAMPLES = [Example(id=str(i), inputs={"text": f"t{i}"}, gold=LABELS[i % 2], where=f"a.csv:{i + 2}") for i in range(40)]


class Fixed:
    """Predicts `pos`, but for the first example, whose answer could not be parsed."""

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        return [Prediction(value=None if example.id == "0" else "pos") for example in examples]


def test_a_local_script_scores_all_examples_and_its_interval_is_of_resamples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = task_metrics(task(), [script(tmp_path)])
    monkeypatch.setattr(resampled, "RESAMPLES", 300)
    result = evaluate(Fixed(), EXAMPLES, metrics, split="test")
    share = result.quality["evaluate:mine"]["share"]
    assert share["value"] == result.main["value"] == 0.5
    assert share["low"] == pytest.approx(result.main["low"], abs=0.03)
    assert share["high"] == pytest.approx(result.main["high"], abs=0.03)
    assert result.quality["evaluate:mine"]["n"] == {"value": 40.0, "low": 40.0, "high": 40.0}
    assert set(result.counts) == {"accuracy"}, "it has no counts"
    assert score_of(metrics[-1], EXAMPLES, result.predictions) == 0.5
    monkeypatch.setattr(resampled, "RESAMPLES", 50)
    by_file = task_metrics(task(), [f"{script(tmp_path)}/mine.py"])
    first, again, other = (evaluate(Fixed(), EXAMPLES, these, split="test") for these in (metrics, metrics, by_file))
    assert first.quality == again.quality == other.quality


def test_the_report_says_that_no_test_uses_it_and_shows_its_numbers_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampled, "RESAMPLES", 50)
    name = script(tmp_path, result="{'length': 1234.5}")
    result = evaluate(Fixed(), EXAMPLES, task_metrics(task(), [name]), split="test")
    (section,) = result.sections(result.metrics[-1])
    shown = run_report.plain(run_report._table(section))
    assert "evaluate:mine" in shown and "1,234" in shown and "low" in shown
    assert "no significance test uses it" in section.remark and "50 resamples" in section.remark
    json.dumps([section.rows, result.quality], allow_nan=False)


def test_a_slow_script_has_no_interval_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampled, "INTERVAL_SECONDS", 0.0)
    result = evaluate(Fixed(), EXAMPLES, task_metrics(task(), [script(tmp_path)]), split="test")
    assert result.quality["evaluate:mine"]["share"] == {"value": 0.5}
    assert "No interval: 1,000 resamples would take about" in result.remarks["evaluate:mine"]
    (section,) = result.sections(result.metrics[-1])
    assert section.columns == ("value",)


def test_a_script_that_fails_after_training_costs_its_scores_alone(tmp_path: Path) -> None:
    result = evaluate(Fixed(), EXAMPLES, task_metrics(task(), [script(tmp_path, result="1 / 0")]), split="test")
    assert result.main["value"] == 0.5 and result.quality["evaluate:mine"] == {}
    (section,) = result.sections(result.metrics[-1])
    assert section.rows == () and section.remark.startswith("--metrics evaluate:mine: failed: ZeroDivisionError")


def test_a_resample_that_cannot_be_scored_costs_the_interval_alone(tmp_path: Path) -> None:
    failing = "{'share': 1 / predictions.count('')}"  # a resample in three lacks the one parse failure
    result = evaluate(Fixed(), EXAMPLES, task_metrics(task(), [script(tmp_path, result=failing)]), split="test")
    assert result.quality["evaluate:mine"] == {"share": {"value": 1.0}}
    assert "No interval: some resamples cannot be scored" in result.remarks["evaluate:mine"]


@pytest.mark.parametrize(
    ("answer", "prediction", "reference", "gold", "found", "passed"),
    [
        ("label", NUMBER, NUMBER, "pos", "neg", (0, 1)),
        ("label", NUMBER, NUMBER, "pos", None, (-1, 1)),
        ("label", STRING, STRING, "pos", None, ("", "pos")),
        ("text", STRING, STRING, ["a b", "c"], "d", ("d", "a b")),
        ("text", STRING, STRING, [], "d", ("d", "")),
        ("text", STRING, LISTS, ["a b", "c"], "d", ("d", ["a b", "c"])),
        ("tags", LISTS, LISTS, ["O", "B-X"], ["O", "O"], (["O", "O"], ["O", "B-X"])),
        ("labels", LISTS, LISTS, ["neg"], None, ([], ["neg"])),
        ("number", FLOAT, FLOAT, 2.5, -1.0, (-1.0, 2.5)),
    ],
)
def test_answers_are_passed_in_the_form_that_the_script_takes(
    tmp_path: Path, answer: str, prediction: str, reference: str, gold: Any, found: Any, passed: tuple[Any, Any]
) -> None:
    result = f"{{'right': float((predictions[0], references[0]) == {passed!r})}}"
    name = script(tmp_path, prediction=prediction, reference=reference, result=result)
    assert load(name, answer).score_all([gold], [found]) == {"right": 1.0}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"prediction": LISTS, "reference": LISTS}, "takes predictions and references of lists of strings and lists"),
        ({"prediction": 'datasets.Value("float32")'}, "of floats and strings; the answers of this task (label) are"),
        ({"more": f", sources={STRING}"}, "takes predictions, references, sources; only metrics of predictions and"),
    ],
)
def test_a_script_of_other_inputs_is_refused(tmp_path: Path, form: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        load(script(tmp_path, **form))


@pytest.mark.parametrize("name", ["evaluate:exact_match", "someone/their_metric"])
def test_a_script_of_the_hub_runs_only_when_it_is_trusted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def loading(path: str, **named: Any) -> Any:
        loaded.append(path)
        raise ConnectionError("no network here")

    monkeypatch.setattr("evaluate.load", loading)
    with pytest.raises(SettingsError, match=r"script from the Hub, which would run .* Add --trust_remote_code"):
        load(name)
    assert not loaded and CommonSettings().trust_remote_code is False
    with pytest.raises(SettingsError, match=r"cannot be loaded: ConnectionError: no network here"):
        load(name, allow_hub=True)
    assert loaded == [name.removeprefix("evaluate:")]


def test_a_local_script_that_downloads_code_is_refused_as_one_of_the_hub(tmp_path: Path) -> None:
    head = "import .other  # From: https://example.org/other.py"
    with pytest.raises(SettingsError, match=r"downloads code from https://example.org/other.py"):
        load(script(tmp_path, head=head))


@pytest.mark.parametrize("name", ["./absent", "absent/metric.py", "evaluate:", "a/b/c", "~/absent"])
def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"--metrics {name}: no such folder or file")):
        load(name, allow_hub=True)


def test_a_folder_without_its_script_or_with_a_faulty_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"holds no metric script. `evaluate` expects .*empty.py"):
        load(str(tmp_path / "empty"))
    (tmp_path / "empty" / "empty.py").write_text("class (")
    with pytest.raises(SettingsError, match=r"cannot be loaded: SyntaxError"):
        load(str(tmp_path / "empty"))
    with pytest.raises(SettingsError, match=r"several metrics are called evaluate:mine"):
        task_metrics(task(), [script(tmp_path), script(tmp_path) + "/mine.py"])


def test_numbers_alone_are_kept_and_the_first_stands_for_a_metric_without_its_name(tmp_path: Path) -> None:
    metric = load(script(tmp_path, result="{'table': [1], 'first': 0.25, 'text': 'a', 'second': 1}"))
    assert metric.score_all(["pos"], ["pos"]) == {"first": 0.25, "second": 1.0}
    assert score_of(metric, EXAMPLES[:1], [Prediction(value="pos")]) == 0.25
    empty = load(script(tmp_path, name="none", result="{}"))
    assert math.isnan(score_of(empty, EXAMPLES[:1], [Prediction(value="pos")]))


def test_a_changed_script_has_another_version(tmp_path: Path) -> None:
    one, same = (load(script(tmp_path / name)) for name in ("a", "b"))
    other = load(script(tmp_path / "c", result="{'share': 0.0}"))
    assert one.version == same.version != other.version
    assert load_metric("accuracy", LABELS).version == 1
