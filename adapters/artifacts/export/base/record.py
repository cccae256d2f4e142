"""What the card of an export says."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.artifacts.merging import KEPT_FIELDS, artifact_name
from adapters.artifacts.model_card import Sample
from adapters.artifacts.runtime.tokenizer import SpecialTokens
from adapters.core.environment import versions
from adapters.models.base_model import Base
from adapters.tasks.base.task import Task


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


def write_tokenizer(base: Base, path: Path) -> None:
    """Write tokenizer.json, which cuts and pads nothing: a tokenizer keeps how the last texts were cut."""
    _tokenizer(base).save(str(path))


def sample_of(task: Task, base: Base, budget: int, *, types: bool) -> Sample:
    """A request of a task, and what a graph is given for it.

    Args:
        task: answers the request.
        base: of the model.
        budget: the most tokens of a row.
        types: whether the graph takes token types.
    """
    request = task.sample_request()
    example = task.from_request({"text": request} if isinstance(request, str) else request, "")
    (row, *_) = task.encode([example], base.word_tokenizer, budget)
    texts = [*task.explained_texts(example).values()]
    ids, kinds = [*row.input_ids], [*row.token_types] or [0] * len(row.input_ids)
    found = _tokenizer(base).encode(*texts) if 1 <= len(texts) <= 2 else None
    same = found is not None and found.ids == ids and (not types or found.type_ids == kinds)
    return Sample(request=request, texts=texts if same else [], ids=ids, types=kinds)


def _tokenizer(base: Base) -> Any:
    """The base's tokenizer as the library tokenizers has it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(base.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
