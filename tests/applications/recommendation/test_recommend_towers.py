"""The two towers: their loss, the batches in which each item is encoded once, and what they begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shop
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

from adapters.applications.recommendation import training
from adapters.applications.recommendation.events import Events
from adapters.applications.recommendation.settings import all_settings
from adapters.applications.recommendation.towers import UserTower, padded, sampled_loss
from adapters.core.errors import DataError, ModelError
from adapters.models.base_model import open_base
from adapters.training.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("one_thread")


def test_with_all_items_in_the_batch_the_loss_is_that_of_the_whole_softmax() -> None:
    torch.manual_seed(0)
    users, items = normalize(torch.randn(6, 8), dim=-1), normalize(torch.randn(5, 8), dim=-1)
    weights, targets = torch.randn(5), torch.tensor([0, 1, 2, 3, 4, 0])
    known = torch.zeros(6, 5, dtype=torch.bool)
    known[torch.arange(6), targets] = True
    whole = cross_entropy(users @ items.T / 0.1 + weights, targets)
    assert torch.allclose(sampled_loss(users, items, weights, targets, known, torch.zeros(5), 0.1), whole)
    known[0, 3] = True  # the user likes it, too: it is no negative
    left = (users[:1] @ items.T / 0.1 + weights)[:, [0, 1, 2, 4]]
    alone = sampled_loss(users[:1], items, weights, targets[:1], known[:1], torch.zeros(5), 0.1)
    assert torch.allclose(alone, cross_entropy(left, targets[:1]))


def test_the_correction_makes_scores_learn_popularity_and_not_how_items_come_into_batches() -> None:
    """Items with weights alone, drawn in proportion to their likes: the weights learn the logarithm of the share of the
    likes with the correction, and no such thing without it."""
    share = np.array([0.6, 0.25, 0.1, 0.05])
    draw = np.random.default_rng(0)

    def learned(corrected: bool) -> np.ndarray:
        weights = torch.zeros(4, requires_grad=True)
        optimizer = torch.optim.SGD([weights], lr=0.15)
        chance = torch.tensor(np.log(1 - (1 - share) ** 3), dtype=torch.float32)
        for _ in range(800):
            events = draw.choice(4, 3, p=share)
            items, targets = np.unique(events, return_inverse=True)
            zeros = torch.zeros(3, 1)
            known = torch.from_numpy(events[:, None] == items[None])
            given = chance[items] if corrected else torch.zeros(len(items))
            loss = sampled_loss(
                zeros, torch.zeros(len(items), 1), weights[items], torch.from_numpy(targets), known, given, 1.0
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = weights.detach().numpy()
        return found - found.mean()

    wanted = np.log(share) - np.log(share).mean()
    assert np.corrcoef(learned(True), wanted)[0, 1] > 0.95
    assert np.ptp(learned(False)) < 0.7 * np.ptp(learned(True))


def test_an_untrained_user_tower_is_the_mean_of_the_history_and_padding_changes_nothing() -> None:
    tower = UserTower(12, 2, 4).eval()
    draw = np.random.default_rng(0)
    histories = [draw.standard_normal((n, 12)).astype(np.float32) for n in (1, 4, 7, 0)]
    found = tower.vectors(histories)
    for vector, history in zip(found[:3], histories, strict=False):
        mean = history[-4:].mean(0)
        assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert not found[3].any()
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    together = tower.vectors(histories)
    alone = np.vstack([tower.vectors([history]) for history in histories])
    assert np.allclose(together, alone, atol=1e-5)
    reversed_ = tower.vectors([histories[1][::-1].copy()])
    assert not np.allclose(reversed_, together[1], atol=1e-3), "how long ago an item was counts"
    assert padded(histories[:2])[1].tolist() == [[True, False, False, False], [True] * 4]


@settings(max_examples=50, deadline=None)
@given(items=st.lists(st.integers(0, 5), min_size=1, max_size=40), each=st.integers(1, 5), seed=st.integers(0, 5))
def test_each_event_is_in_one_draw_and_a_draw_is_of_one_item(items: list[int], each: int, seed: int) -> None:
    numbers = np.array(items)
    examples = training.Examples(users=numbers, items=numbers, before=[], likes=None)
    draws = examples.draws(each, np.random.default_rng(seed))
    assert sorted(np.concatenate(draws).tolist()) == list(range(len(items)))
    for draw in draws:
        assert len({items[place] for place in draw}) == 1 and len(draw) <= each
    counts = np.bincount(numbers)
    assert len(draws) == sum(-(-count // each) for count in counts)


def learn(
    base: Path, folder: Path, score: Any = None, checkpoints: Checkpoints | None = None, **changes: Any
) -> tuple[training.Towers, Any, list[str]]:
    """Towers on the shop's events, their settings, and the lines printed."""
    given_ = {**shop.files(folder), "model_name_or_path": str(base), "mixed_precision": "no", "attention_heads": 2}
    small = {"batch_items": 8, "events_per_item": 2, "max_item_tokens": 12, "num_train_epochs": 1.0}
    own = all_settings()(**{**given_, **small, **changes})
    catalogue = shop.catalogue()
    rows = [(row["user"], catalogue.number[row["item"]], row["time"], True) for row in shop.events()]
    said: list[str] = []
    towers = training.learn(
        open_base(str(base)), "lora", own, catalogue.texts(), Events.of(rows), score or (lambda _: 0.0), said.append,
        checkpoints,
    )  # fmt: skip
    return towers, own, said


