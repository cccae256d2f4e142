"""What a sequence leaves in its folder: after each stage the weights, what the strategy keeps, and the scores.

state/              weights and strategy after the last stage (replaced as a whole)
own/TASK/           weights of a task's own model or adapter, which nothing changes any more
stages/01.json      scores and costs of a stage; written last, so that the stage is finished where it is
stages/01.npz       counts of each scored example
checkpoints/01/     of the stage that is being trained
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import ArtifactError
from adapters.core.files import digest_file, digest_value, new_file, new_folder, read_json, recover_folder, write_json

if TYPE_CHECKING:
    import torch

STATE, OWN, STAGES, CHECKPOINTS = "state", "own", "stages", "checkpoints"
WEIGHTS, STRATEGY, VALUES = "weights.safetensors", "strategy.safetensors", "state.json"
REMEDY = "Run the sequence again in another --output_dir, or restore the folder from an intact copy."


@dataclass(frozen=True, kw_only=True)
class State:
    """The state after a stage.

    Attributes:
        stage: its number, from 0.
        weights: trained parameters by name.
        strategy_tensors: what the strategy keeps.
        strategy_values: as JSON.
        costs: of the stage.
    """

    stage: int
    weights: Mapping[str, torch.Tensor]
    strategy_tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    strategy_values: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)


def recover(folder: Path) -> None:
    """Undo what a killed process has left half done. No other process may write meanwhile."""
    recover_folder(folder / STATE)


def exists(folder: Path) -> bool:
    """Whether any stage has left its state."""
    return (folder / STATE).is_dir()


def write(folder: Path, state: State, *, own: str | None = None) -> None:
    """Write a state, whole or not at all.

    Args:
        folder: of the run.
        state: to write.
        own: name of the task whose own model the weights are; they are written for good, and the state has none.
    """
    if own is not None:
        _write_tensors(folder / OWN / own, state.weights, {}, {"task": own})
        state = State(stage=state.stage, weights={}, costs=state.costs)
    values = {"stage": state.stage, "values": state.strategy_values, "costs": state.costs}
    _write_tensors(folder / STATE, state.weights, state.strategy_tensors, values)


def read(folder: Path) -> State:
    """The state after the last stage. Raises ArtifactError where it is damaged."""
    values, tensors = _read_tensors(folder / STATE)
    return State(
        stage=values["stage"],
        weights=tensors[WEIGHTS],
        strategy_tensors=tensors[STRATEGY],
        strategy_values=values["values"],
        costs=values["costs"],
    )


def read_own(folder: Path, task: str) -> dict[str, torch.Tensor]:
    """The weights of a task's own model. Raises ArtifactError where they are damaged."""
    return _read_tensors(folder / OWN / task)[1][WEIGHTS]


def _write_tensors(
    folder: Path, weights: Mapping[str, torch.Tensor], strategy: Mapping[str, torch.Tensor], values: Mapping[str, Any]
) -> None:
    from safetensors.torch import save_file

    with new_folder(folder) as draft:
        for file, tensors in ((WEIGHTS, weights), (STRATEGY, strategy)):
            plain = {name: one.detach().cpu().contiguous().clone() for name, one in tensors.items()}
            save_file(plain, draft / file, metadata={"format": "pt"})
        digests = {file: digest_file(draft / file) for file in (WEIGHTS, STRATEGY)}
        body = {**values, "files": digests}
        write_json(draft / VALUES, {**body, "digest": digest_value(body)})


def _read_tensors(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]]:
    """JSON, and tensors by file. Raises ArtifactError unless all is as it was written."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        values = read_json(folder / VALUES)
        body = {name: value for name, value in values.items() if name not in ("digest", "format")}
        if digest_value(body) != values["digest"]:
            raise ArtifactError(f"{folder / VALUES}: was modified or damaged. {REMEDY}")
        for file, digest in values["files"].items():
            if digest_file(folder / file) != digest:
                raise ArtifactError(f"{folder / file}: was modified or damaged: its digest is another. {REMEDY}")
        return values, {file: load_file(folder / file) for file in (WEIGHTS, STRATEGY)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{folder}: cannot be read ({error}). {REMEDY}") from error


def _stage(folder: Path, number: int, ending: str) -> Path:
    return folder / STAGES / f"{number + 1:02d}.{ending}"


def finished_stages(folder: Path) -> int:
    """How many stages have their scores."""
    number = 0
    while _stage(folder, number, "json").is_file():
        number += 1
    return number


def write_stage(folder: Path, number: int, record: dict[str, Any], counts: Mapping[str, np.ndarray]) -> None:
    """Write scores and costs of a stage, the scores last."""
    (folder / STAGES).mkdir(parents=True, exist_ok=True)
    write_counts(_stage(folder, number, "npz"), counts)
    write_json(_stage(folder, number, "json"), record)


def read_stage(folder: Path, number: int) -> dict[str, Any]:
    """Scores and costs of a stage. Raises ArtifactError where they cannot be read."""
    path = _stage(folder, number, "json")
    try:
        found: dict[str, Any] = read_json(path)
        return {name: value for name, value in found.items() if name != "format"}
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}). {REMEDY}") from error


def write_counts(path: Path, counts: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name."""
    with new_file(path, text=False) as file:
        np.savez_compressed(file, **{name: np.asarray(one) for name, one in counts.items()})  # type: ignore[arg-type]


def read_counts(folder: Path, number: int) -> dict[str, np.ndarray]:
    """The arrays of a stage. Raises ArtifactError."""
    path = _stage(folder, number, "npz")
    try:
        return read_arrays(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}). {REMEDY}") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, in which nothing is pickled."""
    out = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as stream:
                out[name.removesuffix(".npy")] = np.lib.format.read_array(stream, allow_pickle=False)
    return out


def checkpoints_folder(folder: Path, number: int) -> Path:
    """Where the training of a stage keeps its checkpoints."""
    return folder / CHECKPOINTS / f"{number + 1:02d}"


def remove_checkpoints(folder: Path, number: int) -> None:
    """Remove the checkpoints of a stage that is finished."""
    shutil.rmtree(checkpoints_folder(folder, number), ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove all weights: of a trial, only the scores are of use."""
    for name in (STATE, OWN, CHECKPOINTS):
        shutil.rmtree(folder / name, ignore_errors=True)
