"""When dev is scored, and when its scores end a training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from adapters.core import discovery
from adapters.core.errors import ModelError
from adapters.core.progress import ProgressBar
from adapters.core.settings import CommonSettings, join
from adapters.methods.base.method import load_method
from adapters.models.base_model import open_base
from adapters.tasks.base import examples
from adapters.training.history import History
from adapters.training.state import trainable_parameters
from adapters.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
Train = Callable[..., History]


@pytest.fixture
def prepared(tiny_bert: Path, tagged: Path) -> Callable[..., Trainer]:
    """A trainer of the head on 16 examples, two steps an epoch."""

    def prepare(**changes: Any) -> Trainer:
        kinds = [discovery.load("tasks", "ner").Settings, discovery.load("methods", "head").Settings]
        given: dict[str, Any] = {
            "dataset_name": str(tagged), "max_train_samples": 16, "per_device_train_batch_size": 8,
            "mixed_precision": "no", **changes,
        }  # fmt: skip
        settings = join(CommonSettings, *kinds)(**given)
        task, splits, _ = examples.read_splits("ner", settings)
        base = open_base(str(tiny_bert))
        method = load_method("head")(settings)
        model = method.wrap(base, task.on(base.kind), splits["train"])
        trained: Trainer = tiny.trainer(method, model, base, task.on(base.kind), splits["train"])
        assert trained.plan.steps_per_epoch == 2
        return trained

    return prepare


@pytest.fixture
def train(prepared: Callable[..., Trainer]) -> Train:
    """Trains with given dev scores."""
    return lambda score, **changes: prepared(**changes).run(score)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainable_parameters(trainer.unwrapped).items()}


def test_the_weights_of_the_best_dev_score_are_kept_and_not_the_last(prepared: Callable[..., Trainer]) -> None:
    trainer = prepared(num_train_epochs=4, early_stopping_patience=9, learning_rate=0.01)
    scores, seen = iter([0.1, 0.9, 0.5, 0.4]), list[dict[str, torch.Tensor]]()

    def score() -> float:
        seen.append(weights(trainer))
        return next(scores)

    history = trainer.run(score)
    assert history.best_step == 4 and history.steps == 8 and len(seen) == 4
    kept = weights(trainer)
    assert kept and all(torch.equal(value, seen[1][name]) for name, value in kept.items())
    assert not any(torch.equal(value, seen[3][name]) for name, value in kept.items())


@pytest.mark.parametrize(("longest", "clipped"), [(1e-3, True), (1e9, False)])
def test_a_gradient_longer_than_the_limit_is_shortened_to_it(
    prepared: Callable[..., Trainer], longest: float, clipped: bool
) -> None:
    trainer = prepared(max_grad_norm=longest)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    trainer.schedule = torch.optim.lr_scheduler.ConstantLR(trainer.optimizer, factor=1.0)
    before = weights(trainer)
    trainer.train_step(trainer.dataset.batches(0, 1)[:1])
    moved = sum(float((value - before[name]).square().sum()) for name, value in weights(trainer).items()) ** 0.5
    assert moved == pytest.approx(1e-3, rel=1e-2) if clipped else moved > 0.01


def test_a_gradient_that_is_not_finite_is_refused_before_anything_changes(prepared: Callable[..., Trainer]) -> None:
    trainer = prepared()
    trained = next(one for one in trainer.unwrapped.parameters() if one.requires_grad)
    trained.register_hook(lambda gradient: gradient * math.nan)
    before = weights(trainer)
    with pytest.raises(ModelError, match="The gradient norm is nan at step 1; nothing was updated"):
        trainer.train_step(trainer.dataset.batches(0, 1)[:1])
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"num_train_epochs": 3}, [2, 4, 6]),
        ({"num_train_epochs": 20}, list(range(2, 41, 2))),  # still each epoch
        ({"num_train_epochs": 3, "min_train_steps": 90}, [*range(6, 90, 6), 90]),  # 4.5 steps are three epochs
        ({"num_train_epochs": 22.5}, [*range(4, 45, 4), 45]),  # the end is scored even in the middle of an epoch
    ],
)
def test_dev_is_scored_each_epoch_or_after_some_steps_in_a_training_of_many(
    train: Train, changes: dict[str, Any], steps: list[int]
) -> None:
    scores = iter(range(99))
    history = train(lambda: next(scores) / 100, **changes)
    assert [score["step"] for score in history.scores] == steps
    seconds = [score["seconds"] for score in history.scores]
    assert seconds == sorted(seconds) and 0 < seconds[-1] == history.seconds


def test_patience_counts_scores_and_ends_nothing_before_the_least_number_of_steps(train: Train) -> None:
    def level() -> float:
        return 0.0

    assert train(level, num_train_epochs=50, early_stopping_patience=3).steps == 6 * 4
    assert train(level, num_train_epochs=100_000, early_stopping_patience=3).steps == 10 * 4, "endless is no longer"
    assert train(level, num_train_epochs=50, early_stopping_patience=3, min_train_steps=60).steps == 60
    assert train(level, num_train_epochs=1, early_stopping_patience=1, min_train_steps=30).steps == 30


@pytest.mark.parametrize(("changes", "said"), [({"num_train_epochs": 3}, True), ({"max_train_steps": 6}, False)])
def test_a_training_of_few_steps_says_so_unless_they_were_asked_for(
    train: Train, changes: dict[str, Any], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = itertools.count(1)
    history = train(lambda: next(scores) / 9, **changes)
    assert history.steps == 6
    assert ("6 optimizer steps in all" in capsys.readouterr().err) is said
    assert bool(history.record()["warnings"]) is said


@pytest.mark.parametrize(
    ("words", "accumulated", "said", "steps"),
    [
        (60, None, "a batch has 2.0 labels on average, as texts are long: 8 make a step", 8),
        (4, None, "", 1),
        (60, 1, "a step learns from 2.0 labels on average, as texts are long, and so few may be too noisy: "
                "--gradient_accumulation_steps 8", 1),
        (60, 2, "a step learns from 4.0 labels on average, as texts are long, and so few may be too noisy: "
                "--gradient_accumulation_steps 8", 2),
        (60, 8, "", 8),
    ],
)  # fmt: skip
def test_batches_of_few_labels_are_accumulated_or_warned_about(
    tiny_bert: Path,
    tmp_path: Path,
    words: int,
    accumulated: int | None,
    said: str,
    steps: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "".join(f"{n}{' town' * words},{n % 2}\n" for n in range(40)))
    kinds = [discovery.load("tasks", "classification").Settings, discovery.load("methods", "head").Settings]
    settings = join(CommonSettings, *kinds)(
        train_file=str(path), max_tokens_per_batch=128, gradient_accumulation_steps=accumulated, mixed_precision="no"
    )
    task, splits, _ = examples.read_splits("classification", settings)
    base, method = open_base(str(tiny_bert)), load_method("head")(settings)
    model = method.wrap(base, task.on(base.kind), splits["train"])
    trainer = tiny.trainer(method, model, base, task.on(base.kind), splits["train"])
    warned = capsys.readouterr().err
    assert said in warned and ("labels on average" in warned) is bool(said)
    assert trainer.plan.accumulated == steps
    assert trainer.plan.steps_per_epoch == -(-len(trainer.dataset.batches(0, 1)) // steps)
    trainer._next_step(ProgressBar("", 1, shown=False))
    assert trainer.history.tokens == sum(
        trainer.dataset.lengths[row] for batch in trainer.dataset.batches(0, 1)[:steps] for row in batch
    )


def test_what_is_not_learned_from_is_no_label(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a word of many tokens one is labelled."""
    path = tmp_path / "words.conll"
    path.write_text("".join(f"{chr(97 + n) * 30}\tB-PER\n{'y' * 25}\tO\n\n" for n in range(20)))
    kinds = [discovery.load("tasks", "ner").Settings, discovery.load("methods", "head").Settings]
    settings = join(CommonSettings, *kinds)(train_file=str(path), max_tokens_per_batch=128, mixed_precision="no")
    task, splits, _ = examples.read_splits("ner", settings)
    base, method = open_base(str(tiny_bert)), load_method("head")(settings)
    tiny.trainer(method, method.wrap(base, task, splits["train"]), base, task, splits["train"])
    assert "labels on average" in capsys.readouterr().err
