"""Search by words and embeddings, what it is scored by, and learning by contrast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import bm25s
import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from sklearn.metrics import label_ranking_average_precision_score

from adapters.applications.base.lexical import Lexical, words
from adapters.applications.customer_service.contrast import TEMPERATURE, ContrastiveLora, InBatchNegatives
from adapters.applications.customer_service.retriever import WEIGHTS, Retriever, best_weight, normalized, ranks
from adapters.tasks.base.example import Example, Examples

TEXTS = ["where is my card", "my card is lost", "refund my order please", "opening hours", "order a new card"]
TARGETS = ["card", "card", "refund", "hours", "card"]


def embed(texts: Sequence[str]) -> np.ndarray:
    """Counts of letters."""
    return np.array([[text.count(c) + 0.01 for c in "abcdefghijklmnoprst"] for text in texts])


def retriever(weight: float) -> Retriever:
    return Retriever.build(list(zip(TEXTS, TARGETS, strict=True)), embed, weight)


def test_words_of_scripts_without_blanks_are_pairs_of_characters():
    assert words("Where's my CARD?") == ["where", "s", "my", "card"]
    assert words("我的卡在哪里 ok") == ["我的", "的卡", "卡在", "在哪", "哪里", "ok"]
    assert words("卡。") == ["卡"]


def test_scores_by_words_are_bm25s_in_its_order_from_0_to_1():
    theirs = bm25s.BM25(method="lucene")
    theirs.index([words(text) for text in TEXTS], show_progress=False)
    ours = Lexical(TEXTS)
    for question in ("my card", "refund the order", "card card order"):
        known = [word for word in dict.fromkeys(words(question)) if word in " ".join(TEXTS).split()]
        found, expected = ours.scores(question), theirs.get_scores(known)
        assert np.allclose(found / found.max(), expected / expected.max(), atol=1e-6)
        assert found.min() >= 0 and found.max() <= 1
    assert not ours.scores("xylophone").any()
    assert (ours.scores("my card") >= ours.scores("my card xylophone")).all(), "an unknown word counts against all"
    assert not Lexical(["?", "!"]).scores("card").any()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_target_has_the_score_of_its_best_text(weight):
    found = retriever(weight)
    cosines, shares = found.parts(["is my card lost"])
    score = weight * cosines[0] + (1 - weight) * shares[0]
    (matches,) = found.rank(["is my card lost"])
    best = {target: max(score[i] for i, own in enumerate(TARGETS) if own == target) for target in TARGETS}
    assert {match.target: match.score for match in matches} == pytest.approx(best)
    assert [match.target for match in matches] == sorted(best, key=lambda name: -best[name])


def test_reciprocal_ranks_are_scikit_learns():
    asked, own = ["lost card", "hours", "a refund of the card order", "nothing"], ["card", "hours", "refund", "hours"]
    found = retriever(0.5)
    by_weight = ranks(found, asked, own)
    for weight in WEIGHTS:
        cosines, shares = found.parts(asked)
        scores = [
            found.of_targets(weight * cosine + (1 - weight) * share)
            for cosine, share in zip(cosines, shares, strict=True)
        ]
        if any(len(np.unique(one)) < len(one) for one in scores):
            continue  # equals: ours takes their mean place, scikit-learn the last
        truth = np.array([[target == name for target in found.targets] for name in own])
        expected = label_ranking_average_precision_score(truth, np.array(scores))
        assert np.mean(1 / by_weight[weight]) == pytest.approx(expected)
    assert best_weight(by_weight) in WEIGHTS
    assert best_weight({0.0: np.zeros(0)}) == 0.5
    assert ranks(found, ["card"], ["unknown"])[0.5].tolist() == [4], "past the last of three targets"


def test_vectors_have_length_one_and_none_stays_none():
    found = normalized(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert found.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]


def test_the_contrast_of_different_answers_is_cross_entropy_over_the_batch():
    task = tiny.classifying("abcd")
    objective, draw = InBatchNegatives(task), torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(4, 2, 6, generator=draw), dim=-1)
    heads = torch.randn(4, 2, 4, generator=draw)
    targets = torch.tensor([[2], [0], [1], [3]])
    loss, count = objective.loss(torch.cat([vectors, heads], -1), targets)
    scores = vectors[:, 0] @ vectors[:, 1].T / TEMPERATURE
    both = [torch.nn.CrossEntropyLoss(reduction="sum")(one, torch.arange(4)) for one in (scores, scores.T)]
    named = [torch.nn.CrossEntropyLoss(reduction="sum")(heads[:, i], targets[:, 0]) for i in (0, 1)]
    assert count == 4 and loss.item() == pytest.approx((sum(both) + sum(named)).item() / 2, rel=1e-5)


def test_a_text_of_the_same_answer_is_no_negative():
    objective = InBatchNegatives(tiny.classifying("ab"))
    vectors = torch.nn.functional.normalize(torch.ones(2, 2, 3), dim=-1)
    alike, _ = objective.loss(torch.cat([vectors, torch.zeros(2, 2, 2)], -1), torch.tensor([[0], [0]]))
    assert alike.item() == pytest.approx(2 * np.log(2)), "only the heads' share is left"


class Decoder:
    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def from_row(self, row: Mapping[str, Any]) -> Example:
        return self.examples[row["number"]]

    def label_counts(self, dataset: Dataset) -> Counter[str]:
        return Counter()


def test_pairs_have_one_label_and_its_number():
    task = tiny.classifying(["bad", "good"])
    examples = [Example(id=str(n), inputs={"text": f"t{n}"}, gold=("bad", "good")[n % 2]) for n in range(6)]
    rows = Dataset.from_dict({"number": [*range(6)]})
    train = Examples("train", rows, Decoder(examples), {})
    method = ContrastiveLora(tiny.method("lora").settings)
    objective, pairs = method.training_data(task, train)
    assert isinstance(objective, InBatchNegatives) and len(pairs) > 6
    for pair in pairs:
        assert pair.inputs["first"].gold == pair.inputs["second"].gold == task.labels.names[pair.gold]
