"""An artifact as something that answers: from Python in three lines, from `python -m adapters predict`, from a server.

from adapters.predictor import load

ner = load("runs/lora_ner/artifact")
print(ner.answer(["Angela Merkel visited Paris."]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import artifact, methods, peft_folder, tasks
from adapters.discovery import load as load_module
from adapters.errors import ArtifactError, SourceError
from adapters.inference import Predictor
from adapters.requests import answer, request_of
from adapters.settings import CommonSettings, join
from adapters.tasks import Example, Prediction, Task

if TYPE_CHECKING:
    from adapters.model import Base


class Loaded:
    """A verified artifact on its base model; a predictor, and answers requests."""

    def __init__(self, card: Mapping[str, Any], task: Task, predictor: Predictor) -> None:
        """Args:
        card: the artifact's.
        task: makes examples of requests and outputs of predictions.
        predictor: answers.
        """
        self.card = card
        self.task = task
        self.predictor = predictor

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction an example, in order."""
        return self.predictor.predict(examples)

    def answer(self, requests: Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Answers in the order of the requests.

        Args:
            requests: each a text, or `{id?, inputs: {column: value}}`, or the inputs themselves (`{text: …}`).

        Returns:
            For each `{id, task, output, truncated}`, or `{id, error}` where a request cannot be read.
        """
        read = [request_of(given, number) for number, given in enumerate(requests)]
        return answer(read, lambda _: self.task, lambda pairs: self.predict([example for _, example in pairs]))


def parts(card: Mapping[str, Any], folder: Path, plugin_dirs: Sequence[str] = ()) -> tuple[Task, methods.Method]:
    """The task and the method of a card, with its settings. Raises ArtifactError, SettingsError."""
    artifact.check_fields(card, folder)
    name, recorded = card["method"]["name"], card["method"]["settings"]
    task_class = tasks.load(card["task"]["name"], plugin_dirs)
    method_class = methods.load(name, plugin_dirs)
    kind = join(CommonSettings, load_module("methods", name, plugin_dirs).Settings)
    lists = [field.name for field in fields(kind) if field.default_factory is not MISSING]
    try:
        for key in set(lists) & set(recorded):
            if not isinstance(recorded[key], list) or not all(isinstance(one, str) for one in recorded[key]):
                raise TypeError(f"{key}: expected a list of texts, found {recorded[key]!r:.60}")
        task = task_class.from_card(card["task"])
        settings = kind(**{**recorded, "max_length": card["max_length"], "plugin_dir": list(plugin_dirs)})
        return task, method_class(settings)
    except (LookupError, TypeError, ValueError, AssertionError) as error:
        raise ArtifactError(
            f"{folder}: its card describes no {card['task']['name']} by {name} that can be made: "
            f"{type(error).__name__}: {error}"
        ) from error


def load(folder: str | Path, *, base: str | None = None, plugin_dirs: Sequence[str] = ()) -> Loaded:
    """Verify an artifact and load it.

    Args:
        folder: an `artifact` folder.
        base: its base model by path, alias or Hub id; None takes the one that the card names.
        plugin_dirs: folders with methods and tasks of your own.

    Raises:
        ArtifactError: the artifact is damaged, or was trained on another base.
        SourceError: the base cannot be found.
    """
    from adapters.model import open_base, quiet_libraries

    quiet_libraries()
    folder = Path(folder)
    card = artifact.verify(folder)
    task, method = parts(card, folder, plugin_dirs)
    tensors = [name for file in card["tensors"].values() for name in file]
    peft_folder.check_agrees(folder, method, tensors, plugin_dirs)
    on = open_base(str(folder)) if method.self_contained and base is None else _base_of(card, base)
    if not (method.self_contained and base is None):
        artifact.check_base(card, on.name, on.digest, on.tokenizer_digest)
    task = task.on(on.kind)
    return Loaded(card, task, method.predictor(method.load(on, task, folder), on, task))


def _base_of(card: Mapping[str, Any], base: str | None) -> Base:
    """The base asked for, else the one that the card names. A local folder's name alone does not find it again."""
    from adapters.model import open_base

    try:
        return open_base(base or card["base"]["name"])
    except SourceError as error:
        if base is not None:
            raise
        raise SourceError(
            f"{error}\nThe artifact's base can be given by its path: --base FOLDER (base=… in Python)."
        ) from error
