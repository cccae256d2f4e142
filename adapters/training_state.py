"""All that the next step of training hangs on, as tensors and JSON, and its way back into a run, bit by bit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.sharding import like, whole

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

MODEL, OPTIMIZER, RANDOM = "model", "optimizer", "random"
Named = dict[str, "torch.Tensor"]


def trained(model: torch.nn.Module) -> Named:
    """What training changes, by name; not copied where no process holds a part of it alone."""
    return {name: whole(p.detach()) for name, p in model.named_parameters() if p.requires_grad}


def put(model: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Set parameters by name."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in values:
                parameter.copy_(like(values[name], parameter))


def captured(
    model: torch.nn.Module, optimizer: Any, schedule: Any, accelerator: Accelerator
) -> tuple[dict[str, Named], dict[str, Any]]:
    """Tensors by file and name, and JSON; every process must ask, as each has random states of its own.

    Args:
        model: not wrapped for several processes.
        optimizer: of its parameters.
        schedule: of the learning rate.
        accelerator: knows processes and the scale of fp16's gradients.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    moments = {
        f"{names[id(p)]}.{key}": whole(value)
        for group in optimizer.param_groups for p in group["params"] for key, value in optimizer.state[p].items()
    }  # fmt: skip
    tensors, numbers = _random(accelerator)
    state = {"schedule": schedule.state_dict(), "random": numbers,
             "scaler": accelerator.scaler.state_dict() if accelerator.scaler else None}  # fmt: skip
    return {MODEL: trained(model), OPTIMIZER: moments, RANDOM: tensors}, state


def put_back(
    tensors: Mapping[str, Named], state: Mapping[str, Any], model: torch.nn.Module, optimizer: Any, schedule: Any,
    accelerator: Accelerator,
) -> None:  # fmt: skip
    """Set everything as it was when `captured` was called."""
    put(model, tensors[MODEL])
    names = {id(p): name for name, p in model.named_parameters()}
    of_parameter: dict[str, Named] = {}
    for key, value in tensors[OPTIMIZER].items():
        name, _, what = key.rpartition(".")
        of_parameter.setdefault(name, {})[what] = value
    for group in optimizer.param_groups:
        for p in group["params"]:
            own = of_parameter.get(names[id(p)], {})
            optimizer.state[p] = {what: like(value, p) for what, value in own.items()}
    schedule.load_state_dict(dict(state["schedule"]))
    for group, rate in zip(optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = rate
    if accelerator.scaler and state["scaler"]:
        accelerator.scaler.load_state_dict(state["scaler"])
    _put_random(tensors[RANDOM], state["random"], accelerator)


def _random(accelerator: Accelerator) -> tuple[Named, list[Any]]:
    """The states of all generators, of each process its own."""
    import torch
    from accelerate.utils import gather_object

    kind, numbers, *more = np.random.get_state()
    assert kind == "MT19937"
    own = {"torch": torch.get_rng_state().tolist(), "numpy": [np.asarray(numbers).tolist(), *more]}
    if accelerator.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(accelerator.device).tolist()
    version, inner, spare = random.getstate()
    own["python"] = [version, list(inner), spare]
    every = gather_object([own])
    tensors = {f"{name}.{rank}": torch.tensor(each.pop(name), dtype=torch.uint8)
               for rank, each in enumerate(every) for name in ("torch", "cuda") if name in each}  # fmt: skip
    return tensors, every


def _put_random(tensors: Named, numbers: list[Any], accelerator: Accelerator) -> None:
    import torch

    rank = accelerator.process_index
    torch.set_rng_state(tensors[f"torch.{rank}"])
    if f"cuda.{rank}" in tensors and accelerator.device.type == "cuda":
        torch.cuda.set_rng_state(tensors[f"cuda.{rank}"], accelerator.device)
    words, place, has_spare, spare = numbers[rank]["numpy"]
    np.random.set_state(("MT19937", np.array(words, dtype=np.uint32), place, has_spare, spare))
    version, inner, normal = numbers[rank]["python"]
    random.setstate((version, tuple(inner), normal))
