"""Which tasks can be prompted, and what a task needs that only answers requests."""

from __future__ import annotations

import pytest

from adapters.core import discovery
from adapters.core.errors import DataError, ModelError
from adapters.data.labels import LabelSet
from adapters.models.base_model import CAUSAL, ENCODER
from adapters.tasks.base import embedding
from adapters.tasks.base.task import InferenceTask, PromptableTask, Task, load_task, promptable
from adapters.tasks.classification import MultiLabelTask
from adapters.tasks.question_answering import Spans
from adapters.tasks.question_answering import Task as QuestionAnswering

PROMPTABLE = [
    *("classification", "ner", "question_answering", "relation_extraction", "summarization", "text_generation"),
    "translation",
]


def test_all_seven_tasks_can_be_prompted() -> None:
    assert [name for name in discovery.names("tasks") if issubclass(load_task(name), PromptableTask)] == PROMPTABLE


@pytest.mark.parametrize("name", PROMPTABLE)
def test_a_task_that_can_be_prompted_has_formats_and_chooses_only_among_them(name: str) -> None:
    task = load_task(name)
    assert issubclass(task, PromptableTask)
    assert task.answer_formats and set(task.chosen_formats) <= set(task.answer_formats)


def test_several_labels_and_marked_answers_cannot_be_prompted() -> None:
    generated = QuestionAnswering()
    assert promptable(generated.on(CAUSAL)) is generated
    marked = generated.on(ENCODER)
    assert type(marked) is Spans and type(marked.on(CAUSAL)) is QuestionAnswering
    assert marked.card() == generated.card()
    for task in (MultiLabelTask(LabelSet(("a", "b"))), marked):
        with pytest.raises(ModelError, match=f"The task {task.name} cannot be prompted; train a method for it"):
            promptable(task)


def test_the_embedding_answers_requests_and_has_no_data() -> None:
    task = embedding.Task()
    assert isinstance(task, InferenceTask) and not isinstance(task, Task)
    assert not hasattr(task, "read") and task.card() == {"name": "embedding"}
    assert task.from_request({"text": "Oslo"}, "7").inputs == {"text": "Oslo"}
    with pytest.raises(DataError, match="the request must be"):
        task.from_request({"tokens": ["Oslo"]}, "7")
