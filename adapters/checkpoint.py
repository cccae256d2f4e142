"""Where a run can go on: a folder a step, complete or absent, its files' digests in a manifest; nothing is pickled.

Tensors lie in safetensors files, everything else in JSON. A folder is written under a temporary name, flushed to disk,
its manifest last, and renamed: a kill or a full disk leaves the checkpoints that were there before.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.errors import CheckpointError, SettingsError, UserError
from adapters.files import FORMAT, digest_file, new_folder, write_json

if TYPE_CHECKING:
    import torch

MANIFEST, STATE, LATEST = "manifest.json", "state.json", "latest"
_NAME = re.compile(r"step-(\d{8})")

Tensors = Mapping[str, Mapping[str, "torch.Tensor"]]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was found whole.

    Attributes:
        path: its folder.
        state: what was given as JSON.
        tensors: by file (without its ending) and name.
    """

    path: Path
    state: dict[str, Any]
    tensors: dict[str, dict[str, torch.Tensor]]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, identity: Callable[[], Mapping[str, Any]], *, keep: int) -> None:
        """Args:
        folder: where they lie; made when the first is written.
        identity: says what a run must share with the one that wrote them: settings, data, base.
        keep: how many of the newest stay.
        """
        self.folder, self.keep, self._identity = folder, keep, identity

    @cached_property
    def identity(self) -> dict[str, Any]:
        """As it is read back from JSON."""
        found: dict[str, Any] = json.loads(json.dumps(self._identity()))
        return found

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any]) -> Path:
        """Write a checkpoint, and remove those beyond the newest.

        Raises CheckpointError where the disk does not take it: the ones before it stay as they are.
        """
        path = self.folder / f"step-{step:08d}"
        size = sum(tensor.numel() * tensor.element_size() for named in tensors.values() for tensor in named.values())
        self.sweep()
        with _disk_faults(path, size), new_folder(path) as temporary:
            _write(temporary, tensors, state, self.identity)
        for old in self.paths()[self.keep :]:
            _remove(old)
        return path

    def paths(self) -> list[Path]:
        """Folders of checkpoints, the newest first."""
        there = self.folder.iterdir() if self.folder.is_dir() else iter(())
        return sorted((path for path in there if _NAME.fullmatch(path.name)), reverse=True)

    def sweep(self) -> None:
        """Remove what a killed process left half-written or half-removed."""
        for path in self.folder.glob(".step-*") if self.folder.is_dir() else ():
            shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def find(self, asked: str, say: Callable[[str], None]) -> Checkpoint:
        """The checkpoint to go on from.

        Args:
            asked: a checkpoint's folder, or `latest`: the newest that is whole.
            say: told of each that is passed over, and why.

        Raises:
            CheckpointError: a damaged checkpoint; there is none.
            SettingsError: a checkpoint of another run, with what differs.
        """
        if asked != LATEST:
            return read(Path(asked), self.identity)
        for path in self.paths():
            try:
                return read(path, self.identity)
            except CheckpointError as error:
                say(f"{error} The one before it is taken.")
        raise CheckpointError(f"--resume_from_checkpoint {LATEST}: {self.folder} has no whole checkpoint. "
                              "Leave the flag out to begin anew.")  # fmt: skip


def read(path: Path, identity: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint, every byte of it held against its manifest before it is used. Raises as `Checkpoints.find`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"{path}: is of format {manifest['format']!r}; this version reads {FORMAT}.")
        for name, wanted in manifest["files"].items():
            if Path(name).name != name or digest_file(path / name) != wanted:
                raise CheckpointError(f"{path}: {name} is damaged: its digest is not the one that was written.")
        _check_same(path, manifest["identity"], identity)
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        files = [name for name in manifest["files"] if name.endswith(".safetensors")]
        tensors = {name.removesuffix(".safetensors"): load_file(path / name) for name in files}
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: is no whole checkpoint ({error}).") from error
    return Checkpoint(path=path, state=state, tensors=tensors)


def _check_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises SettingsError that says what differs between the run that wrote a checkpoint and this one."""
    there, here = _flat(found), _flat(wanted)
    apart = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    if apart:
        told = "; ".join(f"{name}: {there.get(name)!r} there, {here.get(name)!r} here" for name in apart[:4])
        raise SettingsError(f"--resume_from_checkpoint {path}: is of another run. {told}. "
                            "Give the settings it was written with, or begin in another --output_dir.")  # fmt: skip


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested values by their path."""
    out: dict[str, Any] = {}
    for name, one in value.items():
        out |= _flat(one, f"{before}{name}.") if isinstance(one, dict) and one else {f"{before}{name}": one}
    return out


def _write(folder: Path, tensors: Tensors, state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """The files of a checkpoint, the manifest last."""
    from safetensors.torch import save_file

    for name, named in tensors.items():
        # Rows of one tensor may share memory, which safetensors refuses to write.
        save_file({key: tensor.detach().cpu().contiguous().clone() for key, tensor in named.items()},
                  folder / f"{name}.safetensors")  # fmt: skip
    write_json(folder / STATE, dict(state))
    files = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, {"files": files, "identity": identity})


def _remove(path: Path) -> None:
    """Remove a checkpoint so that no half of it bears its name."""
    doomed = path.with_name(f".{path.name}.gone")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


@contextmanager
def _disk_faults(path: Path, size: int) -> Iterator[None]:
    """Turns what the disk refuses into a CheckpointError that names path and bytes."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        near = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        free = shutil.disk_usage(near).free
        raise CheckpointError(
            f"{path}: the checkpoint of about {size:,} bytes could not be written ({error}); {free:,} bytes are free. "
            "The checkpoints before it are whole. Make room, and go on with --resume_from_checkpoint latest."
        ) from error
