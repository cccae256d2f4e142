"""What a run writes down: scores.json, predictions.jsonl, the artifact with its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.artifacts import artifact
from adapters.artifacts.model_card import run_model_card
from adapters.core.arguments import as_dict
from adapters.core.environment import hardware, versions
from adapters.core.files import digest_value, json_line, write_text
from adapters.core.memory import peak_bytes
from adapters.core.settings import lasting
from adapters.evaluation.evaluate import Evaluation, overlap, split_digest
from adapters.evaluation.metrics.base.any_metric import score_title
from adapters.experiments.run_state import FittedModel, RunData
from adapters.experiments.session import Session
from adapters.models import quantization
from adapters.models.base_model import Base
from adapters.tasks.base.task import Task


def score_record(
    settings: Any, session: Session, data: RunData, fitted: FittedModel, evaluation: Evaluation
) -> dict[str, Any]:
    """The contents of scores.json, but for the artifact's size.

    Args:
        settings: of the run.
        session: the processes and the precision it ran with.
        data: the splits.
        fitted: what was scored.
        evaluation: its scores.
    """
    trained, total = fitted.parameters()
    history = fitted.history.record() if fitted.history else {}
    recorded = lasting(as_dict(settings))
    seen = str if fitted.base is None else fitted.base.seen
    return {
        "task": fitted.task.name,
        "method": fitted.method.title,
        "method_notes": fitted.method.notes(),
        "labelled": fitted.method.labelled({name: len(examples) for name, examples in data.splits.items()}),
        "seeded": fitted.method.moved_by_seed(settings)
        or (fitted.method.reads_train and settings.train_draw is not None),
        "base": "" if fitted.base is None else fitted.base.name,
        "dataset": dataset_record(
            evaluation,
            name=data.source("validation" if evaluation.split == "dev" else evaluation.split),
            train=data.name if "train" in data.splits else None,
            revision=data.revision,
            sizes={name: len(examples) for name, examples in data.splits.items()},
            notes={name: examples.notes for name, examples in data.splits.items()},
        ),
        "labels": list(fitted.task.labels.names),
        "label_digest": fitted.task.labels.digest,
        "metric_versions": {metric.name: metric.version for metric in evaluation.metrics},
        **quality_record(evaluation),
        "overlap": overlap(evaluation.examples, data.splits.get("train", ()), seen),
        "left_out": fitted.left_out,
        "cost": {
            "trainable_params": trained,
            "total_params": total,
            "train_seconds": history.get("seconds", round(fitted.seconds, 4)),
            "train_tokens_per_second": history.get("tokens_per_second", 0.0),
            "peak_memory_bytes": peak_bytes(session.accelerator.device),
            "latency_ms": None,
            "examples_per_second": round(evaluation.examples_per_second, 2),
        },
        "stopped_early": history.get("stopped_early", False),
        "training": history,
        "seed": settings.seed,
        "precision": session.precision,
        "processes": session.accelerator.num_processes,
        "settings_digest": digest_value(recorded),
        "row_digest": digest_value({k: v for k, v in recorded.items() if k not in ("seed", "train_draw")}),
        "versions": versions(),
        "hardware": hardware(),
    }


def quality_record(evaluation: Evaluation) -> dict[str, Any]:
    """How good predictions are, as scores.json has it."""
    return {
        "main": {
            "metric": evaluation.metrics[0].name,
            "score": evaluation.metrics[0].main,
            "title": score_title(evaluation.metrics[0]),
            **evaluation.main,
        },
        "quality": evaluation.quality,
        "resampled": evaluation.units.record(),
        "reports": _sections(evaluation),
        **evaluation.failures(),
    }


def dataset_record(
    evaluation: Evaluation,
    *,
    name: str,
    train: str | None,
    revision: str | None,
    sizes: Mapping[str, int],
    notes: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What was scored, so that other records can be held against it, and what was learned from.

    Args:
        evaluation: the scores.
        name: of the file or dataset that was scored, as the user named it.
        train: the same of what was learned from; None where nothing was, or it is not known.
        revision: of the dataset, where its source has one.
        sizes: of each split.
        notes: of each split; `source` is left out, as `name` and `train` say it.
    """
    return {
        "name": name,
        "train": train,
        "revision": revision,
        "split": evaluation.split,
        "n": len(evaluation.examples),
        "digest": split_digest(evaluation.examples),
        "sizes": dict(sizes),
        "notes": {split: {k: v for k, v in own.items() if k != "source"} for split, own in notes.items()},
    }


