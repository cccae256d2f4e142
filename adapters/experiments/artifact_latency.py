"""How long one example alone takes with what a run leaves: its artifact, as users load it.

An adapter is put into its base's weights there, and linear weights are packed for the CPU, so that the model as it was
trained says little of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from adapters.evaluation.evaluate import latency
from adapters.experiments.run_state import FittedModel
from adapters.tasks.base.example import Example

MOST = 2_000_000_000
"""Bytes of a model that is not loaded a second time beside the trained one; then the trained one is measured."""


def measured(
    folder: Path, fitted: FittedModel, examples: Sequence[Example], plugin_dirs: Sequence[str]
) -> Mapping[str, float]:
    """Milliseconds `{p50, p95}`, as of `evaluate.latency`.

    Args:
        folder: of the artifact.
        fitted: what it was saved from.
        examples: to predict.
        plugin_dirs: folders with methods and tasks of the user's own.
    """
    from adapters.artifacts import loading

    base = fitted.base
    if base is None or (base.quantization is None and _is_light(fitted)):
        predictor = loading.load(folder, base=base, device="cpu", dtype="float32", plugin_dirs=plugin_dirs).predictor
    else:
        predictor = fitted.predictor
    return latency(predictor, examples)


def _is_light(fitted: FittedModel) -> bool:
    """Whether a model is on a CPU, and small enough to be there twice."""
    parameters = [*fitted.model.parameters()]
    return all(one.device.type == "cpu" for one in parameters) and sum(one.nbytes for one in parameters) <= MOST
