"""Methods without a base model: they learn from the training examples alone, and are loaded by themselves."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adapters.core import discovery
from adapters.core.errors import ArtifactError, ModelError, UserError
from adapters.core.files import write_json
from adapters.methods.base.method import Method, load_method
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.explained import Target, Word
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    from adapters.models.base_model import Base

MODEL = "model.json"
ARRAYS = "model.safetensors"
ANSWERS = {"tags": "tags of words", "label": "labels", "labels": "lists of labels", "number": "numbers"}
"""What a task's `answer` is, in words."""
FAULTS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises for contents of another form."""


class ClassicalModel:
    """A fitted model: a predictor that is saved as JSON and tensors, never as a pickle, which could run code.

    Attributes:
        learned: how many numbers were learned.
        description: what was learned, in words.
    """

    learned: int
    description: str

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order."""
        raise NotImplementedError

    def contributions(self, example: Example, words: Sequence[Word], target: Target) -> tuple[np.ndarray, float]:
        """What each word adds to the score of an answer, exactly.

        Args:
            example: the example.
            words: of it, in order.
            target: the answer, as its task has it.

        Returns:
            float64 `[words]`, and what is added whatever the words are. Their sum is the contrast of the target's
            score (`Alternatives.contrast`).

        Raises:
            ModelError: the model's answers do not depend on words.
        """
        raise ModelError(f"The answers of this model do not depend on the text ({self.description}).")

    def vectors(self, examples: Sequence[Example]) -> Any:
        """The features of examples, `[examples, features]`, sparse or not. Raises ModelError if it has none."""
        raise ModelError("This model has no vector of a text, so no examples are near to others.")

    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What is saved: JSON values, and arrays by name."""
        raise NotImplementedError


class ClassicalMethod(Method):
    """A subclass says which answers it can learn, fits a model, and makes it again of what was saved."""

    needs_base = False
    seeded = False
    self_contained = True
    answers: ClassVar[tuple[str, ...]]
    """The types of answers that it learns, of `Task.answer`."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Modules that it imports to fit, which takes seconds that are no training."""

    @abstractmethod
    def fit(self, task: Task, train: Sequence[Example]) -> ClassicalModel:
        """A model that has learned from examples."""

    @abstractmethod
    def restore(self, task: Task, contents: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ClassicalModel:
        """The model whose `contents` these are.

        They may come from anyone: what is not checked here must not be able to do harm in `predict`. Raises ValueError,
        or what Python raises by itself where a part is missing or of another type.
        """

    @classmethod
    def shortened(cls, settings: Any, fraction: float) -> dict[str, Any]:
        """No changes: a full fit takes seconds."""
        return {}

    def check(self, base: Base | None, task: Task) -> None:
        """The task's answers must be of a type that the method learns. Any base is ignored."""
        if task.answer in self.answers:
            return
        able = _able(task.answer, self.settings.plugin_dir)
        instead = " or ".join(able) or "a method with a base model (full, lora, few_shot)"
        raise ModelError(
            f"The method {self.name} learns answers that are {' or '.join(ANSWERS[one] for one in self.answers)}; "
            f"those of the task {task.name} are {ANSWERS.get(task.answer, 'written')}. Use {instead}."
        )

    def wrap(self, base: Base | None, task: Task, train: Sequence[Example]) -> Any:
        """A model that has learned from `train`."""
        return self.fit(task, train)

    def save(self, model: Any, base: Base | None, folder: Path) -> None:
        """Write the model as JSON and, where it has arrays, as safetensors."""
        from safetensors.numpy import save_file

        contents, arrays = model.contents()
        write_json(folder / MODEL, contents)
        if arrays:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / ARRAYS)

    def load(self, base: Base | None, task: Task, folder: Path) -> Any:
        """The model that `save` wrote. Raises ArtifactError where it cannot be one."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        with _damaged(folder, OSError, SafetensorError):
            contents = json.loads((folder / MODEL).read_text(encoding="utf-8"))
            arrays = load_file(folder / ARRAYS) if (folder / ARRAYS).is_file() else {}
            return self.restore(task, contents, arrays)

    def predictor(self, model: Any, base: Base | None, task: Task, *, precision: str = "no") -> Predictor:
        """The model itself."""
        assert isinstance(model, ClassicalModel)
        return model


def text_list(value: Any) -> list[str]:
    """A list of distinct texts of saved contents. Raises ValueError for anything else."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or len(set(value)) < len(value):
        raise ValueError(f"expected distinct texts, found {value!r:.60}")
    return value


def array_of(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], kind: str = "f") -> np.ndarray:
    """A saved array of a shape, finite and of a kind of NumPy (`f`, `i`). Raises KeyError, ValueError."""
    array = arrays[name]
    if array.shape != shape or array.dtype.kind != kind or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers of shape {shape}, found {array.dtype} {array.shape}")
    return array


@contextmanager
def _damaged(folder: Path, *libraries: type[Exception]) -> Iterator[None]:
    """Turn what reading saved contents raises, by Python and by libraries, into an ArtifactError."""
    faults: tuple[type[Exception], ...] = (*FAULTS, *libraries)
    try:
        yield
    except UserError:
        raise
    except faults as error:
        raise ArtifactError(
            f"{folder / MODEL}: not a model that can be used ({type(error).__name__}: {error}). Train it again, or "
            "copy it again from an intact copy."
        ) from error


def _able(answer: str, plugin_dirs: Sequence[str]) -> list[str]:
    """Names of the methods without a base model that learn such answers."""
    found = []
    for name in discovery.names("methods", plugin_dirs):
        method = load_method(name, plugin_dirs)
        if issubclass(method, ClassicalMethod) and answer in method.answers:
            found.append(name)
    return found
