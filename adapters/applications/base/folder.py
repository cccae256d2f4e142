"""Loading an application from the folder that it was saved in: its record, its files, and its adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.core.errors import ArtifactError, UserError, cause
from adapters.core.files import read_json
from adapters.serving.bank.bank import AdapterBank


@contextmanager
def reading(folder: Path, what: str, remedy: str) -> Iterator[None]:
    """Raises ArtifactError if a file that is read within the block is missing or damaged.

    Args:
        folder: of the application.
        what: it should hold, for the message.
        remedy: what to do then.
    """
    from safetensors import SafetensorError

    try:
        yield
    except UserError:  # says what to do already
        raise
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{folder}: holds no {what} ({cause(error)}). {remedy}") from error


def record_in(path: Path) -> dict[str, Any]:
    """The record of an application, in which `base` is how its base is found. To be read within `reading`."""
    record: dict[str, Any] = read_json(path)
    return {**record, "base": str(record["base"])}


def bank_with(
    folder: Path, adapters: Mapping[str, str], bank: AdapterBank | None, *, base: str, device: str
) -> AdapterBank:
    """A bank that has the adapters of an application, pinned.

    Args:
        folder: of the application, with each adapter's run.
        adapters: names, with the digests that they had when the application was made.
        bank: that they are loaded into; None: one of their own.
        base, device: of a bank of their own.

    Raises:
        ArtifactError: an adapter is damaged, or another one than then.
        SourceError: the base cannot be found.
        BankError: the bank has other adapters of these names.
    """
    bank = AdapterBank(base, device=device) if bank is None else bank
    for name in adapters:
        bank.load(name, folder / name / "artifact", pin=True)
    changed = [name for name, digest in adapters.items() if bank.card(name)["digest"] != digest]
    if changed:
        raise ArtifactError(
            f"{folder}: {', '.join(changed)} was trained again since the rest was made of it. Give the command that "
            "made the folder once more."
        )
    return bank
