"""Requests for `auto` over HTTP, and the router loaded, replaced and unloaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
import tiny
from servers import Running, Site
from tiny import ROUTED

from adapters.core.errors import BankError, SettingsError
from adapters.serving.bank.bank import AdapterBank
from adapters.serving.http import schema
from adapters.serving.http.administration import Administration
from adapters.serving.http.auth import Tokens
from adapters.serving.http.client import Client, RefusedError
from adapters.serving.http.service import Service
from adapters.serving.http.settings import Settings

FAR = "1 2 3 4 5 6 7 8 9 0 " * 5


@pytest.fixture(scope="module")
def served_root(served_root: Path, tiny_bert: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder of adapters, with a router in it."""
    folder = tmp_path_factory.mktemp("routed") / "served"
    shutil.copytree(served_root, folder)
    tiny.router(folder / "router", AdapterBank(str(tiny_bert)))
    return folder


@pytest.fixture(scope="module")
def bank(tiny_bert: Path, served_root: Path) -> Any:
    """A bank of its own, below whose root there is a router."""
    return servers.bank_of(tiny_bert, served_root)


@pytest.fixture
def site(bank: Any, served_root: Path) -> Iterator[Site]:
    """An application that has loaded the router."""
    with servers.site(bank, adapter_root=str(served_root)) as made:
        assert made.ask("PUT", "/v1/router", json={"folder": "router"}).status_code == 200
        yield made
        if bank.router() is not None:
            bank.unload_router()


def test_auto_is_answered_by_the_chosen_adapter_and_counted_under_its_name(site: Site) -> None:
    texts = [("auto", ROUTED["ner"][0]), ("auto", ROUTED["mood"][0]), ("topic", "Ada"), ("auto", FAR)]
    response = site.predict([{"adapter": name, "inputs": text} for name, text in texts])
    assert response.status_code == 200
    for answer in response.json():
        schema.Answer.model_validate(answer)
    ner, mood, topic, none = response.json()
    assert [one["adapter"] for one in (ner, mood, topic, none)] == ["ner", "mood", "topic", "auto"]
    assert set(ner["routed"]) == {"confidence", "scores"} and "routed" not in topic
    assert "No adapter fits this text" in none["error"]
    metrics = site.ask("GET", "/metrics").text.splitlines()
    for line in (
        'taskswap_routed_texts_total{adapter="ner"} 1.0',
        'taskswap_routed_texts_total{adapter="mood"} 1.0',
        "taskswap_unrouted_texts_total 1.0",
        'taskswap_texts_total{adapter="ner"} 1.0',
        'taskswap_texts_total{adapter="topic"} 1.0',
    ):
        assert line in metrics, line


def test_where_no_text_fits_the_status_says_so(site: Site) -> None:
    response = site.predict([{"adapter": "auto", "inputs": FAR}])
    assert response.status_code == 422
    assert "No adapter fits this text. The router knows mood, ner" in response.json()["error"]
    assert [answer["adapter"] for answer in response.json()["answers"]] == ["auto"]


def test_a_stream_routes_each_line(site: Site) -> None:
    texts = [ROUTED["mood"][1], FAR, ROUTED["ner"][1]]
    lines = "\n".join(json.dumps({"adapter": "auto", "inputs": text}) for text in texts)
    response = site.ask("POST", "/v1/predict/stream", content=lines, headers={"content-type": "application/x-ndjson"})
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["adapter"] for answer in answers] == ["mood", "auto", "ner"]
    assert ["routed" in answer for answer in answers] == [True, False, True]


def test_the_router_is_shown_and_unloaded_and_auto_is_then_unknown(site: Site, served_root: Path) -> None:
    response = site.ask("GET", "/v1/router")
    schema.RouterState.model_validate(response.json())
    found = response.json()["router"]
    assert (found["kind"], found["rate"], found["folder"]) == ("means", 0.0, "router")
    assert found["counts"] == {name: len(texts) for name, texts in sorted(ROUTED.items())}
    assert isinstance(found["threshold"], float) and str(served_root) not in response.text
    assert site.ask("DELETE", "/v1/router").status_code == 204
    assert site.ask("GET", "/v1/router").json() == {"format": 1, "router": None}
    response = site.ask("DELETE", "/v1/router")
    assert response.status_code == 404 and "No router is loaded" in response.json()["error"]
    response = site.predict([{"adapter": "auto", "inputs": "Ada"}])
    assert response.status_code == 404
    assert "--router FOLDER" in response.json()["error"]


