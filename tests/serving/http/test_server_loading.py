"""Adapters loaded, replaced and unloaded over HTTP: only below the root, only with the right token, nothing lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import servers
from servers import TEXT, Site

from adapters.core.errors import SettingsError
from adapters.serving.http.auth import Tokens
from adapters.serving.http.settings import Settings

TOKENS = Tokens(predict=b"predict-token", admin=b"admin-token")


def bearing(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def site(served_bank: Any, served_root: Path) -> Iterator[Site]:
    """An application around a bank of three adapters, which may load others."""
    with servers.site(served_bank, adapter_root=str(served_root)) as made:
        yield made


@pytest.fixture
def mine(tiny_bert: Path, served_root: Path) -> Iterator[Site]:
    """An application with a bank of its own."""
    with servers.site(servers.bank_of(tiny_bert, served_root), adapter_root=str(served_root)) as made:
        yield made


def test_adapters_are_listed_with_their_folders_below_the_root(site: Site, served_root: Path) -> None:
    response = site.ask("GET", "/v1/adapters")
    found = response.json()
    assert found["format"] == 1
    assert found["base"] == {"name": "tiny-bert", "kind": "encoder"}
    assert [info["name"] for info in found["adapters"]] == list(servers.NAMES)
    assert [info["folder"] for info in found["adapters"]] == list(servers.NAMES)
    assert str(served_root) not in response.text


def test_one_adapter_is_told_with_its_card_and_without_paths(site: Site, served_root: Path) -> None:
    response = site.ask("GET", "/v1/adapters/ner")
    found = response.json()
    assert (found["name"], found["card"]["method"]["name"], found["card"]["task"]["name"]) == ("ner", "lora", "ner")
    assert str(served_root) not in response.text
    response = site.ask("GET", "/v1/adapters/nerr")
    assert response.status_code == 404
    assert "did you mean 'ner'?" in response.json()["error"]


def test_paths_in_a_card_are_shown_by_their_last_part() -> None:
    from adapters.serving.http.answers import without_paths

    card = {"a": ["/srv/data/train.csv", "plain/relative", {"b": "C:\\models\\bert"}], "c": 3, "d": "/", "e": None}
    assert without_paths(card) == {"a": ["train.csv", "plain/relative", {"b": "bert"}], "c": 3, "d": "", "e": None}


def test_put_loads_puts_again_is_a_new_version_and_delete_unloads(mine: Site) -> None:
    response = mine.ask("PUT", "/v1/adapters/new", json={"folder": "ner", "pin": True})
    assert response.status_code == 201
    assert (response.json()["version"], response.json()["folder"], response.json()["pinned"]) == (1, "ner", True)
    (first,) = mine.predict([{"adapter": "new", "inputs": TEXT}]).json()
    assert first["task"] == "ner"
    response = mine.ask("PUT", "/v1/adapters/new", json={"folder": "mood"})
    assert response.status_code == 200
    assert (response.json()["version"], response.json()["pinned"]) == (2, False)
    (second,) = mine.predict([{"adapter": "new", "inputs": TEXT}]).json()
    assert (second["task"], second["version"]) == ("classification", 2)
    response = mine.ask("DELETE", "/v1/adapters/new")
    assert (response.status_code, response.content) == (204, b"")
    assert mine.ask("DELETE", "/v1/adapters/new").status_code == 404
    assert mine.predict([{"adapter": "new", "inputs": TEXT}]).status_code == 404


@pytest.fixture(scope="module")
def linked(tiny_bert: Path, served_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An application with a bank of its own, below whose root some links lead out."""
    place = tmp_path_factory.mktemp("linked") / "served"
    shutil.copytree(served_root, place)
    (place / "link").symlink_to(served_root / "ner")
    (place / "ring").symlink_to(place / "ring")
    shutil.copytree(served_root / "mood", place / "half")
    (place / "half" / "README.md").unlink()
    (place / "half" / "README.md").symlink_to(served_root / "ner" / "README.md")
    with servers.site(servers.bank_of(tiny_bert, place), adapter_root=str(place)) as made:
        yield made


