"""Drift in a server: answers are counted after they are given, an alarm is one line, and nothing of a text is kept."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
import tiny
from conftest import FIRST, PLACES
from servers import Site, until

from adapters.artifacts.reference import Reference
from adapters.serving.http.telemetry import JsonLines
from adapters.tasks.base.observation import Observation

WORDS = [*FIRST, *PLACES, "lived", "worked", "in", "near", "the", "old", "town"]
SECRET = "Zebedee"


def texts(seed: int, size: int, *, more: str = "") -> list[str]:
    drawn = random.Random(seed)
    return [" ".join([*drawn.choices(WORDS, k=drawn.randint(3, 9)), *more.split()]) for _ in range(size)]


@pytest.fixture(scope="module")
def root(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters with a reference of their own answers, `mood` and `ner`; one without, `bare`; a damaged one, `odd`."""
    from adapters.models.base_model import open_base
    from adapters.serving.bank.bank import AdapterBank

    base, folder = open_base(str(tiny_bert)), tmp_path_factory.mktemp("drift")
    bank = AdapterBank(str(tiny_bert))
    for number, (name, task) in enumerate({"mood": tiny.classifying(), "ner": tiny.tagging()}.items()):
        bank.load(name, tiny.adapter(folder / "plain" / name, "lora", base, task, seed=number))
        seen: list[Any] = []
        bank.predict([{"adapter": name, "inputs": text} for text in texts(1, 300)], None, seen)
        reference = Reference.of([one for _, one in seen], task.label_names()).record()
        tiny.adapter(folder / name, "lora", base, task, seed=number, reference=reference)
    tiny.adapter(folder / "bare", "lora", base, tiny.classifying(), seed=0)
    tiny.adapter(folder / "odd", "lora", base, tiny.classifying(), seed=0, reference={"texts": "many"})
    return folder


@pytest.fixture
def site(root: Path, tiny_bert: Path, one_thread: None) -> Iterator[Site]:
    from adapters.serving.bank.bank import AdapterBank

    bank = AdapterBank(str(tiny_bert))
    for name in ("mood", "ner", "bare", "odd"):
        bank.load(name, root / name)
    bank.alias("alias", "mood")
    with servers.site(bank, drift_window=100, drift_rate=0.001, max_queue=300, max_texts=300) as made:
        yield made


def ask(site: Site, name: str, given: list[str]) -> None:
    assert site.predict([{"adapter": name, "inputs": text} for text in given]).status_code == 200


def report(site: Site) -> dict[str, dict[str, Any]]:
    """What the server tells, once all answers so far are counted."""
    assert site.service.drift.thread is not None
    site.service.drift.thread.submit(int).result()
    found = site.ask("GET", "/v1/drift")
    assert found.status_code == 200 and SECRET not in found.text
    return {one["adapter"]: one for one in found.json()["adapters"]}


def test_answers_like_those_on_dev_raise_no_alarm_and_are_counted_window_after_window(site: Site) -> None:
    ask(site, "mood", texts(2, 130))
    ask(site, "alias", texts(3, 100))
    found = report(site)
    assert found.keys() == {"mood"}
    mood = found["mood"]
    assert (mood["version"], mood["state"], mood["answers"], mood["windows"], mood["alarms"]) == (
        1,
        "no drift",
        30,
        2,
        0,
    )
    assert {test["name"] for test in mood["last"]["tests"]} == {"labels", "confidence", "unknown"}
    assert not any(test["moved"] for test in mood["last"]["tests"])


@pytest.mark.parametrize("name", ["mood", "ner"])
def test_a_drift_is_logged_once_a_window_with_what_moved_and_what_to_do(
    site: Site, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "adapters.serving"):
        ask(site, name, texts(4, 250, more=f"漢 字 {SECRET}"))
        found = report(site)[name]
    assert (found["state"], found["windows"], found["alarms"]) == ("drift", 2, 2)
    (unknown,) = [test for test in found["last"]["tests"] if test["name"] == "unknown"]
    assert unknown["moved"] and unknown["window"] > unknown["dev"]
    lines = [record for record in caplog.records if record.message.startswith("drift: ")]
    assert len(lines) == 2
    assert f"{name}, version 1, over its last 100 answers: " in lines[0].message
    assert "share of unknown tokens from 0 on dev to 0." in lines[0].message
    assert "taskswap continual --add new_task.toml RUN" in lines[0].message
    written = JsonLines().format(lines[0])
    assert json.loads(written)["adapter"] == name and SECRET not in written


