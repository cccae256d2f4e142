"""Load an exported folder: verify it, make its task and its tokenizer, and open its graph."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.artifacts import artifact
from adapters.artifacts.loaded import LoadedArtifact
from adapters.artifacts.runtime.predictor import OnnxPredictor, has_vnni, session
from adapters.artifacts.runtime.tokenizer import FILE, FastTokenizer, SpecialTokens
from adapters.core.errors import ArtifactError, SettingsError, did_you_mean
from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base.task import Task, load_task

if TYPE_CHECKING:
    from adapters.tasks.base.predictor import Predictor

FORMAT, MODEL = "onnx", "model.onnx"
ADAPTERS = "adapters"
"""Folder of the adapters of an export that has several."""
HEADS = "heads.safetensors"
"""File of such an export: a value for each input of a head, for adapters that have another kind of head."""
KINDS = {"F32": np.float32, "I64": np.int64}
"""NumPy's types by the names in safetensors files, as far as exports use them."""


class Export:
    """A verified export: a graph, a tokenizer, and one adapter without a name or several with names.

    Attributes:
        card: of the folder.
        names: of its adapters; none where it is of a single one.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None, plugin_dirs: Sequence[str] = ()) -> None:
        """Args:
        folder: that `taskswap export --format onnx` wrote.
        threads: of one operation. Default: `OMP_NUM_THREADS`, else all cores.
        plugin_dirs: folders with your own tasks.

        Raises:
            ArtifactError: the folder is damaged, or no export to ONNX.
        """
        self.folder, self.plugin_dirs = Path(folder), plugin_dirs
        self.card = artifact.verify_files(self.folder)
        record = self.card.get("export")
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            if isinstance(record, dict):
                raise ArtifactError(
                    f"{self.folder} is an export to {record.get('format')}, not an export to ONNX: its README.md says "
                    "what runs it."
                )
            raise ArtifactError(
                f"{self.folder} is an artifact to train with, not an export to ONNX. Write one: taskswap export "
                f"{self.folder} --format onnx --output_dir FOLDER"
            )
        try:
            tokens = SpecialTokens.of_record(record["tokenizer"])
            tokenizer: Any = FastTokenizer(self.folder / FILE, tokens)
            self.tokenizer = WordTokenizer(tokenizer, labelled=record["labelled"])
            self.pad_id, self.kind = int(record["pad_id"]), str(self.card["base"]["kind"])
            self._adapters: Mapping[str, Any] = self.card.get(ADAPTERS, {})
        except (LookupError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{self.folder}: its card.json cannot be read ({type(error).__name__}: {error}). Export it again."
            ) from error
        quantize = record.get("quantize")
        if quantize and not quantize.get("reduce_range") and not has_vnni():
            warnings.warn(
                f"{self.folder}: was quantized on a CPU with VNNI; this one has none, where sums of 8-bit products "
                "saturate and answers can differ from those that were scored. Export it on a machine like this one.",
                stacklevel=3,
            )
        self.session = session(str(self.folder / MODEL), threads=threads)

    @cached_property
    def _heads(self) -> dict[str, np.ndarray]:
        """The inputs of every kind of head."""
        if HEADS not in self.card["files"]:
            raise ArtifactError(f"{self.folder}: {HEADS} is none of its files. Export it again.")
        return read_tensors(self.folder / HEADS)

    @property
    def names(self) -> list[str]:
        """Names of the adapters; none where there is one without a name."""
        return list(self._adapters)

    def load(self, adapter: str | None = None) -> LoadedArtifact:
        """An adapter, ready to answer. Adapters of one export share its graph, and may answer at the same time.

        Raises:
            SettingsError: there is no adapter of that name; or there are several, and none was named.
        """
        if not self._adapters:
            if adapter is not None:
                raise SettingsError(f"{self.folder}: is of one adapter, which has no name; leave out {adapter!r}.")
            return self._loaded(self.card, {}, None)
        if adapter is None:
            raise SettingsError(f"{self.folder}: has several adapters; name one of {', '.join(self.names)}.")
        if adapter not in self._adapters:
            near = did_you_mean(adapter, self.names)
            raise SettingsError(f"{self.folder}: no adapter is called {adapter!r}: {near}")
        own = self._adapters[adapter]
        if own["file"] not in self.card["files"]:
            raise ArtifactError(f"{self.folder}: {own['file']} of {adapter} is none of its files. Export it again.")
        constants = {**self._heads, **read_tensors(self.folder / own["file"])}
        return self._loaded({**self.card, **own}, constants, own["output"])

    def _loaded(
        self, card: Mapping[str, Any], constants: Mapping[str, np.ndarray], output: str | None
    ) -> LoadedArtifact:
        task: Task = load_task(card["task"]["name"], self.plugin_dirs).from_card(card["task"]).on(self.kind)
        predictor: Predictor = OnnxPredictor(
            self.session,
            task,
            self.tokenizer,
            pad_id=self.pad_id,
            budget=int(card["budget"]),
            output=output,
            constants=constants,
        )
        return LoadedArtifact(card, task, predictor)


def load(
    folder: str | Path, adapter: str | None = None, *, threads: int | None = None, plugin_dirs: Sequence[str] = ()
) -> LoadedArtifact:
    """Load an export: the result answers a text, or a list of texts, as the toolkit does.

    Args:
        folder: that `taskswap export --format onnx` wrote.
        adapter: name of one, where the export has several.
        threads, plugin_dirs: as of `Export`.

    Raises:
        ArtifactError: the folder is damaged, or no export to ONNX.
        SettingsError: there is no such adapter.
    """
    return Export(folder, threads=threads, plugin_dirs=plugin_dirs).load(adapter)


def read_tensors(file: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file by name, without the library: a JSON header, then the values.

    Raises ArtifactError.
    """
    data = file.read_bytes()
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        tensors = {}
        for name, one in header.items():
            if name == "__metadata__":
                continue
            begin, end = (8 + size + offset for offset in one["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], KINDS[one["dtype"]]).reshape(one["shape"])
        return tensors
    except (LookupError, TypeError, ValueError) as error:
        raise ArtifactError(f"{file}: not a safetensors file ({error}). Export it again.") from error
