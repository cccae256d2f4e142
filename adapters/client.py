"""A server asked from Python, with nothing but the standard library.

from adapters.client import Client

client = Client("http://127.0.0.1:8000")
answers = client.predict([{"adapter": "ner", "inputs": "Ada Lovelace lived in London."}])
"""

from __future__ import annotations

import http.client
import json
import random
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any
from urllib.parse import quote, urlsplit

from adapters.errors import UserError

CHUNK = 64
"""Texts of one request to the server."""
AHEAD = 3
"""Requests of a stream that are under way at a time."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 30.0
"""Seconds before a request is sent again: the first time, and at most. In between each is twice the one before."""


class ClientError(UserError):
    """A server did not do what it was asked.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        body: of the answer: `error`, `expected`, `found`, and `answers` where each request has an error of its own.
    """

    def __init__(self, message: str, status: int = 0, body: Mapping[str, Any] | None = None) -> None:
        """Args: what to tell the user, and what the server said."""
        super().__init__(message)
        self.status, self.body = status, dict(body or {})


class RefusedError(ClientError):
    """The request itself is at fault; sent again it would be refused again."""


class BusyError(ClientError):
    """The server had no room, or no time, however often it was asked."""


class UnreachableError(ClientError):
    """The server cannot be reached, or went away."""


class Client:
    """One server. Several threads may use it at once; connections stay open until `close`, or the end of a `with`."""

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60.0, retries: int = 6) -> None:
        """Args:
        url: where the server is, as in `http://127.0.0.1:8000`.
        token: that the server asks for.
        timeout: seconds to wait for an answer.
        retries: how often a request is sent again that found no room, or no server.

        Raises:
            ClientError: the url is none.
        """
        parts = urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise ClientError(f"{url}: not the address of a server. Give one as in http://127.0.0.1:8000.")
        self.url, self.prefix = url, parts.path.rstrip("/")
        self.kind, self.host, self.port = kinds[parts.scheme], parts.hostname, parts.port
        self.timeout, self.retries = timeout, retries
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.idle: deque[http.client.HTTPConnection] = deque()

    def predict(self, requests: Sequence[Any]) -> list[dict[str, Any]]:
        """Answers in the order of the requests.

        Args:
            requests: each `{adapter, inputs, id?}`, or a bank's `Request`.

        Returns:
            For each `{id, adapter, generation, task, output, truncated}`, or `{id, adapter, error}`.

        Raises:
            RefusedError: not one of them can be answered, or the token is wrong.
            BusyError, UnreachableError: however often they were sent.
        """
        answers: list[dict[str, Any]] = []
        refused: RefusedError | None = None
        good = False
        for begin in range(0, len(requests), CHUNK):
            try:
                answers += self._predict(requests[begin : begin + CHUNK], begin)
                good = True
            except RefusedError as error:
                if "answers" not in error.body:
                    raise
                refused = refused or error
                answers += error.body["answers"]
        if refused is not None and not good:
            raise refused
        return answers

    def stream(self, requests: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """As `predict`, of as many requests as there may be: some are read ahead, their answers come in order.

        A request that cannot be answered has its error in its own place, also where none can.
        """
        waiting: deque[Future[list[dict[str, Any]]]] = deque()
        coming, number = iter(requests), 0
        with ThreadPoolExecutor(AHEAD) as threads:
            try:
                while chunk := list(islice(coming, CHUNK)):
                    waiting.append(threads.submit(self._each, chunk, number))
                    number += len(chunk)
                    if len(waiting) > AHEAD:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for left in waiting:
                    left.cancel()

    def adapters(self) -> list[dict[str, Any]]:
        """What the server tells of its adapters, by name."""
        found: list[dict[str, Any]] = self._ask("GET", "/v1/adapters")["adapters"]
        return found

    def adapter(self, name: str) -> dict[str, Any]:
        """What it tells of one, with its card. Raises RefusedError where there is none."""
        found: dict[str, Any] = self._ask("GET", f"/v1/adapters/{quote(name, safe='')}")
        return found

    def load(
        self, name: str, folder: str, *, pin: bool = False, require_card: bool = False, task: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Load an adapter, or a new generation of one that is there, from a folder below the server's root.

        The arguments are those of `AdapterBank.load`. Raises RefusedError where it cannot be loaded.
        """
        given = {"folder": folder, "pin": pin, "require_card": require_card, "task": task,
                 "labels": None if labels is None else list(labels)}  # fmt: skip
        told: dict[str, Any] = self._ask("PUT", f"/v1/adapters/{quote(name, safe='')}", given)
        return told

    def unload(self, name: str) -> None:
        """Forget an adapter. Raises RefusedError where there is none."""
        self._ask("DELETE", f"/v1/adapters/{quote(name, safe='')}")

    def ready(self) -> bool:
        """Whether the server answers requests, now."""
        try:
            return self._once("GET", "/readyz", None)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    # one request ------------------------------------------------------------------------------------------------------

    def _predict(self, requests: Sequence[Any], first: int) -> list[dict[str, Any]]:
        listed = [_as_json(request, first + number) for number, request in enumerate(requests)]
        answers: list[dict[str, Any]] = self._ask("POST", "/v1/predict", listed)
        return answers

    def _each(self, requests: Sequence[Any], first: int) -> list[dict[str, Any]]:
        """As `_predict`, with the errors of requests of which none can be answered in their places."""
        try:
            return self._predict(requests, first)
        except RefusedError as error:
            if "answers" not in error.body:
                raise
            answers: list[dict[str, Any]] = error.body["answers"]
            return answers

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the server answers, asked as often as it takes."""
        sent = None if body is None else json.dumps(body).encode()
        wait = FIRST_WAIT
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            try:
                status, headers, found = self._once(method, path, sent)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if last:
                    what = str(error) or type(error).__name__
                    raise UnreachableError(f"{self.url}: cannot be reached ({what}). Is the server running?") from error
                least = 0.0
            else:
                if status != 503 or last:
                    gone = method == "DELETE" and status == 404 and attempt > 0  # an earlier one has done it
                    return None if gone else _read(status, found)
                given = headers.get("Retry-After", "")
                least = float(given) if given.isdigit() else 0.0
            time.sleep(min(LONGEST_WAIT, max(least, wait) + random.uniform(0, wait)))
            wait = min(2 * wait, LONGEST_WAIT)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of one answer, on a connection that nobody uses, or a new one."""
        try:
            connection = self.idle.pop()
        except IndexError:
            connection = self.kind(self.host, self.port, timeout=self.timeout)
        headers = dict(self.headers) if body is None else {**self.headers, "Content-Type": "application/json"}
        try:
            connection.request(method, self.prefix + path, body, headers)
            response = connection.getresponse()
            found = response.status, response.headers, response.read()
        except BaseException:  # what is half sent or half read cannot be gone on with
            connection.close()
            raise
        self.idle.append(connection)
        return found

    def close(self) -> None:
        """Close the connections that nobody uses; the next request opens another."""
        while self.idle:
            self.idle.popleft().close()

    def __enter__(self) -> Client:
        """The client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self.close()


def _as_json(request: Any, number: int) -> dict[str, Any]:
    if not isinstance(request, Mapping):
        request = {"adapter": request.adapter, "inputs": request.inputs, "id": request.id}
    given = dict(request)
    if given.get("id") is None:
        given["id"] = str(number)
    return given


def _read(status: int, found: bytes) -> Any:
    """The body of a good answer. Raises ClientError that says what is wrong with another."""
    try:
        body = json.loads(found) if found else None
    except ValueError:
        body = None
    if 200 <= status < 300:
        return body
    told = body if isinstance(body, dict) else {}
    message = str(told.get("error") or f"the server answered {status}")
    if told.get("expected"):
        message += f" Expected: {told['expected']}; found: {told.get('found', '')}."
    raise (BusyError if status in (503, 504) else RefusedError)(message, status, told)
