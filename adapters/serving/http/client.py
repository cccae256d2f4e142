"""A client for the server that needs only the standard library.

from adapters import Client

client = Client("http://127.0.0.1:8000")
answers = client.predict([{"adapter": "ner", "inputs": "Ada Lovelace lived in London."}])
"""

from __future__ import annotations

import http.client
import json
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from adapters.core.errors import DataError, UserError, refuse_single

Found = TypeVar("Found")
GENERATE, ROUTER = "/v1/generate", "/v1/router"
REQUEST = ("id", "adapter", "inputs", "task")
"""What a bank's `Request` has."""
EXAMPLE = '[{"adapter": "ner", "inputs": "A text."}]'
CHUNK = 64
"""Texts in one HTTP request."""
AHEAD = 3
"""HTTP requests of a stream in progress at a time."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 30.0
"""Seconds before a request is sent again: the first time, and at most. Each wait is twice the one before."""


class ClientError(UserError):
    """A request to a server failed.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        body: of the answer: `error`, `expected`, `found`, and `answers` if each request has an error of its own.
    """

    def __init__(self, message: str, status: int = 0, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.body = status, dict(body or {})


class RefusedError(ClientError):
    """The request cannot be answered; it would be refused again."""


class BusyError(ClientError):
    """The server had no room or no time, at each attempt."""


class UnreachableError(ClientError):
    """The server cannot be reached, or closed the connection."""


class Client:
    """One server. Several threads may use it at once; connections stay open until `close`, or the end of a `with`."""

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60.0, retries: int = 6) -> None:
        """Args:
        url: the server's address, as in `http://127.0.0.1:8000`.
        token: bearer token, if the server needs one.
        timeout: seconds to wait for an answer.
        retries: number of times that a request is sent again if the server has no room or cannot be reached.

        Raises:
            ClientError: the url is not valid.
        """
        shown = _shown(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        try:
            parts = urlsplit(url)
            port, valid = parts.port, parts.scheme in kinds and bool(parts.hostname)
        except ValueError:  # a port that is none, or half of an IPv6 address
            valid = False
        if not valid:
            raise ClientError(f"{shown}: not the address of a server. It must look like http://127.0.0.1:8000.")
        self.url, self.prefix = shown, parts.path.rstrip("/")
        self.kind, self.host, self.port = kinds[parts.scheme], parts.hostname, port
        self.timeout, self.retries = timeout, retries
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.idle: deque[http.client.HTTPConnection] = deque()

    def __repr__(self) -> str:
        return f"Client({self.url!r}{', with a token' if self.headers else ''})"

    def predict(self, requests: Iterable[Any]) -> list[dict[str, Any]]:
        """Answers in the order of the requests.

        Args:
            requests: each `{adapter, inputs, id?}`, or a bank's `Request`; adapter `auto` lets the router choose.

        Returns:
            For each `{id, adapter, version, task, output, truncated, routed?}`, or `{id, adapter, error}`.

        Raises:
            RefusedError: none of them can be answered, or the token is wrong.
            BusyError, UnreachableError: at each attempt.
            DataError: a single request was given, and no list of one; or one names no adapter.
        """
        refuse_single(requests, "a list of requests", EXAMPLE)
        given = [_as_json(request, number) for number, request in enumerate(requests)]  # all, before any is sent
        chunks = [self._chunk(given[begin : begin + CHUNK]) for begin in range(0, len(given), CHUNK)]
        refused = [error for _, error in chunks if error is not None]
        if refused and len(refused) == len(chunks):
            raise refused[0]
        return [answer for answers, _ in chunks for answer in answers]

    def stream(self, requests: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """As `predict`, for any number of requests: some are read ahead, and answers are in order.

        A request that cannot be answered has its error in its own answer, also if none can.
        """
        refuse_single(requests, "a list of requests, or another iterable", EXAMPLE)
        return self._stream(iter(requests))

    def _stream(self, coming: Iterator[Any]) -> Iterator[dict[str, Any]]:
        waiting: deque[Future[list[dict[str, Any]]]] = deque()
        number = 0
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

    def generate(
        self,
        adapter: str | None,
        text: str,
        *,
        max_new_tokens: int = 64,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> dict[str, Any]:
        """The continuation of a text.

        Args:
            adapter: one that generates, or None for the base alone.
            text: to continue.
            max_new_tokens: most tokens to write.
            stop: texts that end the completion; they do not belong to it.
            temperature: 0 takes the likeliest token; others divide the logits and draw.
            top_p: draw among the likeliest tokens that together have this probability.
            seed: of the draws; None for one of the server's, which the answer names.

        Returns:
            `{id, adapter, version, task, output, truncated}`, where the output is `{text, completion, finish_reason,
            prompt_tokens, completion_tokens, seed?}`.

        Raises:
            RefusedError: the text cannot be continued, or the token is wrong.
            BusyError, UnreachableError: at each attempt.
        """
        given = _to_generate(adapter, text, max_new_tokens, stop, temperature, top_p, seed)
        answer: dict[str, Any] = self._call("POST", GENERATE, given)
        return answer

    def generate_stream(
        self,
        adapter: str | None,
        text: str,
        *,
        max_new_tokens: int = 64,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> TextStream:
        """As `generate`: an iterator over the parts of the completion as they are written.

        Its `answer` is what `generate` returns, once it is at its end. Leaving it early ends the text on the server.
        Raises what `generate` raises when the first part is asked for; ClientError if the server fails later.
        """
        given = _to_generate(adapter, text, max_new_tokens, stop, temperature, top_p, seed)
        return TextStream(self._lines(GENERATE, {**given, "stream": True}))

    def explain(
        self,
        adapter: str,
        inputs: str | Mapping[str, Any],
        *,
        method: str | None = None,
        target: str | None = None,
        steps: int = 32,
    ) -> dict[str, Any]:
        """What each word adds to an adapter's answer.

        Args:
            adapter: its name.
            inputs: a text, or the task's columns.
            method: integrated_gradients (the default), gradient_input or occlusion.
            target: what is explained; None for what is answered.
            steps: points of the path of integrated gradients.

        Returns:
            `{id, adapter, version, explanation}`.
        """
        sent = {"adapter": adapter, "inputs": inputs, "method": method, "target": target, "steps": steps}
        found: dict[str, Any] = self._call("POST", "/v1/explain", sent)
        return found

    def adapters(self) -> list[dict[str, Any]]:
        """The server's adapters, sorted by name."""
        found: list[dict[str, Any]] = self._call("GET", "/v1/adapters")["adapters"]
        return found

    def adapter(self, name: str) -> dict[str, Any]:
        """One adapter, with its card. Raises RefusedError if it is unknown."""
        found: dict[str, Any] = self._call("GET", f"/v1/adapters/{quote(name, safe='')}")
        return found

    def load(
        self,
        name: str,
        folder: str,
        *,
        pin: bool = False,
        require_card: bool = False,
        task: str | None = None,
        labels: Sequence[str] | None = None,
        multi_label: bool | None = None,
        pair: bool | None = None,
        max_length: int | None = None,
    ) -> dict[str, Any]:
        """Load an adapter, or a new version of one, from a folder below the server's --adapter_root.

        The arguments are those of `AdapterBank.load`. Raises RefusedError if it cannot be loaded.
        """
        if labels is not None:
            refuse_single(labels, "a list of labels", '["PER", "LOC"]')
        given = {
            "folder": folder,
            "pin": pin,
            "require_card": require_card,
            "task": task,
            "labels": None if labels is None else list(labels),
            "multi_label": multi_label,
            "pair": pair,
            "max_length": max_length,
        }
        info: dict[str, Any] = self._call("PUT", f"/v1/adapters/{quote(name, safe='')}", given)
        return info

    def rollback(self, name: str) -> dict[str, Any]:
        """Return to the former version of an adapter. It is asked once: a second time would go back further.

        Raises RefusedError if it is unknown or has no former version, UnreachableError if nobody answered.
        """
        self.close()  # the server may have closed an idle connection, which would look like no answer
        info: dict[str, Any] = self._call("POST", f"/v1/adapters/{quote(name, safe='')}/rollback", retries=0)
        return info

    def drift(self) -> dict[str, Any]:
        """The answers of each adapter, compared with those on dev: `{window, rate, adapters}`, as GET /v1/drift."""
        found: dict[str, Any] = self._call("GET", "/v1/drift")
        return found

    def unload(self, name: str) -> None:
        """Forget an adapter. Raises RefusedError if it is unknown."""
        self._call("DELETE", f"/v1/adapters/{quote(name, safe='')}")

    def router(self) -> dict[str, Any] | None:
        """The router that answers for `auto`: kind, number of texts by adapter, threshold, rate; None without one."""
        found: dict[str, Any] | None = self._call("GET", ROUTER)["router"]
        return found

    def load_router(self, folder: str) -> dict[str, Any]:
        """Load or replace the router, from a folder below the server's --adapter_root.

        Raises RefusedError if it cannot be loaded, or routes to an adapter that is not.
        """
        info: dict[str, Any] = self._call("PUT", ROUTER, {"folder": folder})
        return info

    def unload_router(self) -> None:
        """Forget the router. Raises RefusedError if there is none."""
        self._call("DELETE", ROUTER)

    def ready(self) -> bool:
        """Whether the server answers requests now."""
        try:
            return self._once("GET", "/readyz", None)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    # one request ------------------------------------------------------------------------------------------------------

    def _chunk(self, requests: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], RefusedError | None]:
        """The answers to the requests of one HTTP request; and its refusal, if each of them is an error."""
        try:
            return self._call("POST", "/v1/predict", requests), None
        except RefusedError as error:
            if "answers" not in error.body:
                raise
            return error.body["answers"], error

    def _each(self, requests: Sequence[Any], first: int) -> list[dict[str, Any]]:
        """The answers to a chunk of a stream. Args: the requests, and the number of the first."""
        return self._chunk([_as_json(request, first + number) for number, request in enumerate(requests)])[0]

    def _call(self, method: str, path: str, body: Any = None, *, retries: int | None = None) -> Any:
        """The server's answer, after as many attempts as needed, or `retries` besides the first."""
        sent = None if body is None else json.dumps(body).encode()
        status, found, attempts = self._retried(lambda: self._once(method, path, sent), retries)
        deleted = method == "DELETE" and status == 404 and attempts > 1  # an earlier attempt has done it
        return None if deleted else _read(status, found)

    def _lines(self, path: str, body: Any) -> Iterator[dict[str, Any]]:
        """The lines of a streamed answer as they come; to begin, after as many attempts as needed."""
        sent = json.dumps(body).encode()

        def begin() -> tuple[int, http.client.HTTPMessage, tuple[http.client.HTTPConnection, Any]]:
            connection, response = self._begin("POST", path, sent)
            return response.status, response.headers, (connection, response)

        status, (connection, response), _ = self._retried(begin)
        try:
            if status != 200:
                _read(status, response.read())
            for line in response:
                yield json.loads(line)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{self.url}: closed the connection before the end of its answer.") from error
        finally:
            if response.isclosed():
                self.idle.append(connection)
            else:  # left early: the server then writes no more
                connection.close()

    def _retried(
        self, attempt: Callable[[], tuple[int, http.client.HTTPMessage, Found]], retries: int | None = None
    ) -> tuple[int, Found, int]:
        """Status and body of the server's answer, and the number of attempts it took."""
        wait, retries = FIRST_WAIT, self.retries if retries is None else retries
        for number in range(1, retries + 2):
            last = number > retries
            try:
                status, headers, found = attempt()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if last:
                    what = str(error) or type(error).__name__
                    raise UnreachableError(f"{self.url}: cannot be reached ({what}). Is the server running?") from error
                least = 0.0
            else:
                if status != 503 or last:
                    return status, found, number
                given = headers.get("Retry-After", "")
                least = float(given) if given.isdigit() else 0.0
            time.sleep(min(LONGEST_WAIT, max(least, wait) + random.uniform(0, wait)))
            wait = min(2 * wait, LONGEST_WAIT)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of one answer."""
        connection, response = self._begin(method, path, body)
        try:
            found = response.status, response.headers, response.read()
        except BaseException:  # a connection cannot be reused in the middle of an answer
            connection.close()
            raise
        self.idle.append(connection)
        return found

    def _begin(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """An answer of which nothing but the headers has been read, on an idle connection or a new one."""
        try:
            connection = self.idle.pop()
        except IndexError:
            connection = self.kind(self.host, self.port, timeout=self.timeout)
        headers = dict(self.headers) if body is None else {**self.headers, "Content-Type": "application/json"}
        try:
            connection.request(method, self.prefix + path, body, headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the idle connections; the next request opens another."""
        while self.idle:
            self.idle.popleft().close()

    def __enter__(self) -> Client:
        """The client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self.close()


class TextStream(Iterator[str]):
    """The parts of a text as a server writes them.

    Attributes:
        answer: what `Client.generate` returns, at the end; None before.
    """

    def __init__(self, lines: Iterator[Mapping[str, Any]]) -> None:
        """Args: lines: of the server's answer."""
        self.answer: Mapping[str, Any] | None = None
        self.lines = lines

    def __next__(self) -> str:
        """The next part. Raises ClientError if the server could not go on."""
        line = next(self.lines)
        if "error" in line:
            raise ClientError(str(line["error"]), 200, line)
        if "output" not in line:
            return str(line["text"])
        self.answer = line
        return next(self)  # reads the end, so that the connection can be used again


