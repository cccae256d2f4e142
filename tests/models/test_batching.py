"""Batches contain every row once, keep their limit, and are shared between processes completely."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.models.batching import by_length, collate, pad, share

lengths_drawn = st.lists(st.integers(1, 50), max_size=80)
seeds = st.none() | st.integers(0, 99)


def generator(seed: int | None) -> random.Random | None:
    return None if seed is None else random.Random(seed)


@settings(max_examples=200, deadline=None)
@given(lengths_drawn, st.integers(1, 120), seeds)
def test_batches_bound_by_tokens_hold_every_row_once(lengths: list[int], tokens: int, seed: int | None) -> None:
    batches = by_length(lengths, tokens=tokens, rows=None, generator=generator(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= tokens or len(batch) == 1


@settings(max_examples=200, deadline=None)
@given(lengths_drawn, st.integers(1, 20), seeds)
def test_batches_bound_by_rows_hold_every_row_once(lengths: list[int], rows: int, seed: int | None) -> None:
    batches = by_length(lengths, tokens=None, rows=rows, generator=generator(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    sizes = sorted(map(len, batches), reverse=True)
    assert sizes[:-1] == [rows] * (len(sizes) - 1)  # no batch but one is smaller than it could be


@settings(max_examples=100, deadline=None)
@given(lengths_drawn, st.integers(1, 120), seeds)
def test_rows_of_like_length_stand_together_and_no_batch_could_take_the_next_row(
    lengths: list[int], tokens: int, seed: int | None
) -> None:
    batches = by_length(lengths, tokens=tokens, rows=None, generator=generator(seed))
    batches.sort(key=lambda batch: (lengths[batch[0]], lengths[batch[-1]], -len(batch)))
    flat = [lengths[row] for batch in batches for row in batch]
    assert flat == sorted(lengths)
    for batch, following in itertools.pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > tokens


def test_the_same_seed_gives_the_same_batches_and_another_seed_others() -> None:
    lengths = [draw % 7 + 1 for draw in range(100)]
    first, again, other = (
        by_length(lengths, tokens=20, rows=None, generator=random.Random(seed)) for seed in ("0/1", "0/1", "0/2")
    )
    assert first == again != other


def test_without_a_generator_rows_stay_in_order() -> None:
    assert by_length([3, 1, 3, 1, 2], tokens=None, rows=2) == [[1, 3], [4, 0], [2]]


def test_a_generator_breaks_ties_and_shuffles_batches() -> None:
    batches = [by_length([5] * 8, tokens=None, rows=2, generator=random.Random(seed)) for seed in range(40)]
    assert len({tuple(sorted(batch)) for found in batches for batch in found}) > 20  # not always the same neighbours
    mixed = [by_length([1, 1, 9, 9], tokens=None, rows=2, generator=random.Random(seed)) for seed in range(20)]
    assert {tuple(sorted(found[0])) for found in mixed} == {(0, 1), (2, 3)}  # short ones do not always come first


@pytest.mark.parametrize("bounds", [{"tokens": None, "rows": None}, {"tokens": 8, "rows": 8}])
def test_one_bound_is_given_and_not_two(bounds: dict[str, int | None]) -> None:
    with pytest.raises(AssertionError):
        by_length([1], **bounds)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(), unique=True, max_size=40), st.integers(1, 9))
def test_the_shares_of_all_processes_are_the_batch(batch: list[int], world: int) -> None:
    shares = [share(batch, rank, world) for rank in range(world)]
    assert sorted(row for rows in shares for row in rows) == sorted(batch)
    sizes = [len(rows) for rows in shares]
    assert max(sizes) - min(sizes) <= 1


def test_one_process_takes_the_batch_in_order() -> None:
    assert share([4, 2, 7], 0, 1) == [4, 2, 7]


def test_rows_are_filled_on_the_right() -> None:
    padded = pad([[1, 2, 3], [4], []], 9)
    assert padded.tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
    assert padded.dtype == torch.int64


def test_padding_is_masked_and_has_no_target() -> None:
    batch, targets = collate([[5, 6, 7], [8]], [[1, -100, 2], [3]], pad_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert targets.tolist() == [[1, -100, 2], [3, -100, -100]]


def test_a_token_that_looks_like_padding_is_not_masked() -> None:
    batch, _ = collate([[5, 0, 0], [8]], [[1], [2]], pad_id=0)
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_rows_of_one_length_need_no_mask() -> None:
    batch, targets = collate([[5, 6], [8, 9]], [[1], [2]], pad_id=0)
    assert set(batch) == {"input_ids"}
    assert targets.tolist() == [[1], [2]]


def test_a_mask_changes_no_answer_of_a_model(tiny_bert: object) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_bert).eval()
    rows = [[2, 9, 17, 30, 3], [2, 11, 3]]
    with torch.inference_mode():
        together = model(**collate(rows, rows, 0)[0]).last_hidden_state
        alone = [model(**collate([row], [row], 0)[0]).last_hidden_state[0] for row in rows]
    for answer, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(answer[: len(expected)], expected, atol=1e-5, rtol=1e-4)
