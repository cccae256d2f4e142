"""One run of a recipe: its settings, and the five verbs that make a result of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.core import arguments, discovery, flags, settings_files
from adapters.core.errors import CheckpointError, DataError, SettingsError, numbered
from adapters.core.files import write_json, write_text
from adapters.core.processes import first_alone
from adapters.core.progress import duration, say
from adapters.core.settings import CommonSettings, check_tracking, join
from adapters.core.sources.resolve import base_defaults
from adapters.experiments import run_folder, without_base
from adapters.experiments.method_defaults import method_defaults
from adapters.experiments.run_result import RunResult
from adapters.experiments.run_state import FittedModel, RunData
from adapters.experiments.session import Session
from adapters.methods.base.classical import ClassicalMethod
from adapters.training import trackers
from adapters.training.checkpoint import LATEST, TRAINED

if TYPE_CHECKING:
    from adapters.evaluation.evaluate import Evaluation
    from adapters.methods.base.method import Method
    from adapters.tasks.base.example import Examples
    from adapters.tasks.base.predictor import Predictor
    from adapters.tasks.base.task import Task
    from adapters.training.checkpoint import Checkpoints
    from adapters.training.history import History
    from adapters.training.trainer import Trainer

NOT_COMPARED = (
    "output_dir",
    "overwrite_output_dir",
    "checkpointing_steps",
    "save_total_limit",
    "resume_from_checkpoint",
    "with_tracking",
    "trust_remote_code",
    "report_to",
    "dry_run",
    "max_predict_samples",
    "test_file",
    "metrics",
)
"""Settings that training does not depend on, so that they may change where a run is resumed."""


class DryRunEnded(Exception):
    """A dry run has printed its estimate; there is nothing more to do."""


def open_run(task: str, method: str, defaults: Mapping[str, Any], argv: Sequence[str], description: str = "") -> Run:
    """A run whose settings are parsed from flags, and checked.

    Args:
        task: name of the task.
        method: name of the method.
        defaults: what differs from the defaults of task and method.
        argv: flags, or one settings file.
        description: printed by --help.

    Raises:
        SettingsError: an unknown task, method or flag, or a value that cannot work.
    """
    plugins = flags.peek(argv, "plugin_dir")
    parts = [discovery.load("tasks", task, plugins), discovery.load("methods", method, plugins)]
    kind = join(CommonSettings, *(part.Settings for part in parts))
    named = [defaults.get("model_name_or_path"), *flags.peek(argv, "model_name_or_path")]
    own = method_defaults(task, method, named[-1], plugins)
    settings = arguments.parse_training(kind, {**own, **defaults}, description, argv)
    settings.check()
    if not settings_files.is_file(argv):  # a run's own settings.json has all settings
        check_tracking(settings, flags.given(argv))
    return Run(task, method, settings)


class Run:
    """One run: `read_task`, `build_method`, `fit`, `evaluate`, `save_and_print`, in this order.

    Attributes:
        task_name: name of the task.
        method_name: name of the method.
        settings: common settings joined with the task's and the method's.
        folder: where the run is written.
        data: what `read_task` has read; None before.
        fitted: what `fit` has made; None before.
    """

    def __init__(self, task: str, method: str, settings: Any) -> None:
        """Args: names of task and method, and the joined settings."""
        self.task_name, self.method_name, self.settings = task, method, settings
        self.folder = Path(settings.output_dir)
        self.begun = time.perf_counter()
        self.data: RunData | None = None
        self.fitted: FittedModel | None = None

    @cached_property
    def session(self) -> Session:
        """What the run computes with; made by the first verb, as settings may change until then."""
        return Session(self.settings, needs_base=self._method_class().needs_base, folder=self.folder)

    @property
    def splits(self) -> Mapping[str, Examples]:
        """The splits that were read."""
        assert self.data is not None, "read_task comes first"
        return self.data.splits

    def read_task(self) -> Task:
        """Read, check and cut the splits; the task knows its labels then."""
        from adapters.tasks.base import examples
        from adapters.tasks.base.reading import tell

        run_folder.check(self.folder, self.settings)
        task, splits, source = first_alone(
            self.session.accelerator, lambda: examples.read_splits(self.task_name, self.settings)
        )
        if "train" not in splits and self._method_class().trains:
            raise DataError("There is no training split: give --train_file.")
        self.data = RunData.of(self.settings, splits, source)
        labels = f"; {numbered(len(task.labels), 'labels')}" if len(task.labels) else ""
        say(f"data: {self.data.in_words()}{labels}{self._default_data()}")
        tell(splits)
        return task

    def _default_data(self) -> str:
        """That nobody chose the data, where they are the task's default."""
        default = next(field.default for field in dataclasses.fields(self.settings) if field.name == "dataset_name")
        if self.settings.train_file or default is None or self.settings.dataset_name != default:
            return ""
        return " (the default data; for your own: --train_file, --test_file)"

    def build_method(self) -> Method:
        """The method with its settings, checked."""
        return self._method_class()(self.settings)

    def fit(self, task: Task, method: Method) -> Predictor:
        """Put the method around the base and train it if it trains; the best model by dev score stays.

        Raises:
            DryRunEnded: with --dry_run, once the estimate is printed.
        """
        import torch
        from accelerate.utils import set_seed

        from adapters.evaluation.metrics.base.metric import task_metrics
        from adapters.models.precision import cast_frozen_weights

        settings = self.settings
        metrics = task_metrics(task, settings.metrics, settings.plugin_dir, allow_hub=settings.trust_remote_code)
        if isinstance(method, ClassicalMethod):
            self.fitted = without_base.fit(task, method, metrics, self.splits["train"], say)
            if settings.dry_run:
                self._print_estimate(None, self.fitted)
                raise DryRunEnded
            if settings.resume_from_checkpoint is not None:
                say(f"{method.title} writes no checkpoints: the run began from the beginning.")
            self._prepare_folder()
            return self.fitted.predictor
        session, base = self.session, self.session.base
        task = task.on(base.kind)
        method.check(base, task)
        self._check_tokens(task, method)
        set_seed(settings.seed)
        model = method.wrap(base, task, self.splits.get("train", ()))
        if replaced := getattr(model, "replaced_head", []):
            say(f"{base.name}: its own head ({', '.join(replaced)}) is replaced by a new one for the task")
        if method.trains and not method.reads_base_weights:
            cast_frozen_weights(model, session.precision, base.config.dtype)
        if base.quantization is None:  # else it is there already
            model.to(session.accelerator.device)
        predictor = method.predictor(model, base, task, precision=session.precision)
        fitted = FittedModel(
            task=task, method=method, base=base, model=model, predictor=predictor, metrics=metrics, history=None
        )
        trainer = self._trainer(fitted) if method.trains else None
        if settings.dry_run:
            self._print_estimate(trainer, fitted)
            raise DryRunEnded
        if trainer is not None:
            torch.manual_seed(settings.seed + session.accelerator.process_index)
            if settings.resume_from_checkpoint is not None:
                self._resume(trainer)  # before the folder is claimed: where it is refused, all stays there
        self._prepare_folder()
        if trainer is not None:
            history = self._train(trainer, fitted)
            fitted = dataclasses.replace(fitted, history=history, model=self._unsharded(fitted))
        self.fitted = fitted
        return predictor

    def _trainer(self, fitted: FittedModel) -> Trainer:
        """The trainer of a method that trains."""
        from adapters.training.trainer import Trainer

        objective, examples = fitted.method.training_data(fitted.task, self.splits["train"])
        return Trainer(
            fitted.model,
            objective,
            self.session.base,
            examples,
            self.settings,
            self.session.accelerator,
            budget=fitted.method.budget(self.session.base, self.settings.max_length),
            checkpoints=self._checkpoints(fitted.task, fitted.method),
            before_training=partial(fitted.method.before_training, fitted.model),
        )

    def _train(self, trainer: Trainer, fitted: FittedModel) -> History:
        """Train to the end, from where the trainer is."""
        from adapters.evaluation.evaluate import main_score

        settings = self.settings
        trained, total = fitted.parameters()
        left = f"; {fitted.left_out}" if fitted.left_out else ""
        own = base_defaults(settings.model_name_or_path, self.method_name)
        taken = [f"{name} {value:g}" for name, value in own.items() if getattr(settings, name) == value]
        known = f"; by default on this base {', '.join(taken)}" if taken else ""
        say(f"model: {self.session.base.name}, {trained:,} of {total:,} parameters trained{left}{known}")
        trackers.begin(self.session.accelerator, arguments.as_dict(settings), done=trainer.history.steps)
        train, dev = self.splits["train"], self.splits["validation"]

        def score() -> float:
            fitted.method.before_scoring(fitted.predictor, train)
            return main_score(fitted.predictor, dev, fitted.metrics[0])

        history = trainer.run(score)
        fitted.method.before_scoring(fitted.predictor, train)
        trackers.end(self.session.accelerator)
        return history

    def _resume(self, trainer: Trainer) -> None:
        """Go on from the checkpoint that was requested; with --overwrite_output_dir from the beginning, without one."""
        requested = self.settings.resume_from_checkpoint
        if requested == LATEST and not trainer.checkpoints.any():
            say(f"{trainer.checkpoints.folder} has no checkpoint: the run begins from the beginning.")
            return
        try:
            checkpoint = trainer.checkpoints.find(requested, say)
            trainer.resume(checkpoint)
        except (CheckpointError, SettingsError) as error:
            if not self.settings.overwrite_output_dir or requested != LATEST:
                raise
            say(f"{error} As --overwrite_output_dir is given, the run starts from scratch.")
            self.session.accelerator.wait_for_everyone()  # until each process has read them
            if self.session.accelerator.is_main_process:
                trainer.checkpoints.remove()
            return
        say(f"resuming after step {trainer.history.steps:,}, from {checkpoint.path}")

    def _unsharded(self, fitted: FittedModel) -> Any:
        """The model; where it is sharded, on the main process an unsharded one to save, with all that was trained."""
        from adapters.models import fsdp
        from adapters.models.fsdp import full_tensor
        from adapters.training.state import set_parameters, trainable_parameters

        if not fsdp.is_sharded(fitted.model):
            return fitted.model
        found = trainable_parameters(fitted.model)
        if not self.session.accelerator.is_main_process:
            return fitted.model
        model = fitted.method.wrap(self.session.base, fitted.task, self.splits["train"])
        set_parameters(model, found)
        for name, buffer in fitted.model.named_buffers():
            model.get_buffer(name).copy_(full_tensor(buffer))
        return model

    def _print_estimate(self, trainer: Trainer | None, fitted: FittedModel) -> None:
        """Print what the run would take."""
        from adapters.training import estimate

        accelerator = self.session.accelerator
        last = self.splits.get("test") or self.splits["validation"]
        predict = fitted.predictor.predict
        if trainer is None:
            found = estimate.of_answering(predict, last[:], accelerator.device)
        else:
            found = estimate.of_training(trainer, predict, self.splits["validation"][:], last[:])
        trained, total = fitted.parameters()
        model = (
            f"{fitted.base.name} with {self.method_name}" if fitted.base else f"{self.method_name} without a base model"
        )
        lines = [
            "dry run: nothing is written",
            f"model    {model}: {trained:,} of {total:,} parameters are trained ({trained / total:.2%})",
            *([f"         {fitted.left_out}"] if fitted.left_out else []),
            f"device   {accelerator.device}, {accelerator.num_processes} process(es), precision "
            f"{self.session.precision}",
            *([f"training about {duration(fitted.seconds)}"] if fitted.base is None else []),
            *found.lines(),
        ]
        if accelerator.is_main_process:
            print("\n".join(lines))

    def evaluate(self, predictor: Predictor) -> Evaluation:
        """Score the test split; where there is none, the dev split, and call it dev."""
        from adapters.evaluation.evaluate import evaluate

        assert self.fitted is not None, "fit comes first"
        name = "test" if "test" in self.splits and not self.settings.trial else "validation"
        with self._trained_is_kept():
            return evaluate(predictor, self.splits[name][:], self.fitted.metrics, split=name, seed=self.settings.seed)

    def save_and_print(self, evaluation: Evaluation) -> RunResult | None:
        """Write the run's folder and print the report, on the main process; elsewhere None."""
        from adapters.evaluation.metrics.base.any_metric import score_title
        from adapters.evaluation.report import run_report
        from adapters.experiments import artifact_latency, records
        from adapters.experiments.dev_reference import dev_reference
        from adapters.experiments.learning_curve import picture

        assert self.fitted is not None and self.data is not None, "fit comes first"
        reference = None
        if not self.settings.trial:
            with self._trained_is_kept():
                dev = self.splits.get("validation", ())
                reference = dev_reference(self.fitted, dev, evaluation, self.settings.max_length)
        self.session.accelerator.wait_for_everyone()
        if not self.session.accelerator.is_main_process:
            return None
        with self._trained_is_kept():
            record = records.score_record(self.settings, self.session, self.data, self.fitted, evaluation)
            record["cost"]["artifact_bytes"] = None
            if not self.settings.trial:
                record["cost"]["artifact_bytes"] = records.save_artifact(
                    self.folder / "artifact", self.settings, self.fitted, record, evaluation, reference
                )
                if self.session.accelerator.num_processes == 1:
                    record["cost"]["latency_ms"] = artifact_latency.measured(
                        self.folder / "artifact", self.fitted, evaluation.examples, self.settings.plugin_dir
                    )
            records.write_predictions(self.folder / "predictions.jsonl", evaluation, record["overlap"].pop("numbers"))
            record["seconds"] = round(time.perf_counter() - self.begun, 1)
            if self.fitted.history is not None:
                curve = picture(self.fitted.history, score_title(self.fitted.metrics[0]))
                write_text(self.folder / "curve.svg", curve)
            shown = run_report.run_report(record, evaluation)
            write_text(self.folder / "report.txt", run_report.plain(shown))
            write_json(self.folder / "scores.json", record)  # the last: where it is, the run has finished
        if self.fitted.history is not None:
            keep = self.settings.checkpointing_steps is not None
            self._checkpoints(self.fitted.task, self.fitted.method).finish(keep=keep)
        run_report.show(shown)
        example = run_report.predict_arguments(evaluation.examples[0])
        say(
            f"\nwritten to {self.folder}/ in {record['seconds']:.0f} s."
            + ("" if self.settings.trial else f" Try:\n  taskswap predict {self.folder} {example}")
        )
        return RunResult.read(self.folder)

    @contextmanager
    def _trained_is_kept(self) -> Iterator[None]:
        """Say where what was trained is, if scoring or writing ends by an error, Ctrl-C or SIGTERM."""
        try:
            yield
        except BaseException:
            if (self.folder / "checkpoints" / TRAINED).is_dir():
                say(
                    f"What was trained is kept in {self.folder / 'checkpoints'}. To score it: the same command with "
                    "--resume_from_checkpoint latest"
                )
            raise

    def _method_class(self) -> type[Method]:
        from adapters.methods.base.method import load_method

        return load_method(self.method_name, self.settings.plugin_dir)

    def _checkpoints(self, task: Task, method: Method) -> Checkpoints:
        """Where this run's checkpoints are; what it must share with the run that wrote one is read when needed."""
        from adapters.evaluation.evaluate import split_digest
        from adapters.training.checkpoint import Checkpoints

        def identity() -> dict[str, Any]:
            # As the method records them: in the place of a file, what it says.
            settings = {**arguments.as_dict(self.settings), **method.recorded()}
            return {
                "task": task.card(),
                "method": self.method_name,
                "base": [self.session.base.digest, self.session.base.tokenizer_digest],
                "data": {name: split_digest(self.splits[name]) for name in ("train", "validation")},
                "processes": self.session.accelerator.num_processes,
                "precision": self.session.precision,
                "settings": {name: value for name, value in settings.items() if name not in NOT_COMPARED},
            }

        return Checkpoints(self.folder / "checkpoints", identity, save_total_limit=self.settings.save_total_limit)

    def _prepare_folder(self) -> None:
        from adapters.tasks.base.reading import reading_record

        if self.session.accelerator.is_main_process:
            names = {"task": self.task_name, "method": self.method_name}
            read = {"reading": reading_record(self.splits)}
            run_folder.claim(self.folder, {**names, **arguments.as_dict(self.settings), **read})

    def _check_tokens(self, task: Task, method: Method) -> None:
        from adapters.tasks.base.examples import SAMPLE, check_unknown_tokens

        first = self.splits.get("train") or next(iter(self.splits.values()))
        check_unknown_tokens(first, self.session.base, allowed=self.settings.allow_unknown_tokens, say=say)
        for remark in task.remarks(self.session.base.word_tokenizer):
            say(remark)
        for caution in task.cautions(first[:SAMPLE], self.session.base.word_tokenizer) if method.trains else ():
            say(f"warning: {first.name}: {caution}")
