"""Show what a run would read of some data, before any model is loaded."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adapters.core import arguments, discovery, flags
from adapters.core.arguments import POSITIONAL, UNUSED
from adapters.core.errors import DataError, UserError, numbered
from adapters.core.settings import CommonSettings, DataSettings, join, require

if TYPE_CHECKING:
    from adapters.data.rows import RowSource
    from adapters.tasks.base.example import Examples
    from adapters.tasks.base.task import Task

HELP = "show what a run would read of a file, a folder or a dataset, and what is wrong with it"
GROUP = "Look inside"
DESCRIPTION = """Show what a run would read of some data: format, columns, examples, labels, lengths, and faults.

taskswap data train.csv --task classification
taskswap data my_folder --task ner --model_name_or_path minilm    # lengths in tokens, too

Ends with exit code 2 where a run would refuse the data. (That no dev split can be cut from a small file is a note.)"""

_CLAUSE = re.compile(r"\s\(|\.?\n|[.,;] ")
"""What ends the first clause of a message."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is shown."""

    data: Annotated[str, POSITIONAL]
    """File, folder, Hub id or alias. A file is read as the training split; name others with --validation_file and
    --test_file."""
    task: str | None = None
    """Task that is to read it. Default: of the tasks that can, the one that leaves the fewest columns unread."""
    json: bool = False
    """Print one JSON object instead."""
    examples: int = 3
    """Number of examples to show."""
    model_name_or_path: str | None = None
    """Base model whose tokenizer counts tokens, and whose unknown tokens are counted. Default: words only."""
    dataset_name: Annotated[str | None, UNUSED] = None


def settings() -> type:
    """The class of all flags, whatever the task."""
    return _settings(discovery.names("tasks"))


def _settings(tasks: Sequence[str], plugins: Sequence[str] = ()) -> type:
    joined: type = join(DataSettings, *(discovery.load("tasks", name, plugins).Settings for name in tasks), Settings)
    return joined


def run(argv: Sequence[str]) -> int:
    """Run `taskswap data`."""
    plugins = flags.peek([*argv, "--"], "plugin_dir")
    known = discovery.names("tasks", plugins)
    given: Any = arguments.parse(_settings(known, plugins), {}, DESCRIPTION, argv, program="taskswap data")
    require(given.examples >= 0, "examples", given.examples, "0 or more")
    given.check()
    if given.task is not None:
        discovery.load("tasks", given.task, plugins)
    named = {"train_file": given.data} if Path(given.data).is_file() else {"dataset_name": given.data}
    given = dataclasses.replace(given, **named)
    try:
        found = _read(given, [given.task] if given.task else known)
    except UserError as error:
        found = _Read(None, {}, error)
    record = _record(found, given)
    if given.json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        _show(record, found)
    return 2 if record["faults"] else 0


@dataclass(frozen=True)
class _Read:
    """What could be read."""

    task: Task | None
    splits: Mapping[str, Examples]
    """Those that could be read, in order."""
    error: UserError | None
    """Why a run would refuse the data."""
    notes: tuple[str, ...] = ()

    @property
    def unread(self) -> int:
        """The number of columns without a role."""
        return sum(len(split.notes["reading"]["unused"]) for split in self.splits.values())


def _read(given: Any, tasks: Sequence[str]) -> _Read:
    """The splits, read by a task; of several tasks by the one that leaves the fewest columns unread.

    Raises UserError where the data cannot be opened, or no task can read them.
    """
    from adapters.tasks.base import examples

    source = examples.dataset_source(given)
    options = source.options if source is not None else {}
    given = examples.with_options(given, options)
    sources = examples.open_sources(given, source)
    found = {name: _by_task(name, sources, given) for name in tasks}
    complete = {name: one for name, one in found.items() if one.error is None}
    if len(tasks) > 1 and not complete:
        raise _no_task(given.data, {name: one.error for name, one in found.items() if one.error is not None})
    chosen = min(complete or found, key=lambda name: (found[name].unread, name))
    one = found[chosen]
    notes = []
    if len(complete) > 1:
        others = ", ".join(name for name in complete if name != chosen)
        notes.append(f"read as {chosen}, which leaves the fewest columns unread; {others} could read it, too (--task)")
    if one.error is None:
        try:
            cut = examples.cut_splits(one.splits, given, options)
            notes += [
                f"no {name} split: a run cuts {split.notes['cut_from_train']} ({numbered(len(split), 'examples')})"
                for name, split in cut.items()
                if "cut_from_train" in split.notes
            ]
        except DataError as error:
            notes.append(f"no dev split, and none can be cut: {error}")
    return dataclasses.replace(one, notes=tuple(notes))


