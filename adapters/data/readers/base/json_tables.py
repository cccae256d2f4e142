"""Tables that are one JSON document: columns of lists, and what pandas' `to_json` writes with each `orient`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.data.readers.base.tables import USUAL_NAMES

NEEDED = 'a list of objects is needed, or an object with one as "data"; or an object on each line'
_SAVE = 'From pandas: to_json(path, orient="records", lines=True).'
_INDEX = re.compile(r"-?\d+")
_SENTENCE = frozenset({"tokens", "words"})
"""Columns by which an object of lists is one sentence, and no table."""


@dataclass(frozen=True)
class JsonTable:
    """How the rows lie in a document.

    Attributes:
        kind: `list` of objects (or such a list as `data`), else `columns`, `index`, `split`, or `object`, one row.
        without: keys that are left out of each row.
        notes: what is to be said of it.
    """

    kind: str
    without: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)


def find_table(document: Any) -> JsonTable:
    """Find the rows of a document. Raises ValueError, in words that follow the file's name, where it has none."""
    if isinstance(document, list):
        if document and all(isinstance(row, list) for row in document):
            raise ValueError(f"a list of lists has no names of columns: {NEEDED}. {_SAVE}")
        return JsonTable("list")
    if not isinstance(document, dict) or not document:
        raise ValueError(NEEDED)
    data = document.get("data")
    columns = document.get("columns")
    if isinstance(data, list) and isinstance(columns, list) and all(isinstance(row, list) for row in data):
        return JsonTable("split", notes=["the index is left out"] if "index" in document else [])
    if isinstance(data, list) and (isinstance(document.get("schema"), dict)):
        keys = frozenset(map(str, document["schema"].get("primaryKey") or ()))
        return JsonTable("list", keys, [f"the index ({', '.join(sorted(keys))}) is left out"] if keys else [])
    if isinstance(data, list) and (not data or any(isinstance(row, dict) for row in data) or len(document) == 1):
        return JsonTable("list")
    if all(isinstance(value, dict) for value in document.values()):
        return _nested(document)
    lists = {name: value for name, value in document.items() if isinstance(value, list)}
    if len(lists) == len(document):
        return _of_lists(lists)
    if isinstance(data, list):
        return JsonTable("list")
    texts = any(isinstance(value, str) and name.lower() in USUAL_NAMES for name, value in document.items())
    if lists and not texts:
        raise ValueError(f"{NEEDED}; this object has {_listed(document)}")
    return JsonTable("object")


def _of_lists(lists: Mapping[str, Sequence[Any]]) -> JsonTable:
    """An object of lists: columns, or one sentence."""
    scalars = not any(isinstance(cell, list | dict) for value in lists.values() for cell in value)
    if scalars and _SENTENCE & lists.keys():
        return JsonTable("object")
    lengths = {name: len(value) for name, value in lists.items()}
    if all(isinstance(cell, dict) for value in lists.values() for cell in value) or len(lists) == 1:
        raise ValueError(f"{NEEDED}; this object has lists under {_listed(lists)}: save each as a file of its own")
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{name} has {count:,}" for name, count in [*lengths.items()][:10])
        raise ValueError(f"an object of lists is a table where all are of one length, but {counted}; or {NEEDED}")
    return JsonTable("columns")


def _nested(document: Mapping[str, Mapping[str, Any]]) -> JsonTable:
    """An object of objects: columns by name, each of cells by index; rows by index, each of cells by name; or a row."""
    outer, first = list(document), list(next(iter(document.values())))
    same = all(list(inner) == first for inner in document.values())
    rows_inside, rows_outside = (all(map(_INDEX.fullmatch, keys)) for keys in (first, outer))
    if not rows_inside and not rows_outside:
        named = [any(key.lower() in USUAL_NAMES for key in keys) for keys in (first, outer)]
        if named != [True, False] or not same or len(outer) < 2:
            return JsonTable("object")
        return JsonTable("index")
    if rows_inside and rows_outside:
        raise ValueError(f"an object of objects whose keys are all numbers may be columns or rows. {_SAVE}")
    if not same:
        what = "columns" if rows_inside else "rows"
        raise ValueError(f"an object of {what} is a table where all have the same keys, and these have not. {_SAVE}")
    kind = "columns" if rows_inside else "index"
    return JsonTable(kind, notes=["the index is left out"])


def table_rows(document: Any, table: JsonTable) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of a document that is no list of objects, each with what is wrong with it."""
    if table.kind == "object":
        yield document, ""
    elif table.kind == "split":
        names = [str(name) for name in document["columns"]]
        for cells in document["data"]:
            fits = len(cells) == len(names)
            wrong = "" if fits else f"found {len(cells)} cells, there are {len(names)} columns"
            yield dict(zip(names, cells, strict=False)), wrong
    elif table.kind == "index":
        numbered = all(map(_INDEX.fullmatch, document))
        for key, row in document.items():
            yield row if numbered or "id" in row else {"id": key, **row}, ""
    else:
        cells = [value.values() if isinstance(value, dict) else value for value in document.values()]
        for row in zip(*cells, strict=True):
            yield dict(zip(document, row, strict=True)), ""


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join([*names][:10]) + (", …" if len(names) > 10 else "")
