#!/usr/bin/env python3
"""Build `taskswap-runtime`: the package `adapters.artifacts.runtime` and all that it imports, under another name.

    python .ci/build_runtime.py dist            # a wheel, in dist/
    python .ci/build_runtime.py --tree folder   # only its source tree

The tasks are in it, too, as an export names one. A module is copied if one that is copied imports it when it is itself
imported; what is imported inside functions (torch, to train; datasets, to read data) stays behind. The build fails if
that brings any library that is not among `DEPENDENCIES`.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FROM, TO = "adapters", "taskswap_runtime"
ENTRIES = ("adapters.artifacts.runtime.loading",)
DEPENDENCIES = ("numpy", "onnxruntime", "regex", "tokenizers")
"""What the distribution depends on. regex splits texts into words, by classes of characters that `re` lacks."""
README = """# taskswap-runtime

Runs what `taskswap export --format onnx` wrote, without torch or transformers:

```python
from taskswap_runtime import load

model = load("folder")
print(model(["Angela Merkel visited Paris."]))
```

Words, windows, entities and offsets are those of taskswap: it is the same code. Apache-2.0.
"""
INIT = '''"""Runs exports of taskswap to ONNX: `load(folder)(texts)`."""

__version__ = {version!r}

from taskswap_runtime.artifacts.runtime.loading import Export as Export
from taskswap_runtime.artifacts.runtime.loading import load as load
'''


def main() -> int:
    """Write the tree, or build the wheel."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("output", type=Path, help="folder for the wheel, or for the tree")
    parser.add_argument("--tree", action="store_true", help="write only the source tree")
    given = parser.parse_args()
    if given.tree:
        write_tree(given.output)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder))
        return subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", str(given.output.resolve()), folder]
        ).returncode


def write_tree(output: Path) -> None:
    """Write the distribution's source tree."""
    modules, libraries = closure()
    foreign = sorted(libraries - {*DEPENDENCIES, *sys.stdlib_module_names})
    if foreign:
        sys.exit(f"the runtime would import {', '.join(foreign)}: import them inside the functions that need them")
    for source in modules.values():
        target = output / TO / source.relative_to(REPOSITORY / FROM)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(renamed(source.read_text(encoding="utf-8")), encoding="utf-8")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = _version()
    (output / TO / "__init__.py").write_text(INIT.format(version=version), encoding="utf-8")
    (output / TO / "py.typed").touch()
    (output / "README.md").write_text(README, encoding="utf-8")
    shutil.copy2(REPOSITORY / "LICENSE", output / "LICENSE")
    ranges = {_name(one): one for one in (*project["dependencies"], *project["optional-dependencies"]["export"])}
    needed = "\n".join(f'  "{ranges[name]}",' for name in DEPENDENCIES)
    (output / "pyproject.toml").write_text(
        f"""[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "taskswap-runtime"
version = "{version}"
description = "Runs models that taskswap has exported to ONNX, without torch"
readme = "README.md"
requires-python = "{project["requires-python"]}"
license = "{project["license"]}"
license-files = ["LICENSE"]
dependencies = [
{needed}
]

[tool.setuptools.packages.find]
include = ["{TO}*"]

[tool.setuptools.package-data]
{TO} = ["py.typed"]
""",
        encoding="utf-8",
    )


def closure() -> tuple[dict[str, Path], set[str]]:
    """The modules that the entries import, by name, and the first names of all other modules that these import."""
    tasks = sorted((REPOSITORY / FROM / "tasks").glob("*.py"))
    waiting = [*ENTRIES, *(f"{FROM}.tasks.{path.stem}" for path in tasks if path.stem != "__init__")]
    found: dict[str, Path] = {}
    libraries: set[str] = set()
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting.append(name.rpartition(".")[0])
        for imported in at_import(ast.parse(path.read_text(encoding="utf-8"))):
            first = imported.partition(".")[0]
            if first == FROM:
                waiting.append(imported)
            else:
                libraries.add(first)
    return found, libraries


def at_import(tree: ast.Module) -> Iterator[str]:
    """Names of what a module imports when it is imported itself: of modules, and of what may be one."""
    for node in tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        inside = [node] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            inside = [one for one in ast.walk(node) if isinstance(one, (ast.Import, ast.ImportFrom))]
        for one in inside:
            if isinstance(one, ast.Import):
                yield from (alias.name for alias in one.names)
            elif one.module:
                yield one.module
                yield from (f"{one.module}.{alias.name}" for alias in one.names)


def renamed(source: str) -> str:
    """A module's source with our package's other name in every import."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == FROM:
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(f"from {FROM}", f"from {TO}", 1)
        elif isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == FROM for alias in node.names):
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(f"import {FROM}", f"import {TO}", 1)
    return "".join(lines)


def _file(module: str) -> Path | None:
    path = REPOSITORY.joinpath(*module.split("."))
    return next((one for one in (path / "__init__.py", path.with_suffix(".py")) if module and one.is_file()), None)


def _version() -> str:
    tree = ast.parse((REPOSITORY / FROM / "__init__.py").read_text(encoding="utf-8"))
    return next(
        str(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "__version__"
        and isinstance(node.value, ast.Constant)
    )


def _name(requirement: str) -> str:
    """`numpy` of `numpy>=2.0,<3`."""
    return "".join(letter if letter.isalnum() or letter in "-_." else " " for letter in requirement).split()[0]


if __name__ == "__main__":
    sys.exit(main())
