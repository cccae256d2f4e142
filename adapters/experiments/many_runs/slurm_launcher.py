"""Runs as a job array of Slurm: the script to submit, and the command of each element of the array.

An element is `python -m adapters.experiments.many_runs.slurm_launcher FOLDER RUN PROCESSES`: it skips a finished run,
and exits with the exit code of the run.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.core.errors import verb
from adapters.core.files import write_text
from adapters.core.signals import exit_on_sigterm
from adapters.experiments.many_runs.planned_run import (
    PlannedRun,
    Resources,
    Share,
    ended,
    execute_written,
    run_folder,
    write_settings,
)

SCRIPT = "runs.sbatch"
_UNSAFE = re.compile(r"[%\"\\\n]")
"""What a path in an #SBATCH line may not contain: patterns of Slurm, or an end of the quotes."""


def write_job_array(runs: Sequence[PlannedRun], folder: Path, resources: Resources) -> bool:
    """Write the job array of the unfinished runs and print how to submit it; False if all runs are finished.

    Args:
        runs: all of the experiment.
        folder: of the experiment, at the same path on every machine.
        resources: of each run.
    """
    waiting = [run for run in runs if not ended(run_folder(run, folder))]
    if not waiting:
        return False
    for run in waiting:
        write_settings(run, folder)
    path = folder / SCRIPT
    write_text(path, script([run.name for run in waiting], folder, resources))
    started = [log for run in waiting if (log := folder / "runs" / f"{run.name}.log").is_file()]
    print(
        f"{len(waiting)} of {len(runs)} runs {verb(len(waiting), 'are')} not finished; {path} runs what is left. "
        "Submit it with\n\n"
        f"    sbatch {shlex.quote(str(path))}\n\n"
        "(with sbatch's own flags before the file: --partition NAME --time 4:00:00). When the jobs have ended, run "
        f"this same command again: it prints the table. All machines must see {folder.absolute()} and the data "
        "at the same paths."
    )
    for log in started:
        print(f"started before, killed or still running: see {log}")
    return True


def script(names: Sequence[str], folder: Path, resources: Resources) -> str:
    """The script, with a line for each run; each element of the array runs one.

    Args:
        names: of the runs.
        folder: of the experiment, relative to the current folder, in which the runs start too.
        resources: of each run.
    """
    at_once = f"%{resources.at_once}" if resources.at_once else ""
    lines = [
        "#!/usr/bin/env bash",
        f"#SBATCH --job-name={re.sub(r'[^A-Za-z0-9_.-]', '_', folder.name) or 'compare'}",
        f"#SBATCH --array=0-{len(names) - 1}{at_once}",
        "#SBATCH --ntasks=1",
        f"#SBATCH --cpus-per-task={resources.cpus}",
    ]
    if resources.gpus:
        lines.append(f"#SBATCH --gres=gpu:{int(resources.gpus)}")
    output = str(folder.absolute() / "runs" / "slurm-")
    if not _UNSAFE.search(output):
        lines.append(f'#SBATCH --output="{output}%A_%a.out"')
    start = shlex.join([sys.executable, "-m", __name__, str(folder)])
    lines += [
        "",
        f"cd {shlex.quote(os.getcwd())} || exit 1",
        'case "${SLURM_ARRAY_TASK_ID:?submit this file with sbatch}" in',
    ]
    lines += [f"{n}) exec {start} {shlex.quote(name)} {resources.processes} ;;" for n, name in enumerate(names)]
    lines += ['*) echo "there is no run $SLURM_ARRAY_TASK_ID" >&2 && exit 2 ;;', "esac"]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str]) -> int:
    """Run one run; returns its exit code as a shell would."""
    exit_on_sigterm()
    folder, name, processes = argv
    code, error = execute_written(name, Path(folder), Share(int(processes)), once=processes == "1")
    if error:
        print(f"{name}: {error}", file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
