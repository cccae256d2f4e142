"""A run that is ended in a chosen phase by a signal or a full disk, and is resumed by the same command."""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from conftest import call_recipe
from forked import Forked

PHASES = {
    "read": ("adapters.tasks.base.examples:read_splits", 1),
    "tokenize": ("adapters.training.train_dataset:encode_split", 1),
    "first step": ("adapters.training.trainer:Trainer.train_step", 1),
    "seventh step": ("adapters.training.trainer:Trainer.train_step", 7),
    "dev score": ("adapters.evaluation.evaluate:main_score", 2),
    "write a checkpoint": ("adapters.training.checkpoint:_write", 2),
    "write what was trained": ("adapters.training.checkpoint:Checkpoints.save_trained", 1),
    "test score": ("adapters.evaluation.evaluate:evaluate", 1),
    "write the artifact": ("adapters.artifacts.artifact:write", 1),
    "write predictions": ("adapters.experiments.records:write_predictions", 1),
    "write the report": ("adapters.evaluation.report.run_report:plain", 1),
    "write scores": ("adapters.experiments.run:write_json", 1),
    "remove checkpoints": ("adapters.training.checkpoint:Checkpoints.finish", 1),
}
"""Function that begins each phase, and which of its calls."""
WRITING = {"tokenize", "write a checkpoint", "write what was trained", *(p for p in PHASES if p.startswith("write "))}
SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -signal.SIGKILL}
FULL = "ENOSPC"
EVERY = [(phase, fault) for phase in PHASES for fault in (*SIGNALS, *([FULL] if phase in WRITING else []))]
INCIDENTAL = ("seconds", "tokens_per_second", "first_step_at", "train_seconds", "train_tokens_per_second", "latency_ms",
              "peak_memory_bytes", "examples_per_second")  # fmt: skip


def outcome(folder: Path) -> Any:
    """scores.json, but for times and memory; and the tensors of the artifact."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kept(one) for name, one in value.items() if name not in INCIDENTAL}
        return [kept(one) for one in value] if isinstance(value, list) else value

    weights = {path.name: path.read_bytes() for path in sorted((folder / "artifact").glob("*.safetensors"))}
    return kept(json.loads((folder / "scores.json").read_text())), weights


def interrupted(words: list[str], phase: str, fault: str, log: Path) -> int:
    """Run a recipe (its file first) or a command of taskswap until the fault comes; its exit code."""
    process = Forked([Path(__file__), phase, fault, *words], log)
    return process.wait()


def _inject(phase: str, fault: str) -> None:
    """Let the function of a phase begin with the fault."""
    place, number = PHASES[phase]
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), [0]

    def faulty(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number and fault == FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if calls[0] == number:
            os.kill(os.getpid(), getattr(signal, fault))
        return function(*given, **named)

    setattr(owner, name, faulty)


if __name__ == "__main__":
    from adapters.cli.main import main

    _inject(*sys.argv[1:3])
    given = sys.argv[3:]
    sys.exit(call_recipe(Path(given[0]), given[1:]) if given[0].endswith(".py") else main(given))
