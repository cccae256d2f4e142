"""From texts to relations by two artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from adapters.artifacts.pipeline import Pipeline, check_steps
from adapters.cli.main import main
from adapters.core.discovery import load
from adapters.core.errors import ModelError, SettingsError
from adapters.data.labels import LabelSet
from adapters.evaluation.metrics.triple_f1 import Metric

TOWNS, PEOPLE = ("Oslo", "Rome"), ("Ada", "Alan")
asked: list[Any] = []


def find_entities(requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for request in requests:
        text = request["inputs"]["text"]
        if not text:
            answers.append({"error": "empty"})
            continue
        entities = [
            {"text": name, "start": text.index(name), "end": text.index(name) + len(name), "label": kind}
            for kind, names in (("Per", PEOPLE), ("Loc", TOWNS))
            for name in names
            if name in text
        ]
        answers.append({"output": {"text": text, "entities": entities}})
    return answers


def find_relation(requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    asked.append([*requests])
    out: list[dict[str, Any]] = []
    for request in requests:
        given = request["inputs"]
        lives = (given["head_type"], given["tail_type"]) == ("Per", "Loc")
        out.append({"output": {"label": "lives_in" if lives else "no_relation", "score": 0.9}})
    return out


def test_all_ordered_pairs_of_a_sentence_are_asked_for_in_one_batch() -> None:
    asked.clear()
    texts = ["Ada lives in Oslo near Rome.", "", "Alan left. Oslo is old.", "nobody"]
    found = Pipeline(find_entities, find_relation).answer(texts)
    assert [len(batch) for batch in asked] == [6]
    assert found[0]["output"]["relations"] == [
        {"head": 0, "tail": 1, "label": "lives_in", "score": 0.9},
        {"head": 0, "tail": 2, "label": "lives_in", "score": 0.9},
    ]
    assert found[1] == {"id": "1", "error": "empty"}
    assert (found[2]["output"]["pairs"], found[3]["output"]["pairs"]) == (0, 0)  # two sentences; no entity
    request = asked[0][0]["inputs"]
    assert request == {"text": texts[0], "head": [0, 3], "tail": [13, 17], "head_type": "Per", "tail_type": "Loc"}


@pytest.mark.parametrize(("distance", "pairs"), [(0, 0), (2, 0), (3, 2), (9, 2)])
def test_with_a_distance_pairs_are_near_by_their_words(distance: int, pairs: int) -> None:
    pipeline = Pipeline(find_entities, find_relation, max_distance=distance)
    (found,) = pipeline.answer([{"id": "x", "inputs": {"text": "Alan left. Then Oslo slept."}}])
    assert found["id"] == "x"
    assert found["output"]["pairs"] == pairs


def test_a_pipeline_needs_its_two_tasks() -> None:
    ner, relation = load("tasks", "ner").Task, load("tasks", "relation_extraction").Task
    one, other = ner(LabelSet(("O", "B-Per", "I-Per"))), relation(LabelSet(("a", "no_relation")))
    check_steps(one, other)
    with pytest.raises(ModelError, match="pipeline, relation: the task ner finds entities"):
        check_steps(one, one)
    with pytest.raises(SettingsError, match="max_distance"):
        Pipeline(find_entities, find_relation, max_distance=-1)


def test_the_strict_rule_wants_label_direction_and_both_entities() -> None:
    ada, oslo, rome = (0, 3, "Per"), (8, 12, "Loc"), (20, 24, "Loc")
    gold = {ada, oslo, rome}, {(ada, oslo, "lives_in"), (ada, rome, "visits")}
    wrong = (8, 12, "Org")
    found = {ada, wrong, rome}, {(ada, wrong, "lives_in"), (rome, ada, "visits"), (ada, rome, "visits")}
    metric = Metric(())
    assert metric.counts(gold, found).tolist() == [2, 3, 3, 1, 3, 2]
    scores = metric.scores(np.array([metric.counts(gold, found)]).sum(0))
    assert float(scores["relation_f1"]) == pytest.approx(2 * 1 / (3 + 2))
    assert float(scores["entity_f1"]) == pytest.approx(2 / 3)
    assert metric.counts(gold, None).tolist() == [0, 0, 3, 0, 0, 2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["run", "Ada is here", "--max_distance", "3"], "--max_distance: only with --pipeline."),
        (["Ada is here", "--pipeline", "ner=x"], "--pipeline ner=x: needed is ner=FOLDER,relation=FOLDER."),
        (["Ada is here", "--pipeline", "ner=x,ner=y"], "needed is ner=FOLDER,relation=FOLDER."),
        (["Ada is here", "--pipeline", "ner=x,tail=y"], "needed is ner=FOLDER,relation=FOLDER."),
    ],
)
def test_a_pipeline_is_of_two_named_artifacts(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *flags]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
