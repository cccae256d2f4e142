"""Class names in place of class numbers, for datasets that have both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
