"""What a run writes down: scores.json, predictions.jsonl, the artifact with its card."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adapters import __version__, artifact, quantization, report
from adapters.evaluation import Evaluation, overlap, split_digest
from adapters.files import digest_value, write_text
from adapters.flags import as_dict
from adapters.memory import peak_bytes
from adapters.processes import cores
from adapters.settings import INCIDENTAL

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from adapters.history import History
    from adapters.methods import Method
    from adapters.model import Base
    from adapters.tasks import Examples, Task

PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers")


class Finished(Protocol):
    """What is recorded of a run: run.Run has it all once its verbs are done."""

    task_name: str
    method_name: str
    settings: Any
    folder: Path
    splits: dict[str, Examples]
    history: History | None
    task: Task
    method: Method
    model: torch.nn.Module
    precision: str
    latency: dict[str, float] | None
    revision: str | None

    @property
    def base(self) -> Base:
        """The base model."""

    @property
    def accelerator(self) -> Accelerator:
        """Accelerate."""

    @property
    def dataset_name(self) -> str:
        """The dataset as the user named it."""

    def parameters(self) -> tuple[int, int]:
        """Trained and total parameters."""


def score_record(run: Finished, evaluation: Evaluation) -> dict[str, Any]:
    """The contents of scores.json, but for the artifact's size."""
    trained, total = run.parameters()
    history = run.history.record() if run.history else {}
    settings = {name: value for name, value in as_dict(run.settings).items() if name not in INCIDENTAL}
    return {
        "task": run.task_name,
        "method": run.method_name,
        "method_notes": run.method.notes(),
        "base": run.base.name,
        "dataset": _dataset(run, evaluation),
        "labels": list(run.task.labels.names),
        "label_digest": run.task.labels.digest,
        "metric_versions": {metric.name: metric.version for metric in evaluation.metrics},
        "main": {"metric": evaluation.metrics[0].name, "score": evaluation.metrics[0].main, **evaluation.main},
        "quality": evaluation.quality,
        "reports": _sections(evaluation),
        "overlap": overlap(evaluation.examples, run.splits.get("train", ())),
        "cost": {
            "trainable_params": trained,
            "total_params": total,
            "train_seconds": history.get("seconds", 0.0),
            "train_pieces_per_second": history.get("pieces_per_second", 0.0),
            "peak_memory_bytes": peak_bytes(run.accelerator.device),
            "latency_ms": run.latency,
            "examples_per_second": round(evaluation.examples_per_second, 2),
        },
        **evaluation.failures(),
        "stopped_early": history.get("stopped_early", False),
        "training": history,
        "seed": run.settings.seed,
        "precision": run.precision,
        "processes": run.accelerator.num_processes,
        "settings_digest": digest_value(settings),
        "row_digest": digest_value({name: value for name, value in settings.items() if name != "seed"}),
        "versions": versions(),
        "hardware": hardware(),
    }


def _dataset(run: Finished, evaluation: Evaluation) -> dict[str, Any]:
    """What was scored, so that other records can be held against it."""
    return {
        "name": run.dataset_name,
        "revision": run.revision,
        "split": evaluation.split,
        "n": len(evaluation.examples),
        "digest": split_digest(evaluation.examples),
        "sizes": {name: len(examples) for name, examples in run.splits.items()},
        "notes": {
            name: {k: v for k, v in examples.notes.items() if k != "source"} for name, examples in run.splits.items()
        },
    }


def save_artifact(run: Finished, record: dict[str, Any], evaluation: Evaluation) -> int:
    """Write the artifact and its card; returns its size in bytes."""
    base = run.base
    card = {
        "task": run.task.card(),
        "method": {"name": run.method_name, "library": run.method.library, "settings": run.method.recorded()},
        "max_length": run.settings.max_length,
        "label_digest": run.task.labels.digest,
        "base": {
            "name": base.name,
            "kind": base.kind,
            "hub_id": base.source.hub_id,
            "revision": base.source.revision,
            "weights_sha256": base.digest,
            "tokenizer_sha256": base.tokenizer_digest,
            **({} if base.quantization is None else {"bits": quantization.told(run.settings)}),
        },
        "scores": {"dataset": record["dataset"]["name"], "split": evaluation.split, "n": len(evaluation.examples),
                   **record["main"]},
        "versions": record["versions"],
    }  # fmt: skip
    readme = report.model_card(card, record, evaluation, as_dict(run.settings))
    folder = run.folder / "artifact"
    artifact.write(folder, lambda draft: run.method.save(run.model, base, draft), card, readme)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_predictions(path: Path, evaluation: Evaluation, in_train: Sequence[int]) -> None:
    """One line an example: id, inputs and their digest, gold, prediction, counts, and whether train has it.

    Args:
        path: of the file.
        evaluation: what was predicted.
        in_train: numbers of the examples that stand in train too.
    """
    lines = []
    shared = frozenset(in_train)
    for number, (example, prediction) in enumerate(zip(evaluation.examples, evaluation.predictions, strict=True)):
        counts = {name: rows[number].tolist() for name, rows in evaluation.counts.items()}
        line = {"id": example.id, "input": example.digest(), "inputs": dict(example.inputs), "gold": example.gold,
                "prediction": prediction.value, "in_train": number in shared}  # fmt: skip
        line.update({"written": prediction.written} if prediction.written is not None else {})
        lines.append(json.dumps({**line, "counts": counts}, ensure_ascii=True))
    write_text(path, "".join(line + "\n" for line in lines))


def versions() -> dict[str, str]:
    """Versions of what a result hangs on."""
    found = {"taskswap": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware() -> dict[str, Any]:
    """The machine that a time was measured on."""
    import psutil
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    """The processor's name where Linux tells it, with the instructions that matter for speed."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    told = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if f" {flag} " in text.replace(os.linesep, " ")]
    return f"{name or platform.machine()} ({' '.join(told)})" if told else name or platform.machine()


def _sections(evaluation: Evaluation) -> dict[str, Any]:
    """The report's tables, as numbers."""
    return {
        metric.name: [
            {"title": part.title, "remark": part.remark,
             "rows": {name: dict(zip(part.columns, values, strict=True)) for name, values in part.rows}}
            for part in evaluation.sections(metric)
        ]
        for metric in evaluation.metrics
    }  # fmt: skip
