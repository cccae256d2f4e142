"""How a command ends: an exit code and a message for everything that is not a fault of this program."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from adapters.core.errors import UserError
from adapters.core.processes import REQUESTED_VARIABLE, is_first
from adapters.core.signals import exit_on_sigterm

USER_ERROR = 2
INTERRUPTED = 128 + signal.SIGINT


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Run a command. Whatever ends it early becomes SystemExit: 2 for a UserError, 130 for Ctrl-C, 143 for SIGTERM.

    SIGTERM is raised as an exception, so that half-written files are removed on the way out. Only the first of several
    processes prints the error.
    """
    if threading.current_thread() is threading.main_thread():
        exit_on_sigterm()
    try:
        yield
    except UserError as error:
        if is_first():
            print(_with_launcher(str(error)), file=sys.stderr, flush=True)
        raise SystemExit(USER_ERROR) from None
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr, flush=True)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:  # whoever read the output has closed it (`| head`), which is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _with_launcher(message: str) -> str:
    """A message as it is printed: under `accelerate launch` apart from its report, and with how to have it alone."""
    if "ACCELERATE_MIXED_PRECISION" not in os.environ or REQUESTED_VARIABLE in os.environ:
        return message
    return (
        f"\nerror: {message}\n\n(A traceback below is accelerate launch's own, and says only that the recipe ended. "
        f"python {sys.argv[0]} … prints none, and neither does accelerate launch --quiet …)"
    )