def _no_task(data: str, reasons: Mapping[str, UserError]) -> DataError:
    """The error where no task can read data: the whole one of the task that finds its columns, where there is one, with
    the fewest faults; else the beginning of each."""
    faulty = {
        name: error.faults.count
        for name, error in reasons.items()
        if isinstance(error, DataError) and error.faults is not None
    }
    if faulty:
        nearest = min(faulty, key=lambda name: (faulty[name], name))
        others = ", ".join(name for name in reasons if name != nearest)
        return DataError(
            f"{data}: no task can read it. Nearest is --task {nearest}:\n{reasons[nearest]}\n"
            f"What another one lacks is said with --task and its name: {others}"
        )
    told = [f"{name}: {_CLAUSE.split(str(error).removeprefix(f'{data}: '))[0]}" for name, error in reasons.items()]
    return DataError(
        "\n  ".join([f"{data}: no task can read it. Name yours with --task, for the whole reason:", *told])
    )


def _by_task(name: str, sources: Mapping[str, RowSource], given: Any) -> _Read:
    """The splits that a task can read; each by itself where they cannot be read together."""
    from adapters.tasks.base.task import load_task

    kind = load_task(name, given.plugin_dir)
    try:
        return _Read(*kind.read_to_learn(sources, given), None)
    except UserError as error:
        task: Task | None = None
        splits: dict[str, Examples] = {}
        for split, rows in sources.items() if len(sources) > 1 else ():
            try:
                task, alone = kind.read_to_learn({split: rows}, given)
                splits |= alone
            except UserError:
                continue
        return _Read(task, splits, error)


def _record(found: _Read, given: Any) -> dict[str, Any]:
    """The description as JSON."""
    from adapters.evaluation.report import data_report

    record: dict[str, Any] = {
        "task": given.task,
        **{
            "format": None,
            "columns": {},
            "unused": [],
            "splits": {},
            "documents": {},
            "labels": {},
            "first": [],
            "notes": [],
        },
    }
    if found.task is not None and found.splits:
        defaults = join(CommonSettings, discovery.load("tasks", found.task.name, given.plugin_dir).Settings)
        count, unknown = _tokens(given, found)
        record = data_report.describe(
            found.task,
            found.splits,
            count_tokens=count,
            longest=defaults.max_length,
            first=given.examples,
        )
        record["notes"] += unknown
    record["notes"] += found.notes
    faults = [] if found.error is None else [line.strip() for line in str(found.error).splitlines() if line.strip()]
    return {**record, "faults": faults}


def _tokens(given: Any, found: _Read) -> tuple[Any, list[str]]:
    """What counts tokens, and how many are unknown; None without a base model."""
    if given.model_name_or_path is None:
        return None, []
    from adapters.models.base_model import open_base, quiet_libraries
    from adapters.tasks.base.examples import check_unknown_tokens

    quiet_libraries()
    base = open_base(given.model_name_or_path)
    said: list[str] = []
    for split in found.splits.values():
        check_unknown_tokens(split, base, allowed=True, say=said.append)

    def count(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in base.word_tokenizer.encode_data(list(texts)).input_ids]

    return count, [line.removeprefix("warning: ") for line in said]


def _show(record: Mapping[str, Any], found: _Read) -> None:
    """Print the description for people."""
    from adapters.evaluation.report import data_report, run_report

    if found.task is not None and found.splits:
        run_report.show(data_report.report(record, found.splits, found.task))
    else:
        for note in record["notes"]:
            print(f"note: {note}")
    if record["faults"]:
        print("\na run would refuse this data:")
        print(str(found.error))
