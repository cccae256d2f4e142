"""Learning by contrast: which pairs are drawn, how they become rows, and the loss on them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.models.base_model import open_base
from adapters.models.batching import collate
from adapters.tasks.base.contrastive import ContrastiveTask, Pairs, pairs_by_label
from adapters.tasks.base.example import Example, Examples

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = ["Ada lived in Rome .", "notes .", "Kurt Bohr wrote notes near the old town with a friend .", "Paris", "Ada ."]
PAIRS = [(0, 1, 1.0), (2, 3, 0.0), (3, 3, 1.0), (1, 4, 0.0), (4, 2, 1.0)]


# Which pairs


@given(labels=st.lists(st.sampled_from("abcd"), min_size=2, max_size=30), each=st.integers(1, 12), seed=st.integers())
@settings(max_examples=60, deadline=None)
def test_every_text_is_in_as_many_pairs_of_either_kind_and_with_itself_only_where_alone(labels, each, seed):
    pairs = pairs_by_label([[label] for label in labels], each=each, seed=seed)
    count = Counter(labels)
    kinds = Counter((first, gold) for first, _, gold in pairs)
    for number, label in enumerate(labels):
        assert kinds[number, 1.0] == each
        assert kinds[number, 0.0] == (each if count[label] < len(labels) else 0)
    for first, second, gold in pairs:
        assert (labels[first] == labels[second]) == bool(gold)
        assert first != second or count[labels[first]] == 1
    for first in range(len(labels)):  # partners are as even as possible
        for kind in (0.0, 1.0):
            partners = Counter(b for a, b, gold in pairs if a == first and gold == kind)
            possible = len(labels) - count[labels[first]] if kind == 0 else max(count[labels[first]] - 1, 1)
            assert len(partners) == min(each, possible) or not partners
            if partners and each % possible == 0:
                assert len(set(partners.values())) == 1
    assert pairs == pairs_by_label([[label] for label in labels], each=each, seed=seed)


def test_another_seed_draws_other_pairs():
    labels = [[str(number % 3)] for number in range(30)]
    assert len({tuple(pairs_by_label(labels, each=2, seed=seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize(("at_most", "found"), [(None, 1200), (1200, 1200), (1000, 960), (100, 60), (60, 60), (10, 10)])
def test_a_bound_takes_pairs_from_all_texts_alike_and_then_texts(at_most, found):
    pairs = pairs_by_label([[str(number % 3)] for number in range(30)], each=20, at_most=at_most, seed=0)
    assert len(pairs) == found
    assert sum(gold for _, _, gold in pairs) == found / 2
    assert len(set(Counter(first for first, _, _ in pairs).values())) == 1


def test_texts_of_several_labels_are_alike_where_they_share_one():
    labels = [{"a", "b"}, {"b", "c"}, {"c"}, set()]
    pairs = pairs_by_label(labels, each=3, seed=0)
    assert all(bool(labels[a] & labels[b]) == bool(gold) for a, b, gold in pairs if a != b)
    assert {a for a, b, _ in pairs if a == b} == {3}, "only the text without labels has no other like it"


# Rows and loss


@pytest.fixture(scope="module", params=["bert", "roberta", "distilbert", "bert of pairs"])
def case(request: Any, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """A base, a task, and training examples."""
    from datasets import Dataset

    name, _, pair = request.param.partition(" of ")
    build = {**tiny.BUILDERS, **tiny.MORE}.get(name)
    base = open_base(str(build(tmp_path_factory.mktemp("base") / name) if build else tiny_bert))
    task = tiny.classifying(pair=bool(pair))
    others = [*TEXTS[1:], TEXTS[0]] if pair else [None] * len(TEXTS)
    rows = [
        {"text": text, "text_pair": other, "label": "good", "id": str(number), "where": ""}
        for number, (text, other) in enumerate(zip(TEXTS, others, strict=True))
    ]

    class Rows:
        @staticmethod
        def from_row(row: Any) -> Example:
            return Example(id=row["id"], inputs=task.inputs_of(row), gold=row["label"])

    return base, task, Examples("train", Dataset.from_list(rows), Rows, {})  # type: ignore[arg-type]


def batch_of(base: Any, task: Any, examples: Examples) -> tuple[Any, Any, Any]:
    """The contrastive task, and the inputs and targets of all its pairs in one batch."""
    learned = ContrastiveTask(task)
    encoded = learned.encode(Pairs.of(examples, PAIRS)[:], base.word_tokenizer, 32, learning=True)
    rows = [(row.input_ids, row.targets, row.token_types) for row in encoded]
    ids, targets, kinds = zip(*rows, strict=True)
    inputs, _ = collate(ids, [[0]] * len(ids), base.pad_id, kinds)
    return learned, inputs, torch.tensor(targets)


def test_loss_and_gradient_are_those_of_sentence_transformers_formula_on_the_texts_one_by_one(case):
    base, task, train = case
    learned, inputs, targets = batch_of(base, task, train)
    model: Any = base.load_body().eval()
    loss, count = learned.loss(learned.logits(model, inputs), targets)
    loss.backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    def embedded(number: int) -> torch.Tensor:
        (row,) = task.encode([train[number]], base.word_tokenizer, 32)
        kinds = {"token_type_ids": torch.tensor([row.token_types])} if row.token_types else {}
        return model(input_ids=torch.tensor([row.input_ids]), **kinds).last_hidden_state[0].mean(0)

    # CosineSimilarityLoss: MSELoss of the cosine similarity of the two embeddings and the label.
    similarity = torch.stack([torch.cosine_similarity(embedded(a), embedded(b), dim=0) for a, b, _ in PAIRS])
    wanted = torch.nn.MSELoss()(similarity, torch.tensor([gold for _, _, gold in PAIRS]))
    wanted.backward()
    assert int(count) == len(PAIRS)
    assert float(loss.detach() / count) == pytest.approx(float(wanted.detach()), abs=1e-6)
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys() and len(ours) > 10
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name] / count, gradient, atol=1e-5), name


def test_the_same_pairs_are_stored_under_the_same_key_and_others_under_another(case):
    from adapters.training.train_dataset import encode_split

    base, task, train = case
    learned = ContrastiveTask(task)
    one, again, other = (
        encode_split(Pairs.of(train, pairs), learned, base, 32) for pairs in (PAIRS, PAIRS, PAIRS[::-1])
    )
    assert one.cache_files == again.cache_files != other.cache_files
    assert [row["targets"] for row in one] == [[gold] for _, _, gold in PAIRS]