@pytest.mark.parametrize(
    ("folder", "status", "message"),
    [
        ("..", 422, "lies outside"),
        ("../served2", 422, "lies outside"),
        ("/etc", 422, "lies outside"),
        ("ner/../../x", 422, "lies outside"),
        ("link", 422, "lies outside"),
        ("half", 422, "lies outside"),
        ("none", 422, "no such folder"),
        ("", 422, "folder"),
        ("a\x00b", 422, "null byte"),
        ("x" * 4096, 422, "name"),
        ("x" * 5000, 422, "4096"),
        ("ner/card.json", 422, "no such folder"),
        (None, 422, "folder: must be a text"),
        (["ner"], 422, "folder: must be a text"),
        ("ring", 422, "loop"),
    ],
)
def test_only_folders_below_the_root_are_loaded(
    linked: Site, tmp_path_factory: pytest.TempPathFactory, folder: Any, status: int, message: str
) -> None:
    before = linked.ask("GET", "/v1/adapters").json()
    response = linked.ask("PUT", "/v1/adapters/new", json={"folder": folder})
    assert (response.status_code, response.json().keys()) == (status, {"error", "expected", "found"})
    assert message in response.json()["error"]
    assert str(tmp_path_factory.getbasetemp()) not in response.text
    assert linked.ask("GET", "/v1/adapters").json() == before


@pytest.mark.parametrize(
    "id", ["Capital", "-x", "a" * 65, "a b", "a%2Fb", "%00", "ä", "..%2f..", "a%0a", "%ED%A0%80", "ner%0A"]
)
def test_hostile_ids_are_refused(site: Site, id: str) -> None:
    for method, body in (("GET", None), ("PUT", {"folder": "ner"}), ("DELETE", None)):
        response = site.ask(method, f"/v1/adapters/{id}", json=body)
        assert response.status_code in (404, 405, 422), id
        assert {"error", "expected", "found"} == response.json().keys()


def test_a_body_that_is_wrong_is_told_where(mine: Site) -> None:
    for body, status, message in (
        (b"{", 400, "not JSON"),
        (b"[" * 90_000, 400, "The body"),
        (b'{"folder": "ner", "pin": "yes"}', 422, "pin: "),
        (b'{"folder": "ner", "x": 1}', 422, "x: "),
        (b"[]", 422, "body: "),
        (b'{"folder": "\\ud800"}', 422, "folder"),
    ):
        response = mine.ask("PUT", "/v1/adapters/new", content=body, headers={"content-type": "application/json"})
        assert response.status_code == status, (body[:20], response.text)
        assert message in response.json()["error"]


def test_without_a_root_nothing_is_loaded_and_the_answer_says_how_to_turn_it_on(served_bank: Any) -> None:
    with servers.site(served_bank) as mine:
        response = mine.ask("PUT", "/v1/adapters/new", json={"folder": "ner"})
        assert response.status_code == 403
        assert "--adapter_root" in response.json()["error"]


def test_a_bank_whose_adapters_are_all_pinned_has_no_room_and_says_so(tiny_bert: Path, served_root: Path) -> None:
    from adapters.serving.bank.bank import AdapterBank

    bank = AdapterBank(str(tiny_bert), adapter_root=served_root, capacity=1)
    bank.load("ner", served_root.resolve() / "ner", pin=True)
    with servers.site(bank, adapter_root=str(served_root)) as mine:
        response = mine.ask("PUT", "/v1/adapters/new", json={"folder": "mood"})
        assert response.status_code == 409
        assert "No room for new" in response.json()["error"]


def test_a_server_of_several_workers_loads_nothing_as_it_would_reach_one_of_them(
    served_bank: Any, served_root: Path
) -> None:
    with servers.site(served_bank, adapter_root=str(served_root), workers=2) as mine:
        response = mine.ask("PUT", "/v1/adapters/new", json={"folder": "ner"})
        assert response.status_code == 409
        assert response.json()["found"] == "2 workers"


