"""What a run computes with: processes, a precision, a base model."""

from __future__ import annotations

import dataclasses
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.memory import reset_peak
from adapters.training import trackers

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

    from adapters.models.base_model import Base


class Session:
    """The processes of a run, its precision and its base model: each begins when it is first needed."""

    def __init__(self, settings: Any, *, needs_base: bool, folder: Path) -> None:
        """Args:
        settings: of the run.
        needs_base: whether its method has a base model; without one it computes in full precision.
        folder: of the run, where trackers may write.
        """
        self.settings, self.needs_base, self.folder = settings, needs_base, folder

    @property
    def _on_cpu(self) -> bool:
        """Whether the run computes on a CPU. Unless it is told, Accelerate connects no CPU processes of torchrun."""
        import torch

        return not torch.accelerator.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"

    @cached_property
    def _processes(self) -> PartialState:
        """The processes of the run, connected."""
        import accelerate

        from adapters.core.processes import check_launcher, check_world, use_all_cores
        from adapters.models.base_model import quiet_libraries

        quiet_libraries()
        check_launcher()
        state = accelerate.PartialState(cpu=self._on_cpu)
        check_world(state.num_processes)
        use_all_cores()
        return state

    @cached_property
    def precision(self) -> str:
        """The number format that the run computes in: `no`, `bf16` or `fp16`."""
        import torch
        from accelerate.utils import broadcast_object_list

        from adapters.models import quantization
        from adapters.models.precision import fastest_precision

        return fastest_precision(
            torch.device(self._processes.device),
            self.settings.mixed_precision if self.needs_base else "no",
            quantized=bool(quantization.requested_flag(self.settings)),
            agreed=lambda own: str(broadcast_object_list([own])[0]),
        )

    @cached_property
    def accelerator(self) -> Accelerator:
        """Accelerate, in the precision of the run."""
        import accelerate
        from accelerate.state import AcceleratorState

        from adapters.models import fsdp
        from adapters.models.compile import dynamo

        processes, precision = self._processes, self.precision
        # Gradients are kept where processes add them up: they are not copied there and back, nor held twice.
        shared = accelerate.DistributedDataParallelKwargs(gradient_as_bucket_view=True)
        chosen: Any = trackers.requested(self.settings.with_tracking, self.settings.report_to)
        AcceleratorState._reset_state()  # an earlier run of this process, in a notebook, may have another precision
        accelerator = accelerate.Accelerator(
            mixed_precision=precision,
            cpu=self._on_cpu,
            log_with=chosen or None,
            kwargs_handlers=[shared],
            # The trainer divides by what it accumulates; by itself Accelerate divides by what its environment says.
            gradient_accumulation_plugin=accelerate.utils.GradientAccumulationPlugin(num_steps=1),
            dynamo_plugin=dynamo(self.settings.torch_compile, processes.device.type),
            project_dir=self.folder / "logs" if chosen else None,
        )
        fsdp.enable_cpu_fsdp(accelerator)
        reset_peak(accelerator.device)  # an earlier run of this process may have had a higher one
        return accelerator

    @cached_property
    def base(self) -> Base:
        """The base model, found but not loaded."""
        from adapters.models import quantization
        from adapters.models.base_model import open_base

        device = self.accelerator.device
        held = quantization.config(self.settings, self.precision)
        return dataclasses.replace(open_base(self.settings.model_name_or_path), quantization=held, device=device)
