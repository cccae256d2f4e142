"""Explain one answer of a loaded artifact, or of anything else that predicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from adapters.artifacts.explaining.base.attribution import MAX_ERROR, Attribution, Options, chosen
from adapters.artifacts.explaining.base.explanation import Explanation, Neighbour, Part
from adapters.artifacts.explaining.base.reader import Readable, ReadAnswer
from adapters.artifacts.explaining.base.subject import Answer, PredictedAnswer, prompted
from adapters.core.errors import DataError, ModelError, numbered, verb
from adapters.core.settings import require
from adapters.tasks.base.example import Example
from adapters.tasks.base.explained import Target
from adapters.tasks.base.predictor import Predictor
from adapters.tasks.base.requests import Request, example_of
from adapters.tasks.base.task import Task


@contextmanager
def answered(
    predictor: Predictor, task: Task, example: Example, wanted: str | Target | None = None
) -> Iterator[Answer]:
    """The answer to an example, as an attribution method takes it; within the block the model stays as it is.

    Args:
        predictor: what answers.
        task: of it.
        example: to answer.
        wanted: the part of the answer to explain, as of `Task.target`, or the target itself.

    Raises:
        DataError: the input has no word, or the answer no such part.
        ModelError: answers of this task cannot be explained.
    """
    if not task.words(example):
        raise DataError("The text has no word, so there is nothing to explain.")
    if isinstance(predictor, Readable) and type(task).traced is not Task.traced:
        with predictor.reading() as reader:
            yield ReadAnswer(reader, task, example, wanted)
    else:
        yield PredictedAnswer(predictor, task, example, wanted)


def explain(
    predictor: Predictor,
    task: Task,
    inputs: str | Mapping[str, Any] | Request,
    *,
    model: str,
    method: str | None = None,
    target: str | None = None,
    options: Options | None = None,
    neighbours: Sequence[Neighbour] = (),
    plugin_dirs: Sequence[str] = (),
) -> Explanation:
    """Why a predictor gives an answer.

    Args:
        predictor: what answers.
        task: of it.
        inputs: a text, or the task's columns.
        model: name of the method that made the predictor.
        method: name of the attribution method. Default: the preferred one of those that suit the answer.
        target: the part of the answer to explain: a label, an entity (its text or number), an answer in the context.
            Default: what was answered; of several entities the first.
        options: of the attribution.
        neighbours: the nearest training examples, to be shown with it.
        plugin_dirs: folders with attribution methods of your own.

    Raises:
        DataError: invalid inputs, or no such target.
        SettingsError: unknown method, or a library is missing.
        ModelError: the method does not suit this model.
    """
    options = options or Options()
    require(options.steps >= 2, "steps", options.steps, "at least 2")
    request = inputs if isinstance(inputs, Request) else Request(None, inputs)
    example = example_of(request, task)
    with answered(predictor, task, example, target) as answer:
        attribution = chosen(answer, method, plugin_dirs)
        values = attribution.attribute(answer, options)
        base = attribution.base(answer) if attribution.of == "word" else None
        score, probability = _score(answer, base, values)
        explanation = Explanation(
            task=task.name,
            model=model,
            method=attribution.name,
            target=answer.target.name,
            output=task.output(example, answer.prediction),
            probability=probability,
            score=score,
            base=base,
            complete=attribution.complete,
            texts=task.explained_texts(example),
            parts=_parts(answer, attribution, values),
            truncated=answer.prediction.truncated,
            neighbours=neighbours,
        )
        return _with_notes(explanation, answer, attribution, options)


def _score(answer: Answer, base: float | None, values: np.ndarray) -> tuple[float, float | None]:
    """The score and the probability of a target; where the model tells neither, what its own weights add up to."""
    try:
        return answer.score.value, answer.score.probability
    except ModelError:
        return (base or 0.0) + float(values.sum()), None


def _parts(answer: Answer, attribution: Attribution, values: np.ndarray) -> list[Part]:
    """The words or shots with their values."""
    model = prompted(answer)
    if attribution.of == "shot" and model is not None:
        return [
            Part(
                text="; ".join(answer.task.explained_texts(shot).values()),
                value=float(value),
                column="shot",
                start=number,
                end=number + 1,
                label=model.task.write_answer(shot, model.prompt.form),
            )
            for number, (shot, value) in enumerate(zip(model.shown(answer.example), values, strict=True))
        ]
    texts = answer.task.explained_texts(answer.example)
    return [
        Part(
            text=texts[word.column][word.start : word.end],
            value=float(value),
            column=word.column,
            start=word.start,
            end=word.end,
        )
        for word, value in zip(answer.words, values, strict=True)
    ]


def _with_notes(explanation: Explanation, answer: Answer, attribution: Attribution, options: Options) -> Explanation:
    """The explanation, with what is to be known of it."""
    notes = []
    if isinstance(answer, ReadAnswer):
        read = sum((np.asarray(shares.sum(0)).ravel() for shares in answer.traced.rows), np.zeros(len(answer.words)))
        unread = int((read == 0).sum())
        if unread and answer.prediction.truncated:
            of = f"{unread:,} of {numbered(len(answer.words), 'words')} {verb(unread, 'were')} not read (--max_length)"
            notes.append(f"{of}, and {verb(unread, 'count')} nothing")
    notes += attribution.notes(answer, options)
    if explanation.error is not None and explanation.error > MAX_ERROR:
        notes.append(
            f"the attributions add up to {sum(part.value for part in explanation.parts):.3g} of "
            f"{explanation.score - (explanation.base or 0):.3g}; more --steps come nearer"
        )
    return replace(explanation, notes=notes)
