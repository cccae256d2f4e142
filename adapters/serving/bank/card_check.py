"""What can be known of adapters before their base is opened, which may take a download first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.artifacts import artifact, loading, plain_peft
from adapters.artifacts.peft_config import PeftConfig
from adapters.artifacts.published import located
from adapters.core.errors import SettingsError
from adapters.core.sources.resolve import alias_of
from adapters.serving.bank import router_file


def named_base(adapters: Mapping[str, Path], plugin_dirs: Sequence[str] = ()) -> str | None:
    """The base model that adapters name; None where they name none.

    Args: adapters: folders by name; plugin_dirs: folders with additional methods and tasks.

    Raises:
        ArtifactError: a folder is no adapter's.
        SettingsError: they name several bases; a method or a task is not known.
    """
    names: dict[str, str] = {}
    for adapter, _, card in _on_a_base(adapters, plugin_dirs):
        if named := card["base"]["name"]:
            names.setdefault(alias_of(named) or named, adapter)
    if len(names) > 1:
        raise SettingsError(
            f"--adapter: {' and '.join(names.values())} name different base models ({', '.join(names)}), and a server "
            "has one. Start a server for each; or, if the names mean the same one, give it: --base."
        )
    return next(iter(names), None)


def check_cards(
    adapters: Mapping[str, Path], base: str, router: Path | None = None, plugin_dirs: Sequence[str] = ()
) -> None:
    """Refuse adapters that cannot be loaded, whatever their base has in it.

    Args:
        adapters: folders by name.
        base: on which they will be loaded, by the name that was given.
        router: folder of a router.
        plugin_dirs: folders with additional methods and tasks.

    Raises:
        ArtifactError: a folder is no adapter's, is damaged, or names another base: both names are aliases.
        SettingsError: a method or a task is not known.
    """
    for _, folder, card in _on_a_base(adapters, plugin_dirs):
        if not plain_peft.is_plain(folder):
            loading.check_base_name(card, base, folder)
            artifact.verify_files(folder)
    if router is not None:
        folder = located(router)
        record, _ = router_file.read(folder)
        loading.check_base_name(record, base, folder)


def _on_a_base(
    adapters: Mapping[str, Path], plugin_dirs: Sequence[str]
) -> Iterator[tuple[str, Path, Mapping[str, Any]]]:
    """Name, folder and card of each adapter on a base; of a plain PEFT folder, a card with the base's name alone.

    Others have a base in them, or none; they may be large, and are verified as they are read.
    """
    for adapter, given in adapters.items():
        folder = located(given)
        if plain_peft.is_plain(folder):
            yield adapter, folder, {"base": {"name": PeftConfig(folder).values.get("base_model_name_or_path")}}
            continue
        card = artifact.read_card(folder)
        _, method = loading.task_and_method(card, folder, plugin_dirs)
        if not method.self_contained:
            yield adapter, folder, card
