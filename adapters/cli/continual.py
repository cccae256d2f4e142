"""Learn task after task without forgetting: strategies compared on a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapters.core import arguments, flags, settings_files

HELP = "learn task after task without forgetting: strategies compared on a sequence"
GROUP = "Train and compare"
DESCRIPTION = """Learn a sequence of tasks, one after the other, by one or more strategies against forgetting.

taskswap continual --tasks trec.toml agnews.toml --strategies sequential replay adapter_per_task

Each .toml has the settings of one data set (task, train_file, …; paths from its folder) and names its task.
taskswap continual sequence.toml: the flags as a file.

taskswap continual --add new_task.toml RUN: one more task on a finished run (OUTPUT_DIR/runs/NAME), published only if
no earlier task loses more than --max_drop points of its dev score.

taskswap continual --rollback RUN: back to the version before."""


def settings() -> type:
    """The class of all flags."""
    from adapters.cli.train import settings as train_settings
    from adapters.core import discovery
    from adapters.core.settings import join
    from adapters.experiments.continual.settings import ContinualSettings

    strategies = [discovery.load("strategies", name).Settings for name in discovery.names("strategies")]
    joined: type = join(train_settings(), *strategies, ContinualSettings)
    return joined


def run(argv: Sequence[str]) -> int:
    """Run `taskswap continual`."""
    if settings_files.is_file(argv) and "strategy" in flags.read_file(Path(argv[0])):
        return _run_one(Path(argv[0]))
    if flags.is_about_a_folder(argv, {"add", "rollback"}):
        from adapters.experiments.continual.update import UpdateSettings, update

        return update(arguments.parse(UpdateSettings, {}, DESCRIPTION, argv, program="taskswap continual"))
    from adapters.recipe import continual

    with continual(DESCRIPTION, task="", defaults={"output_dir": "runs/continual"}, argv=argv) as sequence:
        sequence.check()
        sequence.run_all()
        sequence.save_and_print()
    return 0


def _run_one(path: Path) -> int:
    """One run of a comparison of strategies, from the settings that it wrote."""
    from adapters.experiments.continual.record import finish
    from adapters.experiments.continual.sequence_run import SequenceRun
    from adapters.experiments.continual.settings import run_settings

    given = flags.read_file(path)
    task, method, strategy = (str(given[name]) for name in ("task", "method", "strategy"))
    kind = run_settings(task, method, strategy, given["plugin_dir"])
    names = set(kind.__dataclass_fields__)
    one = SequenceRun(task, method, strategy, kind(**{k: v for k, v in given.items() if k in names}))
    one.read(given["given"])
    one.learn_all()
    finish(one)
    return 0
