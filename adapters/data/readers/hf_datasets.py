"""Datasets of the Hugging Face Hub, and folders written by `save_to_disk`. Class numbers become names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import DataError, Faults, SourceError
from adapters.core.files import digest_file, digest_value
from adapters.data.class_labels import name_classes, names_of_classes
from adapters.data.rows import DAMAGED, Row

if TYPE_CHECKING:
    import datasets

EXTENSIONS: tuple[str, ...] = ()
FILES = "a folder that save_to_disk of datasets wrote"

_COMMIT = re.compile(r"[0-9a-f]{40}")


def recognises(path: Path, head: str) -> bool:
    """Whether this is a folder for `datasets.load_from_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def open(path: Path, encoding: str) -> DatasetSource:
    """One saved dataset. `encoding` is not used. Raises DataError."""
    saved = _load_from_disk(path)
    if isinstance(saved, dict):
        raise DataError(f"{path}: contains several splits ({', '.join(saved)}). Give it as --dataset_name {path}.")
    return DatasetSource(name=str(path), dataset=saved, revision=None, saved=True)


def load_saved(folder: Path) -> dict[str, DatasetSource]:
    """The splits of a saved dataset, under their own names."""
    saved = _load_from_disk(folder)
    if not isinstance(saved, dict):
        raise DataError(
            f"{folder}: contains one dataset, without splits. Give it as --train_file {folder} (or --test_file)."
        )
    return {
        split: DatasetSource(name=f"{folder}/{split}", dataset=dataset, revision=None, saved=True)
        for split, dataset in saved.items()
    }


def load_hub(hub_id: str, config: str | None, revision: str | None) -> dict[str, DatasetSource]:
    """The splits of a dataset of the Hub, under their own names. Raises SourceError."""
    import datasets

    try:
        loaded = datasets.load_dataset(hub_id, config, revision=revision)
    # Loading uses the network, several libraries and the dataset's own files: any failure is the source's.
    except Exception as error:
        requested = " ".join(filter(None, [hub_id, config and f"(config {config})", revision and f"at {revision}"]))
        raise SourceError(
            f"--dataset_name {requested}: cannot be loaded from the Hub: {error}\n"
            "Check the name, --dataset_config_name, and the connection (HF_TOKEN for private datasets). "
            "Without the Hub, give local files: --train_file … --test_file …"
        ) from error
    return {
        split: DatasetSource(
            name=f"{hub_id}/{split}", dataset=dataset, revision=_commit(dataset) or revision, saved=False
        )
        for split, dataset in loaded.items()
    }


def _load_from_disk(folder: Path) -> Any:
    """A Dataset or a DatasetDict (which is a dict)."""
    import datasets

    try:
        return datasets.load_from_disk(str(folder))
    except Exception as error:  # several libraries read it: any failure is the folder's
        raise DataError(f"{folder}: not a dataset that save_to_disk wrote ({error}). {DAMAGED}") from error


def _commit(dataset: datasets.Dataset) -> str | None:
    """The loaded commit, after which `datasets` names the cache folder."""
    found = [_COMMIT.search(file["filename"]) for file in dataset.cache_files]
    return found[0][0] if found and found[0] else None


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """Rows of one split. `Row.line` is the row's number."""

    name: str
    dataset: datasets.Dataset
    revision: str | None
    """Commit on the Hub, if known."""
    saved: bool
    said: tuple[str, ...] = ()
    """What is to be said of where it was found."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.dataset.column_names)

    def digest(self) -> str:
        """sha256 of the Arrow files for a saved dataset; of fingerprint and revision for one of the Hub."""
        if self.saved:
            return digest_value([digest_file(Path(file["filename"])) for file in self.dataset.cache_files])
        return hashlib.sha256(f"{self.dataset._fingerprint}/{self.revision}".encode()).hexdigest()

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per example."""
        classes = names_of_classes(self.dataset.features.to_dict())
        # A dataset saved with a format would yield tensors.
        for number, values in enumerate(self.dataset.with_format(None), 1):
            try:
                named = {key: name_classes(values[key], names) for key, names in classes.items()}
            except ValueError as error:
                faults.add(f"{self.name}:{number}", str(error))
                continue
            yield Row(self.name, number, 0, {**values, **named})
