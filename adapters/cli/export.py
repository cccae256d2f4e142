"""Export an artifact, to run it elsewhere: ONNX, GGUF, or a merged model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adapters.core import arguments, discovery
from adapters.core.arguments import POSITIONAL
from adapters.core.errors import DataError, SettingsError, SourceError
from adapters.core.flags import named_folders

if TYPE_CHECKING:
    from adapters.tasks.base.example import Examples

HELP = "export an artifact to ONNX (also in int8), GGUF, or a merged model"
GROUP = "Use artifacts"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is exported, and how."""

    artifact: Annotated[Path | None, POSITIONAL] = None
    """Folder of a run, or the `artifact` in it."""
    format: str
    """onnx: runs without torch, by ONNX Runtime. gguf: a causal model for llama.cpp. merged: an ordinary transformers
    folder, as `taskswap merge` writes it."""
    output_dir: Path
    """Folder for the export; absent or empty."""
    adapters: list[str] = field(default_factory=list)
    """Several LoRA adapters of one base, each as NAME=FOLDER, in one ONNX file (instead of ARTIFACT)."""
    quantize: str | None = None
    """int8: ONNX with 8-bit weights, a quarter of the size and faster; scored before and after on test."""
    opset: int | None = None
    """Version of ONNX's operators. Default: 18."""
    apart: bool = False
    """GGUF: the base, and the LoRA adapter in a file of its own, instead of one merged file."""
    dataset_name: str | None = None
    """With --quantize: the dataset on whose test split both models are scored. Default: the artifact's own."""
    test_file: str | None = None
    """With --quantize: a file of test examples instead."""
    text_column_name: str | None = None
    """With --test_file: its column with the texts. Default: the one with a usual name."""
    label_column_name: str | None = None
    """With --test_file: its column with the labels. Default: the one with a usual name."""
    max_predict_samples: int | None = None
    """With --quantize: score at most this many test examples."""
    base: str | None = None
    """Base model: a folder, an alias or a Hub id. Default: the one that the artifact names."""
    plugin_dir: list[str] = field(default_factory=list)
    """Folders with methods, tasks and formats of your own."""


def settings() -> type:
    """The class of all flags."""
    return Settings


def _columns(given: Settings) -> dict[str, str]:
    """The columns of --test_file that were named."""
    named = {"text_column_name": given.text_column_name, "label_column_name": given.label_column_name}
    return {flag: name for flag, name in named.items() if name is not None}


def run(argv: Sequence[str]) -> int:
    """Run `taskswap export`."""
    given: Settings = arguments.parse(
        Settings, {}, "Export an artifact: ONNX, GGUF, or a merged model.", argv, program="taskswap export"
    )
    adapters = named_folders("adapters", given.adapters, "ner=runs/lora_ner", _fault_of)
    if bool(adapters) == (given.artifact is not None):
        raise SettingsError("Give an artifact, or --adapters NAME=FOLDER … (one of the two).")
    discovery.load("formats", given.format, given.plugin_dir)
    scoring = {name: getattr(given, name) for name in ("dataset_name", "test_file", "max_predict_samples")}
    if given.test_file is None and (columns := [*_columns(given)]):
        raise SettingsError(f"--{columns[0]}: names a column of --test_file. Give that as well.")
    named = [name for name, value in scoring.items() if value is not None]
    if named and given.quantize is None:
        raise SettingsError(f"--{named[0]}: only with --quantize, which is scored before and after.")
    from adapters.artifacts.export.base.export_format import ExportRequest, export
    from adapters.models.base_model import quiet_libraries

    quiet_libraries()
    request = ExportRequest(
        folder=given.artifact,
        adapters=adapters,
        output_dir=given.output_dir,
        base=given.base,
        plugin_dirs=given.plugin_dir,
        opset=given.opset,
        quantize=given.quantize,
        apart=given.apart,
        test=_test(given) if given.quantize is not None and given.artifact is not None else None,
    )
    for line in export(given.format, request):
        print(line)
    print(f"written to {given.output_dir}")
    return 0


def _fault_of(name: str) -> str | None:
    """Why an adapter cannot have a name in an export; None if it can."""
    return None if name.isidentifier() else f"{name!r} must be letters, digits and _, and not begin with a digit."


def _test(given: Settings) -> Examples | None:
    """The test split on which a quantized model is scored; None where the artifact's own cannot be found."""
    from adapters.artifacts import artifact
    from adapters.artifacts.published import located
    from adapters.tasks.base import examples
    from adapters.tasks.base.reading import tell

    assert given.artifact is not None
    card: Mapping[str, Any] = artifact.read_card(located(given.artifact))
    if "export" in card:  # which is refused
        return None
    scores, task = card.get("scores") or {}, card["task"]["name"]
    wanted: dict[str, Any] = {"max_predict_samples": given.max_predict_samples, "dataset_name": None}
    own = given.dataset_name is None and given.test_file is None
    if given.test_file is not None:
        wanted |= {"test_file": given.test_file, **_columns(given)}
    elif given.dataset_name is not None:
        wanted["dataset_name"] = given.dataset_name
    elif scores.get("split") == "test":
        of_file = scores.get("train") not in (None, scores["dataset"])
        if not of_file and Path(scores["dataset"]).is_file():  # of which a part was scored
            return None
        wanted["test_file" if of_file else "dataset_name"] = scores["dataset"]
    else:
        return None
    try:
        _, splits = examples.read_named(task, given.plugin_dir, **wanted)
    except (SourceError, DataError):
        if own:  # a file or a folder of another machine, or read by other flags
            return None
        raise
    test = splits.get("test")
    if test is None:
        if own:
            return None
        raise SettingsError(f"{given.dataset_name}: has no test split. Give one: --test_file.")
    tell({test.name: test})
    return test
