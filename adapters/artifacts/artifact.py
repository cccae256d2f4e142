"""Artifacts: folders with trained parameters and a card, verified before any tensor of them is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ArtifactError
from adapters.core.files import digest_file, digest_value, new_folder, read_sealed, write_sealed

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

CARD = "card.json"
LAYOUT = 2
"""Version of the contents of card.json: names of tasks and methods, and their settings."""
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"})
CODE = frozenset({".py", ".pyc", ".so"})
"""Files that transformers, or Python, could run: no artifact needs one."""
REMEDY = "Train it again, or copy it again from an intact copy."
_FIELDS = {
    "task.name": str,
    "task.labels": list,
    "method.name": str,
    "method.settings": dict,
    "max_length": int,
    "base.name": str,
    "base.weights_sha256": str,
    "base.tokenizer_sha256": str,
}
"""Fields that a card must have, with their types."""


def write(folder: Path, fill: Callable[[Path], None], card: Mapping[str, Any], readme: str) -> None:
    """Write an artifact atomically.

    Args:
        folder: the artifact's folder.
        fill: writes the method's files into a given folder.
        card: contents of card.json without digests and tensors, which are added here.
        readme: the model card, for README.md.
    """
    with new_folder(folder) as draft:
        fill(draft)
        (draft / "README.md").write_text(readme, encoding="utf-8")
        for path in _files(draft).values():
            path.chmod(0o644)  # safetensors writes files that a server of another user could not read
        files = {name: digest_file(path) for name, path in _files(draft).items()}
        assert not any(_is_pickle(name) or _is_code(name) for name in files), files
        body = {"layout": LAYOUT, **card, "files": files, "tensors": tensor_shapes(draft)}
        write_sealed(draft / CARD, body)


def tensor_shapes(folder: Path) -> dict[str, dict[str, list[int]]]:
    """Names and shapes of the tensors in each safetensors file of a folder."""
    from safetensors import safe_open

    out: dict[str, dict[str, list[int]]] = {}
    for file, path in _files(folder, ".safetensors").items():
        with safe_open(path, framework="np") as tensors:
            out[file] = {name: list(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return out


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of an artifact, and check its own digest.

    Raises:
        ArtifactError: no artifact, one of an older version, or a damaged card.
    """
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such folder. Give the folder of a run, or the `artifact` in it.")
    path = folder / CARD
    if not path.is_file():
        raise ArtifactError(
            f"{folder}: contains no {CARD}, so it is not an artifact of taskswap. Give the folder of a run that has "
            "finished, or the `artifact` in it."
        )
    try:
        card = read_sealed(path)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error} {REMEDY}") from error
    if "layout" not in card:
        raise ArtifactError(
            f"{path}: an artifact written by an older version of taskswap (before 0.2). Train it again, or load its "
            "PEFT folder with PEFT itself."
        )
    if card["layout"] != LAYOUT:
        raise ArtifactError(f"{path}: expected layout {LAYOUT}, found {card['layout']!r}.")
    return card


def verify(folder: Path) -> dict[str, Any]:
    """Verify an artifact: the digest of every file, tensor names and shapes, finite values; no pickles, and no code.

    Returns:
        The card.

    Raises:
        ArtifactError: with what was expected and what was found.
    """
    from safetensors import SafetensorError

    card = verify_files(folder)
    try:
        if tensor_shapes(folder) != card["tensors"]:
            raise ArtifactError(f"{folder}: tensor names or shapes differ from the card's. {REMEDY}")
        _check_finite(folder)
    except SafetensorError as error:
        names = ", ".join(_files(folder, ".safetensors"))
        raise ArtifactError(f"{folder}: not safetensors files ({error}): {names}. {REMEDY}") from error
    return card


def verify_files(folder: Path) -> dict[str, Any]:
    """The card of an artifact, whose files are exactly those that it lists, unchanged. Raises ArtifactError."""
    card, listed = _listed(folder)
    for name, path in listed.items():
        _check_digest(path, card["files"][name], digest_file(path))
    return card


