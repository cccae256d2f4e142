"""Parameters of which each process holds a part (FSDP2): whole tensors out of the parts, and parts out of whole ones.

Every process must ask for a whole tensor, as each gives its part.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor; itself where it is not in parts."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def like(values: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Whole values as a parameter of their shape is held: on its device, and in parts if it is."""
    placed = values.to(parameter.device)
    mesh = getattr(parameter, "device_mesh", None)
    if mesh is None or values.shape != parameter.shape:
        return placed
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(placed, mesh, parameter.placements, src_data_rank=None)  # type: ignore[attr-defined]


def in_parts(model: torch.nn.Module) -> bool:
    """Whether processes share a model's parameters out, so that all of them must run each forward pass."""
    return any(hasattr(parameter, "full_tensor") for parameter in model.parameters())


def name_layers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Let the repeated layers be what is shared out one by one, unless the user's config names others.

    Accelerate would take what transformers never splits over devices: of a BERT also the embeddings, a part of which
    it then shares out again, and fails.
    """
    import torch

    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module)]
    if plugin is not None and lists and not plugin.transformer_cls_names_to_wrap:
        plugin.transformer_cls_names_to_wrap = sorted({type(layer).__name__ for layer in max(lists, key=len)})


def share_out_on_cpus(accelerator: Accelerator) -> None:
    """Let Accelerate share parameters out among CPU processes, where its config asks for FSDP.

    It does so by itself on accelerators alone, though torch can on CPUs, too; so what runs on GPUs is tested without.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state: Any = accelerator.state
    wanted = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if not wanted or state.distributed_type != DistributedType.MULTI_CPU:
        return
    plugin = FullyShardedDataParallelPlugin()
    if accelerator.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.mixed_precision)
    state.fsdp_plugin = plugin
    for each in (PartialState(), state):  # whoever makes another state takes the first one's type
        each.distributed_type = DistributedType.FSDP
