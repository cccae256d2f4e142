"""The names of methods, tasks, metrics and readers are the files in their folders; nothing is registered."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from adapters.errors import SettingsError, did_you_mean

FOLDERS = ("data", "metrics", "methods", "tasks")
LONGEST = 100
"""Characters of a name: file systems refuse to look for much longer ones."""


def names(folder: str, plugin_dirs: Sequence[str] = ()) -> list[str]:
    """Sorted names in `adapters/<folder>/` and in `<plugin_dir>/<folder>/` (a file `name.py` offers `name`)."""
    return sorted({path.stem for place in _places(folder, plugin_dirs) for path in _files(place)})


def load(folder: str, name: str, plugin_dirs: Sequence[str] = ()) -> ModuleType:
    """Import the file that offers `name`. The project's own file wins over a plugin's of the same name.

    Raises:
        SettingsError: no file of that name.
    """
    for place in _places(folder, plugin_dirs):
        path = place / f"{name}.py"
        if name.isidentifier() and not name.startswith("_") and len(name) <= LONGEST and path.is_file():
            own = place.parent == Path(__file__).parent.resolve()
            return importlib.import_module(f"adapters.{folder}.{name}") if own else _load_plugin(path)
    kind = "reader" if folder == "data" else folder.removesuffix("s")
    raise SettingsError(f"No {kind} is called {name!r}: {did_you_mean(name, names(folder, plugin_dirs))}")


def _places(folder: str, plugin_dirs: Sequence[str]) -> list[Path]:
    assert folder in FOLDERS, folder
    for directory in plugin_dirs:
        if not Path(directory).is_dir():
            raise SettingsError(
                f"--plugin_dir {directory}: no such folder. Give the folder that holds methods/, tasks/, …"
            )
    return [Path(root).resolve() / folder for root in [str(Path(__file__).parent), *plugin_dirs]]


def _files(place: Path) -> list[Path]:
    return [path for path in place.glob("*.py") if not path.stem.startswith("_")]


def _load_plugin(path: Path) -> ModuleType:
    """Import a user's file under a name that no installed module bears, once a process."""
    name = f"taskswap_plugin_{path.parent.name}_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # or the next call would be given what was read up to the error
        raise
    return module
