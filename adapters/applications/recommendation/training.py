"""Training of the two towers: batches in which each item is encoded once, histories from vectors that are kept.

An event teaches that its user, after the history before it, liked its item. Events of one item are drawn together, up
to `--events_per_item` of them, so that one encoding serves them all; a batch is `--batch_items` such draws, and its
items are one another's negatives. Vectors of histories are those of the last refresh, at the beginning of each epoch:
gradients reach the item tower through the items of the batch alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from adapters.applications.recommendation.events import Events, histories
from adapters.applications.recommendation.settings import method_settings
from adapters.applications.recommendation.towers import (
    UserTower,
    item_task,
    item_vectors,
    sampled_loss,
    token_rows,
)
from adapters.core.errors import CheckpointError, DataError
from adapters.core.processes import use_all_cores
from adapters.core.progress import ProgressBar
from adapters.methods.base.method import Method, load_method
from adapters.models.attention import cast_once, fastest_attention
from adapters.models.base_model import ENCODER, Base, quiet_libraries
from adapters.models.batching import by_length, collate
from adapters.models.devices import choose_device
from adapters.models.precision import autocast_dtype, cast_frozen_weights, fastest_precision
from adapters.training.checkpoint import LATEST, Checkpoints
from adapters.training.optimizer import adamw, schedule
from adapters.training.state import optimizer_state, restore_optimizer, set_parameters, trainable_parameters

INFERENCE_TOKENS, PASS_TOKENS = 4096, 2048
"""Tokens, padding included, of a pass over items: to refresh their vectors, and to learn."""
SHORTENED = 0.5
"""Share of the histories that are shortened in training to a random number of their last items, as new users' are."""


@dataclass(kw_only=True)
class Towers:
    """The towers, and what they cost.

    Attributes:
        method: that adapts the base.
        model: the item tower.
        user: the user tower.
        vectors: float32 `[items, hidden]`, of length 1; 0 for items without a text.
        weights: float32 `[items]`.
        frozen: float32 `[items, hidden]`, vectors of the base before it was adapted.
        cost: seconds; encodings in training and in refreshing; events; steps.
        curve: of each epoch: loss, dev score, seconds.
    """

    method: Method
    model: torch.nn.Module
    user: UserTower
    vectors: np.ndarray
    weights: np.ndarray
    frozen: np.ndarray
    cost: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)


Best = tuple[float, Mapping[str, torch.Tensor], np.ndarray, np.ndarray]
"""A dev score, and the towers that have it: what is trained of both, vectors, weights."""


@dataclass(kw_only=True)
class Progress:
    """How far a training is.

    Attributes:
        best: the best epoch so far.
        steps: done.
        epoch: epochs that have ended.
        seconds: of training.
    """

    best: Best
    steps: int = 0
    epoch: int = 0
    seconds: float = 0.0


@dataclass(kw_only=True)
class Examples:
    """What is learned from: of each event user, item and history, by number.

    Attributes:
        users: int64 `[events]`.
        items: int64 `[events]`.
        before: of each event, the items of its history, the oldest first.
        likes: bool `[users, items]`, sparse: all that a user likes.
    """

    users: np.ndarray
    items: np.ndarray
    before: list[np.ndarray]
    likes: Any

    @classmethod
    def of(cls, events: Events, items: int, history_items: int, most: int | None) -> Examples:
        """The examples of events. Raises DataError where there is none."""
        from scipy.sparse import csr_matrix

        found = sorted(histories(events, history_items), key=lambda one: one[0])[-(most or 0) :]
        if not found:
            raise DataError("No user likes two items before dev begins: there is nothing to learn. Give more events.")
        places = np.array([place for place, _ in found])
        liked = events.likes
        shape = len(events.names), items
        likes = csr_matrix((np.ones(len(liked), bool), (liked.users, liked.items)), shape)
        return cls(
            users=events.users[places], items=events.items[places], before=[own for _, own in found], likes=likes
        )

    def draws(self, each: int, generator: np.random.Generator) -> list[np.ndarray]:
        """Places of events, of one item each, at most `each` together; every event is in one of them."""
        order = generator.permutation(len(self.items))
        order = order[np.argsort(self.items[order], kind="stable")]
        groups = np.split(order, np.flatnonzero(np.diff(self.items[order])) + 1)
        found = [group[begin : begin + each] for group in groups for begin in range(0, len(group), each)]
        return [found[place] for place in generator.permutation(len(found))]


