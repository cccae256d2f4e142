"""Errors of the Python interface in the words of a call: arguments instead of flags, rows instead of files of ours."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.core.errors import UserError

ARGUMENTS = {
    "train_file": "train",
    "validation_file": "validation",
    "test_file": "test",
    "dataset_name": "data",
    "model_name_or_path": "model",
}
"""Flags whose argument has another name."""
ROWS = "data"
"""The folder in a run's for what was given in memory, a file of JSON lines for each split."""
_GIVEN = re.compile(r"^--([a-z]\w*) (\S+?)(?=: )", re.MULTILINE)
"""A flag and its value, before what is wrong with it."""
_PLAIN = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?|nan|inf|True|False|None|'.*'", re.IGNORECASE)
"""A value that is written without quotation marks, or has them."""
_FLAG = re.compile(r"(?<!launch )--(?!help\b)([a-z]\w*)")


@contextmanager
def in_words_of_the_call(folder: Path) -> Iterator[None]:
    """Reword what is raised within the block, and remove a folder of which nothing but the given rows was written.

    Args:
        folder: of the run or comparison.
    """
    new = not folder.exists()
    try:
        yield
    except UserError as error:
        error.args = (reworded(str(error), folder), *error.args[1:])
        if isinstance(error.__cause__, UserError):  # says the same
            error.__cause__, error.__suppress_context__ = None, True
        if new and folder.is_dir() and [path.name for path in folder.iterdir()] == [ROWS]:
            shutil.rmtree(folder)
        raise


def reworded(message: str, folder: Path) -> str:
    """A message about flags and files as one about arguments and rows."""
    files = re.compile(rf"(?:^--\w+ )?{re.escape(str(folder / ROWS))}/(\w+)\.jsonl(?::(\d+))?", re.MULTILINE)
    message = files.sub(lambda found: f"{found[1]}: row {found[2]}" if found[2] else found[1], message)
    message = message.replace("there is no such flag", "there is no such setting")
    message = _GIVEN.sub(lambda found: f"{ARGUMENTS.get(found[1], found[1])}={_literal(found[2])}", message)
    return _FLAG.sub(lambda found: ARGUMENTS.get(found[1], found[1]), message)


def _literal(value: str) -> str:
    """A value as it is written in a call."""
    return value if _PLAIN.fullmatch(value) else repr(value)
