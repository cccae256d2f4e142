"""A comparison from settings: checked at once, its cells handed to a launcher, its rows filling as they end."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters import discovery, flags, methods, metrics
from adapters.comparison import launchers, output, results
from adapters.comparison.cells import Cell, Outcome, Share, read_json
from adapters.errors import ComparisonError, DataError, SettingsError
from adapters.files import digest_value, write_json
from adapters.processes import is_first
from adapters.settings import INCIDENTAL, CommonSettings, join, require

LIMITS = ("max_train_samples", "max_eval_samples", "max_predict_samples")
PLACES = frozenset({"launcher", "cell_cpus", "cell_gpus", "cells_at_once"})
"""Settings that say where cells run."""
GROWING = frozenset({"methods", "seeds", "train_sizes", "also_on_prompt_base", *PLACES, *INCIDENTAL})
"""Settings that may change when a comparison is taken up again: its finished cells stay good."""


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is compared."""

    methods: list[str] = field(default_factory=lambda: ["full", "head", "lora", "prefix", "zero_shot", "few_shot"])
    """Methods to compare."""
    seeds: int = 3
    """Seeds of each method: 0, 1, …; a method that draws nothing runs once."""
    prompt_model_name_or_path: str | None = None
    """Base of the methods that only prompt. Default: --model_name_or_path."""
    also_on_prompt_base: list[str] = field(default_factory=list)
    """Trained methods to run on the prompted base too (one seed), so that method and base can be told apart."""
    train_sizes: list[str] = field(default_factory=list)
    """Numbers of training examples to train with, or all: 50,200,1000,all."""
    full: bool = False
    """All examples, instead of the subsets that the recipe takes by default."""
    forbid_overlap: bool = False
    """Refuse a test split of which an example stands in train."""
    num_processes: int = 1
    """Processes of each cell."""
    launcher: str = "local"
    """Who runs the cells: local (this machine, one after the other), ray (tasks on the cluster of RAY_ADDRESS, or on
    this machine's cores), or slurm (a job array: writes --output_dir/cells.sbatch and says how to submit it; the same
    command prints the table when its jobs have ended). For ray and slurm all machines share one file system."""
    cell_cpus: int = 1
    """Cores of each cell, by ray or slurm."""
    cell_gpus: float | None = None
    """GPUs of each cell, by ray (0.5: two cells share one) or slurm. Default: by ray one a process where the cluster
    has any; by slurm none."""
    cells_at_once: int | None = None
    """Cells that run at the same time, by slurm. Default: as many as it has room for."""


