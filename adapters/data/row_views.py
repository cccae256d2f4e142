"""Rows of a source in another form: words of a table as sentences, a tool's objects as texts and entities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.core.discovery import code_version
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
        object.__setattr__(self, "item_lines", item_lines)  # rows may be frozen

    def where(self, item: int = 0) -> str:
        """`file:line` of one item of its list columns."""
        return f"{self.file}:{self.item_lines[item] if item < len(self.item_lines) else self.line}"


@dataclass(frozen=True, kw_only=True)
class RowView:
    """A source whose rows are changed while they are read.

    Attributes:
        source: the rows as they are.
        form: words for the form that was recognised.
        columns: names of the columns, the source's own among them.
        change: from the source's rows to those of this one.
        settings: what else decides what `change` does, as JSON.
    """

    source: RowSource
    form: str
    columns: list[str]
    change: Callable[[Iterator[Row], Faults], Iterator[Row]]
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    @property
    def format(self) -> str:
        """The source's, and this form."""
        return f"{format_of(self.source)}, {self.form}"

    @property
    def notes(self) -> list[str]:
        """The source's."""
        return notes_of(self.source)

    @property
    def aliases(self) -> Mapping[str, str]:
        """The source's."""
        found: Mapping[str, str] = getattr(self.source, "aliases", {})
        return found

    @property
    def encoding(self) -> str | None:
        """The source's."""
        found: str | None = getattr(self.source, "encoding", None)
        return found

    def digest(self) -> str:
        """sha256, in hex, of the source's data and of what is done with it."""
        kind = type(self.source)
        return digest_value([self.source.digest(), kind.__name__, code_version(kind), self.form, self.settings])

    def rows(self, faults: Faults) -> Iterator[Row]:
        """The changed rows."""
        return self.change(self.source.rows(faults), faults)
