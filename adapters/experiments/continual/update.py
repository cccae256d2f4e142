"""One more task on a finished run: learned, checked against what it must not lose, and published; or rolled back.

RUN/                    version 1: state, scores
RUN/updates/0002/       the same after one more task
RUN/current.json        {"version": 2}
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from adapters.core import discovery
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import ArtifactError, ComparisonError, DataError, SettingsError, cause
from adapters.core.files import locked, write_json
from adapters.core.progress import say
from adapters.core.settings import require
from adapters.experiments.continual import publish, routing, state
from adapters.experiments.continual.record import finish
from adapters.experiments.continual.sequence import SequenceTask, names_of
from adapters.experiments.continual.sequence_run import SequenceRun
from adapters.experiments.continual.settings import run_settings

UPDATES, CURRENT, PUBLISHED = "updates", "current.json", "published.json"


@dataclass(frozen=True, kw_only=True)
class UpdateSettings:
    """One more task on a finished run, or back to the version before."""

    run: Annotated[Path, POSITIONAL]
    """Folder of a run of a sequence (OUTPUT_DIR/runs/…), or OUTPUT_DIR where that has a single run."""
    add: Path | None = None
    """The .toml of the task to learn."""
    rollback: bool = False
    """Go back to the version before the last task."""
    max_drop: float = 0.5
    """Points that the dev score of an earlier task may drop; where it drops more, the new version is not published."""
    max_routed_drop: float = 5.0
    """The same, where the adapter is chosen by routing: one more task makes the choice harder."""
    model_name_or_path: str | None = None
    """The base model. Default, and the only one possible: that of the run."""


def update(given: UpdateSettings) -> int:
    """Add a task, or roll back; returns the exit code: 1 where the gate stays closed. Raises UserError."""
    if given.rollback == (given.add is not None):
        raise SettingsError(f"What is to be done with {given.run}? Give one of --add NEW_TASK.toml and --rollback.")
    for name in ("max_drop", "max_routed_drop"):
        require(getattr(given, name) >= 0, name, getattr(given, name), "0 or more")
    run = only_run(given.run).resolve()
    given = dataclasses.replace(given, run=run)
    _record(run)  # before a lock is left beside what is no run
    with locked(run.parent / f"{run.name}.lock"):
        record = _record(run)
        version = current_version(run)
        publish.point(run, _published(version_folder(run, version)))  # what a killed process has left undone
        if given.rollback:
            return _roll_back(run, version)
        return _add(given, record, version)


def only_run(folder: Path) -> Path:
    """The run that is meant by a folder: itself, or the only one in it. Raises ComparisonError where it has several."""
    runs = sorted(path.parent for path in folder.glob("runs/*/scores.json") if "-trial-" not in path.parent.name)
    if len(runs) > 1:
        raise ComparisonError(
            f"{folder}: has {len(runs)} runs; give the folder of one of them: {', '.join(str(run) for run in runs[:5])}"
        )
    return runs[0] if runs else folder


def current_version(run: Path) -> int:
    """The version of a run that is in use. Raises ArtifactError where the pointer is damaged."""
    pointer = run / CURRENT
    if not pointer.is_file():
        return 1
    try:
        number = int(json.loads(pointer.read_text(encoding="utf-8"))["version"])
        if not (version_folder(run, number) / "scores.json").is_file():
            raise ValueError(f"version {number} is not there")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f'{pointer}: cannot be read ({error}). Write the number of a version: {{"version": 1}}.'
        ) from error
    return number


def version_folder(run: Path, version: int) -> Path:
    """Where a version has its state and scores."""
    return run if version == 1 else run / UPDATES / f"{version:04d}"


def _record(run: Path) -> dict[str, Any]:
    """scores.json of the version in use. Raises ComparisonError where no run of a sequence has finished."""
    path = version_folder(run, current_version(run)) / "scores.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        assert record["strategy"] and record["matrix"]
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise ComparisonError(
            f"{run}: no finished run of a sequence ({cause(error)}). Give a folder that taskswap continual has "
            "written: OUTPUT_DIR/runs/NAME."
        ) from error
    return record


def _published(folder: Path) -> dict[str, int]:
    path = folder / PUBLISHED
    return {} if not path.is_file() else {str(name): int(number) for name, number in _read(path, "adapters").items()}


def _read(path: Path, name: str) -> Any:
    """A value of a JSON file. Raises ArtifactError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: cannot be read ({cause(error)}). {state.REMEDY}") from error


def _roll_back(run: Path, version: int) -> int:
    if version == 1:
        raise SettingsError(f"--rollback: {run} is at its first version; there is none before.")
    former = int(_read(version_folder(run, version) / "former.json", "version"))
    write_json(run / CURRENT, {"version": former})
    publish.point(run, _published(version_folder(run, former)))
    print(f"{run}: back at version {former}; version {version} is kept in {version_folder(run, version)}")
    return 0


