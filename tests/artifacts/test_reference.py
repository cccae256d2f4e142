"""The reference of a card: counts of dev's texts in categories that any other text falls into as well."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.artifacts.reference import CONFIDENCES, MOST_SETS, UNKNOWN, LabelCounts, Reference, ValueCounts
from adapters.core.errors import ArtifactError
from adapters.tasks.base.observation import Observation

SHARES = st.floats(0, 1)
SEEN = st.builds(
    Observation,
    labels=st.none() | st.lists(st.sampled_from("abc"), unique=True).map(lambda names: tuple(sorted(names))),
    confidence=st.none() | SHARES,
    tokens=st.integers(1, 40),
    unknown=st.none() | st.integers(0, 1),
)


@given(st.lists(SEEN, min_size=1, max_size=40))
def test_a_reference_is_the_same_after_a_card_and_counts_each_text_once(seen: list[Observation]) -> None:
    reference = Reference.of(seen, ["a", "b"])
    card = {"reference": json.loads(json.dumps(reference.record()))}
    assert Reference.of_card(card) == reference
    assert reference.texts == len(seen)
    for part, known in (("labels", "labels"), ("confidence", "confidence"), ("unknown", "unknown")):
        there = [one for one in seen if getattr(one, known) is not None]
        found = getattr(reference, part)
        assert (found is None) == (not there)
        assert found is None or sum(found.counts) == len(there)


@given(st.lists(SHARES, min_size=1, max_size=60))
def test_each_value_of_dev_falls_into_the_category_that_counted_it(values: list[float]) -> None:
    found = ValueCounts.of(values, CONFIDENCES)
    counts = np.bincount([found.category(value) for value in values], minlength=len(found.counts))
    assert tuple(counts.tolist()) == found.counts
    assert {found.category(value) for value in (-1.0, 2.0)} == {0, len(CONFIDENCES)}


def test_deciles_are_those_of_the_values_and_cuts_are_the_same_for_all() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, 1001)) / 1000
    found = ValueCounts.of(values.tolist(), (0.25, 0.5))
    assert found.deciles == pytest.approx(np.arange(1, 10) / 10)
    assert (found.counts, found.mean) == ((250, 250, 500), 0.5005)
    assert all(low < high for cuts in (CONFIDENCES, UNKNOWN) for low, high in itertools.pairwise(cuts))


def test_labels_are_counted_as_the_set_of_each_text_and_rare_sets_together() -> None:
    answers = [("a",), ("a",), ("a", "b"), ()]
    found = LabelCounts.of(answers, ["a", "b", "c"])
    assert found.shares == {"a": 0.75, "b": 0.25, "c": 0.0}
    assert (found.none, found.sets[0], found.counts) == (0.25, ("a",), (2, 1, 1, 0))
    assert found.category(("b", "c")) == len(found.sets)
    many = LabelCounts.of([(f"label {n}",) for n in range(MOST_SETS + 50)], [])
    assert (len(many.sets), many.counts[-1]) == (MOST_SETS, 50)


def test_a_card_without_a_reference_has_none() -> None:
    assert Reference.of_card({"task": {"name": "ner"}}) is None


@pytest.mark.parametrize(
    "record",
    [
        [],
        {},
        {"texts": -1},
        {"texts": 1.5},
        {"texts": 3, "labels": {"shares": {}}},
        {"texts": 3, "confidence": {"mean": 0.5, "deciles": [], "cuts": [0.5, 0.4], "counts": [1, 1, 1]}},
        {"texts": 3, "confidence": {"mean": 0.5, "deciles": [], "cuts": [0.4, 0.5], "counts": [1, 1]}},
        {"texts": 3, "unknown": {"mean": "x", "deciles": [], "cuts": [], "counts": [3]}},
    ],
)
def test_what_cannot_be_a_reference_is_refused(record: object) -> None:
    with pytest.raises(ArtifactError, match="reference cannot be read"):
        Reference.of_card({"reference": record})
