"""The server's settings: the flags of `taskswap serve`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.core.errors import SettingsError
from adapters.core.flags import named_folders
from adapters.serving.bank.adapter_name import fault_of

RUNTIMES = ("torch", "onnx")
"""What answers: adapters on a base by torch, or exports by ONNX Runtime."""
LEAST_WINDOW = 50
"""Answers below which no test could find a drift."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Adapters of one base model, served over HTTP."""

    base: str = "minilm"
    """Base model: a folder, a Hub id or an alias (minilm, e5, smollm2). Default: the one that the adapters or the
    applications name, else minilm."""
    runtime: str = "torch"
    """torch: adapters on one base model. onnx: exports (taskswap export --format onnx), each with its base in it,
    without torch; those of one export with several adapters are called NAME-ADAPTER."""
    adapter: list[str] = field(default_factory=list)
    """Adapters to load at the start, each as NAME=FOLDER, the folder of a run or the `artifact` in it; may be given
    several times."""
    router: str | None = None
    """Folder of a router, which chooses the adapter of each request for `auto`."""
    application: list[str] = field(default_factory=list)
    """Applications to serve, each as NAME=FOLDER of what was learned, as in customer_service=runs/customer_service."""
    database: str | None = None
    """Where applications keep what survives a restart: an SQLite file, or a URL of SQLAlchemy (postgresql+psycopg://…).
    Default: TASKSWAP_DATABASE in the environment, else an SQLite file in the application's folder."""
    adapter_root: str | None = None
    """Folder that must contain all adapters, after links are resolved. Without it none can be loaded over HTTP."""
    capacity: int = 64
    """Adapters in memory at a time; the least recently used is evicted first."""
    device: str = "auto"
    """Device of the base model: auto (cuda, then mps, then cpu), cpu, cuda, cuda:1, mps."""
    dtype: str = "auto"
    """Number format of the base and the adapters: float32, bfloat16, or auto (bfloat16 on a CUDA device that supports
    it, float32 elsewhere)."""
    plugin_dir: list[str] = field(default_factory=list)
    """Folders with additional methods and tasks."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""
    port: int = 8000
    """Port to listen on; 0 for a free one."""
    threads: int | None = None
    """Batches that run at a time, each on its share of the cores. Default: half the number of cores, at least one and
    at most four; one on a GPU."""
    workers: int = 1
    """Processes, each with the base and all adapters. With several, adapters cannot be loaded or unloaded over HTTP."""
    predict_token_file: str | None = None
    """File with the bearer token that requests need. Default: TASKSWAP_PREDICT_TOKEN in the environment, else none."""
    admin_token_file: str | None = None
    """File with the bearer token that loading and unloading need, from this machine as well. Default:
    TASKSWAP_ADMIN_TOKEN, else one that is generated and shown at start."""
    staff_token_file: str | None = None
    """File with the bearer token of people who work with what an application hands over. Default:
    TASKSWAP_STAFF_TOKEN, else the admin token alone."""
    forwarded_allow_ips: str = "127.0.0.1"
    """Proxies, by address and with commas, whose X-Forwarded-For names the client in the log. It decides nothing."""

    max_wait_ms: float = 4.0
    """Milliseconds that a request waits for others to share its forward pass."""
    max_batch_tokens: int = 1024
    """Tokens in one forward pass, padding included."""
    max_queue: int = 128
    """Texts that may wait; a request for which there is no room is refused at once with 503. With a higher value a peak
    of requests takes longer to work off."""
    timeout_ms: float = 30_000.0
    """Milliseconds after which a request is answered with 504 and its texts are dropped. A client may set fewer."""
    max_body_bytes: int = 1_000_000
    """Bytes in a request's body, or in a line of a stream."""
    max_texts: int = 64
    """Texts in one request."""
    max_characters: int = 20_000
    """Characters in one text (in all columns of its inputs together)."""
    max_new_tokens: int = 512
    """Tokens that one request may have written."""
    max_explanations: int = 4
    """Explanations that may wait or be computed, one at a time; 0 for none at all. Each takes as long as some hundred
    answers."""
    max_explained_words: int = 400
    """Words in a text that is explained."""
    read_timeout_s: float = 20.0
    """Seconds for a client to send a request's headers, its body or a line of a stream, or to read an answer."""
    grace_s: int = 30
    """Seconds that SIGTERM waits for admitted requests."""
    log_texts: bool = False
    """Write the texts of requests to the log; emails, card and phone numbers in them are masked."""
    watch: float = 0.0
    """Polling interval, in seconds, for new versions of adapters whose folder is a link or has a current.json; 0
    disables polling."""
    drift_window: int = 1000
    """Answers of an adapter that are compared with those on dev (labels, confidence, unknown tokens), again and again;
    0 compares none."""
    drift_rate: float = 0.01
    """Rate of false alarms: the share of windows that raise one although nothing has drifted."""

    def check(self) -> None:
        """Raises SettingsError if a value cannot be used."""
        least = {
            "capacity": 1,
            "port": 0,
            "threads": 1,
            "workers": 1,
            "max_wait_ms": 0,
            "max_batch_tokens": 1,
            "max_queue": 1,
            "timeout_ms": 1,
            "max_body_bytes": 1,
            "max_texts": 1,
            "max_characters": 1,
            "max_new_tokens": 1,
            "max_explanations": 0,
            "max_explained_words": 1,
            "read_timeout_s": 0.001,
            "grace_s": 1,
            "watch": 0,
        }
        for name, smallest in least.items():
            if getattr(self, name) is not None and not getattr(self, name) >= smallest:
                raise SettingsError(f"--{name} {getattr(self, name)}: must be at least {smallest}.")
        if self.max_texts > self.max_queue:
            raise SettingsError(
                f"--max_texts {self.max_texts}: a request of that size would never fit into --max_queue "
                f"{self.max_queue}. Raise --max_queue."
            )
        if self.port > 65535:
            raise SettingsError(f"--port {self.port}: must be at most 65535.")
        if self.router is not None and not Path(self.router).is_dir():
            raise SettingsError(f"--router {self.router}: no such folder. Give the folder that `Router.save` wrote.")
        if self.drift_window and self.drift_window < LEAST_WINDOW:
            raise SettingsError(
                f"--drift_window {self.drift_window}: must be at least {LEAST_WINDOW}, or 0 to compare no answers."
            )
        if self.runtime not in RUNTIMES:
            raise SettingsError(f"--runtime {self.runtime}: must be {' or '.join(RUNTIMES)}.")
        if self.runtime != RUNTIMES[0]:
            needs = {"router": self.router is not None, "application": bool(self.application), "watch": self.watch > 0}
            needs["device"] = self.device not in ("auto", "cpu")
            needs["dtype"] = self.dtype not in ("auto", "float32")
            for name in (name for name, wanted in needs.items() if wanted):
                raise SettingsError(f"--{name} {getattr(self, name)}: only with --runtime torch. Leave it out.")
        if not 0 < self.drift_rate < 1:
            raise SettingsError(f"--drift_rate {self.drift_rate}: must be between 0 and 1, as in 0.01.")
        self.adapters()
        self.applications()

    def adapters(self) -> dict[str, Path]:
        """Folders of the adapters to load at the start, by name. Raises SettingsError."""
        return _folders("adapter", self.adapter, "ner=runs/lora_ner", "the folder of a run, or the `artifact` in it")

    def applications(self) -> dict[str, Path]:
        """Folders of the applications, by name. Raises SettingsError."""
        example = "customer_service=runs/customer_service"
        return _folders("application", self.application, example, "the folder that the application was learned into")


def _folders(flag: str, every: Sequence[str], example: str, what: str) -> dict[str, Path]:
    """Folders that exist, by name. Raises SettingsError."""
    folders = named_folders(flag, every, example, fault_of)
    for name, folder in folders.items():
        if not folder.is_dir():
            raise SettingsError(f"--{flag} {name}={folder}: no such folder. Give {what}.")
    return folders
