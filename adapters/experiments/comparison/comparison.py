"""A comparison from settings: checked at once, its runs given to a launcher, its table at the end."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.core import arguments, discovery
from adapters.core.errors import ComparisonError, DataError, SettingsError
from adapters.core.files import digest_file, digest_value, write_json
from adapters.core.processes import is_first
from adapters.core.settings import INCIDENTAL, CommonSettings, join, require
from adapters.evaluation.metrics.base.metric import task_metrics
from adapters.experiments.comparison import launchers, output, results
from adapters.experiments.comparison.result import ComparisonResult
from adapters.experiments.comparison.runs import PlannedRun, Resources, RunOutcome, read_json
from adapters.experiments.run_folder import DATA
from adapters.methods.base.method import load_method

LIMITS = ("max_train_samples", "max_eval_samples", "max_predict_samples")
LAUNCHING = frozenset({"launcher", "run_cpus", "run_gpus", "runs_at_once"})
"""Settings of where runs run."""
GROWING = frozenset(
    {"methods", "seeds", "train_sizes", "also_on_prompt_base", "margin", "cost", *LAUNCHING, *INCIDENTAL}
)
"""Settings that may change when a comparison resumes: its finished runs stay valid."""


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is compared."""

    methods: list[str] = field(default_factory=lambda: ["full", "head", "lora", "prefix", "zero_shot", "few_shot"])
    """Methods to compare."""
    seeds: int = 3
    """Seeds of each method: 0, 1, …; a deterministic method runs once."""
    prompt_model_name_or_path: str | None = None
    """Base model of the prompted methods. Default: --model_name_or_path."""
    also_on_prompt_base: list[str] = field(default_factory=list)
    """Trained methods to run on the prompted base too (one seed), to separate the effects of method and base."""
    train_sizes: list[str] = field(default_factory=list)
    """Numbers of training examples to train with, or all: 50,200,1000,all."""
    full: bool = False
    """Use all examples, not the subsets of the recipe's defaults."""
    margin: float = 1.0
    """Points by which a method may score lower and still be called non-inferior."""
    cost: str = "storage"
    """What decides between non-inferior methods: storage, training (time), latency or memory."""
    forbid_overlap: bool = False
    """Refuse a test split that shares an example with train."""
    num_processes: int = 1
    """Processes of each run."""
    launcher: str = "local"
    """Where runs run: local (this machine, one after the other), ray (tasks on the cluster of RAY_ADDRESS, or on
    this machine's cores), or slurm (a job array: writes --output_dir/runs.sbatch to submit; the same command prints
    the table when its jobs have ended). For ray and slurm, all machines share one file system."""
    run_cpus: int = 1
    """CPU cores of each run, with ray or slurm."""
    run_gpus: float | None = None
    """GPUs of each run, with ray (0.5: two runs share one) or slurm. Default: with ray one for each process if the
    cluster has any; with slurm none."""
    runs_at_once: int | None = None
    """Runs at the same time, with slurm. Default: as many as it can start."""


def check_advice(settings: Any) -> None:
    """Raises SettingsError for a margin or a cost that cannot be."""
    require(0 < settings.margin < 100, "margin", settings.margin, "a number of points above 0 (no data show equality)")
    require(settings.cost in results.COSTS, "cost", settings.cost, " or ".join(results.COSTS))


