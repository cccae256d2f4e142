"""The search spaces of an experiment: the methods' own, or those of a file, each value checked before anything runs."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from adapters.core import search_space
from adapters.core.errors import SettingsError, UserError, did_you_mean
from adapters.core.search_space import Dimension, Space

Check = Callable[[Mapping[str, Any]], None]
"""Raises UserError where a method cannot be used with changed settings."""


def read(path: str, methods: Collection[str]) -> dict[str, dict[str, Dimension]]:
    """The spaces of a TOML file, one table for each method. Raises SettingsError, which names the place."""
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"--search_space {path}: not a TOML file that can be read ({error}).") from error
    found: dict[str, dict[str, Dimension]] = {}
    for method, table in tables.items():
        if method not in methods:
            raise SettingsError(f"--search_space {path}: [{method}] is not compared: {did_you_mean(method, methods)}")
        if not isinstance(table, dict):
            raise SettingsError(f"--search_space {path}: {method} must be a table, [{method}], of settings.")
        found[method] = {
            name: search_space.from_record(record, f"--search_space {path}: [{method}] {name}")
            for name, record in table.items()
        }
    return found


def of_file(space: Space, settings: type, check: Check, where: str) -> dict[str, Dimension]:
    """A space that a user wrote. Raises SettingsError for a setting or a value that the method cannot have."""
    known = typing.get_type_hints(settings)
    for name, dimension in space.items():
        for value in search_space.ends(dimension):
            for setting, one in search_space.value(name, value).items():
                if setting not in known:
                    raise SettingsError(f"{where} {setting}: no setting of it: {did_you_mean(setting, known)}")
                _check_type(one, known[setting], f"{where} {setting} = {one!r}")
            try:
                check(search_space.value(name, value))
            except UserError as error:
                raise SettingsError(f"{where} {name} = {value!r} is invalid: {error}") from error
    return dict(space)


def of_method(space: Space, check: Check, say: Callable[[str], None]) -> dict[str, Dimension]:
    """A method's own space without the values that do not fit these data or this base, which are said."""
    found: dict[str, Dimension] = {}
    for name, dimension in space.items():
        fitting, refused = [], []
        for value in search_space.ends(dimension):
            try:
                check(search_space.value(name, value))
                fitting.append(value)
            except UserError:
                refused.append(value)
        if refused:
            say(f"{name}: {', '.join(map(str, refused))} left out, as invalid for these data or this base")
        if "values" not in dimension.record():
            found |= {} if refused else {name: dimension}
        elif len(fitting) > 1:
            found[name] = search_space.Choice(*fitting)
    return found


def free(space: Space, fixed: Collection[str]) -> tuple[dict[str, Dimension], list[str]]:
    """The dimensions of which no setting is fixed, and the settings that are."""
    out: dict[str, Dimension] = {}
    taken: list[str] = []
    for name, dimension in space.items():
        sets = {setting for value in search_space.ends(dimension) for setting in search_space.value(name, value)}
        both = sorted(sets & set(fixed))
        taken += both
        out |= {} if both else {name: dimension}
    return out, taken


def _check_type(value: Any, wanted: Any, where: str) -> None:
    from typeguard import TypeCheckError, check_type

    try:
        check_type(value, wanted)
    except TypeCheckError as error:
        raise SettingsError(f"{where}: {error}.") from error


def values(settings: Any, space: Space) -> dict[str, Any]:
    """What settings have for each setting of a space."""
    names = {
        setting
        for name, one in space.items()
        for v in search_space.ends(one)
        for setting in search_space.value(name, v)
    }
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings) if field.name in names}
