"""What a method leaves: a folder that is verified whole before one tensor of it reaches a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adapters.errors import ArtifactError
from adapters.files import FORMAT, digest_file, digest_value, new_folder, write_json

CARD = "card.json"
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"})
HEALING = "Train it again, or copy it again from where it was whole."


def write(folder: Path, fill: Callable[[Path], None], card: Mapping[str, Any], readme: str) -> None:
    """Write an artifact, complete or absent.

    Args:
        folder: where it shall stand.
        fill: writes the method's files into the folder it is given.
        card: all that is recorded but digests and tensors, which are added here.
        readme: the model card for people.
    """
    with new_folder(folder) as draft:
        fill(draft)
        (draft / "README.md").write_text(readme, encoding="utf-8")
        files = {name: digest_file(path) for name, path in _files(draft).items()}
        assert not any(map(_is_pickle, files)), files
        body = {"format": FORMAT, **card, "files": files, "tensors": tensor_shapes(draft)}
        write_json(draft / CARD, {**body, "digest": digest_value(body)})


def tensor_shapes(folder: Path) -> dict[str, dict[str, list[int]]]:
    """Names and shapes of the tensors in each safetensors file of a folder."""
    from safetensors import safe_open

    out: dict[str, dict[str, list[int]]] = {}
    for file, path in _files(folder, ".safetensors").items():
        with safe_open(path, framework="np") as tensors:
            out[file] = {name: list(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return out


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an artifact, its own digest checked. Raises ArtifactError that says what is there instead."""
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such folder. Give the `artifact` folder that a run left.")
    path = folder / CARD
    if not path.is_file():
        if (folder / "artifact" / CARD).is_file():
            raise ArtifactError(f"{folder} is a run's folder; its artifact is {folder / 'artifact'}.")
        raise ArtifactError(f"{folder}: holds no {CARD}, so it is not an artifact of taskswap.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        digest_value(card)  # NaN is no JSON, though Python reads it
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged, not JSON ({error}). {HEALING}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ArtifactError(
            f"{path}: expected format {FORMAT}, found {card.get('format') if isinstance(card, dict) else card!r}."
        )
    body = {name: value for name, value in card.items() if name != "digest"}
    if digest_value(body) != card.get("digest"):
        raise ArtifactError(f"{path}: its own digest does not match: it was changed or damaged. {HEALING}")
    return card


def verify(folder: Path) -> dict[str, Any]:
    """Check an artifact whole: every file by its digest, tensor names and shapes, finite values; no pickle.

    Returns:
        The card.

    Raises:
        ArtifactError: says what was expected and what was found.
    """
    from safetensors import SafetensorError

    card = read_card(folder)
    found = _files(folder)
    del found[CARD]
    for name in found:
        if _is_pickle(name):
            raise ArtifactError(
                f"{folder / name}: a pickle can run code when it is loaded, so none is ever read. Remove it."
            )
    expected, shapes = card.get("files"), card.get("tensors")
    if not isinstance(expected, dict) or not isinstance(shapes, dict):
        raise ArtifactError(f"{folder / CARD}: does not say which files and tensors belong to it. {HEALING}")
    if set(found) != set(expected):
        missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        raise ArtifactError(
            f"{folder}: files missing: {missing or 'none'}; files not in the card: {extra or 'none'}. {HEALING}"
        )
    for name, path in found.items():
        digest = digest_file(path)
        if digest != expected[name]:
            raise ArtifactError(
                f"{path}: damaged or changed: expected sha256 {expected[name]}, found {digest}. {HEALING}"
            )
    try:
        if tensor_shapes(folder) != shapes:
            raise ArtifactError(f"{folder}: tensor names or shapes differ from the card's. {HEALING}")
        _check_finite(folder)
    except SafetensorError as error:
        names = ", ".join(_files(folder, ".safetensors"))
        raise ArtifactError(f"{folder}: not safetensors files ({error}): {names}. {HEALING}") from error
    return card


def check_base(card: Mapping[str, Any], name: str, weights: str, tokenizer: str) -> None:
    """Raises ArtifactError unless an artifact was trained on the base with these digests."""
    wanted = card["base"]
    for what, expected, found in (
        ("weights", wanted["weights_sha256"], weights),
        ("tokenizer", wanted["tokenizer_sha256"], tokenizer),
    ):
        if expected != found:
            raise ArtifactError(
                f"This artifact was trained on {wanted['name']} ({what} {expected[:12]}…), not on {name} "
                f"({what} {found[:12]}…). Its answers there would be noise: use it with {wanted['name']}."
            )


def _files(folder: Path, ending: str = "") -> dict[str, Path]:
    """All files below a folder, by their paths in it."""
    paths = [path for path in sorted(folder.rglob(f"*{ending}")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _is_pickle(name: str) -> bool:
    return Path(name).suffix.lower() in PICKLES


def _check_finite(folder: Path) -> None:
    import numpy as np
    from safetensors import safe_open

    for path in _files(folder, ".safetensors").values():
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if not np.isfinite(tensors.get_tensor(name).float().numpy()).all():
                    raise ArtifactError(f"{path}: tensor {name} holds values that are not finite. {HEALING}")
