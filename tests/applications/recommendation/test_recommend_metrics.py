"""Metrics of rankings, held against scikit-learn; slices; tests of differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from adapters.applications.base.scores import mean
from adapters.applications.recommendation.evaluation import (
    ALL,
    COLD,
    KNOWN,
    METRICS,
    NEW,
    SAMPLED,
    WARM,
    Slice,
    case_scores,
    compared,
    evaluate,
    scored,
    slices,
)
from adapters.applications.recommendation.events import Case


@st.composite
def rankings(draw: st.DrawFn, ties: bool) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Scores, what is ranked, and targets."""
    count = draw(st.integers(12, 80))
    values = st.integers(0, 6) if ties else st.integers(-(10**6), 10**6)
    scores = np.array(draw(st.lists(values, min_size=count, max_size=count, unique=not ties)), float)
    among = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    among[:11] = True
    targets = draw(st.lists(st.sampled_from(np.flatnonzero(among).tolist()), min_size=1, max_size=10, unique=True))
    return scores, among, targets


@settings(max_examples=60, deadline=None)
@given(given_=rankings(ties=False), seed=st.integers(0, 9))
def test_metrics_are_those_of_scikit_learn(given_: tuple[np.ndarray, np.ndarray, list[int]], seed: int) -> None:
    scores, among, targets = given_
    found = dict(
        zip(METRICS, case_scores(scores, among, targets, np.random.default_rng(seed).random(len(scores))), strict=True)
    )
    right = np.isin(np.flatnonzero(among), targets)
    values = scores[among]
    assert found["AUC"] == pytest.approx(roc_auc_score(right, values))
    for k in (5, 10):
        assert found[f"nDCG@{k}"] == pytest.approx(ndcg_score([right.astype(float)], [values], k=k))
    order = np.flatnonzero(among)[np.argsort(-values)].tolist()
    ranks = sorted(order.index(target) + 1 for target in targets)
    assert found["MRR"] == pytest.approx(1 / ranks[0])
    assert found["recall@50"] == pytest.approx(np.mean([rank <= 50 for rank in ranks]))


@settings(max_examples=15, deadline=None)
@given(given_=rankings(ties=True))
def test_equal_scores_count_half_in_auc_and_by_chance_elsewhere(
    given_: tuple[np.ndarray, np.ndarray, list[int]],
) -> None:
    scores, among, targets = given_
    right = np.isin(np.flatnonzero(among), targets)
    draws = [
        case_scores(scores, among, targets, np.random.default_rng(seed).random(len(scores))) for seed in range(100)
    ]
    assert np.allclose([draw[0] for draw in draws], roc_auc_score(right, scores[among]))
    expected = ndcg_score([right.astype(float)], [scores[among]], k=10)  # averages over ties
    assert abs(np.mean([draw[3] for draw in draws]) - expected) < 0.15


def test_where_all_that_is_ranked_is_a_target_there_is_no_auc() -> None:
    found = case_scores(np.zeros(3), np.ones(3, bool), [0, 1, 2], np.zeros(3))
    assert np.isnan(found[0]) and found[1:].tolist() == [1, 1, 1, 1]


def case(**changes: object) -> Case:
    own = {"user": "u", "at": 0.0, "history": (0,), "seen": frozenset({0}), "targets": (1, 4), "new": False}
    return Case(**{**own, **changes})  # type: ignore[arg-type]


COLD_ITEMS = np.array([False, False, False, True, True])


def test_slices_rank_warm_targets_among_warm_items_and_cold_ones_among_cold_ones() -> None:
    first, second = case(), case(user="v", new=True, targets=(2,), candidates=(2, 3))
    parts = {part.name: part for part in slices([first, second], COLD_ITEMS, {"odd": np.arange(5) % 2 == 1})}
    assert list(parts) == [ALL, WARM, COLD, "odd", NEW, KNOWN, SAMPLED]
    assert [one.targets for one in parts[WARM].cases] == [(1,), (2,)]
    assert [one.targets for one in parts[COLD].cases] == [(4,)]
    assert np.flatnonzero(parts[COLD].among(first)).tolist() == [3, 4]
    assert np.flatnonzero(parts[WARM].among(first)).tolist() == [1, 2], "what was seen is not ranked"
    assert np.flatnonzero(parts[SAMPLED].among(second)).tolist() == [2, 3]
    assert [one.user for one in parts[NEW].cases] == ["v"] and [one.user for one in parts[KNOWN].cases] == ["u"]


