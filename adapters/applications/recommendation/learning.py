"""The verbs of recommendation: read items and events, learn towers, rank, evaluate, save and print."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.applications.base.builder import ApplicationBuilder
from adapters.applications.recommendation import baselines, reading
from adapters.applications.recommendation.behaviour import Behaviour, half_life_of
from adapters.applications.recommendation.events import Case, Events, cases, cut_times
from adapters.applications.recommendation.settings import METHOD, all_settings, check_installed
from adapters.core import arguments
from adapters.core.environment import versions
from adapters.core.errors import DataError, SettingsError, numbered, verb
from adapters.core.files import digest_value, write_json, write_text
from adapters.core.progress import say
from adapters.core.settings import INCIDENTAL, require
from adapters.experiments import run_folder
from adapters.models.base_model import ENCODER

if TYPE_CHECKING:
    from adapters.applications.recommendation.ranker import Ranker
    from adapters.applications.recommendation.signals import ItemSignals, Signals
    from adapters.applications.recommendation.training import Towers
    from adapters.models.base_model import Base
    from adapters.training.checkpoint import Checkpoints

EPOCH_CASES, RANKER_CASES = 500, 3000
"""Cases of dev by which an epoch is chosen and from which the ranker learns, at most."""
DEV_PARTS, MOMENTS = 4, 4
"""Periods that dev is cut into, so that popularity is as fresh in the ranker's cases as it is in service; and moments
of a period at which a user's case is taken, at most: histories of other lengths."""
OTHERS = 150
"""Items of a case that are no targets from which the ranker learns, at most, drawn by chance."""
SCORES, REPORT, TEXT = "scores.json", "report.html", "report.txt"
TRAINING = "training"
"""Folder of checkpoints, until the recommender is written."""
NOT_LEARNED = INCIDENTAL | {"compared_methods", "als", "retrieved", "test_file"}
"""Settings that the towers do not depend on."""
OWN, TOWERS, UNTRAINED = "recommender", "towers alone", "frozen base, untrained"
TITLES = {"full": "full fine-tuning", "head": "frozen base, trained user tower"}
"""What rows of other methods are called; else by the method's name."""


