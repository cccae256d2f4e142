"""How well an assistant answers: right answers in scope, refusals out of scope, and the outcomes of its thresholds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from adapters.applications.base.scores import RESAMPLES, Score, mean
from adapters.applications.customer_service.assistant import Assistant
from adapters.applications.customer_service.baselines import Answers, baselines, of_assistant
from adapters.applications.customer_service.knowledge import FAR, IN, NEAR, Question
from adapters.applications.customer_service.policy import ANSWER, ASK, HAND_OVER, TWO, Policy
from adapters.applications.customer_service.ranking import SearchResult

REFUSED, ANSWERED, ACCEPTED = 0.05, 0.8, 0.95
"""Shares of in-scope questions: refused, where out-of-scope recall is read; answered; accepted, for the false-positive
rate."""
CURVE = 50
TIMED = 50


def evaluate(
    assistant: Assistant, questions: Sequence[Question], *, others: Sequence[Answers] = (), seed: int = 0
) -> dict[str, Any]:
    """All scores, as JSON: of the assistant and its baselines (and others), of its outcomes, and its latency."""
    found = assistant.find([one.text for one in questions])
    gold = [assistant.knowledge.target(one) for one in questions]
    own = of_assistant(assistant, found, gold)
    systems = [own, *baselines(assistant, questions, found), *others]
    return {
        "questions": {
            scope: sum(one.scope == scope for one in questions) for scope in sorted({q.scope for q in questions})
        },
        "answer": "reply" if assistant.knowledge.replies else "intent",
        "systems": [{"name": one.name, **scores(one, questions, gold, own, seed)} for one in systems],
        "curves": {one.name: curve(one, questions, gold) for one in systems},
        "outcomes": outcomes(assistant.policy, questions, gold, found),
        "latency_ms": latency(assistant, [one.text for one in questions[:TIMED]]),
        "policy": assistant.policy.record(),
    }


def scores(
    system: Answers, questions: Sequence[Question], gold: Sequence[str | None], own: Answers, seed: int
) -> dict[str, Score]:
    """Scores of one system, by name, each with its interval.

    Args:
        system: whose they are.
        questions: that were asked.
        gold: their targets; None out of scope.
        own: the assistant's answers, with which the others are compared.
        seed: of the resampling.
    """
    inside = np.array([one.scope == IN for one in questions])
    answerable = inside & np.array([target is not None for target in gold])
    right = _right(system, gold)
    out: dict[str, Score] = {}
    if answerable.any():
        out["accuracy"] = mean(right[answerable], seed)
        difference = right[answerable].astype(float) - _right(own, gold)[answerable]
        out["accuracy minus the assistant's"] = mean(difference, seed)
        if system.ranks is not None:
            ranks = system.ranks[answerable]
            out["recall@5"] = mean(ranks <= 5, seed)
            out["MRR"] = mean(1 / ranks, seed)
        out["accuracy at 80 % answered"] = _resampled(
            lambda at: [_at_share(system, right, answerable, at)], inside, seed
        )[0]
    scopes = np.array([one.scope for one in questions])
    for name, outside in (("out of scope", ~inside), (NEAR, scopes == NEAR), (FAR, scopes == FAR)):
        if outside.any() and inside.any():
            out.update(_refusals(system.confidence, inside, outside, name, seed))
    return out


def _refusals(
    confidence: np.ndarray, inside: np.ndarray, outside: np.ndarray, name: str, seed: int
) -> dict[str, Score]:
    """How well a confidence tells in-scope questions from some others, called `name`."""

    def scored(at: np.ndarray) -> list[float]:
        one, other = confidence[at[inside[at]]], confidence[at[outside[at]]]
        return [
            auroc(one, other),
            1 - _refused(one, other, ACCEPTED),
            _refused(one, other, 1 - REFUSED),
            _refused(one, other, ANSWERED),
        ]

    names = ("AUROC", "FPR at 95 %", "refused at 5 % in-scope refusals", "refused at 80 % answered")
    found = _resampled(scored, inside | outside, seed)
    return {f"{one}, {name}": score for one, score in zip(names, found, strict=True)}


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The probability that an in-scope question has the higher confidence; equals count half."""
    if not len(inside) or not len(outside):
        return float("nan")
    order = np.sort(outside)
    below, upto = np.searchsorted(order, inside, "left"), np.searchsorted(order, inside, "right")
    return float(np.mean((below + upto) / 2)) / len(outside)


def _least(inside: np.ndarray, share: float) -> float:
    """The confidence that a share of the in-scope questions has at least."""
    return float(np.quantile(inside, 1 - share, method="lower")) if len(inside) else float("nan")


