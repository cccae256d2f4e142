"""Whether torch compiles the model that is trained: some minutes of waiting, and faster steps behind them."""

from __future__ import annotations

import shutil
from typing import Any

from adapters.errors import SettingsError

BACKEND = "inductor"


def dynamo(wanted: bool, device: str) -> Any:
    """How Accelerate shall compile a model; None leaves it as it is.

    Sizes are symbols in what is compiled, as batches are of all lengths: it is compiled once, not for each of them.

    Args:
        wanted: `--torch_compile`.
        device: type of torch's device; on a CPU what is compiled is C++.

    Raises:
        SettingsError: there is no compiler.
    """
    if not wanted:
        return None
    from accelerate.utils import TorchDynamoPlugin

    if device == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        raise SettingsError("--torch_compile: needs a C++ compiler on a CPU (g++, say), and none is found. Install one "
                            "(apt install g++), or leave the flag out.")  # fmt: skip
    return TorchDynamoPlugin(backend=BACKEND, dynamic=True, use_regional_compilation=True)