def test_coverage_and_diversity_are_of_lists_of_ten() -> None:
    part = Slice(name=ALL, cases=(case(), case(user="v")), among=lambda one: np.arange(40) > 0)
    vectors = np.eye(40)
    vectors[1:11] = vectors[1]  # the ten that all get are alike
    one = scored(lambda case, among: -np.arange(40.0), part, vectors, 0)
    assert one.coverage == pytest.approx(10 / 39) and one.diversity == pytest.approx(0)
    other = scored(lambda case, among: np.arange(40.0), part, vectors, 0)
    assert other.diversity == pytest.approx(1)


def test_a_system_that_is_better_for_every_user_is_significantly_better() -> None:
    draw = np.random.default_rng(0)
    own = draw.random(60) / 2 + 0.5
    better, same = compared([own, own - 0.3, own + draw.normal(0, 0.001, 60)], 0)
    assert better["value"] == pytest.approx(0.3) and better["p_adjusted"] < 0.001
    assert better["low"] <= 0.3 <= better["high"] + 1e-9
    assert same["p_adjusted"] >= same["p"] and same["p"] > 0.001
    assert compared([own[:1], own[:1]], 0) == [{}], "one user is no test"


def test_tests_of_systems_that_differ_by_chance_are_wrong_as_seldom_as_they_say() -> None:
    draw = np.random.default_rng(1)
    wrong = sum(compared([draw.random(40), draw.random(40)], seed)[0]["p"] < 0.05 for seed in range(60))
    assert wrong <= 9, wrong  # of 60 at 5 %: more than 9 have a probability of 0.1 %


def test_a_user_with_many_cases_is_one_user() -> None:
    """Ten users, whose hundred cases are alike: what looks like a thousand users would always be significant."""
    draw = np.random.default_rng(2)
    users = np.repeat(np.arange(10), 100)
    wrong = sum(
        compared([np.repeat(draw.random(10), 100), np.repeat(draw.random(10), 100)], seed, users)[0]["p"] < 0.05
        for seed in range(40)
    )
    assert wrong <= 7, wrong  # of 40 at 5 %: more than 7 have a probability of 0.1 %
    values = np.repeat(draw.random(10), 100)
    once, many = mean(values[::100], 0), mean(values, 0, users)
    assert many == pytest.approx(once)
    unequal = np.array([0, 0, 0, 1, 2, 2])
    own = draw.random(6)
    (test,) = compared([own, own - 0.25], 0, unequal)
    assert test["value"] == pytest.approx(0.25) and test["low"] == pytest.approx(0.25)
    assert compared([own, own - 0.25], 0, np.zeros(6, int)) == [{}], "one user is no test"


def test_scores_have_intervals_and_the_first_system_is_compared_with_the_others() -> None:
    cases = [case(user=f"u{n}", targets=(1 + n % 4,)) for n in range(30)]
    systems = {
        "oracle": lambda case, among: np.isin(np.arange(5), case.targets).astype(float),
        "chance": lambda case, among: np.zeros(5),
    }
    found = evaluate(systems, slices(cases, COLD_ITEMS, {}), np.eye(5), 0)
    oracle, chance = found[ALL]["systems"]
    assert oracle["nDCG@10"] == {"value": 1, "low": 1, "high": 1} and chance["AUC"]["value"] == 0.5
    assert "difference" not in oracle and chance["difference"]["p_adjusted"] < 0.01
    assert found[ALL]["targets"] == 30 and found[COLD]["cases"] == 14, "those with the targets 3 and 4"
    assert found[ALL]["users"] == 30
    again = evaluate(systems, slices([*cases, *cases], COLD_ITEMS, {}), np.eye(5), 0)
    assert (again[ALL]["cases"], again[ALL]["users"]) == (60, 30)
    for before, after in zip(found[ALL]["systems"], again[ALL]["systems"], strict=True):
        assert after["MRR"] == pytest.approx(before["MRR"])
        assert after.get("difference", {}).get("p") == before.get("difference", {}).get("p")
