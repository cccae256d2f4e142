"""From settings to splits: where the data comes from, what an alias says of it, missing splits cut, limits, checks."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters import discovery, tasks
from adapters.alignment import unknown_share
from adapters.data import SPLITS, Row, RowSource, open_splits
from adapters.errors import DataError, Faults, ModelError
from adapters.files import digest_value
from adapters.settings import CommonSettings, join
from adapters.sources import Source, resolve
from adapters.tasks import Examples, Task

if TYPE_CHECKING:
    from adapters.model import Base

WARN_UNKNOWN, REFUSE_UNKNOWN = 0.05, 0.30
_SAMPLE = 1000
OPTIONS = {"text_column": "text_column_name", "label_column": "label_column_name", "tag_scheme": "tag_scheme"}
"""Options of an alias (sources.toml) that stand in for settings which the user did not give."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Without:
    """The rows of a source but those whose column holds one of the values: they are no examples."""

    source: RowSource
    column: str
    dropped: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the source."""
        return self.source.name

    @property
    def columns(self) -> list[str]:
        """Of the source."""
        return self.source.columns

    def digest(self) -> str:
        """sha256, in hex, of what is read and what is left out of it."""
        how = [type(self.source).__name__, getattr(self.source, "encoding", None), self.column, sorted(self.dropped)]
        return digest_value([self.source.digest(), *how])

    def rows(self, faults: Faults) -> Iterator[Row]:
        """The rows that stay, at their lines."""
        return (row for row in self.source.rows(faults) if row.values.get(self.column) not in self.dropped)


def dataset_source(settings: CommonSettings) -> Source | None:
    """Where the dataset that the settings name lies; None where train comes from a file. Raises SourceError."""
    named = None if settings.train_file else settings.dataset_name
    return resolve(named, "dataset") if named else None


def open_sources(settings: CommonSettings, source: Source | None = None) -> dict[str, RowSource]:
    """The splits that the settings name, not yet read, without the rows that an alias drops.

    Raises SourceError, DataError.

    Args:
        settings: of the run; its files stand in for splits of the dataset.
        source: what `dataset_source` found; None looks it up.
    """
    files = {"train": settings.train_file, "validation": settings.validation_file, "test": settings.test_file}
    own_files = {split for split, path in files.items() if path}
    source = source or dataset_source(settings)
    in_folder = source is not None and source.path is not None and source.path.is_dir()
    if source is not None and source.path is not None and not in_folder:
        files["train"] = str(source.path)
    found = open_splits(
        folder=source.path if source is not None and in_folder else None,
        hub_id=source.hub_id if source is not None and source.path is None else None,
        config=settings.dataset_config_name,
        revision=source.revision if source is not None else None,
        files=files,
        encoding=settings.encoding,
        reader=settings.dataset_format,
        plugin_dirs=settings.plugin_dir,
    )
    options = source.options if source is not None else {}
    dropped = tuple(options.get("drop", ()))
    if not dropped:
        return found
    column = options["label_column"]
    return {
        split: rows if split in own_files else Without(source=rows, column=column, dropped=dropped)
        for split, rows in found.items()
    }


def read(task_name: str, settings: Any) -> tuple[Task, dict[str, Examples], Source | None]:
    """The task with its splits: read, checked, missing ones cut, and limited. Raises what they raise."""
    source = dataset_source(settings)
    options = source.options if source is not None else {}
    settings = with_options(settings, options)
    sources = open_sources(settings, source)
    task, splits = tasks.load(task_name, settings.plugin_dir).read(sources, settings)
    for name, rows in sources.items():
        if isinstance(rows, Without):
            splits[name].notes["without"] = f"rows whose {rows.column} is {' or '.join(rows.dropped)}"
    return task, with_limits(with_dev(with_test(splits, options), settings), settings), source


def read_named(task_name: str, plugin_dirs: Sequence[str], **given: Any) -> tuple[Task, dict[str, Examples]]:
    """As `read`, where a task's own settings will do but for those given. Raises SettingsError too."""
    kind = join(CommonSettings, discovery.load("tasks", task_name, plugin_dirs).Settings)
    settings = kind(**given, plugin_dir=list(plugin_dirs))
    settings.check()
    task, splits, _ = read(task_name, settings)
    return task, splits