def test_an_item_is_encoded_once_a_batch_and_encodings_are_counted(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    batch = training.Encoder.batch

    def counted(self: training.Encoder, numbers: Any) -> Any:
        if torch.is_grad_enabled():
            seen.append(list(numbers))
        return batch(self, numbers)

    monkeypatch.setattr(training.Encoder, "batch", counted)
    towers, own, _ = learn(tiny_bert, tmp_path, num_train_epochs=2.0)
    assert all(len(set(numbers)) == len(numbers) <= own.batch_items for numbers in seen)
    assert towers.cost["encodings in training"] == sum(map(len, seen)) < 2 * towers.cost["events"]
    assert towers.cost["encodings in refreshing"] == 24 * 3, "at the beginning, and after each epoch"
    assert towers.cost["events"] == 24 * 4, "the first like of each user has no history"
    assert towers.cost["steps"] == len(seen) and len(towers.curve) == 2


def test_the_epoch_with_the_best_dev_score_stays_the_untrained_towers_among_them(
    tiny_bert: Path, tmp_path: Path
) -> None:
    scores = iter([0.5, 0.1, 0.2])
    kept, _, said = learn(tiny_bert, tmp_path, lambda _: next(scores), num_train_epochs=2.0)
    assert np.array_equal(kept.vectors, kept.frozen) and said[0] == "untrained: dev score 50.00%"
    scores = iter([0.5, 0.9, 0.2])
    best, _, _ = learn(tiny_bert, tmp_path, lambda _: next(scores), num_train_epochs=2.0)
    assert not np.allclose(best.vectors, best.frozen)
    assert np.allclose(np.linalg.norm(best.vectors, axis=1), 1, atol=1e-5)
    again, _, _ = learn(tiny_bert, tmp_path, iter([0.5, 0.9, 0.2]).__next__ and (lambda _: 1.0 - len(_.curve)))
    assert np.array_equal(again.vectors, again.frozen)


@pytest.mark.parametrize("ended", [1, 2, 3])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tiny_bert: Path, tmp_path: Path, ended: int) -> None:
    """Stopped after some epochs, and perhaps after the last; the newest checkpoint is damaged in one case."""

    def score(towers: training.Towers) -> float:
        return (0.1, 0.9, 0.3)[len(towers.curve)]

    def stopping(towers: training.Towers) -> float:
        if len(towers.curve) == ended:
            raise KeyboardInterrupt
        return score(towers)

    folder, more = tmp_path / "training", {"num_train_epochs": 3.0, "lora_dropout": 0.3}
    wanted, _, _ = learn(tiny_bert, tmp_path, score, **more)
    kept = Checkpoints(folder, lambda: {"what": "shop"}, save_total_limit=2)
    if ended < 3:
        with pytest.raises(KeyboardInterrupt):
            learn(tiny_bert, tmp_path, stopping, kept, **more)
    else:
        learn(tiny_bert, tmp_path, score, kept, **more)
    if ended == 2:
        file = kept.paths()[0] / "vectors.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\1")
    found, _, said = learn(tiny_bert, tmp_path, score, kept, **more)
    assert f"resuming after epoch {1 if ended == 2 else ended}" in said[1 if ended == 2 else 0]
    assert np.array_equal(found.vectors, wanted.vectors) and np.array_equal(found.weights, wanted.weights)
    states = [towers.user.state_dict() for towers in (found, wanted)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    costs = [{name: value for name, value in towers.cost.items() if name != "seconds"} for towers in (found, wanted)]
    assert costs[0] == costs[1] and len(found.curve) == 3


def test_the_loss_falls_and_likes_of_one_kind_come_together(tiny_bert: Path, tmp_path: Path) -> None:
    towers, _, _ = learn(
        tiny_bert, tmp_path, lambda found: float(len(found.curve)), num_train_epochs=12.0, learning_rate=5e-3
    )
    losses = [epoch["loss"] for epoch in towers.curve]
    assert losses[-1] < 0.8 * losses[0]
    kinds = np.arange(24) // 6
    alike = towers.vectors @ towers.vectors.T
    same = kinds[:, None] == kinds[None]
    before = towers.frozen @ towers.frozen.T
    apart = [found[same].mean() - found[~same].mean() for found in (before, alike)]
    assert apart[1] > apart[0] + 0.1


def test_items_without_a_text_have_no_vector_and_a_middling_weight(tiny_bert: Path) -> None:
    base = open_base(str(tiny_bert))
    model = base.load("AutoModelForSequenceClassification", {"num_labels": 1})
    encoder = training.Encoder(base, model, ["a", "", "b", "c"], 12, "no", torch.device("cpu"))
    vectors, weights = encoder.all()
    assert not vectors[1].any() and vectors[0].any()
    assert weights[1] == pytest.approx(np.median(weights[[0, 2, 3]]))


def test_passes_of_similar_lengths_give_what_one_pass_gives(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = open_base(str(tiny_bert))
    model = base.load("AutoModelForSequenceClassification", {"num_labels": 1}).eval()
    texts = ["ada lived near rome", "a", "ada", "wrote notes in new york", "b c"]
    encoder = training.Encoder(base, model, texts, 12, "no", torch.device("cpu"))
    together = encoder.batch([4, 0, 3, 1, 2])
    monkeypatch.setattr(training, "PASS_TOKENS", 8)
    apart = encoder.batch([4, 0, 3, 1, 2])
    for one, other in zip(together, apart, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    alone = torch.cat([encoder.batch([number])[0] for number in (4, 0, 3, 1, 2)])
    assert torch.allclose(apart[0], alone, atol=1e-5)


def test_there_must_be_something_to_learn_and_an_encoder_to_learn_it(tiny_bert: Path, tmp_path: Path) -> None:
    import tiny

    lonely = Events.of([("u", 0, 1.0, True), ("v", 1, 2.0, True)])
    with pytest.raises(DataError, match="No user likes two items"):
        training.Examples.of(lonely, 2, 5, None)
    with pytest.raises(ModelError, match="recommendation works with encoder"):
        learn(tiny.llama(tmp_path / "llama"), tmp_path)
