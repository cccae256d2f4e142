"""Attributions to words, of tiny models of every kind: they add up, are of the right words, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from captum.attr import LayerIntegratedGradients

from adapters.artifacts import loading
from adapters.artifacts.explaining.base import attribution, explain
from adapters.artifacts.explaining.base.attribution import Options
from adapters.artifacts.explaining.base.reader import ReadAnswer
from adapters.core import discovery
from adapters.core.errors import DataError, ModelError, SettingsError
from adapters.models.base_model import open_base
from adapters.tasks.base.explained import Alternatives
from adapters.tasks.base.requests import Request, example_of

MANY = Options(steps=128)
TEXT = "Ada Lovelace lived in New York ."


def questions() -> Any:
    from adapters.tasks.question_answering import Task

    return Task().on("encoder")


TASKS: dict[str, tuple[Callable[[], Any], Any, str | None]] = {
    "classification": (tiny.classifying, TEXT, None),
    "several labels": (lambda: discovery.load("tasks", "classification").MultiLabelTask(
        tiny.classifying(("a", "b", "c")).labels), TEXT, "b"),
    "a pair": (lambda: tiny.classifying(pair=True), {"text": TEXT, "text_pair": "Grace Hopper wrote notes ."}, None),
    "windows": (lambda: tiny.classifying(windows=True), " ".join([TEXT] * 30), None),
    "regression": (tiny.regressing, TEXT, None),
    "ner": (tiny.tagging, TEXT, None),
    "relation": (tiny.relating, "<e1>Ada Lovelace</e1> lived in <e2>New York</e2> .", None),
}  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bases")
    found = {name: open_base(str(build(folder / name))) for name, build in tiny.BUILDERS.items() if name != "t5"}
    return {"bert": open_base(str(tiny_bert)), **found}


@pytest.fixture(scope="module")
def loaded(bases: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """An artifact with random weights, loaded; each is written once."""
    root, made = tmp_path_factory.mktemp("artifacts"), {}

    def load(base: str, method: str, task: str) -> Any:
        key = f"{base}-{method}-{task}".replace(" ", "_")
        if key not in made:
            kind = TASKS[task][0]().on(bases[base].kind)
            folder = tiny.adapter(root / key, method, bases[base], kind, seed=3)
            made[key] = loading.load(folder, device="cpu", base=str(bases[base].folder), plugin_dirs=())
        return made[key]

    return load


def answer_of(loaded: Any, inputs: Any, target: str | None = None) -> Any:
    example = example_of(Request(None, inputs), loaded.task)
    return explain.answered(loaded.predictor, loaded.task, example, target)


def target_of(loaded: Any, inputs: Any, target: str | None) -> Any:
    """The target, or of a task with entities one that a random model need not have found."""
    if loaded.task.answer != "tags":
        return target
    from adapters.tasks.base.explained import Target

    index = loaded.task.labels.index
    return Target(name="LOC: New York", of=[(4, index["B-LOC"]), (5, index["I-LOC"])])


@pytest.mark.parametrize("base", ["bert", "gpt2", "llama", "roberta", "deberta"])
@pytest.mark.parametrize("task", TASKS)
def test_integrated_gradients_add_up_to_the_difference_of_the_scores(loaded: Any, base: str, task: str) -> None:
    _, inputs, wanted = TASKS[task]
    model = loaded(base, "lora", task)
    with answer_of(model, inputs, target_of(model, inputs, wanted)) as answer:
        assert isinstance(answer, ReadAnswer)
        values = attribution.load("integrated_gradients").attribute(answer, MANY)
        difference = answer.score.value - answer.empty.value
        assert abs(difference) > 1e-4
        assert values.sum() == pytest.approx(difference, rel=0.05, abs=1e-3)
        assert np.abs(values).max() > 0


@pytest.mark.parametrize("method", ["full", "lora", "prefix", "prompt_tuning", "bottleneck", "bitfit", "ia3", "head"])
def test_every_method_with_a_head_is_explained(loaded: Any, method: str) -> None:
    model = loaded("bert", method, "classification")
    with answer_of(model, TEXT) as answer:
        values = attribution.load("integrated_gradients").attribute(answer, MANY)
        assert values.sum() == pytest.approx(answer.score.value - answer.empty.value, rel=0.05, abs=1e-3)
