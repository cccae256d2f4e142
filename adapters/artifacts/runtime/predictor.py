"""An exported model as a predictor: ONNX Runtime in place of torch; all else is the task's own code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base.predictor import CPU_BATCH_TOKENS, RowPredictor
from adapters.tasks.base.task import InferenceTask


class OnnxPredictor(RowPredictor):
    """Runs a session whose inputs are `input_ids`, `attention_mask` and perhaps others; several threads may."""

    def __init__(
        self,
        session: Any,
        task: InferenceTask,
        tokenizer: WordTokenizer,
        *,
        pad_id: int,
        budget: int,
        output: str | None = None,
        constants: Mapping[str, np.ndarray] | None = None,
        batch_rows: int | None = None,
    ) -> None:
        """Args:
        session: onnxruntime's.
        task, tokenizer, budget, batch_rows: as of `RowPredictor`.
        pad_id: the token that rows are padded with.
        output: the one that the task decodes. Default: the only one.
        constants: inputs that are the same for all texts (the tensors of an adapter).
        """
        most = None if batch_rows else CPU_BATCH_TOKENS
        super().__init__(task, tokenizer, budget=budget, batch_rows=batch_rows, batch_tokens=most)
        self.session, self._pad_id = session, pad_id
        self.outputs = None if output is None else [output]
        self.constants = dict(constants or {})
        self.reads_types = any(one.name == "token_type_ids" for one in session.get_inputs())

    @property
    def pad_id(self) -> int:
        """The token that rows are padded with."""
        return self._pad_id

    def _answers(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """The output of the graph, row by row."""
        given = {"attention_mask": np.ones_like(inputs["input_ids"]), **inputs, **self.constants}
        if self.reads_types:
            given.setdefault("token_type_ids", np.zeros_like(inputs["input_ids"]))
        found: np.ndarray = self.session.run(self.outputs, given)[0]
        return list(found)


def session(model: str, *, threads: int | None = None) -> Any:
    """onnxruntime's session of a model file, on the CPU.

    Args:
        model: path of the file.
        threads: of one operation. Default: `OMP_NUM_THREADS`, as torch heeds it, or all cores.
    """
    import os

    import onnxruntime

    options = onnxruntime.SessionOptions()
    given = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = threads or (int(given) if given.isdigit() else 0)
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def has_vnni() -> bool:
    """Whether this CPU multiplies 8-bit numbers without saturation: AVX-512 VNNI, AVX-VNNI, or an ARM core."""
    import platform

    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # another system than Linux: 7 bits are right everywhere
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags
