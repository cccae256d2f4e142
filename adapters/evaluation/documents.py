"""What is resampled: single examples or whole documents, whose examples are not independent of one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.core.errors import DataError, verb

RESAMPLE = ("auto", "examples", "documents")
"""Values of --resample."""
FEWEST_DOCUMENTS = 30
"""Of fewer, a bootstrap does not know the spread between documents well enough for a test."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """What each resample draws, with replacement.

    Attributes:
        examples: number of examples.
        documents: number of their documents; 0 where those of some are not known.
        of: int64 `[examples]`, the number of each example's document; None where single examples are drawn.
    """

    examples: int
    documents: int
    of: np.ndarray | None = None

    @property
    def name(self) -> str:
        """What is drawn, in a word."""
        return "examples" if self.of is None else "documents"

    @property
    def enough(self) -> bool:
        """Whether there are enough documents for intervals and tests, if these are drawn."""
        return self.of is None or self.documents >= FEWEST_DOCUMENTS

    def summed(self, counts: np.ndarray) -> np.ndarray:
        """Counts `[..., units, width]` of counts of examples `[..., examples, width]`."""
        if self.of is None:
            return counts
        order = np.argsort(self.of, kind="stable")
        begins = np.flatnonzero(np.diff(self.of[order], prepend=-1))
        return np.add.reduceat(counts[..., order, :], begins, axis=-2)

    def members(self) -> list[np.ndarray] | None:
        """The numbers of each document's examples; None where single examples are drawn."""
        if self.of is None:
            return None
        order = np.argsort(self.of, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.of[order])) + 1)

    def record(self) -> dict[str, Any]:
        """As JSON: what is resampled, and of how many documents the examples are (null where some are not known)."""
        return {
            "units": self.name,
            "examples": self.examples,
            "documents": self.documents or None,
            "enough": self.enough,
        }


def chosen_units(documents: Sequence[str], resample: str = "auto") -> Units:
    """Documents where each example has one, there are at least 30 of them, and fewer than examples; else examples.

    Args:
        documents: the document of each example; "" where it is not known.
        resample: a value of --resample.

    Raises:
        DataError: whole documents are to be resampled, and some are not known.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(documents))}
    known = 0 if "" in names else len(names)
    if resample == "documents" and not known:
        unknown = sum(not name for name in documents)
        raise DataError(
            f"--resample documents: {unknown:,} of the {len(documents):,} scored examples {verb(unknown, 'have')} no "
            "document. Name "
            "the column that says it with --document_column_name (a column file has -DOCSTART- lines before its first "
            "sentence, or CoNLL-U's # newdoc), and score runs again that were scored without. Or leave --resample out."
        )
    whole = resample == "documents" or (resample == "auto" and FEWEST_DOCUMENTS <= known < len(documents))
    of = np.array([names[name] for name in documents], dtype=np.int64) if whole else None
    return Units(examples=len(documents), documents=known, of=of)
