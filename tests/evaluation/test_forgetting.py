"""Forgetting and transfer: against the published matrices, by hand, and in what is left unsaid where scores lack."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from conftest import SHARED_DATA
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adapters.evaluation.forgetting import measures

PUBLISHED = SHARED_DATA / "continual_standard" / "published_matrices_olora_t5large.json"
TOLD = {
    "order1_seqft": (67.8, 78.6, -14.5),
    "order1_icrlora": (68.6, 79.5, -14.5),
    "order1_olora": (78.4, 79.2, -1.2),
    "long_seqlora": (32.0, 76.8, -48.0),
    "long_icrlora": (58.4, 76.6, -19.4),
    "long_olora": (72.2, 72.9, -0.7),
}
"""Mean after the last task, mean when just learnt, mean change: as the README.md next to the matrices states them."""


def published() -> dict[str, Any]:
    if not PUBLISHED.is_file():
        pytest.skip(f"no {PUBLISHED}: the published matrices are shared data, outside the repository")
    found: dict[str, Any] = json.loads(PUBLISHED.read_text())
    return found


def as_matrix(rows: list[dict[str, Any]]) -> tuple[list[str], np.ndarray]:
    names = [row["trained"] for row in rows]
    return names, np.array([[row["exact_match"].get(name, np.nan) for name in names] for row in rows])


def test_the_published_matrices_give_the_published_means() -> None:
    found = published()
    assert set(found) == {*TOLD, "order1_seqlora"}
    for run, (last, learned, change) in TOLD.items():
        names, matrix = as_matrix(found[run])
        one = measures(matrix, names=names)
        told = (one.final_average, one.learning_accuracy, one.backward)
        assert told == pytest.approx((last, learned, change), abs=0.06)
        assert one.averages[-1] == one.final_average and not one.gaps
        assert one.forgetting is not None and one.forgetting >= -change - 0.06


def test_of_the_published_matrix_without_its_third_row_only_what_needs_it_is_not_told() -> None:
    names, matrix = as_matrix(published()["order1_seqlora"])
    one = measures(matrix, names=names)
    assert one.final_average == pytest.approx(matrix[-1].mean())
    assert one.averages[1] is not None and one.averages[2] is None
    assert (one.learning_accuracy, one.forgetting, one.backward) == (None, None, None)
    assert one.gaps == ("no score on dbpedia, amazon, yahoo after learning yahoo",)


WHOLE = np.array([[0.8, 0.1, 0.2], [0.7, 0.9, 0.3], [0.75, 0.6, 0.7]])


def test_each_number_is_the_one_that_its_paper_writes_down() -> None:
    one = measures(WHOLE, untrained=[0.1, 0.2, 0.1], joint=[0.85, 0.9, 0.8])
    assert one.final_average == pytest.approx((0.75 + 0.6 + 0.7) / 3)
    assert one.averages == pytest.approx((0.8, (0.7 + 0.9) / 2, (0.75 + 0.6 + 0.7) / 3))
    assert one.learning_accuracy == pytest.approx((0.8 + 0.9 + 0.7) / 3)
    assert one.forgetting == pytest.approx(((0.8 - 0.75) + (0.9 - 0.6)) / 2)
    assert one.backward == pytest.approx(((0.75 - 0.8) + (0.6 - 0.9)) / 2)
    assert one.forward == pytest.approx(((0.1 - 0.2) + (0.3 - 0.1)) / 2)
    assert one.intransigence == pytest.approx((0.05 + 0.0 + 0.1) / 3)


def test_the_best_earlier_score_may_be_one_after_a_later_task_or_before_the_task() -> None:
    later = WHOLE.copy()
    later[1, 0] = 0.95
    assert measures(later).forgetting == pytest.approx(((0.95 - 0.75) + (0.9 - 0.6)) / 2)
    before = WHOLE.copy()
    before[0, 1] = 0.97
    assert measures(before).forgetting == pytest.approx(((0.8 - 0.75) + (0.97 - 0.6)) / 2)


def test_what_was_not_scored_is_none_and_not_guessed() -> None:
    lower = np.where(np.tril(np.ones((3, 3))) > 0, WHOLE, np.nan)
    one = measures(lower, untrained=[0.1, 0.2, 0.1], joint=[0.85, np.nan, 0.8])
    assert (one.forward, one.intransigence, one.gaps) == (None, None, ())
    assert one.forgetting == measures(WHOLE).forgetting and one.backward == measures(WHOLE).backward
    lower[2, 1] = np.nan
    assert measures(lower, names=["a", "b", "c"]).gaps == ("no score on b after learning c",)
    assert measures(lower).final_average is None


def test_tasks_learned_all_at_once_have_a_final_average_and_nothing_to_forget() -> None:
    one = measures(np.array([[0.8, 0.6]]), learned=[0, 0])
    assert (one.final_average, one.averages, one.forgetting, one.backward) == (0.7, (0.7,), None, None)
    two = measures(np.array([[0.8, 0.6, 0.1], [0.7, 0.7, 0.9]]), learned=[0, 0, 1])
    assert two.averages == pytest.approx((0.7, (0.7 + 0.7 + 0.9) / 3))
    assert two.forgetting == pytest.approx(((0.8 - 0.7) + (0.6 - 0.7)) / 2)


@given(arrays(np.float64, st.integers(2, 6).map(lambda n: (n, n)), elements=st.floats(0, 1)))
def test_a_model_that_never_changes_forgets_nothing_and_forgetting_is_at_least_minus_backward_transfer(
    matrix: np.ndarray,
) -> None:
    one = measures(matrix)
    assert one.forgetting is not None and one.backward is not None
    assert one.forgetting >= -one.backward - 1e-12
    still = measures(np.repeat(matrix[:1], len(matrix), axis=0), untrained=matrix[0].tolist(), joint=matrix[0].tolist())
    assert (still.forgetting, still.backward, still.forward, still.intransigence) == (0, 0, 0, 0)
