"""New versions while a server answers: loaded, rolled back and followed; no request fails, each is of one version."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import servers
import tiny
from servers import TEXT, Running, Site, until

from adapters.artifacts.published import CURRENT
from adapters.core.errors import SettingsError
from adapters.core.files import write_json
from adapters.serving.bank.router import Router
from adapters.serving.http.adapter_poller import AdapterPoller
from adapters.serving.http.auth import Tokens
from adapters.serving.http.client import Client, RefusedError
from adapters.serving.http.service import Service
from adapters.serving.http.settings import Settings

FOLDERS = ("mood", "topic")


@pytest.fixture
def bank(tiny_bert: Path, served_root: Path, one_thread: None) -> Any:
    """A bank of its own."""
    return servers.bank_of(tiny_bert, served_root)


@pytest.fixture
def site(bank: Any, served_root: Path) -> Iterator[Site]:
    with servers.site(bank, adapter_root=str(served_root)) as made:
        yield made


@pytest.fixture
def published(tiny_bert: Path, tmp_path: Path) -> Path:
    """A folder below a root, with two versions."""
    servers.write_adapters(tmp_path / "x" / "versions", tiny_bert)
    write_json(tmp_path / "x" / CURRENT, {"version": 1, "folder": "versions/mood"})
    return tmp_path / "x"


def answered(client: Client, name: str = "mood", count: int = 1) -> list[dict[str, Any]]:
    return client.predict([{"adapter": name, "inputs": TEXT}] * count)


def test_every_request_is_answered_by_exactly_one_version_while_versions_change(
    bank: Any, served_root: Path, served_bank: Any
) -> None:
    right = {name: served_bank.predict([{"adapter": name, "inputs": TEXT}])[0]["output"]["scores"] for name in FOLDERS}
    folders = {1: "mood"}
    found: list[dict[str, Any]] = []
    done = threading.Event()

    def ask(url: str) -> None:
        with Client(url, retries=0) as client:
            while not done.is_set():
                found.extend(answered(client, count=3))

    def changed(info: dict[str, Any]) -> None:
        folders[info["version"]] = info["folder"]
        until(lambda: done.is_set() or any(answer["version"] == info["version"] for answer in found[-50:]))

    with (
        Running(bank, adapter_root=str(served_root)) as server,
        Client(server.url, token=servers.ADMIN) as admin,
        ThreadPoolExecutor(3) as threads,
    ):
        asking = [threads.submit(ask, server.url) for _ in range(3)]
        try:
            for turn in range(6):
                changed(admin.load("mood", FOLDERS[(turn + 1) % 2]))
                if turn % 3 == 2:
                    changed(admin.rollback("mood"))
        finally:
            done.set()
        for one in asking:
            one.result()
    assert {answer["version"] for answer in found} >= set(range(2, 10)) == folders.keys() - {1}
    for answer in found:
        assert "error" not in answer
        wanted = right[folders[answer["version"]]]
        assert answer["output"]["scores"] == pytest.approx(wanted, abs=2e-4), answer["version"]


def test_a_rollback_over_http_tells_the_version_and_where_there_is_none_why(site: Site) -> None:
    assert site.ask("PUT", "/v1/adapters/mood", json={"folder": "other"}).json()["former"] == [1]
    response = site.ask("POST", "/v1/adapters/mood/rollback")
    info = response.json()
    assert (response.status_code, info["version"], info["folder"], info["former"]) == (200, 3, "mood", [])
    response = site.ask("POST", "/v1/adapters/mood/rollback")
    assert (response.status_code, response.json().keys()) == (409, {"error", "expected", "found"})
    assert "version 3 has no former version" in response.json()["error"]
    assert site.ask("POST", "/v1/adapters/none/rollback").status_code == 404


def test_a_server_of_several_workers_rolls_nothing_back(bank: Any) -> None:
    with servers.site(bank, workers=2) as site:
        assert site.ask("POST", "/v1/adapters/mood/rollback").status_code == 409


def test_the_client_asks_for_a_rollback_once(bank: Any) -> None:
    with Running(bank) as server, Client(server.url, token=servers.ADMIN) as client:
        with pytest.raises(RefusedError, match="no former version"):
            client.rollback("mood")
        assert answered(client)[0]["version"] == 1


def test_a_folder_of_versions_is_loaded_over_http_and_shown_below_the_root(tiny_bert: Path, published: Path) -> None:
    from adapters.serving.bank.bank import AdapterBank

    root = published.parent
    with servers.site(AdapterBank(str(tiny_bert), adapter_root=root), adapter_root=str(root)) as site:
        info = site.ask("PUT", "/v1/adapters/x", json={"folder": "x"}).json()
        assert (info["folder"], info["followed"]) == ("x/versions/mood", "x")
        (root / "link").symlink_to(published / "versions" / "other")
        info = site.ask("PUT", "/v1/adapters/y", json={"folder": "link"}).json()
        assert (info["folder"], info["followed"]) == ("x/versions/other", "link")
        write_json(published / CURRENT, {"version": 2, "folder": "../.."})
        response = site.ask("PUT", "/v1/adapters/x", json={"folder": "x"})
        assert response.status_code == 422
        assert "leads outside" in response.json()["error"] and str(root) not in response.text


def test_a_watched_folder_is_followed_and_a_broken_pointer_is_logged_once(
    tiny_bert: Path, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from adapters.serving.bank.bank import AdapterBank

    bank = AdapterBank(str(tiny_bert))
    bank.load("x", published)
    with caplog.at_level(logging.INFO, "adapters.serving"), servers.site(bank, watch=0.02) as site:
        write_json(published / CURRENT, {"version": 2, "folder": "versions/other"})
        until(lambda: bank.info("x")["version"] == 2)
        (answer,) = site.predict([{"adapter": "x", "inputs": TEXT}]).json()
        assert answer["version"] == 2
        write_json(published / CURRENT, {"version": 3, "folder": "versions/none"})
        until(lambda: any("x stays as it is" in record.message for record in caplog.records))
        write_json(published / CURRENT, {"version": 4, "folder": "versions/topic"})
        until(lambda: bank.info("x")["version"] == 3)
    messages = [record.message for record in caplog.records if record.name == "adapters.serving"]
    assert sum("stays as it is" in message for message in messages) == 1
    assert any(message.startswith("x: version 2, from ") for message in messages)
    assert site.service.poller.thread is not None and not site.service.poller.thread.is_alive()


@pytest.fixture
def routers(tiny_bert: Path, tmp_path: Path, one_thread: None) -> Path:
    """A root with the adapters, and versions of a router below `routers`: of two, of three, and of four adapters."""
    servers.write_adapters(tmp_path, tiny_bert)
    made = servers.bank_of(tiny_bert, tmp_path)
    tiny.router(tmp_path / "routers" / "versions" / "two", made)
    router = Router.load(tmp_path / "routers" / "versions" / "two", embed=made.embed)
    for version, name in (("three", "topic"), ("four", "other")):
        router.add(name, [f"1 2 3 4 5 {name}", f"6 7 8 9 0 {name}"])
        router.save(tmp_path / "routers" / "versions" / version, made.base)
    return tmp_path


@pytest.mark.parametrize("linked", [False, True])
def test_a_watched_router_is_followed_and_one_that_cannot_be_loaded_is_logged_once(
    tiny_bert: Path, routers: Path, linked: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(version: str) -> None:
        if linked:
            (routers / "new").symlink_to(routers / "routers" / "versions" / version)
            (routers / "new").replace(routers / "router")
        else:
            write_json(routers / "routers" / CURRENT, {"version": 1, "folder": f"versions/{version}"})

    def known() -> list[str]:
        found = service.bank.router()
        assert found is not None
        return sorted(found["counts"])

    def failures() -> list[str]:
        every = [record.message for record in caplog.records if record.name == "adapters.serving"]
        return [message for message in every if message.startswith("the router stays as it is")]

    poll, polls = AdapterPoller.poll, list[None]()
    monkeypatch.setattr(AdapterPoller, "poll", lambda *given: polls.append(poll(*given)))
    monkeypatch.setattr(Service, "_share_cores", lambda *_, **__: 1)
    monkeypatch.setattr("adapters.core.processes.use_all_cores", lambda: None)
    publish("two")
    given = Settings(
        base=str(tiny_bert),
        device="cpu",
        adapter=[f"{name}={routers / name}" for name in servers.NAMES],
        adapter_root=str(routers),
        router=str(routers / ("router" if linked else "routers")),
        watch=0.02,
    )
    service = Service(given, Tokens())
    service.open()
    bank: Any = service.bank
    try:
        with caplog.at_level(logging.INFO, "adapters.serving"):
            assert known() == ["mood", "ner"]
            publish("three")
            until(lambda: known() == ["mood", "ner", "topic"])
            publish("four")  # with an adapter that is not loaded yet
            until(failures)
            assert known() == ["mood", "ner", "topic"]
            assert "routes to other, which the bank has not loaded" in failures()[0]
            (answer,) = bank.predict([{"adapter": "auto", "inputs": tiny.ROUTED["ner"][0]}])
            assert answer["adapter"] == "ner"
            before = len(polls)
            until(lambda: len(polls) > before + 2)
            bank.load("other", routers.resolve() / "other")
            until(lambda: known() == ["mood", "ner", "other", "topic"])
            assert len(failures()) == 1, "once, however often it was tried"
    finally:
        service.close()


def test_without_watch_nothing_looks(bank: Any) -> None:
    with servers.site(bank) as site:
        assert site.service.poller.thread is None


def test_a_server_opened_with_a_link_below_its_root_follows_it(tiny_bert: Path, published: Path) -> None:
    from adapters.serving.http.administration import Administration
    from adapters.serving.http.auth import Tokens
    from adapters.serving.http.service import Service

    root = published.parent
    (root / "link").symlink_to(published / "versions" / "mood")
    given = Settings(
        base=str(tiny_bert), adapter=[f"x={root / 'link'}", f"y={published}"], adapter_root=str(root), threads=1
    )
    service = Service(given, Tokens())
    try:
        service.open()
        assert service.bank is not None
        found = {info["name"]: Administration(service).public_info(info) for info in service.bank.adapters()}
        assert [(info["folder"], info["followed"]) for info in found.values()] == [
            ("x/versions/mood", "link"),
            ("x/versions/mood", "x"),
        ]
    finally:
        service.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"watch": -1.0}, "--watch -1.0: must be at least 0"),
        ({"drift_window": -5}, "--drift_window -5: must be at least 50, or 0"),
        ({"drift_window": 10}, "--drift_window 10: must be at least 50, or 0"),
        ({"drift_rate": 0.0}, "--drift_rate 0.0: must be between 0 and 1"),
        ({"drift_rate": 1.0}, "--drift_rate 1.0: must be between 0 and 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**given).check()