class Comparison:
    """One comparison: `check`, `run_all`, `save_and_print`."""

    def __init__(
        self, doc: str | None, *, task: str, defaults: Mapping[str, Any], argv: Sequence[str] | None = None
    ) -> None:
        """Read the settings. Raises SettingsError.

        Args:
            doc: the recipe's docstring, shown by --help.
            task: name of the task.
            defaults: differences from the defaults of task, methods and comparison.
            argv: the flags; None takes those of the process.
        """
        self.task_name, self.argv = task, list(sys.argv[1:] if argv is None else argv)
        self.given = arguments.given(self.argv)
        self.plugins = arguments.peek(self.argv, "plugin_dir")
        self.task_settings = discovery.load("tasks", task, self.plugins).Settings
        all_methods = [
            discovery.load("methods", name, self.plugins).Settings for name in discovery.names("methods", self.plugins)
        ]
        kind = join(CommonSettings, self.task_settings, *all_methods, CompareSettings)
        self.settings = arguments.parse(kind, defaults, (doc or "").strip(), self.argv)
        self.defaults = {k: v for k, v in defaults.items() if not (self.settings.full and k in LIMITS)}
        self.folder = Path(self.settings.output_dir)
        self.resources = Resources(
            processes=self.settings.num_processes,
            cpus=self.settings.run_cpus,
            gpus=self.settings.run_gpus,
            at_once=self.settings.runs_at_once,
        )
        self.outcomes: list[RunOutcome] = []
        self.main_process = is_first()

    def check(self) -> None:
        """Refuse what cannot work before anything is trained. Raises UserError."""
        from adapters.evaluation.evaluate import overlap
        from adapters.models.base_model import open_base, quiet_libraries
        from adapters.tasks.base import examples
        from adapters.tasks.base.reading import reading_lines

        settings = self.settings
        require(settings.seeds >= 1, "seeds", settings.seeds, "at least 1")
        check_advice(settings)
        launchers.check(settings.launcher, self.resources)
        require(bool(settings.methods), "methods", "", "names of methods")
        for size in settings.train_sizes:
            require(size == "all" or (size.isdecimal() and int(size) > 0), "train_sizes", size, "numbers, or all")
        self.runs = self.plan()
        self._check_folder()
        quiet_libraries()
        common = self._settings_of(settings.methods[0], {})
        task, found, _ = examples.read_splits(self.task_name, common)
        if self.main_process:
            print("\n".join(reading_lines(found)), file=sys.stderr, flush=True)
        self.runs = self._with_contents({name: split.notes.get("digest") for name, split in found.items()})
        name = "test" if "test" in found else "validation"
        if not len(found.get(name, ())):
            raise DataError(f"the {name} split has no examples; there is nothing to score.")
        for method, base in dict.fromkeys((run.method, run.base) for run in self.runs):
            on = open_base(base)
            load_method(method, self.plugins)(self._settings_of(method, {})).check(on, task.on(on.kind))
        task_metrics(task, settings.metrics, self.plugins, allow_hub=settings.trust_remote_code)
        shared = overlap(found[name], found.get("train", ()))
        if shared["count"] and settings.forbid_overlap:
            first = shared["first"][0]
            raise DataError(
                f"--forbid_overlap: {shared['count']} examples of {name} are in train too, the first "
                f"{first['test']} as {first['train']}. Remove them, or leave the flag out."
            )

    def _with_contents(self, files: Mapping[str, Any]) -> list[PlannedRun]:
        """The runs with a digest of what each depends on besides settings: data, code, if it prompts the prompt's file.

        Args:
            files: digest of each split's data.
        """
        code, path = discovery.files_version(self.plugins), Path(str(getattr(self.settings, "prompt", "")))
        prompt = digest_file(path) if path.is_file() else ""
        trained, prompted = digest_value([files, code, ""]), digest_value([files, code, prompt])
        return [
            dataclasses.replace(run, data=trained if load_method(run.method, self.plugins).trains else prompted)
            for run in self.runs
        ]

    def plan(self) -> list[PlannedRun]:
        """Every run, in the order of the table. Raises SettingsError for an unknown method."""
        settings, runs = self.settings, []
        prompted = settings.prompt_model_name_or_path or settings.model_name_or_path
        for name in dict.fromkeys(settings.methods):
            method = load_method(name, self.plugins)
            base = settings.model_name_or_path if method.trains else prompted
            for size in settings.train_sizes if method.trains and settings.train_sizes else [""]:
                moved = method.moved_by_seed(self._settings_of(name, {}))
                runs += [self._planned(name, base, seed, size) for seed in range(settings.seeds if moved else 1)]
        for name in dict.fromkeys(settings.also_on_prompt_base):
            if name in settings.methods and prompted != settings.model_name_or_path:
                size = settings.train_sizes[-1] if settings.train_sizes else ""
                runs.append(self._planned(name, prompted, 0, size))
        return runs

    def run_all(self) -> None:
        """Let the launcher run the unfinished runs; a failure is recorded and the others continue."""
        if not self.main_process:
            return
        write_json(self.folder / "settings.json", {"task": self.task_name, **arguments.as_dict(self.settings)})
        self.outcomes = launchers.launch(self.settings.launcher, self.runs, self.folder, self.resources)

    def save_and_print(self) -> ComparisonResult | None:
        """Write the comparison's files and print it; None where another process or Slurm does the runs.

        Raises ComparisonError where every run failed; some that failed are in the result.
        """
        if not self.outcomes:
            return None
        done = [outcome for outcome in self.outcomes if not outcome.error]
        failures = [(outcome.run.name, outcome.error) for outcome in self.outcomes if outcome.error]
        if not done:
            raise ComparisonError("Every run failed. The first: " + failures[0][1])
        records = [(outcome.run.row, results.load(outcome.folder)) for outcome in done]
        results.check_alike([record for _, record in records], allow_different=True)
        rows = []
        for key in dict.fromkeys(row for row, _ in records):
            own = [record for row, record in records if row == key]
            scores = own[0].scores
            planned = sum(outcome.run.row == key for outcome in self.outcomes)
            rows.append(
                results.Row(method=scores["method"], base=scores["base"], size=key[2], records=own, planned=planned)
            )
        command = f"python {' '.join(sys.argv)}"
        settings = arguments.as_dict(self.settings)
        output.save_and_print(
            rows,
            self.folder,
            command=command,
            settings=settings,
            failures=failures,
            margin=self.settings.margin / 100,
            cost=self.settings.cost,
            seed=self.settings.seed,
        )
        print(f"\nwritten to {self.folder}/comparison.html, .md, .svg and .json", file=sys.stderr)
        return ComparisonResult.read(self.folder)

    def _planned(self, method: str, base: str, seed: int, size: str) -> PlannedRun:
        varied: dict[str, Any] = {"model_name_or_path": base, "seed": seed}
        if size:
            varied["max_train_samples"] = None if size == "all" else int(size)
        settings = self._settings_of(method, varied)
        own = {k: v for k, v in arguments.as_dict(settings).items() if k not in INCIDENTAL}
        return PlannedRun(
            method=method, base=base, seed=seed, size=size, settings={"task": self.task_name, "method": method, **own}
        )

    def _settings_of(self, method: str, varied: Mapping[str, Any]) -> Any:
        """Settings of a run of one method: its own defaults, then the recipe's, the given, and those of this run."""
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
        path = self.folder / "settings.json"
        if not self.folder.is_dir() or (_other_files(self.folder) and not (self.folder / "runs").is_dir()):
            raise SettingsError(
                f"--output_dir {self.folder}: holds files other than a comparison's. Name another folder."
            )
        if path.is_file() and not self.settings.overwrite_output_dir:
            before, now = read_json(path), {"task": self.task_name, **arguments.as_dict(self.settings)}
            changed = sorted(k for k in now if k not in GROWING and before.get(k) != now[k])
            if changed:
                shown = ", ".join(f"{name} (there {before.get(name)!r}, now {now[name]!r})" for name in changed[:5])
                raise SettingsError(
                    f"--output_dir {self.folder}: holds another comparison, which differs in {shown}. Name another "
                    "folder, or add --overwrite_output_dir: runs that match are kept."
                )


def _other_files(folder: Path) -> bool:
    """Whether a folder contains anything but data that was given in memory."""
    return any(path.name != DATA for path in folder.iterdir())