def test_auto_is_no_adapters_name_and_writes_nothing(site: Site) -> None:
    response = site.ask("PUT", "/v1/adapters/auto", json={"folder": "ner"})
    assert response.status_code == 409 and "'auto' is not a valid adapter name" in response.json()["error"]
    assert site.ask("GET", "/v1/adapters/auto").status_code == 404
    with pytest.raises(SettingsError, match="'auto' is not a valid adapter name"):
        Settings(adapter=["auto=x"]).check()


@pytest.mark.parametrize(
    ("folder", "status", "message"),
    [
        ("..", 422, "lies outside"),
        ("none", 422, r"contains no router.json"),
        ("ner", 422, r"contains no router.json"),
        ("", 422, "folder"),
        ("a\x00b", 422, "null byte"),
        ("damaged", 422, "damaged or modified"),
        (None, 422, "must be a text"),
    ],
)
def test_what_is_no_router_of_this_base_is_refused_and_the_old_one_stays(
    site: Site, served_root: Path, folder: Any, status: int, message: str
) -> None:
    damaged = served_root / "damaged"
    shutil.copytree(served_root / "router", damaged, dirs_exist_ok=True)
    (damaged / "router.safetensors").write_bytes(b"x")
    before = site.ask("GET", "/v1/router").json()
    response = site.ask("PUT", "/v1/router", json={"folder": folder})
    assert (response.status_code, response.json().keys()) == (status, {"error", "expected", "found"})
    assert message in response.json()["error"] and str(served_root) not in response.text
    assert site.ask("GET", "/v1/router").json() == before


def test_a_router_to_an_adapter_that_is_not_loaded_is_refused_with_409(tiny_bert: Path, served_root: Path) -> None:
    bank = AdapterBank(str(tiny_bert), adapter_root=served_root)
    bank.load("ner", served_root.resolve() / "ner")
    with servers.site(bank, adapter_root=str(served_root)) as mine:
        response = mine.ask("PUT", "/v1/router", json={"folder": "router"})
        assert response.status_code == 409
        assert "router: routes to mood, which the bank has not loaded" in response.json()["error"]


def test_a_router_is_loaded_only_below_a_root_and_into_one_process(bank: Any) -> None:
    with servers.site(bank) as mine:
        response = mine.ask("PUT", "/v1/router", json={"folder": "router"})
        assert response.status_code == 403 and "--adapter_root" in response.json()["error"]
    with servers.site(bank, adapter_root=".", workers=2) as mine:
        assert mine.ask("PUT", "/v1/router", json={"folder": "router"}).status_code == 409


def test_a_server_is_started_with_a_router_or_says_why_not(
    tiny_bert: Path, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "_share_cores", lambda *_, **__: 1)
    monkeypatch.setattr("adapters.core.processes.use_all_cores", lambda: None)
    adapters = [f"{name}={served_root / name}" for name in ("ner", "mood")]
    given = {"base": str(tiny_bert), "device": "cpu", "router": str(served_root / "router")}
    service = Service(Settings(**given, adapter=adapters), Tokens())
    service.open()
    try:
        found = Administration(service).router()
        assert found is not None and found["kind"] == "means"
    finally:
        service.close()
    with pytest.raises(BankError, match="routes to mood"):
        Service(Settings(**given, adapter=adapters[:1]), Tokens()).open()
    with pytest.raises(SettingsError, match=r"--router nowhere: no such folder"):
        Settings(router="nowhere").check()


def test_the_client_asks_for_auto_and_loads_and_unloads_a_router(bank: Any, served_root: Path) -> None:
    with Running(bank, adapter_root=str(served_root)) as live, Client(live.url, token=servers.ADMIN) as client:
        assert client.router() is None
        assert client.load_router("router")["kind"] == "means"
        (answer,) = client.predict([{"adapter": "auto", "inputs": ROUTED["ner"][0]}])
        assert answer["adapter"] == "ner" and 0 < answer["routed"]["confidence"] <= 1
        found = client.router()
        assert found is not None and sorted(found["counts"]) == ["mood", "ner"]
        client.unload_router()
        with pytest.raises(RefusedError, match="none is loaded"):
            client.predict([{"adapter": "auto", "inputs": ROUTED["ner"][0]}])
