"""Records of continual runs: read and gathered, or refused in words that say what is wrong with which file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from continual_runs import TASKS, write_run

from adapters.core.errors import ComparisonError
from adapters.experiments.continual.results import ConditionRuns, check_alike, load, units_of

ENDS = dict.fromkeys(TASKS, 0.8)


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The record, with something about it changed."""
    scores = json.loads((folder / "scores.json").read_text())
    change(scores)
    (folder / "scores.json").write_text(json.dumps(scores))
    return folder


def test_a_record_has_its_matrix_its_stages_and_its_counts(tmp_path: Path) -> None:
    record = load(write_run(tmp_path / "a", "replay", ends=ENDS, routed=0.9))
    assert record.matrix().shape == (3, 3) and np.isnan(record.matrix()[0, 1])
    assert record.matrix(routed=True)[-1, 1] == pytest.approx(0.72)
    assert record.learned == (0, 1, 2) and record.draw == (0, 0) and record.routed and record.named
    assert {name: own.shape for name, own in record.counts.items()} == {
        f"{kind}/{task}": (n, 9) for kind in ("final", "routed") for task, n in TASKS.items()
    }
    joint = load(write_run(tmp_path / "b", "joint", ends=ENDS, at_once=True))
    assert (joint.learned, joint.matrix().shape, joint.bound) == ((0, 0, 0), (1, 3), "all tasks at once")


def test_whether_the_tasks_name_is_given_is_told_or_follows_from_the_scenario(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], bool]] = [
        ({}, True),
        ({"scenario": "class-incremental"}, False),
        ({"scenario": "class-incremental", "routed": 0.9}, True),
        ({"scenario": "class-incremental", "notes": {"named": True}}, True),
        ({"notes": {"named": False}}, False),
    ]
    for number, (given, named) in enumerate(cases):
        assert load(write_run(tmp_path / str(number), "x", ends=ENDS, **given)).named is named


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("matrix"), "lacks matrix"),
        (lambda s: s.update(format=2), "has format 2"),
        (lambda s: s.update(order=["trec", "agnews", "agnews"]), "order: has trec, agnews, agnews"),
        (lambda s: s["matrix"].pop(), "matrix: has 2 rows of 3 scores, must have 3 rows"),
        (lambda s: s["matrix"][2].__setitem__(1, None), "after the last stage, each task must be scored"),
        (lambda s: s["matrix"][2][1].update(value=0.1), "final/agnews gives 0.800000, but its score"),
        (lambda s: s["main"].update(value=0.2), "main: is 0.2, but the mean of the last row is 0.8"),
        (lambda s: s["stages"][1].update(tasks=["trec"]), "each task of the order must be learned once"),
        (lambda s: s["tasks"]["trec"].pop("digest"), "trec lacks digest"),
        (lambda s: s["tasks"]["trec"].update(metric="acuracy"), "acuracy"),
        (lambda s: s["tasks"]["trec"].update(n_test=49), "final/trec has the shape (50, 9), must have (49, 9)"),
        (lambda s: s["tasks"]["trec"].update(documents=True), "documents/trec must have the number"),
        (lambda s: s.update(scenario="online"), "scenario: is online"),
        (lambda s: s.update(untrained=[0.1]), "untrained: has 1 scores"),
        (lambda s: s.update(stages=7), "cannot be read: TypeError"),
    ],
)
def test_a_malformed_record_is_refused_in_words(tmp_path: Path, change: Callable[[Any], Any], told: str) -> None:
    folder = changed(write_run(tmp_path / "a", "replay", ends=ENDS), change)
    with pytest.raises(ComparisonError) as error:
        load(folder)
    assert told in str(error.value) and str(folder) in str(error.value)


def test_an_unfinished_or_damaged_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="no run has finished"):
        load(tmp_path)
    folder = write_run(tmp_path / "a", "replay", ends=ENDS)
    whole = (folder / "counts.npz").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"text"):
        (folder / "counts.npz").write_bytes(damaged)
        with pytest.raises(ComparisonError, match="damaged"):
            load(folder)
    (folder / "counts.npz").unlink()
    with pytest.raises(ComparisonError, match="damaged"):
        load(folder)
    (folder / "scores.json").write_text("[")
    with pytest.raises(ComparisonError, match="damaged"):
        load(folder)


def test_nothing_pickled_is_opened(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "replay", ends=ENDS)
    np.savez(folder / "counts.npz", **{"final/trec": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ComparisonError, match="damaged"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s["tasks"]["trec"].update(digest="other"), "trec, digest: digest of trec in"),
        (lambda s: s.update(scenario="domain-incremental"), "scenario: task-incremental in"),
        (lambda s: s.update(base="smollm2"), "base: an-organisation/minilm in"),
        (lambda s: s["tasks"]["trec"].update(n_train=50), "trec, n_train: 500 in"),
    ],
)
def test_runs_on_other_data_are_not_compared(tmp_path: Path, change: Callable[[Any], Any], told: str) -> None:
    one, other = (write_run(tmp_path / name, "replay", ends=ENDS) for name in "ab")
    check_alike([load(one), load(other)])
    with pytest.raises(ComparisonError) as error:
        check_alike([load(one), load(changed(other, change))])
    assert told in str(error.value)


def test_other_tasks_and_two_orders_of_one_number_are_not_compared(tmp_path: Path) -> None:
    one = load(write_run(tmp_path / "a", "replay", ends=ENDS))
    fewer = load(write_run(tmp_path / "b", "ewc", ends=ENDS, order=["trec", "agnews"], number=1))
    with pytest.raises(ComparisonError, match=r"tasks: agnews, dbpedia, trec in .*, agnews, trec in"):
        check_alike([one, fewer])
    turned = load(write_run(tmp_path / "c", "ewc", ends=ENDS, order=list(TASKS)[::-1]))
    with pytest.raises(ComparisonError, match="order 0: trec, agnews, dbpedia in"):
        check_alike([one, turned])


def test_a_condition_of_which_runs_are_missing_is_incomplete(tmp_path: Path) -> None:
    records = [load(write_run(tmp_path / str(seed), "replay", ends=ENDS, seed=seed)) for seed in range(2)]
    assert not ConditionRuns(records=records, planned=2).incomplete
    assert ConditionRuns(records=records, planned=3).incomplete


def test_documents_are_resampled_whole_where_they_are_known(tmp_path: Path) -> None:
    folder = changed(
        write_run(tmp_path / "a", "replay", ends=ENDS), lambda s: s["tasks"]["agnews"].update(documents=True)
    )
    with np.load(folder / "counts.npz") as stored:
        counts = dict(stored)
    counts["documents/agnews"] = np.arange(200) // 5
    np.savez(folder / "counts.npz", **counts)
    units = units_of([load(folder)])
    assert {task: own.documents for task, own in units.items()} == {"trec": 0, "agnews": 40, "dbpedia": 0}
    condition = ConditionRuns(records=[load(folder)])
    assert [own.counts.shape for own in condition.tasks(units)] == [(1, 50, 9), (1, 40, 9), (1, 120, 9)]
