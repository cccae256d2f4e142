"""The same methods over several data sets: what the records say together, and the command, run whole at tiny size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import build_comparison_folder, ended_runs
from scipy import stats

from adapters.cli.main import main
from adapters.core.errors import SettingsError
from adapters.core.holm import holm
from adapters.experiments.comparison import across_page
from adapters.experiments.comparison.across_summary import DataSet, summarise
from adapters.experiments.data_set_file import flags_of_file

METHODS = ("lora", "full", "head")


def row(method: str, value: float, **other: Any) -> dict[str, Any]:
    made = {"base": "owner/base", "size": "", "low": value - 0.02, "high": value + 0.02, "seeds": [0, 1]}
    return {"method": method, "value": value, "incomplete": False, **made, **other}


def data_set(number: int, rows: Sequence[Mapping[str, Any]], **other: Any) -> DataSet:
    data = {"name": f"/data/set{number}.csv", "revision": None, "split": "test", "n": 100, "digest": f"d{number}"}
    about = {"task": "classification", "metric": "accuracy", "score": "accuracy", "title": "Accuracy"}
    record = {"dataset": data | other, "rows": rows, **about}
    return DataSet(name=f"set{number}", folder=Path(f"runs/set{number}"), record=record)


def sets_of(scores: np.ndarray) -> list[DataSet]:
    return [
        data_set(number, [row(name, float(value)) for name, value in zip(METHODS, values, strict=False)])
        for number, values in enumerate(scores)
    ]


def scores(sets: int, *, seed: int = 0) -> np.ndarray:
    """LoRA above full above head, with noise."""
    return np.random.default_rng(seed).normal([0.8, 0.7, 0.6], 0.03, (sets, 3))


def test_below_six_data_sets_there_are_ranks_alone_and_it_is_said_why() -> None:
    summary = summarise(sets_of(np.array([[0.9, 0.8, 0.7], [0.8, 0.8, 0.5], [0.6, 0.7, 0.5]])))
    assert [(one["name"], one["average_rank"]) for one in summary["methods"]] == [
        ("lora (base)", 1.5), ("full (base)", 1.5), ("head (base)", 3.0),
    ]  # fmt: skip
    assert (summary["friedman"], summary["pairs"], summary["critical_difference"]) == (None, [], None)
    assert summary["verdict"][0] == (
        "Over 3 data sets, lora (base) and full (base) have the best average rank: 1.50, of 3 methods."
    )
    assert summary["verdict"][1].startswith("Nothing is tested: there are 3 data sets, and of fewer than 6")
    assert "critical difference" not in across_page.picture(summary)


def test_from_six_data_sets_on_the_tests_are_scipys() -> None:
    values = scores(9)
    summary = summarise(sets_of(values))
    expected = stats.friedmanchisquare(*values.T)
    assert summary["friedman"]["chi2"] == pytest.approx(expected.statistic)
    tests = [stats.wilcoxon(values[:, i], values[:, j], method="exact").pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [pair["p"] for pair in summary["pairs"]] == pytest.approx(tests)
    assert [pair["p_holm"] for pair in summary["pairs"]] == pytest.approx(holm(tests))
    assert all(pair["differs"] for pair in summary["pairs"])
    shown = " ".join(summary["verdict"])
    assert "Significant (signed ranks, Holm-adjusted over 3 pairs): lora (base) above full (base)" in shown
    picture = across_page.picture(summary)
    assert "lora (base)" in picture and f"critical difference {summary['critical_difference']:.2f}" in picture
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_a_pair_is_not_called_different_where_friedmans_test_finds_nothing_or_nothing_could_be_found() -> None:
    equal = summarise(sets_of(np.random.default_rng(5).normal(0.7, 0.05, (8, 3))))
    assert equal["friedman"]["p_f"] >= 0.05 and not any(pair["differs"] for pair in equal["pairs"])
    assert "do not differ significantly" in equal["verdict"][1] and "no pair is called different" in equal["verdict"][1]
    six = summarise(sets_of(scores(6)))
    assert six["friedman"]["p_f"] < 0.05 and not any(pair["differs"] for pair in six["pairs"])
    assert "with fewer than 7 data sets none can" in six["verdict"][2]
    two = summarise(sets_of(scores(6)[:, :2]))
    assert two["friedman"] is None and two["pairs"][0]["differs"]


def test_what_is_missing_or_incomplete_anywhere_has_no_rank_and_is_named() -> None:
    sets = sets_of(scores(3))
    sets[0] = data_set(0, [*sets[0].record["rows"][:2], row("tfidf", 0.99, base="")])
    sets[1] = data_set(1, [*sets[1].record["rows"][1:], row("lora", 0.99, incomplete=True)])
    summary = summarise(sets)
    assert summary["left_out"] == [
        {"name": "lora (base)", "why": "incomplete on set1"},
        {"name": "tfidf", "why": "missing on set1 and set2"},
        {"name": "head (base)", "why": "missing on set0"},
    ]
    assert summary["methods"] == [] and "Fewer than two methods are complete" in summary["verdict"][0]
    assert "Not ranked: tfidf, missing on set1 and set2." in summary["verdict"]
    assert across_page.picture(summary) == ""
    page = across_page.page(summary, [("x", "no <data>")], Path("out"), {})
    assert "1 comparison failed" in page and "no &lt;data&gt;" in page and 'href="../runs/set0/comparison.html"' in page
    assert "| lora | base | 99.0 | 97.0–101.0 | 2 (incomplete) | – |" in across_page.markdown(summary, [])


def test_a_data_set_of_few_documents_has_no_intervals() -> None:
    summary = summarise([data_set(n, [row("lora", 0.7, low=None, high=None), row("tfidf", 0.6)]) for n in range(2)])
    assert "| lora | base | 70.0 | – | 2 | 1 |" in across_page.markdown(summary, [])


def test_bases_of_the_same_last_name_are_told_apart_and_rows_of_two_bases_warned_of() -> None:
    rows = [row("lora", 0.7, base="a/base"), row("lora", 0.8, base="b/base")]
    summary = summarise([data_set(n, rows) for n in range(2)])
    assert [one["name"] for one in summary["methods"]] == ["lora (b/base)", "lora (a/base)"]
    assert any("no method is credited" in line for line in summary["verdict"])


def test_data_sets_that_share_their_examples_are_not_tested() -> None:
    sets = sets_of(scores(7))
    sets[6] = data_set(6, sets[6].record["rows"], digest="d0")
    summary = summarise(sets)
    assert "set0 and set6 score the same examples" in summary["untested"] and not summary["pairs"]


def test_a_file_of_settings_is_read_with_paths_from_its_folder_and_flags_replace_it(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    text = """
        task = "ner"
        train_file = "train.conll"
        model_name_or_path = "bert"
        prompt_model_name_or_path = "smollm2"
        methods = ["head", "full"]
        output_dir = "elsewhere"
        seeds = 2
        multi_label = false
    """
    (tmp_path / "a.toml").write_text(text)
    found = flags_of_file(tmp_path / "a.toml", {"methods", "seeds", "output_dir"})
    assert found == [
        "--task", "ner", "--train_file", str(tmp_path / "train.conll"), "--model_name_or_path", str(tmp_path / "bert"),
        "--prompt_model_name_or_path", "smollm2", "--multi_label", "False",
    ]  # fmt: skip
    (tmp_path / "b.toml").write_text("[data]\ntask = 'ner'\n")
    with pytest.raises(SettingsError, match=r"b.toml: data: must be a value or a list"):
        flags_of_file(tmp_path / "b.toml", ())


Compare = Callable[..., int]


@pytest.fixture
def compare(tmp_path: Path, runs_in_process: None) -> Compare:
    """`taskswap compare --tasks …` on two tiny data sets, `one.toml` and `two.toml`, in tmp_path."""
    build_comparison_folder(tmp_path)
    for name, more in (("one", ""), ("two", "max_predict_samples = 8\n")):
        (tmp_path / f"{name}.toml").write_text(
            f'task = "ner"\ndataset_name = "data"\nmodel_name_or_path = "bert"\n{more}'
        )

    def run(*words: str) -> int:
        named = [str(tmp_path / word) if word.endswith(".toml") or word.startswith("out") else word for word in words]
        return main(["compare", "--tasks", *named])

    return run


COMMON = (
    "--seeds",
    "1",
    "--tuning_trials",
    "0",
    "--max_train_steps",
    "2",
    "--mixed_precision",
    "no",
    "--output_dir",
    "out",
)


@pytest.mark.slow
def test_the_command_compares_each_data_set_and_ranks_and_goes_on_where_it_was(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare("one.toml", "two.toml", "--methods", "head,bitfit", *COMMON) == 0
    shown = capsys.readouterr().out
    kept = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert [one["name"] for one in kept["data_sets"]] == ["one", "two"]
    assert {one["name"] for one in kept["methods"]} == {"head (bert)", "bitfit (bert)"}
    assert sum(one["average_rank"] for one in kept["methods"]) == 3
    assert "Nothing is tested: there are 2 data sets" in " ".join(shown.split())
    out = tmp_path / "out"
    assert (out / "tasks.svg").read_text().startswith("<svg") and "bitfit (bert)" in (out / "tasks.md").read_text()
    assert 'href="one/comparison.html"' in (out / "tasks.html").read_text()
    before = ended_runs(out / "one") | ended_runs(out / "two")
    assert compare("one.toml", "two.toml", "--methods", "head,bitfit", *COMMON) == 0
    assert ended_runs(out / "one") | ended_runs(out / "two") == before and len(before) >= 3
    capsys.readouterr()

    assert compare("out/one", "out/two") == 0
    assert kept["verdict"][0] in " ".join(capsys.readouterr().out.split())
    assert compare("out/one", "out/two", "--seeds", "1") == 2
    assert "--seeds: of finished comparisons only the results are read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one.toml"], "needs two data sets or more"),
        (["one.toml", "one.toml"], "two have the same name"),
        (["one.toml", "none.toml"], "none.toml: cannot be read"),
        (["one.toml", "notes.txt"], "must be a .toml of settings, or the folder of a finished comparison"),
        (["one.toml", "data.toml", "--methods", "head"], "data: --task is missing"),
        (["one.toml", "two.toml", "--methods", "lroa"], "one: No method is called 'lroa'"),
        (["one.toml", "two.toml", "--methods", "head", "--source_lang", "en"], "one: --source_lang: there is no such"),
        (["one.toml", "out"], "no finished comparison"),
    ],
)
def test_what_cannot_work_on_any_data_set_is_refused_before_anything_runs(
    words: list[str], said: str, compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.toml").write_text('dataset_name = "data"\n')
    if "out" in words:
        (tmp_path / "out").mkdir()
    assert compare(*words, *(COMMON if "out" not in words else ())) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not [*tmp_path.glob("out/**/scores.json")]


def test_a_fault_of_the_last_data_set_is_found_before_the_first_is_trained(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.toml").write_text('task = "ner"\ndataset_name = "nowhere"\nmodel_name_or_path = "bert"\n')
    assert compare("one.toml", "two.toml", "--methods", "head", *COMMON) == 2
    assert "two: " in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text("{}")
    assert compare("one.toml", "two.toml", "--methods", "head", *COMMON) == 2
    assert "holds files other than" in " ".join(capsys.readouterr().err.split())
