"""Checkpoints to resume a run from: one folder per step, with a manifest of file digests, without pickles.

Tensors are stored as safetensors, everything else as JSON. A folder is written under a temporary name, the manifest
last, flushed to disk, and renamed: after a kill or on a full disk the earlier checkpoints remain.
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

from adapters.core.errors import CheckpointError, SettingsError, UserError
from adapters.core.files import FORMAT, digest_file, new_folder, recover_folder, write_json

if TYPE_CHECKING:
    import torch

MANIFEST, STATE, LATEST, TRAINED = "manifest.json", "state.json", "latest", "trained"
_NAME = re.compile(r"step-(\d{8})")

Tensors = Mapping[str, Mapping[str, "torch.Tensor"]]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that has been read and verified.

    Attributes:
        path: its folder.
        state: the JSON state.
        tensors: by file (without its suffix) and name.
    """

    path: Path
    state: dict[str, Any]
    tensors: dict[str, dict[str, torch.Tensor]]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, identity: Callable[[], Mapping[str, Any]], *, save_total_limit: int) -> None:
        """Args:
        folder: of all checkpoints; created with the first.
        identity: returns what a resumed run must share with the one that wrote them: settings, data, base.
        save_total_limit: number of checkpoints to keep; older ones are removed.
        """
        self.folder, self.save_total_limit, self._identity = folder, save_total_limit, identity
        self._written: set[Path] = set()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The identity as it is read back from JSON."""
        identity: dict[str, Any] = json.loads(json.dumps(self._identity()))
        return identity

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any]) -> Path:
        """Write a checkpoint, and remove those beyond the limit: the newest whole ones remain, this one among them.

        Raises CheckpointError if it cannot be written; earlier checkpoints remain as they are.
        """
        path = self._save(f"step-{step:08d}", tensors, state)
        self._written.add(path)
        self._remove_others(path)
        return path

    def _remove_others(self, newest: Path) -> None:
        """Keep the one that was just written, and as many whole ones as the limit allows; a damaged one is no other."""
        kept = 1
        for path in self.paths():
            if path != newest:
                if kept < self.save_total_limit and (path in self._written or _is_whole(path)):
                    kept += 1
                else:
                    _remove(path)

    def save_trained(self, tensors: Tensors, state: Mapping[str, Any]) -> Path:
        """Write what a run has trained, before it is scored. It is newer than any step. Raises as `save`."""
        return self._save(TRAINED, tensors, state)

    def _save(self, name: str, tensors: Tensors, state: Mapping[str, Any]) -> Path:
        path = self.folder / name
        size = sum(tensor.numel() * tensor.element_size() for named in tensors.values() for tensor in named.values())
        self.sweep()
        with _disk_faults(path, size), new_folder(path) as temporary:
            _write(temporary, tensors, state, self.identity)
        return path

    def finish(self, *, keep: bool) -> None:
        """Remove what was kept for the time until the scores are written; with `keep`, the steps' checkpoints stay."""
        if not keep:
            self.remove()
        elif (self.folder / TRAINED).is_dir():
            _remove(self.folder / TRAINED)

    def paths(self) -> list[Path]:
        """Folders of the steps' checkpoints, newest first."""
        entries = self.folder.iterdir() if self.folder.is_dir() else iter(())
        return sorted((path for path in entries if _NAME.fullmatch(path.name)), reverse=True)

    def any(self) -> bool:
        """Whether there is any checkpoint, be it damaged; one that was moved aside when a process was killed counts."""
        self.sweep()
        return bool(self.paths()) or (self.folder / TRAINED).is_dir()

    def sweep(self) -> None:
        """Undo what a killed process has left: a checkpoint moved aside returns, partly written and removed ones go.

        No other process may be writing checkpoints.
        """
        for path in [*self.folder.glob(".step-*"), *self.folder.glob(f".{TRAINED}.*")]:
            recover_folder(self.folder / path.name.split(".")[1])
            shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def find(self, requested: str, say: Callable[[str], None]) -> Checkpoint:
        """The checkpoint to resume from.

        Args:
            requested: the folder of a checkpoint, or `latest` for the newest that is complete.
            say: called with a line about each checkpoint that is skipped.

        Raises:
            CheckpointError: the checkpoint is damaged, or there is none.
            SettingsError: the checkpoint belongs to another run; the message says what differs.
        """
        if requested != LATEST:
            return read(Path(requested), self.identity)
        trained = self.folder / TRAINED
        for path in [*([trained] if trained.is_dir() else []), *self.paths()]:
            try:
                return read(path, self.identity)
            except CheckpointError as error:
                say(f"{error} The one before it is used.")
        raise CheckpointError(
            f"--resume_from_checkpoint {LATEST}: {self.folder} has no complete checkpoint. "
            "Leave the flag out to start from the beginning."
        )


def read(path: Path, identity: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint; every file is verified by its digest first. Raises as `Checkpoints.find`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        manifest = _verified_manifest(path)
        _check_same(path, manifest["identity"], identity)
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        files = [name for name in manifest["files"] if name.endswith(".safetensors")]
        tensors = {name.removesuffix(".safetensors"): load_file(path / name) for name in files}
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a complete checkpoint ({error}).") from error
    return Checkpoint(path=path, state=state, tensors=tensors)


def _verified_manifest(path: Path) -> dict[str, Any]:
    """The manifest. Raises CheckpointError, or what reading raises, where a file differs from what it says."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format"] != FORMAT:
        raise CheckpointError(f"{path}: expected format {FORMAT}, found {manifest['format']!r}.")
    for name, digest in manifest["files"].items():
        if Path(name).name != name or digest_file(path / name) != digest:
            raise CheckpointError(f"{path}: {name} is damaged: its digest differs from the manifest's.")
    return manifest


def _is_whole(path: Path) -> bool:
    """Whether every file of a checkpoint is as its manifest says."""
    try:
        _verified_manifest(path)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _check_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises SettingsError that says what differs between the run that wrote a checkpoint and this one."""
    written, current = _flat(found), _flat(wanted)
    differing = sorted(name for name in {*written, *current} if written.get(name) != current.get(name))
    if differing:
        shown = "; ".join(f"{name}: {written.get(name)!r} there, {current.get(name)!r} here" for name in differing[:4])
        raise SettingsError(
            f"--resume_from_checkpoint {path}: belongs to another run. {shown}. "
            "Use the settings it was written with, or another --output_dir."
        )


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested values by their dotted path."""
    out: dict[str, Any] = {}
    for name, one in value.items():
        out |= _flat(one, f"{before}{name}.") if isinstance(one, dict) and one else {f"{before}{name}": one}
    return out


def _write(folder: Path, tensors: Tensors, state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Write the files of a checkpoint, the manifest last."""
    from safetensors.torch import save_file

    for name, named in tensors.items():
        # Tensors may share memory, which safetensors refuses to write.
        save_file(
            {key: tensor.detach().cpu().contiguous().clone() for key, tensor in named.items()},
            folder / f"{name}.safetensors",
        )
    write_json(folder / STATE, dict(state))
    files = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, {"files": files, "identity": identity})


def _remove(path: Path) -> None:
    """Remove a checkpoint so that no partly removed folder has its name."""
    doomed = path.with_name(f".{path.name}.gone")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


@contextmanager
def _disk_faults(path: Path, size: int) -> Iterator[None]:
    """Turn errors of the disk into a CheckpointError with path and bytes."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        raise CheckpointError(
            f"{path}: the checkpoint of about {size:,} bytes could not be written ({error}); {free:,} bytes are free. "
            "Earlier checkpoints are intact. Make room, and resume with --resume_from_checkpoint latest."
        ) from error
