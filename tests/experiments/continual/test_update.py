from __future__ import annotations

import json
import shutil
import threading

import pytest
from sequences import sequence_run, things_and_looks, write_texts

import adapters
from adapters.cli.main import main
from adapters.core.errors import ArtifactError, ComparisonError, DataError, SettingsError
from adapters.experiments.continual import publish, routing, update
from adapters.experiments.continual.record import finish
from adapters.experiments.continual.sequence_run import SequenceRun
from adapters.experiments.continual.update import UpdateSettings
from adapters.serving.bank.router import Router


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_bert):
    """Folders of two finished runs, of one adapter a task and of sequential training; and the file of a third task."""
    folder = tmp_path_factory.mktemp("finished")
    tasks = things_and_looks(folder / "data")
    for strategy in ("adapter_per_task", "sequential"):
        run = sequence_run(
            folder / strategy, tasks, tiny_bert, strategy=strategy, routing="means", publish=True, max_train_steps=2
        )
        run.learn_all()
        finish(run)
    return folder, write_texts(folder / "data", "more", ["fruit", "tool"])


@pytest.fixture
def run_folder(finished, tmp_path):
    def copied(strategy):
        return shutil.copytree(finished[0] / strategy, tmp_path / strategy)

    return copied


def pointers(folder):
    return {
        path.parent.name: json.loads(path.read_text())["version"] for path in folder.glob("published/*/current.json")
    }


def test_a_task_is_added_published_and_rolled_back(finished, run_folder, tiny_bert, capsys):
    run, more = run_folder("adapter_per_task"), finished[1]
    assert pointers(run) == {"things": 1, "looks": 1, "router": 1}
    things = (publish.current(run, "things") / "card.json").read_bytes()
    assert main(["continual", "--add", str(more), "--max_routed_drop", "100", str(run)]) == 0
    assert pointers(run) == {"things": 1, "looks": 1, "more": 1, "router": 2}
    assert "gate: looks, routed: dev" in capsys.readouterr().err
    assert (publish.current(run, "things") / "card.json").read_bytes() == things
    record = json.loads((run / "updates" / "0002" / "scores.json").read_text())
    assert record["order"] == ["things", "looks", "more"]
    assert len(record["matrix"]) == len(record["untrained"]) == 3
    answer = adapters.load(publish.current(run, "more"), base=str(tiny_bert))("the apple is here")
    assert answer["label"] in ("fruit", "tool")
    with pytest.raises(SettingsError, match="another task is called more"):
        update.update(UpdateSettings(run=run, add=more, max_routed_drop=100))
    assert main(["continual", "--rollback", str(run)]) == 0
    assert pointers(run) == {"things": 1, "looks": 1, "router": 1}
    assert update.current_version(run) == 1
    with pytest.raises(SettingsError, match="at its first version"):
        update.update(UpdateSettings(run=run, rollback=True))
    assert update.update(UpdateSettings(run=run, add=more, max_routed_drop=100)) == 0  # again, as a version of its own
    assert update.current_version(run) == 3


def test_a_task_that_costs_too_much_of_an_earlier_one_is_not_published(finished, run_folder, monkeypatch, capsys):
    run, more = run_folder("sequential"), finished[1]
    drops = [update.Drop(name="things", before=0.9, after=0.85), update.Drop(name="looks", before=0.8, after=0.8)]
    monkeypatch.setattr(update, "dev_drops", lambda *_: drops)
    assert update.update(UpdateSettings(run=run, add=more, max_drop=4.9)) == 1
    said = capsys.readouterr().err
    assert "not published: things loses 5.00 points on dev, more than --max_drop 4.9. Version 1 stays in use" in said
    assert pointers(run) == {"things": 1, "looks": 1}
    gate = json.loads((run / "updates" / "refused" / "gate.json").read_text())
    assert gate["open"] is False
    assert update.update(UpdateSettings(run=run, add=more, max_drop=5)) == 0, "not more than that, but for rounding"
    assert pointers(run) == {"things": 2, "looks": 2, "more": 1}
    assert update.update(UpdateSettings(run=run, rollback=True)) == 0
    assert pointers(run) == {"things": 1, "looks": 1}


def test_a_router_that_no_longer_finds_the_earlier_tasks_is_not_published(finished, run_folder, monkeypatch, capsys):
    run, more = run_folder("adapter_per_task"), finished[1]
    scored = routing.routed_dev_scores
    monkeypatch.setattr(
        routing, "routed_dev_scores", lambda of, tasks: [0.0, 0.0] if len(of.tasks) > 2 else scored(of, tasks)
    )
    assert update.update(UpdateSettings(run=run, add=more)) == 1
    assert "more than --max_routed_drop 5." in capsys.readouterr().err
    assert pointers(run) == {"things": 1, "looks": 1, "router": 1}


