"""Alarms posted to a URL: signed, in order, with retries until they arrive. Pending events are in the store.

The header `Taskswap-Signature: t=<seconds>,v1=<hex>` has HMAC-SHA256 of `<seconds>.<body>` under the shared key. An
event may come twice, if the answer to its first delivery was lost: it has its id.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from adapters.applications.news_monitor.store import Store
from adapters.core.errors import SessionError, SettingsError

SECRET = "TASKSWAP_WEBHOOK_SECRET"
MIN_CHARACTERS = 8
SIGNATURE = "Taskswap-Signature"
TIMEOUT_SECONDS = 10
FIRST_SECONDS, LAST_SECONDS = 1.0, 3600.0
"""Before an event is sent again: doubled each time, up to the second."""
LOOK_SECONDS = 0.5
"""Polling interval of the store."""


def secret_of(path: str | None) -> bytes:
    """The key in a file, or in the environment. Raises SettingsError where it is missing or short."""
    try:
        text = os.environ.get(SECRET, "") if path is None else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--webhook_secret_file {path}: cannot be read ({error}).") from error
    key = text.strip().encode()
    if len(key) < MIN_CHARACTERS:
        where = f"the variable {SECRET}" if path is None else path
        raise SettingsError(
            f"--webhook needs a key of at least {MIN_CHARACTERS} characters, by which the receiver knows who posts; "
            f"{where} has {len(key)}. Set {SECRET}, or give --webhook_secret_file."
        )
    return key


def signature(key: bytes, seconds: int, body: bytes) -> str:
    """The value of the header."""
    return f"t={seconds},v1={hmac.new(key, b'%d.' % seconds + body, hashlib.sha256).hexdigest()}"


class Delivery(threading.Thread):
    """Delivers what the store has, in a thread, with a connection of its own: a receiver that hangs stops nothing."""

    def __init__(self, path: Path, url: str, key: bytes, timeout: float = TIMEOUT_SECONDS) -> None:
        """Args: path: of the store; url: of the receiver; key: shared with it; timeout: of a delivery, in seconds."""
        super().__init__(daemon=True, name="webhook")
        self.path, self.url, self.key, self.timeout = path, url, key, timeout
        self.stopped = threading.Event()
        self.opener = urllib.request.build_opener(_NoRedirect)

    def run(self) -> None:
        """Deliver until stopped."""
        store = Store(self.path)
        try:
            while not self.stopped.is_set():
                try:
                    more = self.deliver(store)
                except SessionError as error:
                    print(error, file=sys.stderr, flush=True)
                    more = False
                if not more:
                    self.stopped.wait(LOOK_SECONDS)
        finally:
            store.close()

    def deliver(self, store: Store, now: float | None = None) -> bool:
        """Send the event that is due; returns whether it arrived."""
        now = time.time() if now is None else now
        due = store.due(now)
        if due is None:
            return False
        number, body, tries = due
        error = self._post(body.encode("utf-8"), int(now))
        if not error:
            store.delivered(number)
            return True
        store.failed(number, error, now + min(FIRST_SECONDS * 2.0 ** min(tries, 30), LAST_SECONDS))
        return False

    def _post(self, body: bytes, seconds: int) -> str:
        """Post; returns what went wrong."""
        headers = {"Content-Type": "application/json", SIGNATURE: signature(self.key, seconds, body)}
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with self.opener.open(request, timeout=self.timeout):
                return ""
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: the alarm and its signature go to the given URL only."""

    def redirect_request(self, *given: Any, **named: Any) -> None:
        """None."""
