"""Whether a batch fits into memory, known before the first step; and what a run used at most."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from adapters.errors import ModelError

if TYPE_CHECKING:
    import torch

SPARE = 0.9
"""Share of the available memory that a run may plan with; the rest is for what an estimate cannot see."""

KERNELS = 32


def available_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still take: the machine's, or less where a control group (a container) says so.

    Reads version 2 (`memory.max`) and version 1 (`memory/memory.limit_in_bytes`) of Linux's control groups. File cache
    counts as free, as the kernel gives it back.
    """
    free = int(psutil.virtual_memory().available)
    for limit, used, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file "),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file "),
    ):
        try:
            bound, taken = int((cgroup / limit).read_text()), int((cgroup / used).read_text())
        except (OSError, ValueError):  # no such control group, or its limit is the word "max"
            continue
        lines = (cgroup / stat).read_text().splitlines() if (cgroup / stat).is_file() else []
        reclaimable = next((int(line.split()[-1]) for line in lines if line.startswith(cache)), 0)
        free = min(free, bound - taken + reclaimable)
    return max(free, 0)


def keep_few_kernels() -> None:
    """Let oneDNN keep the code of a few matrix products alone, unless the user set a number. Call it before the first.

    It makes code for every shape, and keeps that of 1,024: batches of all lengths fill this with some 0.3 GiB, for
    which nothing is saved, since to make it again takes no time that is felt (tests/benchmarks/train_throughput.py).
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))


def peak_bytes(device: torch.device) -> int:
    """Most memory held at once: torch's own count on a GPU, else the resident set of this process."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError, StopIteration):
        # Not getrusage here: what it says begins with the parent's peak.
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def saved_bytes(run: Callable[[], torch.Tensor], model: torch.nn.Module) -> int:
    """Bytes that a forward pass keeps for its backward pass, parameters not counted.

    Counts what autograd saves, each storage once, so it holds for any architecture without a formula of its own.
    """
    import torch

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    # Held until the pass has ended: a freed storage's address could come back and be taken for one already counted.
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = run()
    del loss
    return sum(storage.nbytes() for storage in kept.values())


def rows_that_fit(
    *, rows: int, pieces: int, row_bytes: int, fixed_bytes: int, available: int | None = None, sharing: int = 1
) -> int:
    """How many rows of a batch fit into the memory of a CPU at once.

    Args:
        rows: rows of the largest batch.
        pieces: pieces of each of them.
        row_bytes: what one such row takes between forward and backward pass.
        fixed_bytes: what does not grow with the batch (gradients, optimizer state).
        available: bytes there are; None asks the machine.
        sharing: processes that share them.

    Raises:
        ModelError: not one fits.
    """
    free = int((available_bytes() if available is None else available) * SPARE) // sharing
    needed = fixed_bytes + rows * row_bytes
    if needed <= free:
        return rows
    fitting = max((free - fixed_bytes) // max(row_bytes, 1), 0)
    if fitting:
        return fitting
    gib = 1024**3
    raise ModelError(
        f"A training batch of {rows} rows of {pieces} pieces needs about {needed / gib:.1f} GiB, {free / gib:.1f} are "
        "free. Not one row fits: lower --max_length or choose a smaller base model."
    )


def free_cache() -> None:
    """Give back to a GPU what torch holds without using it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def give_holes_back() -> None:
    """Give back to the system the pages between what is held, where the C library is glibc; elsewhere nothing happens.

    Tensors of ever other sizes leave holes in the heap that no later one fits into, and glibc keeps those pages.
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def out_of_memory(error: BaseException, rows: int) -> ModelError:
    """What to say when a GPU ran out of memory in a batch of so many rows."""
    advice = f"--per_device_train_batch_size {max(rows // 2, 1)} --gradient_accumulation_steps 2"
    return ModelError(f"The GPU's memory does not hold a batch of {rows} rows ({str(error)[:120]}). Try {advice}.")
