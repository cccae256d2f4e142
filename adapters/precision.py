"""The number format that this machine computes faster in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from adapters.errors import SettingsError
from adapters.files import cache_folder, digest_value, write_json

if TYPE_CHECKING:
    import torch


def fastest_precision(device: torch.device, wanted: str, *, quantized: bool = False) -> str:
    """`no`, `bf16` or `fp16`: what was asked for, or for `auto` what this machine multiplies faster in.

    A base held in fewer bits is there to be small: what of it is not quantised is bf16 then, too.

    Some CPUs have bf16 instructions that are slower than their fp32 ones, so the feature flag does not decide: two
    matrix products are timed, once a machine (the answer is kept in the cache folder, so that runs agree).
    """
    import platform

    import torch

    if wanted != "auto":
        if wanted == "fp16" and device.type == "cpu":
            raise SettingsError("--mixed_precision fp16: not for training on a CPU. Use bf16, no or auto.")
        return wanted
    if quantized and device.type == "cpu":
        return "bf16"
    if device.type != "cpu":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"
    chip = [platform.processor(), torch.__version__, torch.get_num_threads(), torch.cpu.get_capabilities()]
    file = cache_folder("machine") / f"{digest_value(str(chip))[:16]}.json"
    try:
        return str(json.loads(file.read_text())["precision"])
    except (OSError, ValueError, KeyError):
        pass
    times = {dtype: _time_products(dtype) for dtype in (torch.float32, torch.bfloat16)}
    precision = "bf16" if times[torch.bfloat16] < 0.8 * times[torch.float32] else "no"
    write_json(file, {"precision": precision, "seconds": {str(d): t for d, t in times.items()}})
    return precision


def frozen_in(model: Any, precision: str) -> Any:
    """A model that is not trained, its weights held in the format that it computes in: none is cast at each pass."""

    dtype = format_of(precision)
    return model if dtype is None or getattr(model, "is_quantized", False) else model.to(dtype)


def hold_frozen(model: Any, precision: str, stored: torch.dtype | None = None) -> None:
    """Hold the frozen matrices of a model that is trained in the format in which autocast multiplies them.

    Every number stays what it was: autocast would cast them so, at each pass anew. Embeddings and norms stay whole,
    unless the checkpoint itself is in that format: then they are as they were stored, and so is what layers hand on.

    Args:
        model: with what is trained around it.
        precision: what it computes in.
        stored: the format of the checkpoint's numbers.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    dtype = format_of(precision)
    if dtype is None:
        return
    for module in model.modules():
        if not isinstance(module, torch.nn.Linear | Conv1D) and stored != dtype:
            continue
        for parameter in module.parameters(recurse=False) if stored == dtype else (module.weight,):
            if not parameter.requires_grad and parameter.dtype == torch.float32:
                parameter.data = parameter.data.to(dtype)


def format_of(precision: str) -> torch.dtype | None:
    """What autocast multiplies in; None where it casts nothing."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def _time_products(dtype: torch.dtype) -> float:
    """Seconds of the quickest of some matrix products of a size that training has."""
    import time

    import torch

    left, right = (torch.randn(768, 768).to(dtype) for _ in range(2))
    times = []
    for _ in range(8):
        begin = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - begin)
    return min(times)
