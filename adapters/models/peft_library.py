"""PEFT, imported without bitsandbytes: that takes more than a second, prints, and only quantized bases need it.

Whatever uses PEFT imports it from here: `from adapters.models.peft_library import peft`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module that is imported when the first of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked of every module by `inspect`
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _deferred(name: str) -> Iterator[None]:
    """Within the block, importing this module yields a stand-in for it; nothing, where it is imported or missing."""
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None:
        yield
        return
    stand_in = _Deferred(name)
    stand_in.__spec__ = spec
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


with _deferred("bitsandbytes"):
    import peft


@contextmanager
def without_bitsandbytes(hidden: bool = True) -> Iterator[None]:
    """Within the block PEFT finds no bitsandbytes, and so does not import it to look for quantized layers.

    Args:
        hidden: False changes nothing, for a model that has such layers.
    """
    name = "bitsandbytes"
    if not hidden or name in sys.modules:
        yield
        return
    asked = peft.import_utils.is_bnb_available, peft.import_utils.is_bnb_4bit_available
    sys.modules[name] = None  # type: ignore[assignment] # which is how Python marks what cannot be imported
    try:
        for question in asked:
            question.cache_clear()
        yield
    finally:
        del sys.modules[name]
        for question in asked:
            question.cache_clear()


__all__ = ["peft", "without_bitsandbytes"]
