"""Rule 4 of the house: no module keeps state. What a module binds at its top is never changed afterwards."""

from __future__ import annotations

import ast
import collections
import types
from collections.abc import Iterator

import house
import pytest

# Calls whose results cannot change, or are only ever compiled, named or located once.
UNCHANGING = frozenset(
    {"frozenset", "tuple", "str", "int", "float", "bytes", "re.compile", "regex.compile", "Path", "TypeVar", "NewType"}
)
UNCHANGING_ENDS = frozenset({"with_name", "resolve", "absolute", "joinpath"})
MEMOS = frozenset({"cache", "lru_cache", "functools.cache", "functools.lru_cache"})
CHANGERS = {name for kind in (list, dict, set, collections.deque) for name in dir(kind)} - {
    name for kind in (tuple, frozenset, types.MappingProxyType) for name in dir(kind)
}


def state(module: house.Module) -> Iterator[str]:
    """Each way in which a module's top-level names could change between two calls."""
    bound = dict(_bound(module.tree))
    for name, value in bound.items():
        if isinstance(value, ast.Call) and not _unchanging(value):
            yield f"{module.at(value)}: {name} = {ast.unparse(value)[:40]}: an object made at import keeps state"
        if _is_container(value) and not (name.isupper() or name == "__all__"):
            yield f"{module.at(value)}: {name} is a list, dict or set: a constant is written in capitals"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield f"{module.at(node)}: global {', '.join(node.names)}"
        if isinstance(node, ast.FunctionDef) and _memo(node):
            yield f"{module.at(node)}: {node.name} remembers its answers for the life of the process"
        for name in _changed(node):
            if name in bound:
                yield f"{module.at(node)}: changes {name}, which the module binds at its top"


def _bound(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names and values of assignments at a module's top, also inside its `if` and `try`."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.If | ast.Try | ast.For | ast.With):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
                    if isinstance(name, ast.Name):
                        yield name.id, node.value


def _is_container(value: ast.expr) -> bool:
    """A display or comprehension that can change, or a union of such."""
    if isinstance(value, ast.BinOp):
        return _is_container(value.left) or _is_container(value.right)
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def _unchanging(call: ast.Call) -> bool:
    name = house.dotted(call.func)
    end = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return name in UNCHANGING or end in UNCHANGING_ENDS


def _memo(node: ast.FunctionDef) -> bool:
    return any(house.dotted(d.func if isinstance(d, ast.Call) else d) in MEMOS for d in node.decorator_list)


def _changed(node: ast.AST) -> Iterator[str]:
    """Names whose objects a statement or call changes in place: `A[k] = v`, `del A[k]`, `A.append(v)`, `A |= b`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Delete):
        targets = node.targets
    for target in targets:
        if isinstance(target, ast.Subscript | ast.Attribute):
            yield house.dotted(target.value)
        elif isinstance(node, ast.AugAssign):
            yield house.dotted(target)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGERS:
        yield house.dotted(node.func.value)


def test_no_module_keeps_state():
    modules = house.modules()
    assert len(modules) > 30
    assert sum(len(dict(_bound(module.tree))) for module in modules.values()) > 50
    found = [fault for module in modules.values() for fault in state(module)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SEEN = {}\ndef f(x):\n    SEEN[x] = 1\n", "x.py:3: changes SEEN"),
        ("SEEN = []\ndef f(x):\n    SEEN.append(x)\n", "x.py:3: changes SEEN"),
        ("SEEN = {1}\ndef f(x):\n    del SEEN[x]\n", "x.py:3: changes SEEN"),
        ("TOTAL = (1,)\ndef f(x):\n    global TOTAL\n    TOTAL += (x,)\n", "x.py:3: global TOTAL"),
        ("seen = {}\n", "x.py:1: seen is a list, dict or set"),
        ("if True:\n    seen = [x for x in y]\n", "x.py:2: seen is a list, dict or set"),
        ("from collections import defaultdict\nSEEN = defaultdict(list)\n", "x.py:2: SEEN = defaultdict(list)"),
        ("CONSOLE = Console(stderr=True)\n", "x.py:1: CONSOLE = Console(stderr=True)"),
        ("@functools.cache\ndef f():\n    pass\n", "remembers its answers"),
        ("@lru_cache(maxsize=3)\ndef f():\n    pass\n", "remembers its answers"),
    ],
)  # fmt: skip
def test_state_of_a_module_is_found(tmp_path, text, told):
    path = tmp_path / "adapters" / "x.py"
    path.parent.mkdir()
    path.write_text(text)
    found = list(state(house.Module("x", path)))
    assert any(told in fault for fault in found), found


@pytest.mark.parametrize(
    "text",
    [
        "KNOWN = {'a': 1}\nWORD = re.compile('x')\nNAMES = ('a', 'b')\n",
        "def f():\n    seen = {}\n    seen[1] = 2\n    seen.update(a=1)\n",
        "class A:\n    def f(self):\n        self.seen = []\n        self.seen.append(1)\n",
    ],
)
def test_constants_and_local_names_are_let_pass(tmp_path, text):
    path = tmp_path / "adapters" / "x.py"
    path.parent.mkdir()
    path.write_text(text)
    assert not list(state(house.Module("x", path)))
