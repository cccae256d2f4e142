"""What a user can do wrong, as typed errors: what was given, what was needed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

SHOWN_FAULTS = 20


class UserError(ValueError):
    """Something the user gave cannot be used. Commands print the message alone and exit with code 2."""


class SettingsError(UserError):
    """A flag or a settings file holds a value that cannot work."""


class SourceError(UserError):
    """A model or a dataset cannot be found or fetched."""


class DataError(UserError):
    """A dataset holds rows that cannot be read without guessing."""


class ModelError(UserError):
    """A base model does not fit the method, the task or the memory of this machine."""


class ArtifactError(UserError):
    """An artifact is damaged, foreign, or belongs to another base model."""


class BankError(UserError):
    """An adapter's name is unknown, taken or not allowed, or the bank has no room for it."""


class UnknownAdapterError(BankError):
    """No adapter of a bank has the name."""


class CheckpointError(UserError):
    """A checkpoint is damaged, or could not be written."""


class ComparisonError(UserError):
    """Runs cannot be held side by side."""


class Faults:
    """Collects faults of a dataset so that the first twenty are shown at once.

    Rows keep being read after a fault, so that one run of the command shows a user all there is to mend.
    """

    def __init__(self, subject: str) -> None:
        """Args: subject: what is being read, as it shall stand in the message (a path or a dataset's name)."""
        self.subject = subject
        self.count = 0
        self.shown: list[str] = []
        self.advice: list[str] = []

    def add(self, where: str, what: str, advice: str = "") -> None:
        """Note one fault. `where` is `file:line`; `advice` says what to do and is printed once."""
        self.count += 1
        if len(self.shown) < SHOWN_FAULTS:
            self.shown.append(f"{where}: {what}")
        if advice and advice not in self.advice:
            self.advice.append(advice)

    def raise_if_any(self) -> None:
        """Raises DataError that lists the faults, if there is one."""
        if not self.count:
            return
        head = f"{self.subject}: {self.count} fault{'s' if self.count > 1 else ''}"
        if self.count > len(self.shown):
            head += f", the first {len(self.shown)}"
        raise DataError("\n  ".join([head + ":", *self.shown]) + "".join(f"\n{a}" for a in self.advice))


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A clause for an error message: the nearest known names if any is near, else all of them."""
    names: Sequence[str] = sorted(known)
    near = difflib.get_close_matches(given.lower(), names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"known: {', '.join(names) or 'none'}"