class Recommendation(ApplicationBuilder):
    """Builds a recommender: `read`, `learn`, `rank`, then `evaluate` and `save_and_print`."""

    def __init__(self, doc: str | None, defaults: Mapping[str, Any], argv: Sequence[str] | None = None) -> None:
        """Parse the flags. The arguments are those of `ApplicationBuilder`."""
        super().__init__(all_settings(), doc, defaults, argv)
        check_installed()
        self.towers: dict[str, Towers] = {}
        self.ranked: dict[str, tuple[Signals, Ranker]] = {}

    # reading ----------------------------------------------------------------------------------------------------------

    def read(self) -> Events:
        """Read items, events and cases.

        Raises:
            DataError: with every fault at `file:line`.
            SettingsError: the folder is not a recommender's, or has one.
        """
        settings = self.settings
        self._check_folder()
        self._check_methods()
        self.catalogue, lines = reading.read_items(settings)
        self.note(*lines)
        self.events, lines = reading.read_events(settings, self.catalogue)
        self.note(*lines)
        share = 0.0 if settings.test_file else settings.test_percentage
        self.dev_begins, self.test_begins = cut_times(self.events, settings.dev_percentage, share)
        if settings.test_file:
            self.test_begins = np.inf
            self.test, lines = reading.read_cases(settings.test_file, settings, self.catalogue, self.events)
            self.note(*lines)
        else:
            self.test = cases(self.events, self.test_begins, np.inf, settings.new_user_clicks)
        parts = {
            "train": self.events.before(self.dev_begins),
            "dev": self.events.where((self.events.times >= self.dev_begins) & (self.events.times < self.test_begins)),
            "test": self.events.where(self.events.times >= self.test_begins),
        }
        self.note(", ".join(f"{name}: {numbered(len(part), 'events')}" for name, part in parts.items()))
        if not len(parts["train"]):
            raise DataError(f"{settings.events_file}: all events have one time, so that none is left to learn from.")
        users = {case.user: case.new for case in self.test}
        new, cold = sum(users.values()), f"cold items: {int(self.cold.sum()):,}"
        self.note(f"test: {numbered(len(users), 'users')}, of whom {new:,} {verb(new, 'are')} new, {cold}")
        return self.events

    def _check_methods(self) -> None:
        """Raises SettingsError for a method that is unknown, or trains no base."""
        from adapters.methods.base.method import load_method

        for name in self.settings.compared_methods:
            method = load_method(name)
            fits = method.needs_base and method.trains and ENCODER in method.kinds
            require(fits, "compared_methods", name, "a method that trains an encoder: full, head, …")

    def _check_folder(self) -> None:
        from adapters.applications.recommendation.recommender import OURS, RECORD

        run_folder.check_own(self.folder, (*OURS, SCORES, REPORT, TEXT, TRAINING))
        if (self.folder / RECORD).is_file() and not self.settings.overwrite_output_dir:
            raise SettingsError(
                f"--output_dir {self.folder}: holds a recommender. Name another folder, or add "
                "--overwrite_output_dir to replace it, with what its users did since."
            )

    @cached_property
    def cold(self) -> np.ndarray:
        """bool `[items]`: without a like before the test."""
        found = np.ones(len(self.catalogue), bool)
        found[self.events.before(self.test_begins).likes.items] = False
        return found

    @cached_property
    def half_life(self) -> float:
        """Of recent popularity, in seconds."""
        return half_life_of(self.events.before(self.dev_begins), self.settings.half_life_days)

    # learning ---------------------------------------------------------------------------------------------------------

    @cached_property
    def base(self) -> Base:
        """The base model."""
        from adapters.models.base_model import open_base

        return open_base(self.settings.model_name_or_path)

    def learn(self) -> None:
        """Train the towers of the method, and of those that it is compared with, from the events before dev."""
        from adapters.applications.recommendation.training import learn

        settings = self.settings
        train = self.events.before(self.dev_begins)
        dev = drawn(cases(self.events, self.dev_begins, self.test_begins, settings.new_user_clicks), EPOCH_CASES)
        score = _dev_score(dev, settings.temperature)
        texts = self.catalogue.texts()
        for name in dict.fromkeys((METHOD, *settings.compared_methods)):
            say(f"towers: {settings.model_name_or_path} by {name}")
            kept = self._checkpoints(name, texts, train)
            self.towers[name] = found = learn(self.base, name, settings, texts, train, score, say, kept)
            cost = found.cost
            self.note(
                f"{name}: {cost['events']:,.0f} events, {cost['steps']:,.0f} steps; items encoded "
                f"{cost['encodings in training']:,.0f} times to learn and {cost['encodings in refreshing']:,.0f} "
                f"times to refresh their vectors; {cost['seconds']:.0f} s"
            )

    def _checkpoints(self, name: str, texts: Sequence[str], train: Events) -> Checkpoints:
        """Checkpoints of a training, under a digest of all that it depends on, so that no other continues it."""
        from adapters.training.checkpoint import Checkpoints

        settings = {key: value for key, value in arguments.as_dict(self.settings).items() if key not in NOT_LEARNED}
        columns = [column.tolist() for column in (train.users, train.items, train.times, train.liked)]
        identity = {"what": digest_value([name, settings, self.base.digest, list(texts), columns])}
        folder = self.folder / TRAINING / f"{name}-{identity['what'][:10]}"
        return Checkpoints(folder, lambda: identity, save_total_limit=2)

    def rank(self) -> None:
        """Learn a ranker for each pair of towers from cases of dev, and bring behaviour up to the test's beginning."""
        from adapters.applications.recommendation.ranker import Ranker

        after = Behaviour.of(self.events.before(self.test_begins), len(self.catalogue), self.half_life)
        parts = self._dev_parts()
        for name, towers in self.towers.items():
            groups = []
            for behaviour, own in parts:
                groups += self._groups(self._signals(towers, behaviour), own)
            ranker = Ranker.learned(groups, self.settings.seed)
            useful = sum(right.any() for _, right in groups)
            kind = "lambdarank" if ranker.booster is not None else "too few for a ranker, similarity decides"
            self.note(f"{name}: {useful:,} of {len(groups):,} cases of dev with a target that was retrieved: {kind}")
            self.ranked[name] = self._signals(towers, after), ranker

    def _dev_parts(self) -> list[tuple[Behaviour, list[Case]]]:
        """Cases of consecutive periods of dev, each with the behaviour before it."""
        inside = (self.events.times >= self.dev_begins) & (self.events.times < self.test_begins)
        times = self.events.times[inside]
        edges = [float(part[0]) for part in np.array_split(times, DEV_PARTS) if len(part)]
        edges = [*dict.fromkeys(edges), self.test_begins]
        found = []
        for begin, end in pairwise(edges):
            there = cases(self.events, begin, end, self.settings.new_user_clicks, MOMENTS)
            own = drawn(there, RANKER_CASES // (len(edges) - 1))
            if own:
                before = self.events.before(begin)
                found.append((Behaviour.of(before, len(self.catalogue), self.half_life), own))
        return found

    def _signals(self, towers: Towers, behaviour: Behaviour) -> Signals:
        from adapters.applications.recommendation.signals import Signals

        return Signals(
            catalogue=self.catalogue,
            vectors=towers.vectors,
            weights=towers.weights,
            user=towers.user.cpu().eval(),
            temperature=self.settings.temperature,
            behaviour=behaviour,
            trained=len(self.catalogue),
        )

    def _groups(self, signals: Signals, own: Sequence[Case]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each case, the features of what was retrieved, and which of it are targets."""
        from adapters.applications.recommendation.ranker import retrieved
        from adapters.applications.recommendation.signals import Profile

        groups = []
        draw = np.random.default_rng(self.settings.seed)
        for case in own:
            allowed = np.ones(len(self.catalogue), bool)
            allowed[list(case.seen)] = False
            found = signals.of(Profile(history=case.history), case.at)
            numbers = retrieved(found, allowed, self.settings.retrieved)
            right = np.isin(numbers, case.targets)
            others = np.flatnonzero(~right)
            kept = np.append(np.flatnonzero(right), draw.permutation(others)[:OTHERS])
            groups.append((signals.rows(found, numbers[kept]), right[kept]))
        return groups

    # results ----------------------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, Any]:
        """Score the recommender and its baselines on the test's cases."""
        from adapters.applications.recommendation.evaluation import evaluate, slices

        if not self.test:
            self.note("the test has no user who liked something new: nothing is scored")
            return {}
        named = np.array([item.slice for item in self.catalogue.items])
        groups = {f"{self.settings.slice_column_name}: {name}": named == name for name in dict.fromkeys(named) if name}
        parts = slices(self.test, self.cold, groups)
        found = evaluate(self._systems(), parts, self.towers[METHOD].frozen, self.settings.seed)
        cost = {name: towers.cost for name, towers in self.towers.items()}
        return {
            "split": "test",
            "slices": found,
            "cost": cost,
            "curve": {name: towers.curve for name, towers in self.towers.items()},
            "gains": self.ranked[METHOD][1].gains(),
        }

    def _systems(self) -> dict[str, Any]:
        """All systems, the recommender first."""
        settings, systems = self.settings, {}
        for name in self.towers:
            title = TITLES.get(name, name)
            own, alone = (OWN, TOWERS) if name == METHOD else (title, f"{title}, towers alone")
            found = self._found(name)
            systems[own] = self._whole(name, found)
            systems[alone] = self._alone(found)
        frozen = self.towers[METHOD].frozen
        behaviour = self.ranked[METHOD][0].behaviour
        others = {
            UNTRAINED: lambda case: (
                frozen @ frozen[list(case.history[-settings.history_items :])].mean(0)
                if case.history
                else np.zeros(len(frozen))
            ),
            "popularity": baselines.popularity(behaviour),
            "item-kNN": baselines.item_knn(behaviour),
            "BM25 on the history": baselines.bm25(self.catalogue),
        }
        if settings.als:
            before = self.events.before(self.test_begins)
            others["ALS"] = baselines.als(before, len(self.catalogue), settings.seed)
        for name, score in others.items():
            systems[name] = lambda case, among, score=score: score(case)
        return systems

    def _whole(self, name: str, found: Callable[[Case], ItemSignals]) -> Any:
        from adapters.applications.recommendation.ranker import ranked

        signals, ranker = self.ranked[name]

        def system(case: Case, among: np.ndarray) -> np.ndarray:
            return ranked(signals, ranker, found(case), among, self.settings.retrieved)

        return system

    def _alone(self, found: Callable[[Case], ItemSignals]) -> Any:
        def system(case: Case, among: np.ndarray) -> np.ndarray:
            return found(case).searched["similarity"]

        return system

    def _found(self, name: str) -> Callable[[Case], ItemSignals]:
        """From a case of the test to its signals by some towers; the user tower reads all histories at once."""
        from adapters.applications.recommendation.signals import Profile

        signals, _ = self.ranked[name]
        profiles = [Profile(history=history) for history in dict.fromkeys(case.history for case in self.test)]
        users = dict(zip((one.history for one in profiles), signals.users(profiles), strict=True))
        return lambda case: signals.of(Profile(history=case.history), case.at, users[case.history])

    def save_and_print(self, scores: Mapping[str, Any]) -> None:
        """Write the recommender, its scores and its page."""
        from adapters.applications.recommendation.page import page, report
        from adapters.applications.recommendation.recommender import ADAPTER, EVENTS, OURS, write
        from adapters.applications.recommendation.store import Event, Store

        for name in OURS[1:]:
            (self.folder / name).unlink(missing_ok=True)
        name = self.settings.model_name_or_path
        digest = self._save_tower(self.folder / ADAPTER / "artifact")
        record = {
            "base": str(Path(name).resolve()) if Path(name).exists() else name,
            "digest": digest,
            "max_item_tokens": self.settings.max_item_tokens,
            "settings": arguments.as_dict(self.settings),
            "notes": self.notes,
            "kinds": [name for name in self.events.kinds if name],
        }
        signals, ranker = self.ranked[METHOD]
        store, ids = Store(self.folder / EVENTS), [item.id for item in self.catalogue.items]
        columns = (self.events.users, self.events.items, self.events.times, self.events.liked)
        store.add_events(
            Event(user=self.events.names[user], item=ids[item], time=at, liked=liked)
            for user, item, at, liked in zip(*(column.tolist() for column in columns), strict=True)
        )
        signals.behaviour = Behaviour.of(self.events, len(self.catalogue), self.half_life)
        write_json(self.folder / SCORES, dict(scores))
        if scores:
            write_text(self.folder / REPORT, page(scores, self.notes, record))
            shown = report(scores)
            write_text(self.folder / TEXT, shown)
            print(shown)
        write(self.folder, record, signals, ranker, retrieved=self.settings.retrieved)
        store.close()
        shutil.rmtree(self.folder / TRAINING, ignore_errors=True)
        who = self.events.names[int(self.events.users[-1])]
        self.note(f"written to {self.folder}/. Try: taskswap recommend {self.folder} --user {who}")

    def _save_tower(self, folder: Path) -> str:
        """Write the item tower as an ordinary artifact of a regression; its digest."""
        from adapters.applications.recommendation.towers import item_task
        from adapters.artifacts import artifact
        from adapters.experiments.records import of_base

        towers, base, task = self.towers[METHOD], self.base, item_task()
        method = towers.method
        card = {
            "task": task.card(),
            "request": task.sample_request(),
            "method": {"name": method.name, "library": method.library, "settings": method.recorded()},
            "max_length": self.settings.max_item_tokens,
            "label_digest": task.labels.digest,
            "base": of_base(base, method.settings),
            "versions": versions(),
        }
        readme = (
            "# Item tower\n\nThe mean of its last hidden states is an item's vector, its number the item's weight, "
            "for recommendations by taskswap.\n"
        )
        artifact.write(folder, lambda draft: method.save(towers.model, base, draft), card, readme)
        return str(artifact.read_card(folder)["digest"])


def drawn(given: Sequence[Case], most: int) -> list[Case]:
    """A sample of the cases, by a hash of the user's name: the same in every run."""
    return list(given) if len(given) <= most else sorted(given, key=lambda case: digest_value(case.user))[:most]


def _dev_score(dev: Sequence[Case], temperature: float) -> Any:
    """From towers to their recall@50 on cases of dev, among all items that a user has not seen."""
    from adapters.applications.recommendation.ranker import highest

    def score(towers: Towers) -> float:
        histories = [towers.vectors[list(case.history)] for case in dev]
        users = towers.user.vectors([history[np.any(history != 0, axis=1)] for history in histories])
        found = []
        for case, user in zip(dev, users, strict=True):
            scores = towers.vectors @ user / temperature + towers.weights
            scores[list(case.seen)] = -np.inf
            found.append(len({*highest(scores, 50).tolist()} & {*case.targets}) / len(case.targets))
        return float(np.mean(found)) if found else 0.0

    return score
