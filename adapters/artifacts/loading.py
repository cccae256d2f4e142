"""Load an artifact for prediction: verify it, open its base, and build its task and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.artifacts import artifact, plain_peft
from adapters.artifacts.folding import folded
from adapters.artifacts.loaded import LoadedArtifact
from adapters.artifacts.peft_config import PeftConfig
from adapters.artifacts.published import located
from adapters.core.discovery import load as load_module
from adapters.core.errors import ArtifactError, SettingsError, SourceError, did_you_mean
from adapters.core.settings import FILE, CommonSettings, join
from adapters.core.sources.resolve import alias_of
from adapters.methods.base.classical import ClassicalMethod
from adapters.methods.base.method import Method, load_method
from adapters.methods.base.peft_method import CONFIG
from adapters.models.fast_layers import quicken
from adapters.tasks.base.task import Task, load_task

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base


def task_and_method(card: Mapping[str, Any], folder: Path, plugin_dirs: Sequence[str] = ()) -> tuple[Task, Method]:
    """The task and the method described by a card. Raises ArtifactError, SettingsError."""
    if "export" in card:
        raise ArtifactError(
            f"{folder} is an export ({card['export'].get('format')}), which runs as it is: taskswap predict, taskswap "
            "serve --runtime onnx. Give the artifact that it was made of."
        )
    artifact.check_fields(card, folder)
    name, recorded = card["method"]["name"], card["method"]["settings"]
    task_class = load_task(card["task"]["name"], plugin_dirs)
    method_class = load_method(name, plugin_dirs)
    own = load_module("methods", name, plugin_dirs).Settings
    kind = join(CommonSettings, own)
    _check_recorded(recorded, own, folder)
    lists = [field.name for field in fields(kind) if field.default_factory is not MISSING]
    try:
        for key in set(lists) & set(recorded):
            if not isinstance(recorded[key], list) or not all(isinstance(one, str) for one in recorded[key]):
                raise TypeError(f"{key}: expected a list of texts, found {recorded[key]!r:.60}")
        task = task_class.from_card(card["task"])
        settings = kind(**{**recorded, "max_length": card["max_length"], "plugin_dir": list(plugin_dirs)})
        if method_class.needs_base == (card["base"] is None):
            raise ValueError(f"base: {name} works {'with' if method_class.needs_base else 'without'} a base model")
        return task, method_class(settings)
    except (LookupError, TypeError, ValueError, AssertionError) as error:
        raise ArtifactError(
            f"{folder}: cannot build the task {card['task']['name']} and the method {name} from its "
            f"{CONFIG if 'unchecked' in card else 'card'}: {type(error).__name__}: {error}"
        ) from error


def _check_recorded(recorded: Mapping[str, Any], own: type, folder: Path) -> None:
    """Raises ArtifactError for settings of a card that are not the method's own, or name files outside the artifact."""
    known = {one.name: one for one in fields(own)}
    for name, value in recorded.items():
        if name not in known:
            near = did_you_mean(name, known)
            raise ArtifactError(
                f"{folder}: method.settings: unexpected {name!r:.60}, none of this method's ({near}). {artifact.REMEDY}"
            )
        names_file = FILE in known[name].metadata and value is not None
        if names_file and not (folder / str(value)).resolve().is_relative_to(folder.resolve()):
            raise ArtifactError(
                f"{folder}: method.settings: {name} is {value!r:.200}, a file outside the artifact, which must stand "
                f"alone: it is not read. {artifact.REMEDY}"
            )


def load(
    folder: str | Path,
    *,
    base: str | Base | None = None,
    device: str = "auto",
    dtype: str = "auto",
    plugin_dirs: Sequence[str] = (),
    fold: bool = True,
) -> LoadedArtifact:
    """Verify an artifact and load it; an export to ONNX runs without its base, on the CPU.

    Args:
        folder: an `artifact` folder, that of its run, or one whose `current.json` names it.
        base: path, alias or Hub id of its base model, or the base itself. Default: the one named in the card.
        device: auto (cuda, then mps, then cpu), or the name of a device: cuda, cuda:1, mps, cpu.
        dtype: float32, bfloat16, or auto (bfloat16 on a CUDA device that supports it, float32 elsewhere).
        plugin_dirs: folders with your own methods and tasks.
        fold: put an adapter into the weights of its base, where weights can represent it: answers are the same to the
            rounding of fp32, and take the time of the base alone.

    Raises:
        SettingsError: the device or the number format is not available; a base is given for a method without one.
        ArtifactError: the artifact is damaged, of an older version, or was trained on another base.
        SourceError: the base cannot be found.
    """
    folder = located(Path(folder))
    if is_export(folder):
        return load_export(folder, base=_named(base), device=device, dtype=dtype, plugin_dirs=plugin_dirs)
    place = _place(device, dtype)
    card = artifact.verify(folder)
    task, method = task_and_method(card, folder, plugin_dirs)
    tensors = [name for file in card["tensors"].values() for name in file]
    if (folder / CONFIG).is_file():
        PeftConfig(folder).check_agrees(method, tensors, plugin_dirs)
    if isinstance(method, ClassicalMethod):
        if base is not None:
            raise SettingsError(f"--base {_named(base)}: {folder} ({method.name}) has no base model. Leave it out.")
        return LoadedArtifact(card, task, method.predictor(method.load(None, task, folder), None, task))
    model_base = opened_base(card, method, folder, base)
    task = task.on(model_base.kind)
    model = folded(method, model_base, task, folder) if fold else None
    if model is None:
        model = method.load(model_base, task, folder)
    return _loaded(card, task, method, model_base, model, place)


