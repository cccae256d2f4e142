"""ONNX: a graph with the task's head in it, which ONNX Runtime runs without torch or transformers.

An adapter is folded into its base where weights can represent it; what they cannot (a prefix, a bottleneck) is in the
graph as constants and layers. The graph is compared with torch before the folder is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.artifacts import artifact, loading, merging
from adapters.artifacts.export.base import graph, int8, many_adapters
from adapters.artifacts.export.base.export_format import ExportFormat, ExportRequest
from adapters.artifacts.export.base.record import derived, move, sample_of, tokenizer_record, write_tokenizer
from adapters.artifacts.model_card import Sample, export_model_card
from adapters.artifacts.runtime.loading import FORMAT, MODEL
from adapters.artifacts.runtime.predictor import OnnxPredictor, has_vnni, session
from adapters.artifacts.runtime.tokenizer import FILE
from adapters.core.environment import require_libraries
from adapters.core.errors import ModelError
from adapters.core.settings import require
from adapters.tasks.base.predictor import ModelPredictor
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch


class Format(ExportFormat):
    """ONNX."""

    options = ("adapters", "opset", "quantize")

    def write(self, request: ExportRequest) -> list[str]:
        """Trace, compare, perhaps quantize and score, then write."""
        require_libraries("--format onnx", ("onnx", "onnxscript", "onnxruntime"), "export")
        output = merging.empty_output(request.output_dir)
        opset = graph.check_opset(request.opset)
        int8.check_kind(request.quantize)
        if request.adapters:
            require(request.quantize is None, "quantize", request.quantize, "left out: adapters are added in fp32")
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as made:
            files = Path(made)
            card, sample, notes = (many_adapters.write if request.adapters else _write)(request, opset, files)
            artifact.write(output, lambda draft: move(files, draft), card, export_model_card(card, sample))
        return notes


def _write(request: ExportRequest, opset: int, files: Path) -> tuple[dict[str, Any], Sample, list[str]]:
    """Write the files of one artifact; gives the card, a sample for the README, and what is to be known."""
    folder = request.single
    loaded = loading.load(folder, base=request.base, device="cpu", dtype="float32", plugin_dirs=request.plugin_dirs)
    predictor, task = loaded.predictor, loaded.task
    if not isinstance(predictor, ModelPredictor) or not task.has_head:
        raise ModelError(f"{folder} cannot be written as ONNX: {_why_not(loaded.card, task)}")
    base, path = predictor.base, files / MODEL
    batches = graph.Batches(
        base, predictor.budget, types=graph.reads_types(task, predictor.tokenizer, predictor.budget)
    )
    traced = {name: graph.tensor(values) for name, values in batches.batch(*graph.TRACED, seed=0).items()}
    try:
        graph.write_graph(
            task_graph(predictor.model, task, [*traced]),
            traced,
            dict.fromkeys(traced, graph.ROWS_OF_TOKENS),
            ["logits"],
            path,
            opset=opset,
        )
        worst = graph.largest_difference(
            graph.torch_runner(predictor.model, task, predictor.tokenizer), graph.runner(path, opset=opset), batches
        )
    except ModelError as error:
        raise ModelError(f"{folder} cannot be written as ONNX: {error}") from error
    write_tokenizer(base, files / FILE)
    sample = sample_of(task, base, predictor.budget, types=batches.types)
    record: dict[str, Any] = {
        "format": FORMAT,
        "opset": opset,
        **tokenizer_record(base),
        "largest_difference": float(f"{worst:.3g}"),
    }
    card = {**derived(loaded.card, folder, base), "budget": predictor.budget, "export": record}
    notes = [
        f"opset {opset}; logits equal torch's to {worst:.1e} × max(1, |logit|) at {len(batches.others())} shapes that "
        "were not traced"
    ]
    if request.quantize is None:
        return card, sample, notes

    def score() -> dict[str, Any] | None:
        if request.test is None:
            return None
        runs = OnnxPredictor(session(str(path)), task, predictor.tokenizer, pad_id=base.pad_id, budget=predictor.budget)
        return int8.scored(runs, task, request.test, request.plugin_dirs)

    before = score()
    reduce_range = not has_vnni()
    int8.quantize(path, reduce_range=reduce_range)
    graph.check_finite(graph.runner(path, opset=opset), batches)
    record["quantize"] = {"kind": request.quantize, "reduce_range": reduce_range}
    del record["largest_difference"]
    card.pop("scores", None)  # they are those of full precision
    after = score()
    if before is None or after is None:
        return card, sample, [*notes, "not scored in int8: the artifact does not know its test data (--test_file)"]
    record["quantize"]["scored"] = {**after, "before": before["value"]}
    return (
        card,
        sample,
        [
            *notes,
            f"{after['title']} on {after['split']} (n = {after['n']:,}): {100 * before['value']:.2f} in fp32, "
            f"{100 * after['value']:.2f} in int8",
        ],
    )


def task_graph(model: torch.nn.Module, task: Task, names: Sequence[str]) -> torch.nn.Module:
    """A module that takes the model's inputs, in the order of their names, and gives the task's logits."""
    import torch

    class TaskGraph(torch.nn.Module):
        """What is traced."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            """`[rows, …]`."""
            return task.logits(self.model, dict(zip(names, tensors, strict=True)))

    return TaskGraph()


def _why_not(card: Mapping[str, Any], task: Task) -> str:
    """Why a model that has no head to run cannot be written, and what can be done."""
    if card["base"] is None:
        return f"{card['method']['name']} has no base model, and runs without torch as it is (adapters.load)."
    if not task.has_head:
        return (
            f"{task.name} generates its answers, token by token. A causal model can be written as GGUF (--format "
            "gguf), which llama.cpp runs."
        )
    return f"{card['method']['name']} only prompts its base and has no head. Train lora, and export that."
