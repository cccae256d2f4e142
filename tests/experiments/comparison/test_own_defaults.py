"""Methods whose defaults differ: each keeps its own, in --help, in the runs, and when a comparison is repeated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.core.arguments import as_dict
from adapters.core.errors import SettingsError
from adapters.core.sources.resolve import base_defaults
from adapters.experiments.comparison.comparison import Comparison
from adapters.experiments.continual.continual import Continual
from adapters.experiments.run import open_run

METHODS = ("full", "lora", "head", "tfidf", "setfit")
OWN = {"full": 1e-4, "lora": 1e-3, "head": 3e-2, "tfidf": 1e-4, "setfit": 2e-5}


def comparison(*argv: str) -> Comparison:
    defaults = {"lora_r": 4, "max_train_samples": 300}
    return Comparison(None, task="classification", defaults=defaults, argv=argv)


def flags(folder: Path, *more: str) -> list[str]:
    return ["--train_file", "none.csv", "--methods", *METHODS, "--seeds", "1", "--output_dir", str(folder), *more]


def rates(made: Comparison) -> dict[str, float]:
    return {run.method: run.settings["learning_rate"] for run in made.plan()}


def test_a_comparison_that_is_repeated_from_its_settings_plans_the_same_runs(tmp_path: Path) -> None:
    before = comparison(*flags(tmp_path, "--lora_alpha", "24"))
    before.begin()
    again = comparison(str(tmp_path / "settings.json"))
    assert rates(before) == rates(again) == OWN
    assert again.plan() == before.plan()
    assert {run.settings.get("lora_r") for run in again.plan()} == {4, None}
    assert again.given >= {"lora_alpha"} > {"learning_rate"} & again.given, "what was not given stays free to search"
    again.check_folder()


def test_a_value_that_is_given_is_that_of_every_method(tmp_path: Path) -> None:
    made = comparison(*flags(tmp_path, "--learning_rate", "2e-5"))
    assert set(rates(made).values()) == {2e-5}
    made.begin()
    assert set(rates(comparison(str(tmp_path / "settings.json"))).values()) == {2e-5}


def test_a_method_has_its_own_defaults_on_a_base_unless_a_value_is_given(tmp_path: Path) -> None:
    on_e5 = {**OWN, "full": base_defaults("e5", "full")["learning_rate"]}
    assert on_e5["full"] == 2e-4
    bases = ["--model_name_or_path", "e5"]
    assert rates(comparison(*flags(tmp_path, *bases))) == on_e5
    assert set(rates(comparison(*flags(tmp_path, *bases, "--learning_rate", "0.5"))).values()) == {0.5}
    words = ["--train_file", "none.csv", "--output_dir", str(tmp_path), *bases]
    assert open_run("classification", "full", {}, words).settings.learning_rate == on_e5["full"]
    assert open_run("classification", "full", {"learning_rate": 0.5}, words).settings.learning_rate == 0.5
    last = [*words, "--model_name_or_path", "minilm"]
    assert open_run("classification", "full", {}, last).settings.learning_rate == OWN["full"]
    recipe = {"model_name_or_path": "e5"}
    assert open_run("classification", "full", recipe, words[:-2]).settings.learning_rate == on_e5["full"]


def test_a_value_that_is_changed_in_the_file_is_given_and_none_is_each_methods_own(tmp_path: Path) -> None:
    comparison(*flags(tmp_path, "--full", "--learning_rate", "none")).begin()
    path = tmp_path / "settings.json"
    again = comparison(str(path))
    assert rates(again) == OWN and not {"learning_rate", "lora_r"} & again.given
    assert again.settings.full and again.defaults == {"lora_r": 4, "min_train_steps": 200}
    path.write_text(path.read_text().replace('"learning_rate": null', '"learning_rate": 0.005'))
    changed = comparison(str(path))
    assert set(rates(changed).values()) == {0.005} and "learning_rate" in changed.given


def test_a_value_that_was_not_given_before_makes_another_comparison(tmp_path: Path) -> None:
    comparison(*flags(tmp_path)).begin()
    with pytest.raises(SettingsError, match=r"given \(there \[.*\], now \[.*'lora_dropout'"):
        comparison(*flags(tmp_path, "--lora_dropout", "0.0")).check_folder()


def test_help_names_the_default_of_each_method_unless_the_recipe_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Comparison("Compare.", task="classification", defaults={"num_train_epochs": 5.0}, argv=["--help"])
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "--learning_rate FLOAT Peak learning rate. Default: each method's own: " in shown
    assert "0.0001 (full)" in shown and "2e-05 (setfit)" in shown and "lora, rslora)" in shown
    assert "--num_train_epochs FLOAT Number of training epochs. (default: 5.0)" in shown


def test_a_sequence_of_tasks_is_repeated_from_its_settings(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.toml").write_text('task = "classification"\ntrain_file = "none.csv"\n')
    tasks = [str(tmp_path / f"{name}.toml") for name in "ab"]
    argv = ["--tasks", *tasks, "--methods", "full", "lora", "--output_dir", str(tmp_path / "out")]
    before = Continual(None, task="", defaults={}, argv=argv)
    before.begin()
    again = Continual(None, task="", defaults={}, argv=[str(tmp_path / "out" / "settings.json")])
    assert as_dict(again.settings) == as_dict(before.settings) and again.settings.learning_rate is None
    assert again.given - again.growing == before.given - before.growing
    again.check_folder()


def test_lora_trains_at_twice_the_rate_where_the_loss_is_over_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--train_file", "none.csv", "--output_dir", str(tmp_path)]
    wanted = {"ner": 2e-3, "text_generation": 2e-3, "summarization": 2e-3, "classification": 1e-3, "regression": 1e-3}
    wanted |= {"question_answering": 1e-3, "relation_extraction": 1e-3}
    for method in ("lora", "dora", "rslora"):
        found = {task: open_run(task, method, {}, words).settings.learning_rate for task in wanted}
        assert found == wanted
    assert open_run("ner", "lora", {}, [*words, "--learning_rate", "0.5"]).settings.learning_rate == 0.5
    assert open_run("ner", "full", {}, words).settings.learning_rate == OWN["full"]
    with pytest.raises(SystemExit):
        open_run("ner", "lora", {}, ["--help"])
    assert "0.002" in capsys.readouterr().out
    words += ["--methods", "lora", "--seeds", "1"]
    assert set(rates(Comparison(None, task="ner", defaults={}, argv=words)).values()) == {2e-3}
