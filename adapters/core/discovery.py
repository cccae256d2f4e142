"""Plugin discovery: methods, tasks, metrics and readers are the files in their folders; nothing is registered."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from adapters import __version__
from adapters.core.errors import SettingsError, did_you_mean

PACKAGE = Path(__file__).resolve().parents[1]
NAME = __name__.partition(".")[0]
"""The package's own name, under which it is imported: the small distribution of the runtime has another."""
FOLDERS = {
    "readers": "data/readers",
    "metrics": "evaluation/metrics",
    "methods": "methods",
    "tasks": "tasks",
    "strategies": "experiments/continual/strategies",
    "explanations": "artifacts/explaining",
    "formats": "artifacts/export",
}
"""Folder of each kind of plugin, in `adapters/` and in a plugin folder."""
_PLUGIN = "taskswap_plugin_"
MAX_NAME_LENGTH = 100
"""File systems refuse to look up much longer names."""


def names(kind: str, plugin_dirs: Sequence[str] = ()) -> list[str]:
    """Sorted names of the plugins of a kind.

    Args:
        kind: a key of `FOLDERS`.
        plugin_dirs: folders with the layout of `adapters/` (`methods/`, `evaluation/metrics/`, …).
    """
    return sorted({path.stem for folder in _folders(kind, plugin_dirs) for path in _files(folder)})


def load(kind: str, name: str, plugin_dirs: Sequence[str] = ()) -> ModuleType:
    """Import the plugin of that name. The project's own file takes precedence over one in a plugin folder.

    Raises:
        SettingsError: unknown name.
    """
    for folder in _folders(kind, plugin_dirs):
        path = folder / f"{name}.py"
        if name.isidentifier() and not name.startswith("_") and len(name) <= MAX_NAME_LENGTH and path.is_file():
            if folder == PACKAGE / FOLDERS[kind]:
                return importlib.import_module(f"{NAME}.{FOLDERS[kind].replace('/', '.')}.{name}")
            return _load_plugin(kind, path)
    raise SettingsError(f"No {_singular(kind)} is called {name!r}: {did_you_mean(name, names(kind, plugin_dirs))}")


def _singular(kind: str) -> str:
    return f"{kind.removesuffix('ies')}y" if kind.endswith("ies") else kind.removesuffix("s")


def code_version(kind: type) -> str:
    """What a cache key holds of a class's code: our version, or for a plugin the digest of its folder's files."""
    module = kind.__module__
    if not module.startswith(_PLUGIN):
        return __version__
    file = Path(str(sys.modules[module].__file__))
    roots = [file.parents[len(Path(name).parts)] for name in FOLDERS.values() if file.parent.match(name)]
    return files_version([str(root) for root in roots[:1]])


def files_version(plugin_dirs: Sequence[str], suffixes: Sequence[str] = (".py", ".toml")) -> str:
    """Our version, and the digest of all Python and prompt files of some plugin folders."""
    if not plugin_dirs:
        return __version__
    digest = hashlib.sha256(__version__.encode())
    for directory in plugin_dirs:
        for path in sorted(file for file in Path(directory).rglob("*") if file.suffix in suffixes):
            digest.update(f"{path.relative_to(directory)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _folders(kind: str, plugin_dirs: Sequence[str]) -> list[Path]:
    assert kind in FOLDERS, kind
    for directory in plugin_dirs:
        if not Path(directory).is_dir():
            raise SettingsError(
                f"--plugin_dir {directory}: no such folder. Give a folder with the layout of adapters/: "
                f"{', '.join(f'{folder}/' for folder in FOLDERS.values())}."
            )
    return [root.resolve() / FOLDERS[kind] for root in [PACKAGE, *map(Path, plugin_dirs)]]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.py") if not path.stem.startswith("_")]


def _load_plugin(kind: str, path: Path) -> ModuleType:
    """Import a user's file once, under a name that no installed module has."""
    name = f"{_PLUGIN}{kind}_{path.stem}"
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
        del sys.modules[name]  # otherwise the next call would get a half-initialised module
        raise
    return module
