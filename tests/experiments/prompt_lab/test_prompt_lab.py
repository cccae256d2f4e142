"""The prompt lab: every number is that of the condition run alone, nothing is read twice, the variation is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from labs import GRID, Alone, Rows, furnished, lab, ran, share

from adapters.core.errors import SettingsError, UserError
from adapters.experiments.prompt_lab.lab import Lab
from adapters.prompting import likelihood

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, small data and two prompts with a channel."""
    folder = tmp_path_factory.mktemp("lab")
    tiny.BUILDERS[request.param](folder / "model")
    return furnished(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a Llama alone."""
    folder = tmp_path_factory.mktemp("small")
    tiny.llama(folder / "model")
    return furnished(folder)


def test_every_condition_scores_what_it_scores_when_it_is_run_alone(place: Path, tmp_path: Path) -> None:
    found = ran(place, tmp_path / "out", *GRID)
    (table,), alone = found["tables"], Alone(place)
    assert (table["split"], table["n"], len(table["rows"])) == ("test", 12, 2 * 3 * 4)
    conditions = 0
    for row in table["rows"]:
        scores = [one["score"] for one in row["conditions"]]
        assert [one["seed"] for one in row["conditions"]] == list(range(3 if row["shots"] else 1))
        wanted = [alone(row, one["seed"]) for one in row["conditions"]]
        assert scores == pytest.approx(wanted), row
        assert (row["mean"], row["worst"], row["best"], row["seeds"]) == pytest.approx(
            (np.mean(wanted), min(wanted), max(wanted), len(wanted))
        )
        assert row["sd"] == (pytest.approx(np.std(wanted, ddof=1)) if row["shots"] else None)
        conditions += len(scores)
    assert conditions == 2 * (1 + 3 + 3) * 4
    assert len({one["score"] for row in table["rows"] for one in row["conditions"]}) > 2, "the numbers differ at all"


def test_an_instruct_base_is_prompted_by_its_chat_template_and_a_channel_by_one_text(tmp_path: Path) -> None:
    from adapters.models.base_model import open_base
    from adapters.tasks.base import examples

    tiny.llama(tmp_path / "model")
    furnished(tmp_path)
    turns = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    (tmp_path / "model" / "chat_template.jinja").write_text(turns + "{% if add_generation_prompt %}me:{% endif %}")
    out, flags = tmp_path / "out", ("--shots", "2", "--seeds", "2", "--calibration", "none,contextual,channel")
    found = ran(tmp_path, out, *flags, prompts=["two"])
    plain = ran(tmp_path, out, *flags, "--apply_chat_template", "no", prompts=["two"])
    assert [*found["chat_template"].values()] == ["yes"] and [*plain["chat_template"].values()] == ["no"]
    assert "Chat template: yes." in found["verdict"] and "Chat template: no." in plain["verdict"]
    task, data, _ = examples.read_splits("classification", lab(tmp_path, tmp_path / "other", *flags).settings)
    base = open_base(str(tmp_path / "model"))
    for wanted, table in (("auto", found["tables"][0]), ("no", plain["tables"][0])):
        for row in table["rows"]:
            for one in row["conditions"]:
                how = {"shots": 2, "seed": one["seed"], "calibration": [row["calibration"]]}
                made = tiny.method("few_shot", prompt=row["prompt"], apply_chat_template=wanted, **how)
                model = made.wrap(base, task, data["train"])
                assert one["score"] == share(
                    made.predictor(model, base, task).predict(data["test"][:]), data["test"][:]
                )
    with pytest.raises(SettingsError, match="without --calibration channel"):
        lab(tmp_path, tmp_path / "third", *flags, "--apply_chat_template", "yes", prompts=["two"]).check()


def test_an_ensemble_scores_what_the_mean_of_its_members_does(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, alone = tmp_path / "out", Alone(small)
    flags = ("--shots", "1", "--seeds", "3", "--calibration", "none,contextual")
    rows = Rows(monkeypatch)
    before = ran(small, out, *flags)["tables"][0]["rows"]
    read = rows.calls
    found = ran(small, out, *flags, "--ensemble", "seeds,prompts,prompts+seeds")["tables"][0]["rows"]
    assert found[: len(before)] == before
    assert rows.calls == 2 * read, "what was forgotten with the first process is read once more"
    one, two = (str(small / f"{name}.toml") for name in ("one", "two"))
    added = {
        (row["prompt"], row["calibration"]): [condition["score"] for condition in row["conditions"]]
        for row in found[len(before) :]
    }
    for calibration in ("none", "contextual"):
        shares = {
            (prompt, seed): alone.shares({"prompt": prompt, "shots": 1, "calibration": calibration}, seed)
            for prompt in (one, two)
            for seed in range(3)
        }

        def score(*members: tuple[str, int], shares: Any = shares) -> float:
            return alone.share_right(np.mean([shares[member] for member in members], axis=0))

        for prompt in (one, two):
            name = f"{Path(prompt).stem} x 3 seeds"
            assert added.pop((name, calibration)) == [score(*((prompt, i) for i in range(3)))]
        assert added.pop(("one + two", calibration)) == [score((one, i), (two, i)) for i in range(3)]
        assert added.pop(("one + two x 3 seeds", calibration)) == [score(*shares)]
    assert not added
    read = rows.calls
    ran(small, out, *flags, "--ensemble", "seeds,prompts,prompts+seeds")
    assert rows.calls == read


def test_shots_that_do_not_fit_are_counted(small: Path, tmp_path: Path) -> None:
    (row,) = ran(small, tmp_path / "out", "--shots", "18", "--seeds", "2", prompts=["one"])["tables"][0]["rows"]
    assert row["shots_dropped"] == 2 * 12 and row["parse_failures"] == 0
    assert f"| 2 | {2 * 12} | 0 (0.0 %) |" in (tmp_path / "out" / "lab.md").read_text()


@pytest.mark.parametrize("selection", ["balanced", "hardest", "nearest"])
def test_shots_are_chosen_as_few_shot_chooses_them(
    small: Path, tmp_path: Path, selection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.experiments.prompt_lab import predictors
    from adapters.methods.base import prompt_method
    from adapters.models.base_model import open_base
    from adapters.tasks.base import examples

    def embedder(name: str) -> Callable[[list[str]], np.ndarray]:
        return lambda texts: np.array([[text.count(c) for c in "adelnot "] for text in texts], dtype=float)

    monkeypatch.setattr(predictors, "text_embedder", embedder)
    monkeypatch.setattr(prompt_method, "text_embedder", embedder)
    flags = ("--shot_selection", selection, "--shots", "2", "--seeds", "2", "--calibration", "none,contextual")
    rows = ran(small, tmp_path / "out", *flags, prompts=["one"])["tables"][0]["rows"]
    settings = lab(small, tmp_path / "other", *flags).settings
    task, data, _ = examples.read_splits("classification", settings)
    base = open_base(str(small / "model"))
    for row in rows:
        for one in row["conditions"]:
            how = tiny.method(
                "few_shot",
                prompt=row["prompt"],
                shots=2,
                seed=one["seed"],
                max_new_tokens=64,
                shot_selection=selection,
                calibration=[row["calibration"]],
            )
            model = how.wrap(base, task, data["train"])
            found = how.predictor(model, base, task).predict(data["test"][:])
            assert one["score"] == share(found, data["test"][:])


def test_what_is_done_is_not_done_again(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, rows = tmp_path / "out", Rows(monkeypatch)
    flags = ("--shots", "0,2", "--seeds", "2", "--calibration", "none,contextual")
    first = ran(small, out, *flags)
    assert rows.calls == 2 * 3, "one reading for all calibrations"
    assert rows.rows == 6 * (12 + 3)
    page = (out / "lab.html").read_text()
    second = ran(small, out, *flags)
    assert rows.calls == 6 and second["tables"] == first["tables"]
    assert (out / "lab.html").read_text() == page, "the same results give the same page"

    journal = out / "conditions.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 12
    journal.write_text("".join(lines[:-1]) + lines[-1][:40])  # killed while it wrote
    third = ran(small, out, *flags)
    assert rows.calls == 7 and third["tables"] == first["tables"]
    assert [json.loads(line)["key"] for line in journal.read_text().splitlines()] == [
        json.loads(line)["key"] for line in lines
    ]

    grown = ran(small, out, *flags[:-1], "none,contextual,batch", "--seeds", "3")
    assert rows.calls == 7 + 2 * (6 + 2), (
        "another calibration of what was read, and a third seed, each with train's texts"
    )
    assert len(grown["tables"][0]["rows"]) == 2 * 2 * 3
    ran(small, out, *flags, "--max_predict_samples", "6")
    assert rows.calls == 23 + 6, "other examples are other conditions"
    ran(small, out, *flags, "--overwrite_output_dir")
    assert rows.calls == 29 + 6


def test_a_killed_lab_goes_on_where_it_stopped(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, flags = tmp_path / "out", ("--shots", "1", "--seeds", "3")
    true = likelihood.CachedScorer.log_probs_after

    def dying(*given: Any, **named: Any) -> Any:
        if len((out / "conditions.jsonl").read_text().splitlines() if (out / "conditions.jsonl").exists() else []) > 1:
            raise KeyboardInterrupt
        return true(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(likelihood.CachedScorer, "log_probs_after", dying)
        with pytest.raises(KeyboardInterrupt):
            ran(small, out, *flags)
    rows = Rows(monkeypatch)
    found = ran(small, out, *flags)
    assert rows.calls == 6 - 2 and sum(row["seeds"] for row in found["tables"][0]["rows"]) == 6


def test_optimising_keeps_its_budget_and_reads_test_once(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows(monkeypatch)
    read: list[int] = []
    from adapters.experiments.prompt_lab.conditions import ConditionScorer

    true = ConditionScorer.score

    def watched(self: Any, conditions: Any, calibrations: Any, split: str, examples: Any) -> Any:
        found = true(self, conditions, calibrations, split, examples)
        read.append(rows.rows)
        assert {e.id for e in examples} <= {e.id for e in lab_splits[{"dev": "validation"}.get(split, split)]}
        return found

    monkeypatch.setattr(ConditionScorer, "score", watched)
    from adapters.tasks.base import examples

    flags = ("--shots", "0,2", "--seeds", "3", "--calibration", "none,contextual", "--optimize", "--budget", "150")
    _, lab_splits, _ = examples.read_splits("classification", lab(small, tmp_path / "other", *flags).settings)
    found = ran(small, tmp_path / "out", *flags)
    dev, test = found["tables"]
    assert len(read) == 2 and found["passes"] <= 150 and read[0] <= found["passes"]
    # 8 readings share 150 passes; each has 3 texts without content and a beginning.
    assert dev["n"] == (150 - 8 * 4) // 8 and found["passes"] == 8 * (dev["n"] + 4)
    best = max(dev["rows"], key=lambda row: (row["mean"], -row["shots"]))
    (row,) = test["rows"]
    assert all(found["chosen"][key] == best[key] == row[key] for key in ("prompt", "shots", "calibration"))
    assert test["split"] == "test" and test["n"] == 12 and row["seeds"] == (3 if row["shots"] else 1)
    extra = 3 if row["calibration"] == "contextual" else 0
    assert read[1] - read[0] == row["seeds"] * (12 + extra), "each example of test once a seed"
    alone = Alone(small)
    assert all(one["score"] == alone(row, one["seed"]) for one in row["conditions"])
    assert f"{found['passes']} texts were read to choose, of the 150 allowed" in " ".join(found["verdict"])


def test_a_budget_larger_than_dev_is_not_spent(small: Path, tmp_path: Path) -> None:
    flags = ("--shots", "1", "--seeds", "2", "--optimize", "--budget", "100000", "--calibration", "none,channel")
    found = ran(small, tmp_path / "out", *flags)
    assert found["tables"][0]["n"] == 24
    # Of three words each is set in front of every text once.
    assert found["passes"] == 4 * (24 + 1 + 3 * 24 + 1)


def test_without_a_test_split_scores_are_named_dev(small: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "dev"):
        (data / f"{name}.csv").write_text((small / "data" / f"{name}.csv").read_text())
    flags = ("--dataset_name", str(data), "--shots", "0")
    found = ran(small, tmp_path / "out", *flags)
    assert found["tables"][0]["split"] == "dev" and "on dev (n = 24)" in found["verdict"][0]
    with pytest.raises(UserError, match="there is no test split"):
        lab(small, tmp_path / "more", *flags, "--optimize", "--budget", "500").check()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--shots", "21"], "--shots 21: there are 20 training examples. Give at most --shots 20"),
        (["--shots", "-1"], "--shots -1: must be 0 or more"),
        (["--seeds", "0"], "--seeds 0: must be at least 1"),
        (["--calibration", "contextuel"], "--calibration contextuel: must be none, or of channel"),
        (
            ["--calibration", "none,channel"],
            "--calibration channel: must be used with a prompt that has a channel, which plain lacks",
        ),
        (["--prompts", "clasification_few"], "did you mean 'classification_few'"),
        (["--task", "clasification"], "did you mean 'classification'"),
        (["--shot_selection", "best"], "--shot_selection best: must be one of random, balanced"),
        (["--optimize"], "--optimize: needs --budget"),
        (["--budget", "9"], "--budget 9: is for --optimize"),
        (["--optimize", "--budget", "50", "--calibration", "none"], "--budget 50: must be at least 121 for"),
    ],
)
def test_what_cannot_work_is_refused_before_the_model_reads(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], told: str
) -> None:
    rows = Rows(monkeypatch)
    with pytest.raises(UserError) as refused:
        given = ["--shots", "0,1,4"] if "--shots" not in flags else []
        ran(small, tmp_path / "out", *given, *flags, prompts=["plain"])
    assert told in str(refused.value)
    assert rows.calls == 0
    assert not (tmp_path / "out" / "conditions.jsonl").exists() or "--budget" in flags


def test_a_folder_of_something_else_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"holds files of others \(notes.txt\)"):
        lab(small, tmp_path, "--shots", "0").check()
    with pytest.raises(SettingsError, match=r"notes.txt is a file. Name a folder"):
        lab(small, tmp_path / "notes.txt" / "out", "--shots", "0").check()


def test_generated_answers_can_be_compared_without_calibration(tmp_path: Path) -> None:
    from conftest import write_tagged

    (tmp_path / "data").mkdir()
    for name, size in (("train", 12), ("dev", 4), ("test", 4)):
        write_tagged(tmp_path / "data" / f"{name}.conll", size)
    tiny.llama(tmp_path / "model")
    argv = [
        "--task",
        "ner",
        "--model_name_or_path",
        str(tmp_path / "model"),
        "--dataset_name",
        str(tmp_path / "data"),
        "--output_dir",
        str(tmp_path / "out"),
        "--mixed_precision",
        "no",
        "--shots",
        "0,1",
        "--seeds",
        "2",
        "--max_new_tokens",
        "6",
    ]
    experiment = Lab("A lab.", defaults={"classification": {"seeds": 9}}, argv=argv)
    experiment.check()
    experiment.run_conditions()
    experiment.save_and_print()
    found = json.loads((tmp_path / "out" / "lab.json").read_text())
    assert [(row["prompt"], row["seeds"]) for row in found["tables"][0]["rows"]] == [("ner_few", 1), ("ner_few", 2)]
    assert found["score"] == "f1" and found["passes"] == 3 * (4 * 6 + 1)
    assert sum(row["parse_failures"] for row in found["tables"][0]["rows"]) == 0, "as in a run, answers are constrained"
    lines = len((tmp_path / "out" / "conditions.jsonl").read_text().splitlines())
    free = Lab("A lab.", defaults={}, argv=[*argv, "--decoding", "free"])
    free.check()
    free.run_conditions()
    assert len((tmp_path / "out" / "conditions.jsonl").read_text().splitlines()) == 2 * lines
    assert sum(row["parse_failures"] for row in free.tables[0]["rows"]) > 0
    for flags, told in (
        (["--decoding", "greedy"], "--decoding greedy: must be constrained or free"),
        (["--calibration", "none,contextual"], "must be none: answers of ner are generated"),
        (["--shot_selection", "hardest"], "no answer's likelihood is known"),
        (["--shot_selection", "balanced"], "only for tasks whose answer is one label"),
    ):
        with pytest.raises(SettingsError, match=told):
            Lab("A lab.", defaults={}, argv=[*argv, *flags]).check()
