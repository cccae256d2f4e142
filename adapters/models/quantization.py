"""A base quantized to 8 or 4 bits by bitsandbytes: its config, loading, and what stays in full precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.models.layers import poolers
from adapters.models.precision import autocast_dtype

if TYPE_CHECKING:
    import torch

    from adapters.core.settings import CommonSettings


def requested_flag(settings: CommonSettings) -> str:
    """The flag that requests quantization; empty without one."""
    return next((flag for flag in ("load_in_8bit", "load_in_4bit") if getattr(settings, flag)), "")


def description(settings: CommonSettings) -> str:
    """Number of bits, with the type of 4 bits."""
    return "8" if settings.load_in_8bit else f"4 ({settings.bnb_4bit_quant_type})"


def config(settings: CommonSettings, precision: str) -> Any:
    """The quantization config for `--load_in_8bit` or `--load_in_4bit`; None for full precision.

    Args:
        settings: of the run.
        precision: of the computation with 4-bit weights, and of weights that are not quantized.
    """
    import torch
    from transformers import BitsAndBytesConfig

    if not requested_flag(settings):
        return None
    bits = (
        {"load_in_8bit": True}
        if settings.load_in_8bit
        else {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": settings.bnb_4bit_quant_type,
        }
    )
    return BitsAndBytesConfig(**bits, bnb_4bit_compute_dtype=autocast_dtype(precision) or torch.float32)


def load_options(quantization: Any, device: torch.device, auto_class: str, model_config: Any) -> dict[str, Any]:
    """Options of `from_pretrained` for a quantized model. Its head stays in full precision, as it will be trained.

    Args:
        quantization: made by `config`.
        device: of the computation; bitsandbytes must quantize on it while loading.
        auto_class: the class of transformers to load.
        model_config: config of the model.
    """
    import copy

    own = copy.copy(quantization)
    own.llm_int8_skip_modules = head_modules(auto_class, model_config)
    return {"dtype": own.bnb_4bit_compute_dtype, "quantization_config": own, "device_map": {"": device}}


def head_modules(auto_class: str, model_config: Any) -> list[str]:
    """Names of a model's modules outside its body, and of the body's poolers, which a checkpoint may lack."""
    import torch
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, auto_class).from_config(model_config, trust_remote_code=False)
    outside = [name for name, _ in model.named_children() if name != model.base_model_prefix]
    return [*outside, *poolers(model)]


def keep_full_precision(model: torch.nn.Module, names: list[str]) -> None:
    """Cast heads to fp32, as they train; and layer norms, which on a CPU accept no input wider than themselves."""
    import torch

    for name, module in model.named_modules():
        if name in names or isinstance(module, torch.nn.LayerNorm):
            module.float()
        # Otherwise evaluation on a CPU repacks 4-bit weights, after which no gradient passes.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def parameter_count(parameter: torch.Tensor) -> int:
    """Number of values in a parameter, also if two of 4 bits share a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(parameter.numel() if state is None else state.shape.numel())
