"""F1 of relations: SemEval's official figure and TACRED's."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sklearn.metrics import f1_score

from adapters.evaluation.metrics.relation_f1 import Metric

NAMES = ("Cause-Effect", "Entity-Origin", "Message-Topic")
DIRECTED = [f"{name}({one})" for name in NAMES for one in ("e1,e2", "e2,e1")]


def drawn(labels: list[str], seed: int, count: int = 200) -> tuple[list[str], list[str]]:
    generator = random.Random(seed)
    gold = [generator.choice(labels) for _ in range(count)]
    return gold, [one if generator.random() < 0.5 else generator.choice(labels) for one in gold]


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_that_of_semevals_scorer(seed: int) -> None:
    # Of a relation, a pair is a true positive where relation and direction are right; precision divides by the pairs
    # that were given the relation in either direction, recall by those that have it in either direction.
    labels = [*DIRECTED, "no_relation"]
    gold, found = drawn(labels, seed)
    each = []
    for name in NAMES:
        right = sum(a == b and a.startswith(name) for a, b in zip(gold, found, strict=True))
        given, true = (sum(one.startswith(name) for one in side) for side in (found, gold))
        precision, recall = right / given, right / true
        each.append(2 * precision * recall / (precision + recall))
    scores = Metric(labels).score_all(gold, found)
    assert scores["macro_f1"] == pytest.approx(np.mean(each))
    assert scores["accuracy"] == pytest.approx(np.mean([a == b for a, b in zip(gold, found, strict=True)]))


@pytest.mark.parametrize(("seed", "printed"), [(0, 62.31), (1, 63.90), (2, 64.56), (3, 66.03), (4, 58.12)])
def test_it_is_what_the_official_scorer_printed(seed: int, printed: float) -> None:
    # By the task's own script, version 1.2 of 2010, on these draws.
    names = ("Cause-Effect", "Component-Whole", "Content-Container", "Entity-Destination", "Entity-Origin")
    names += ("Instrument-Agency", "Member-Collection", "Message-Topic", "Product-Producer")
    labels = [*(f"{name}({one})" for name in names for one in ("e1,e2", "e2,e1")), "no_relation"]
    generator = random.Random(seed)
    gold = [generator.choice(labels) for _ in range(300)]
    found = [one if generator.random() < 0.6 else generator.choice(labels) for one in gold]
    assert 100 * Metric(labels).score_all(gold, found)["macro_f1"] == pytest.approx(printed, abs=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_of_relations_without_directions_it_is_scikit_learns_without_no_relation(seed: int) -> None:
    labels = ["born_in", "no_relation", "works_for"]
    gold, found = drawn(labels, seed)
    kept = [label for label in labels if label != "no_relation"]
    scores = Metric(labels).score_all(gold, found)
    assert scores["micro_f1"] == pytest.approx(f1_score(gold, found, labels=kept, average="micro"))
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, found, labels=kept, average="macro"))


def test_the_wrong_direction_is_wrong_and_a_parse_failure_predicts_nothing() -> None:
    metric = Metric([*DIRECTED, "no_relation"])
    turned = metric.counts("Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)")
    assert turned.tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1]
    assert metric.counts("Cause-Effect(e1,e2)", None).tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert metric.counts("no_relation", "no_relation").tolist() == [0] * 9 + [1, 1]
    (section,) = metric.sections(metric.count_all(["no_relation"] * 2, ["no_relation"] * 2).sum(0))
    assert [name for name, _ in section.rows] == [*NAMES, "micro avg", "macro avg", "weighted avg"]
