"""Talking to the Hugging Face Hub: within a time, from its cache where it cannot be asked, and what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

FILES = ("*.json", "*.txt", "*.model", "*.jinja", "model.safetensors", "model-*-of-*.safetensors")


def in_cache(repository: str, revision: str | None, kind: str) -> Path | None:
    """The folder in the Hub's cache of a model, or of what `load_dataset` has kept of a dataset, if there is one."""
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
    """`work()`, or TimeoutError. A client's own limit counts anew for each address, and not while DNS is asked."""
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
    """Why the Hub gave nothing, as a clause."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"the Hub asks for its terms to be accepted: open https://huggingface.co/{repository}, then `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the Hub has it, but no revision {revision!r}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the Hub does not have it, or not for you (a private one needs `hf auth login`)"
    if isinstance(error, errors.HFValidationError):
        return "it cannot be a Hub id either"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the Hub was not asked, as HF_HUB_OFFLINE is set, and its cache does not hold it"
    return f"the Hub could not be asked ({first_line(error)}), and its cache does not hold it"


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return next(iter(str(error).strip().splitlines()), "").rstrip(".") or type(error).__name__
