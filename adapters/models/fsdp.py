"""Sharded parameters (FSDP2): gathering full tensors, and sharding full tensors.

Gathering is collective: every process must call it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """The full tensor, gathered if it is sharded."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def shard_like(values: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A full tensor moved to the device of a parameter, and sharded as it is."""
    on_device = values.to(parameter.device)
    mesh = getattr(parameter, "device_mesh", None)
    if mesh is None or values.shape != parameter.shape:
        return on_device
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(on_device, mesh, parameter.placements, src_data_rank=None)  # type: ignore[attr-defined]


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether a model's parameters are sharded, so that all processes must run each forward pass."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return False
    return any(hasattr(parameter, "full_tensor") for parameter in model.parameters())


def set_wrapped_layers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Let FSDP wrap the repeated layers one by one, unless the user's config names other classes.

    Accelerate's default are the modules that transformers does not split over devices. In BERT these include the
    embeddings, which it then shards twice, and fails.
    """
    import torch

    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module)]
    if plugin is not None and lists and not plugin.transformer_cls_names_to_wrap:
        plugin.transformer_cls_names_to_wrap = sorted({type(layer).__name__ for layer in max(lists, key=len)})


def enable_cpu_fsdp(accelerator: Accelerator) -> None:
    """Let Accelerate use FSDP between CPU processes if its config asks for FSDP.

    By itself it does so only on accelerators, although torch supports CPUs; it makes the GPU code testable.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state: Any = accelerator.state
    requested = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if not requested or state.distributed_type != DistributedType.MULTI_CPU:
        return
    plugin = FullyShardedDataParallelPlugin()
    if accelerator.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.mixed_precision)
    state.fsdp_plugin = plugin
    for each in (PartialState(), state):  # later states take the type of the first
        each.distributed_type = DistributedType.FSDP