def test_a_token_is_taken_whole_and_only_as_a_bearers(served_bank: Any) -> None:
    with servers.site(served_bank, tokens=TOKENS) as mine:
        for token in ("", "wrong", "predict-token", "admin-token", "predict-tokenx", "Bearer", "ü"):
            headers = {"authorization": f"Bearer {token}".encode()} if token else {}
            response = mine.ask("GET", "/v1/adapters", headers=headers)
            assert response.status_code == (200 if token in ("predict-token", "admin-token") else 401), token
            if response.status_code == 401:
                assert response.headers["www-authenticate"] == "Bearer"
                assert "predict-token" not in response.text
        assert mine.ask("GET", "/v1/adapters", headers={"authorization": "Basic admin-token"}).status_code == 401


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:80", "proxy.example"])
def test_loading_needs_a_token_from_this_machine_as_well(served_bank: Any, served_root: Path, host: str) -> None:
    """A proxy on the same machine passes on what others send, under its own address and whatever name."""
    made = Tokens.of(Settings())
    assert made.generated and len(made.admin) >= 32 and made.admin != Tokens.of(Settings()).admin
    with servers.site(served_bank, tokens=made, adapter_root=str(served_root)) as mine:
        for token, status in (("", 401), ("predict-token", 401), (made.admin.decode(), 422)):
            headers = {"host": host, "x-forwarded-for": "127.0.0.1", **(bearing(token) if token else {})}
            response = mine.ask("PUT", "/v1/adapters/new", json={"folder": "none"}, headers=headers)
            assert response.status_code == status, response.text
        assert mine.ask("GET", "/v1/adapters", headers={"host": host}).status_code == 200


def test_a_request_with_two_hosts_is_refused(site: Site) -> None:
    """What is before the server could mean the other one."""
    headers = [("host", "localhost"), ("host", "evil.example")]

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(site.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/v1/adapters", headers=headers)

    answer = asyncio.run(ask())
    assert answer.status_code == 400 and answer.json()["error"] == "The request has two Host headers."


def test_tokens_come_from_files_or_the_environment_and_weak_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    monkeypatch.setenv("TASKSWAP_PREDICT_TOKEN", "from-the-environment")
    monkeypatch.setenv("TASKSWAP_ADMIN_TOKEN", "another-one")
    found = Tokens.of(Settings(predict_token_file=str(tmp_path / "token")))
    assert (found.predict, found.admin, found.generated) == (b"from-a-file", b"another-one", False)
    assert "from-a-file" not in repr(found)
    with pytest.raises(SettingsError, match="cannot be read"):
        Tokens.of(Settings(admin_token_file=str(tmp_path / "none")))
    for weak in ("", "short", "with a space in it", "schlüssel-wort"):
        monkeypatch.setenv("TASKSWAP_ADMIN_TOKEN", weak)
        with pytest.raises(SettingsError, match="at least 8 visible ASCII"):
            Tokens.of(Settings())


def test_no_answer_is_wrong_while_adapters_come_go_and_are_replaced(mine: Site, served_bank: Any) -> None:
    requests = [{"adapter": name, "inputs": TEXT} for name in (*servers.NAMES, "turning")]
    labels = {"mood": ["bad", "good"], "topic": ["a", "b", "c"]}
    counts = {"answered": 0, "unknown": 0}
    right = {name: served_bank.predict([{"adapter": name, "inputs": TEXT}])[0]["output"] for name in servers.NAMES}

    async def turn() -> None:
        for _ in range(4):
            for folder in ("mood", "topic"):
                response = await mine.send("PUT", "/v1/adapters/turning", json={"folder": folder})
                assert response.status_code in (200, 201)
            assert (await mine.send("DELETE", "/v1/adapters/turning")).status_code == 204

    async def ask(turning: asyncio.Task[None]) -> None:
        while not turning.done():
            response = await mine.send("POST", "/v1/predict", json=requests)
            assert response.status_code == 200
            *others, last = response.json()
            for name, answer in zip(servers.NAMES, others, strict=True):
                assert answer["adapter"] == name and answer["output"]["text"] == TEXT
                assert answer["output"].get("label") == right[name].get("label")
                assert answer["output"].get("tags") == right[name].get("tags")
            counts["unknown" if "error" in last else "answered"] += 1
            if "error" not in last:
                wanted = labels["mood" if last["version"] % 2 else "topic"]
                assert sorted(last["output"]["scores"]) == wanted, last

    async def both() -> None:
        turning = asyncio.create_task(turn())
        await asyncio.gather(turning, *(ask(turning) for _ in range(4)))

    asyncio.run(both())
    assert counts["answered"] > 0
