"""Rows of exports: what runs have trained, written as ONNX and scored as the runs were."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.core import discovery, flags
from adapters.core.environment import hardware, versions
from adapters.core.errors import ModelError
from adapters.core.files import digest_value, write_json
from adapters.core.progress import say
from adapters.experiments import records, run
from adapters.experiments.many_runs.planned_run import RunOutcome
from adapters.experiments.many_runs.record import Record

FORMS = {"onnx": None, "onnx_int8": "int8"}
"""How weights are quantized, by the value of --exports."""
SCORES = "scores.json"


def of_runs(outcomes: Sequence[RunOutcome], forms: Sequence[str]) -> dict[Path, list[Path]]:
    """Export what runs have trained, in each form, unless that is done; the folders of the records by that of the run.

    What cannot be written as ONNX is left out, and said once a method and base.
    """
    found: dict[Path, list[Path]] = {}
    refused: set[tuple[str, str]] = set()
    for outcome in outcomes:
        row = outcome.run.row[:2]
        if row in refused:
            continue
        places = [outcome.folder / "exports" / form for form in forms]
        try:
            _score(outcome.folder, [place for place in places if not (place / SCORES).is_file()])
        except ModelError as error:
            refused.add(row)
            say(f"--exports: {outcome.run.method} is left out: {error}")
        else:
            found[outcome.folder] = places
    return found


def _score(folder: Path, places: Sequence[Path]) -> None:
    """Make exports of a run, each in a folder called like its form, and score them. Raises ModelError as ONNX does."""
    from adapters.artifacts.export.base.export_format import ExportRequest, export
    from adapters.artifacts.runtime import load
    from adapters.evaluation.evaluate import evaluate, latency
    from adapters.evaluation.metrics.base.metric import task_metrics
    from adapters.tasks.base import examples

    if not places:
        return
    record = Record.load(folder)
    if not record.scores["cost"]["trainable_params"]:
        raise ModelError("it trains nothing.")
    settings, split = _settings(folder), record.scores["dataset"]["split"]
    _, splits, _ = examples.read_splits(record.scores["task"], settings)
    scored_on = splits["test" if split == "test" else "validation"][:]
    in_train = [number for number, line in enumerate(record.lines) if line["in_train"]]
    for out in places:
        title = f"{record.scores['method']} ({out.name.replace('_', ' ')})"
        say(f"export: {title}, seed {record.scores['seed']}")
        shutil.rmtree(out, ignore_errors=True)
        request = ExportRequest(
            folder=folder / "artifact",
            output_dir=out / "export",
            base=settings.model_name_or_path,
            plugin_dirs=settings.plugin_dir,
            quantize=FORMS[out.name],
        )
        export("onnx", request)
        loaded = load(out / "export", plugin_dirs=settings.plugin_dir)
        metrics = task_metrics(loaded.task, settings.metrics, settings.plugin_dir, allow_hub=settings.trust_remote_code)
        scored = evaluate(loaded.predictor, scored_on, metrics, split=split, seed=settings.seed)
        records.write_predictions(out / "predictions.jsonl", scored, in_train)
        answering = {
            "latency_ms": latency(loaded.predictor, scored.examples),
            "examples_per_second": round(scored.examples_per_second, 2),
            "artifact_bytes": sum(path.stat().st_size for path in (out / "export").rglob("*") if path.is_file()),
        }
        scores: dict[str, Any] = {
            **record.scores,
            "method": title,
            "exported": out.name,
            **records.quality_record(scored),
            "cost": {**record.scores["cost"], **answering},
            "row_digest": digest_value([record.scores["row_digest"], out.name]),
            "versions": versions(),
            "hardware": hardware(),
        }
        write_json(out / SCORES, scores)  # the last: where it is, the export is scored


def _settings(folder: Path) -> Any:
    """The settings of a finished run."""
    argv = [str(folder / "settings.json")]
    plugins = flags.peek(argv, "plugin_dir")
    task, argv = flags.choose(argv, "task", discovery.names("tasks", plugins), needed=True)
    method, argv = flags.choose(argv, "method", discovery.names("methods", plugins), needed=True)
    return run.open_run(task, method, {}, argv).settings
