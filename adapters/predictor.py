"""An artifact as something that answers: from Python in three lines, from `python -m adapters predict`, from a server.

from adapters.predictor import load

ner = load("runs/lora_ner/artifact")
print(ner.answer(["Angela Merkel visited Paris."]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import artifact, methods, tasks
from adapters.discovery import load as load_module
from adapters.errors import ArtifactError, DataError, SourceError
from adapters.inference import Predictor
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
        read: list[Example | None] = []
        answers: list[dict[str, Any]] = []
        for number, request in enumerate(requests):
            name: Any = request.get("id", str(number)) if isinstance(request, Mapping) else str(number)
            try:
                read.append(self.task.from_request(_inputs_of(request), str(name)))
                answers.append({"id": name})
            except DataError as error:
                read.append(None)
                answers.append({"id": name, "error": str(error)})
        examples = [example for example in read if example is not None]
        found = iter(self.predict(examples) if examples else [])
        for answer, example in zip(answers, read, strict=True):
            if example is not None:
                prediction = next(found)
                output = self.task.output(example, prediction)
                answer.update(task=self.task.name, output=output, truncated=prediction.truncated)
        return answers


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
    missing = [name for name in ("task", "method", "base", "max_length") if name not in card]
    if missing:
        raise ArtifactError(f"{folder}: its card says nothing of {', '.join(missing)}.")
    method_class = methods.load(card["method"]["name"], plugin_dirs)
    task = tasks.load(card["task"]["name"], plugin_dirs).from_card(card["task"])
    own = load_module("methods", card["method"]["name"], plugin_dirs).Settings
    settings = join(CommonSettings, own)(
        **card["method"]["settings"], max_length=card["max_length"], plugin_dir=list(plugin_dirs)
    )
    method = method_class(settings)
    on = open_base(str(folder)) if method.self_contained and base is None else _base_of(card, base)
    if not (method.self_contained and base is None):
        artifact.check_base(card, on.name, on.digest, on.tokenizer_digest)
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


def _inputs_of(request: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Inputs of a request in any of its forms; a DataError in their place is what was wrong with them."""
    if isinstance(request, str):
        return {"text": request}
    if not isinstance(request, Mapping):
        raise DataError(f"a request is a text or an object, found {type(request).__name__}.")
    inputs = request.get("inputs")
    if inputs is None:
        inputs = {key: value for key, value in request.items() if key not in ("id", "adapter")}
    if isinstance(inputs, DataError):
        raise inputs
    if not isinstance(inputs, Mapping):
        raise DataError(f"'inputs' must be an object, found {type(inputs).__name__}.")
    return inputs