def open_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The card of an adapter and its tensors, verified as by `verify` except for finite values.

    Each file is read once, so that the verified bytes are those that are used, even if the folder changes meanwhile.
    """
    card, listed = _listed(folder)
    tensors: dict[str, torch.Tensor] = {}
    for name, path in listed.items():
        data = path.read_bytes()
        _check_digest(path, card["files"][name], hashlib.sha256(data).hexdigest())
        if path.suffix == ".safetensors":
            parsed = parse_tensors(data, path)
            shapes = {key: list(tensor.shape) for key, tensor in parsed.items()}
            if shapes != card["tensors"].get(name):
                raise ArtifactError(f"{path}: tensor names or shapes differ from the card's. {REMEDY}")
            tensors.update(parsed)
    return card, tensors


def parse_tensors(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file. Raises ArtifactError if it is none, or contains none."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, torch.Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: not a safetensors file ({error}). {REMEDY}") from error
    if not tensors:
        raise ArtifactError(f"{path}: contains no tensors. {REMEDY}")
    return tensors


def pickles(folder: Path) -> list[str]:
    """Names of the files in a folder whose loading could run code."""
    return [name for name in _files(folder) if _is_pickle(name)]


def refuse_code(folder: Path) -> None:
    """Raises ArtifactError if a folder contains code, or a file whose loading could run some."""
    for name in pickles(folder):
        raise ArtifactError(f"{folder / name}: loading a pickle can run code, so none is ever read. Remove it.")
    for name in filter(_is_code, _files(folder)):
        raise ArtifactError(f"{folder / name}: is code, and none is ever run that an artifact brings. Remove it.")


def check_fields(card: Mapping[str, Any], folder: Path) -> None:
    """Raises ArtifactError unless a card has all fields needed to load its artifact, with the right types.

    `base` is null in the card of a method without a base model.
    """
    without_base = "base" in card and card["base"] is None
    for path, kind in _FIELDS.items():
        if without_base and path.startswith("base."):
            continue
        value: Any = card
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ArtifactError(f"{folder / CARD}: {path}: expected a {kind.__name__}, found {value!r:.60}. {REMEDY}")
    labels = card["task"]["labels"]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise ArtifactError(f"{folder / CARD}: its labels must be distinct texts, found {labels!r:.200}.")
    if card.get("label_digest", digest_value(labels)) != digest_value(labels):
        raise ArtifactError(f"{folder / CARD}: its labels do not match their digest. {REMEDY}")


def check_base(recorded: Mapping[str, Any], base: Base) -> None:
    """Raises ArtifactError unless a base has the weights and the tokenizer of the one that a card or a router names."""
    found = base.digests()
    for what in ("weights", "tokenizer"):
        expected, own = recorded[f"{what}_sha256"], found[f"{what}_sha256"]
        if expected != own:
            raise ArtifactError(
                f"This artifact was trained on {recorded['name']} ({what} {expected[:12]}…), not on {base.name} "
                f"({what} {own[:12]}…), on which its answers would be random. Use it with {recorded['name']}."
            )


def _listed(folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """The card and the files, which must be exactly those that it lists, without pickles or code."""
    card = read_card(folder)
    refuse_code(folder)
    present = _files(folder)
    del present[CARD]
    expected = card.get("files")
    if not isinstance(expected, dict) or not isinstance(card.get("tensors"), dict):
        raise ArtifactError(f"{folder / CARD}: lists no files or tensors. {REMEDY}")
    if set(present) != set(expected):
        missing, extra = sorted(set(expected) - set(present)), sorted(set(present) - set(expected))
        raise ArtifactError(
            f"{folder}: files missing: {missing or 'none'}; files not in the card: {extra or 'none'}. {REMEDY}"
        )
    return card, present


def _check_digest(path: Path, expected: Any, found: str) -> None:
    if found != expected:
        raise ArtifactError(f"{path}: damaged or modified: expected sha256 {expected}, found {found}. {REMEDY}")


def _files(folder: Path, ending: str = "") -> dict[str, Path]:
    """All files below a folder, by their relative paths."""
    paths = [path for path in sorted(folder.rglob(f"*{ending}")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _is_pickle(name: str) -> bool:
    return Path(name).suffix.lower() in PICKLES


def _is_code(name: str) -> bool:
    return Path(name).suffix.lower() in CODE


def _check_finite(folder: Path) -> None:
    import numpy as np
    from safetensors import safe_open

    for path in _files(folder, ".safetensors").values():
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if not np.isfinite(tensors.get_tensor(name).float().numpy()).all():
                    raise ArtifactError(f"{path}: tensor {name} contains values that are not finite. {REMEDY}")