def test_the_state_of_each_adapter_is_in_the_list_and_in_the_metrics(site: Site) -> None:
    ask(site, "mood", texts(5, 100, more="漢 字"))
    ask(site, "ner", texts(5, 20))
    ask(site, "bare", ["Ada"])
    assert report(site)["bare"] == {
        "adapter": "bare",
        "version": 1,
        "state": "no reference in the card",
        "answers": 0,
        "windows": 0,
        "alarms": 0,
        "dev_texts": None,
        "last": None,
    }
    listed = {info["name"]: info["drift"] for info in site.ask("GET", "/v1/adapters").json()["adapters"]}
    assert listed == {
        "mood": "drift",
        "ner": "counting",
        "bare": "no reference in the card",
        "odd": "no answers yet",
    }
    metrics = site.ask("GET", "/metrics").text
    assert 'taskswap_drift_alarms_total{adapter="mood"} 1.0' in metrics
    assert 'taskswap_drift_windows_total{adapter="mood"} 1.0' in metrics
    assert 'taskswap_answer_confidence_count{adapter="ner"} 20.0' in metrics
    assert 'taskswap_unknown_tokens_total{adapter="mood"} 200.0' in metrics


def test_a_reference_that_cannot_be_read_is_logged_and_keeps_nobody_from_an_answer(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "adapters.serving"):
        ask(site, "odd", ["Ada"])
        ask(site, "odd", ["Alan"])
        assert report(site)["odd"]["state"] == "no reference in the card"
    assert sum("reference cannot be read" in record.message for record in caplog.records) == 1


def test_a_new_version_is_counted_anew_and_the_one_before_is_still_told(site: Site, root: Path) -> None:
    assert site.service.bank is not None
    ask(site, "mood", texts(6, 60))
    for version in (2, 3):
        site.service.bank.reload("mood")
        ask(site, "mood", texts(6, version))
    report(site)
    told = site.ask("GET", "/v1/drift").json()["adapters"]
    assert [(one["version"], one["answers"]) for one in told] == [(2, 2), (3, 3)]


def test_an_adapter_loaded_under_a_name_that_was_free_again_is_not_the_one_before(site: Site, root: Path) -> None:
    bank = site.service.bank
    assert bank is not None
    ask(site, "mood", texts(6, 60))
    bank.unload("mood")
    bank.load("mood", root / "mood")
    ask(site, "mood", texts(6, 5))
    assert (report(site)["mood"]["version"], report(site)["mood"]["answers"]) == (1, 5)


def test_what_cannot_be_answered_and_the_base_alone_are_not_counted(site: Site) -> None:
    found = site.predict(
        [
            {"adapter": None, "inputs": "Ada"},
            {"adapter": "mood", "inputs": ""},
            {"adapter": "none", "inputs": "Ada"},
            {"adapter": "mood", "inputs": "Ada"},
        ]
    )
    assert found.status_code == 200
    assert {name: one["answers"] for name, one in report(site).items()} == {"mood": 1}


def test_off_means_that_nothing_is_counted(root: Path, tiny_bert: Path, one_thread: None) -> None:
    from adapters.serving.bank.bank import AdapterBank

    bank = AdapterBank(str(tiny_bert))
    bank.load("mood", root / "mood")
    with servers.site(bank, drift_window=0) as site:
        ask(site, "mood", ["Ada"])
        assert site.service.drift.thread is None
        assert site.ask("GET", "/v1/drift").json() == {"format": 1, "window": 0, "rate": 0.01, "adapters": []}
        assert site.ask("GET", "/v1/adapters").json()["adapters"][0]["drift"] is None


def test_a_failure_to_count_keeps_nobody_from_an_answer(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("cannot count")

    site.service.drift._count_one = broken  # type: ignore[method-assign]
    ask(site, "mood", ["Ada"])
    until(lambda: any("could not be counted" in record.message for record in caplog.records))


def test_what_is_kept_of_many_adapters_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from adapters.serving.http import drift

    monkeypatch.setattr(drift, "MOST", 10)
    kept: Any = site.service.drift
    for number in range(40):
        kept._count_one(SimpleNamespace(name=f"a{number}", version=1, card={}), Observation())
    assert len(kept.counts) == 10
