"""One run of a recipe: its settings, and what the five verbs have made so far."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import flags, run_folder, tracking
from adapters.errors import DataError
from adapters.files import write_json, write_text
from adapters.processes import is_first

if TYPE_CHECKING:
    from accelerate import Accelerator

    from adapters.checkpoint import Checkpoints
    from adapters.evaluation import Evaluation
    from adapters.history import History
    from adapters.inference import Predictor
    from adapters.methods import Method
    from adapters.model import Base
    from adapters.tasks import Examples, Task
    from adapters.training import Trainer

BESIDE = ("output_dir", "overwrite_output_dir", "checkpointing_steps", "keep_checkpoints", "resume_from_checkpoint",
          "with_tracking", "report_to", "dry_run", "max_predict_samples", "test_file", "metrics")  # fmt: skip
"""Settings that training does not hang on, so that they may change where a run goes on."""


class Run:
    """One run of a recipe: its settings, and what the verbs have made so far."""

    def __init__(self, task: str, method: str, settings: Any) -> None:
        """Args: names of task and method, and the joined settings."""
        self.task_name, self.method_name, self.settings = task, method, settings
        self.folder = Path(settings.output_dir)
        self.begun = time.perf_counter()
        self.splits: dict[str, Examples] = {}
        self.history: History | None = None

    @cached_property
    def accelerator(self) -> Accelerator:
        """Accelerate, started once, in the precision of this run."""
        import accelerate
        import torch

        from adapters import quantization, sharding
        from adapters.compiling import dynamo
        from adapters.model import quiet_libraries
        from adapters.precision import fastest_precision
        from adapters.processes import check_launcher, check_world, use_all_cores

        quiet_libraries()
        check_launcher()
        # Without being told, Accelerate takes CPU processes of torchrun for strangers to each other.
        cpu = not torch.accelerator.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
        state = accelerate.PartialState(cpu=cpu)
        check_world(state.num_processes)
        use_all_cores()
        self.precision = fastest_precision(torch.device(state.device), self.settings.mixed_precision,
                                           quantized=bool(quantization.asked(self.settings)))  # fmt: skip
        # Gradients stand where processes add them up: they are not copied there and back, nor held twice.
        shared = accelerate.DistributedDataParallelKwargs(gradient_as_bucket_view=True)
        trackers: Any = tracking.wanted(self.settings.with_tracking, self.settings.report_to)
        made = accelerate.Accelerator(mixed_precision=self.precision, cpu=cpu, log_with=trackers or None,
                                      kwargs_handlers=[shared],
                                      dynamo_plugin=dynamo(self.settings.torch_compile, state.device.type),
                                      project_dir=self.folder / "logs" if trackers else None)  # fmt: skip
        sharding.share_out_on_cpus(made)
        return made

    @cached_property
    def base(self) -> Base:
        """The base model, found but not loaded."""
        from adapters import quantization
        from adapters.model import open_base

        device = self.accelerator.device
        held = quantization.config(self.settings, self.precision)
        return dataclasses.replace(open_base(self.settings.model_name_or_path), quantization=held, device=device)

    def read_task(self) -> Task:
        """Read, check and cut the splits; the task knows its labels then."""
        from adapters import splits

        run_folder.check(self.folder, self.settings)
        accelerator = self.accelerator
        with accelerator.main_process_first():
            task, self.splits, source = splits.read(self.task_name, self.settings)
            self.revision = source.revision if source else None
            if "train" not in self.splits and self._method_class().trains:
                raise DataError("There is no training split: give --train_file.")
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        labels = f"; {len(task.labels)} labels" if len(task.labels) else ""
        self._say(f"data: {self.dataset_name}: {sizes}{labels}")
        return task

    def build_method(self) -> Method:
        """The method with its settings, checked."""
        return self._method_class()(self.settings)

    def fit(self, task: Task, method: Method) -> Predictor:
        """Put the method around the base and train it if it trains; the best model by dev score stays."""
        from accelerate.utils import set_seed

        from adapters import metrics
        from adapters.evaluation import main_score
        from adapters.precision import hold_frozen
        from adapters.training import Trainer

        settings = self.settings
        task = task.on(self.base.kind)
        method.check(self.base, task)
        self.task, self.method = task, method
        self.metrics = metrics.for_task(task, settings.metrics, settings.plugin_dir)
        self._check_pieces()
        set_seed(settings.seed)
        self.model = method.wrap(self.base, task, self.splits.get("train", ()))
        if method.trains and not method.weighs_base:
            hold_frozen(self.model, self.precision, self.base.config.dtype)
        if self.base.quantization is None:  # else it is there already
            self.model.to(self.accelerator.device)
        budget = method.budget(self.base, settings.max_length)
        predictor = method.predictor(self.model, self.base, task, precision=self.precision)
        if method.trains:
            trainer = Trainer(self.model, task, self.base, self.splits["train"], settings, self.accelerator,
                              budget=budget, checkpoints=self._checkpoints(task))  # fmt: skip
            if settings.dry_run:
                self._estimate(trainer, predictor)
            self._claim()
            dev = self.splits["validation"]
            self._train(trainer, lambda: main_score(predictor, dev, self.metrics[0]))
            self._make_whole()
        else:
            if settings.dry_run:
                self._estimate(None, predictor)
            self._claim()
        return predictor

    def _train(self, trainer: Trainer, score: Callable[[], float]) -> None:
        """From the beginning, or from the checkpoint that was asked for."""
        import torch

        settings = self.settings
        trained, total = self.parameters()
        self._say(f"model: {self.base.name}, {trained:,} of {total:,} parameters trained")
        torch.manual_seed(settings.seed + self.accelerator.process_index)
        if settings.resume_from_checkpoint:
            checkpoint = trainer.checkpoints.find(settings.resume_from_checkpoint, self._say)
            trainer.resume(checkpoint)
            self._say(f"going on behind step {trainer.history.steps:,}, from {checkpoint.path}")
        tracking.begin(self.accelerator, flags.as_dict(settings))
        self.history = trainer.run(score)
        tracking.end(self.accelerator)
        if settings.checkpointing_steps is None and self.accelerator.is_main_process:
            trainer.checkpoints.remove()

    def _make_whole(self) -> None:
        """Where each process holds a part of the model: let the first have one to save, with all that was trained."""
        from adapters import sharding, training_state

        if not sharding.in_parts(self.model):
            return
        found = training_state.trained(self.model)
        if self.accelerator.is_main_process:
            self.model = self.method.wrap(self.base, self.task, self.splits["train"])
            training_state.put(self.model, found)

    def _estimate(self, trainer: Trainer | None, predictor: Predictor) -> None:
        """Say what the run would take, and end."""
        from adapters import estimate

        last = self.splits.get("test") or self.splits["validation"]
        if trainer is None:
            found = estimate.of_answering(predictor.predict, last[:], self.accelerator.device)
        else:
            found = estimate.of_training(trainer, predictor.predict, self.splits["validation"][:], last[:])
        trained, total = self.parameters()
        lines = [
            "dry run: nothing is written",
            f"model    {self.base.name} with {self.method_name}: {trained:,} of {total:,} parameters are trained "
            f"({trained / total:.2%})",
            f"device   {self.accelerator.device}, {self.accelerator.num_processes} process(es), precision "
            f"{self.precision}",
            *found.lines(),
        ]  # fmt: skip
        if self.accelerator.is_main_process:
            print("\n".join(lines))
        raise SystemExit(0)

    def evaluate(self, predictor: Predictor) -> Evaluation:
        """Score the test split; where there is none, the dev split, and call it dev."""
        from adapters.evaluation import evaluate, latency

        name = "test" if "test" in self.splits else "validation"
        shown = name if name == "test" else "dev"
        evaluation = evaluate(predictor, self.splits[name][:], self.metrics, split=shown, seed=self.settings.seed)
        self.latency = latency(predictor, evaluation.examples) if self.accelerator.num_processes == 1 else None
        return evaluation

    def save_and_print(self, evaluation: Evaluation) -> None:
        """Write the run's folder and print the report, on the main process."""
        from adapters import report
        from adapters.curve import picture
        from adapters.records import save_artifact, score_record, write_predictions

        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        record = score_record(self, evaluation)
        record["cost"]["artifact_bytes"] = save_artifact(self, record, evaluation)
        write_predictions(self.folder / "predictions.jsonl", evaluation, record["overlap"].pop("numbers"))
        record["seconds"] = round(time.perf_counter() - self.begun, 1)
        write_json(self.folder / "scores.json", record)
        if self.history is not None:
            write_text(self.folder / "curve.svg", picture(self.history, self.metrics[0].main))
        shown = report.run_report(record, evaluation)
        write_text(self.folder / "report.txt", report.plain(shown))
        report.show(shown)
        asked = report.asked(evaluation.examples[0])
        self._say(f"\nwritten to {self.folder}/ in {record['seconds']:.0f} s. Try:\n"
                  f"  python -m adapters predict {self.folder}/artifact {asked}")  # fmt: skip

    @property
    def dataset_name(self) -> str:
        """The dataset as the user named it."""
        return str(self.settings.train_file or self.settings.dataset_name or self.settings.test_file)

    def _method_class(self) -> type[Method]:
        from adapters import methods

        return methods.load(self.method_name, self.settings.plugin_dir)

    def parameters(self) -> tuple[int, int]:
        """Trained and total parameters."""
        from adapters import quantization

        counts = [(quantization.numbers(p), p.requires_grad) for p in self.model.parameters()]
        return sum(n for n, trained in counts if trained), sum(n for n, _ in counts)

    def _checkpoints(self, task: Task) -> Checkpoints:
        """Where this run's checkpoints lie; what it must share with the run that wrote one is looked at when needed."""
        from adapters.checkpoint import Checkpoints
        from adapters.evaluation import split_digest

        def identity() -> dict[str, Any]:
            settings = flags.as_dict(self.settings)
            return {
                "task": task.card(), "method": self.method_name, "base": [self.base.digest, self.base.tokenizer_digest],
                "data": {name: split_digest(self.splits[name]) for name in ("train", "validation")},
                "processes": self.accelerator.num_processes, "precision": self.precision,
                "settings": {name: value for name, value in settings.items() if name not in BESIDE},
            }  # fmt: skip

        return Checkpoints(self.folder / "checkpoints", identity, keep=self.settings.keep_checkpoints)

    def _claim(self) -> None:
        if self.accelerator.is_main_process:
            names = {"task": self.task_name, "method": self.method_name}
            run_folder.claim(self.folder, {**names, **flags.as_dict(self.settings)})

    def _check_pieces(self) -> None:
        from adapters.splits import check_pieces

        first = self.splits.get("train") or next(iter(self.splits.values()))
        check_pieces(first, self.base, allowed=self.settings.allow_unknown, say=self._say)

    def _say(self, line: str) -> None:
        if is_first():
            print(line, file=sys.stderr, flush=True)
