"""The baselines of an assistant: search by words or embeddings alone, intents alone, TF-IDF, prompting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.applications.customer_service.assistant import Assistant
from adapters.applications.customer_service.knowledge import Knowledge, Question
from adapters.applications.customer_service.policy import MAIN
from adapters.applications.customer_service.ranking import SearchResult
from adapters.applications.customer_service.retriever import Retriever, reciprocal_rank_fusion
from adapters.applications.customer_service.settings import PROMPTED, TASK
from adapters.experiments.run import Run
from adapters.tasks.base.example import Example


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a system would answer to questions.

    Attributes:
        name: of the system.
        targets: its answer to each question; None where it has none.
        confidence: `[questions]`, higher where it is surer; only their order counts.
        ranks: `[questions]`, of each question's own target, from 1; None where the system does not rank. It is past
            the last target where the system does not know it.
    """

    name: str
    targets: Sequence[str | None]
    confidence: np.ndarray
    ranks: np.ndarray | None = None


def of_assistant(assistant: Assistant, found: Sequence[SearchResult], gold: Sequence[str | None]) -> Answers:
    """The assistant's own answers, all of them, with the confidence of its gate."""
    policy = assistant.policy
    values = np.array([policy.signals(one) for one in found])
    targets = [policy.reply(one) for one in found]
    known = len(assistant.replies.targets) if assistant.replies else 0
    ranks = []
    for one, own in zip(found, gold, strict=True):
        names = [*policy.ranking.order(one)]
        ranks.append(names.index(own) + 1 if own in names else known + 1)
    confidence = policy.gates[MAIN].confidence(values)
    return Answers(name="assistant", targets=targets, confidence=confidence, ranks=np.array(ranks))


def baselines(assistant: Assistant, questions: Sequence[Question], found: Sequence[SearchResult]) -> list[Answers]:
    """The answers of all baselines, from the same questions and the same knowledge."""
    gold = [assistant.knowledge.target(one) for one in questions]
    texts = [one.text for one in questions]
    out: list[Answers] = []
    if assistant.replies is not None:
        out += _searches(assistant.replies, texts, gold)
        out.append(_tfidf_search(assistant.replies.entries, texts, gold))
    if found and found[0].intents:
        named = [next(iter(one.intents)) for one in found]
        confidence = np.array([next(iter(one.intents.values())) for one in found])
        out.append(_of_intents("intent alone", assistant.knowledge, named, confidence))
        out.append(_of_intents("TF-IDF, intent", assistant.knowledge, *_tfidf_intents(assistant.knowledge, texts)))
    return out


def _searches(retriever: Retriever, texts: Sequence[str], gold: Sequence[str | None]) -> list[Answers]:
    """BM25 alone, embeddings alone, and the two by reciprocal ranks."""
    numbers = {target: number for number, target in enumerate(retriever.targets)}
    names = ("BM25 alone", "embeddings alone", "reciprocal ranks")
    rows: dict[str, list[tuple[str, float, int]]] = {name: [] for name in names}
    for begin in range(0, len(texts), 64):
        cosines, shares = retriever.parts(texts[begin : begin + 64])
        for cosine, share, own in zip(cosines, shares, gold[begin : begin + 64], strict=True):
            words, vectors = map(retriever.of_targets, (share, cosine))
            both = reciprocal_rank_fusion(words, vectors)
            for name, scores in zip(names, (words, vectors, both), strict=True):
                rows[name].append(_best(retriever.targets, scores, numbers.get(own or "")))
    return [_answers(name, own) for name, own in rows.items()]


def _best(targets: Sequence[str], scores: np.ndarray, own: int | None) -> tuple[str, float, int]:
    """The best target, its score, and the rank of a question's own; equals count half."""
    best = int(scores.argmax())
    if own is None:
        return targets[best], float(scores[best]), len(scores) + 1
    rank = 1 + int((scores > scores[own]).sum()) + int((scores == scores[own]).sum()) // 2
    return targets[best], float(scores[best]), rank


def _answers(name: str, rows: Sequence[tuple[str, float, int]]) -> Answers:
    targets, scores, ranks = zip(*rows, strict=True)
    return Answers(name=name, targets=targets, confidence=np.array(scores), ranks=np.array(ranks))


def _tfidf_search(entries: Sequence[tuple[str, str]], texts: Sequence[str], gold: Sequence[str | None]) -> Answers:
    """The nearest text by the cosine of scikit-learn's TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    stored = vectorizer.fit_transform([text for text, _ in entries])
    names = list(dict.fromkeys(target for _, target in entries))
    numbers = {target: number for number, target in enumerate(names)}
    of = np.array([numbers[target] for _, target in entries])
    rows = []
    for text, own in zip(texts, gold, strict=True):
        scores = np.full(len(names), -1.0)
        np.maximum.at(scores, of, np.asarray((stored @ vectorizer.transform([text]).T).todense()).ravel())
        rows.append(_best(names, scores, numbers.get(own or "")))
    return _answers("TF-IDF, search", rows)


def _tfidf_intents(knowledge: Knowledge, texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Intents by scikit-learn's logistic regression on TF-IDF, and their probabilities."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    taught = [one for one in knowledge.questions if one.intent is not None]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    model = make_pipeline(vectorizer, LogisticRegression(C=10.0, max_iter=1000))
    model.fit([one.text for one in taught], [one.intent for one in taught])
    shares = model.predict_proba(list(texts))
    return [str(model.classes_[i]) for i in shares.argmax(1)], shares.max(1)


def prompted(knowledge: Knowledge, texts: Sequence[str], settings: Any) -> Answers:
    """Intents named by few-shot prompting: `settings` are those of a run of that method on the intents' data."""
    run = Run(TASK, PROMPTED, settings)
    task = run.read_task()
    predictor = run.fit(task, run.build_method())
    found = predictor.predict([Example(id=str(number), inputs={"text": text}) for number, text in enumerate(texts)])
    shares = np.array([one.detail for one in found])
    named = [task.labels.names[i] for i in shares.argmax(1)]
    return _of_intents("few-shot prompting, intent", knowledge, named, shares.max(1))


def _of_intents(name: str, knowledge: Knowledge, named: Sequence[str], confidence: np.ndarray) -> Answers:
    """Answers by the intent alone: the intent, or the most frequent reply to its questions."""
    if not knowledge.replies:
        return Answers(name=name, targets=named, confidence=confidence)
    counts: dict[str, Counter[str]] = {}
    for question in knowledge.questions:
        if question.intent is not None and question.reply is not None:
            counts.setdefault(question.intent, Counter())[question.reply] += 1
    usual = {intent: own.most_common(1)[0][0] for intent, own in counts.items()}
    return Answers(name=name, targets=[usual.get(intent) for intent in named], confidence=confidence)
