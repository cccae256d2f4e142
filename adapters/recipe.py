"""A recipe's five verbs: read the task, build the method, fit, evaluate, save and print."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from adapters import discovery, flags
from adapters.errors import UserError
from adapters.processes import is_first
from adapters.run import Run
from adapters.settings import CommonSettings, join

if TYPE_CHECKING:
    from adapters.comparison.run import Comparison
    from adapters.lab.run import Lab
    from adapters.swapping import Swap


@contextmanager
def start(
    doc: str | None, *, task: str, method: str | Sequence[str], defaults: Mapping[str, Any],
    argv: Sequence[str] | None = None,
) -> Iterator[Run]:  # fmt: skip
    """Read the settings of a recipe from its flags, and yield the run that its verbs work on.

    Args:
        doc: the recipe's docstring, shown by --help.
        task: name of the task.
        method: name of the method; or of several, among which --method chooses, the first one if it does not.
        defaults: what differs from the defaults of task and method.
        argv: the flags; None takes those of the process.
    """
    with _command():
        argv = list(sys.argv[1:] if argv is None else argv)
        plugins = flags.peek(argv, "plugin_dir")
        method, argv = (method, argv) if isinstance(method, str) else flags.choose(argv, "method", method)
        parts = [discovery.load("tasks", task, plugins), discovery.load("methods", method, plugins)]
        kind = join(CommonSettings, *(part.Settings for part in parts))
        settings = flags.parse(kind, defaults, (doc or "").strip(), argv)
        settings.check()
        yield Run(task, method, settings)


@contextmanager
def compare(
    doc: str | None, *, task: str, defaults: Mapping[str, Any], argv: Sequence[str] | None = None
) -> Iterator[Comparison]:
    """Read the settings of a comparison recipe from its flags; the arguments are those of `start`."""
    from adapters.comparison.run import Comparison

    with _command():
        yield Comparison(doc, task=task, defaults=defaults, argv=argv)


@contextmanager
def swap(
    doc: str | None, *, wanted: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any],
    argv: Sequence[str] | None = None,
) -> Iterator[Swap]:  # fmt: skip
    """Read the settings of a recipe that swaps adapters; `wanted` says of each what `swapping.Wanted` asks."""
    from adapters.swapping import Swap

    with _command():
        yield Swap(doc, wanted, defaults, list(sys.argv[1:] if argv is None else argv), start)


@contextmanager
def lab(doc: str | None, *, defaults: Mapping[str, Any], argv: Sequence[str] | None = None) -> Iterator[Lab]:
    """Read the settings of a prompt lab from its flags; `defaults` may hold, by a task's name, those of the task."""
    from adapters.lab.run import Lab

    with _command():
        yield Lab(doc, defaults=defaults, argv=argv)


@contextmanager
def _command() -> Iterator[None]:
    """What commands begin and end with: our package, SIGTERM as an exception, a user's error as exit code 2."""
    _check_package()
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except UserError as error:
        flags.main_exit(2, f"\n{error}" if is_first() else "")
    except KeyboardInterrupt:
        flags.main_exit(130, "\nInterrupted.")


def _check_package() -> None:
    """Raises ImportError where another package of this name stands over ours.

    In an editable install the other's `adapters` is imported, and what it lacks is still found here: a mixture of two.
    """
    import adapters

    if Path(str(adapters.__file__)).parent.resolve() != Path(__file__).parent.resolve():
        raise ImportError(
            f"`adapters` is {adapters.__file__}, not this project's: AdapterHub's package, most likely. "
            "Use an environment without it, or: pip uninstall adapters, then pip install -e . in the clone of taskswap."
        )


def _stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the process as an exception, so that what is half-written is removed on the way out."""
    raise SystemExit(128 + number)
