"""Access to the Hugging Face Hub: with a timeout, its cache as a fallback, and error messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

FILES = ("*.json", "*.txt", "*.model", "*.jinja", "model.safetensors", "model-*-of-*.safetensors")


def in_cache(repository: str, revision: str | None, kind: str) -> Path | None:
    """The folder of a model in the Hub's cache, or of a dataset cached by `load_dataset`; None if there is none."""
    import huggingface_hub

    if kind == "dataset":
        folder = Path(huggingface_hub.constants.HF_HUB_CACHE, f"datasets--{repository.replace('/', '--')}")
        return folder if folder.is_dir() else None
    try:
        local = huggingface_hub.snapshot_download(
            repository,
            revision=revision,
            local_files_only=True,
            allow_patterns=list(FILES),
            ignore_patterns=["*/*"],
        )
    except Exception:
        return None
    return Path(local)


def within(seconds: float, work: Callable[[], T]) -> T:
    """`work()`, or TimeoutError. The client's own timeout restarts for each address and excludes DNS."""
    done: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    return done[0]


def fault(error: Exception, repository: str, revision: str | None) -> str:
    """The reason for an error of the Hub, as a clause."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"its terms must be accepted: open https://huggingface.co/{repository}, then run `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the Hub has it, but not the revision {revision!r}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the Hub does not have it, or it is private (which needs `hf auth login`)"
    if isinstance(error, errors.HFValidationError):
        return "it is not a valid Hub id either"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and the Hub's cache does not contain it"
    return f"the Hub could not be reached ({first_line(error)}), and its cache does not contain it"


def first_line(error: Exception) -> str:
    """The first line of an error message."""
    return next(iter(str(error).strip().splitlines()), "").rstrip(".") or type(error).__name__
