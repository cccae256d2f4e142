"""A conditional random field on the words of a sentence: their shape, affixes and neighbours. No base model, no GPU.

Trained by python-crfsuite (L-BFGS; Okazaki 2007, "CRFsuite"). Its model files are not kept: CRFsuite follows the
offsets in a file without checking them, so that a changed file crashes the process. Weights are saved as tensors, and
the likeliest tags are found here (Viterbi), with the same sums in the same order.

The penalties and the window were chosen on dev (CoNLL-2003, the first 1,000 sentences, after 300 / 3,000 random ones of
train), c1, c2, window: 0.1, 0.1, 2: 64.5 / 82.8; 0.1, 0.1, 1: 65.4 / 82.8; 0.01, 0.1, 2: 64.6 / 83.7; 0.03, 0.03, 1:
66.0 / 83.2, in two thirds of the time.
"""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import numbered
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.core.settings import require
from adapters.methods.base.classical import ClassicalMethod, ClassicalModel, array_of, text_list
from adapters.tasks.base.decoding import best_paths
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.explained import Target, Word
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CHUNK = 1024
"""Sentences tagged at a time."""
AFFIX = 4
"""Letters of the longest prefix and suffix."""
OUTSIDE = "outside"
"""The one feature of a neighbour before the first word or after the last one."""
_NEIGHBOUR = re.compile(r"(-?\d+):")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A conditional random field."""

    crf_c1: float = 0.03
    """Weight of the L1 penalty."""
    crf_c2: float = 0.03
    """Weight of the L2 penalty."""
    crf_window: int = 1
    """Number of neighbours on each side whose features count."""
    crf_iterations: int = 100
    """Maximum number of L-BFGS iterations."""


def features(words: Sequence[str], window: int) -> list[list[str]]:
    """The names of the features of each word: its own, then those of its neighbours with their distance."""
    own = [[*_outline(word), *_affixes(word)] for word in words]
    outlines = [_outline(word) for word in words]
    found = []
    for at, first in enumerate(own):
        row = ["bias", *first]
        for distance in (d for d in range(-window, window + 1) if d):
            place = at + distance
            inside = 0 <= place < len(words)
            row += [f"{distance}:{name}" for name in (outlines[place] if inside else [OUTSIDE])]
        found.append(row)
    return found


def _outline(word: str) -> list[str]:
    """A word in lower case, its shape (`Xxxx` of Rome), and its shape without repetitions (`Xx`)."""
    shape = "".join("X" if c.isupper() else "x" if c.islower() else "0" if c.isdecimal() else c for c in word)
    return [f"word={word.lower()}", f"shape={shape}", f"short={''.join(c for c, _ in groupby(shape))}"]


def _affixes(word: str) -> list[str]:
    """The word as it is written, and its beginnings and ends."""
    lengths = range(1, min(AFFIX, len(word)) + 1)
    return [f"as={word}", *(f"prefix={word[:n]}" for n in lengths), *(f"suffix={word[-n:]}" for n in lengths)]


class Field(ClassicalModel):
    """Weights of features and of steps between tags."""

    def __init__(
        self,
        tags: Sequence[str],
        names: Sequence[str],
        weights: csr_matrix,
        steps: np.ndarray,
        window: int,
        labels: Sequence[str],
    ) -> None:
        """Args:
        tags: that were seen in training.
        names: of the features.
        weights: `[features, tags]`.
        steps: `[tags, tags]`, from one tag to the next.
        window: see `Settings.crf_window`.
        labels: all tags of the task, in order.
        """
        self.labels = labels
        self.tags, self.names, self.weights, self.steps, self.window = tags, names, weights, steps, window
        self.index = {name: number for number, name in enumerate(names)}
        self.free = np.zeros(len(tags))
        self.learned = int(weights.nnz + np.count_nonzero(steps))
        self.description = f"{numbered(len(names), 'features')} of words, {numbered(len(tags), 'tags')}"

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """The likeliest tags of each sentence."""
        found = []
        for begin in range(0, len(examples), CHUNK):
            sentences = [example.inputs["tokens"] for example in examples[begin : begin + CHUNK]]
            ends = np.cumsum([len(words) for words in sentences])[:-1]
            paths = best_paths(np.split(self._scores(sentences), ends), self.steps, self.free, self.free)
            found += [Prediction(value=[self.tags[number] for number in path]) for path in paths]
        return found

    def _scores(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """`[words, tags]`: sums of the weights of each word's features, added in their order."""
        from scipy import sparse

        rows = [
            [self.index[name] for name in row if name in self.index]
            for words in sentences
            for row in features(words, self.window)
        ]
        places = np.array([number for row in rows for number in row], np.int64)
        starts = np.cumsum([0, *map(len, rows)])
        given = sparse.csr_matrix((np.ones(len(places)), places, starts), (len(rows), len(self.names)))
        return np.asarray((given @ self.weights).toarray())

    def contributions(self, example: Example, words: Sequence[Word], target: Target) -> tuple[np.ndarray, float]:
        """The weights of the features of each word, at itself and at its neighbours, for the tags of an entity.

        What remains are the weights of every word and of the text's ends. Steps between tags are left out: they are no
        word's.
        """
        index = {tag: number for number, tag in enumerate(self.tags)}
        names = features(example.inputs["tokens"], self.window)
        values, base = np.zeros(len(words)), 0.0
        for at, tag in target.of:
            contrast = np.full(len(self.tags), -1 / max(len(self.tags) - 1, 1))
            contrast[index[self.labels[tag]]] = 1.0
            for name in names[at]:
                if name not in self.index:
                    continue
                added = float(np.asarray(self.weights[self.index[name]] @ contrast).item())
                distance = _NEIGHBOUR.match(name)
                if name == "bias" or (distance and name == f"{distance[0]}{OUTSIDE}"):
                    base += added
                else:
                    values[at + (int(distance[1]) if distance else 0)] += added
        return values, base

    def with_random_weights(self, seed: int) -> Field:
        """The same with the weights of the features in a random order."""
        other = copy.copy(self)
        other.weights = self.weights.copy()
        other.weights.data = np.random.default_rng(seed).permutation(self.weights.data)
        return other

    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Tags, features and window; the weights that are not 0, with their places."""
        known = self.weights.tocoo()
        arrays = {
            "feature": known.row.astype(np.int32),
            "tag": known.col.astype(np.int32),
            "weight": known.data,
            "steps": self.steps,
        }
        return {"tags": list(self.tags), "features": list(self.names), "window": self.window}, arrays


class Method(ClassicalMethod):
    """Trains a conditional random field."""

    name = "crf"
    answers = ("tags",)
    libraries = ("pycrfsuite", "scipy.sparse")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        for name in ("crf_c1", "crf_c2"):
            require(0 <= getattr(settings, name) < np.inf, name, getattr(settings, name), "a number, 0 or more")
        require(0 <= settings.crf_window <= 10, "crf_window", settings.crf_window, "from 0 to 10")
        require(settings.crf_iterations >= 1, "crf_iterations", settings.crf_iterations, "at least 1")

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """The two penalties, and the number of neighbours."""
        return {"crf_c1": LogUniform(0.001, 1), "crf_c2": LogUniform(0.001, 1), "crf_window": Choice(1, 2, 3)}

    def fit(self, task: Task, train: Sequence[Example]) -> Field:
        """Train on all sentences."""
        import pycrfsuite

        settings = self.settings
        trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
        trainer.set_params({"c1": settings.crf_c1, "c2": settings.crf_c2, "max_iterations": settings.crf_iterations})
        # CRFsuite gets numbers for names, which no character of a word can break.
        numbers: dict[str, str] = {}
        for example in train:
            rows = [
                [numbers.setdefault(name, str(len(numbers))) for name in row]
                for row in features(example.inputs["tokens"], settings.crf_window)
            ]
            if rows:
                trainer.append(rows, [str(task.labels.index[tag]) for tag in example.gold])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            trainer.train(str(path))
            tags, kept, weights, steps = read_model(path)
        names = [*numbers]
        return Field(
            [task.labels.names[int(tag)] for tag in tags],
            [names[int(number)] for number in kept],
            weights,
            steps,
            settings.crf_window,
            task.labels.names,
        )

    def restore(self, task: Task, contents: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Field:
        """The saved weights."""
        from scipy import sparse

        tags, names, window = text_list(contents["tags"]), text_list(contents["features"]), contents["window"]
        if not tags or not set(tags) <= set(task.labels.names) or window not in range(11):
            raise ValueError(f"tags, window: not those of the task and the method: {tags!r:.60}, {window!r:.60}")
        shape = arrays["weight"].shape
        places = [array_of(arrays, name, shape, "i") for name in ("feature", "tag")]
        for place, size in zip(places, (len(names), len(tags)), strict=True):
            if len(place) and not 0 <= place.min() <= place.max() < size:
                raise ValueError(f"weights of features or tags that are not there: {place.min()} to {place.max()}")
        weights = sparse.csr_matrix((array_of(arrays, "weight", shape), tuple(places)), (len(names), len(tags)))
        return Field(tags, names, weights, array_of(arrays, "steps", (len(tags), len(tags))), window, task.labels.names)


def read_model(path: Path) -> tuple[list[str], list[str], csr_matrix, np.ndarray]:
    """Tags, features, `[features, tags]` and `[tags, tags]` of a model file that CRFsuite has just written.

    The weights are read from the file, as CRFsuite prints them with six decimals only.
    """
    import pycrfsuite
    from scipy import sparse

    tagger = pycrfsuite.Tagger()
    with tagger.open(str(path)):
        info = tagger.info()
    tags, names = (sorted(known, key=lambda name: int(known[name])) for known in (info.labels, info.attributes))
    content = path.read_bytes()
    head = np.frombuffer(content, "<u4", 12)
    assert content[:4] == b"lCRF" and content[8:12] == b"FOMC", content[:12]
    begin = int(head[7])
    count = int(np.frombuffer(content, "<u4", 3, begin)[2])
    form = np.dtype([("kind", "<u4"), ("source", "<u4"), ("tag", "<u4"), ("weight", "<f8")])
    rows = np.frombuffer(content, form, count, begin + 12)
    state, transition = (rows[rows["kind"] == kind] for kind in (0, 1))
    places = (state["source"].astype(np.int32), state["tag"].astype(np.int32))
    weights = sparse.csr_matrix((state["weight"].astype(np.float64), places), (len(names), len(tags)))
    steps = np.zeros((len(tags), len(tags)))
    steps[transition["source"], transition["tag"]] = transition["weight"]
    return tags, names, weights, steps
