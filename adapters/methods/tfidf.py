"""TF-IDF: counts of word and character n-grams with a linear model, by scikit-learn. No base model, no GPU.

Texts are weighted by tf-idf (sublinear, L2), then classified by logistic regression, one for each label where a text
may have several, or given a number by ridge regression. Of a pair, both texts, their products and their cosine are
features.

The penalty was set on dev (rotten_tomatoes, 1,000 texts, after 300 / 3,000 random ones of train), C = 1: 61.8 / 74.1;
3: 65.4 / 75.8; 10: 65.2 / 76.2; 30: 65.8 / 75.7; 100: 66.1 / 75.5. With C = 10 without characters: 64.9 / 75.4; words
alone instead of pairs of them: 66.3 / 75.7.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core import discovery
from adapters.core.errors import DataError, ModelError
from adapters.core.search_space import Choice, LogUniform, Space
from adapters.core.settings import require
from adapters.methods.base.classical import ClassicalMethod, ClassicalModel, array_of, text_list
from adapters.models.tokenizer import valid_text
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.explained import Target, Word, WordPlaces
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = r"(?u)\b\w+\b"
CHARACTERS = (2, 5)
STEPS = 1000
"""L-BFGS iterations at most."""
TOLERANCE = 1e-8
"""Of ridge regression's solver, whose own default leaves visible errors."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """TF-IDF with a linear model."""

    tfidf_c: float = 10.0
    """Inverse strength of the L2 penalty on the linear model's weights."""
    word_ngrams: int = 2
    """Length of the longest n-gram of words."""
    char_ngrams: bool = True
    """Whether n-grams of 2 to 5 characters inside words count too."""