def _to_generate(
    adapter: str | None,
    text: str,
    max_new_tokens: int,
    stop: Sequence[str],
    temperature: float,
    top_p: float,
    seed: int | None,
) -> dict[str, Any]:
    refuse_single(stop, "a list of stop texts", '["END"]')
    return {
        "adapter": adapter,
        "inputs": text,
        "max_new_tokens": max_new_tokens,
        "stop": list(stop),
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
    }


def _shown(url: str) -> str:
    """An address as it may be shown: without user name, password, query and fragment."""
    return re.split(r"[?#]", re.sub(r"//[^/?#]*@", "//", url))[0].rstrip("/")


def _as_json(request: Any, number: int) -> dict[str, Any]:
    if isinstance(request, Mapping):
        given = dict(request)
    elif all(hasattr(request, name) for name in REQUEST):
        given = {name: getattr(request, name) for name in REQUEST}
    else:
        raise DataError(f"request {number}: must name its adapter, as in {EXAMPLE}; found {request!r:.60}.")
    if given.get("id") is None:
        given["id"] = str(number)
    return given


def _read(status: int, found: bytes) -> Any:
    """The body of a successful answer. Raises ClientError for another."""
    try:
        body = json.loads(found) if found else None
    except ValueError:
        body = None
    if 200 <= status < 300:
        return body
    error = body if isinstance(body, dict) else {}
    message = str(error.get("error") or f"the server answered {status}")
    if error.get("expected"):
        message += f" Expected: {error['expected']}; found: {error.get('found', '')}."
    raise (BusyError if status in (503, 504) else RefusedError)(message, status, error)
