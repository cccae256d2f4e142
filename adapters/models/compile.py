"""Compilation of the model by torch for training: it takes minutes, then steps are faster."""

from __future__ import annotations

import shutil
from typing import Any

from adapters.core.errors import SettingsError

BACKEND = "inductor"


def dynamo(wanted: bool, device: str) -> Any:
    """Accelerate's plugin for compilation; None if it is not wanted.

    Sizes are dynamic, as batches have many lengths: the model is compiled once, not for each of them.

    Args:
        wanted: `--torch_compile`.
        device: type of the torch device; a CPU needs a C++ compiler.

    Raises:
        SettingsError: there is no compiler.
    """
    if not wanted:
        return None
    from accelerate.utils import TorchDynamoPlugin

    if device == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        raise SettingsError(
            "--torch_compile: needs a C++ compiler on a CPU (g++, say), and none is found. Install one "
            "(apt install g++), or leave the flag out."
        )
    return TorchDynamoPlugin(backend=BACKEND, dynamic=True, use_regional_compilation=True)
