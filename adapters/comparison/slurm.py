"""Cells as a job array of Slurm: the script that is submitted, and what each element of the array runs.

`python -m adapters.comparison.slurm FOLDER CELL PROCESSES` is an element: it skips a cell that is finished, and ends
with the exit code of the cell's run.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from adapters.comparison.cells import Cell, Share, finished, own_folder, run_written, write_settings
from adapters.files import write_text

SCRIPT = "cells.sbatch"
_UNSAFE = re.compile(r"[%\"\\\n]")
"""What a path in an #SBATCH line may not hold: a pattern of Slurm's, or what ends the line's quotes."""


def hand_over(cells: Sequence[Cell], folder: Path, share: Share) -> bool:
    """Write the job array of the cells that are not finished, and say what to do with it; False if all are finished.

    Args:
        cells: all of the comparison.
        folder: of the comparison, which every machine sees under the same path.
        share: of the machines, for each cell.
    """
    waiting = [cell for cell in cells if not finished(own_folder(cell, folder))]
    if not waiting:
        return False
    for cell in waiting:
        write_settings(cell, folder)
    path = folder / SCRIPT
    write_text(path, script([cell.name for cell in waiting], folder, share))
    begun = [log for cell in waiting if (log := folder / "cells" / f"{cell.name}.log").is_file()]
    print(f"{len(waiting)} of {len(cells)} cells are not finished; {path} runs each of them. Submit it by\n\n"
          f"    sbatch {shlex.quote(str(path))}\n\n"
          "(sbatch's own flags stand before the file: --partition NAME --time 4:00:00). When the jobs have ended, run "
          f"this same command again: it prints the table. All machines must see {folder.absolute()} and the data, "
          "under the same paths.")  # fmt: skip
    for log in begun:
        print(f"begun before, failed or still running: see {log}")
    return True


def script(names: Sequence[str], folder: Path, share: Share) -> str:
    """The script: a line for each cell, of which an element of the array runs its own.

    Args:
        names: of the cells.
        folder: of the comparison, from the current folder, where the cells are run too.
        share: of the machines, for each cell.
    """
    at_once = f"%{share.at_once}" if share.at_once else ""
    lines = [
        "#!/usr/bin/env bash",
        f"#SBATCH --job-name={re.sub(r'[^A-Za-z0-9_.-]', '_', folder.name) or 'compare'}",
        f"#SBATCH --array=0-{len(names) - 1}{at_once}",
        "#SBATCH --ntasks=1",
        f"#SBATCH --cpus-per-task={share.cpus}",
    ]
    if share.gpus:
        lines.append(f"#SBATCH --gres=gpu:{int(share.gpus)}")
    output = str(folder.absolute() / "cells" / "slurm-")
    if not _UNSAFE.search(output):
        lines.append(f'#SBATCH --output="{output}%A_%a.out"')
    start = shlex.join([sys.executable, "-m", __name__, str(folder)])
    lines += ["", f"cd {shlex.quote(os.getcwd())} || exit 1", 'case "${SLURM_ARRAY_TASK_ID:?submit me by sbatch}" in']
    lines += [f"{n}) exec {start} {shlex.quote(name)} {share.processes} ;;" for n, name in enumerate(names)]
    lines += ['*) echo "there is no cell $SLURM_ARRAY_TASK_ID" >&2 && exit 2 ;;', "esac"]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str]) -> int:
    """Run one cell; its exit code, as a shell has it."""
    signal.signal(signal.SIGTERM, _stop)
    folder, name, processes = argv
    code, error = run_written(name, Path(folder), int(processes))
    if error:
        print(f"{name}: {error}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def _stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends this process as an exception, on whose way out the cell's is ended."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
