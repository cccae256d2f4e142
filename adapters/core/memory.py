"""Available and peak memory, and whether a training batch fits, known before the first step."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from adapters.core.errors import ModelError, numbered

if TYPE_CHECKING:
    import torch

SPARE = 0.9
"""Share of the available memory that a run may use; the rest is a margin for what the estimate misses."""


def available_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process can still allocate: of the machine, or of its control group (container) if that is less.

    Supports versions 2 (`memory.max`) and 1 (`memory/memory.limit_in_bytes`) of Linux control groups. The file cache
    counts as free, as the kernel reclaims it.
    """
    free = int(psutil.virtual_memory().available)
    for limit, used, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file "),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file "),
    ):
        try:
            maximum, current = int((cgroup / limit).read_text()), int((cgroup / used).read_text())
        except (OSError, ValueError):  # no such control group, or its limit is the word "max"
            continue
        lines = (cgroup / stat).read_text().splitlines() if (cgroup / stat).is_file() else []
        reclaimable = next((int(line.split()[-1]) for line in lines if line.startswith(cache)), 0)
        free = min(free, maximum - current + reclaimable)
    return max(free, 0)


def reset_peak(device: torch.device) -> None:
    """Begin the peak of `peak_bytes` anew, so that it is that of what follows; nothing where the system cannot.

    On a CPU Linux alone can: otherwise the peak stays that of the process.
    """
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): resets VmHWM and nothing else


def peak_bytes(device: torch.device) -> int:
    """Peak memory in bytes since `reset_peak`: as torch counts it on a GPU, otherwise this process's resident set."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError, StopIteration):
        # Not getrusage, which starts at the peak of the parent process.
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def saved_bytes(run: Callable[[], torch.Tensor], model: torch.nn.Module) -> int:
    """Bytes that a forward pass saves for its backward pass, without parameters.

    Counts what autograd saves, each storage once, and so works for any architecture.
    """
    import torch

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    # Kept until the pass has ended: the address of a freed storage could be reused, and seem to be counted already.
    kept: dict[int, torch.UntypedStorage] = {}

    def record(tensor: torch.Tensor) -> torch.Tensor:
        sparse = tensor.layout == torch.sparse_coo  # it has no storage of its own
        for part in (tensor._indices(), tensor._values()) if sparse else (tensor,):
            storage = part.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        loss = run()
    del loss
    return sum(storage.nbytes() for storage in kept.values())


def rows_that_fit(
    *, rows: int, tokens: int, row_bytes: int, fixed_bytes: int, available: int | None = None, sharing: int = 1
) -> int:
    """Number of rows of a batch that fit the memory of a CPU at once.

    Args:
        rows: rows of the largest batch.
        tokens: tokens of each of them.
        row_bytes: what one such row takes between forward and backward pass.
        fixed_bytes: what does not depend on the batch (gradients, optimizer state).
        available: bytes of memory; None determines them.
        sharing: number of processes that share them.

    Raises:
        ModelError: not even one row fits.
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
        f"A training batch of {rows} rows of {tokens} tokens needs about {needed / gib:.1f} GiB, {free / gib:.1f} are "
        "free. Not even one row fits: lower --max_length or choose a smaller base model."
    )


def free_cache() -> None:
    """Release the GPU memory that torch caches without using it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def release_fragmented_memory() -> None:
    """Return free heap pages to the system, if the C library is glibc.

    Tensors of varying sizes fragment the heap, and glibc keeps the free pages between them.
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def out_of_memory(error: BaseException, rows: int) -> ModelError:
    """The error for a GPU that ran out of memory in a batch of `rows` rows."""
    advice = f"--per_device_train_batch_size {max(rows // 2, 1)} --gradient_accumulation_steps 2"
    size, why = numbered(rows, "rows"), str(error)[:120]
    return ModelError(f"A batch of {size} does not fit the GPU's memory ({why}). Try {advice}.")
