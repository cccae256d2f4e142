"""The complete training state as tensors and JSON, and restoring it bit by bit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import CheckpointError
from adapters.models.fsdp import full_tensor, shard_like

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

MODEL, OPTIMIZER, RANDOM = "model", "optimizer", "random"
NamedTensors = dict[str, "torch.Tensor"]


def trainable_parameters(model: torch.nn.Module) -> NamedTensors:
    """The trainable parameters by name, gathered if sharded; not copied otherwise."""
    return {name: full_tensor(p.detach()) for name, p in model.named_parameters() if p.requires_grad}


def set_parameters(model: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Set parameters by name."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in values:
                parameter.copy_(shard_like(values[name], parameter))


def check_parameters(model: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Raises CheckpointError unless values are of all trainable parameters of a model, in their shapes."""
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    _check_names({name: tuple(value.shape) for name, value in values.items()}, shapes)


def _check_names(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises CheckpointError that names what differs between a checkpoint's tensors and the model's."""
    differing = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if differing:
        shown = "; ".join(
            f"{name}: {found.get(name, 'absent')} there, {wanted.get(name, 'not trained')} here"
            for name in differing[:4]
        )
        raise CheckpointError(
            f"The checkpoint has other tensors than this model trains. {shown}. Use the settings it was written with, "
            "or another --output_dir."
        )


def optimizer_state(model: torch.nn.Module, optimizer: Any) -> NamedTensors:
    """What an optimizer keeps of each parameter, by `PARAMETER.NAME`, gathered if sharded."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"{names[id(p)]}.{key}": full_tensor(value)
        for group in optimizer.param_groups
        for p in group["params"]
        for key, value in optimizer.state[p].items()
    }


def restore_optimizer(
    values: Mapping[str, torch.Tensor],
    model: torch.nn.Module,
    optimizer: Any,
    schedule: Any,
    schedule_state: Mapping[str, Any],
) -> None:
    """Give an optimizer what `optimizer_state` gave, and its schedule's state, with the rates of that step.

    Raises CheckpointError, before anything is changed, for the state of a parameter that the optimizer does not have.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    of_parameter: dict[str, NamedTensors] = {}
    for key, value in values.items():
        name, _, moment = key.rpartition(".")
        of_parameter.setdefault(name, {})[moment] = value
    held = {names[id(p)] for group in optimizer.param_groups for p in group["params"]}
    _check_names(dict.fromkeys(of_parameter, "trained"), dict.fromkeys(held & {*of_parameter}, "trained"))
    for group in optimizer.param_groups:
        for p in group["params"]:
            own = of_parameter.get(names[id(p)], {})
            optimizer.state[p] = {moment: shard_like(value, p) for moment, value in own.items()}
    schedule.load_state_dict(dict(schedule_state))
    for group, rate in zip(optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = rate


def capture_state(
    model: torch.nn.Module, optimizer: Any, schedule: Any, accelerator: Accelerator
) -> tuple[dict[str, NamedTensors], dict[str, Any]]:
    """The state as tensors by file and name, and as JSON. Every process must call it, as each has its random states.

    Args:
        model: not wrapped by Accelerate.
        optimizer: of its parameters.
        schedule: of the learning rate.
        accelerator: of the run, with the gradient scaler of fp16.
    """
    tensors, numbers = _random_states(accelerator)
    state = {
        "schedule": schedule.state_dict(),
        "random": numbers,
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler else None,
    }
    return {MODEL: trainable_parameters(model), OPTIMIZER: optimizer_state(model, optimizer), RANDOM: tensors}, state


def restore_state(
    tensors: Mapping[str, NamedTensors],
    state: Mapping[str, Any],
    model: torch.nn.Module,
    optimizer: Any,
    schedule: Any,
    accelerator: Accelerator,
) -> None:
    """Restore everything to what it was when `capture_state` was called.

    Raises CheckpointError, before anything is changed, unless the tensors are those that the model trains.
    """
    check_parameters(model, tensors[MODEL])
    restore_optimizer(tensors[OPTIMIZER], model, optimizer, schedule, state["schedule"])
    set_parameters(model, tensors[MODEL])
    if accelerator.scaler and state["scaler"]:
        accelerator.scaler.load_state_dict(state["scaler"])
    _restore_random_states(tensors[RANDOM], state["random"], accelerator)


def _random_states(accelerator: Accelerator) -> tuple[NamedTensors, list[Any]]:
    """The states of all random generators of each process."""
    import torch
    from accelerate.utils import gather_object

    kind, numbers, *more = np.random.get_state()
    assert kind == "MT19937"
    own = {"torch": torch.get_rng_state().tolist(), "numpy": [np.asarray(numbers).tolist(), *more]}
    if accelerator.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(accelerator.device).tolist()
    version, inner, spare = random.getstate()
    own["python"] = [version, list(inner), spare]
    of_ranks = gather_object([own])
    tensors = {
        f"{name}.{rank}": torch.tensor(each.pop(name), dtype=torch.uint8)
        for rank, each in enumerate(of_ranks)
        for name in ("torch", "cuda")
        if name in each
    }
    return tensors, of_ranks


def _restore_random_states(tensors: NamedTensors, numbers: list[Any], accelerator: Accelerator) -> None:
    import torch

    rank = accelerator.process_index
    torch.set_rng_state(tensors[f"torch.{rank}"])
    if f"cuda.{rank}" in tensors and accelerator.device.type == "cuda":
        torch.cuda.set_rng_state(tensors[f"cuda.{rank}"], accelerator.device)
    words, position, has_spare, spare = numbers[rank]["numpy"]
    np.random.set_state(("MT19937", np.array(words, dtype=np.uint32), position, has_spare, spare))
    version, inner, normal = numbers[rank]["python"]
    random.setstate((version, tuple(inner), normal))