def save_artifact(
    folder: Path,
    settings: Any,
    fitted: FittedModel,
    record: Mapping[str, Any],
    evaluation: Evaluation,
    reference: Mapping[str, Any] | None = None,
) -> int:
    """Write the artifact and its card; returns its size in bytes.

    Args:
        folder: of the artifact.
        settings: of the run.
        fitted: what is saved.
        record: contents of scores.json.
        evaluation: its scores.
        reference: what it says on dev (`dev_reference`); None where it has none.
    """
    base = fitted.base
    card = {
        "task": fitted.task.card(),
        "request": fitted.task.sample_request(),
        **_columns(fitted.task, record["dataset"]["notes"]),
        "method": {"name": fitted.method.name, "library": fitted.method.library, "settings": fitted.method.recorded()},
        "max_length": settings.max_length,
        "label_digest": fitted.task.labels.digest,
        "base": None if base is None else {**of_base(base, settings), **_head(fitted.task, base)},
        "scores": {
            "dataset": record["dataset"]["name"],
            "train": record["dataset"]["train"],
            "split": evaluation.split,
            "n": len(evaluation.examples),
            **record["main"],
        },
        "versions": record["versions"],
        **({} if reference is None else {"reference": reference}),
    }
    readme = run_model_card(card, record, evaluation, as_dict(settings))
    artifact.write(folder, fitted.save, card, readme)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _columns(task: Task, notes: Mapping[str, Any]) -> dict[str, Any]:
    """For a card, the columns of requests that the data have under other names; nothing where there are none."""
    read: Mapping[str, list[str]] = next((own["reading"]["columns"] for own in notes.values() if "reading" in own), {})
    asked = {column for columns in task.request_columns() for column in columns}
    named = {role: names[0] for role, names in read.items() if role in asked and len(names) == 1 and names[0] != role}
    return {"columns": named} if named else {}


def _head(task: Task, base: Base) -> dict[str, Any]:
    """For a card, transformers' class of the base with the task's head, and the names of the head's outputs."""
    names = task.config().get("id2label", {})
    return {"class": task.auto_class(base.kind), **({"outputs": list(names.values())} if names else {})}


def of_base(base: Base, settings: Any) -> dict[str, Any]:
    """What a card says of the base model."""
    return {
        **base.digests(),
        "kind": base.kind,
        "hub_id": base.source.hub_id,
        "revision": base.source.revision,
        **({} if base.quantization is None else {"bits": quantization.description(settings)}),
        **({} if base.source.notice is None else {"notice": base.source.notice}),
    }


def write_predictions(path: Path, evaluation: Evaluation, in_train: Sequence[int]) -> None:
    """One line an example: id, inputs and their digest, gold, prediction, counts, whether train has it, its document.

    Args:
        path: of the file.
        evaluation: what was predicted.
        in_train: numbers of the examples that are in train, too.
    """
    lines = []
    shared = frozenset(in_train)
    for number, (example, prediction) in enumerate(zip(evaluation.examples, evaluation.predictions, strict=True)):
        counts = {name: rows[number].tolist() for name, rows in evaluation.counts.items()}
        line = {
            "id": example.id,
            "input": example.digest(),
            "inputs": dict(example.inputs),
            "gold": example.gold,
            "prediction": prediction.value,
            "in_train": number in shared,
        }
        line.update({"document": example.document} if example.document else {})
        line.update({"written": prediction.written} if prediction.written is not None else {})
        lines.append(json_line({**line, "counts": counts}))
    write_text(path, "".join(lines))


def _sections(evaluation: Evaluation) -> dict[str, Any]:
    """The report's tables, as numbers."""
    return {
        metric.name: [
            {
                "title": part.title,
                "remark": part.remark,
                "counts": list(part.counts),
                "as_given": part.as_given,
                "rows": {name: dict(zip(part.columns, values, strict=True)) for name, values in part.rows},
            }
            for part in evaluation.sections(metric)
        ]
        for metric in evaluation.metrics
    }
