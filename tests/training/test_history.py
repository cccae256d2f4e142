"""What dev scores say of a training that learned nothing."""

from __future__ import annotations

import pytest

from adapters.training.history import History


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], ""),
        ([0.0], "stayed 0, the model finds nothing"),
        ([0.0, 0.1], ""),
        ([0.315] * 2, ""),
        ([0.315] * 3, "stayed 31.5, the model may answer everything alike"),
        ([0.315, 0.32, 0.315], ""),
        ([1.0] * 3, ""),
    ],
)
def test_a_dev_score_that_does_not_move_is_reported(scores: list[float], said: str) -> None:
    history = History(scores=[{"step": n, "score": score, "loss": 0.7 - n / 100} for n, score in enumerate(scores)])
    assert said in history.idle() and bool(said) == bool(history.idle())


def test_equal_scores_of_a_model_that_learns_are_no_warning() -> None:
    history = History(scores=[{"step": n, "score": 0.9, "loss": 0.5 / (n + 1)} for n in range(3)])
    assert history.idle() == ""


def test_the_epoch_that_is_kept_is_said() -> None:
    found = [0.5, 0.75, 0.7, 0.75]
    scores = [{"step": 9 * (n + 1), "epoch": n + 1, "score": score, "loss": 0.5} for n, score in enumerate(found)]
    history = History(scores=scores, best_score=0.75, best_step=18)
    assert history.kept() == "kept the weights after epoch 2, dev score 75.00%"
    history.stopped_early = True
    assert history.kept().endswith("75.00%; ended early after 2 scores no higher")
