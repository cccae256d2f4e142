"""The columns of each split of labelled texts; and a test split whose gold is hidden, which is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.core.errors import Faults
from adapters.data.annotation_tools import choices_as_labels
from adapters.data.classification_columns import (
    LABELS,
    NUMBERS_OF_ROWS,
    ClassificationColumns,
    find_classification_columns,
)
from adapters.data.columns import ColumnRoles, plain
from adapters.data.label_cells import is_missing
from adapters.data.rows import RowSource

_HIDDEN = frozenset({"-1", "-1.0", "-", "?"})
"""Cells of a test split whose gold is not published, besides empty ones."""


def find_columns(
    sources: Mapping[str, RowSource], named: Mapping[str, str | None], lead: str
) -> tuple[dict[str, ColumnRoles], dict[str, ClassificationColumns], list[str]]:
    """The columns of each split, and a sentence on the test split if it is left out, since its gold is hidden.

    Args:
        sources: the splits.
        named: by role (`text`, `text_pair`, `label`) the column that the user named; of labels perhaps several.
        lead: the split whose columns are found first, and are then read in the others.

    Raises: DataError.
    """
    roles: dict[str, ColumnRoles] = {}
    columns: dict[str, ClassificationColumns] = {}
    for name in sorted(sources, key=lambda name: name != lead):
        source = choices_as_labels(sources[name])
        labels = label_columns(named["label"], source)
        may_hide = name == "test" != lead
        if may_hide and not _has_labels(source, labels, columns[lead]) and _lacks_labels_alone(source, sources[lead]):
            return roles, columns, [_left_out(source, "it has no label column", columns)]
        given = {**named, "label": labels}
        roles[name] = ColumnRoles(source, given, roles.get(lead), shared=len(sources) > 1)
        columns[name] = find_classification_columns(roles[name])
        if may_hide and _hides_gold(source, columns[name]):
            why = f"no row has a label in {columns.pop(name).label} (all are empty or -1)"
            return roles, columns, [_left_out(source, why, columns)]
    return roles, {name: columns[name] for name in sources}, []


def label_columns(named: str | None, source: RowSource) -> list[str] | None:
    """The columns that `--label_column_name` names: one, whose own name may contain commas, or several."""
    if named is None:
        return None
    return [named] if named in source.columns or "," not in named else [name.strip() for name in named.split(",")]


def _has_labels(source: RowSource, named: Sequence[str] | None, lead: ClassificationColumns) -> bool:
    """Whether a source has a column that the user named or that train's labels are in, or one with a usual name."""
    known = any(name in source.columns for name in named or lead.labels)
    return known or (named is None and bool(ColumnRoles(source).matching(LABELS)))


def _lacks_labels_alone(source: RowSource, train: RowSource) -> bool:
    """Whether a source is like train, but for the label: another column could be its label under another name."""
    more = set(source.columns) - set(train.columns)
    return all(plain(name) in NUMBERS_OF_ROWS for name in more)


def _hides_gold(source: RowSource, columns: ClassificationColumns) -> bool:
    """Whether no row of a source has a label: each is missing, or -1. Reads up to the first row that has one."""
    values = (row.values for row in source.rows(Faults(source.name)))
    cells = (row.get(column) for row in values for column in columns.labels)
    return all(
        is_missing(cell)
        or cell in ([], {})
        or (isinstance(cell, str | float) and str(cell).strip() in _HIDDEN)
        or cell == -1
        for cell in cells
    )


def _left_out(source: RowSource, why: str, columns: Mapping[str, ClassificationColumns]) -> str:
    dev = "validation" if "validation" in columns else "a part of train"
    return f"{source.name} (test) is left out: {why}, so its gold is hidden. Scores are those of dev, {dev}"
