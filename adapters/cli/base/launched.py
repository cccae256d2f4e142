"""A launcher of processes whose own report is left out where the recipe has said why it ended.

python -m adapters.cli.base.launched torch.distributed.run --nproc_per_node=2 recipes/lora_ner.py
"""

from __future__ import annotations

import logging
import runpy
import subprocess
import sys

from adapters.core.exit_codes import USER_ERROR

_REPORTING = "torch.distributed.elastic.multiprocessing.api"
"""The logger of torchrun's line about each process that failed."""


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line says what neither a recipe's own message nor torchrun's report says."""
    args = record.args if isinstance(record.args, tuple) else ()
    return args[:1] != (USER_ERROR,) and "closing signal" not in record.msg


def main(module: str, *words: str) -> None:
    """Run a module with its arguments; ends with code 2, and no report, where a process did: it has printed why.

    Raises: whatever else the module raises, as a process that died without a word is to be reported.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger(_REPORTING).addFilter(_is_news)
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except ChildFailedError as error:
        # One that refused has said why, and another may have been aborted by its leaving.
        if all(failure.exitcode != USER_ERROR for failure in error.failures.values()):
            raise
    except subprocess.CalledProcessError as error:  # Accelerate's, of a single process
        if error.returncode != USER_ERROR:
            raise
    else:
        return
    raise SystemExit(USER_ERROR)


if __name__ == "__main__":
    main(*sys.argv[1:])
