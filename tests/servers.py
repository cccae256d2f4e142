"""A bank of tiny adapters, applications around it, and servers on real sockets for the tests of the server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import tiny

from adapters.serving.http.app import create
from adapters.serving.http.auth import Tokens
from adapters.serving.http.service import Service
from adapters.serving.http.settings import Settings

TEXT = "Ada Lovelace lived in New York ."
NAMES = ("mood", "ner", "topic")
ADMIN = "admin-token-of-the-tests"
"""Token of servers and of requests, where a test has none of its own."""


def write_adapters(root: Path, base_folder: Path) -> None:
    """Folders `ner`, `mood`, `topic` and `other` of LoRA adapters with answers of their own."""
    from adapters.models.base_model import open_base

    base = open_base(str(base_folder))
    tiny.adapter(root / "ner", "lora", base, tiny.tagging(), seed=1)
    tiny.adapter(root / "mood", "lora", base, tiny.classifying(), seed=2)
    tiny.adapter(root / "topic", "lora", base, tiny.classifying(("a", "b", "c")), seed=3)
    tiny.adapter(root / "other", "lora", base, tiny.classifying(), seed=4)


def bank_of(base: Path, root: Path) -> Any:
    """A bank with three of them."""
    from adapters.serving.bank.bank import AdapterBank

    bank = AdapterBank(str(base), adapter_root=root, capacity=8)
    for name in NAMES:
        bank.load(name, root.resolve() / name)
    return bank


def writing_bank(root: Path) -> Any:
    """A bank on a causal base: two writers, `poet` and `scribe`, and the classifier `mood`."""
    from adapters.models.base_model import open_base
    from adapters.serving.bank.bank import AdapterBank
    from adapters.tasks.base.task import load_task

    folder = str(tiny.llama(root / "base"))
    base, bank = open_base(folder), AdapterBank(folder)
    task = load_task("text_generation").from_card({"labels": []})
    poet = tiny.adapter(root / "poet", "lora", base, task, seed=0, lora_alpha=64)
    scribe = tiny.adapter(root / "scribe", "prefix", base, task, seed=1, num_virtual_tokens=5, prefix_init="random")
    mood = tiny.adapter(root / "mood", "lora", base, tiny.classifying(), seed=2)
    for name, adapter in {"poet": poet, "scribe": scribe, "mood": mood}.items():
        bank.load(name, adapter)
    return bank


class Site:
    """An application, called without sockets."""

    def __init__(
        self, bank: Any, tokens: Tokens | None = None, applications: Sequence[Any] = (), **settings: Any
    ) -> None:
        self.service = Service(Settings(**settings), tokens or Tokens(admin=ADMIN.encode()))
        self.own = {} if tokens else {"authorization": f"Bearer {ADMIN}"}
        self.app = create(self.service, applications)
        if bank is not None:
            self.service.start(bank)

    async def send(self, method: str, path: str, **given: Any) -> httpx.Response:
        given["headers"] = {"host": "localhost", **self.own, **given.get("headers", {})}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **given)

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self.send(method, path, **given))

    def predict(self, requests: Any, **given: Any) -> httpx.Response:
        headers = {"content-type": "application/json", **given.pop("headers", {})}
        return self.ask("POST", "/v1/predict", content=json.dumps(requests), headers=headers, **given)

    def close(self) -> None:
        self.service.close()


class Slow:
    """A bank whose answers wait until they are let go."""

    def __init__(self, bank: Any) -> None:
        self.bank, self.go, self.inputs = bank, threading.Event(), []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bank, name)

    def predict(self, requests: Sequence[Any], faults: Any = None, observed: Any = None) -> Any:
        self.inputs += [request.inputs for request in requests]
        assert self.go.wait(60)
        return self.bank.predict(requests, faults, observed)


class Running:
    """A server on a real socket, in a thread of this process."""

    def __init__(self, bank: Any, applications: Sequence[Any] = (), **settings: Any) -> None:
        from adapters.serving.http.server import bound_socket
        from adapters.serving.http.uvicorn_server import Server

        given = Settings(port=0, **settings)
        self.service = Service(given, Tokens(admin=ADMIN.encode()))
        self.service.open = lambda: self.service.start(bank)  # type: ignore[method-assign]
        self.server = Server(self.service, given, applications)
        self.listener = bound_socket(given)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=lambda: self.server.run([self.listener]))

    def __enter__(self) -> Running:
        self.thread.start()
        until(lambda: self.service.status == "ready")
        until(lambda: self.server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(60)
        assert not self.thread.is_alive()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def until(so: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for something; it never coming is a failure."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def head(path: str = "/v1/predict", kind: str = "application/json", **headers: Any) -> bytes:
    """The head of a POST."""
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def post(requests: Any, path: str = "/v1/predict") -> bytes:
    """A whole POST."""
    body = json.dumps(requests).encode()
    return head(path, content_length=len(body)) + body


def answer(connection: socket.socket) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of what a server says."""
    import http.client

    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, dict(response.headers), response.read()


@contextmanager
def site(bank: Any, **settings: Any) -> Iterator[Site]:
    """An application that is closed at the end."""
    made = Site(bank, **settings)
    try:
        yield made
    finally:
        made.close()
