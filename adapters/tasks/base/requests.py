"""Requests: the same from Python, over HTTP, and in a JSONL file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.core.errors import DataError, UserError, refuse_single
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.task import InferenceTask


@dataclass(frozen=True)
class Request:
    """One thing to predict.

    Attributes:
        adapter: name or alias in a bank; None is the base without an adapter.
        inputs: a text, or the task's columns (`text`; `tokens`; `text, text_pair`).
        id: is returned with the answer. Default: the request's number.
        task: how inputs are written and answers read, for an adapter that generates. Default: the adapter's own task.
    """

    adapter: str | None
    inputs: str | Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    task: str | None = None


def request_of(given: Any, number: int, adapter: str | None = None) -> Request:
    """A text, `{id?, adapter?, task?, inputs: {column: value}}`, or the inputs themselves (`{text: …}`) as a Request.

    What cannot be read becomes inputs that no task accepts, so that the answer at its position is an error.
    """
    name: Any
    inputs: Any
    if isinstance(given, Request):
        name, inputs, id, task = given.adapter, given.inputs, given.id, given.task
    elif isinstance(given, Mapping):
        name, id, task = given.get("adapter", adapter), given.get("id"), None
        inputs = given.get("inputs")
        if inputs is not None:
            task = given.get("task")
        if inputs is None:
            inputs = {key: value for key, value in given.items() if key not in ("id", "adapter")}
    else:
        name, inputs, id, task = adapter, given, None, None
    known = name is None or isinstance(name, str)
    task = task if task is None or isinstance(task, str) else repr(task)
    return Request(name if known else repr(name), inputs, str(number) if id is None else id, task)


def requests_of(given: Iterable[Any]) -> list[Request]:
    """Each of a list, as `request_of` reads it. Raises DataError where a single one was given."""
    refuse_single(given, "a list of requests", '[Request("ner", "A text.")]')
    return [request_of(one, number) for number, one in enumerate(given)]


def example_of(request: Request, task: InferenceTask) -> Example:
    """The example in a request. Raises DataError that says what is wrong with its inputs."""
    return task.from_request(inputs_of(request), str(request.id))


def inputs_of(request: Request) -> Mapping[str, Any]:
    """A request's inputs by column. Raises DataError if they are none."""
    inputs: Any = request.inputs
    if isinstance(inputs, DataError):
        raise inputs
    if isinstance(inputs, str):
        inputs = {"text": inputs}
    if not isinstance(inputs, Mapping):
        raise DataError(f"'inputs' must be a text or an object, found {type(inputs).__name__}.")
    return inputs


def answer(
    requests: Sequence[Request],
    task_of: Callable[[Request], InferenceTask],
    predict: Callable[[Sequence[tuple[Request, Example]]], Sequence[Prediction]],
    refused: Callable[[int, UserError], None] | None = None,
) -> list[dict[str, Any]]:
    """Answers in the order of the requests.

    Args:
        requests: the requests, with their ids.
        task_of: the task of a request. Raises UserError if it has none.
        predict: predictions for all requests that could be read, in order.
        refused: called with the index and the error of each request that cannot be read.

    Returns:
        For each request `{id, task, output, truncated}`, or `{id, error}` if it cannot be read.
    """
    answers: list[dict[str, Any]] = []
    read: list[tuple[dict[str, Any], InferenceTask, Request, Example]] = []
    for number, request in enumerate(requests):
        answers.append({"id": request.id})
        try:
            task = task_of(request)
            read.append((answers[-1], task, request, example_of(request, task)))
        except UserError as error:
            answers[-1]["error"] = str(error)
            if refused is not None:
                refused(number, error)
    found = predict([(request, example) for _, _, request, example in read]) if read else []
    for (filled, task, _, example), prediction in zip(read, found, strict=True):
        filled.update(task=task.name, output=task.output(example, prediction), truncated=prediction.truncated)
    return answers
