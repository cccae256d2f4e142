"""A base held in 8 or 4 bits by bitsandbytes: what is asked for, how it is loaded, and what of it stays whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.layers import poolers
from adapters.precision import format_of

if TYPE_CHECKING:
    import torch

    from adapters.settings import CommonSettings


def asked(settings: CommonSettings) -> str:
    """The flag that asks for fewer bits; empty for none."""
    return next((flag for flag in ("load_in_8bit", "load_in_4bit") if getattr(settings, flag)), "")


def told(settings: CommonSettings) -> str:
    """How many bits, for people."""
    return "8" if settings.load_in_8bit else f"4 ({settings.bnb_4bit_quant_type})"


def config(settings: CommonSettings, precision: str) -> Any:
    """How transformers shall load a base in fewer bits, as `--load_in_8bit` and `--load_in_4bit` say; None for whole.

    Args:
        settings: of the run.
        precision: what it computes in; what is not quantised is held in it, and 4 bits are multiplied in it.
    """
    import torch
    from transformers import BitsAndBytesConfig

    if not asked(settings):
        return None
    how = {"load_in_8bit": True} if settings.load_in_8bit else {
        "load_in_4bit": True, "bnb_4bit_quant_type": settings.bnb_4bit_quant_type,
    }  # fmt: skip
    return BitsAndBytesConfig(**how, bnb_4bit_compute_dtype=format_of(precision) or torch.float32)


def options(quantization: Any, device: torch.device, auto_class: str, of: Any) -> dict[str, Any]:
    """What `from_pretrained` is to be told.

    Heads stay whole: one that is drawn anew has no numbers yet that 8 bits could hold, and will be trained.

    Args:
        quantization: what `config` made.
        device: where the process computes; bitsandbytes must put the weights there while it reads them.
        auto_class: the class of transformers that is loaded.
        of: the model's config.
    """
    import copy

    told = copy.copy(quantization)
    told.llm_int8_skip_modules = heads(auto_class, of)
    return {"dtype": told.bnb_4bit_compute_dtype, "quantization_config": told, "device_map": {"": device}}


def heads(auto_class: str, of: Any) -> list[str]:
    """Names of a model's modules beside its body, and of the body's pooler, which a checkpoint may lack."""
    import torch
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, auto_class).from_config(of)
    beside = [name for name, _ in model.named_children() if name != model.base_model_prefix]
    return [*beside, *poolers(model)]


def keep_whole(model: torch.nn.Module, names: list[str]) -> None:
    """Hold heads in fp32, as they train; and layer norms, which on a CPU take no wider input than themselves."""
    import torch

    for name, module in model.named_modules():
        if name in names or isinstance(module, torch.nn.LayerNorm):
            module.float()
        # Else a CPU packs 4 bits anew where dev is scored, in a way that no gradient passes from then on.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def numbers(parameter: torch.Tensor) -> int:
    """How many numbers a parameter holds; two of 4 bits share a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(parameter.numel() if state is None else state.shape.numel())
