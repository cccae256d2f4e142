"""Versions and hardware for records of results."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapters import __version__
from adapters.core.errors import SettingsError
from adapters.core.processes import cores

PROJECT = "taskswap"
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    out = {"taskswap": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            out[name] = "not installed"
    return out


def require_libraries(what: str, names: Sequence[str], extra: str) -> None:
    """Raises SettingsError where a library of an extra is missing. `what` needs them, for the message."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise SettingsError(f"{what} needs {', '.join(missing)}: {install_command(extra)}.")


def install_command(extra: str) -> str:
    """What installs an extra: from the clone of the repository that runs, else from a package index."""
    clone = Path(__file__).resolve().parents[2]
    from_clone = (clone / "pyproject.toml").is_file()
    return f"pip install {'-e ' if from_clone else ''}{shlex.quote(f'{clone if from_clone else PROJECT}[{extra}]')}"


def hardware() -> dict[str, Any]:
    """The machine that a run was measured on."""
    import psutil
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    """Name of the processor (on Linux), with the instructions that matter for speed."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    flags = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if f" {flag} " in text.replace(os.linesep, " ")]
    return f"{name or platform.machine()} ({' '.join(flags)})" if flags else name or platform.machine()
