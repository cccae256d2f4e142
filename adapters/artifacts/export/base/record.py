"""What the card of an export says."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.artifacts.merging import KEPT_FIELDS, artifact_name
from adapters.artifacts.runtime.tokenizer import SpecialTokens
from adapters.core.environment import versions
from adapters.models.base_model import Base


def move(files: Path, draft: Path) -> None:
    """Move all that was made in one folder into another."""
    for path in sorted(files.iterdir()):
        shutil.move(path, draft / path.name)


def derived(card: Mapping[str, Any], folder: Path, base: Base) -> dict[str, Any]:
    """The fields of an artifact's card that stay in that of an export, and what it was exported from."""
    source = {"name": artifact_name(folder), "digest": card["digest"]}
    kept = {name: card[name] for name in (*KEPT_FIELDS, "method") if name in card}
    return {**kept, "base": {**card["base"], "kind": base.kind}, "source": source, "versions": versions()}


def tokenizer_record(base: Base) -> dict[str, Any]:
    """What of a base's tokenizer is not in tokenizer.json."""
    return {
        "tokenizer": SpecialTokens.of(base.tokenizer).record(),
        "labelled": base.word_tokenizer.labelled,
        "pad_id": base.pad_id,
    }
