"""What a finished comparison is: complete, read from its folder, and shown as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core.errors import ComparisonError, cause, numbered


@dataclass(frozen=True, kw_only=True, repr=False)
class ComparisonResult:
    """A finished comparison. Everything in it is on disk.

    Attributes:
        folder: of the comparison.
        record: contents of comparison.json.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> ComparisonResult:
        """The result in a comparison's folder. Raises ComparisonError where there is no finished one."""
        folder = Path(folder)
        try:
            record = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ComparisonError(
                f"{folder}: no finished comparison ({cause(error)}). Give the folder of one."
            ) from error
        return cls(folder=folder, record=record)

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row for each method, base and training size: scores with intervals, cost."""
        found: Sequence[Mapping[str, Any]] = self.record["rows"]
        return found

    @property
    def verdict(self) -> list[str]:
        """What the comparison says, in sentences."""
        return list(self.record["verdict"])

    @property
    def failures(self) -> list[dict[str, str]]:
        """`{run, reason}` of each run that failed."""
        return list(self.record["failures"])

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.folder / "comparison.html"

    def __repr__(self) -> str:
        return f"ComparisonResult({numbered(len(self.rows), 'rows')}, {str(self.folder)!r}: {' '.join(self.verdict)})"

    def _repr_html_(self) -> str:
        """Verdict and table, for notebooks."""
        from adapters.experiments.notebook import comparison_table

        return comparison_table(self.record)
