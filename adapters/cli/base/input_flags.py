"""Flags that say which file of texts is answered, and how it is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import DataError

if TYPE_CHECKING:
    from adapters.artifacts.loaded import LoadedArtifact

TEXTS: Sequence[Sequence[str]] = (("text",),)
"""Columns of what asks for texts alone."""


@dataclass(frozen=True, kw_only=True)
class InputFlags:
    """A file of texts, in place of texts on the command line."""

    input: Path | None = None
    """File instead of texts: .txt with one text per line, JSONL, or any file that a run can learn from (CSV, Excel,
    parquet, CoNLL, …), of which the columns that the task reads are taken."""
    encoding: str = "utf-8"
    """Encoding of --input, where it is .txt or a table."""
    text_column_name: str | None = None
    """The column of --input with the texts. Default: that of the training data, or one with a usual name."""
    text_pair_column_name: str | None = None
    """The column of --input with the second texts of pairs. Default: the same."""

    def check_input(self) -> None:
        """Raises DataError where --input is no file."""
        if self.input is not None and (self.input.is_dir() or not self.input.exists()):
            raise DataError(f"--input {self.input}: {'is a folder' if self.input.is_dir() else 'no such file'}.")

    def requests_for(self, loaded: LoadedArtifact, plugin_dirs: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The requests of --input for an artifact, which knows its columns and those that it has learned from."""
        return self.requests(loaded.task.request_columns(), plugin_dirs, loaded.card.get("columns"))

    def requests(
        self, columns: Sequence[Sequence[str]], plugin_dirs: Sequence[str], learned: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The requests of --input, as of `read_requests`; what was read as what is said on stderr."""
        from adapters.data.request_rows import read_requests

        assert self.input is not None
        return read_requests(
            self.input,
            columns,
            named={"text": self.text_column_name, "text_pair": self.text_pair_column_name},
            learned=learned,
            say=lambda line: print(line, file=sys.stderr),
            encoding=self.encoding,
            plugin_dirs=plugin_dirs,
        )
