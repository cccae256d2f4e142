"""The recipe for the news monitor, run whole: what it leaves and says, with adapters, without, and killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import forked
import news
import pytest
from conftest import REPOSITORY, call_recipe, forget_accelerate, write_tagged

from adapters.applications.news_monitor.items import Item
from adapters.applications.news_monitor.store import Store
from adapters.applications.news_monitor.understanding import Adapters, Reading
from adapters.cli.main import main
from adapters.core.errors import SettingsError

RECIPE = REPOSITORY / "recipes" / "news_monitor.py"
FLAGS = ["--learning_days", "2", "--delay_minutes", "0"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of items, with a surge on the last one."""
    rows = news.rows(20 * 72, surge=(20 * 60, 20 * 62), per_hour=20)
    return news.write(tmp_path_factory.mktemp("stream") / "news.jsonl", rows)


@pytest.fixture(scope="module")
def replayed(stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay") / "run"
    assert call_recipe(RECIPE, ["--replay", str(stream), "--output_dir", str(folder), *FLAGS]) == 0
    return folder


def test_a_replay_leaves_a_page_a_log_and_a_report(replayed):
    page, log = (replayed / "report.html").read_text(), (replayed / "alarms.jsonl").read_text().splitlines()
    assert page.count("<svg") == 4 and "http://" not in page.replace("http://www.w3.org", "")
    assert [json.loads(line)["event"] for line in log][:1] == ["raised"]
    report = (replayed / "report.txt").read_text()
    assert report.startswith("1 alarm:") or " alarms:" in report.splitlines()[0]
    assert "1,440 counted" in report and "all" in report
    alarm = next(one for one in Store(replayed / "monitor.db").alarms() if one["series"] == "all")
    assert alarm["evidence"]["evidence"][0]["text"] in page


def test_a_replay_is_not_counted_again_and_another_file_is_refused(replayed, stream, capsys):
    before = news.contents(replayed / "monitor.db")
    words = ["news_monitor", "--replay", str(stream), "--output_dir", str(replayed), *FLAGS]
    assert main(words) == 0 and news.contents(replayed / "monitor.db") == before
    other = news.write(stream.with_name("other.jsonl"), news.rows(1))
    words[2] = str(other)
    assert main(words) == 2 and "Name another folder" in capsys.readouterr().err
    assert main(["news_monitor"]) == 2 and "give --input FILE" in capsys.readouterr().err


def test_a_file_without_an_item_is_refused_and_labels_that_no_item_has_are_said(tmp_path, stream, capsys):
    wrong, empty = tmp_path / "wrong.csv", tmp_path / "empty.jsonl"
    wrong.write_text("date,headline\n2018-01-01,gold falls\n")
    empty.write_text("")
    for path, why in ((wrong, "all 2 lines were refused, the first one as not valid JSON"), (empty, "is empty")):
        words = ["news_monitor", "--replay", str(path), "--output_dir", str(tmp_path / path.stem), *FLAGS]
        assert main(words) == 2 and why in capsys.readouterr().err
    wrong.write_text(stream.read_text())
    assert main(["news_monitor", "--replay", str(wrong), "--output_dir", str(tmp_path / "wrong"), *FLAGS]) == 0
    assert news.contents(tmp_path / "wrong" / "monitor.db"), "a file that was corrected is read from its beginning"
    words = ["news_monitor", "--replay", str(tmp_path / "none.jsonl"), "--output_dir", str(tmp_path / "none")]
    assert main(words) == 2 and not (tmp_path / "none").exists()
    words = ["news_monitor", "--replay", str(stream), "--negative_labels", "bearish", "--output_dir"]
    assert main([*words, str(tmp_path / "bearish")]) == 0
    assert "None of them is negative (--negative_labels bearish)" in capsys.readouterr().out


@pytest.mark.slow
def test_standard_input_is_read_to_its_end(tmp_path):
    """Started for real once."""
    rows = "".join(json.dumps(row) + "\n" for row in news.rows(200))
    words = [sys.executable, "-m", "adapters", "news_monitor", "--input", "-", "--output_dir", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(words, input=rows, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "200 counted" in done.stdout


@pytest.mark.slow
def test_kill_9_loses_no_item_and_counts_none_twice(stream, replayed, tmp_path):
    draw, folder = random.Random(1), tmp_path / "killed"
    words = [RECIPE, "--replay", stream, "--output_dir", folder, "--batch_items", 8, *FLAGS]
    for killed in range(3):
        process = forked.Forked(words, tmp_path / f"{killed}.log")
        goal, begin = (killed + 1) * draw.randrange(200, 400), time.perf_counter()
        while process.poll() is None and count(folder) < goal and time.perf_counter() - begin < 60:
            time.sleep(0.005)
        process.kill()
    assert 0 < count(folder) < 1440
    assert forked.Forked(words, tmp_path / "last.log").wait() == 0, (tmp_path / "last.log").read_text()
    assert news.contents(folder / "monitor.db") == news.contents(replayed / "monitor.db")


def count(folder: Path) -> int:
    """Items that a store has."""
    if not (folder / "monitor.db").exists():
        return 0
    store = Store(folder / "monitor.db")
    (found,) = store._rows("SELECT COUNT(*) FROM items")
    store.close()
    return int(found[0])


# adapters


def train(base: Path, folder: Path, task: str, rows: list[dict[str, object]], *more: str) -> Path:
    """An adapter's artifact."""
    folder.mkdir(parents=True)
    path = write_tagged(folder / "train.conll", 40) if not rows else news.write(folder / "train.jsonl", rows)
    words = ["train", "--task", task, "--method", "lora", "--train_file", str(path)]
    words += ["--model_name_or_path", str(base), "--max_train_steps", "2", "--mixed_precision", "no"]
    forget_accelerate()
    assert main([*words, "--allow_unknown_tokens", "--output_dir", str(folder / "run"), *more]) == 0
    forget_accelerate()
    return folder / "run" / "artifact"


@pytest.fixture(scope="module")
def adapters(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    mood = [{"text": f"Ada lived {n}", "label": ("negative", "neutral")[n % 2]} for n in range(40)]
    topics = [{"text": f"Rome {n}", "labels": [["crude"], ["crude", "gold"], []][n % 3]} for n in range(40)]
    return {
        "sentiment": train(tiny_bert, folder / "sentiment", "classification", mood),
        "topics": train(tiny_bert, folder / "topics", "classification", topics, "--multi_label"),
        "entities": train(tiny_bert, folder / "entities", "ner", []),
    }


def item(text: str, **given: object) -> Item:
    return Item(id=text, at=0.0, text=text, source="", given=given, where="here")


@pytest.mark.slow
def test_adapters_of_one_bank_read_items_as_each_does_alone(adapters, tiny_bert):
    from adapters.serving.bank.bank import AdapterBank

    bank = AdapterBank(str(tiny_bert))
    for name, folder in adapters.items():
        bank.load(name, folder)
    texts = ["Ada lived in Rome", "old town", "Niels Bohr worked near Oslo"]
    found = Adapters(bank, ["negative"], ["PER"])([item(text) for text in texts])
    for text, reading in zip(texts, found, strict=True):
        assert isinstance(reading, Reading)
        outputs = {name: bank.predict([{"adapter": name, "inputs": {"text": text}}])[0]["output"] for name in adapters}
        bad = outputs["sentiment"]["label"] == "negative"
        orgs = [one["text"] for one in outputs["entities"]["entities"] if one["label"] == "PER"]
        names = {"all", *(f"topic: {one}" for one in outputs["topics"]["labels"]), *(f"entity: {one}" for one in orgs)}
        assert reading.series == dict.fromkeys(names, bad)
    with pytest.raises(SettingsError, match="--negative_labels bad: the adapter has no such label"):
        Adapters(bank, ["bad"])
    with pytest.raises(SettingsError, match="--entity_types ORG"):
        Adapters(bank, ["negative"], ["ORG"])


@pytest.mark.slow
def test_the_recipe_runs_with_adapters_and_corrects_for_their_errors(adapters, tiny_bert, tmp_path, capsys):
    rows = [{key: row[key] for key in ("id", "time", "text", "source")} for row in news.rows(60)]
    stream, folder = news.write(tmp_path / "n.jsonl", rows), tmp_path / "run"
    labelled = news.write(tmp_path / "l.jsonl", [{"text": row["text"], "label": "negative"} for row in rows[:5]])
    words = ["--replay", str(stream), "--sentiment_adapter", str(adapters["sentiment"]), "--output_dir", str(folder)]
    words += ["--topic_adapter", str(adapters["topics"]), "--model_name_or_path", str(tiny_bert), *FLAGS]
    assert call_recipe(RECIPE, words) == 0
    assert "60 counted" in capsys.readouterr().out
    assert call_recipe(RECIPE, [*words, "--labelled_file", str(labelled)]) == 2
    assert "the labelled items are all negative, or none is" in capsys.readouterr().err
    assert call_recipe(RECIPE, [*words[:2], *words[4:]]) == 2
    assert "was learned with reader" in capsys.readouterr().err


def test_entities_with_a_sentiment_of_their_own_are_counted_by_it(tmp_path):
    (row,) = news.rows(1)
    row |= {"sentiment": "neutral", "entities": {"Acme": "negative", "Apex": "positive"}}
    monitor = news.taken(news.monitor(tmp_path / "m.db"), [row])
    counts = monitor.store.counts(monitor.window_of(news.START))
    assert counts.pop(f"topic: {row['topics'][0]}") == (1, 0)
    assert counts == {"all": (1, 0), "entity: Acme": (1, 1), "entity: Apex": (1, 0)}


class Pairs:
    """A bank whose adapters find two names in each text, and call a pair negative where the name begins with A."""

    def names(self):
        return ["entity_sentiment", "entities", "sentiment"]

    def info(self, name):
        return {"task": "ner", "labels": ["O", "B-ORG"] if name == "entities" else ["negative", "neutral"]}

    def predict(self, requests):
        self.asked = [request["inputs"] for request in requests]
        return [self.answer(request["adapter"], request["inputs"]) for request in requests]

    def answer(self, name, inputs):
        if name == "entities":
            return {"output": {"entities": [{"text": one, "label": "ORG"} for one in ("Acme", "Bolt")]}}
        if inputs.get("text_pair") == "Bolt" and "broken" in inputs["text"]:
            return {"error": "too long"}
        return {"output": {"label": "negative" if inputs.get("text_pair", "").startswith("A") else "neutral"}}


def test_an_adapter_of_pairs_gives_each_entity_a_sentiment_of_its_own():
    bank = Pairs()
    found = Adapters(bank, ["negative"])([item("one"), item("broken"), item("two")])
    series = {"all": False, "entity: Acme": True, "entity: Bolt": False}
    assert [reading if isinstance(reading, str) else reading.series for reading in found] == [
        series,
        "too long",
        series,
    ]
    assert bank.asked[0] == {"text": "one", "text_pair": "Acme"} and len(bank.asked) == 6
    given = [Item(id="1", at=0.0, text="x", source="", given={"entities": {"Acme": "neutral"}}, where="x")]
    alone = Adapters(bank, ["negative"], names=["sentiment", "entity_sentiment"])(given)
    assert alone[0].series == {"all": False, "entity: Acme": False}
