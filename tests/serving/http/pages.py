"""For the tests of the server's page: a stand-in that keeps to the server's contract, and a browser that looks."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from browser import chromium
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

FOLDER = Path(__file__).resolve().parents[3] / "adapters" / "serving" / "http" / "page"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
NER_LABELS = ["O", *(f"{prefix}-{kind}" for kind in ("LOC", "MISC", "ORG", "PER") for prefix in "BI")]
PLACES = ("London", "Paris", "Oslo")
ANSWERS = """
return [...document.querySelectorAll("#answers article")].map((answer) => {
  const marks = [...answer.querySelectorAll("mark")].map((mark) => {
    const kind = mark.querySelector(".kind").textContent;
    return [mark.textContent.slice(0, -kind.length), ...kind.trim().split(" ")];
  });
  const copy = answer.cloneNode(true);
  copy.querySelectorAll(".kind").forEach((kind) => kind.remove());
  return [copy.querySelector(".text")?.textContent ?? "", marks];
});
"""


def adapter(name: str, task: str, **other: Any) -> dict[str, Any]:
    """What a server tells of an adapter."""
    labels = NER_LABELS if task == "ner" else ["fresh", "rotten"]
    scores = {
        "dataset": "conll2003",
        "split": "test",
        "n": 3453,
        "metric": "entity_f1",
        "score": "f1",
        "value": 0.86832,
        "low": 0.8585,
        "high": 0.8782,
    }
    return {
        "name": name,
        "aliases": [],
        "version": 1,
        "task": task,
        "labels": labels,
        "method": "lora",
        "base": "minilm",
        "folder": f"runs/{name}/artifact",
        "resident": True,
        "pinned": False,
        "bytes": 316_000,
        "scores": scores,
        "unchecked": [],
        **other,
    }


def entities_of(text: str) -> list[dict[str, Any]]:
    """Each word with a capital is an entity. Offsets are Python's."""
    return [
        {
            "start": found.start(),
            "end": found.end(),
            "label": "LOC" if found[0] in PLACES else "PER",
            "text": found[0],
            "score": 0.987,
        }
        for found in re.finditer(r"[A-Z]\w+", text)
    ]


