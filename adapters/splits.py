"""From settings to splits: where the data comes from, a dev split where there is none, limits, checks of the text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from adapters import tasks
from adapters.alignment import unknown_share
from adapters.data import RowSource, open_splits
from adapters.errors import DataError, ModelError
from adapters.settings import CommonSettings
from adapters.sources import Source, resolve
from adapters.tasks import Examples, Task

if TYPE_CHECKING:
    from adapters.model import Base

WARN_UNKNOWN, REFUSE_UNKNOWN = 0.05, 0.30
_SAMPLE = 1000


def dataset_source(settings: CommonSettings) -> Source | None:
    """Where the dataset that the settings name lies; None where train comes from a file. Raises SourceError."""
    named = None if settings.train_file else settings.dataset_name
    return resolve(named, "dataset") if named else None


def open_sources(settings: CommonSettings, source: Source | None = None) -> dict[str, RowSource]:
    """The splits that the settings name, not yet read. Raises SourceError, DataError.

    Args:
        settings: of the run; its files stand in for splits of the dataset.
        source: what `dataset_source` found; None looks it up.
    """
    files = {"train": settings.train_file, "validation": settings.validation_file, "test": settings.test_file}
    source = source or dataset_source(settings)
    in_folder = source is not None and source.path is not None and source.path.is_dir()
    if source is not None and source.path is not None and not in_folder:
        files["train"] = str(source.path)
    return open_splits(
        folder=source.path if source is not None and in_folder else None,
        hub_id=source.hub_id if source is not None and source.path is None else None,
        config=settings.dataset_config_name,
        revision=source.revision if source is not None else None,
        files=files,
        encoding=settings.encoding,
        reader=settings.dataset_format,
        plugin_dirs=settings.plugin_dir,
    )


def read(task_name: str, settings: Any) -> tuple[Task, dict[str, Examples], Source | None]:
    """The task with its splits: read, checked, dev cut where there is none, and limited. Raises what they raise."""
    source = dataset_source(settings)
    sources = open_sources(settings, source)
    task, splits = tasks.load(task_name, settings.plugin_dir).read(sources, settings)
    return task, with_limits(with_dev(splits, settings), settings), source


def with_dev(splits: Mapping[str, Examples], settings: CommonSettings) -> dict[str, Examples]:
    """The splits, with a dev split cut from train where there is none.

    An example goes to dev by a hash of its inputs and the seed, so equal examples stay on one side, and the cut
    does not hang on their order.
    """
    if "validation" in splits or "train" not in splits:
        return dict(splits)
    train, percent = splits["train"], settings.validation_split_percentage
    chosen: list[int] = []
    for number, example in enumerate(train):
        digest = hashlib.sha256(f"{settings.seed}/{example.digest()}".encode()).digest()
        if int.from_bytes(digest[:8], "big") % 100 < percent:
            chosen.append(number)
    rest = sorted(set(range(len(train))) - set(chosen))
    if not chosen or not rest:
        raise DataError(
            f"train has {len(train)} examples, of which {percent} % as dev leaves one side empty. "
            "Give --validation_file, or another --validation_split_percentage."
        )
    cut = f"{percent} % of train by a hash with seed {settings.seed}"
    return {
        **splits,
        "train": train.select(rest, without_dev=cut),
        "validation": train.select(chosen, "validation", cut_from_train=cut),
    }


def with_limits(splits: Mapping[str, Examples], settings: CommonSettings) -> dict[str, Examples]:
    """The splits, each with at most its `--max_…_samples` first examples."""
    limits = {
        "train": settings.max_train_samples,
        "validation": settings.max_eval_samples,
        "test": settings.max_predict_samples,
    }
    return {
        name: split
        if (limit := limits[name]) is None or len(split) <= limit
        else split.select(range(limit), limit=limit)
        for name, split in splits.items()
    }


def check_pieces(split: Examples, base: Base, *, allowed: bool, say: Callable[[str], None]) -> None:
    """Warn, or refuse, where the base's tokenizer does not know the text.

    Raises:
        ModelError: more than 30 % of the pieces of the first thousand examples are unknown, and that was not allowed.
    """
    sentences = [
        example.inputs.get("tokens") or [str(v) for v in example.inputs.values()] for example in split[:_SAMPLE]
    ]
    share, examples = unknown_share(sentences, base.pieces().parts(sentences), base.tokenizer.unk_token_id)
    if share <= WARN_UNKNOWN:
        return
    said = f"{share:.0%} of the pieces of {split.name} are unknown to {base.name}, for example in {' '.join(examples)}"
    if share > REFUSE_UNKNOWN and not allowed:
        raise ModelError(
            f"{said}: this base cannot read the text. Choose one made for its language or script (byte-level ones, "
            "such as smollm2, know every character), or add --allow_unknown."
        )
    say(f"warning: {said}")
