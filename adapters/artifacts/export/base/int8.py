"""int8 weights by ONNX Runtime: dynamic, so that no data are needed, and what that costs on test."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adapters.artifacts.export.base import graph
from adapters.artifacts.export.base.record import move
from adapters.core.settings import require
from adapters.evaluation.evaluate import main_score, split_digest
from adapters.evaluation.metrics.base.any_metric import score_title
from adapters.evaluation.metrics.base.metric import main_metric
from adapters.tasks.base.example import Examples
from adapters.tasks.base.examples import check_labels
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.task import Task

KINDS = ("int8",)
"""What --quantize takes."""


def check_kind(quantize: str | None) -> None:
    """Raises SettingsError for a number format that is not offered."""
    require(quantize is None or quantize in KINDS, "quantize", quantize, " or ".join(KINDS))


def quantize(path: Path, *, reduce_range: bool) -> None:
    """Replace a graph by one with int8 weights in matrix products, one scale per column, and in embeddings.

    Norms and biases keep full precision. A second file with weights is replaced as well, by none where one file can
    hold what is left of them.

    Args:
        path: of the graph.
        reduce_range: use 7 of the 8 bits. Without VNNI, sums of two products of an unsigned and a signed byte saturate
            at 16 bits, and the same file gives other answers than on a CPU with it (onnxruntime issue 6004).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    data = graph.weights_file(path)
    size = sum(file.stat().st_size for file in (path, data) if file.exists())
    with tempfile.TemporaryDirectory(prefix=".int8.", dir=path.parent) as made, _quiet():
        new = Path(made) / path.name  # a graph names the file of its weights
        quantize_dynamic(
            str(path),
            str(new),
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            use_external_data_format=size / 4 > graph.LARGEST,
        )
        data.unlink(missing_ok=True)
        move(Path(made), path.parent)


def scored(predictor: Predictor, task: Task, test: Examples, plugin_dirs: Sequence[str]) -> dict[str, Any]:
    """The main score on a split, and what it was measured on, as JSON. Raises DataError if it has other labels."""
    metric = main_metric(task.metrics[0], task.labels.names, plugin_dirs)
    check_labels(task, test)
    return {
        "dataset": test.notes.get("source"),
        "split": test.name,
        "n": len(test),
        "digest": split_digest(test[:]),
        "metric": metric.name,
        "title": score_title(metric),
        "value": main_score(predictor, test, metric),
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's advice to its own developers, which it gives to the root logger."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