def _add(given: UpdateSettings, record: dict[str, Any], version: int) -> int:
    """Learn the task in a folder of its own; where the gate opens, that becomes the version in use."""
    from adapters.models.base_model import open_base

    run, settings = given.run, dict(record["settings"])
    asked = given.model_name_or_path
    if asked not in (None, settings["model_name_or_path"]) and open_base(asked).digest != record["base_digest"]:
        raise SettingsError(
            f"--model_name_or_path {asked}: {run} was learned on {settings['model_name_or_path']}; what it knows is of "
            "no use on another base. Leave the flag out, or run the sequence again on the other base."
        )
    assert given.add is not None
    paths = [*settings["tasks"], str(given.add.absolute())]
    names_of(paths)
    strategy = discovery.load("strategies", record["strategy"], settings["plugin_dir"]).Strategy
    if strategy.together:
        raise SettingsError(
            f"--add: the strategy {record['strategy']} learns all tasks at once, so there is nothing to add to. Run "
            "taskswap continual with all of them, or add to a run of another strategy."
        )
    before = version_folder(run, version)
    number = max([1, *(int(path.name) for path in (run / UPDATES).glob("[0-9]*"))]) + 1
    pending = run / UPDATES / f".{number:04d}"
    kind = run_settings(record["task"], record["method"], record["strategy"], settings["plugin_dir"])
    known = set(kind.__dataclass_fields__)
    values = {k: v for k, v in settings.items() if k in known}
    given_names = record.get("given", [])
    old = SequenceRun(
        record["task"], record["method"], record["strategy"], kind(**{**values, "output_dir": str(before)})
    )
    state.recover(before)
    old.read(given_names)
    _check_data(old, record)
    changed = {**values, "tasks": paths, "output_dir": str(pending), "publish": False}
    new = SequenceRun(record["task"], record["method"], record["strategy"], kind(**changed))
    new.read(given_names)
    if old.session.base.digest != record["base_digest"]:
        raise SettingsError(
            f"{run}: was learned on other weights of {record['base']} than are found now. Use the base it was "
            "learned on."
        )
    _begin(before, pending, new.tasks)
    new.learn_all()
    drops = dev_drops(old, new)
    finish(new)
    closed = []
    for drop in drops:
        say(f"gate: {drop.name}: dev {100 * drop.before:.2f} before, {100 * drop.after:.2f} after")
        limit = "max_routed_drop" if drop.routed else "max_drop"
        if drop.points > getattr(given, limit):
            over = f"{drop.name} loses {drop.points:.2f} points on dev, more than --{limit} {getattr(given, limit):g}"
            closed.append((drop.points - getattr(given, limit), over))
    write_json(
        pending / "gate.json",
        {
            "max_drop": given.max_drop,
            "max_routed_drop": given.max_routed_drop,
            "open": not closed,
            "dev": {drop.name: {"before": drop.before, "after": drop.after} for drop in drops},
        },
    )
    if closed:
        kept = run / UPDATES / "refused"
        shutil.rmtree(kept, ignore_errors=True)
        pending.rename(kept)
        say(
            f"not published: {max(closed)[1]}. Version {version} stays in use; what was learned is in {kept}. Allow "
            "more by that flag, or use a strategy that forgets less (adapter_per_task, replay)."
        )
        return 1
    versions = publish.publish(new, run, former=_published(before)) if _published(before) else {}
    write_json(pending / PUBLISHED, {"adapters": versions})
    write_json(pending / "former.json", {"version": version})
    final = version_folder(run, number)
    pending.rename(final)
    write_json(run / CURRENT, {"version": number})
    publish.point(run, versions)
    print(f"{run}: version {number} is in use, with {given.add.stem}. To go back: taskswap continual --rollback {run}")
    return 0


def _begin(before: Path, pending: Path, tasks: Sequence[SequenceTask]) -> None:
    """The folder of the new version, with the state of the former one; taken up again where it was interrupted.

    It is begun anew where the tasks are others, or their data have changed.
    """
    marker, learned = pending / "tasks.json", {one.name: one.record() for one in tasks}
    if marker.is_file() and _read(marker, "tasks") == learned:
        return
    shutil.rmtree(pending, ignore_errors=True)
    pending.mkdir(parents=True)
    for name in (state.STATE, state.OWN, state.STAGES):
        if (before / name).is_dir():
            shutil.copytree(before / name, pending / name, copy_function=_link)
    write_json(marker, {"tasks": learned})


def _link(source: str, target: str) -> str:
    """A hard link: what was learned is never written to again. A copy where the disk has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _check_data(old: SequenceRun, record: dict[str, Any]) -> None:
    """Raises DataError where an earlier task's data are not those that were learned."""
    for one in old.tasks:
        found, wanted = one.record(), record["tasks"][one.name]
        for key, what in (("digest", "scored examples"), ("train_digest", "training examples")):
            if found[key] != wanted[key]:
                raise DataError(
                    f"{one.name}: its {what} have changed since it was learned, so its scores could not be compared. "
                    "Restore the files, or run the sequence again."
                )


@dataclass(frozen=True, kw_only=True)
class Drop:
    """An earlier task's dev score before and after the new task.

    Attributes:
        name: of the task; where routed, that is said.
        before: from 0 to 1.
        after: from 0 to 1.
        routed: whether the adapter was chosen by routing.
    """

    name: str
    before: float
    after: float
    routed: bool = False

    @property
    def points(self) -> float:
        """The points that are lost: 0.5 of 200 examples are 0.5, and not a bit more."""
        return round(100 * (self.before - self.after), 6)


def dev_drops(old: SequenceRun, new: SequenceRun) -> list[Drop]:
    """What the earlier tasks lose by the new one; with a router, by routing, too."""
    scores = [(False, [run.dev_scores(old.tasks) for run in (old, new)])]
    if routing.routes(old):
        scores.append((True, [routing.routed_dev_scores(run, old.tasks) for run in (old, new)]))
    return [
        Drop(name=f"{one.name}, routed" if routed else one.name, before=before[i], after=after[i], routed=routed)
        for routed, (before, after) in scores
        for i, one in enumerate(old.tasks)
    ]