def with_options(settings: Any, options: Mapping[str, Any]) -> Any:
    """The settings, with what an alias says of its columns where the user said nothing and the task can be told."""
    there = {field.name for field in dataclasses.fields(settings)}
    told = {OPTIONS[option]: value for option, value in options.items() if OPTIONS.get(option) in there}
    return dataclasses.replace(settings, **{k: v for k, v in told.items() if getattr(settings, k) is None})


def with_test(splits: Mapping[str, Examples], options: Mapping[str, Any]) -> dict[str, Examples]:
    """The splits, with a test split cut from train where an alias has none and says how much to cut.

    The hash takes no seed of the user's, so the test split is the same in every run. A user's own file is never cut
    so: without a test split, scores are named dev.
    """
    percent = options.get("test_percentage")
    if percent is None or "test" in splits or "train" not in splits:
        return dict(splits)
    cut = f"{percent} % of train by a hash, the same for every seed"
    advice = "Give --test_file."
    train, test = _cut(splits["train"], "test", percent, salt="test", said=cut, advice=advice)
    return {**splits, "train": train, "test": test}


def with_dev(splits: Mapping[str, Examples], settings: CommonSettings) -> dict[str, Examples]:
    """The splits, with a dev split cut from train where there is none.

    An example goes to dev by a hash of its inputs and the seed, so equal examples stay on one side, and the cut
    does not hang on their order.
    """
    if "validation" in splits or "train" not in splits:
        return dict(splits)
    percent, seed = settings.validation_split_percentage, settings.seed
    cut = f"{percent} % of train by a hash with seed {seed}"
    advice = "Give --validation_file, or another --validation_split_percentage."
    train, dev = _cut(splits["train"], "validation", percent, salt=str(seed), said=cut, advice=advice)
    return {**splits, "train": train, "validation": dev}


def _cut(
    train: Examples, name: str, percent: int, *, salt: str, said: str, advice: str
) -> tuple[Examples, Examples]:  # fmt: skip
    """What stays in train, and a new split of `percent` of it: examples whose inputs, with the salt, hash low.

    Equal inputs stay on one side. Raises DataError, which ends in `advice`, where one side would be empty.
    """
    word = "dev" if name == SPLITS[1] else name
    chosen: list[int] = []
    for number, example in enumerate(train):
        digest = hashlib.sha256(f"{salt}/{example.digest()}".encode()).digest()
        if int.from_bytes(digest[:8], "big") % 100 < percent:
            chosen.append(number)
    rest = sorted(set(range(len(train))) - set(chosen))
    if not chosen or not rest:
        raise DataError(
            f"train has {len(train)} examples, of which {percent} % as {word} leaves one side empty. {advice}"
        )
    return train.select(rest, **{f"without_{word}": said}), train.select(chosen, name, cut_from_train=said)


def with_limits(splits: Mapping[str, Examples], settings: CommonSettings) -> dict[str, Examples]:
    """The splits, each with at most its `--max_…_samples` examples: the first ones, or some that are drawn.

    The draw takes no seed of the user's; drawn examples keep their order.
    """
    limits = {
        "train": settings.max_train_samples,
        "validation": settings.max_eval_samples,
        "test": settings.max_predict_samples,
    }
    out = {}
    for name, split in splits.items():
        limit = limits[name]
        if limit is None or len(split) <= limit:
            out[name] = split
        elif settings.sample_selection == "first":
            out[name] = split.select(range(limit), limit=limit)
        else:
            drawn = sorted(random.Random(f"limit/{name}").sample(range(len(split)), limit))
            out[name] = split.select(drawn, limit=f"{limit} drawn")
    return out


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
