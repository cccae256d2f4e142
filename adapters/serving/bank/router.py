"""A router chooses the adapter of a text by its features, for requests that name none.

from adapters import AdapterBank, Router

bank = AdapterBank("minilm")
router = Router.fit("mahalanobis", {"ner": texts_for_ner, "mood": texts_for_mood}, embed=bank.embed)
router.set_threshold({"ner": dev_texts_for_ner, "mood": dev_texts_for_mood}, rate=0.05)
router.save("runs/router", bank.base)

Features are a text's vector from the frozen base without any adapter (`bank.embed`, or `text_embedder`). They can be
given in place of texts everywhere, as arrays `[texts, hidden]`; a router then needs no model at all.

A router scales features to length one: texts out of scope are then told apart better by the means and by the
classifier, and texts find their own adapter as often (chosen on dev of CLINC150; tests/benchmarks/routing.py has the
scores on test).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.core.errors import ArtifactError, DataError, SettingsError, did_you_mean, listing
from adapters.serving.bank import router_file
from adapters.serving.bank.router_kinds import KINDS, Scorer

if TYPE_CHECKING:
    from adapters.models.base_model import Base

Embed = Callable[[list[str]], np.ndarray]
Texts = Sequence[str] | np.ndarray
"""Texts, or their features `[texts, hidden]`."""


@dataclass(frozen=True, kw_only=True)
class Routed:
    """What a router says of a text.

    Attributes:
        adapter: the one that fits best; None if none fits, as its score is below the threshold.
        confidence: share of the adapter that fits best, among the router's adapters: the softmax of the scores at a
            temperature that makes the shares of the dev texts likeliest (`set_threshold`). Before that the temperature
            is 1, at which the shares of `mahalanobis` and `classifier` are posteriors under equal priors. It says which
            of the adapters, not whether any: a text that fits none may have a high one.
        scores: share of each adapter, the highest first.
    """

    adapter: str | None
    confidence: float
    scores: dict[str, float]


class Router:
    """Knows some texts of each adapter, and grows adapter by adapter without the texts of the others.

    Attributes:
        kind: `means` and `mahalanobis` keep sums; `classifier` keeps the features of all texts.
        threshold: the least score of a text that is routed, in the kind's own scores; None routes every text.
        rate: share of the dev texts that were below it when it was set.
        temperature: by which scores are divided to be shares.
        base: digests of the base of the features, if the router was loaded.
    """

    def __init__(self, kind: str = "mahalanobis", *, embed: Embed | None = None) -> None:
        """Args:
        kind: `means`, `mahalanobis` or `classifier`.
        embed: features of texts; None if features are given in place of texts.

        Raises:
            SettingsError: no such kind.
        """
        if kind not in KINDS:
            raise SettingsError(f"No kind of router is called {kind!r}: {did_you_mean(str(kind), KINDS)}.")
        self.kind, self.embed = kind, embed
        self.scorer: Scorer = KINDS[kind]()
        self.hidden: int | None = None
        self.base: Mapping[str, str] | None = None
        self.threshold: float | None = None
        self.rate: float | None = None
        self.temperature = 1.0

    def __repr__(self) -> str:
        known = f"for {listing(self.names, 'adapters')}" if self.names else "without adapters"
        rule = "routes every text" if self.rate is None else f"refuses {100 * self.rate:g} % of dev texts"
        return f"Router({self.kind} {known}; {rule})"

    @classmethod
    def fit(cls, kind: str, texts: Mapping[str, Texts], *, embed: Embed | None = None) -> Router:
        """A router that knows some texts of each adapter. Raises what `add` raises."""
        router = cls(kind, embed=embed)
        for name, given in texts.items():
            router.add(name, given)
        return router

    @property
    def names(self) -> list[str]:
        """Names of the adapters, sorted."""
        return self.scorer.names

    @property
    def counts(self) -> dict[str, int]:
        """Number of texts that each adapter was learnt from."""
        return {name: self.scorer.counts[name] for name in self.names}

    @property
    def bytes(self) -> int:
        """Bytes of the tensors that `save` stores."""
        return sum(tensor.nbytes for tensor in self.scorer.tensors().values()) if self.names else 0

    # learning ---------------------------------------------------------------------------------------------------------

    def add(self, name: str, texts: Texts) -> None:
        """Learn one more adapter; the threshold and the temperature, which were for the others, must be set again.

        Raises:
            SettingsError: the router knows the name.
            DataError: no texts, or features that are not finite or of another base.
        """
        if name in self.scorer.counts:
            raise SettingsError(f"The router knows {name} already. Remove it first to learn it from other texts.")
        features = self._features(texts, name)
        self.scorer.add(name, features)
        self.hidden = features.shape[1]
        self._forget_threshold()

    def remove(self, name: str) -> None:
        """Forget an adapter; the threshold and the temperature must be set again. Raises SettingsError."""
        self._check_known(name)
        self.scorer.remove(name)
        self._forget_threshold()

    def set_threshold(self, dev: Mapping[str, Texts], rate: float) -> None:
        """Set the threshold, so that at most a share of the dev texts is below it, and the temperature.

        The temperature is that of the least cross-entropy on dev. Of n texts, 1 / (n + 2) of each one's target is on
        the best of the other adapters (Platt 1999): without that it would be 0 where no text is routed wrongly.

        Args:
            dev: texts of each adapter, or of some, that it was not learnt from.
            rate: share of them that may be refused though an adapter fits, at least 0 and below 1.

        Raises:
            SettingsError: the rate is not a share, or the router does not know a name.
            DataError: there are no texts, or too few were learnt from.
        """
        if not 0 <= rate < 1:
            raise SettingsError(f"rate={rate}: must be at least 0 and less than 1, as in 0.05.")
        if not dev:
            raise DataError("No dev texts. Give some of each adapter, which it was not learnt from.")
        for name in dev:
            self._check_known(name)
        scored = {name: self.scorer.scores(self._features(texts, name)) for name, texts in dev.items()}
        scores = np.concatenate([*scored.values()])
        right = np.repeat([self.names.index(name) for name in scored], [len(rows) for rows in scored.values()])
        best = np.sort(scores.max(1))
        self.threshold, self.rate = float(best[int(rate * len(best))]), rate
        self.temperature = _temperature(scores, right)

    def _forget_threshold(self) -> None:
        self.threshold = self.rate = None
        self.temperature = 1.0

    # choosing ---------------------------------------------------------------------------------------------------------

    def route(self, texts: Sequence[str]) -> list[Routed]:
        """The adapter of each text. Raises what `choose` raises; SettingsError if the router has no `embed`."""
        return self.choose(self._features(texts, "the texts")) if len(texts) else []

    def choose(self, features: np.ndarray) -> list[Routed]:
        """The adapter of each text by its features, `[texts, hidden]`.

        Raises:
            DataError: features of another base, or the router knows no adapter yet.
        """
        from scipy.special import softmax

        if not self.names:
            raise DataError("The router knows no adapter. Add some: router.add(name, texts).")
        if not len(features):
            return []
        scores = self.scorer.scores(self._features(features, "the texts"))
        shares = softmax(scores / self.temperature, axis=1)
        names = self.names
        routed = []
        for row, share in zip(scores, shares, strict=True):
            order = np.argsort(-row, kind="stable")
            below = self.threshold is not None and row[order[0]] < self.threshold
            routed.append(
                Routed(
                    adapter=None if below else names[order[0]],
                    confidence=float(share[order[0]]),
                    scores={names[i]: float(share[i]) for i in order},
                )
            )
        return routed

    def _features(self, texts: Texts, whose: str) -> np.ndarray:
        """Features as float64 of length one, `[texts, hidden]`. Raises DataError, SettingsError."""
        if not isinstance(texts, np.ndarray):
            if self.embed is None:
                raise SettingsError(
                    "This router was made without a base, so it takes features. Give it texts with "
                    "Router(…, embed=bank.embed)."
                )
            if isinstance(texts, str) or not len(texts):
                raise DataError(f"{whose}: expected a list of texts, found {'a text' if len(texts) else 'none'}.")
            texts = self.embed(list(texts))
        wanted = "texts" if self.hidden is None else f"texts, {self.hidden}"
        if texts.ndim != 2 or not texts.size or self.hidden not in (None, texts.shape[1]):
            raise DataError(f"{whose}: expected features [{wanted}] of the base, found {list(texts.shape)}.")
        features: np.ndarray = texts.astype(np.float64)
        if not np.isfinite(features).all():
            raise DataError(f"{whose}: the features contain values that are not finite. Check the base's weights.")
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        scaled: np.ndarray = features / np.where(lengths > 0, lengths, 1.0)
        return scaled

    def _check_known(self, name: str) -> None:
        if name not in self.scorer.counts:
            raise SettingsError(f"The router does not know {name!r}: {did_you_mean(str(name), self.names)}.")

    # storing ----------------------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What `router.json` says of the router, and its bytes."""
        return {
            "kind": self.kind,
            "counts": self.counts,
            "threshold": self.threshold,
            "rate": self.rate,
            "temperature": self.temperature,
            "bytes": self.bytes,
        }

    def save(self, folder: str | Path, base: Base) -> None:
        """Write the router atomically, with the digests of the base of its features; an existing one is replaced.

        Raises DataError if it knows no adapter.
        """
        if self.hidden is None or not self.names:
            raise DataError("The router knows no adapter. Add some before saving it.")
        record = {key: value for key, value in self.info().items() if key != "bytes"}
        record |= {"hidden": self.hidden, "base": base.digests()}
        router_file.write(Path(folder), record, self.scorer.tensors())

    @classmethod
    def load(cls, folder: str | Path, *, embed: Embed | None = None) -> Router:
        """Read and verify a router. Raises ArtifactError that says what to do if it is damaged or foreign."""
        folder = Path(folder)
        record, tensors = router_file.read(folder)
        where = folder / router_file.RECORD
        if record["kind"] not in KINDS:
            raise ArtifactError(
                f"{where}: No kind of router is called {record['kind']!r:.60}: known: {', '.join(KINDS)}."
            )
        router = cls(record["kind"], embed=embed)
        kind = KINDS[router.kind]
        router_file.check_shapes(folder, tensors, kind.shapes(record["counts"], record["hidden"]))
        router.scorer = kind.restore(record["counts"], tensors)
        router.hidden, router.base = record["hidden"], record["base"]
        router.threshold, router.rate, router.temperature = record["threshold"], record["rate"], record["temperature"]
        try:  # also does once what scoring needs
            with np.errstate(all="ignore"):
                usable = np.isfinite(router.scorer.scores(np.zeros((1, record["hidden"])))).all()
        except (DataError, np.linalg.LinAlgError, ZeroDivisionError):
            usable = False
        if not usable:
            raise ArtifactError(f"{folder}: its numbers give no scores. {router_file.REMEDY}")
        return router


def _temperature(scores: np.ndarray, right: np.ndarray) -> float:
    """The temperature of the least cross-entropy between shares and smoothed targets.

    Args:
        scores: `[texts, adapters]`.
        right: index of each text's adapter.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    texts, adapters = scores.shape
    if adapters == 1:
        return 1.0
    rows = np.arange(texts)
    others = scores.copy()
    others[rows, right] = -np.inf
    targets = np.zeros(scores.shape)
    targets[rows, right] = (texts + 1) / (texts + 2)
    targets[rows, others.argmax(1)] = 1 / (texts + 2)
    unit = float((scores.max(1) - scores.mean(1)).mean()) or 1.0

    def loss(exponent: float) -> float:
        return -float((targets * log_softmax(scores / (unit * math.exp(exponent)), axis=1)).sum(1).mean())

    return unit * math.exp(float(minimize_scalar(loss, bounds=(-10, 10), method="bounded").x))
