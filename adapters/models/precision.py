"""The precision that is fastest on this machine, and casting frozen weights to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from adapters.core.errors import SettingsError
from adapters.core.files import cache_folder, digest_value, write_json

if TYPE_CHECKING:
    import torch


def fastest_precision(
    device: torch.device,
    requested: str,
    *,
    quantized: bool = False,
    agreed: Callable[[str], str] = lambda own: own,
) -> str:
    """`no`, `bf16` or `fp16`: the requested one, or for `auto` the one that is fastest on this machine.

    On a CPU a quantized base uses bf16, as it is meant to be small.

    Some CPUs have bf16 instructions that are slower than fp32, so CPU flags do not tell: two matrix products are timed,
    once per machine (the result is kept in the cache folder, so that runs agree).

    Args:
        device: of the computation.
        requested: the value of --mixed_precision.
        quantized: whether the base is.
        agreed: makes one choice of those of several processes, which may have timed at different moments.
    """
    import torch

    if requested != "auto":
        if requested == "fp16" and device.type == "cpu":
            raise SettingsError("--mixed_precision fp16: not supported on a CPU. Use bf16, no or auto.")
        return requested
    if quantized and device.type == "cpu":
        return "bf16"
    if device.type != "cpu":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"
    return agreed(_faster())


def _faster() -> str:
    """`no` or `bf16`: which this machine's CPU multiplies faster in, as timed once and kept."""
    import platform

    import torch

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


def cast_frozen_model(model: Any, precision: str) -> Any:
    """Cast a model that is not trained to the dtype of its computation, so that no pass has to cast it."""
    dtype = autocast_dtype(precision)
    return model if dtype is None or getattr(model, "is_quantized", False) else model.to(dtype)


def cast_frozen_weights(model: Any, precision: str, stored: torch.dtype | None = None) -> None:
    """Cast the frozen matrices of a model in training to the dtype to which autocast would cast them at every pass.

    The results do not change. Embeddings and norms stay in fp32, unless the checkpoint itself has that dtype: then they
    are as stored, and the hidden states have it too. A norm of which a part is trained stays whole: its weight and bias
    are used together, and must have one dtype.

    Args:
        model: with its trainable parameters.
        precision: of the computation.
        stored: the dtype of the checkpoint.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    dtype = autocast_dtype(precision)
    if dtype is None:
        return
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        product = isinstance(module, torch.nn.Linear | Conv1D)
        if not product and (stored != dtype or any(parameter.requires_grad for parameter in own)):
            continue
        for parameter in own if stored == dtype else (module.weight,):
            if not parameter.requires_grad and parameter.dtype == torch.float32:
                parameter.data = parameter.data.to(dtype)


def autocast_dtype(precision: str) -> torch.dtype | None:
    """The dtype of matrix products under autocast; None without autocast."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def _time_products(dtype: torch.dtype) -> float:
    """Seconds of the fastest of some matrix products of a size typical for training."""
    import time

    import torch

    left, right = (torch.randn(768, 768).to(dtype) for _ in range(2))
    times = []
    for _ in range(8):
        begin = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - begin)
    return min(times)
