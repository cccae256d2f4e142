"""Errors for what a user can do wrong. Messages say what was given, what was needed, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

MAX_SHOWN_FAULTS = 20


class UserError(ValueError):
    """Invalid input by the user. Commands print only the message and exit with code 2."""


class SettingsError(UserError):
    """A flag or a settings file has an invalid value."""


class SourceError(UserError):
    """A model or a dataset cannot be found or fetched."""


class DataError(UserError):
    """A dataset contains rows that cannot be read without guessing."""


class ModelError(UserError):
    """A base model does not suit the method, the task or the memory of this machine."""


class ArtifactError(UserError):
    """An artifact is damaged, foreign, or belongs to another base model."""


class BankError(UserError):
    """The name of an adapter is unknown, taken or not allowed, or the bank has no room for it."""


class UnknownAdapterError(BankError):
    """The bank has no adapter of that name."""


class CheckpointError(UserError):
    """A checkpoint is damaged, or could not be written."""


class ComparisonError(UserError):
    """Runs cannot be compared."""


class Faults:
    """Collects faults of a dataset, so that one error shows the first twenty and the total number."""

    def __init__(self, subject: str) -> None:
        """Args: subject: what is being read, for the message (a path or the name of a dataset)."""
        self.subject = subject
        self.count = 0
        self.shown: list[str] = []
        self.advice: list[str] = []

    def add(self, where: str, what: str, advice: str = "") -> None:
        """Add a fault. `where` is `file:line`; `advice` says what to do and is printed once."""
        self.count += 1
        if len(self.shown) < MAX_SHOWN_FAULTS:
            self.shown.append(f"{where}: {what}")
        if advice and advice not in self.advice:
            self.advice.append(advice)

    def raise_if_any(self) -> None:
        """Raises DataError that lists the faults, if there are any."""
        if not self.count:
            return
        head = f"{self.subject}: {self.count} fault{'s' if self.count > 1 else ''}"
        if self.count > len(self.shown):
            head += f", the first {len(self.shown)}"
        raise DataError("\n  ".join([head + ":", *self.shown]) + "".join(f"\n{a}" for a in self.advice))


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A clause for an error message: the most similar known names, or all of them if none is similar."""
    names: Sequence[str] = sorted(known)
    similar = difflib.get_close_matches(given.lower(), names, n=3, cutoff=0.6)
    if similar:
        return f"did you mean {' or '.join(map(repr, similar))}?"
    return f"known: {', '.join(names) or 'none'}"
