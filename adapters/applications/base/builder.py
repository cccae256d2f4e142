"""The base class of what builds an application: its settings, its folder, and its notes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.core import arguments
from adapters.core.progress import say


class ApplicationBuilder:
    """Builds an application from settings that are read from flags.

    Attributes:
        settings: checked.
        folder: the application's.
        notes: lines that were printed about what was read and learned, for the record.
    """

    def __init__(
        self, kind: Any, doc: str | None, defaults: Mapping[str, Any], argv: Sequence[str] | None = None
    ) -> None:
        """Parse the flags.

        Args:
            kind: class of all flags, with `check`.
            doc: printed by --help.
            defaults: of flags.
            argv: None takes the process's.
        """
        words = list(sys.argv[1:] if argv is None else argv)
        self.settings: Any = arguments.parse_training(kind, dict(defaults), (doc or "").strip(), words)
        self.settings.check()
        self.folder = Path(self.settings.output_dir)
        self.notes: list[str] = []

    def note(self, *lines: str) -> None:
        """Print lines, and keep them for the record."""
        self.notes += lines
        say(*lines)