class Server:
    """The stand-in. Tests set its adapters and answers; `requests` are those that it has received."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As it begins: an adapter for entities, and one for moods."""
        self.adapters = {"ner": adapter("ner", "ner"), "mood": adapter("mood", "classification", method="prefix")}
        self.router: dict[str, Any] | None = None
        self.card: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.predict_token = self.admin_token = ""
        self.refuse: tuple[int, Any, dict[str, str]] | None = None
        self.waits: list[float] = []
        self.parts: list[str] = [" red", ",\nviolets", " are blue."]
        self.pause = 0.0
        self.breaks: str | None = None
        self.sent = 0
        self.unready = 0
        self.requests: list[tuple[str, str, Any]] = []

    def reply_to(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        """(status, body, headers) of an answer."""
        changes = method in ("PUT", "DELETE")
        wanted = self.admin_token if changes else self.predict_token
        if wanted and token != f"Bearer {wanted}":
            return 401, {"error": "A token is needed.", "expected": "Authorization: Bearer …", "found": "none"}, {}
        if self.refuse and (changes or path in ("/v1/predict", "/v1/generate")):
            return self.refuse
        if self.unready:
            self.unready -= 1
            return 503, {"error": "The base is being opened."}, {"Retry-After": "1"}
        if path == "/v1/generate":
            return 200, None, {}
        if path == "/v1/router":
            return 200, {"format": 1, "router": self.router}, {}
        name = unquote(path.removeprefix("/v1/adapters").removeprefix("/"))
        if path == "/v1/predict":
            cost = {"Server-Timing": "wait;dur=3.25, model;dur=20.50", "X-Batch-Rows": "12", "X-Request-ID": "req-7"}
            return 200, [self.answer(n, r) for n, r in enumerate(body)], cost
        if not name:
            base = {"name": "minilm", "kind": "encoder"}
            return 200, {"format": 1, "base": base, "adapters": [*self.adapters.values()]}, {}
        if method == "PUT":
            known = self.adapters.get(name)
            self.adapters[name] = adapter(
                name, "ner", folder=body["folder"], version=known["version"] + 1 if known else 1
            )
            return (200 if known else 201), self.adapters[name], {}
        if name not in self.adapters:
            return 404, {"error": f"No adapter is called {name!r}.", "expected": "ner", "found": name}, {}
        if method == "DELETE":
            del self.adapters[name]
            return 204, None, {}
        card = {"task": {"name": "ner"}, "versions": {"torch": "2.13.0"}, **self.card}
        return 200, {**self.adapters[name], "card": card}, {}

    def written(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of a text, with a pause before each."""
        names = {"id": "0", "adapter": request["adapter"]}
        for part in self.parts:
            time.sleep(self.pause)
            yield {**names, "text": part}
        if self.breaks is not None:
            yield {**names, "error": self.breaks}
            return
        output = {
            "text": request["inputs"],
            "completion": "".join(self.parts),
            "finish_reason": "stop",
            "prompt_tokens": 3,
            "completion_tokens": 9,
        }
        if request["temperature"]:
            output["seed"] = request.get("seed", 1234)
        yield {**names, "version": 1, "task": "text_generation", "output": output, "truncated": False}

    def answer(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        """The answer that a test laid down for an adapter, or one that its text gives."""
        name, text = request["adapter"], request["inputs"]["text"]
        out: dict[str, Any] = {"id": str(number), "adapter": name}
        if isinstance(self.outputs.get(name), str):
            return {**out, "error": self.outputs[name]}
        if name == "auto":
            answer = self.answer(number, {**request, "adapter": "ner"})
            return {**answer, "routed": {"confidence": 0.93, "scores": {"ner": 0.93, "mood": 0.07}}}
        task = self.adapters[name]["task"]
        output = {"text": text, "entities": entities_of(text)}
        if task != "ner":
            output = {**request["inputs"], "label": "fresh", "score": 0.98, "scores": {"fresh": 0.98, "rotten": 0.02}}
        return {**out, "version": 1, "task": task, "output": self.outputs.get(name, output), "truncated": False}


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stand_in: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.stand_in = stand_in


class _Exchange(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two would wait for one another

    def do_GET(self) -> None:
        stand_in = self.server.stand_in
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if self.path in FILES:
            name, kind = FILES[self.path]
            headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Security-Policy": POLICY}
            return self.reply(200, (FOLDER / name).read_bytes(), headers)
        stand_in.requests.append((self.command, self.path, body))
        if self.path == "/v1/predict" and stand_in.waits:
            time.sleep(stand_in.waits.pop(0))
        status, answer, headers = stand_in.reply_to(
            self.command, self.path, self.headers.get("Authorization", ""), body
        )
        if self.path == "/v1/generate" and status == 200:
            return self.write(stand_in.written(body))
        sent = answer.encode() if isinstance(answer, str) else b"" if answer is None else json.dumps(answer).encode()
        self.reply(status, sent, {"Content-Type": "application/json", **headers})

    do_POST = do_PUT = do_DELETE = do_GET

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the page has sent another request meanwhile

    def write(self, lines: Iterator[dict[str, Any]]) -> None:
        """Send lines as they come, until the page hangs up."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.server.stand_in.sent = 0
        try:
            for data in itertools.chain((json.dumps(line).encode() + b"\n" for line in lines), [b""]):
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
                self.server.stand_in.sent += 1
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[tuple[Server, str]]:
    """(the stand-in, its address)."""
    http = _Http(Server())
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield http.stand_in, f"http://127.0.0.1:{http.server_port}/"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class Page:
    """The page in a browser, served by the stand-in."""

    def __init__(self, chrome: webdriver.Chrome, server: Server, address: str) -> None:
        self.chrome, self.server, self.address = chrome, server, address

    def open(self, *, width: int = 1280, scheme: str = "light", motion: str = "reduce") -> Page:
        """Load the page anew in a window of a width, until its list is there."""
        media = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}]
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.chrome.get(self.address)
        self.until(
            "return /^[0-9]/.test(document.getElementById('list-status').textContent) || "
            "document.getElementById('list-problem').textContent"
        )
        return self

    def until(self, script: str, *args: Any) -> Any:
        """Wait until a script returns something, at most 10 s."""
        try:
            return WebDriverWait(self.chrome, 10, 0.02).until(lambda chrome: chrome.execute_script(script, *args))
        except TimeoutException:
            pytest.fail(f"not within 10 s: {script} {args}\n{self['body'].text}")

    def run(self, script: str, *args: Any) -> Any:
        """What a script returns."""
        return self.chrome.execute_script(script, *args)

    def __getitem__(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Every element of a CSS selector."""
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def choose(self, *names: str) -> None:
        """Choose these adapters and no other."""
        self.run(
            "for (const box of document.querySelectorAll('#list input'))"
            "if (box.checked !== arguments[0].includes(box.value)) box.click()",
            names,
        )

    def predict(self, text: str) -> None:
        """Predict for a text, and wait for the answer or an error."""
        self.run("arguments[0].value = arguments[1]", self["#text"], text)
        self["#send"].click()
        self.settled()

    def settled(self) -> None:
        """Wait for the end of the request."""
        self.until("return !document.querySelector('[aria-busy]')")

    def wait_for(self, selector: str, text: str) -> str:
        """Wait until an element holds a text; returns all that it holds."""
        return self.until(
            "const found = document.querySelector(arguments[0]);"
            "return found && found.textContent.includes(arguments[1]) && found.innerText",
            selector,
            text,
        )

    def answers(self) -> list[tuple[str, list[list[str]]]]:
        """Of each answer the text in which entities are marked, without the marks' own words, and (text, type, score)
        of each mark."""
        return [(text, marks) for text, marks in self.run(ANSWERS)]

    def focused(self) -> WebElement:
        """The element with the focus."""
        return self.chrome.switch_to.active_element

    def faults(self) -> list[str]:
        """What the browser complained of, but for answers that are no success: those are shown to people."""
        lines = [
            entry["message"] for entry in self.chrome.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
        ]
        return [line for line in lines if "Failed to load resource" not in line]


def fresh(page: Page) -> Iterator[Page]:
    """The page with its server as it begins and its store empty; a fault in the browser's console fails the test."""
    page.server.reset()
    page.chrome.get(f"{page.address}page.css")
    page.run("sessionStorage.clear(); localStorage.clear()")
    page.faults()
    yield page
    assert not page.faults()


def opened() -> Iterator[Page]:
    """The page, its server and its browser, for a whole file."""
    with chromium() as chrome, serving() as (server, address):
        yield Page(chrome, server, address)
