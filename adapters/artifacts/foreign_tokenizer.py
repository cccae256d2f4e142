"""The tokenizer that a plain PEFT folder brings, as Trainer saves it: it must read texts as the base's does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core.errors import ArtifactError
from adapters.core.files import read_json
from adapters.methods.base.delta import PEFT_NAMES

if TYPE_CHECKING:
    import torch

    from adapters.models.base_model import Base

FAST = "tokenizer.json"
READING = ("normalizer", "pre_tokenizer", "model", "added_tokens", "post_processor")
"""The parts of tokenizer.json that say which tokens a text becomes; others say how batches are cut and filled up."""
SLOW = ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
"""Files of tokenizers without a tokenizer.json."""
EMBEDDINGS = tuple(
    f"{name}.weight"
    for name in ("word_embeddings", "embed_tokens", "tok_embeddings", "wte", "embed_in", "lm_head", "embed_out")
)
"""Ends of the names of the matrices with one row for each token, by architecture."""
_ADVICE = "Use the base with the tokenizer that the adapter was trained with, or remove the file if it was not used."


def check(folder: Path, base: Base) -> list[str]:
    """What of a folder's tokenizer is not used, in words.

    Raises ArtifactError that names the first difference, if it makes other tokens of a text than the base's.
    """
    path, own = folder / FAST, base.folder / FAST
    if path.is_file():
        if own.is_file() and own.read_bytes() == path.read_bytes():
            return []
        found, differences = _parts(path), []
        for parts in _own(base):
            if parts == found:
                return []
            differences.append(next(_differences(found, parts)))
        if base.word_tokenizer.leading and found == _for_words(base):
            return ["its tokenizer's blank before the first word of a text: texts are read by that of the base"]
        raise ArtifactError(f"{path}: differs from the tokenizer of {base.name}: {differences[0]}. {_ADVICE}")
    for name in SLOW:
        path = folder / name
        if path.is_file() and not _same(path, base):
            raise ArtifactError(f"{path}: differs from the tokenizer of {base.name}. {_ADVICE}")
    return []


def check_vocabulary(tensors: Mapping[str, torch.Tensor], base: Base, folder: Path) -> None:
    """Raises ArtifactError if the embeddings that a folder stores are of another number of tokens than the base's."""
    size = int(base.config.get_text_config().vocab_size)
    for name, tensor in tensors.items():
        if name.replace(".base_layer.", ".").endswith(EMBEDDINGS) and tensor.dim() == 2 and len(tensor) != size:
            raise ArtifactError(
                f"{folder}: {PEFT_NAMES.sub('', name)}: the adapter was trained with a vocabulary of {len(tensor)} "
                f"tokens, {base.name} has {size}. Use the base with the vocabulary that it was resized to."
            )


def _own(base: Base) -> Iterator[dict[str, Any]]:
    """What the base's tokenizer may look like in a folder: as in the base's own file, and as it is loaded."""
    from transformers import AutoTokenizer

    from adapters.models.base_model import NO_CODE

    own = base.folder / FAST
    if own.is_file():
        yield _parts(own)
    yield _parts_of(AutoTokenizer.from_pretrained(base.folder, **NO_CODE).backend_tokenizer)


def _for_words(base: Base) -> dict[str, Any]:
    """The base's tokenizer as transformers' scripts load it for words given one by one."""
    from transformers import AutoTokenizer

    from adapters.models.base_model import NO_CODE

    return _parts_of(AutoTokenizer.from_pretrained(base.folder, add_prefix_space=True, **NO_CODE).backend_tokenizer)


def _parts(path: Path) -> dict[str, Any]:
    """The parts of a tokenizer.json that say which tokens a text becomes. Raises ArtifactError if it is damaged."""
    from tokenizers import Tokenizer

    try:
        return _parts_of(Tokenizer.from_file(str(path)))
    except BaseException as error:  # tokenizers raises no class of its own, and a panic is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise ArtifactError(f"{path}: damaged, not a tokenizer ({error}). {_ADVICE}") from error


def _parts_of(tokenizer: Any) -> dict[str, Any]:
    """The same of a tokenizer that has been read."""
    whole = json.loads(tokenizer.to_str())
    return {name: whole.get(name) for name in READING}


def _differences(found: Any, own: Any, where: str = "") -> Iterator[str]:
    """Where two values of JSON differ, in words."""
    if isinstance(found, dict) and isinstance(own, dict):
        for name in sorted(found.keys() | own.keys()):
            yield from _differences(found.get(name), own.get(name), f"{where}.{name}" if where else name)
    elif isinstance(found, list) and isinstance(own, list) and len(found) == len(own):
        for number, (one, other) in enumerate(zip(found, own, strict=True)):
            yield from _differences(one, other, f"{where}[{number}]")
    elif isinstance(found, list) and isinstance(own, list):
        only = [one for one in (*found, *own) if (one in found) != (one in own)]
        yield f"{where}: expected {len(own)} entries, found {len(found)}, of which one has only {only[:1]!r:.200}"
    elif found != own:
        yield f"{where}: expected {own!r:.80}, found {found!r:.80}"


def _same(path: Path, base: Base) -> bool:
    """Whether a file of a slow tokenizer is the base's, or says the same as its vocabulary."""
    own = base.folder / path.name
    if own.is_file() and own.read_bytes() == path.read_bytes():
        return True
    vocabulary: dict[str, int] = base.tokenizer.get_vocab()
    try:
        if path.name == "vocab.txt":
            lines = path.read_text(encoding="utf-8").split("\n")
            return {token: number for number, token in enumerate(lines[:-1])}.items() <= vocabulary.items()
        if path.name == "vocab.json":
            return dict(read_json(path)).items() <= vocabulary.items()
    except (ValueError, AttributeError, TypeError):
        return False
    return not own.is_file()
