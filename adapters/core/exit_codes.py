"""How a command ends: an exit code and a message for everything that is not a fault of this program."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from adapters.core.errors import UserError
from adapters.core.launcher import REQUESTED_VARIABLE, by_accelerate
from adapters.core.processes import is_first, leave_group
from adapters.core.signals import exit_on_sigterm

USER_ERROR = 2
INTERRUPTED = 128 + signal.SIGINT
PATIENCE = 2.0
"""Seconds after which a launcher has ended the other processes of one that refused."""


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Run a command. Whatever ends it early becomes SystemExit: 2 for a UserError, 130 for Ctrl-C, 143 for SIGTERM.

    SIGTERM is raised as an exception, so that half-written files are removed on the way out. Of several processes that
    refuse, only the first prints why; where it goes on, the others do.
    """
    if threading.current_thread() is threading.main_thread():
        exit_on_sigterm()
    try:
        yield
    except UserError as error:
        if is_first():
            print(_with_launcher(str(error)), file=sys.stderr, flush=True)
        else:  # where the first process refuses, too, its launcher ends this one meanwhile
            time.sleep(PATIENCE)
            print(f"process {os.environ['RANK']}: {error}", file=sys.stderr, flush=True)
        leave_group()
        raise SystemExit(USER_ERROR) from None
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr, flush=True)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:  # whoever read the output has closed it (`| head`), which is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _with_launcher(message: str) -> str:
    """A message as it is printed: under `accelerate launch` apart from its report, and with how to have it alone."""
    if not by_accelerate() or REQUESTED_VARIABLE in os.environ:
        return message
    return (
        f"\nerror: {message}\n\n(A traceback below is accelerate launch's own, and says only that the recipe ended. "
        f"python {sys.argv[0]} … prints none, and neither does accelerate launch --quiet …)"
    )
