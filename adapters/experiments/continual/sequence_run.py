"""One run of a sequence: one strategy learns one task after the other, and is scored on all of them after each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core import arguments, discovery
from adapters.core.errors import ArtifactError, SettingsError
from adapters.core.memory import peak_bytes
from adapters.core.processes import first_alone
from adapters.core.progress import say
from adapters.core.settings import lasting
from adapters.experiments.continual import state
from adapters.experiments.continual.features import Features
from adapters.experiments.continual.heads import Heads
from adapters.experiments.continual.objective import OfTask, SequenceObjective, log_shares, numbered
from adapters.experiments.continual.sequence import (
    DOMAIN_INCREMENTAL,
    TASK_INCREMENTAL,
    SequenceTask,
    check_scenario,
    names_of,
    read_task,
)
from adapters.experiments.continual.strategies.base.strategy import Stage, Strategy
from adapters.experiments.continual.weights import head_names, put
from adapters.experiments.session import Session
from adapters.methods.base.method import Method, load_method

if TYPE_CHECKING:
    from adapters.evaluation.evaluate import Evaluation
    from adapters.tasks.base.predictor import ModelPredictor
    from adapters.training.checkpoint import Checkpoints
    from adapters.training.history import History

Score = dict[str, float]


class SequenceRun:
    """One strategy with one method, one order and one seed: `read`, `learn_all`; `record.finish` ends it.

    Attributes:
        tasks: in the order in which they are learned.
        session: Accelerate, precision and the base model.
    """

    def __init__(self, task: str, method: str, strategy: str, settings: Any) -> None:
        """Args: names of task, method and strategy, and the joined settings. Raises UserError."""
        settings.check()
        self.task_name, self.method_name, self.settings = task, method, settings
        self.folder = Path(settings.output_dir)
        self.method_class = load_method(method, settings.plugin_dir)
        kind: type[Strategy] = discovery.load("strategies", strategy, settings.plugin_dir).Strategy
        kind.check(self.method_class, settings.scenario)
        self.strategy = kind(settings)
        self.session = Session(settings, needs_base=self.method_class.needs_base, folder=self.folder)
        self.tasks: tuple[SequenceTask, ...] = ()
        self.given: list[str] = []
        self.begun = time.perf_counter()
        self.counts: dict[str, np.ndarray] = {}

    # data ------------------------------------------------------------------------------------------------------------

    def read(self, given: Sequence[str] = ()) -> None:
        """Read and check the data of all tasks. Raises UserError.

        Args:
            given: names of settings that replace those of the tasks' files.
        """
        self.given = list(given)
        paths = names_of(self.settings.tasks)
        if len(paths) < 1:
            raise SettingsError("--tasks: name a .toml of each task of the sequence.")
        self.tasks = first_alone(
            self.session.accelerator,
            lambda: tuple(read_task(name, path, self.task_name, self.settings, given) for name, path in paths.items()),
        )
        check_scenario(self.settings.scenario, self.tasks, say)
        for one in self.tasks:
            sizes = ", ".join(f"{len(split):,} {name}" for name, split in one.splits.items())
            say(f"{one.name}: {sizes}; {len(one.task.label_names())} labels")

    @property
    def trial(self) -> bool:
        """Whether this is a trial of a search: scored on dev alone."""
        return bool(self.settings.trial)

    @cached_property
    def features(self) -> Features:
        """What the frozen base makes of texts."""
        return Features(self.session.base)

    # learning --------------------------------------------------------------------------------------------------------

    def learn_all(self) -> None:
        """Learn what is not learned yet, stage by stage; each leaves its state and its scores."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.session.accelerator.is_main_process:
            state.recover(self.folder)
        self.session.accelerator.wait_for_everyone()
        stages = [self.tasks] if self.strategy.together else [(one,) for one in self.tasks]
        done = state.finished_stages(self.folder)
        if done:
            say(f"{self.folder}: goes on after {done} of {len(stages)} stages")
        for number, present in enumerate(stages):
            if number < done:
                continue
            learned = () if self.strategy.together else self.tasks[:number]
            self._learn(number, learned, present)

    def _learn(self, number: int, learned: tuple[SequenceTask, ...], present: tuple[SequenceTask, ...]) -> None:
        """One stage."""
        from accelerate.utils import set_seed

        begun = time.perf_counter()
        before = state.read(self.folder) if number or state.exists(self.folder) else None
        if before is not None and before.stage not in (number - 1, number):
            raise ArtifactError(
                f"{self.folder}: its weights are those after stage {before.stage + 1}, but its scores end with stage "
                f"{number}. {state.REMEDY}"
            )
        if before is not None and self.strategy.shared:
            self.strategy.restore(before.strategy_tensors, before.strategy_values)
        trained_already = before is not None and before.stage == number
        set_seed(self._seed(number))
        of = learned + present if self.strategy.shared else present
        heads = Heads(self.settings.scenario, of)
        stage = self._stage(learned, present, heads, before, trained_already=trained_already)
        costs: dict[str, Any]
        if trained_already:
            assert before is not None
            costs = before.costs
        else:
            say(f"learning {', '.join(one.name for one in present)} ({self.strategy.name}, {self.method_name})")
            left_out = stage.method.left_out(stage.model)
            if left_out:
                say(f"of the base, {left_out}")
            untrained = self._untrained(stage) if number == 0 else None
            history = self._train(stage, number)
            trained = time.perf_counter()
            self.strategy.after_training(stage)
            costs = self._costs(history, stage, after=time.perf_counter() - trained)
            costs.update({} if untrained is None else {"untrained": untrained})
            self._keep(stage, number, costs)
        row = self._score(stage, number)
        costs["seconds"] = round(costs.get("seconds", 0.0) + time.perf_counter() - begun, 2)
        if self.session.accelerator.is_main_process:
            state.write_stage(
                self.folder, number, {"tasks": [one.name for one in present], "row": row, **costs}, self.counts
            )
            state.remove_checkpoints(self.folder, number)
        self.session.accelerator.wait_for_everyone()

    def _stage(
        self,
        learned: tuple[SequenceTask, ...],
        present: tuple[SequenceTask, ...],
        heads: Heads,
        before: state.State | None,
        *,
        trained_already: bool,
    ) -> Stage:
        """The stage with its model: new outputs untrained, all else as the strategy says."""
        method = self.method_for(len(heads.tasks))
        model = self._build(heads, method)
        weights = None
        if before is not None and (trained_already or (self.strategy.continues and self.strategy.shared)):
            weights = before.weights if self.strategy.shared else state.read_own(self.folder, present[0].name)
            put(model, weights)
        former = None
        if weights is not None and not trained_already:
            former = partial(self._frozen, Heads(heads.scenario, learned), weights)
        stage = Stage(
            learned=learned,
            present=present,
            heads=heads,
            method=method,
            settings=self.settings,
            base=self.session.base,
            model=model,
            weights=None if trained_already else weights,
            former=former,
            score=lambda tasks: float(np.mean([self._dev_score(model, heads, method, one) for one in tasks])),
            features=lambda examples: self.features(examples),
            head=head_names(model, len(heads.outputs)),
            say=say,
        )
        return stage

    def method_for(self, tasks: int) -> Method:
        """The method with the settings that the strategy gives it for a model of so many tasks."""
        changes = self.strategy.method_settings(self.settings, tasks if self.strategy.shared else 1)
        return self.method_class(dataclasses.replace(self.settings, **changes))

    def _build(self, heads: Heads, method: Method) -> Any:
        """A model with untrained outputs, on the device of the run."""
        from adapters.models.precision import cast_frozen_weights

        whole = heads.whole().on(self.session.base.kind)
        method.check(self.session.base, whole)
        model = method.wrap(self.session.base, whole, heads.tasks[-1].train)
        if not method.reads_base_weights:
            cast_frozen_weights(model, self.session.precision, self.session.base.config.dtype)
        if self.session.base.quantization is None:
            model.to(self.session.accelerator.device)
        return model

    def _frozen(self, heads: Heads, weights: Mapping[str, Any]) -> Any:
        """The model after the tasks before, as a teacher."""
        model = self._build(heads, self.method_for(len(heads.tasks)))
        put(model, weights)
        return model.eval().requires_grad_(False)

    def _train(self, stage: Stage, number: int) -> History:
        """Train the stage's model; of the best epoch on dev of the present tasks, the weights stay."""
        from adapters.training.trainer import Trainer

        settings, objective = self._training_settings(stage, number), SequenceObjective(stage.heads)
        checkpoints = self._checkpoints(stage, number)
        trainer = Trainer(
            stage.model,
            self.strategy.objective(stage, objective),
            stage.base,
            numbered(stage.tasks, self.strategy.parts(stage)),
            settings,
            self.session.accelerator,
            budget=stage.method.budget(stage.base, settings.max_length),
            checkpoints=checkpoints,
            before_training=lambda optimizer, total: self._before_training(stage, optimizer, total),
        )
        stage.dataset = trainer.dataset
        self._start_at_shares(stage)
        if checkpoints.any():
            trainer.resume(checkpoints.find("latest", say))
            say(f"resuming after step {trainer.history.steps:,}")
        return trainer.run(lambda: stage.score(stage.present))

    def _seed(self, number: int) -> int:
        """The seed of a stage: another one for each stage, and for each order, so that their runs are independent."""
        return int((self.settings.seed + 1_000 * number + 100_000 * self.settings.order_number) % 2**32)

    def _training_settings(self, stage: Stage, number: int) -> Any:
        """The settings of a stage's training: limits are for a task, and of several at once their sum."""
        limits = ("min_train_steps", "max_train_steps", "max_train_seconds")
        summed = {
            name: len(stage.present) * getattr(self.settings, name) for name in limits if getattr(self.settings, name)
        }
        return dataclasses.replace(self.settings, seed=self._seed(number), **summed)

    def _before_training(self, stage: Stage, optimizer: Any, total: int) -> None:
        stage.method.before_training(stage.model, optimizer, total)
        self.strategy.before_training(stage, optimizer)

    def _start_at_shares(self, stage: Stage) -> None:
        """Let new outputs start at the frequencies of their classes; those that were learned stay as they are."""
        from adapters.training.optimizer import start_at_prior

        assert stage.dataset is not None
        first = len(Heads(stage.heads.scenario, stage.learned).outputs) if stage.weights is not None else 0
        start_at_prior(stage.model, log_shares(stage.heads, stage.dataset.targets), first=first)

    def _checkpoints(self, stage: Stage, number: int) -> Checkpoints:
        from adapters.training.checkpoint import Checkpoints

        def identity() -> dict[str, Any]:
            return {
                "strategy": self.strategy.name,
                "method": self.method_name,
                "base": [self.session.base.digest, self.session.base.tokenizer_digest],
                "tasks": [one.record(trial=self.trial) for one in stage.tasks],
                "processes": self.session.accelerator.num_processes,
                "precision": self.session.precision,
                "settings": lasting(arguments.as_dict(self.settings)),
            }

        return Checkpoints(state.checkpoints_folder(self.folder, number), identity, save_total_limit=1)

    # what is kept ----------------------------------------------------------------------------------------------------

    def _keep(self, stage: Stage, number: int, costs: dict[str, Any]) -> None:
        """Write what later tasks, and answers, need of the stage."""
        from adapters.training.state import trainable_parameters

        weights = {name: value.detach().cpu() for name, value in trainable_parameters(stage.model).items()}
        tensors, values = self.strategy.kept()
        model_bytes = sum(one.numel() * one.element_size() for one in weights.values())
        other = sum(one.numel() * one.element_size() for one in tensors.values())
        memory = self.strategy.memory_bytes()
        if not self.strategy.shared and number:  # the models of the tasks before are needed, too
            model_bytes += state.read_stage(self.folder, number - 1)["stored_bytes"]["model"]
        costs["stored_bytes"] = {
            "base": self._base_bytes(stage),
            "model": model_bytes,
            "memory": memory,
            "other": other,
        }
        if self.session.accelerator.is_main_process:
            state.write(
                self.folder,
                state.State(
                    stage=number,
                    weights=weights,
                    strategy_tensors=tensors,
                    strategy_values=values,
                    costs=costs,
                ),
                own=None if self.strategy.shared else stage.present[0].name,
            )

    def _base_bytes(self, stage: Stage) -> int:
        """Bytes of the base that an answer needs besides what is trained; 0 where all of it is trained."""
        return sum(p.numel() * p.element_size() for p in stage.model.parameters() if not p.requires_grad)

    def _costs(self, history: History, stage: Stage, *, after: float) -> dict[str, Any]:
        """What the stage took. `after`: seconds of what the strategy did once the model was trained."""
        from adapters.experiments.run_state import count_parameters

        return {
            "train_seconds": round(history.seconds + after, 2),
            "tokens": history.tokens,
            "steps": history.steps,
            "best_step": history.best_step,
            "trainable_params": count_parameters(stage.model)[0],
            "peak_memory_bytes": peak_bytes(self.session.accelerator.device),
            "learning_rate": self.settings.learning_rate,
        }

    # scores ----------------------------------------------------------------------------------------------------------

    def _predictor(self, model: Any, heads: Heads, method: Method, name: str) -> ModelPredictor:
        from adapters.tasks.base.predictor import ModelPredictor

        return ModelPredictor(
            model,
            self.session.base,
            OfTask(heads, name),
            budget=method.budget(self.session.base, self.settings.max_length),
            precision=self.session.precision,
            batch_rows=self.settings.per_device_eval_batch_size,
        )

    def _dev_score(self, model: Any, heads: Heads, method: Method, one: SequenceTask) -> float:
        from adapters.evaluation.evaluate import main_score

        return main_score(self._predictor(model, heads, method, one.name), one.dev, self.metric(one))

    def metric(self, one: SequenceTask) -> Any:
        """The task's metric, for its own labels, or where tasks share outputs for those of the whole sequence."""
        return type(one.metric)(self.label_names(one))

    def label_names(self, one: SequenceTask) -> list[str]:
        """The labels that an answer to a task may have, in an order that is the same in every run."""
        if self.settings.scenario == TASK_INCREMENTAL:
            return list(one.task.labels.names)
        return sorted({label for other in self.tasks for label in other.task.labels.names})

    def _evaluate(self, model: Any, heads: Heads, method: Method, one: SequenceTask) -> Evaluation:
        from adapters.evaluation.evaluate import evaluate

        scored = one.scored(trial=self.trial)
        predictor = self._predictor(model, heads, method, one.name)
        return evaluate(predictor, scored[:], [self.metric(one)], split=scored.name, seed=self.settings.seed)

    def _untrained(self, stage: Stage) -> list[float | None]:
        """Scores of the model before it has learned anything, where its outputs mean something for all tasks."""
        if self.settings.scenario != DOMAIN_INCREMENTAL or self.trial:
            return [None] * len(self.tasks)
        heads = stage.heads
        every = Heads(heads.scenario, self.tasks)
        return [self._evaluate(stage.model, every, stage.method, one).main["value"] for one in self.tasks]

    def _score(self, stage: Stage, number: int) -> dict[str, Score | None]:
        """Scores on every task after this stage; None for tasks that it cannot answer yet."""
        last = self.strategy.together or number == len(self.tasks) - 1
        self.counts = {}
        if not self.strategy.shared:
            return self._score_separate(stage, number, last=last)
        seen = {one.name for one in stage.tasks}
        heads = stage.heads
        if self.settings.scenario == DOMAIN_INCREMENTAL:  # the same labels: what is still to come can be answered
            heads, seen = Heads(heads.scenario, self.tasks), {one.name for one in self.tasks}
        row: dict[str, Score | None] = {}
        for one in self.tasks:
            if one.name not in seen or (self.trial and not last):
                row[one.name] = None
                continue
            evaluation = self._evaluate(stage.model, heads, stage.method, one)
            row[one.name] = dict(evaluation.main)
            self.counts[f"final/{one.name}"] = evaluation.counts[one.metric.name]
        self._say_row(row)
        return row

    def _score_separate(self, stage: Stage, number: int, *, last: bool) -> dict[str, Score | None]:
        """Of models of their own: those before answer as they did, unless the last task is learned: then all anew."""
        (present,) = stage.present
        row: dict[str, Score | None] = dict.fromkeys((one.name for one in self.tasks), None)
        if number:
            earlier = state.read_stage(self.folder, number - 1)
            row |= {name: score for name, score in earlier["row"].items() if score is not None}
        again = self.tasks if last else (present,)
        for one in again:
            model = stage.model if one.name == present.name else self._own_model(one)
            heads = Heads(self.settings.scenario, (one,))
            evaluation = self._evaluate(model, heads, stage.method, one)
            row[one.name] = dict(evaluation.main)
            self.counts[f"final/{one.name}"] = evaluation.counts[one.metric.name]
        self._say_row(row)
        return row

    def _own_model(self, one: SequenceTask) -> Any:
        """A task's own model, as it was written."""
        model = self._build(Heads(self.settings.scenario, (one,)), self.method_for(1))
        put(model, state.read_own(self.folder, one.name))
        return model

    def _say_row(self, row: Mapping[str, Score | None]) -> None:
        shown = [f"{name} {100 * score['value']:.1f}" for name, score in row.items() if score is not None]
        say("scores: " + ", ".join(shown) if shown else "scores: none yet")

    # answers ----------------------------------------------------------------------------------------------------------

    def predictor_of(self, one: SequenceTask) -> ModelPredictor:
        """What answers a task by what is on disk."""
        heads = Heads(self.settings.scenario, self.tasks if self.strategy.shared else (one,))
        method = self.method_for(len(heads.tasks))
        if not self.strategy.shared:
            return self._predictor(self._own_model(one), heads, method, one.name)
        model = self._build(heads, method)
        put(model, state.read(self.folder).weights)
        return self._predictor(model, heads, method, one.name)

    def dev_scores(self, tasks: Sequence[SequenceTask]) -> list[float]:
        """Dev scores of some tasks, by what is on disk."""
        from adapters.evaluation.evaluate import main_score

        return [main_score(self.predictor_of(one), one.dev, self.metric(one)) for one in tasks]
