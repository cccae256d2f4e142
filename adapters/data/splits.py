"""Missing splits cut from train, and limits on the number of examples."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from adapters.core.errors import DataError, numbered
from adapters.core.settings import CommonSettings
from adapters.data.dataset_files import SPLITS


class Hashed(Protocol):
    """What cutting needs of an example."""

    def digest(self) -> str:
        """sha256 of its inputs."""


class Split(Protocol):
    """What cutting needs of a split; `tasks.base.example.Examples` has it."""

    def __len__(self) -> int:
        """Number of examples."""

    def __iter__(self) -> Iterator[Hashed]:
        """Examples in order."""

    def documents(self) -> list[str]:
        """The document of each example; "" where it is not known."""

    def select(self, indices: Sequence[int], name: str = "", **notes: Any) -> Self:
        """Some of the examples, under another name, with further notes for the record."""


S = TypeVar("S", bound=Split)

_DEV_SALT = "0"
"""Must stay the same over releases: scores of one dev split cannot be compared with those of another."""
MANY = 1000
"""Examples from which on each goes to a new split by its hash alone; of fewer, the share would be left to chance."""
FEWEST_DOCUMENTS = 10
"""Documents of train from which on a split is cut by whole documents; of fewer, its size would be left to chance."""


def shown(name: str) -> str:
    """A split's name in reports and records: `validation` is called dev."""
    return "dev" if name == SPLITS[1] else name


def with_test(splits: Mapping[str, S], options: Mapping[str, Any]) -> dict[str, S]:
    """The splits, with a test split cut from train where an alias has none but a percentage for it.

    The hash does not depend on the user's seed, so the test split is the same in every run. A user's own file is never
    cut in this way: without a test split, scores are named dev.
    """
    percent = options.get("test_percentage")
    if percent is None or "test" in splits or "train" not in splits:
        return dict(splits)
    train, test = _cut(splits["train"], "test", percent, salt="test", advice="Give --test_file.")
    return {**splits, "train": train, "test": test}


def with_dev(splits: Mapping[str, S], settings: CommonSettings) -> dict[str, S]:
    """The splits, with a dev split cut from train where there is none.

    A hash of its inputs decides whether an example goes to dev, so equal examples stay together, and their order does
    not matter. Where all examples know their document, whole documents go to dev by a hash of their names. It does not
    depend on the user's seed: runs that differ in it are scored on the same examples.
    """
    if "validation" in splits or "train" not in splits:
        return dict(splits)
    percent = settings.validation_split_percentage
    advice = "Give --validation_file, or another --validation_split_percentage."
    train, dev = _cut(splits["train"], "validation", percent, salt=_DEV_SALT, advice=advice)
    return {**splits, "train": train, "validation": dev}


def _cut(train: S, name: str, percent: int, *, salt: str, advice: str) -> tuple[S, S]:
    """The rest of train, and a new split with `percent` of it: the examples whose inputs, with the salt, hash low.

    Of fewer than a thousand it is that share, or a little more where equal inputs stay together; of more, about that.

    Equal inputs stay together; of known documents, examples of one. Raises DataError, which ends in `advice`, where one
    side would be empty.
    """
    word = shown(name)
    documents = train.documents()
    if "" not in documents and len(set(documents)) >= FEWEST_DOCUMENTS:
        chosen = _of_documents(documents, percent, salt)
        note = f"{percent} % of train by a hash of documents, the same for every seed"
    else:
        digests = [example.digest() for example in train]
        if len(digests) < MANY:
            chosen = _of_documents(digests, percent, salt)
        else:
            chosen = [number for number, digest in enumerate(digests) if _hash(salt, digest) % 100 < percent]
        note = f"{percent} % of train by a hash, the same for every seed"
    rest = sorted(set(range(len(train))) - set(chosen))
    if not chosen or not rest:
        raise DataError(
            f"train has {numbered(len(train), 'examples')}, of which {percent} % for {word} leaves one side empty. "
            f"{advice}"
        )
    return train.select(rest, **{f"without_{word}": note}), train.select(chosen, name, cut_from_train=note)


def _of_documents(documents: Sequence[str], percent: int, salt: str) -> list[int]:
    """The examples of the documents that hash lowest, until these are `percent` of all; one document stays in train.

    An example without a document is one of its own, named by its digest.
    """
    sizes = Counter(documents)
    chosen: set[str] = set()
    taken = 0
    for document in sorted(sizes, key=lambda name: _hash(salt, name))[:-1]:
        if 100 * taken >= percent * len(documents):
            break
        chosen.add(document)
        taken += sizes[document]
    return [number for number, document in enumerate(documents) if document in chosen]


def _hash(salt: str, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}/{text}".encode()).digest()[:8], "big")


def with_limits(splits: Mapping[str, S], settings: CommonSettings) -> dict[str, S]:
    """The splits, each with at most its `--max_…_samples` examples: the first ones, or a random sample in order.

    The sample does not depend on the user's seed.
    """
    limits = {
        "train": settings.max_train_samples,
        "validation": settings.max_eval_samples,
        "test": settings.max_predict_samples,
    }
    out = {}
    for name, split in splits.items():
        limit = limits[name]
        draw = settings.train_draw if name == "train" else None
        if draw is not None and (limit is None or limit >= len(split)):
            raise DataError(
                f"--train_draw {draw}: train has {numbered(len(split), 'examples')}, so --max_train_samples {limit} "
                "leaves nothing to draw. Give a smaller number."
            )
        if limit is None or len(split) <= limit:
            out[name] = split
        elif draw is not None:
            chosen = sorted(random.Random(f"limit/{name}/{draw}").sample(range(len(split)), limit))
            out[name] = split.select(chosen, limit=f"{limit} drawn", draw=draw)
        elif settings.sample_selection == "first":
            out[name] = split.select(range(limit), limit=limit)
        else:
            drawn = sorted(random.Random(f"limit/{name}").sample(range(len(split)), limit))
            out[name] = split.select(drawn, limit=f"{limit} drawn")
    return out
