"""What can be known of adapters before their base is opened, which may take a download first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from adapters.artifacts import artifact, loading, plain_peft
from adapters.artifacts.published import located
from adapters.serving.bank import router_file


def named_base(adapters: Mapping[str, Path], plugin_dirs: Sequence[str] = ()) -> str | None:
    """The base model that adapters name; None where they name none, or several.

    Args: adapters: folders by name; plugin_dirs: folders with additional methods and tasks.

    Raises:
        ArtifactError: a folder is no adapter's.
        SettingsError: a method or a task is not known.
    """
    names: set[str] = set()
    for given in adapters.values():
        folder = located(given)
        if plain_peft.is_plain(folder):
            names.add(plain_peft.read_config(folder).get("base_model_name_or_path") or "")
            continue
        card = artifact.read_card(folder)
        if not loading.task_and_method(card, folder, plugin_dirs)[1].self_contained:
            names.add(card["base"]["name"])
    names.discard("")
    return names.pop() if len(names) == 1 else None


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
    for given in adapters.values():
        folder = located(given)
        if plain_peft.is_plain(folder):
            plain_peft.read_config(folder)
            continue
        card = artifact.read_card(folder)
        _, method = loading.task_and_method(card, folder, plugin_dirs)
        if not method.self_contained:  # has a base in it, or none; and may be large, and is verified as it is read
            loading.check_base_name(card, base, folder)
            artifact.verify_files(folder)
    if router is not None:
        folder = located(router)
        record, _ = router_file.read(folder)
        loading.check_base_name(record, base, folder)