def learn(
    base: Base,
    name: str,
    settings: Any,
    texts: Sequence[str],
    events: Events,
    score: Callable[[Towers], float],
    say: Callable[[str], None],
    checkpoints: Checkpoints | None = None,
) -> Towers:
    """Train towers whose base is adapted by a method; those of the epoch with the best dev score stay.

    Args:
        base: an encoder.
        name: of the method.
        settings: of the recommender.
        texts: of all items.
        events: to learn from.
        score: of towers on dev, higher is better.
        say: prints a line.
        checkpoints: of this training, one for each epoch; it continues from the newest. None keeps none.

    Raises:
        CheckpointError: one cannot be written; earlier ones remain.
        DataError: there is nothing to learn from.
        ModelError: the base does not suit.
    """
    quiet_libraries()
    use_all_cores()
    method = load_method(name)(method_settings(settings, name))
    method.check_kind(base, (ENCODER,), "recommendation")
    task = item_task()
    method.check(base, task)
    examples = Examples.of(events, len(texts), settings.history_items, settings.max_train_events)
    torch.manual_seed(settings.seed)
    device = choose_device(settings.device)
    precision = fastest_precision(device, settings.mixed_precision)
    model = method.wrap(base, task, ())
    if not method.reads_base_weights:
        cast_frozen_weights(model, precision, base.config.dtype)
    model.to(device)
    cast_once(model)
    encoder = Encoder(base, model, texts, settings.max_item_tokens, precision, device)
    user = UserTower(int(base.config.hidden_size), settings.attention_heads, settings.history_items).to(device)
    vectors, weights = encoder.all()
    towers = Towers(method=method, model=model, user=user, vectors=vectors, weights=weights, frozen=vectors)
    Loop(examples, encoder, towers, settings).run(score, say, checkpoints)
    return towers


