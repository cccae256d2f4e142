"""What a sequence publishes: artifacts by adapter and version, each ordinary, and a pointer to the version in use.

    published/TASK/versions/0001/     an artifact, for adapters.load, a bank, a server, PEFT
    published/TASK/current.json       {"version": 1, "folder": "versions/0001"}
    published/router/                 the same of the router, where the strategy has one

A server that was given the folder published/TASK loads the version in use, and with --watch takes a new one by itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.artifacts.published import CURRENT, located
from adapters.core.errors import ArtifactError
from adapters.core.files import FORMAT, write_json
from adapters.experiments import records
from adapters.experiments.continual import routing, state
from adapters.experiments.continual.heads import Heads
from adapters.experiments.continual.sequence import ALL_TASKS, ROUTER
from adapters.experiments.continual.sequence_run import SequenceRun
from adapters.experiments.continual.weights import put_outputs
from adapters.experiments.dev_reference import dev_reference
from adapters.experiments.run_state import FittedModel, RunData

PUBLISHED, VERSIONS = "published", "versions"


def publish(run: SequenceRun, folder: Path, *, former: Mapping[str, int]) -> dict[str, int]:
    """Write an artifact for each adapter that has changed; returns the version of every adapter. Points to none yet.

    Every process calls it; the main one writes.

    Args:
        run: that has learned its tasks.
        folder: with `published/`.
        former: versions of the adapters before the last task.
    """
    versions = dict(former)
    names = [one.name for one in run.tasks]
    shared = run.strategy.shared
    adapters = [ALL_TASKS] if shared and Heads(run.settings.scenario, run.tasks).shared else names
    common = state.read(run.folder).weights if shared else None
    for name in adapters:
        if not shared and name in former:
            continue  # nothing changes the model of a task that was learned
        versions[name] = _next(folder / PUBLISHED / name)
        _write(run, name, _version(folder / PUBLISHED / name, versions[name]), common)
    if routing.routes(run):
        versions[ROUTER] = _next(folder / PUBLISHED / ROUTER)
        router = routing.published_router(run)
        if run.session.accelerator.is_main_process:
            router.save(_version(folder / PUBLISHED / ROUTER, versions[ROUTER]), run.session.base)
        run.session.accelerator.wait_for_everyone()
    return versions


def _next(folder: Path) -> int:
    """The number of the next version of an adapter."""
    there = [int(path.name) for path in (folder / VERSIONS).glob("[0-9]*") if path.name.isdecimal()]
    return max(there, default=0) + 1


def _version(folder: Path, number: int) -> Path:
    return folder / VERSIONS / f"{number:04d}"


def point(folder: Path, versions: Mapping[str, int]) -> None:
    """Let each adapter be of a version; one without a version is no longer published. Each pointer moves at once."""
    for adapter in sorted((folder / PUBLISHED).iterdir()) if (folder / PUBLISHED).is_dir() else ():
        pointer, number = adapter / CURRENT, versions.get(adapter.name)
        if number is None:
            pointer.unlink(missing_ok=True)
            continue
        wanted = {"format": FORMAT, "version": number, "folder": f"{VERSIONS}/{number:04d}"}
        if not pointer.is_file() or json.loads(pointer.read_text(encoding="utf-8")) != wanted:
            write_json(pointer, wanted)


def current(folder: Path, adapter: str) -> Path:
    """The artifact that is published under a name. Raises ArtifactError where there is none."""
    pointer = folder / PUBLISHED / adapter / CURRENT
    if not pointer.is_file():
        raise ArtifactError(f"{pointer}: no such file, so no version of {adapter} is published.")
    return located(pointer.parent)


def _write(run: SequenceRun, name: str, folder: Path, common: Mapping[str, Any] | None) -> None:
    """The artifact of an adapter: an ordinary one, with the outputs of its own task.

    Args:
        run: that has learned its tasks.
        name: of the adapter.
        folder: of the artifact.
        common: the weights of the model that all tasks share; None where each has its own.
    """
    from adapters.evaluation.evaluate import evaluate
    from adapters.evaluation.metrics.base.metric import task_metrics

    of_all = name == ALL_TASKS
    one = run.tasks[-1] if of_all else next(task for task in run.tasks if task.name == name)
    base, settings = run.session.base, run.settings
    heads = Heads(settings.scenario, run.tasks if run.strategy.shared else (one,))
    method = run.method_for(len(heads.tasks))
    weights = common or state.read_own(run.folder, one.name)
    task = heads.task(one.name).on(base.kind)
    model = method.wrap(base, task, one.train)
    put_outputs(model, weights, heads.of(one.name))
    if base.quantization is None:
        model.to(run.session.accelerator.device)
    metrics = task_metrics(task, settings.metrics, settings.plugin_dir, allow_hub=settings.trust_remote_code)
    predictor = method.predictor(model, base, task, precision=run.session.precision)
    scored = [example for task in (run.tasks if of_all else (one,)) for example in task.scored()]
    evaluation = evaluate(predictor, scored, metrics, split=one.scored().name, seed=settings.seed)
    stages = [state.read_stage(run.folder, i) for i in range(state.finished_stages(run.folder))]
    seconds = sum(stage["train_seconds"] for stage in stages if run.strategy.shared or one.name in stage["tasks"])
    fitted = FittedModel(
        task=task,
        method=method,
        base=base,
        model=model,
        predictor=predictor,
        metrics=metrics,
        history=None,
        seconds=seconds,
    )
    data = RunData(name=", ".join(t.name for t in run.tasks) if of_all else one.name, revision=None, splits=one.splits)
    record = records.score_record(method.settings, run.session, data, fitted, evaluation)
    record["overlap"].pop("numbers", None)
    dev = [example for task in (run.tasks if of_all else (one,)) for example in task.dev]
    reference = dev_reference(fitted, dev, evaluation, settings.max_length)
    if run.session.accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed process has left
        records.save_artifact(folder, method.settings, fitted, record, evaluation, reference)
    run.session.accelerator.wait_for_everyone()