def is_export(folder: Path) -> bool:
    """Whether a folder is an export, which no base model is needed for. Raises ArtifactError for a damaged card."""
    return (folder / artifact.CARD).is_file() and "export" in artifact.read_card(folder)


def load_export(
    folder: Path,
    adapter: str | None = None,
    *,
    base: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    plugin_dirs: Sequence[str] = (),
) -> LoadedArtifact:
    """Load an export by the runtime, without torch; arguments as of `load`. Raises SettingsError, ArtifactError."""
    from adapters.artifacts.runtime import loading
    from adapters.core.environment import require_libraries

    require_libraries(f"{folder}, an export,", ("onnxruntime",), "export")
    if base is not None:
        raise SettingsError(f"--base {base}: {folder} is an export, which has its base in it. Leave it out.")
    if device not in ("auto", "cpu") or dtype not in ("auto", "float32"):
        raise SettingsError(
            f"--device {device} --dtype {dtype}: {folder} is an export, which runs on the CPU in the numbers that it "
            "was written in. Leave both out."
        )
    return loading.load(folder, adapter, plugin_dirs=plugin_dirs)


def load_plain(
    folder: str | Path,
    reading: plain_peft.Reading,
    *,
    base: str | Base | None = None,
    device: str = "auto",
    dtype: str = "auto",
    plugin_dirs: Sequence[str] = (),
) -> LoadedArtifact:
    """Load a PEFT folder without a card by PEFT, alone on its base. It may be of any of PEFT's methods.

    Args:
        folder: with PEFT's config and weights.
        reading: what its config does not say.
        base, device, dtype, plugin_dirs: as of `load`; the base is by default the one that the config names.

    Raises:
        SettingsError, SourceError: as `load`.
        ArtifactError: its tensors are not those of its config, or a part of its head is nowhere.
        ModelError: PEFT cannot do it on this base.
    """
    place = _place(device, dtype)
    folder = located(Path(folder))
    config = PeftConfig(folder)
    model_base = _open(base or config.base)
    card, tensors = plain_peft.read(config, model_base, reading, plugin_dirs)
    task, method = task_and_method(card, folder, plugin_dirs)
    task = task.on(model_base.kind)
    method.check(model_base, task)
    model = method.load(model_base, task, folder)
    plain_peft.check_complete(folder, model, tensors)
    return _loaded(card, task, method, model_base, model, place)


def _place(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and the number format of a model to load. Raises SettingsError."""
    from adapters.models.base_model import quiet_libraries
    from adapters.models.devices import choose_device, choose_dtype

    quiet_libraries()
    chosen = choose_device(device)
    return chosen, choose_dtype(dtype, chosen)


def _loaded(
    card: Mapping[str, Any],
    task: Task,
    method: Method,
    base: Base,
    model: torch.nn.Module,
    place: tuple[torch.device, torch.dtype],
) -> LoadedArtifact:
    """A model that a method has loaded, where it is to run, as a predictor."""
    import torch

    precision = "bf16" if place[1] == torch.bfloat16 else "no"
    model = model.to(*place).eval()
    quicken(model)
    size = sum(parameter.nbytes for parameter in model.parameters())
    return LoadedArtifact(card, task, method.predictor(model, base, task, precision=precision), size)


def opened_base(card: Mapping[str, Any], method: Method, folder: Path, base: str | Base | None) -> Base:
    """The base of an artifact: its own folder, where that has one, else the one on which it was trained, checked.

    Raises:
        ArtifactError: it was trained on another one.
        SourceError: it cannot be found.
    """
    if method.self_contained and base is None:
        return _open(str(folder))
    found = base_of(card, base)
    artifact.check_base(card["base"], found)
    return found


def base_of(card: Mapping[str, Any], base: str | Base | None) -> Base:
    """The given base, or the one named in the card, which for a local folder is not enough to find it."""
    if isinstance(base, str):
        check_base_name(card, base)
    try:
        return _open(base or card["base"]["name"])
    except SourceError as error:
        if base is not None:
            raise
        raise SourceError(
            f"{error}\nGive the base of the artifact by its path: --base FOLDER (base=… in Python)."
        ) from error


def check_base_name(card: Mapping[str, Any], base: str, folder: Path | None = None) -> None:
    """Refuse a base by its name, before it is fetched. Other names than aliases may mean the same weights.

    Args:
        card: of an artifact with a base, or a router's record.
        base: the name that was given.
        folder: of the artifact, for the message of one of several.

    Raises:
        ArtifactError: both names are aliases, of different bases.
    """
    wanted, given = alias_of(card["base"]["name"]), alias_of(base)
    if wanted is not None and given is not None and wanted != given:
        raise ArtifactError(
            f"{'This artifact' if folder is None else folder} was trained on {wanted}, not on {given}, on which its "
            f"answers would be random. Use it with --base {wanted} (base={wanted!r} in Python)."
        )


def _named(base: str | Base | None) -> str | None:
    """What a base was called."""
    return base if base is None or isinstance(base, str) else base.name


def _open(base: str | Base) -> Base:
    """The base of a path, an alias or a Hub id; one that is open already as it is."""
    from adapters.models.base_model import open_base

    return open_base(base) if isinstance(base, str) else base
