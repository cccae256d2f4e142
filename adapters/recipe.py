"""A recipe's five verbs: read the task, build the method, fit, evaluate, save and print."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core import flags
from adapters.core.exit_codes import exit_codes
from adapters.core.garbage import look_seldom
from adapters.experiments.run import DryRunEnded, Run, open_run

if TYPE_CHECKING:
    from adapters.experiments.comparison.comparison import Comparison
    from adapters.experiments.continual.continual import Continual
    from adapters.experiments.prompt_lab.lab import Lab
    from adapters.experiments.swap import Swap


@contextmanager
def start(
    doc: str | None,
    *,
    task: str,
    method: str | Sequence[str],
    defaults: Mapping[str, Any],
    argv: Sequence[str] | None = None,
) -> Iterator[Run]:
    """Read the settings of a recipe from its flags, and yield the run that its verbs work on.

    Args:
        doc: the recipe's docstring, shown by --help.
        task: name of the task.
        method: name of the method; or of several, among which --method chooses, the first one if it does not.
        defaults: what differs from the defaults of task and method.
        argv: the flags; None takes those of the process.
    """
    with command():
        argv = list(sys.argv[1:] if argv is None else argv)
        if not isinstance(method, str):
            method, argv = flags.choose(argv, "method", method)
        yield open_run(task, method, defaults, argv, (doc or "").strip())


@contextmanager
def compare(
    doc: str | None, *, task: str, defaults: Mapping[str, Any], argv: Sequence[str] | None = None
) -> Iterator[Comparison]:
    """Read the settings of a comparison recipe from its flags; the arguments are those of `start`."""
    from adapters.experiments.comparison.comparison import Comparison

    with command():
        comparison = Comparison(doc, task=task, defaults=defaults, argv=argv)
        yield comparison
        if any(outcome.error for outcome in comparison.outcomes):
            raise SystemExit(1)


@contextmanager
def continual(
    doc: str | None, *, task: str, defaults: Mapping[str, Any], argv: Sequence[str] | None = None
) -> Iterator[Continual]:
    """Read the settings of a recipe that learns task after task from its flags; the arguments are those of `start`."""
    from adapters.experiments.continual.continual import Continual

    with command():
        sequence = Continual(doc, task=task, defaults=defaults, argv=argv)
        yield sequence
        if any(outcome.error for outcome in sequence.outcomes):
            raise SystemExit(1)


@contextmanager
def swap(
    doc: str | None,
    *,
    wanted: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, Any],
    argv: Sequence[str] | None = None,
) -> Iterator[Swap]:
    """Read the settings of a recipe that swaps adapters; `wanted` has the fields of `WantedAdapter` by name."""
    from adapters.experiments.swap import Swap

    with command():
        yield Swap(doc, wanted, defaults, list(sys.argv[1:] if argv is None else argv), start)


@contextmanager
def lab(doc: str | None, *, defaults: Mapping[str, Any], argv: Sequence[str] | None = None) -> Iterator[Lab]:
    """Read the settings of a prompt lab from its flags; `defaults` may hold, by a task's name, those of the task."""
    from adapters.experiments.prompt_lab.lab import Lab

    with command():
        yield Lab(doc, defaults=defaults, argv=argv)


@contextmanager
def command() -> Iterator[None]:
    """Check that the package is ours, and turn what ends the command early into its exit code."""
    _check_package()
    look_seldom()
    with exit_codes():
        try:
            yield
        except DryRunEnded:
            raise SystemExit(0) from None


def _check_package() -> None:
    """Raises ImportError where another package of this name hides ours.

    In an editable install the other's `adapters` is imported, and what it lacks is still found here: a mixture of two.
    """
    import adapters

    if Path(str(adapters.__file__)).parent.resolve() != Path(__file__).parent.resolve():
        raise ImportError(
            f"`adapters` is {adapters.__file__}, not this project's: AdapterHub's package, most likely. "
            "Use an environment without it, or: pip uninstall adapters, then pip install -e . in the clone of taskswap."
        )
