"""The prompt lab from settings: checked at once, conditions scored one after the other, tables at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core import arguments, discovery, flags
from adapters.core.errors import DataError, SettingsError, there_are
from adapters.core.files import write_json
from adapters.core.progress import say
from adapters.core.settings import CommonSettings, join, require
from adapters.data.splits import shown
from adapters.experiments.prompt_lab.predictors import PromptCondition, ensembles, grid, method_of
from adapters.experiments.prompt_lab.settings import LabSettings
from adapters.experiments.run_folder import check_own
from adapters.experiments.run_state import RunData
from adapters.experiments.session import Session

if TYPE_CHECKING:
    from adapters.experiments.prompt_lab.conditions import ConditionScorer
    from adapters.prompting.calibration import Calibration
    from adapters.tasks.base.example import Example

FIRST_TASK = "classification"
OURS = ("settings.json", "conditions.jsonl", "lab.json", "lab.md", "lab.html")
"""Everything the lab writes into its folder."""


class Lab:
    """Prompts compared: `check`, `run_conditions`, `save_and_print`."""

    def __init__(self, doc: str | None, *, defaults: Mapping[str, Any], argv: Sequence[str] | None = None) -> None:
        """Read the settings. Raises SettingsError.

        Args:
            doc: the recipe's docstring, shown by --help.
            defaults: differences from the settings' own defaults; under a task's name, those of that task.
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
        self.settings = arguments.parse(kind, usual, (doc or "").strip(), argv)
        self.settings.check()
        self.folder = Path(self.settings.output_dir)
        self.calibrations = self.settings.check_lab()
        prompts = self.settings.prompts or [f"{self.task_name}_few"]
        self.conditions = grid(prompts, self.settings.shots, self.settings.seeds)
        method_of(self.settings, self.task_name, self.conditions[0])  # checks what a prompted run has as well
        self.conditions += ensembles(self.conditions, self.settings.ensemble)
        self.prompts: dict[str, Mapping[str, Any]] = {}
        self.chats: dict[str, str] = {}
        """By prompt, whether it is written in the turns of the base's chat template."""
        self.session = Session(self.settings, needs_base=True, folder=self.folder)
        self.chosen: dict[str, Any] | None = None
        self.tables: list[dict[str, Any]] = []
        self.passes = 0

    def check(self) -> None:
        """Refuse what cannot work before the model reads anything. Raises UserError."""
        from adapters.evaluation.metrics.base.metric import task_metrics
        from adapters.tasks.base import examples
        from adapters.tasks.base.reading import tell
        from adapters.tasks.base.task import promptable

        check_own(self.folder, OURS)
        if self.session.accelerator.num_processes > 1:
            raise SettingsError("The prompt lab runs in one process. Start it by: python recipes/prompt_lab.py")
        task, splits, source = examples.read_splits(self.task_name, self.settings)
        self.data = RunData.of(self.settings, splits, source)
        tell(splits)
        self.task = promptable(task)
        self.metrics = task_metrics(
            self.task, self.settings.metrics, self.settings.plugin_dir, allow_hub=self.settings.trust_remote_code
        )
        self.train: Sequence[Example] = self.data.splits.get("train", ())
        self._check_shots()
        first = self.data.splits.get("train") or next(iter(self.data.splits.values()))
        examples.check_unknown_tokens(first, self.session.base, allowed=self.settings.allow_unknown_tokens, say=say)
        for prompt in dict.fromkeys(condition.prompt for condition in self.conditions if not condition.members):
            condition = PromptCondition(prompt=prompt, shots=max(self.settings.shots), seed=0)
            for calibration in self.calibrations:
                method_of(self.settings, self.task_name, condition, calibration).check(self.session.base, self.task)
            self.prompts[prompt] = self._prompt(prompt)
        self.scored = "test" if "test" in self.data.splits else "validation"
        if self.settings.optimize and self.scored != "test":
            raise DataError(
                "--optimize: chooses on dev and scores test once, and there is no test split. "
                "Give --test_file, or leave --optimize out."
            )
        for name in {self.scored, "validation"} if self.settings.optimize else {self.scored}:
            if not len(self.data.splits.get(name, ())):
                raise DataError(f"the {name} split has no examples; there is nothing to score.")

    def _prompt(self, name: str) -> dict[str, Any]:
        """A prompt's record, on which its scores depend."""
        from adapters.prompting import template
        from adapters.prompting.chat_template import chosen_template

        prompt = template.load(name, self.task, self.settings.plugin_dir)
        chat = chosen_template(self.settings.apply_chat_template, self.session.base, prompt)
        self.chats[name] = chat.in_words() if chat else "no"
        generated = prompt.answer not in self.task.chosen_formats
        require(
            not (generated and self.settings.ensemble),
            "ensemble",
            " ".join(self.settings.ensemble),
            f"left out: answers of {self.task_name} are generated, so there are no probabilities to average",
        )
        hardest = self.settings.shot_selection == "hardest" and generated and max(self.settings.shots) > 0
        require(
            not hardest,
            "shot_selection",
            "hardest",
            f"another: answers of {self.task_name} are generated, so no answer's likelihood is known",
        )
        return prompt.record()

    def _check_shots(self) -> None:
        """Raises SettingsError where there are too few training examples, or they cannot be selected as requested."""
        from adapters.prompting.demonstrations import balanced, draw, reference

        most, available = max(self.settings.shots), len(self.train)
        if most > available:
            raise SettingsError(
                f"--shots {most}: {there_are(available, 'training examples')}. Give at most --shots {available}."
                + ("" if available else " (Training examples come from --train_file or --dataset_name.)")
            )
        if most and self.settings.shot_selection == "balanced":
            balanced(self.train, 0, 0)
        if any("batch" in calibration.steps for calibration in self.calibrations):
            reference(self.train, draw(self.train, most, 0))

    def run_conditions(self) -> None:
        """Score what is not scored yet; with --optimize, choose on dev first."""
        from adapters.experiments.prompt_lab.conditions import ConditionScorer
        from adapters.experiments.prompt_lab.journal import Journal
        from adapters.experiments.prompt_lab.predictors import PredictorFactory

        session, settings = self.session, self.settings
        device, precision = session.accelerator.device, session.precision
        predictors = PredictorFactory(session.base, self.task, self.train, settings, device=device, precision=precision)
        if settings.overwrite_output_dir:
            for name in OURS:
                (self.folder / name).unlink(missing_ok=True)
        write_json(self.folder / "settings.json", {"task": self.task_name, **arguments.as_dict(settings)})
        scorer = ConditionScorer(predictors, Journal(self.folder / "conditions.jsonl"), self.metrics, self.prompts)
        if settings.optimize:
            self._optimize(scorer)
            return
        split, examples = shown(self.scored), self.data.splits[self.scored][:]
        self.passes = self._score(scorer, "all conditions", self.conditions, self.calibrations, split, examples)

    def _optimize(self, scorer: ConditionScorer) -> None:
        """Score every condition on as many dev examples as the budget allows, and the best one on test."""
        from adapters.experiments.prompt_lab import budget, summary

        dev, allowed = self.data.splits["validation"], self.settings.budget
        number = budget.affordable(scorer.predictors, self.conditions, self.calibrations, budget=allowed, dev=len(dev))
        examples = budget.sampled(dev, number)
        self.passes = self._score(
            scorer, "all conditions, to choose", self.conditions, self.calibrations, "dev", examples
        )
        row = summary.best(self.tables[0]["rows"])
        calibrations = [one for one in self.calibrations if one.name == row["calibration"]]
        conditions = [
            condition
            for condition in self.conditions
            if (condition.prompt, condition.shots) == (row["prompt"], row["shots"])
        ]
        title, test = "chosen on dev, scored once", self.data.splits["test"][:]
        passes = self._score(scorer, title, conditions, calibrations, "test", test)
        self.chosen = {
            "prompt": row["prompt"],
            "shots": row["shots"],
            "calibration": row["calibration"],
            "budget": allowed,
            "dev_examples": number,
            "test_passes": passes,
        }

    def _score(
        self,
        scorer: ConditionScorer,
        title: str,
        conditions: Sequence[PromptCondition],
        calibrations: Sequence[Calibration],
        split: str,
        examples: Sequence[Example],
    ) -> int:
        """Score conditions and keep their table; returns the passes that they take."""
        from adapters.evaluation.evaluate import split_digest
        from adapters.experiments.prompt_lab import budget, summary

        records = scorer.score(conditions, calibrations, split, examples)
        self.tables.append(
            {
                "title": title,
                "split": split,
                "n": len(examples),
                "digest": split_digest(examples),
                "usual": summary.usual_answer(examples, self.metrics[0]),
                "rows": summary.rows(records),
            }
        )
        return budget.cost(scorer.predictors, conditions, calibrations, len(examples))

    def save_and_print(self) -> None:
        """Write the lab's files and print its tables."""
        from adapters.core.environment import hardware, versions
        from adapters.evaluation.metrics.base.any_metric import score_title
        from adapters.experiments.prompt_lab import output, summary

        assert self.tables, "run_conditions comes first"
        metric = self.metrics[0]
        found: dict[str, Any] = {
            "task": self.task_name,
            "base": self.session.base.name,
            "dataset": {"name": self.data.source(self.scored)},
            "metric": metric.name,
            "score": metric.main,
            "title": score_title(metric),
            "shot_selection": self.settings.shot_selection,
            "chat_template": self.chats,
            "tables": self.tables,
            "calibrations": summary.by_calibration(self.tables[0]["rows"]),
            "chosen": self.chosen,
            "passes": self.passes,
        }
        found["verdict"] = summary.sentences(found)
        repeat = {
            "command": arguments.command_line(),
            "settings": arguments.as_dict(self.settings),
            "base_sha256": self.session.base.digest,
            "prompts": self.prompts,
            "versions": versions(),
            "hardware": hardware(),
        }
        output.save_and_print(found, self.folder, repeat)
        say(f"\nwritten to {self.folder}/lab.html, .md and .json")
