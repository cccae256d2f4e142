"""The bank behind HTTP: what a server is told, and how it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapters.errors import SettingsError, UserError
from adapters.residency import NAME

RETRY = "Retry-After"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Adapters of one base, answered over HTTP."""

    base: str = "minilm"
    """Base model: a folder, a Hub id or an alias (minilm, smollm2)."""
    adapter: list[str] = field(default_factory=list)
    """Adapters to begin with, each as NAME=FOLDER; may be given several times."""
    adapter_root: str | None = None
    """Folder in which all adapters must lie, links followed. Without it none can be loaded over HTTP."""
    capacity: int = 64
    """Adapters held in memory at a time; the least recently used makes room."""
    dtype: str = "float32"
    """Of the base and the adapters: float32 or bfloat16."""
    device: str = "cpu"
    """Of torch."""
    plugin_dir: list[str] = field(default_factory=list)
    """Folders with methods and tasks of your own."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all of them."""
    port: int = 8000
    """Port to listen at; 0 for a free one."""
    threads: int | None = None
    """Batches that the bank answers at a time, each on its share of the cores. Default: half as many as cores, from one
    to four; one on a GPU."""
    workers: int = 1
    """Processes, each with the base and all adapters. With several, nothing is loaded or unloaded over HTTP."""
    predict_token_file: str | None = None
    """File with the token that predicting asks for. Default: TASKSWAP_PREDICT_TOKEN in the environment, else none."""
    admin_token_file: str | None = None
    """File with the token that loading and unloading ask for. Default: TASKSWAP_ADMIN_TOKEN, else none."""

    max_wait_ms: float = 4.0
    """How long a request waits for others to share its forward pass."""
    max_batch_pieces: int = 1024
    """Pieces of one forward pass, padding included."""
    max_queue: int = 128
    """Texts that may wait; a request above that is refused at once with 503. With more, a flood takes longer to end."""
    timeout_ms: float = 30_000.0
    """How long a request may take; past it 504, and its texts are dropped. A client may ask for less."""
    max_body_bytes: int = 1_000_000
    """Of a request's body, and of a line of a stream."""
    max_texts: int = 64
    """Texts of one request."""
    max_characters: int = 20_000
    """Characters of one text (of all columns of its inputs together)."""
    read_timeout_s: float = 20.0
    """How long a client may take over a request's headers, its body, a line of a stream, or to fetch an answer."""
    grace_s: int = 30
    """How long SIGTERM waits for what was admitted."""
    log_texts: bool = False
    """Write the texts of requests into the log."""

    def check(self) -> None:
        """Raises SettingsError where something cannot work."""
        least = {"capacity": 1, "port": 0, "threads": 1, "workers": 1, "max_wait_ms": 0, "max_batch_pieces": 1,
                 "max_queue": 1, "timeout_ms": 1, "max_body_bytes": 1, "max_texts": 1, "max_characters": 1,
                 "read_timeout_s": 0.001, "grace_s": 1}  # fmt: skip
        for name, smallest in least.items():
            if getattr(self, name) is not None and not getattr(self, name) >= smallest:
                raise SettingsError(f"--{name} {getattr(self, name)}: must be at least {smallest}.")
        if self.max_texts > self.max_queue:
            raise SettingsError(
                f"--max_texts {self.max_texts}: a request of so many would never find room in --max_queue "
                f"{self.max_queue}. Raise the latter."
            )
        if self.port > 65535:
            raise SettingsError(f"--port {self.port}: must be at most 65535.")
        self.adapters()

    def adapters(self) -> dict[str, Path]:
        """Folders of the adapters to begin with. Raises SettingsError."""
        found: dict[str, Path] = {}
        for given in self.adapter:
            name, equals, folder = given.partition("=")
            if not (name and equals and folder):
                raise SettingsError(
                    f"--adapter {given}: must be NAME=FOLDER, as in --adapter ner=runs/lora_ner/artifact."
                )
            if not NAME.fullmatch(name):
                raise SettingsError(
                    f"--adapter {given}: {name} is no name for an adapter: it must match {NAME.pattern}."
                )
            if not Path(folder).is_dir():
                raise SettingsError(f"--adapter {given}: no such folder. Give the `artifact` folder that a run left.")
            if name in found:
                raise SettingsError(f"--adapter {given}: {name} is given twice. Choose another name.")
            found[name] = Path(folder)
        return found


class Refusal(UserError):
    """A request that is not answered, or not all of it."""

    def __init__(
        self, status: int, reason: str, error: str, *, expected: str = "", found: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Args:
        status: of HTTP.
        reason: one word, for the count of refusals.
        error: what is wrong, and what to do.
        expected: what would have been right.
        found: what was given.
        headers: of the answer.
        """
        super().__init__(error)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})
        self.body: dict[str, object] = {"error": error, "expected": expected, "found": found}


def busy(reason: str, error: str, seconds: int = 1) -> Refusal:
    """A refusal that may be tried again after some seconds."""
    return Refusal(
        503, reason, error, expected=f"the same request again after {seconds} s", found="no room at present",
        headers={RETRY: str(seconds)},
    )  # fmt: skip


ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""What a request's id may be; another one is not taken over into logs and headers."""
