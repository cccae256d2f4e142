"""A router's folder: `router.json` with digests, and `router.safetensors`, verified before anything is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adapters.artifacts.artifact import refuse_code
from adapters.core.errors import ArtifactError
from adapters.core.files import digest_file, new_folder, read_sealed, write_sealed

RECORD, TENSORS = "router.json", "router.safetensors"
REMEDY = "Save the router again, or copy it again from an intact copy."
_BASE = ("name", "weights_sha256", "tokenizer_sha256")


def write(folder: Path, record: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write a router atomically; an existing one is replaced. Digests are added here."""
    from safetensors.numpy import save_file

    with new_folder(folder) as draft:
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, draft / TENSORS)
        write_sealed(draft / RECORD, {**record, "files": {TENSORS: digest_file(draft / TENSORS)}})


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record and the tensors; the bytes that are verified are those that are used. Raises ArtifactError."""
    if not (folder / RECORD).is_file():
        raise ArtifactError(f"{folder}: contains no {RECORD}, so it is not a router. Give the folder of `Router.save`.")
    refuse_code(folder)
    try:
        record = _record(folder / RECORD)
        data = (folder / TENSORS).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror}). {REMEDY}") from error
    found = hashlib.sha256(data).hexdigest()
    if record["files"] != {TENSORS: found}:
        expected = record["files"].get(TENSORS)
        raise ArtifactError(
            f"{folder / TENSORS}: damaged or modified: expected sha256 {expected!r:.70}, found {found}. {REMEDY}"
        )
    return record, _tensors(folder / TENSORS, data)


def check_shapes(folder: Path, tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ArtifactError unless tensors have these names and shapes."""
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != dict(expected):
        raise ArtifactError(f"{folder / TENSORS}: expected tensors {dict(expected)}, found {found}. {REMEDY}")


def _record(path: Path) -> dict[str, Any]:
    """The JSON with its own digest verified and its fields of the right types."""
    try:
        record = read_sealed(path)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error} {REMEDY}") from error
    counts, base, files = (record.get(name) for name in ("counts", "base", "files"))
    right = {
        "kind": isinstance(record.get("kind"), str),
        "counts": isinstance(counts, dict) and counts and all(_is_whole(count) for count in counts.values()),
        "hidden": _is_whole(record.get("hidden")),
        "temperature": _is_number(record.get("temperature")) and record["temperature"] > 0,
        "threshold": record.get("threshold") is None or _is_number(record["threshold"]),
        "rate": record.get("rate") is None or _is_number(record["rate"]),
        "base": isinstance(base, dict) and all(isinstance(base.get(name), str) for name in _BASE),
        "files": isinstance(files, dict),
    }
    for name, fits in right.items():
        if not fits:
            raise ArtifactError(f"{path}: {name}: unexpected value {record.get(name)!r:.60}. {REMEDY}")
    return record


def _tensors(path: Path, data: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: dict[str, np.ndarray] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: not a safetensors file ({error}). {REMEDY}") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in (np.float32, np.float64) or not np.isfinite(tensor).all():
            raise ArtifactError(f"{path}: tensor {name} contains values that are not finite numbers. {REMEDY}")
    return tensors


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