class Encoder:
    """Encodes items by an item tower, and counts how often."""

    def __init__(
        self, base: Base, model: Any, texts: Sequence[str], most: int, precision: str, device: torch.device
    ) -> None:
        """Args:
        base: of the tower.
        model: the tower.
        texts: of all items.
        most: tokens of a text that are read.
        precision: of the computation.
        device: of the model.
        """
        self.rows = token_rows(base, texts, most)
        self.empty = np.array([not text for text in texts])
        self.model, self.pad_id, self.device = model, base.pad_id, device
        self.precision, self.dtype = precision, autocast_dtype(precision)
        self.learned = self.refreshed = 0

    def batch(self, numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors and weights of some items, with gradients if the model is trained: in passes of similar lengths."""
        rows = [self.rows[number] for number in numbers]
        passes = by_length([len(row) for row in rows], tokens=PASS_TOKENS, rows=None)
        found = [self._pass([rows[place] for place in own]) for own in passes]
        back = torch.argsort(torch.tensor([place for own in passes for place in own], device=self.device))
        vectors, weights = (torch.cat(parts)[back] for parts in zip(*found, strict=True))
        return vectors, weights

    def _pass(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, _ = collate(rows, [[] for _ in rows], self.pad_id)
        inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        learning = self.precision if torch.is_grad_enabled() else "no"
        attention = fastest_attention(self.device, learning, inputs["input_ids"].shape[1])
        with attention, torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            return item_vectors(self.model, inputs)

    @torch.no_grad()
    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """Vectors and weights of all items, as `Towers` has them."""
        self.model.eval()
        hidden = int(self.model.config.hidden_size)
        vectors, weights = np.zeros((len(self.rows), hidden), np.float32), np.zeros(len(self.rows), np.float32)
        batches = by_length([len(row) for row in self.rows], tokens=INFERENCE_TOKENS, rows=None)
        for batch in batches:
            found, weight = self.batch(batch)
            vectors[batch], weights[batch] = found.cpu().numpy(), weight.cpu().numpy()
        self.refreshed += len(self.rows)
        vectors[self.empty] = 0
        if self.empty.any() and not self.empty.all():
            weights[self.empty] = np.median(weights[~self.empty])
        return vectors, weights


class Loop:
    """The epochs of a training."""

    def __init__(self, examples: Examples, encoder: Encoder, towers: Towers, settings: Any) -> None:
        """Args: what is learned from, what encodes, what is trained, and how."""
        self.examples, self.encoder, self.towers, self.settings = examples, encoder, towers, settings
        self.both = torch.nn.ModuleDict({"item": towers.model, "user": towers.user})
        own = towers.method.settings
        per_epoch = max(len(self._epoch(0)), 1)
        self.total = settings.max_train_steps or max(round(per_epoch * settings.num_train_epochs), 1)
        self.optimizer = adamw(towers.model, own)
        user = {"params": list(towers.user.parameters()), "lr": settings.user_learning_rate, "weight_decay": 0.0}
        self.optimizer.add_param_group(user)
        self.schedule = schedule(self.optimizer, own, self.total)

    def run(
        self, score: Callable[[Towers], float], say: Callable[[str], None], checkpoints: Checkpoints | None = None
    ) -> None:
        """Train, and keep the best epoch, the untrained towers among them."""
        towers, begun = self.towers, time.perf_counter()
        found = self._resumed(checkpoints, say)
        if found is None:
            found = Progress(best=self._kept(score(towers)))
            say(f"untrained: dev score {found.best[0]:.2%}")
        before = found.seconds
        with ProgressBar("training", self.total, done=found.steps, shown=sys.stderr is not None) as bar:
            while found.steps < self.total:
                torch.manual_seed(int(self._generator(found.epoch).integers(2**31)))
                losses = []
                for batch in self._epoch(found.epoch)[: self.total - found.steps]:
                    losses.append(self._step(batch, found.epoch))
                    bar.step(f"loss {losses[-1]:.3f}")
                found.steps, found.epoch = found.steps + len(losses), found.epoch + 1
                towers.vectors, towers.weights = self.encoder.all()
                value, found.seconds = score(towers), before + time.perf_counter() - begun
                loss, seconds = float(np.mean(losses)), round(found.seconds, 1)
                towers.curve.append({"epoch": found.epoch, "loss": loss, "score": value, "seconds": seconds})
                bar.say(f"epoch {found.epoch}: loss {loss:.3f}, dev score {value:.2%}, {seconds:.0f} s")
                if value > found.best[0]:
                    found.best = self._kept(value)
                if checkpoints is not None:
                    self._save(checkpoints, found)
        _, parameters, towers.vectors, towers.weights = found.best
        set_parameters(self.both, parameters)
        towers.model.eval()
        towers.cost = {
            "seconds": round(before + time.perf_counter() - begun, 1),
            "events": float(len(self.examples.items)),
            "steps": float(found.steps),
            "encodings in training": float(self.encoder.learned),
            "encodings in refreshing": float(self.encoder.refreshed),
        }

    def _kept(self, value: float) -> Best:
        """A dev score, and the towers that have it."""
        parameters = {name: tensor.clone() for name, tensor in trainable_parameters(self.both).items()}
        return value, parameters, self.towers.vectors, self.towers.weights

    def _save(self, checkpoints: Checkpoints, found: Progress) -> None:
        """Write a checkpoint of an epoch. Raises CheckpointError."""
        towers, (value, parameters, *vectors) = self.towers, found.best
        tensors = {
            "model": trainable_parameters(self.both),
            "optimizer": optimizer_state(self.both, self.optimizer),
            "vectors": _tensors(towers.vectors, towers.weights),
            "best_model": parameters,
            "best_vectors": _tensors(*vectors),
        }
        state = {
            "best": value,
            "steps": found.steps,
            "epoch": found.epoch,
            "seconds": found.seconds,
            "curve": towers.curve,
            "encodings": [self.encoder.learned, self.encoder.refreshed],
            "schedule": self.schedule.state_dict(),
        }
        checkpoints.save(found.epoch, tensors, state)

    def _resumed(self, checkpoints: Checkpoints | None, say: Callable[[str], None]) -> Progress | None:
        """The state of the newest complete checkpoint; None where there is none."""
        if checkpoints is None or not checkpoints.any():
            return None
        try:
            read = checkpoints.find(LATEST, say)
        except CheckpointError:
            say(f"{checkpoints.folder} has no complete checkpoint: the training starts from scratch")
            return None
        towers, tensors, state = self.towers, read.tensors, read.state
        set_parameters(self.both, tensors["model"])
        restore_optimizer(tensors["optimizer"], self.both, self.optimizer, self.schedule, state["schedule"])
        towers.vectors, towers.weights = _arrays(tensors["vectors"])
        towers.curve[:] = state["curve"]
        self.encoder.learned, self.encoder.refreshed = state["encodings"]
        say(f"resuming after epoch {state['epoch']}, from {read.path}")
        best = state["best"], tensors["best_model"], *_arrays(tensors["best_vectors"])
        return Progress(best=best, steps=state["steps"], epoch=state["epoch"], seconds=state["seconds"])

    def _generator(self, epoch: int) -> np.random.Generator:
        """Draws of an epoch."""
        return np.random.default_rng([self.settings.seed, epoch])

    def _epoch(self, epoch: int) -> list[list[np.ndarray]]:
        """The batches of an epoch: draws of events."""
        generator = self._generator(epoch)
        draws = self.examples.draws(self.settings.events_per_item, generator)
        size = self.settings.batch_items
        batches = [draws[begin : begin + size] for begin in range(0, len(draws), size)]
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < 2 else batches

    def _step(self, draws: Sequence[np.ndarray], epoch: int) -> float:
        """One optimizer step; its loss."""
        examples, settings, towers = self.examples, self.settings, self.towers
        places = np.concatenate(list(draws))
        items, targets = np.unique(examples.items[places], return_inverse=True)
        towers.model.train()
        towers.user.train()
        vectors, weights = self.encoder.batch(items.tolist())
        self.encoder.learned += len(items)
        device = self.encoder.device
        generator = np.random.default_rng([settings.seed, epoch, int(places[0])])
        before = [_shortened(examples.before[place], generator) for place in places]
        given, mask = self._histories(before)
        users = towers.user(given.to(device), mask.to(device))
        known = examples.likes[examples.users[places]][:, items].toarray()
        loss = sampled_loss(
            users,
            vectors,
            weights,
            torch.from_numpy(targets).to(device),
            torch.from_numpy(known).to(device),
            torch.from_numpy(self._log_chance(items, len(draws))).to(device),
            settings.temperature,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, towers.method.settings.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def _histories(self, before: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """The vectors of histories as of the last refresh, `[events, items, hidden]`, and where there is an item."""
        longest = max(map(len, before))
        numbers, lengths = np.zeros((len(before), longest), np.int64), np.array([len(own) for own in before])
        for line, own in zip(numbers, before, strict=True):
            line[: len(own)] = own
        mask = np.arange(longest) < lengths[:, None]
        return torch.from_numpy(self.towers.vectors[numbers] * mask[..., None]), torch.from_numpy(mask)

    def _log_chance(self, items: np.ndarray, draws: int) -> np.ndarray:
        """The logarithm of the chance that a batch of this size has each of some items."""
        each = self.settings.events_per_item
        counts = np.bincount(self.examples.items)
        shares = np.ceil(counts / each)
        share = shares[items] / shares.sum()
        found: np.ndarray = np.log(-np.expm1(draws * np.log1p(-np.minimum(share, 1 - 1e-6)))).astype(np.float32)
        return found


def _tensors(vectors: np.ndarray, weights: np.ndarray) -> dict[str, torch.Tensor]:
    """Vectors and weights of items, to write."""
    return {"vectors": torch.from_numpy(vectors), "weights": torch.from_numpy(weights)}


def _arrays(tensors: Mapping[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """What `_tensors` has made of them."""
    return tensors["vectors"].numpy(), tensors["weights"].numpy()


def _shortened(history: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A history, or a random number of its last items."""
    if len(history) < 2 or generator.random() >= SHORTENED:
        return history
    return history[-int(generator.integers(1, len(history))) :]
