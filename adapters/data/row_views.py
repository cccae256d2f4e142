"""Views of a source: its rows in another form (words of a table as sentences, say), or without some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.core.errors import Faults
from adapters.core.files import digest_value
from adapters.data.rows import Row, RowSource, format_of, notes_of


class RowOfLines(Row):
    """A row whose items are on lines of their own, not all next to each other."""

    __slots__ = ("item_lines",)
    item_lines: tuple[int, ...]

    def __init__(self, file: str, values: dict[str, Any], item_lines: tuple[int, ...]) -> None:
        """Args: item_lines: the line of each item."""
        super().__init__(file, item_lines[0] if item_lines else 1, 1, values)
        self.item_lines = item_lines

    def where(self, item: int = 0) -> str:
        """`file:line` of one item of its list columns."""
        return f"{self.file}:{self.item_lines[item] if item < len(self.item_lines) else self.line}"


@dataclass(frozen=True, kw_only=True)
class SourceView:
    """What views of a source share: its name, its columns, and what it says of itself."""

    source: RowSource

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    @property
    def format(self) -> str:
        """The source's."""
        return format_of(self.source)

    @property
    def notes(self) -> list[str]:
        """The source's."""
        return notes_of(self.source)

    @property
    def aliases(self) -> Mapping[str, str]:
        """The source's."""
        found: Mapping[str, str] = getattr(self.source, "aliases", {})
        return found


@dataclass(frozen=True, kw_only=True)
class RowView(SourceView):
    """A source whose rows are changed while they are read.

    Attributes:
        form: words for the form that was recognised.
        columns: names of the columns, the source's own among them.
        change: from the source's rows to those of this one.
        settings: what else decides what `change` does, as JSON.
    """

    form: str
    columns: list[str]
    change: Callable[[Iterator[Row], Faults], Iterator[Row]]
    settings: tuple[str, ...] = ()

    @property
    def format(self) -> str:
        """The source's, and this form."""
        return f"{super().format}, {self.form}"

    def digest(self) -> str:
        """sha256, in hex, of the source's data and of what is done with it."""
        return digest_value([self.source.digest(), self.form, self.settings])

    def rows(self, faults: Faults) -> Iterator[Row]:
        """The changed rows."""
        return self.change(self.source.rows(faults), faults)


@dataclass(frozen=True, kw_only=True)
class FilteredRows(SourceView):
    """The rows of a source, without those whose column has one of the dropped values."""

    column: str
    dropped: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The source's."""
        return self.source.columns

    @property
    def without(self) -> str:
        """Which rows are left out."""
        return f"rows whose {self.column} is {' or '.join(self.dropped)}"

    @property
    def notes(self) -> list[str]:
        """What the source says, and which rows are left out."""
        return [*super().notes, f"{self.without} are left out"]

    def digest(self) -> str:
        """sha256, in hex, of the source and what is dropped."""
        return digest_value([self.source.digest(), self.column, sorted(self.dropped)])

    def rows(self, faults: Faults) -> Iterator[Row]:
        """The remaining rows, with their lines."""
        return (row for row in self.source.rows(faults) if row.values.get(self.column) not in self.dropped)