class Ngrams:
    """Texts as weighted n-grams of one kind, by scikit-learn's TfidfVectorizer."""

    def __init__(self, analyzer: str, longest: int) -> None:
        """Args:
        analyzer: `word`, or `char_wb` for characters inside words.
        longest: number of words in the longest n-gram.
        """
        self.analyzer, self.longest = analyzer, longest
        self.vectorizer = self._vectorizer(None)

    def _vectorizer(self, vocabulary: Sequence[str] | None) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = self.analyzer == "word"
        return TfidfVectorizer(
            analyzer=self.analyzer,
            ngram_range=(1, self.longest) if words else CHARACTERS,
            token_pattern=WORD if words else None,
            sublinear_tf=True,
            vocabulary=vocabulary,
        )

    @property
    def vocabulary(self) -> list[str]:
        """The n-grams, in the order of their columns."""
        return list(self.vectorizer.get_feature_names_out())

    def fit(self, texts: Sequence[str]) -> bool:
        """Find the n-grams of texts; False where they have none."""
        try:
            self.vectorizer.fit(texts)
        except ValueError:  # scikit-learn's word for an empty vocabulary
            return False
        return True

    def shares(self, text: str, values: Mapping[int, float]) -> Iterator[tuple[tuple[int, int], float]]:
        """The places of a text's n-grams, and the value of each: that of its column, divided by its occurrences.

        Args:
            text: the text.
            values: by column.
        """
        index = self.vectorizer.vocabulary_
        lowered, origin = _lowered(text)
        found: dict[int, list[tuple[int, int]]] = {}
        for ngram, start, end in self._occurrences(lowered):
            column = index.get(ngram)
            if column in values:
                found.setdefault(column, []).append((origin[start], origin[end - 1] + 1))
        for column, places in found.items():
            yield from ((place, values[column] / len(places)) for place in places)

    def _occurrences(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Each n-gram of a text in lower case and its characters, as scikit-learn's analyzers find them."""
        if self.analyzer == "word":
            tokens = [match.span() for match in re.finditer(WORD, text)]
            for size in range(1, self.longest + 1):
                for first in range(len(tokens) - size + 1):
                    run = tokens[first : first + size]
                    yield " ".join(text[start:end] for start, end in run), run[0][0], run[-1][1]
            return
        for match in re.finditer(r"\S+", text):
            padded = f" {match[0]} "
            for size in range(CHARACTERS[0], CHARACTERS[1] + 1):
                for first in range(max(len(padded) - size, 0) + 1):
                    begin, end = match.start() + max(first - 1, 0), match.start() + first + size - 1
                    yield padded[first : first + size], begin, min(end, match.end())
                if size >= len(padded):  # a short word counts once
                    break

    def restore(self, vocabulary: Sequence[str], weights: np.ndarray) -> None:
        """Take saved n-grams and their inverse document frequencies. Raises ValueError."""
        self.vectorizer = self._vectorizer(vocabulary)
        self.vectorizer.idf_ = weights


class Linear(ClassicalModel):
    """A linear model of n-grams."""

    def __init__(
        self, task: Task, ngrams: Sequence[Ngrams], classes: Sequence[str], weights: np.ndarray, bias: np.ndarray
    ) -> None:
        """Args:
        task: whose answers these are.
        ngrams: the features.
        classes: the labels that were seen; none of numbers.
        weights: `[outputs, features]`, an output for each class; where one of two is the answer, for the second.
        bias: `[outputs]`.
        """
        self.task, self.ngrams, self.classes, self.weights, self.bias = task, ngrams, classes, weights, bias
        self.learned = weights.size + bias.size
        self.description = f"{weights.shape[1]:,} features of n-grams"

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """The likeliest label, the labels likelier than not, or the number."""
        if not examples:
            return []
        outputs = np.asarray(features(self.ngrams, self.task, examples) @ self.weights.T) + self.bias
        if self.task.answer == "number":
            return [Prediction(value=float(one)) for one in outputs[:, 0]]
        names = self.task.labels.names
        shares = np.zeros((len(outputs), len(names)))
        shares[:, [self.task.labels.index[name] for name in self.classes]] = self._shares(outputs)
        if self.task.answer == "label":
            return [Prediction(value=names[one.argmax()], detail=one) for one in shares]
        return [Prediction(value=[names[i] for i in np.flatnonzero(one > 0.5)], detail=one) for one in shares]

    def _shares(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities of the classes."""
        from scipy.special import expit, softmax

        if self.task.answer == "labels":
            return np.asarray(expit(outputs))
        if len(self.classes) == 2:
            return np.concatenate([expit(-outputs), expit(outputs)], axis=1)
        return np.asarray(softmax(outputs, axis=1))

    def contributions(self, example: Example, words: Sequence[Word], target: Target) -> tuple[np.ndarray, float]:
        """Each n-gram's weight times its value, shared equally among the words that it is made of.

        An n-gram that occurs several times counts equally at each place; products of a pair's two texts count half in
        either. Raises ModelError for a label that train does not have.
        """
        weights, bias = self._contrast(target)
        texts, width = _texts(self.task, example), 0
        found, values, base = WordPlaces(words), np.zeros(len(words)), bias
        for kind in self.ngrams:
            sides = [kind.vectorizer.transform([text]) for text in texts]
            size = sides[0].shape[1]
            parts = [weights[width + i * size : width + (i + 1) * size] for i in range(len(sides))]
            own = [side.multiply(part).tocsr() for side, part in zip(sides, parts, strict=True)]
            width += len(sides) * size
            if len(sides) == 2:
                both = weights[width : width + size] + weights[width + size]
                shared = sides[0].multiply(sides[1]).multiply(both).tocsr() / 2
                own = [one + shared for one in own]
                width += size + 1
            for number, (text, added) in enumerate(zip(texts, own, strict=True)):
                known = dict(zip(added.indices.tolist(), added.data.tolist(), strict=True))
                base += sum(known.values())
                for (start, end), share in kind.shares(text, known):
                    place = self.task.plain_span(example, number, start, end)
                    at = [] if place is None else [*found.within(*place)]
                    values[at] += share / max(len(at), 1)
                    base -= share if at else 0.0
        return values, float(base)

    def _contrast(self, target: Target) -> tuple[np.ndarray, float]:
        """The weights `[features]` and the bias of a target's score less the mean of the others'."""
        if self.task.answer == "number":
            known = getattr(self.task, "label_range", None)
            return self.weights[0], float(self.bias[0] - (0.0 if known is None else known.mean))
        if target.name not in self.classes:
            raise ModelError(f"The label {target.name} does not occur in train, so nothing was learned of it.")
        number = self.classes.index(target.name)
        if self.task.answer == "labels":
            return self.weights[number], float(self.bias[number])
        if len(self.weights) == 1:
            sign = 1.0 if number == len(self.classes) - 1 else -1.0
            return sign * self.weights[0], float(sign * self.bias[0])
        signs = np.full(len(self.classes), -1 / (len(self.classes) - 1))
        signs[number] = 1.0
        return signs @ self.weights, float(signs @ self.bias)

    def with_random_weights(self, seed: int) -> Linear:
        """The same with the weights of the n-grams in a random order."""
        other = copy.copy(self)
        other.weights = np.random.default_rng(seed).permuted(self.weights, axis=1)
        return other

    def vectors(self, examples: Sequence[Example]) -> csr_matrix:
        """The weighted n-grams."""
        return features(self.ngrams, self.task, examples)

    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """N-grams and classes; the numbers of each."""
        kinds = [{"analyzer": one.analyzer, "longest": one.longest, "ngrams": one.vocabulary} for one in self.ngrams]
        idf = {f"idf_{number}": one.vectorizer.idf_ for number, one in enumerate(self.ngrams)}
        return {"kinds": kinds, "classes": list(self.classes)}, {**idf, "weights": self.weights, "bias": self.bias}


class Method(ClassicalMethod):
    """Fits n-grams and a linear model."""

    name = "tfidf"
    answers = ("label", "labels", "number")
    libraries = ("sklearn.feature_extraction.text", "sklearn.linear_model")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        require(0 < settings.tfidf_c < np.inf, "tfidf_c", settings.tfidf_c, "a number above 0")
        require(1 <= settings.word_ngrams <= 5, "word_ngrams", settings.word_ngrams, "from 1 to 5")

    @classmethod
    def search_space(cls, task: str, plugin_dirs: Sequence[str] = ()) -> Space:
        """The penalty and the kinds of n-grams; where the task weights its classes, whether rare ones count more."""
        space: dict[str, Any] = {
            "tfidf_c": LogUniform(0.1, 1000),
            "word_ngrams": Choice(1, 2, 3),
            "char_ngrams": Choice(False, True),
        }
        weighted = hasattr(discovery.load("tasks", task, plugin_dirs).Settings, "class_weights")
        return {**space, "class_weights": Choice(None, "balanced")} if weighted else space

    def fit(self, task: Task, train: Sequence[Example]) -> Linear:
        """Raises DataError where no text has an n-gram."""
        examples = list(train)
        wanted = {
            "word": self.settings.word_ngrams,
            **({"char_wb": CHARACTERS[1]} if self.settings.char_ngrams else {}),
        }
        texts = [text for example in examples for text in _texts(task, example)]
        kinds = [kind for kind in (Ngrams(*one) for one in wanted.items()) if kind.fit(texts)]
        if not kinds:
            raise DataError(
                "No text of train has a word, so there is nothing to count. Add --char_ngrams, or give another "
                "--text_column_name."
            )
        given, golds = features(kinds, task, examples), [example.gold for example in examples]
        classes, weights, bias = self._fit(task, given, golds)
        return Linear(task, kinds, classes, weights, bias)

    def _fit(self, task: Task, given: csr_matrix, golds: list[Any]) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The classes seen, weights `[outputs, features]` and bias `[outputs]`."""
        if task.answer == "number":
            from sklearn.linear_model import Ridge

            ridge = Ridge(alpha=1 / self.settings.tfidf_c, tol=TOLERANCE).fit(given, golds)
            return [], np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)
        names = task.labels.names
        weights = dict(zip(names, getattr(task, "weights", None) or [1.0] * len(names), strict=True))
        if task.answer == "label":
            seen = [name for name in names if name in set(golds)]
            if len(seen) == 1:
                return seen, np.zeros((1, given.shape[1])), np.zeros(1)
            wanted = np.array([seen.index(gold) for gold in golds])
            return seen, *self._classified(given, wanted, [weights[name] for name in seen])
        found = [
            self._classified(given, np.array([int(name in gold) for gold in golds]), [1.0, weights[name]])
            for name in names
        ]
        return list(names), np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def _classified(
        self, given: csr_matrix, wanted: np.ndarray, weights: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias of a logistic regression; of a constant, its log odds as `Task.prior` has them."""
        from sklearn.linear_model import LogisticRegression

        if wanted.min() == wanted.max():
            odds = (wanted.sum() + 1) / (len(wanted) - wanted.sum() + 1)
            return np.zeros((1, given.shape[1])), np.array([np.log(odds)])
        each = dict(enumerate(weights)) if set(weights) != {1.0} else None
        model = LogisticRegression(C=self.settings.tfidf_c, class_weight=each, max_iter=STEPS).fit(given, wanted)
        return model.coef_, model.intercept_

    def restore(self, task: Task, contents: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Linear:
        """The saved n-grams and weights."""
        kinds, width = [], 0
        for number, saved in enumerate(contents["kinds"]):
            analyzer, longest, vocabulary = saved["analyzer"], saved["longest"], text_list(saved["ngrams"])
            if analyzer not in ("word", "char_wb") or longest not in range(1, CHARACTERS[1] + 1):
                raise ValueError(f"kinds: not n-grams of this method: {analyzer!r:.60}, {longest!r:.60}")
            kinds.append(Ngrams(analyzer, longest))
            kinds[-1].restore(vocabulary, array_of(arrays, f"idf_{number}", (len(vocabulary),)))
            width += 3 * len(vocabulary) + 1 if getattr(task, "pair", False) else len(vocabulary)
        classes = text_list(contents["classes"])
        names = list(task.labels.names)
        complete = classes == names if task.answer == "labels" else bool(classes) == bool(names)
        if not complete or not set(classes) <= set(names):
            raise ValueError(f"classes: not the labels of the task: {classes!r:.60}")
        outputs = 1 if task.answer != "labels" and len(classes) <= 2 else len(classes)
        weights, bias = array_of(arrays, "weights", (outputs, width)), array_of(arrays, "bias", (outputs,))
        return Linear(task, kinds, classes, weights, bias)


def features(ngrams: Sequence[Ngrams], task: Task, examples: Sequence[Example]) -> csr_matrix:
    """`[examples, features]` of texts; of pairs both texts' n-grams, their products, and the cosine of each kind."""
    from scipy import sparse

    columns = []
    texts = [*zip(*(_texts(task, example) for example in examples), strict=True)]
    for kind in ngrams:
        sides = [kind.vectorizer.transform(side) for side in texts]
        columns += sides
        if len(sides) == 2:
            product = sides[0].multiply(sides[1])
            columns += [product, sparse.csr_matrix(product.sum(axis=1))]
    return sparse.hstack(columns, format="csr")


def _lowered(text: str) -> tuple[str, list[int]]:
    """A text in lower case, and of each of its characters the one that it was."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered, list(range(len(text)))
    return lowered, [at for at, character in enumerate(text) for _ in character.lower()]


def _texts(task: Task, example: Example) -> list[str]:
    """The texts of an example: one, or two of a pair."""
    return [valid_text(text) for text in task.plain_texts(example)]
