"""From a model of torch to a graph of ONNX, which is compared with the model before it counts as written."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.artifacts.runtime.predictor import session
from adapters.core.errors import ModelError, SettingsError
from adapters.models.batching import padded_inputs

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base
    from adapters.models.tokenizer import WordTokenizer
    from adapters.tasks.base.example import Example
    from adapters.tasks.base.task import InferenceTask

OLDEST_OPSET = 18
"""torch's exporter writes these operators; older ones would need a conversion that nobody promises."""
TOLERANCE = 1e-4
"""Most that a graph's logit may differ from torch's, times the larger of 1 and the logit."""
TRACED = (3, 11)
"""Rows and tokens of the batch that is traced."""
LARGEST = 1_900_000_000
"""Bytes of weights up to which a graph is one file: protobuf's messages have 2 GB at most."""
ROWS_OF_TOKENS = {0: "rows", 1: "tokens"}
"""The dimensions of inputs that vary."""


def check_opset(opset: int | None) -> int:
    """The version of operators to write. Raises SettingsError for one that cannot be written."""
    from onnx import defs

    newest = int(defs.onnx_opset_version())
    if opset is not None and not OLDEST_OPSET <= opset <= newest:
        raise SettingsError(
            f"--opset {opset}: torch's exporter writes {OLDEST_OPSET} and newer, and the package onnx knows up to "
            f"{newest}, of which ONNX Runtime may not run the last ones. Leave it out for {OLDEST_OPSET}, which every "
            "ONNX Runtime since 1.14 runs."
        )
    return OLDEST_OPSET if opset is None else opset


def opened(path: Path, *, opset: int) -> Any:
    """A session of a graph that was just written. Raises ModelError where ONNX Runtime cannot load it."""
    try:
        return session(str(path))
    except Exception as error:  # of onnxruntime's own classes, which have no base but Exception
        from onnxruntime import __version__

        reason = " ".join(str(error).split()).replace(f"{path.parent}/", "")[:300]
        advice = "Install another version of it" if opset == OLDEST_OPSET else f"Leave --opset out, for {OLDEST_OPSET}"
        raise ModelError(
            f"nothing was written: ONNX Runtime {__version__} cannot run opset {opset} ({reason}). {advice}."
        ) from error


def write_graph(
    module: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    dynamic: Mapping[str, Mapping[int, str]],
    outputs: Sequence[str],
    path: Path,
    *,
    opset: int,
) -> None:
    """Trace a module and write its graph; what is larger than 2 GB goes into a second file.

    Args:
        module: takes the inputs in order.
        inputs: to trace it with.
        dynamic: of each input, the dimensions that vary, each with a name.
        outputs: names of what the module returns.
        path: of the file.
        opset: version of the operators.

    Raises:
        ModelError: torch cannot trace or write the model.
    """
    import torch

    named = sorted({name for dims in dynamic.values() for name in dims.values()})
    symbols = {name: torch.export.Dim(name, min=1) for name in named}
    shapes = tuple({at: symbols[name] for at, name in dynamic[one].items()} for one in inputs)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=(shapes,),
                opset_version=opset,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            assert program is not None
            size = sum(tensor.nbytes for tensor in module.state_dict().values())
            program.save(str(path), external_data=size > LARGEST)
    except Exception as error:  # torch's exporter raises errors of a dozen classes, all of them about the model
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"torch cannot write this model as ONNX ({type(error).__name__}: {reason}).") from error


def weights_file(path: Path) -> Path:
    """The second file of a graph whose weights one file cannot hold, as torch and ONNX Runtime name it."""
    return path.with_name(f"{path.name}.data")


