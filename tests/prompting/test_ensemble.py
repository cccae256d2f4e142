"""Ensembles of prompts and seeds: the mean of their probabilities, saved and loaded as one artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from adapters.core import discovery
from adapters.core.errors import SettingsError
from adapters.core.settings import CommonSettings, join
from adapters.data.labels import LabelSet
from adapters.methods.base.method import load_method
from adapters.prompting.ensemble import averaged
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.classification import Task
from adapters.tasks.ner import Task as Entities

QUERY = 'task = "classification"\nanswer = "label"\nquery = "{{text}} Entities : "\n'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from adapters.models.base_model import open_base

    return open_base(str(tiny.gpt2(tmp_path_factory.mktemp("ensemble") / "gpt2")))


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(LabelSet(("bad", "good")))


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    words = ["Ada", "lived", "near", "Paris", "with", "a", "friend"]
    draw = np.random.default_rng(0)
    return [
        Example(id=str(n), inputs={"text": " ".join(draw.choice(words, 4))}, gold=["bad", "good"][n % 2])
        for n in range(24)
    ]


def asked(tmp_path: Path, **changes: Any) -> Any:
    (tmp_path / "one.toml").write_text(QUERY)
    (tmp_path / "two.toml").write_text(QUERY + 'instruction = "Text : Entities :"\n')
    kind = join(CommonSettings, discovery.load("methods", "few_shot").Settings)
    return load_method("few_shot")(kind(**{"prompt": str(tmp_path / "one.toml"), "shots": 2, **changes}))


def test_prompts_and_orders_answer_by_the_mean_of_their_probabilities(
    base: Any, task: Task, examples: list[Example], tmp_path: Path
) -> None:
    together = asked(tmp_path, ensemble_prompts=[str(tmp_path / "two.toml")], ensemble_seeds=3, seed=1)
    together.check(base, task)
    model = together.wrap(base, task, examples)
    found = together.predictor(model, base, task).predict(examples)
    shares = []
    for prompt in ("one", "two"):
        for seed in (3, 4, 5):
            alone = asked(tmp_path, prompt=str(tmp_path / f"{prompt}.toml"), seed=seed)
            predictor = alone.predictor(alone.wrap(base, task, examples), base, task)
            shares.append([prediction.detail for prediction in predictor.predict(examples)])
    assert np.std(np.array(shares), axis=0).max() > 1e-4, "the members do not all say the same"
    mean = np.mean(shares, axis=0)
    assert np.array([prediction.detail for prediction in found]) == pytest.approx(mean, abs=1e-6)
    assert [prediction.value for prediction in found] == [task.labels.names[i] for i in mean.argmax(1)]
    assert together.notes() == {"prompt": "one + two", "shots": 2, "ensemble": 6}

    together.save(model, base, tmp_path)
    loaded = asked(tmp_path)
    again = loaded.predictor(loaded.load(base, task, tmp_path), base, task).predict(examples)
    assert [prediction.value for prediction in again] == [prediction.value for prediction in found]


def test_a_member_that_could_not_be_asked_has_no_say(base: Any, task: Task, examples: list[Example]) -> None:
    def said(share: float | None, dropped: int = 0) -> Prediction:
        if share is None:
            return Prediction(value="bad", truncated=True, parse_failure=True)
        return Prediction(value="?", detail=np.array([1 - share, share]), shots_dropped=dropped)

    members = [[said(None), said(0.2)], [said(0.9, 2), said(0.4, 1)], [said(None), said(None)]]
    first, second = averaged(task, examples[:2], members, base.word_tokenizer)
    assert first.value == "good" and first.detail == pytest.approx([0.1, 0.9]) and first.shots_dropped == 2
    assert second.value == "bad" and second.detail == pytest.approx([0.7, 0.3]) and second.shots_dropped == 1
    (nobody,) = averaged(task, examples[:1], [[said(None)], [said(None)]], base.word_tokenizer)
    assert nobody.truncated and nobody.value == "bad"


@pytest.mark.parametrize("changes", [{"ensemble_seeds": 0}, {"ensemble_seeds": 2}, {"ensemble_prompts": ["ner_zero"]}])
def test_what_cannot_answer_together_is_refused(changes: dict[str, Any], base: Any, tmp_path: Path) -> None:
    from adapters.data.tag_schemes import tag_labels

    with pytest.raises(SettingsError, match=r"--(ensemble_seeds 0: must be at least 1|prompt ner_\w+: must be)"):
        asked(tmp_path, prompt="ner_few", **changes).check(base, Entities(tag_labels(["PER"])))
