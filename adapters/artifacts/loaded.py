"""What loading an artifact gives: a predictor that also answers texts and requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapters.core.errors import DataError, refuse_single
from adapters.tasks.base.example import Example, Prediction, check_examples
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.requests import Request, answer, request_of
from adapters.tasks.base.task import Task


class LoadedArtifact:
    """A verified artifact on its base model. It is a predictor, and answers texts and requests."""

    def __init__(self, card: Mapping[str, Any], task: Task, predictor: Predictor, nbytes: int = 0) -> None:
        """Args:
        card: of the artifact.
        task: converts requests to examples, and predictions to outputs.
        predictor: of the model.
        nbytes: size of the model's parameters; 0 where it is no torch model, or not its own.
        """
        self.card = card
        self.task = task
        self.predictor = predictor
        self.nbytes = nbytes

    def __repr__(self) -> str:
        base = f" on {self.card['base']['name']}" if self.card["base"] else ""
        return f"LoadedArtifact({self.card['method']['name']} for {self.task.name}{base})"

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order, as the evaluator asks for them.

        Raises:
            DataError: texts or requests were given: call the artifact with them, or ask for their `answer`.
        """
        check_examples(examples, 'adapters.load(…)("A text."), or a list of texts in its place')
        return self.predictor.predict(examples)

    def __call__(self, inputs: Any) -> Any:
        """The output for a text (or for the task's columns), or a list of outputs for a list of them.

        Args:
            inputs: a text, `{column: value}`, a `Request`, or a list of such.

        Raises:
            DataError: an input is invalid; the message has its number in the list. `answer` returns the other answers.
        """
        one = isinstance(inputs, str | Mapping | Request)
        if not one and not isinstance(inputs, Iterable):
            raise DataError(f"Give a text, {{column: value}}, or a list of such; found {type(inputs).__name__}.")
        answers = self.answer([inputs] if one else list(inputs))
        for number, given in enumerate(answers):
            if "error" in given:
                raise DataError(given["error"] if one else f"input {number}: {given['error']}")
        return answers[0]["output"] if one else [answer["output"] for answer in answers]

    def answer(self, requests: Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Answers to requests, in order.

        Args:
            requests: each a text, `{id?, inputs: {column: value}}`, or only the inputs (`{text: …}`).

        Returns:
            For each `{id, task, output, truncated}`, or `{id, error}` for an invalid request.

        Raises:
            DataError: a single request was given, and no list of one.
        """
        refuse_single(requests, "a list of texts or requests", '["A text."]')
        read = [request_of(given, number) for number, given in enumerate(requests)]
        return answer(read, lambda _: self.task, lambda pairs: self.predict([example for _, example in pairs]))
