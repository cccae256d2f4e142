"""The share of negative items, corrected for the classifier's errors.

Alarms do not need it: they compare the classifier's predictions in a window with those in the baseline, and both have
the same errors. It is for readers: Rogan and Gladen (1978), (share + specificity - 1) / (sensitivity + specificity
- 1), cut to 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Rates of the classifier, from labelled items.

    Attributes:
        sensitivity: of negative items, the share that is read as negative.
        specificity: of the others, the share that is not.
    """

    sensitivity: float
    specificity: float

    @classmethod
    def of(cls, counts: Mapping[tuple[bool, bool], int]) -> Correction:
        """From numbers of (negative, read as negative) items. Raises DataError where a rate cannot be estimated."""
        right, missed = counts.get((True, True), 0), counts.get((True, False), 0)
        wrong, passed = counts.get((False, True), 0), counts.get((False, False), 0)
        if not right + missed or not wrong + passed:
            raise DataError("the labelled items are all negative, or none is. Give both.")
        found = cls(sensitivity=right / (right + missed), specificity=passed / (wrong + passed))
        if found.sensitivity + found.specificity <= 1:
            raise DataError(
                f"on the labelled items, {found.sensitivity:.1%} of the negative ones and {1 - found.specificity:.1%} "
                "of the others are read as negative: this sentiment has no information. Train another, or see whether "
                "--negative_labels are right."
            )
        return found

    def share(self, negative: float, items: float) -> float:
        """The corrected share."""
        raw = (negative / items + self.specificity - 1) / (self.sensitivity + self.specificity - 1)
        return min(max(raw, 0.0), 1.0)
