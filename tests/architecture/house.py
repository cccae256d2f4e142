"""The project's own source, parsed, for the tests of the house's rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "adapters"


@dataclass(frozen=True)
class Module:
    """One file of the package: `name` is `recipe`, `tasks.ner`, or `tasks` for a folder's `__init__`."""

    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    def at(self, node: ast.AST) -> str:
        """`file:line` of a node, for messages."""
        return f"{self.path.relative_to(self.path.parents[1 + self.name.count('.') + self.is_folder])}:{node.lineno}"

    @property
    def is_folder(self) -> bool:
        return self.path.name == "__init__.py" and self.name != "adapters"

    @property
    def package(self) -> str:
        """`tasks` for `tasks.ner` and `tasks.base`; empty for a file that stands in no package."""
        first, _, rest = self.name.partition(".")
        return first if rest or self.is_folder else ""


def modules(package: Path = PACKAGE) -> Mapping[str, Module]:
    """Every .py file under a package by its name; the package's own `__init__` is called `adapters`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "adapters"
        found[name] = Module(name, path)
    return found


def imports(module: Module, known: Mapping[str, Module]) -> Iterator[tuple[str, ast.AST]]:
    """(name of the project's module, node) of each import, wherever in the file it stands."""
    for node in ast.walk(module.tree):
        for written in _written(node, module):
            if written == "adapters" or written.startswith("adapters."):
                yield _module_of(written, known), node


def _written(node: ast.AST, module: Module) -> Iterator[str]:
    """Dotted names that an import statement, or a call of `import_module`, asks for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:  # relative: counted from the package in which the file lies
            here = ["adapters", *module.name.split(".")] if module.name != "adapters" else ["adapters"]
            here = here if module.is_folder or module.name == "adapters" else here[:-1]
            origin = ".".join([*here[: len(here) - node.level + 1], *([origin] if origin else [])])
        yield from (f"{origin}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in ("import_module", "__import__"):
        yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def _module_of(written: str, known: Mapping[str, Module]) -> str:
    """`adapters.core.files.write_json` -> `files`: the longest part that is a file."""
    name = written.removeprefix("adapters").removeprefix(".")
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or "adapters"


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a chain of names, empty for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        front = dotted(node.value)
        return f"{front}.{node.attr}" if front else ""
    return ""
