"""Rows of exports: what runs have trained, written as ONNX and scored as the runs were."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.core import arguments, discovery
from adapters.core.environment import hardware, versions
from adapters.core.errors import ModelError
from adapters.core.files import digest_value, write_json
from adapters.experiments import records, run
from adapters.experiments.comparison import results
from adapters.experiments.comparison.runs import RunOutcome

FORMS = {"onnx": None, "onnx_int8": "int8"}
"""How weights are quantized, by the value of --exports."""


def of_runs(outcomes: Sequence[RunOutcome], forms: Sequence[str]) -> dict[Path, list[Path]]:
    """Export what runs have trained, in each form, unless that is done; the folders of the records by that of the run.

    What cannot be written as ONNX is left out, and said once a method.
    """
    found: dict[Path, list[Path]] = {}
    refused: dict[str, str] = {}
    for outcome in outcomes:
        for form in forms:
            method = outcome.run.method
            if method in refused:
                continue
            try:
                found.setdefault(outcome.folder, []).append(_scored(outcome.folder, form))
            except ModelError as error:
                refused[method] = str(error)
                print(f"--exports: {method} is left out: {error}", file=sys.stderr, flush=True)
    return found


def _scored(folder: Path, form: str) -> Path:
    """The folder of an export's record, made unless it is there. Raises ModelError: it cannot be written as ONNX."""
    from adapters.artifacts.export.base.export_format import ExportRequest, export
    from adapters.artifacts.runtime import load
    from adapters.evaluation.evaluate import evaluate, latency
    from adapters.evaluation.metrics.base.metric import task_metrics
    from adapters.tasks.base import examples

    out = folder / "exports" / form
    if (out / "scores.json").is_file():
        return out
    record = results.load(folder)
    title = f"{record.scores['method']} ({form.replace('_', ' ')})"
    if not record.scores["cost"]["trainable_params"]:
        raise ModelError("it trains nothing.")
    settings = _settings(folder)
    print(f"export: {title}, seed {record.scores['seed']}", file=sys.stderr, flush=True)
    shutil.rmtree(out, ignore_errors=True)
    request = ExportRequest(
        folder=folder / "artifact",
        output_dir=out / "export",
        base=settings.model_name_or_path,
        plugin_dirs=settings.plugin_dir,
        quantize=FORMS[form],
    )
    export("onnx", request)
    loaded = load(out / "export", plugin_dirs=settings.plugin_dir)
    _, splits, _ = examples.read_splits(record.scores["task"], settings)
    split = record.scores["dataset"]["split"]
    metrics = task_metrics(loaded.task, settings.metrics, settings.plugin_dir, allow_hub=settings.trust_remote_code)
    scored = evaluate(
        loaded.predictor,
        splits["test" if split == "test" else "validation"][:],
        metrics,
        split=split,
        seed=settings.seed,
    )
    in_train = [number for number, line in enumerate(record.lines) if line["in_train"]]
    records.write_predictions(out / "predictions.jsonl", scored, in_train)
    size = sum(path.stat().st_size for path in (out / "export").rglob("*") if path.is_file())
    answering = {
        "latency_ms": latency(loaded.predictor, scored.examples),
        "examples_per_second": round(scored.examples_per_second, 2),
        "artifact_bytes": size,
    }
    scores: dict[str, Any] = {
        **record.scores,
        "method": title,
        **records.quality_record(scored),
        "cost": {**record.scores["cost"], **answering},
        "row_digest": digest_value([record.scores["row_digest"], form]),
        "versions": versions(),
        "hardware": hardware(),
    }
    write_json(out / "scores.json", scores)  # the last: where it is, the export is scored
    return out


def _settings(folder: Path) -> Any:
    """The settings of a finished run."""
    argv = [str(folder / "settings.json")]
    plugins = arguments.peek(argv, "plugin_dir")
    task, argv = arguments.choose(argv, "task", discovery.names("tasks", plugins), needed=True)
    method, argv = arguments.choose(argv, "method", discovery.names("methods", plugins), needed=True)
    return run.open_run(task, method, {}, argv).settings