class Batches:
    """Batches of random tokens, padded as the toolkit pads them."""

    def __init__(self, base: Base, budget: int, *, types: bool) -> None:
        """Args:
        base: whose tokens they are.
        budget: the most tokens of a row.
        types: whether inputs have token types.
        """
        tokens = base.tokenizer
        special = set(tokens.all_special_ids)
        self.known = np.array([token for token in range(min(len(tokens), base.embeddings)) if token not in special])
        self.pad_id, self.budget, self.types = base.pad_id, budget, types

    def batch(self, rows: int, tokens: int, seed: int) -> dict[str, np.ndarray]:
        """`input_ids`, `attention_mask` and perhaps `token_type_ids`; all rows but the first are of other lengths."""
        random = np.random.default_rng(seed)
        sizes = [tokens, *(int(size) for size in random.integers(1, tokens + 1, rows - 1))]
        drawn = [random.choice(self.known, size) for size in sizes]
        kinds = [(np.arange(size) > size // 2).astype(np.int64) for size in sizes] if self.types else []
        inputs = padded_inputs(drawn, self.pad_id, kinds)
        return {
            "input_ids": inputs["input_ids"],
            "attention_mask": inputs.get("attention_mask", np.ones_like(inputs["input_ids"])),
            **({"token_type_ids": inputs["token_type_ids"]} if self.types else {}),
        }

    def others(self) -> list[tuple[int, int]]:
        """Five shapes other than the traced one: one row, one token, and the longest row among them."""
        longest = self.budget
        return [(1, min(7, longest)), (1, 1), (1, longest), (4, min(33, longest)), (7, min(3, longest))]


def largest_difference(
    wanted: Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]],
    found: Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]],
    batches: Batches,
) -> float:
    """The largest difference of two models at five shapes, each logit's divided by the larger of 1 and the logit.

    Args:
        wanted: torch's answers to the rows of a batch.
        found: the graph's.
        batches: gives the batches.

    Raises:
        ModelError: a difference is larger than `TOLERANCE`; or the graph cannot run at a shape.
    """
    worst = 0.0
    for seed, shape in enumerate(batches.others()):
        batch = batches.batch(*shape, seed)
        rows, tokens = shape
        try:
            graph = found(batch)
        except Exception as error:  # of onnxruntime's own classes, which have no base but Exception
            reason = " ".join(str(error).split())[:300]
            raise ModelError(
                f"nothing was written: the graph was traced with {TRACED[0]} rows of {TRACED[1]} tokens and cannot run "
                f"with {rows} of {tokens} ({reason})."
            ) from error
        length = batch["attention_mask"].sum(1)
        for number, (own, other) in enumerate(zip(wanted(batch), graph, strict=True)):
            if own.shape != other.shape:
                raise ModelError(
                    f"nothing was written: with {rows} rows of {tokens} tokens the graph's output is "
                    f"{list(other.shape)}, and torch's {list(own.shape)}."
                )
            if own.ndim > 1 and len(own) == tokens:  # of each token: padding is read by no task
                own, other = own[: length[number]], other[: length[number]]
            gap = np.abs(own.astype(np.float64) - other) / np.maximum(np.abs(own), 1)
            worst = max(worst, float(gap.max(initial=0.0))) if np.isfinite(gap).all() else float("inf")
        if worst > TOLERANCE:
            raise ModelError(
                f"nothing was written: with {rows} rows of {tokens} tokens the graph's logits differ from torch's by "
                f"{worst:.2g} × max(1, |logit|), allowed is {TOLERANCE:.0e}. Its trace holds only for the traced shape."
            )
    return worst


def check_finite(found: Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]], batches: Batches) -> None:
    """Raises ModelError if a graph cannot run at the five shapes, or gives what is no number."""
    for seed, shape in enumerate(batches.others()):
        if not all(np.isfinite(row).all() for row in found(batches.batch(*shape, seed))):
            raise ModelError(f"nothing was written: in int8, logits of {shape[0]} rows of {shape[1]} are not finite.")


def runner(path: Path, *, opset: int) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    """A function from a batch to the answers of a graph, row by row. Raises ModelError where it cannot be loaded."""
    graph = opened(path, opset=opset)
    names = {one.name for one in graph.get_inputs()}
    return lambda batch: list(graph.run(None, {name: one for name, one in batch.items() if name in names})[0])


def torch_runner(
    model: torch.nn.Module, task: InferenceTask, tokenizer: WordTokenizer
) -> Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]:
    """A function from a batch to the answers that the task reads of a model of torch, row by row."""
    import torch

    def run(batch: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        with torch.inference_mode():
            return task.answers(model, {name: tensor(one) for name, one in batch.items()}, tokenizer)

    return run


def tensor(values: np.ndarray) -> torch.Tensor:
    """As torch's."""
    import torch

    return torch.from_numpy(values)


def reads_types(task: InferenceTask, tokenizer: WordTokenizer, budget: int) -> bool:
    """Whether the task's rows have token types: those of a pair of texts."""
    given = task.sample_request()
    example: Example = task.from_request({"text": given} if isinstance(given, str) else given, "")
    return any(row.token_types for row in task.encode([example], tokenizer, budget))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says to its developers."""
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch.fx", "torch._dynamo")
    before = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