def test_a_new_task_whose_data_changed_after_a_kill_is_learned_anew(finished, run_folder, tmp_path, monkeypatch):
    run, folder = run_folder("sequential"), tmp_path / "data"
    folder.mkdir()
    more = write_texts(folder, "more", ["fruit", "tool"])
    monkeypatch.setattr(update, "finish", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        update.update(UpdateSettings(run=run, add=more, max_drop=100))
    monkeypatch.undo()
    write_texts(folder, "more", ["fruit", "tool"], seed=1)
    learned = []
    monkeypatch.setattr(SequenceRun, "_train", lambda *a, real=SequenceRun._train: learned.append(1) or real(*a))
    assert update.update(UpdateSettings(run=run, add=more, max_drop=100)) == 0
    assert learned, "the weights are of the former texts"


def test_of_two_updates_at_a_time_the_second_waits(finished, run_folder, monkeypatch):
    run, more = run_folder("sequential"), finished[1]
    held, waiting = threading.Event(), threading.Event()

    def in_use(*_):
        held.set()
        assert waiting.wait(60), "the other one does not wait"
        return 0

    monkeypatch.setattr(update, "_add", in_use)
    first = threading.Thread(target=update.update, args=(UpdateSettings(run=run, add=more, max_routed_drop=100),))
    first.start()
    assert held.wait(60)
    monkeypatch.setattr("builtins.print", lambda *words, **_: waiting.set() if "another process" in words[0] else None)
    monkeypatch.setattr(update, "_add", lambda *_: 7)
    assert update.update(UpdateSettings(run=run, add=more, max_routed_drop=100)) == 7
    first.join()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("name", ["write_json", "shutil.rmtree", "publish.point"])
def test_an_update_that_was_killed_changes_nothing_and_is_taken_up_again(name, finished, run_folder, monkeypatch):
    run, more = run_folder("adapter_per_task"), finished[1]
    owner, _, attribute = name.rpartition(".")
    module = update if not owner else getattr(update, owner)
    real, calls = getattr(module, attribute), []
    at = {"write_json": 4, "shutil.rmtree": 1, "publish.point": 2}[name]

    def killed(*args, **kwargs):
        calls.append(args)
        if len(calls) == at:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(module, attribute, killed)
    with pytest.raises(Killed):
        update.update(UpdateSettings(run=run, add=more, max_routed_drop=100))
    monkeypatch.undo()
    assert pointers(run) == {"things": 1, "looks": 1, "router": 1}
    if name == "publish.point":  # the version was in use already: only its pointers had not moved
        with pytest.raises(SettingsError, match="another task is called more"):
            update.update(UpdateSettings(run=run, add=more, max_routed_drop=100))
    else:
        assert update.update(UpdateSettings(run=run, add=more, max_routed_drop=100)) == 0
    assert pointers(run).keys() == {"things", "looks", "more", "router"}


def test_another_base_a_changed_file_and_other_folders_are_refused(finished, run_folder, other_bert, tmp_path):
    run, more = run_folder("sequential"), finished[1]
    with pytest.raises(SettingsError, match=r"--model_name_or_path .*was learned on"):
        update.update(UpdateSettings(run=run, add=more, model_name_or_path=str(other_bert)))
    with pytest.raises(ComparisonError, match="no finished run of a sequence"):
        update.update(UpdateSettings(run=tmp_path, add=more))
    with pytest.raises(SettingsError, match="Give one of --add"):
        update.update(UpdateSettings(run=run))
    (run / "current.json").write_text('{"version": 7}')
    with pytest.raises(ArtifactError, match="version 7 is not there"):
        update.update(UpdateSettings(run=run, add=more, max_routed_drop=100))
    (run / "current.json").unlink()
    record = json.loads((run / "scores.json").read_text())
    record["tasks"]["things"]["train_digest"] = "0"
    (run / "scores.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="things: its training examples have changed"):
        update.update(UpdateSettings(run=run, add=more, max_routed_drop=100))
    record["strategy"] = "joint"
    (run / "scores.json").write_text(json.dumps(record))
    with pytest.raises(SettingsError, match="learns all tasks at once"):
        update.update(UpdateSettings(run=run, add=more, max_routed_drop=100))


def test_what_is_published_answers_as_the_model_of_the_run(finished, run_folder, tiny_bert, tmp_path):
    folder = run_folder("sequential")
    run = sequence_run(
        folder,
        [finished[0] / "data" / "things.toml", finished[0] / "data" / "looks.toml"],
        tiny_bert,
        strategy="sequential",
        publish=True,
    )
    for one in run.tasks:
        loaded = adapters.load(publish.current(folder, one.name), base=str(tiny_bert))
        examples = one.scored()[:]
        wanted = run.predictor_of(one).predict(examples)
        found = loaded.predict(examples)
        assert [p.value for p in found] == [p.value for p in wanted]
        assert all(abs(a.detail - b.detail).max() < 1e-6 for a, b in zip(found, wanted, strict=True))


def test_a_bank_routes_to_what_is_published(finished, run_folder, tiny_bert):
    folder = run_folder("adapter_per_task")
    bank = adapters.AdapterBank(str(tiny_bert))
    for name in ("things", "looks"):
        bank.load(name, folder / "published" / name)
    info = bank.load_router(folder / "published" / "router")
    assert info["kind"] == "means"
    assert info["rate"] is not None
    router = Router.load(publish.current(folder, "router"), embed=bank.embed)
    own = 0
    for name in ("things", "looks"):
        first = (finished[0] / "data" / f"{name}.train.jsonl").read_text().splitlines()[0]
        text = json.loads(first)["text"]
        (routed,), (answer,) = router.route([text]), bank.predict([adapters.Request("auto", text)])
        assert (routed.adapter is None) == ("error" in answer) and answer.get("adapter") == routed.adapter, text
        own += routed.adapter == name
    assert own, "a text that a task was trained on"


def test_a_bank_serves_what_is_published_under_the_names_of_the_tasks(finished, run_folder, tiny_bert):
    folder = run_folder("sequential")
    bank = adapters.AdapterBank(str(tiny_bert))
    for name in ("things", "looks"):
        bank.load(name, publish.current(folder, name))
    answers = bank.predict([adapters.Request("things", "a cat"), adapters.Request("looks", "a red saw")])
    assert [answer["adapter"] for answer in answers] == ["things", "looks"]
    assert all("output" in answer for answer in answers)
