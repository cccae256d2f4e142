"""A news monitor over HTTP: posted items, series, events, the folder's lock, failures of the disk, and the page."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import news
import pytest
from browser import chromium
from desk import NoAdapters
from selenium.webdriver.support.ui import WebDriverWait
from servers import ADMIN, Running, Site, until

from adapters.applications.news_monitor import serving
from adapters.applications.news_monitor.inputs import Arrival
from adapters.applications.news_monitor.monitor import Monitor
from adapters.applications.news_monitor.news import DATABASE
from adapters.applications.news_monitor.store import Store
from adapters.cli.main import main
from adapters.core.errors import ArtifactError, SessionError, SettingsError
from adapters.serving.http.auth import Tokens

FLAGS = ["--learning_days", "2", "--delay_minutes", "0"]
SURGE = (20 * 100, 20 * 103)
HOSTILE = '<img src=x onerror="window.owned=1">'


def folder_of(path: Path, *more: str) -> Path:
    """A folder that was made for a server."""
    assert main(["news_monitor", "--push", "--output_dir", str(path), *FLAGS, *more]) == 0
    return path


class Served(Site):
    """A monitor's application, called without sockets."""

    def __init__(self, folder: Path, tokens: Tokens | None = None) -> None:
        self.folder = folder
        self.news = serving.application(folder)
        super().__init__(NoAdapters(), tokens, [self.news])

    def push(self, items: Any, **given: Any) -> httpx.Response:
        return self.ask("POST", "/v1/news", json=items, **given)

    def get(self, path: str, **given: Any) -> Any:
        return self.ask("GET", f"/v1/news/{path}", params=given).json()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(folder_of(tmp_path / "run"))
    yield found
    found.close()


def test_what_is_posted_is_counted_as_a_replay_counts_it(served: Served, tmp_path: Path) -> None:
    rows = [*news.rows(20 * 104, surge=SURGE, per_hour=20)]
    for begin in range(0, len(rows), 500):
        answer = served.push(rows[begin : begin + 500])
        assert answer.status_code == 200 and answer.json()["became"] == ["counted"] * answer.json()["items"]
    again = served.push(rows[-3:]).json()["became"]
    assert again == ["came again"] * 3
    replayed = news.taken(news.monitor(tmp_path / "other.db"), rows)
    ours, theirs = news.contents(served.folder / DATABASE), news.contents(tmp_path / "other.db")
    replayed.store.close()
    assert ours == theirs and ours["alarms"]
    state = served.get("series")
    assert state["became"] == {"counted": len(rows), "came again": 3} and state["all_series"] == 4
    assert state["series"][0]["series"] == "all"
    found = served.get("windows", series="all")
    assert sum(point["items"] for point in found["points"]) + found["open"]["items"] == len(rows)
    assert found["alarms"][0]["id"] == served.get("alarms")[-1]["id"]
    point = max(found["points"], key=lambda one: one["share"])
    items = served.get("items", series="all", begin=point["window"], end=point["end"])
    negative = [one["negative"] for one in items]
    assert len(items) == point["items"] and negative == sorted(negative, reverse=True)
    assert sum(negative) == round(point["share"] * point["items"])
    logged = [json.loads(line) for line in (served.folder / "alarms.jsonl").read_text().splitlines()]
    assert [one["event"] for one in logged] == [json.loads(row[0])["event"] for row in ours["outbox"]]


