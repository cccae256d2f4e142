from __future__ import annotations

import json

import numpy as np
import pytest
from sequences import sequence_run, things_and_looks

from adapters.core import discovery
from adapters.experiments.continual import results
from adapters.experiments.continual.record import finish

STRATEGIES = discovery.names("strategies")


def test_all_strategies_are_found():
    assert STRATEGIES == [
        "adapter_per_task",
        "ewc",
        "joint",
        "lwf",
        "merge",
        "olora",
        "replay",
        "separate",
        "sequential",
    ]


@pytest.mark.parametrize("scenario", ["task-incremental", "class-incremental"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_learns_a_sequence_and_leaves_its_record(strategy, scenario, tiny_bert, tmp_path):
    tasks = things_and_looks(tmp_path / "data")
    run = sequence_run(tmp_path / "run", tasks, tiny_bert, strategy=strategy, scenario=scenario)
    run.learn_all()
    record = finish(run)
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["order"] == ["things", "looks"]
    rows = record["matrix"]
    assert len(rows) == (1 if strategy == "joint" else 2)
    assert all(score is not None and score["low"] <= score["value"] <= score["high"] for score in rows[-1])
    if strategy != "joint":
        assert rows[0][1] is None
    with np.load(tmp_path / "run" / "counts.npz") as counts:
        for name in ("things", "looks"):
            assert counts[f"final/{name}"].shape == (12, run.metric(run.tasks[0]).width)
    assert results.load(tmp_path / "run").order == ("things", "looks")
    assert record["main"]["value"] == pytest.approx(np.mean([one["value"] for one in rows[-1]]))
