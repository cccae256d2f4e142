"""What the verbs of a run make, each a whole: the data it read, the model it fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.methods.base.classical import ClassicalMethod

if TYPE_CHECKING:
    from adapters.core.sources.resolve import Source
    from adapters.evaluation.metrics.base.any_metric import AnyMetric
    from adapters.methods.base.method import Method
    from adapters.models.base_model import Base
    from adapters.tasks.base.example import Examples
    from adapters.tasks.base.predictor import Predictor
    from adapters.tasks.base.task import Task
    from adapters.training.history import History


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The data of a run.

    Attributes:
        name: the dataset as the user named it, or its training file.
        revision: of the dataset, where its source has one.
        splits: by name: train, validation, test, as far as there are any.
        files: those of the splits that have a file beside the dataset or the training file.
    """

    name: str
    revision: str | None
    splits: Mapping[str, Examples]
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Any, splits: Mapping[str, Examples], source: Source | None) -> RunData:
        """The data that settings name: the splits that were read, and the source of their dataset, if it has one."""
        files = {"validation": settings.validation_file, "test": settings.test_file}
        return cls(
            name=str(settings.train_file or settings.dataset_name or settings.test_file),
            revision=source.revision if source else None,
            splits=splits,
            files={split: str(path) for split, path in files.items() if path},
        )

    def source(self, split: str) -> str:
        """The file or the dataset that a split was read from, or cut from."""
        return self.files.get(split, self.name)

    def in_words(self) -> str:
        """`train.csv: 180 train, 20 validation; test.csv: 60 test`."""
        sizes: dict[str, list[str]] = {}
        for split, examples in self.splits.items():
            sizes.setdefault(self.source(split), []).append(f"{len(examples):,} {split}")
        return "; ".join(f"{source}: {', '.join(found)}" for source, found in sizes.items())


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """A method around its base, or without one; trained if it trains.

    Attributes:
        task: as bases of this kind do it.
        method: with its settings.
        base: the base model; None of a method without one.
        model: what answers, and what is saved.
        predictor: the model as the evaluator sees it.
        metrics: that it is scored by, the task's main one first.
        history: of training by the trainer; None where there was none.
        seconds: of learning without the trainer.
    """

    task: Task
    method: Method
    base: Base | None
    model: Any
    predictor: Predictor
    metrics: list[AnyMetric]
    history: History | None
    seconds: float = 0.0

    def parameters(self) -> tuple[int, int]:
        """Numbers of trained and of all parameters."""
        return count_parameters(self.model) if self.base is not None else (self.model.learned, self.model.learned)

    @property
    def left_out(self) -> str:
        """What of the base does not train although the rest does, as a clause; usually nothing."""
        return self.method.left_out(self.model)

    def save(self, folder: Path) -> None:
        """Write what was learned into an empty folder."""
        if isinstance(self.method, ClassicalMethod):
            self.method.save(self.model, None, folder)
        else:
            assert self.base is not None
            self.method.save(self.model, self.base, folder)


def count_parameters(model: Any) -> tuple[int, int]:
    """Numbers of trained and of all parameters of a model."""
    from adapters.models import quantization

    counts = [(quantization.parameter_count(p), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trained in counts if trained), sum(n for n, _ in counts)