def test_each_item_says_what_became_of_it_and_a_wrong_one_harms_no_other(served: Served) -> None:
    good, other = news.rows(2)
    given = [good, {**good, "text": "another"}, 7, {"time": "never", "text": "x", "sentiment": "neutral"}, {}, other]
    became = served.push(given).json()["became"]
    assert [one.partition(":")[0] for one in became] == [
        "counted",
        "came again with another text",
        "refused",
        "refused",
        "refused",
        "counted",
    ]
    lines = b'\n{"a": \xff}\n\n' + json.dumps(good).encode() + b"\nnot json\n"
    answer = served.ask("POST", "/v1/news", content=lines, headers={"content-type": "application/x-ndjson"})
    assert answer.json()["became"] == ["refused: not valid UTF-8", "came again", "refused: not valid JSON"]
    for body, kind, status in (
        (b"[", "application/json", 400),
        (b"[]", "application/json", 422),
        (b"x", "text/a", 415),
    ):
        answer = served.ask("POST", "/v1/news", content=body, headers={"content-type": kind})
        assert answer.status_code == status and answer.json()["expected"]
    assert served.ask("GET", "/v1/news/items", params={"begin": "a", "end": 3}).status_code == 422
    assert served.get("windows", series="nobody") == {
        "series": "nobody",
        "points": [],
        "alarms": [],
        "open": {"items": 0, "negative": 0},
    }


def test_one_process_watches_in_a_folder_and_a_folder_that_is_none_is_refused(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["news_monitor", "--push", "--output_dir", str(served.folder), *FLAGS]) == 2
    assert "another process is watching there" in capsys.readouterr().err
    second = serving.application(served.folder)
    with pytest.raises(SettingsError, match="another process"):
        second.open(NoAdapters())  # type: ignore[arg-type]
    second.close()
    with pytest.raises(ArtifactError, match="--push"):
        serving.application(tmp_path)


def test_a_disk_that_is_full_refuses_the_items_and_the_monitor_goes_on_from_what_was_written(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "AGAIN_SECONDS", 0.01)
    rows = [*news.rows(200)]
    assert served.push(rows[:100]).status_code == 200
    add = Store.add_counts

    def full(*given: Any) -> None:
        raise SessionError("no space left")

    monkeypatch.setattr(Store, "add_counts", full)
    answer = served.push(rows[100:])
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5" and "no space" not in answer.text
    monkeypatch.setattr(Store, "add_counts", add)
    assert served.push(rows[100:]).json()["became"] == ["counted"] * 100
    assert served.get("series")["became"] == {"counted": 200}


def test_items_that_wait_too_long_are_refused_and_counted_once_when_they_come_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, take = threading.Event(), threading.Event(), Monitor.take

    def slow(self: Monitor, *given: Any, **named: Any) -> list[str]:
        begun.set()
        go.wait(20)
        return take(self, *given, **named)

    monkeypatch.setattr(Monitor, "take", slow)
    rows = [*news.rows(3)]
    answer = served.push(rows, headers={"x-timeout-ms": "20"})
    assert answer.status_code == 504 and "Post them again" in answer.json()["error"]
    assert begun.wait(20)  # else the monitor would take more of what waits at once
    waits = [Arrival(given=(), marks={}) for _ in range(serving.MOST_WAITING)]
    for one in waits:
        served.news.waiting.put(one)
    assert served.push(rows).status_code == 503
    go.set()
    while not served.news.waiting.empty():
        time.sleep(0.01)
    assert served.push(rows).json()["became"] == ["came again"] * 3


def test_a_served_monitor_reads_its_file_and_its_adapters_from_wherever_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    news.write(tmp_path / "news.jsonl", news.rows(50))
    folder = folder_of(Path("run"), "--input", "news.jsonl").absolute()
    monkeypatch.chdir("/")
    served = Served(folder)
    try:
        while served.get("series")["became"] != {"counted": 50}:
            time.sleep(0.02)
        (item,) = news.rows(1, seed=9)
        assert served.push({**item, "id": "new"}).json()["became"] == ["counted"]
    finally:
        served.close()


def posted(url: str, rows: list[dict[str, Any]]) -> httpx.Response:
    headers = {"authorization": f"Bearer {ADMIN}"}
    return httpx.post(f"{url}/v1/news", json=rows, headers=headers, timeout=60).raise_for_status()


