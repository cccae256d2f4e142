"""Defaults of a run's settings that differ from those that task and method state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.core import discovery
from adapters.core.sources.resolve import base_defaults


def method_defaults(task: str, method: str, base: str | None, plugin_dirs: Sequence[str] = ()) -> dict[str, Any]:
    """The defaults of a method on a task and on a base, by setting; those on the base come first.

    Args:
        task: name of the task.
        method: name of the method.
        base: base model as given: a path, an alias or a Hub id; None for none.
        plugin_dirs: folders with additional tasks and methods.
    """
    kind = discovery.load("methods", method, plugin_dirs).Method
    return {**kind.task_defaults(task, plugin_dirs), **base_defaults(base, method)}
