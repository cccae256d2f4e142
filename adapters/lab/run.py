"""The prompt lab from settings: checked at once, its conditions scored one after the other, its tables at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import discovery, flags
from adapters.errors import DataError, SettingsError
from adapters.files import write_json
from adapters.lab.asking import METHOD, Draw, ensembles, grid, method_of
from adapters.lab.settings import LabSettings
from adapters.run import Run
from adapters.run_folder import obstacle, own_files
from adapters.settings import CommonSettings, join, require

if TYPE_CHECKING:
    from adapters.lab.conditions import Conditions
    from adapters.prompting.calibration import Calibration
    from adapters.tasks import Example

FIRST_TASK = "classification"
OURS = ("settings.json", "conditions.jsonl", "lab.json", "lab.md", "lab.html")
"""All that the lab writes into its folder."""


class Lab:
    """Prompts tried side by side: `check`, `run_conditions`, `save_and_print`."""

    def __init__(self, doc: str | None, *, defaults: Mapping[str, Any], argv: Sequence[str] | None = None) -> None:
        """Read the settings. Raises SettingsError.

        Args:
            doc: the recipe's docstring, shown by --help.
            defaults: what differs from the settings' own defaults; under a task's name, what differs for that task.
            argv: the flags; None takes those of the process.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        plugins = flags.peek(argv, "plugin_dir")
        known = discovery.names("tasks", plugins)
        others = [name for name in known if name != FIRST_TASK]
        self.task_name, argv = flags.choose(argv, "task", [FIRST_TASK, *others])
        usual = {name: value for name, value in defaults.items() if name not in known}
        task = discovery.load("tasks", self.task_name, plugins).Settings
        kind = join(CommonSettings, task, LabSettings)
        usual = {**usual, **defaults.get(self.task_name, {})}
        self.settings = flags.parse(kind, usual, (doc or "").strip(), argv)
        self.settings.check()
        self.folder = Path(self.settings.output_dir)
        self.calibrations = self.settings.check_lab()
        prompts = self.settings.prompts or [f"{self.task_name}_few"]
        self.draws = grid(prompts, self.settings.shots, self.settings.orders)
        self.draws += ensembles(self.draws, self.settings.ensemble)
        self.prompts: dict[str, Mapping[str, Any]] = {}
        self.run = Run(self.task_name, METHOD, self.settings)
        self.chosen: dict[str, Any] | None = None
        self.tables: list[dict[str, Any]] = []
        self.passes = 0

    def check(self) -> None:
        """Refuse what cannot work before the model reads anything. Raises UserError."""
        from adapters import metrics, splits

        self._check_folder()
        if self.run.accelerator.num_processes > 1:
            raise SettingsError("The prompt lab runs in one process. Start it by: python recipes/prompt_lab.py")
        self.task, self.splits, _ = splits.read(self.task_name, self.settings)
        self.metrics = metrics.for_task(self.task, self.settings.metrics, self.settings.plugin_dir)
        self.train: Sequence[Example] = self.splits.get("train", ())
        self._check_shots()
        first = self.splits.get("train") or next(iter(self.splits.values()))
        splits.check_pieces(first, self.run.base, allowed=self.settings.allow_unknown, say=_say)
        for prompt in dict.fromkeys(draw.prompt for draw in self.draws if not draw.members):
            draw = Draw(prompt=prompt, shots=max(self.settings.shots), order=0)
            for calibration in self.calibrations:
                method_of(self.settings, self.task_name, draw, calibration).check(self.run.base, self.task)
            self.prompts[prompt] = self._prompt(prompt)
        self.scored = "test" if "test" in self.splits else "validation"
        if self.settings.optimise and self.scored != "test":
            raise DataError("--optimise: chooses on dev and scores test once, and there is no test split. "
                            "Give --test_file, or leave --optimise out.")  # fmt: skip
        for name in {self.scored, "validation"} if self.settings.optimise else {self.scored}:
            if not len(self.splits.get(name, ())):
                raise DataError(f"the {name} split has no examples; there is nothing to score.")

    def _prompt(self, name: str) -> dict[str, Any]:
        """A prompt's record, which is a part of what its scores hang on."""
        from adapters.prompting import template

        prompt = template.load(name, self.task, self.settings.plugin_dir)
        written = prompt.answer not in self.task.chosen_formats
        require(
            not (written and self.settings.ensemble),
            "ensemble",
            " ".join(self.settings.ensemble),
            f"left out: what {self.task_name} asks for is written, so there are no probabilities to average",
        )
        hardest = self.settings.shot_selection == "hardest" and written and max(self.settings.shots) > 0
        require(not hardest, "shot_selection", "hardest", f"another: what {self.task_name} asks for is written, so no "
                "answer's likelihood is known")  # fmt: skip
        return prompt.record()

    def _check_shots(self) -> None:
        """Raises SettingsError where there are fewer training examples, or they cannot be drawn as is asked."""
        from adapters.prompting.shots import balanced

        most, there = max(self.settings.shots), len(self.train)
        if most > there:
            raise SettingsError(
                f"--shots {most}: there are {there} training examples. Give at most --shots {there}."
                + ("" if there else " (Training examples come from --train_file or --dataset_name.)")
            )
        if most and self.settings.shot_selection == "balanced":
            balanced(self.train, 0, 0)

    def _check_folder(self) -> None:
        """Refuse a folder of something else. Raises SettingsError."""
        blocked = obstacle(self.folder)
        if blocked:
            raise SettingsError(f"--output_dir {self.folder}: {blocked[0]} {blocked[1]}. Name a folder.")
        own_files(self.folder, OURS)

    def run_conditions(self) -> None:
        """Score what is not scored yet; with --optimise choose on dev first. What is done stays done."""
        from adapters.lab.asking import Asker
        from adapters.lab.conditions import Conditions
        from adapters.lab.journal import Journal

        run, settings = self.run, self.settings
        device = run.accelerator.device
        asker = Asker(run.base, self.task, self.train, settings, device=device, precision=run.precision)
        if settings.overwrite_output_dir:
            for name in OURS:
                (self.folder / name).unlink(missing_ok=True)
        write_json(self.folder / "settings.json", {"task": self.task_name, **flags.as_dict(settings)})
        conditions = Conditions(asker, Journal(self.folder / "conditions.jsonl"), self.metrics, self.prompts)
        if settings.optimise:
            self._optimise(conditions)
            return
        shown = "test" if self.scored == "test" else "dev"
        examples = self.splits[self.scored][:]
        self.passes = self._score(conditions, "all conditions", self.draws, self.calibrations, shown, examples)

    def _optimise(self, conditions: Conditions) -> None:
        """Score every condition on as many dev examples as the budget is worth, and the best one on test."""
        from adapters.lab import budget, summary

        dev, allowed = self.splits["validation"], self.settings.budget
        number = budget.affordable(conditions.asker, self.draws, self.calibrations, budget=allowed, dev=len(dev))
        examples = budget.drawn(dev, number)
        self.passes = self._score(conditions, "all conditions, to choose", self.draws, self.calibrations, "dev",
                                  examples)  # fmt: skip
        row = summary.best(self.tables[0]["rows"])
        calibrations = [one for one in self.calibrations if one.name == row["calibration"]]
        draws = [draw for draw in self.draws if (draw.prompt, draw.shots) == (row["prompt"], row["shots"])]
        title, test = "chosen on dev, scored once", self.splits["test"][:]
        passes = self._score(conditions, title, draws, calibrations, "test", test)
        self.chosen = {"prompt": row["prompt"], "shots": row["shots"], "calibration": row["calibration"],
                       "budget": allowed, "dev_examples": number, "test_passes": passes}  # fmt: skip

    def _score(self, conditions: Conditions, title: str, draws: Sequence[Draw], calibrations: Sequence[Calibration],
               split: str, examples: Sequence[Example]) -> int:  # fmt: skip
        """Score conditions, and keep their table; the passes that they take."""
        from adapters.evaluation import split_digest
        from adapters.lab import budget, summary

        records = conditions.score(draws, calibrations, split, examples)
        self.tables.append({
            "title": title, "split": split, "n": len(examples), "digest": split_digest(examples),
            "usual": summary.usual_answer(examples, self.metrics[0]), "rows": summary.rows(records),
        })  # fmt: skip
        return budget.cost(conditions.asker, draws, calibrations, len(examples))

    def save_and_print(self) -> None:
        """Write the lab's files and print its tables."""
        from adapters.lab import output, summary
        from adapters.records import hardware, versions

        assert self.tables, "run_conditions comes first"
        metric = self.metrics[0]
        found: dict[str, Any] = {
            "task": self.task_name, "base": self.run.base.name, "dataset": {"name": self.run.dataset_name},
            "metric": metric.name, "score": metric.main, "shot_selection": self.settings.shot_selection,
            "tables": self.tables, "calibrations": summary.by_calibration(self.tables[0]["rows"]),
            "chosen": self.chosen, "passes": self.passes,
        }  # fmt: skip
        found["verdict"] = summary.sentences(found)
        repeat = {"command": f"python {' '.join(sys.argv)}", "settings": flags.as_dict(self.settings),
                  "base_sha256": self.run.base.digest, "prompts": self.prompts, "versions": versions(),
                  "hardware": hardware()}  # fmt: skip
        output.save_and_print(found, self.folder, repeat)
        _say(f"\nwritten to {self.folder}/lab.html, .md and .json")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