def events_of(stream: httpx.Response) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(name, data, id) of the events of an answer, as they come."""
    fields: dict[str, str] = {}
    for line in stream.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], json.loads(fields["data"]), fields.get("id", "")
            fields = {}


@pytest.mark.slow
def test_events_come_as_they_happen_and_go_on_after_the_last_one_that_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.01)
    rows = [*news.rows(20 * 104, surge=SURGE, per_hour=20)]
    site = serving.application(folder_of(tmp_path / "run"))
    with Running(NoAdapters(), [site], max_wait_ms=0) as running, httpx.Client(base_url=running.url) as client:
        with client.stream("GET", "/v1/news/events", timeout=20) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            first = next(events_of(stream))
            assert first[0] == "changed" and first[1]["items"] == 0
        with client.stream("GET", "/v1/news/events", timeout=20) as stream:
            poster = threading.Thread(
                target=lambda: [posted(running.url, rows[at : at + 600]) for at in range(0, len(rows), 600)]
            )
            poster.start()
            raised = next(one for one in events_of(stream) if one[0] == "alarm")
            poster.join()
        assert raised[1]["event"] == "raised" and raised[2] == "1"
        with client.stream("GET", "/v1/news/events", headers={"Last-Event-ID": "1"}, timeout=20) as stream:
            following = next(events_of(stream))
        assert following[0] == "alarm" and following[2] == "2"


def test_streams_of_events_are_limited_kept_alive_and_end_with_the_error_that_ended_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(serving, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(serving, "MOST_PAGES", 1)
    site = serving.application(folder_of(tmp_path / "run"))
    with Running(NoAdapters(), [site], max_wait_ms=0) as running, httpx.Client(base_url=running.url) as client:
        with client.stream("GET", "/v1/news/events", timeout=20) as stream:
            lines = stream.iter_lines()  # a generator that is thrown away closes the stream
            assert ": alive" in lines
            with client.stream("GET", "/v1/news/events", timeout=20) as refused:
                assert refused.status_code == 503 and refused.headers["retry-after"] == "30"
                assert "1 pages are open already." in refused.read().decode()
            assert ": alive" in lines
        until(lambda: site.pages == 0)

        def failed(*_: object, **__: object) -> None:
            raise SessionError("the disk is gone")

        with client.stream("GET", "/v1/news/events", timeout=20) as stream:
            found = events_of(stream)
            assert next(found)[0] == "changed"
            monkeypatch.setattr(serving, "_news", failed)
            *_, (name, told, _) = found
        assert name == "error" and "nothing of the request was kept" in told["error"]
        until(lambda: site.pages == 0)


@pytest.mark.slow
def test_the_page_shows_sentiment_alarms_and_the_items_behind_a_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.05)
    rows = [*news.rows(20 * 104, surge=SURGE, per_hour=20)]
    for row in rows:
        row["text"] = f"{HOSTILE} {row['text']}"
    rows[0]["topics"] = [HOSTILE]
    site = serving.application(folder_of(tmp_path / "run"))
    with Running(NoAdapters(), [site], max_wait_ms=0) as running, chromium() as chrome:
        wait = WebDriverWait(chrome, 15, 0.05)

        def until(script: str, *given: Any) -> None:
            wait.until(lambda one: one.execute_script(f"return {script}", *given))

        progress = "document.getElementById('progress').textContent.includes(arguments[0])"
        chrome.get(f"{running.url}/news_monitor/")
        until(progress, "Nothing has come yet")
        for at in range(0, len(rows), 600):
            posted(running.url, rows[at : at + 600])
        until("document.querySelector('#alarms > li') && document.querySelectorAll('.plot svg').length >= 3")
        until(progress, f"{len(rows):,} items counted")
        until("document.getElementById('series').textContent.includes(arguments[0])", HOSTILE)
        chrome.execute_script("[...document.querySelectorAll('.hit')].at(-2).dispatchEvent(new MouseEvent('click'))")
        until("document.querySelector('#items li.negative')")
        until("document.querySelector('#items li').textContent.includes(arguments[0])", HOSTILE)
        assert chrome.execute_script("return window.owned") is None
        for width in (1280, 390):
            chrome.set_window_size(width, 900)
            assert chrome.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        faults = [one["message"] for one in chrome.get_log("browser") if one["level"] == "SEVERE"]
        assert not faults
