"""Merging an adapter into its base, for deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.artifacts import artifact, loading, plain_peft
from adapters.artifacts.loaded import LoadedArtifact
from adapters.artifacts.model_card import derived_model_card
from adapters.artifacts.published import located
from adapters.core.environment import versions
from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.core.files import digest_value, obstacle
from adapters.core.settings import require
from adapters.methods.base.method import Method

if TYPE_CHECKING:
    from adapters.models.base_model import Base

KEPT_FIELDS = ("task", "request", "columns", "max_length", "label_digest", "base", "scores")
"""Fields of a card that stay in that of a merged model."""
_ALTERNATIVES = "Use it as it is (predict, the bank), or train lora or ia3, which can be merged"


def merge(
    folder: str | Path,
    output_dir: str | Path,
    *,
    base: str | None = None,
    device: str = "cpu",
    reading: plain_peft.Reading | None = None,
    plugin_dirs: Sequence[str] = (),
) -> Path:
    """Merge an adapter into its base: an artifact of the method `full`, which is an ordinary transformers folder.

    Its predictions are those of the adapter (logits within 1e-5 in fp32), so the scores in the adapter's card are kept.

    Args:
        folder: artifact of the adapter, its run's folder, or a plain PEFT folder.
        output_dir: must be absent or empty.
        base: path, alias or Hub id of its base model. Default: the one named in the card.
        device: where the weights are merged.
        reading: what the config of a plain PEFT folder does not say.
        plugin_dirs: folders with your own methods and tasks.

    Raises:
        ModelError: the adapter cannot be merged.
        ArtifactError: the artifact is damaged.
        SettingsError: the output folder is not empty.
    """
    folder, output = located(Path(folder)), empty_output(output_dir)
    if plain_peft.is_plain(folder):
        loaded = loading.load_plain(
            folder,
            reading or plain_peft.Reading(),
            base=base,
            device=device,
            dtype="float32",
            plugin_dirs=plugin_dirs,
        )
        card: Mapping[str, Any] = {**loaded.card, "digest": digest_value(dict(loaded.card))}
        _, method = loading.task_and_method(card, folder, plugin_dirs)
        _check_merges(folder, method)
    else:
        card, method = read_adapter(folder, plugin_dirs)
        _check_merges(folder, method)
        loaded = loading.load(folder, base=base, device=device, dtype="float32", plugin_dirs=plugin_dirs)
    model, model_base = _merged(folder, method, loaded)
    unchecked = {"unchecked": card["unchecked"]} if "unchecked" in card else {}
    source = {"name": artifact_name(folder), "digest": card["digest"], "method": card["method"], **unchecked}
    merged_card = {
        "method": {"name": "full", "library": "transformers", "settings": {}},
        "merged": source,
        **{name: card[name] for name in KEPT_FIELDS if name in card},
        "versions": versions(),
    }
    description = (
        f"The {method.name} adapter {source['name']} (card {card['digest'][:12]}…) merged into {model_base.name}."
    )
    _, full = loading.task_and_method(merged_card, output, plugin_dirs)
    readme = derived_model_card(merged_card, [description])
    artifact.write(output, lambda draft: full.save(model, model_base, draft), merged_card, readme)
    return output


def read_adapter(folder: Path, plugin_dirs: Sequence[str]) -> tuple[dict[str, Any], Method]:
    """The card and the method of a verified artifact. Raises ArtifactError."""
    if plain_peft.is_plain(folder):
        raise ArtifactError(
            f"{folder}: a plain PEFT folder without {artifact.CARD}, so its task and labels are unknown. Give the "
            "artifact of a run."
        )
    card = artifact.verify(folder)
    _, method = loading.task_and_method(card, folder, plugin_dirs)
    return card, method


def _check_merges(folder: Path, method: Method) -> None:
    """Raises ModelError if adapters of a method cannot be merged."""
    for applies, reason in (
        (not method.needs_base, "has no base model that it could be merged into. Use it as it is"),
        (method.self_contained, "is a full model already. Use it as it is"),
        (not method.trains, "only prompts its base and has no weights. Use it as it is, or train lora"),
        (method.virtual_tokens > 0, "adds virtual tokens, which no weights can represent. " + _ALTERNATIVES),
    ):
        if applies:
            raise ModelError(f"{folder} cannot be merged: {method.title} {reason}.")


def _merged(folder: Path, method: Method, loaded: LoadedArtifact) -> tuple[Any, Base]:
    """A plain transformers model, and the base. Raises ModelError if the adapter cannot be merged."""
    import torch

    from adapters.models.peft_library import peft

    predictor: Any = loaded.predictor
    model = predictor.model
    for name, part in list(model.named_modules()):
        if isinstance(part, peft.utils.ModulesToSaveWrapper):  # PEFT's IA3 cannot unload a head of several layers
            model.set_submodule(name, part.modules_to_save[model.active_adapter])
    try:
        model = model.merge_and_unload() if isinstance(model, peft.PeftModel) else model
    except (AttributeError, NotImplementedError) as error:  # of tuners that have no weights to add to the layers'
        raise ModelError(f"{folder} cannot be merged: PEFT's reason: {error} {_ALTERNATIVES}.") from error
    with torch.device("meta"):
        known = type(model)(model.config).state_dict().keys()
    if extra := sorted(model.state_dict().keys() - known):
        raise ModelError(
            f"{folder} cannot be merged: {method.title} adds layers that {type(model).__name__} does not have "
            f"({', '.join(extra[:2])} …). {_ALTERNATIVES}."
        )
    return model, predictor.base


def empty_output(output_dir: str | Path) -> Path:
    """The output folder. Raises SettingsError unless it is absent or empty, and can be made."""
    output = Path(output_dir)
    taken = output.exists() and (not output.is_dir() or any(output.iterdir()))
    require(not taken, "output_dir", output, "absent or empty: nothing is overwritten")
    if blocked := obstacle(output):
        raise SettingsError(f"--output_dir {output}: {blocked[0]} {blocked[1]}. Name a folder.")
    return output


def artifact_name(folder: Path) -> str:
    """Name of the run's folder, or of the artifact's if it is not in one; without the path."""
    resolved = folder.resolve()
    return (resolved.parent if resolved.name == "artifact" else resolved).name
