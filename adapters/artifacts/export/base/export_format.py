"""What a file of the folder `export` offers, and what it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from adapters.artifacts import loading
from adapters.artifacts.published import located
from adapters.core import discovery
from adapters.core.errors import ModelError, SettingsError
from adapters.tasks.base.example import Examples


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is exported, and how.

    Attributes:
        folder: of the artifact or its run; None where `adapters` are given.
        adapters: such folders of several adapters by name, for one export that has all of them.
        output_dir: must be absent or empty.
        base: path, alias or Hub id of the base model. Default: the one that the card names.
        plugin_dirs: folders with your own methods and tasks.
        opset: version of ONNX's operators.
        quantize: `int8`, or None for full precision.
        apart: write base and adapter apart, not merged.
        test: examples on which a quantized model is scored, before and after.
    """

    folder: Path | None
    adapters: Mapping[str, Path] = field(default_factory=dict)
    output_dir: Path
    base: str | None = None
    plugin_dirs: Sequence[str] = ()
    opset: int | None = None
    quantize: str | None = None
    apart: bool = False
    test: Examples | None = None

    def given(self) -> list[str]:
        """The names of the options that were given, of those that not every format has."""
        options = {name: getattr(self, name) for name in ("adapters", "opset", "quantize", "apart")}
        return [name for name, value in options.items() if value]

    @property
    def single(self) -> Path:
        """The folder of the one artifact."""
        assert self.folder is not None
        return self.folder


class ExportFormat(ABC):
    """What a file of `export/` defines as `Format`.

    Attributes:
        options: of an `ExportRequest`, those that it heeds; any other is refused.
    """

    options: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def write(self, request: ExportRequest) -> list[str]:
        """Write the export, whole or not at all.

        Returns:
            What is to be known of it, each in a sentence.

        Raises:
            ModelError: the model cannot be written in this format.
            ArtifactError: the artifact is damaged.
            SettingsError: an option cannot be used, or the output folder is not empty.
        """


def export(name: str, request: ExportRequest) -> list[str]:
    """Write an export in the format of that name; returns and raises as `ExportFormat.write`."""
    kind: type[ExportFormat] = discovery.load("formats", name, request.plugin_dirs).Format
    for option in request.given():
        if option not in kind.options:
            takers = [
                other
                for other in discovery.names("formats", request.plugin_dirs)
                if option in discovery.load("formats", other, request.plugin_dirs).Format.options
            ]
            raise SettingsError(f"--{option}: the format {name} has no such option; {', '.join(takers)} has.")
    folder = None if request.folder is None else located(request.folder)
    adapters = {adapter: located(given) for adapter, given in request.adapters.items()}
    request = replace(request, folder=folder, adapters=adapters)
    for folder in (request.folder, *request.adapters.values()):
        if folder is not None and loading.is_export(folder):
            raise ModelError(f"{folder} is an export already. Give the artifact that it was made of.")
    return kind().write(request)
