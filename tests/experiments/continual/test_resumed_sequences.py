from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.torch import load_file
from sequences import sequence_run, things_and_looks

from adapters.core.errors import ArtifactError
from adapters.core.files import digest_file
from adapters.experiments.continual import publish, state
from adapters.experiments.continual.record import finish
from adapters.experiments.continual.sequence_run import SequenceRun


class Killed(BaseException):
    """What no code of ours catches."""


def whole(folder, tasks, base, **more):
    run = sequence_run(folder, tasks, base, **more)
    run.learn_all()
    return finish(run)


def scores(record):
    return [[cell and cell["value"] for cell in row] for row in record["matrix"]]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return things_and_looks(tmp_path_factory.mktemp("data"))


PHASES = {
    "before the first state": ("merge", state, "write", 1),
    "before the first scores": ("merge", state, "write_stage", 1),
    "before the second state": ("adapter_per_task", state, "write", 2),
    "before the second scores": ("adapter_per_task", state, "write_stage", 2),
    "while publishing": ("adapter_per_task", publish, "point", 1),
}
"""Strategy, what is called, and at which of its calls the run is killed."""


@pytest.fixture(scope="module")
def uninterrupted(tasks, tiny_bert, tmp_path_factory):
    """Records and artifacts of runs that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    names = dict.fromkeys(strategy for strategy, *_ in PHASES.values())
    more = {"publish": True, "max_train_steps": 2}
    return {
        name: (whole(folder / name, tasks, tiny_bert, strategy=name, **more), publish.current(folder / name, "things"))
        for name in names
    }


@pytest.mark.parametrize("phase", PHASES)
def test_a_sequence_killed_in_any_phase_ends_as_one_that_was_not(
    phase, uninterrupted, tasks, tiny_bert, tmp_path, monkeypatch
):
    strategy, module, name, at = PHASES[phase]
    wanted, artifact = uninterrupted[strategy]
    real, calls = getattr(module, name), []

    def killed(*args, **kwargs):
        calls.append(name)
        if len(calls) == at:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, killed)
    more = {"strategy": strategy, "publish": True, "max_train_steps": 2}
    with pytest.raises(Killed):
        whole(tmp_path, tasks, tiny_bert, **more)
    monkeypatch.undo()
    assert scores(whole(tmp_path, tasks, tiny_bert, **more)) == scores(wanted)
    first, second = (
        load_file(folder / "adapter_model.safetensors") for folder in (artifact, publish.current(tmp_path, "things"))
    )
    assert first.keys() == second.keys()
    assert all((first[key] == second[key]).all() for key in first)


@pytest.mark.parametrize("strategy", ["sequential", "ewc", "olora", "replay", "lwf", "merge"])
def test_what_a_strategy_keeps_comes_back_from_disk_bit_by_bit(strategy, tasks, tiny_bert, tmp_path, monkeypatch):
    once = sequence_run(tmp_path / "once", tasks, tiny_bert, strategy=strategy)
    once.learn_all()
    first = sequence_run(tmp_path / "twice", tasks, tiny_bert, strategy=strategy)
    stages = []
    learn = SequenceRun._learn

    def one_only(self, number, learned, present):
        if stages:
            raise Killed
        stages.append(number)
        learn(self, number, learned, present)

    monkeypatch.setattr(SequenceRun, "_learn", one_only)
    with pytest.raises(Killed):
        first.learn_all()
    monkeypatch.undo()
    again = sequence_run(tmp_path / "twice", tasks, tiny_bert, strategy=strategy)
    again.learn_all()
    a, b = state.read(tmp_path / "once"), state.read(tmp_path / "twice")
    assert a.weights.keys() == b.weights.keys()
    assert all((a.weights[name] == b.weights[name]).all() for name in a.weights)
    assert all((a.strategy_tensors[name] == b.strategy_tensors[name]).all() for name in a.strategy_tensors)
    assert a.strategy_values == b.strategy_values


def test_a_damaged_state_is_refused_by_name(tasks, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "write_stage", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        whole(tmp_path / "run", tasks, tiny_bert, strategy="sequential")
    monkeypatch.undo()
    path = tmp_path / "run" / "state" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: was modified or damaged"):
        whole(tmp_path / "run", tasks, tiny_bert, strategy="sequential")


def test_adapters_of_their_own_change_nothing_of_one_another(tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path / "run", tasks, tiny_bert, strategy="adapter_per_task")
    run._learn(0, (), run.tasks[:1])
    weights = tmp_path / "run" / "own" / "things" / "weights.safetensors"
    before = digest_file(weights)
    (things,) = run.tasks[:1]
    examples = things.scored()[:]
    answers = run.predictor_of(things).predict(examples)
    run._learn(1, run.tasks[:1], run.tasks[1:])
    assert digest_file(weights) == before
    again = run.predictor_of(things).predict(examples)
    assert all(np.array_equal(a.detail, b.detail) for a, b in zip(answers, again, strict=True))
    record = finish(run)
    one, both = (stage["stored_bytes"]["model"] for stage in record["stages"])
    assert both == 2 * one  # as many labels
    first, last = record["matrix"]
    assert first[0] == last[0]


def test_routing_is_scored_alone_and_with_the_answers(tasks, tiny_bert, tmp_path):
    record = whole(tmp_path / "run", tasks, tiny_bert, strategy="adapter_per_task", routing="means")
    routed = record["routed"]
    assert routed["accuracy"][0] == 1
    assert 0 <= routed["accuracy"][1] <= 1
    assert sum(map(sum, (row.values() for row in routed["confusion"].values()))) == 24
    named = record["matrix"][-1]
    for task, (alone, with_name) in enumerate(zip(routed["matrix"][-1], named, strict=True)):
        assert alone["value"] <= with_name["value"] + 1e-12, task  # an adapter of another task is never right here


def test_a_state_that_was_moved_aside_when_its_process_was_killed_is_found(tasks, tiny_bert, tmp_path):
    """A folder is replaced by two renames; what a kill between them leaves is in tests/core."""
    first = sequence_run(tmp_path / "run", tasks, tiny_bert, strategy="sequential")
    first._learn(0, (), first.tasks[:1])
    (tmp_path / "run" / "state").rename(tmp_path / "run" / ".state.abcdefgh.old")
    (tmp_path / "run" / ".state.abcdefgh").mkdir()
    again = whole(tmp_path / "run", tasks, tiny_bert, strategy="sequential")
    assert scores(again) == scores(whole(tmp_path / "whole", tasks, tiny_bert, strategy="sequential"))
    assert not list((tmp_path / "run").glob(".state*"))


def test_scores_that_are_missing_before_the_state_are_refused(tasks, tiny_bert, tmp_path):
    whole(tmp_path / "run", tasks, tiny_bert, strategy="sequential")
    shutil.rmtree(tmp_path / "run" / "stages")
    with pytest.raises(ArtifactError, match="weights are those after stage 2, but its scores end with stage 0"):
        whole(tmp_path / "run", tasks, tiny_bert, strategy="sequential")
