"""The guarantees of thresholds hold, confidences are scikit-learn's, and scores out of scope are scikit-learn's too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from adapters.applications.customer_service.evaluation import ACCEPTED, _refused, auroc
from adapters.applications.customer_service.gate import CLOSED, Gate, fitted, upper_bound, with_threshold


def draws(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Signals, and whether the answer is right: the surer the more often, and in nine of ten cases at best."""
    values = generator.normal(size=(count, 2))
    return values, generator.random(count) < 0.9 / (1 + np.exp(-3 * values[:, 0] - 2))


def test_the_bound_is_clopper_and_pearsons():
    for wrong, passed in ((0, 59), (3, 100), (10, 40)):
        theirs = binomtest(wrong, passed).proportion_ci(0.90, method="exact").high  # two-sided 90 %: one-sided 95 %
        assert upper_bound(wrong, passed, 0.95) == pytest.approx(theirs)
    assert upper_bound(5, 5, 0.95) == upper_bound(0, 0, 0.95) == 1


@pytest.mark.parametrize("max_wrong", [0.15, 0.25])
def test_a_guarantee_is_broken_no_more_often_than_its_level(max_wrong):
    generator = np.random.default_rng(3)
    gate = fitted(["a", "b"], *draws(generator, 300))
    many, right = draws(generator, 200_000)
    confidence = gate.confidence(many)
    broken = promised = 0
    for _ in range(300):
        own = with_threshold(gate, *draws(generator, 400), max_wrong=max_wrong, promise=0.8)
        if own.promised:
            promised += 1
            passes = confidence > own.threshold
            broken += float(np.mean(~right[passes])) > max_wrong
    assert promised > 150
    assert binomtest(broken, 300, 0.2, alternative="greater").pvalue > 0.01


def test_too_few_questions_guarantee_nothing_and_report_how_many_it_takes():
    values = np.linspace(-1, 1, 30)[:, None]
    gate = fitted(["a"], values, values[:, 0] > -0.5)
    own = with_threshold(gate, values, values[:, 0] > -0.5, max_wrong=0.05, promise=0.95)
    assert not own.promised and own.threshold < CLOSED and own.wrong + 1 <= 0.05 * (own.passed + 1)
    enough = np.linspace(0, 1, own.needed + 4)[:, None]
    least = with_threshold(gate, enough, np.ones(len(enough), bool), max_wrong=0.05, promise=0.95)
    assert least.promised and least.passed == own.needed
    sure = np.sort(gate.confidence(enough))
    assert (
        least.threshold == sure[3]
    )  # what is less sure than nearly all of dev never passes, though no answer is wrong
    nothing = with_threshold(gate, np.zeros((0, 1)), np.zeros(0, bool), max_wrong=0.05, promise=0.95)
    assert nothing.threshold == CLOSED


def test_a_gate_closes_where_every_answer_is_wrong():
    values = np.arange(200.0)[:, None]
    gate = fitted(["a"], values, np.zeros(200, bool))
    assert with_threshold(gate, values, np.zeros(200, bool), max_wrong=0.05, promise=0.95).threshold == CLOSED


def test_a_gate_is_read_as_it_was_recorded():
    gate = fitted(["a", "b"], *draws(np.random.default_rng(0), 50))
    import json

    assert Gate.of_record(json.loads(json.dumps(gate.record()))) == gate


def test_a_confidence_rises_with_what_speaks_for_the_answer():
    gate = fitted(["a"], np.arange(20.0)[:, None], np.arange(20) > 9)
    found = gate.confidence(np.array([[0.0], [10.0], [19.0]]))
    assert 0 < found[0] < found[1] < found[2] < 1
    assert 0 < fitted(["a"], np.zeros((0, 1)), np.zeros(0, bool)).confidence(np.array([[0.5]]))[0] < 1


def test_scores_out_of_scope_are_scikit_learns():
    generator = np.random.default_rng(1)
    inside, outside = np.round(generator.normal(1, 1, 200), 1), np.round(generator.normal(0, 1, 150), 1)
    truth, scores = np.repeat([1, 0], [200, 150]), np.concatenate([inside, outside])
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(truth, scores))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert 1 - _refused(inside, outside, ACCEPTED) == pytest.approx(false[np.argmax(true >= ACCEPTED)])
