"""The device that a model runs on, and the number format of its weights, chosen by name or automatically."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from adapters.core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    import torch

AUTO = "auto"
DTYPES = ("float32", "bfloat16")


def available_devices() -> list[str]:
    """Names of the devices of this machine, the preferred one first: each CUDA device, then mps, then cpu."""
    import torch

    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def choose_device(name: str = AUTO) -> torch.device:
    """The device of a name.

    Args:
        name: auto (the first of cuda, mps and cpu that is available), cpu, cuda, cuda:1, mps.

    Raises:
        SettingsError: this machine has no such device; the message lists those it has.
    """
    import torch

    devices = available_devices()
    if name == AUTO:
        return torch.device(devices[0].partition(":")[0])
    if name not in devices and name not in {device.partition(":")[0] for device in devices}:
        raise SettingsError(f"device {name!r}: not available. This machine has: {', '.join(devices)} (or use auto).")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of a name.

    Args:
        name: float32, bfloat16, or auto: bfloat16 on a CUDA device that supports it, float32 elsewhere.
        device: where the model runs.

    Raises:
        SettingsError: the name is unknown, or the device does not support the format.
    """
    import torch

    if name not in (AUTO, *DTYPES):
        raise SettingsError(f"dtype {name!r}: {did_you_mean(name, (AUTO, *DTYPES))}")
    supported = device.type != "cuda" or _supports_bfloat16(device)
    if name == "bfloat16" and not supported:
        raise SettingsError(f"dtype {name!r}: {device} does not support it. Use float32 or auto.")
    if name == AUTO:
        name = "bfloat16" if device.type == "cuda" and supported else "float32"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def describe(device: torch.device, dtype: torch.dtype, *, requested: str) -> str:
    """What was chosen, in a line: `device: cpu (auto), float32`."""
    chosen = f"{device} (auto)" if requested == AUTO else str(device)
    return f"device: {chosen}, {str(dtype).removeprefix('torch.')}"


def choose_and_report(device: str = AUTO, dtype: str = "float32") -> tuple[str, str]:
    """Names of the device and of the number format to use; both are printed on stderr.

    Raises:
        SettingsError: one of them is not available here.
    """
    chosen = choose_device(device)
    number_format = choose_dtype(dtype, chosen)
    print(describe(chosen, number_format, requested=device), file=sys.stderr)
    return str(chosen), str(number_format).removeprefix("torch.")


def _supports_bfloat16(device: torch.device) -> bool:
    """Whether a CUDA device computes in bfloat16 itself; the current device may be another one."""
    import torch

    with torch.cuda.device(device):
        supported: bool = torch.cuda.is_bf16_supported(including_emulation=False)
    return supported
