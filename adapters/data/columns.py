"""Which column of a source holds what: the one that the user named, else one of the usual names."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adapters.core.errors import DataError
from adapters.data.rows import RowSource


def find_column(
    source: RowSource, what: str, flag: str, given: str | None, usual: Sequence[str], *, taken: Collection[str] = ()
) -> str:
    """The column that the user named, else the first of the usual names.

    Args:
        source: the rows.
        what: the column's contents, for the message (`texts`).
        flag: the flag that names the column, without `--`.
        given: that flag's value.
        usual: names in lower case, the likeliest first; they match columns in any case.
        taken: columns that serve otherwise.

    Raises: DataError that lists the columns.
    """
    found = given_column(source, flag, given)
    if found is None:
        found = usual_column(source, usual, taken=taken)
    if found is None:
        names = f"column of {what} with a usual name ({', '.join(usual)})"
        raise missing_column(source, names, f"Name it with --{flag}.")
    return found


def given_column(source: RowSource, flag: str, given: str | None) -> str | None:
    """The column that the user named, or None. Raises DataError where the source lacks it."""
    if given is not None and given not in source.columns:
        raise missing_column(source, f"column {given!r} (--{flag})")
    return given


def usual_column(
    source: RowSource, usual: Sequence[str], *, taken: Collection[str] = (), any_case: bool = True
) -> str | None:
    """The column with the first of the usual names, or None; of columns that differ in case alone, the first."""
    columns = {
        column.lower() if any_case else column: column for column in reversed(source.columns) if column not in taken
    }
    return next((columns[name] for name in usual if name in columns), None)


def missing_column(source: RowSource, what: str, advice: str = "") -> DataError:
    """The error for a source that lacks a column."""
    return DataError(f"{source.name}: no {what}. Columns found: {', '.join(source.columns)}. {advice}".rstrip())
