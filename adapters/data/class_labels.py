"""Class names in place of class numbers, for datasets that have both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.core.errors import SettingsError


def names_of_classes(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of each column's classes, by column, from what `datasets.Features.to_dict()` returns."""
    found = {}
    for column, feature in features.items():
        while isinstance(feature, dict) and "feature" in feature:
            feature = feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            found[column] = feature["names"]
    return found


def name_classes(value: Any, names: Sequence[str]) -> Any:
    """Names in place of class numbers; None, and -1 (a hidden label), become None. Raises ValueError."""
    if isinstance(value, list):
        return [name_classes(item, names) for item in value]
    if value is None or value == -1:
        return None
    if not 0 <= value < len(names):
        raise ValueError(f"class {value}, but the dataset names {len(names)} classes")
    return names[value]


def label_names(given: Sequence[str]) -> list[str]:
    """The names by class number that `--label_names` gives; none where it gives nothing.

    Args:
        given: the names in order, or one JSON file of them: a list, `{"0": name}`, `{name: 0}`, or a model's config.

    Raises: SettingsError.
    """
    if isinstance(given, str):
        given = given.split(",")
    names = [name.strip() for name in given]
    if len(names) == 1 and names[0].lower().endswith(".json"):
        names = _names_in(Path(names[0]))
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None or "" in names:
        what = f"{double!r} occurs twice" if double else "a name is empty"
        raise SettingsError(f"--label_names: {what}. Each class needs a name of its own.")
    return names


def _names_in(path: Path) -> list[str]:
    """The names in a JSON file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"--label_names {path}: cannot be read as JSON ({error}).") from error
    if isinstance(value, dict):
        value = _in_order(value.get("id2label", value))
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise SettingsError(
            f"--label_names {path}: must contain a list of names, or a dict from each number (0, 1, …) to its name."
        )
    return [name.strip() for name in value]


def _in_order(table: Any) -> list[Any] | None:
    """The names of `{"0": name}` or `{name: 0}` by number; None where the numbers are not 0, 1, and so on."""
    if not isinstance(table, dict):
        return None
    if all(type(number) is int for number in table.values()):
        table = {str(number): name for name, number in table.items()}
    return [table.get(str(number)) for number in range(len(table))]
