"""Data that is in memory already, written as JSON lines: from then on it passes the same checks as any file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, SettingsError
from adapters.core.files import new_file
from adapters.data.class_labels import name_classes, names_of_classes

FORMS = "a path, a list of dicts, a pandas DataFrame or a datasets.Dataset"


def write_rows(name: str, data: Any, path: Path) -> Path:
    """Write rows as JSON lines: row k (counted from 1) is line k of the file, so that faults name the row.

    Args:
        name: what the rows are, for messages: `train`, say.
        data: a list or tuple of dicts, a pandas DataFrame (its index is left out), or a datasets.Dataset (class numbers
            become their names).
        path: of the file; its folder is made.

    Raises:
        SettingsError: a form that cannot be read, or only once (a generator).
        DataError: no row, or a value that JSON cannot hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    with new_file(path) as stream:
        for number, row in enumerate(_rows(name, data), 1):
            if not isinstance(row, Mapping):
                raise DataError(f"{name}: row {number}: must be a dict of columns, found {type(row).__name__}.")
            values = {str(key): _plain(name, number, key, value) for key, value in row.items()}
            stream.write(json.dumps(values, ensure_ascii=True, allow_nan=False) + "\n")
        if not number:
            raise DataError(f"{name}: contains no row. Give {FORMS}.")
    return path


def _rows(name: str, data: Any) -> Iterator[Any]:
    if isinstance(data, list | tuple):
        return iter(data)
    if hasattr(data, "features") and hasattr(data, "with_format") and hasattr(data, "__len__"):
        return _dataset_rows(data)
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        doubles = [column for column, count in Counter(map(str, data.columns)).items() if count > 1]
        if doubles:  # to_dict would keep the last of them
            raise DataError(f"{name}: two columns of the frame have the name {doubles[0]!r}. Rename one of them.")
        return iter(data.to_dict("records"))
    if hasattr(data, "__next__") or hasattr(data, "__iter__"):
        raise SettingsError(
            f"{name}: a {type(data).__name__} is exhausted after one reading, and data is read more than once. "
            "Pass a list: list(…)."
        )
    raise SettingsError(f"{name}: must be {FORMS}, found {type(data).__name__}.")


def _dataset_rows(data: Any) -> Iterator[dict[str, Any]]:
    classes = names_of_classes(data.features.to_dict())
    for values in data.with_format(None):
        yield {**values, **{key: name_classes(values[key], names) for key, names in classes.items()}}


def _plain(name: str, number: int, column: Any, value: Any) -> Any:
    """A value as JSON has it: NumPy's and pandas' numbers as Python's, NaN as null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        raise DataError(
            f"{name}: row {number}: column {str(column)!r} contains {value}, which no file holds: give None."
        )
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(name, number, column, item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(name, number, column, item) for item in value]
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' missing values
        return None
    raise DataError(
        f"{name}: row {number}: column {str(column)!r} contains a {type(value).__name__}, which no reader takes. Use "
        "texts, numbers, lists or dicts."
    )