class Comparison:
    """One comparison: `check`, `run_cells`, `save_and_print`."""

    def __init__(
        self, doc: str | None, *, task: str, defaults: Mapping[str, Any], argv: Sequence[str] | None = None
    ) -> None:  # fmt: skip
        """Read the settings. Raises SettingsError.

        Args:
            doc: the recipe's docstring, shown by --help.
            task: name of the task.
            defaults: what differs from the defaults of task, methods and comparison.
            argv: the flags; None takes those of the process.
        """
        self.task_name, self.argv = task, list(sys.argv[1:] if argv is None else argv)
        self.given = flags.given(self.argv)
        self.plugins = flags.peek(self.argv, "plugin_dir")
        self.task_settings = discovery.load("tasks", task, self.plugins).Settings
        every = [discovery.load("methods", name, self.plugins).Settings
                 for name in discovery.names("methods", self.plugins)]  # fmt: skip
        kind = join(CommonSettings, self.task_settings, *every, CompareSettings)
        self.settings = flags.parse(kind, defaults, (doc or "").strip(), self.argv)
        self.defaults = {k: v for k, v in defaults.items() if not (self.settings.full and k in LIMITS)}
        self.folder = Path(self.settings.output_dir)
        self.share = Share(processes=self.settings.num_processes, cpus=self.settings.cell_cpus,
                           gpus=self.settings.cell_gpus, at_once=self.settings.cells_at_once)  # fmt: skip
        self.outcomes: list[Outcome] = []
        self.main_process = is_first()

    def check(self) -> None:
        """Refuse what cannot work before anything is trained. Raises UserError."""
        from adapters import splits
        from adapters.evaluation import overlap
        from adapters.model import open_base, quiet_libraries

        settings = self.settings
        require(settings.seeds >= 1, "seeds", settings.seeds, "at least 1")
        launchers.check(settings.launcher, self.share)
        require(bool(settings.methods), "methods", "", "names of methods")
        for size in settings.train_sizes:
            require(size == "all" or (size.isdecimal() and int(size) > 0), "train_sizes", size, "numbers, or all")
        self.cells = self.plan()
        self._check_folder()
        quiet_libraries()
        common = self._settings_of(settings.methods[0], {})
        task, found, _ = splits.read(self.task_name, common)
        data = digest_value({name: split.notes.get("digest") for name, split in found.items()})
        self.cells = [dataclasses.replace(cell, data=data) for cell in self.cells]
        name = "test" if "test" in found else "validation"
        if not len(found.get(name, ())):
            raise DataError(f"the {name} split has no examples; there is nothing to score.")
        for method, base in dict.fromkeys((cell.method, cell.base) for cell in self.cells):
            on = open_base(base)
            methods.load(method, self.plugins)(self._settings_of(method, {})).check(on, task.on(on.kind))
        metrics.for_task(task, settings.metrics, self.plugins)
        shared = overlap(found[name], found.get("train", ()))
        if shared["count"] and settings.forbid_overlap:
            first = shared["first"][0]
            raise DataError(f"--forbid_overlap: {shared['count']} examples of {name} stand in train too, the first "
                            f"{first['test']} as {first['train']}. Remove them, or leave the flag out.")  # fmt: skip

    def plan(self) -> list[Cell]:
        """Every cell, in the order of the table. Raises SettingsError for a method that there is none of."""
        settings, cells = self.settings, []
        prompted = settings.prompt_model_name_or_path or settings.model_name_or_path
        for name in dict.fromkeys(settings.methods):
            method = methods.load(name, self.plugins)
            base = settings.model_name_or_path if method.trains else prompted
            for size in settings.train_sizes if method.trains and settings.train_sizes else [""]:
                cells += [self._cell(name, base, seed, size) for seed in range(settings.seeds if method.seeded else 1)]
        for name in dict.fromkeys(settings.also_on_prompt_base):
            if name in settings.methods and prompted != settings.model_name_or_path:
                size = settings.train_sizes[-1] if settings.train_sizes else ""
                cells.append(self._cell(name, prompted, 0, size))
        return cells

    def run_cells(self) -> None:
        """Have the launcher run the cells that are not finished; a failure is noted and the others go on."""
        if not self.main_process:
            return
        write_json(self.folder / "settings.json", {"task": self.task_name, **flags.as_dict(self.settings)})
        self.outcomes = launchers.launch(self.settings.launcher, self.cells, self.folder, self.share)

    def save_and_print(self) -> None:
        """Write the comparison's files and print it. Raises SystemExit with code 1 if a cell failed."""
        if not self.outcomes:  # another process's, or handed over to Slurm
            return
        done = [outcome for outcome in self.outcomes if not outcome.error]
        failures = [(outcome.cell.name, outcome.error) for outcome in self.outcomes if outcome.error]
        if not done:
            raise ComparisonError("Every cell failed. The first: " + failures[0][1])
        records = [(outcome.cell.row, results.load(outcome.folder)) for outcome in done]
        results.check_alike([record for _, record in records])
        rows = []
        for key in dict.fromkeys(row for row, _ in records):
            own = [record for row, record in records if row == key]
            rows.append(results.Row(method=key[0], base=own[0].scores["base"], size=key[2], records=own))
        command = f"python {' '.join(sys.argv)}"
        settings = flags.as_dict(self.settings)
        output.save_and_print(rows, self.folder, command=command, settings=settings, failures=failures,
                              seed=self.settings.seed)  # fmt: skip
        print(f"\nwritten to {self.folder}/comparison.html, .md and .json", file=sys.stderr)
        if failures:
            raise SystemExit(1)

    def _cell(self, method: str, base: str, seed: int, size: str) -> Cell:
        varied: dict[str, Any] = {"model_name_or_path": base, "seed": seed}
        if size:
            varied["max_train_samples"] = None if size == "all" else int(size)
        settings = self._settings_of(method, varied)
        own = {k: v for k, v in flags.as_dict(settings).items() if k not in INCIDENTAL}
        return Cell(method=method, base=base, seed=seed, size=size,
                    settings={"task": self.task_name, "method": method, **own})  # fmt: skip

    def _settings_of(self, method: str, varied: Mapping[str, Any]) -> Any:
        """Settings of a run of one method: its own defaults, the recipe's, the given, what the cell varies."""
        kind = join(CommonSettings, self.task_settings, discovery.load("methods", method, self.plugins).Settings)
        names = {field.name for field in dataclasses.fields(kind)}
        given = {name: getattr(self.settings, name) for name in self.given & names}
        settings = kind(**{**{k: v for k, v in self.defaults.items() if k in names}, **given, **varied})
        settings.check()
        return settings

    def _check_folder(self) -> None:
        """Refuse a folder of another comparison, or of something else."""
        if not self.folder.exists():
            return
        there = self.folder / "settings.json"
        if not self.folder.is_dir() or (any(self.folder.iterdir()) and not (self.folder / "cells").is_dir()):
            raise SettingsError(f"--output_dir {self.folder}: holds something else than a comparison. Name another.")
        if there.is_file() and not self.settings.overwrite_output_dir:
            before, now = read_json(there), {"task": self.task_name, **flags.as_dict(self.settings)}
            changed = sorted(k for k in now if k not in GROWING and before.get(k) != now[k])
            if changed:
                said = ", ".join(f"{name} (there {before.get(name)!r}, here {now[name]!r})" for name in changed[:5])
                raise SettingsError(
                    f"--output_dir {self.folder}: holds another comparison, which differs in {said}. Name another "
                    "folder, or add --overwrite_output_dir: its cells that fit are kept."
                )
