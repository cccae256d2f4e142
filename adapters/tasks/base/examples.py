"""From settings to splits: the data's source, an alias's options, and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.core import discovery
from adapters.core.errors import DataError, ModelError, SettingsError, numbered
from adapters.core.settings import CommonSettings, join
from adapters.core.sources.resolve import Source, resolve
from adapters.data.dataset_files import open_splits
from adapters.data.labels import meant
from adapters.data.row_views import FilteredRows
from adapters.data.rows import RowSource
from adapters.data.splits import with_dev, with_limits, with_test
from adapters.models.word_parts import WordParts, unknown_share
from adapters.tasks.base.example import Examples
from adapters.tasks.base.task import Task, load_task

if TYPE_CHECKING:
    from adapters.models.base_model import Base


WARN_UNKNOWN, REFUSE_UNKNOWN = 0.05, 0.30
SAMPLE = 1000
SHOWN = 20
"""Characters of a word, or of a text, in a message."""
OPTIONS = {"text_column": "text_column_name", "label_column": "label_column_name", "tag_scheme": "tag_scheme"}
"""Options of an alias (sources.toml) that replace settings which the user did not give."""


def dataset_source(settings: CommonSettings) -> Source | None:
    """The source of the dataset in the settings; None if train comes from a file. Raises SourceError."""
    named = None if settings.train_file else settings.dataset_name
    return resolve(named, "dataset") if named else None


def open_sources(settings: CommonSettings, source: Source | None = None) -> dict[str, RowSource]:
    """The splits in the settings, not yet read, without the rows that an alias drops.

    Raises SourceError, DataError.

    Args:
        settings: the run's settings; their files replace splits of the dataset.
        source: the result of `dataset_source`; None calls it.
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
        column_names=settings.column_names,
    )
    options = source.options if source is not None else {}
    dropped = tuple(options.get("drop", ()))
    if not dropped:
        return found
    column = options["label_column"]
    return {
        split: rows if split in own_files else FilteredRows(source=rows, column=column, dropped=dropped)
        for split, rows in found.items()
    }


def read_splits(
    task_name: str, settings: Any, *, scored: bool = False
) -> tuple[Task, dict[str, Examples], Source | None]:
    """The task and its splits: read, checked, missing ones cut, and limited. Raises UserError.

    Args:
        task_name: of the task.
        settings: of the data.
        scored: whether an artifact is scored on them, and nothing is learned.
    """
    source = dataset_source(settings)
    options = source.options if source is not None else {}
    settings = with_options(settings, options)
    sources = open_sources(settings, source)
    kind = load_task(task_name, settings.plugin_dir)
    task, splits = (kind.read if scored else kind.read_to_learn)(sources, settings)
    for name, rows in sources.items():
        if isinstance(rows, FilteredRows) and name in splits:
            splits[name].notes["without"] = rows.without
    return task, cut_splits(splits, settings, options), source


def cut_splits(splits: Mapping[str, Examples], settings: Any, options: Mapping[str, Any]) -> dict[str, Examples]:
    """The splits of a run, from those that were read: missing ones cut from train, then limited. Raises DataError."""
    return with_limits(with_dev(with_test(splits, options), settings), settings)


def read_named(task_name: str, plugin_dirs: Sequence[str], **given: Any) -> tuple[Task, dict[str, Examples]]:
    """As `read_splits`, with the default settings of a task except the given ones."""
    kind = join(CommonSettings, discovery.load("tasks", task_name, plugin_dirs).Settings)
    for name in given.keys() - {field.name for field in dataclasses.fields(kind)}:
        raise SettingsError(f"--{name}: the task {task_name} has no such column.")
    settings = kind(**given, plugin_dir=list(plugin_dirs))
    settings.check()
    task, splits, _ = read_splits(task_name, settings)
    return task, splits


def with_options(settings: Any, options: Mapping[str, Any]) -> Any:
    """The settings, with an alias's options where the task has the setting and the user did not give it."""
    known = {field.name for field in dataclasses.fields(settings)}
    of_alias = {OPTIONS[option]: value for option, value in options.items() if OPTIONS.get(option) in known}
    return dataclasses.replace(settings, **{k: v for k, v in of_alias.items() if getattr(settings, k) is None})


def check_labels(task: Task, split: Examples) -> None:
    """Raises DataError where a split has labels that a task does not know, whose labels are those of an artifact."""
    known, found = task.label_names(), split.label_counts()
    unknown = sorted(set(found) - set(known))
    if not unknown:
        return
    of_artifact = f"{', '.join(known[:SHOWN])}{', …' if len(known) > SHOWN else ''}"
    lines = [f"{name!r}, {numbered(found[name], 'times')}{meant(name, known)}" for name in unknown[:SHOWN]]
    lines += [f"… and {numbered(len(unknown) - SHOWN, 'others')}"] if len(unknown) > SHOWN else []
    count = numbered(len(unknown), "labels")
    head = f"{split.notes['source']} ({split.name}): {count} that the artifact does not know (it knows {of_artifact}):"
    advice = "Give data with its labels, or name their column: --label_column_name."
    raise DataError("\n  ".join([head, *lines]) + f"\n{advice}")


def check_unknown_tokens(split: Examples, base: Base, *, allowed: bool, say: Callable[[str], None]) -> None:
    """Warn, or refuse, if many of the text's tokens are unknown to the base's tokenizer.

    Raises:
        ModelError: more than 30 % of the tokens of the first thousand examples are unknown, and `allowed` is false.
    """
    sentences = [
        example.inputs.get("tokens") or [str(v) for v in example.inputs.values()] for example in split[:SAMPLE]
    ]
    parts = WordParts(base.word_tokenizer).of_words(sentences)
    share, examples = unknown_share(sentences, parts, base.tokenizer.unk_token_id)
    if share <= WARN_UNKNOWN:
        return
    shown = ", ".join(repr(word if len(word) <= SHOWN else f"{word[:SHOWN]}…") for word in examples)
    message = f"{share:.0%} of the tokens of {split.name} are unknown to {base.name}, for example in {shown}"
    if share > REFUSE_UNKNOWN and not allowed:
        raise ModelError(
            f"{message}: this base cannot read the text. Choose one made for its language or script (e5 reads a "
            "hundred languages; byte-level ones, such as smollm2, can read every character), or add "
            "--allow_unknown_tokens."
        )
    say(f"warning: {message}")