def _refused(inside: np.ndarray, outside: np.ndarray, answered: float) -> float:
    """The share of out-of-scope questions below the confidence that a share of the others has at least."""
    return float(np.mean(outside < _least(inside, answered))) if len(outside) else float("nan")


def _right(system: Answers, gold: Sequence[str | None]) -> np.ndarray:
    return np.array([own is not None and own == found for own, found in zip(gold, system.targets, strict=True)])


def _at_share(system: Answers, right: np.ndarray, answerable: np.ndarray, at: np.ndarray) -> float:
    """The share of right answers among the surest 80 % of the questions that have one."""
    chosen = at[answerable[at]]
    if not len(chosen):
        return float("nan")
    order = chosen[np.argsort(-system.confidence[chosen], kind="stable")]
    return float(np.mean(right[order[: max(round(ANSWERED * len(order)), 1)]]))


def curve(system: Answers, questions: Sequence[Question], gold: Sequence[str | None]) -> list[tuple[float, float]]:
    """(share of all questions answered, share of right answers among them), from the surest on; none is right out of
    scope."""
    order = np.argsort(-system.confidence, kind="stable")
    right = np.cumsum(_right(system, gold)[order])
    counts = sorted({max(round(len(order) * step / CURVE), 1) for step in range(1, CURVE + 1)})
    return [(count / len(order), float(right[count - 1]) / count) for count in counts]


def outcomes(
    policy: Policy,
    questions: Sequence[Question],
    gold: Sequence[str | None],
    found: Sequence[SearchResult],
) -> dict[str, Any]:
    """What the thresholds do: shares of the outcomes in and out of scope, and of wrong answers among those given."""
    decisions = [policy.decide(one) for one in found]
    kinds = np.array([one.kind for one in decisions])
    inside = np.array([one.scope == IN for one in questions])
    right = np.array([own is not None and own == one.target for own, one in zip(gold, decisions, strict=True)])
    of_passage = np.array([one.passage is not None for one in decisions])
    answered = (kinds == ANSWER) & ~of_passage
    out: dict[str, Any] = {"answered from documents": int(of_passage.sum())}
    if answered.any():
        out["wrong answers given"] = share(~right[answered])
    for name, there in (("in scope", inside), ("out of scope", ~inside)):
        for kind in (ANSWER, ASK, HAND_OVER):
            if there.any():
                out[f"{kind}, {name}"] = share((kinds == kind)[there])
    asked = inside & (kinds == ASK)
    if asked.any():
        offered = np.array([policy.right(TWO, *pair) for pair in zip(questions, found, strict=True)])
        out["asked back with the right one among the two"] = share(offered[asked])
    known = inside & np.array(
        [one.intent is not None and bool(own.intents) for one, own in zip(questions, found, strict=True)]
    )
    if known.any():
        named = np.array([one.intent == own.intent for one, own in zip(questions, decisions, strict=True)])
        out["intent accuracy in scope"] = share(named[known])
    return out


def share(values: np.ndarray) -> Score:
    """A share of questions, with Clopper and Pearson's interval, which holds for few questions and for shares of 0."""
    from scipy.stats import binomtest

    ends = binomtest(int(np.sum(values)), len(values)).proportion_ci(0.95, method="exact")
    return {"value": float(np.mean(values)), "low": float(ends.low), "high": float(ends.high)}


def _resampled(scored: Callable[[np.ndarray], list[float]], among: np.ndarray, seed: int) -> list[Score]:
    """Scores of the numbers of some questions, with the percentile bootstrap's intervals over them."""
    numbers = np.flatnonzero(among)
    generator = np.random.default_rng(seed)
    drawn = np.array([scored(generator.choice(numbers, len(numbers))) for _ in range(RESAMPLES)])
    ends = np.nanpercentile(drawn, [2.5, 97.5], axis=0).T
    return [
        {"value": value, "low": float(low), "high": float(high)}
        for value, (low, high) in zip(scored(numbers), ends, strict=True)
    ]


def latency(assistant: Assistant, texts: Sequence[str]) -> Mapping[str, float]:
    """Milliseconds to answer one question at a time: median and 95th percentile."""
    seconds = []
    for text in [*texts[:1], *texts]:  # the first one warms up
        begin = time.perf_counter()
        assistant.ask(text)
        seconds.append(time.perf_counter() - begin)
    return {
        "p50": round(1000 * float(np.median(seconds[1:])), 2),
        "p95": round(1000 * float(np.percentile(seconds[1:], 95)), 2),
    }
