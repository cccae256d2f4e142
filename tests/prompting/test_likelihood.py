"""Log-likelihoods of known answers: packed after a prompt, in answer to it, and in the place of a mask."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import build_tiny_bert
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.models.greedy_search import MIN_SHARED_PREFIX
from adapters.prompting import likelihood

CLOSE = 2e-4


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """`writer("gpt2")`: a tiny model with its language-model head."""
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    made: dict[str, Any] = {}

    def make(name: str) -> Any:
        if name not in made:
            folder = tiny.BUILDERS[name](tmp_path_factory.mktemp("writers") / name)
            made[name] = open_base(str(folder)).load_generator().eval()
        return made[name]

    return make


def slowly(model: Any, rows: list[list[int]], choices: list[list[int]]) -> np.ndarray:
    """Each answer's likelihood, a token at a time, each from a whole forward pass of its own."""
    import torch

    out = np.zeros((len(rows), len(choices)))
    with torch.no_grad():
        for i, row in enumerate(rows):
            for j, choice in enumerate(choices):
                for at, token in enumerate(choice):
                    if model.config.is_encoder_decoder:
                        start = [model.config.decoder_start_token_id, *choice[:at]]
                        logits = model(input_ids=torch.tensor([row]), decoder_input_ids=torch.tensor([start])).logits
                    else:
                        logits = model(input_ids=torch.tensor([[*row, *choice[:at]]])).logits
                    out[i, j] += float(logits[0, -1].log_softmax(-1)[token])
    return out


def tokens(draw: random.Random, low: int, high: int) -> list[int]:
    return [draw.randrange(5, 40) for _ in range(draw.randint(low, high))]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), shared=st.sampled_from([0, 3, MIN_SHARED_PREFIX, 24]))
def test_answers_packed_behind_a_prompt_score_as_each_alone(writer, name, seed, shared):
    draw = random.Random(seed)
    beginning = tokens(draw, shared, shared)
    rows = [beginning + tokens(draw, 1, 6) for _ in range(draw.randint(1, 5))]
    choices = [tokens(draw, 1, 3) for _ in range(draw.randint(1, 4))]
    model = writer(name)
    scorer = likelihood.CachedScorer(model, batch_tokens=20)
    for some in (rows, rows[:1], [beginning[:20] + row for row in rows]):  # its beginning is kept, cut, and read on
        assert np.abs(scorer.log_probs_after(some, choices, pad_id=0) - slowly(model, some, choices)).max() < CLOSE


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_answers_one_by_one_score_as_a_token_at_a_time(writer, name):
    draw = random.Random(1)
    rows = [tokens(draw, 1, 9) for _ in range(5)]
    choices = [tokens(draw, 1, 3) for _ in range(3)]
    model = writer(name)
    found = likelihood.one_by_one(model, rows, choices, pad_id=0, batch_rows=2)
    assert np.abs(found - slowly(model, rows, choices)).max() < CLOSE


def test_what_all_prompts_begin_with_is_read_once(writer):
    model, read = writer("llama"), []
    handle = model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    draw = random.Random(2)
    beginning = tokens(draw, 30, 30)
    rows = [[*beginning, 5 + i, 7] for i in range(6)]
    scorer = likelihood.CachedScorer(model)
    scorer.log_probs_after(rows, [[8], [9, 10], [9, 11]], pad_id=0)
    assert read == [(1, 30), (1, 18)]  # two tokens of each row, and the one token that predicts another
    read.clear()
    long = tokens(draw, 300, 300)
    for more in ([1, 2], [3], [1, 2]):
        scorer.log_probs_after([[*long, *more, i] for i in range(2)], [[8]], pad_id=0)
    handle.remove()
    first, second = [(1, 128), (1, 128), (1, 46), (1, 2)], [(1, 45), (1, 2)]
    assert read == [*first, *second, (1, 46), (1, 2)], "two whole stretches are kept"


def test_what_was_read_before_changes_no_bit(writer):
    draw = random.Random(3)
    long, choices = tokens(draw, 300, 300), [[8, 9], [7]]
    rows = [[*long, i, i + 1] for i in range(5)]
    alone = likelihood.CachedScorer(writer("llama")).log_probs_after(rows, choices, pad_id=0)
    scorer = likelihood.CachedScorer(writer("llama"))
    for cut in (299, 130, 128, 20):
        scorer.log_probs_after([[*long[:cut], *tokens(draw, 60, 60), 5, i] for i in range(3)], choices, pad_id=0)
        assert (scorer.log_probs_after(rows, choices, pad_id=0) == alone).all()


def test_masks_score_as_their_own_softmax(tmp_path: Path):
    import torch
    from transformers import AutoModelForMaskedLM

    folder = build_tiny_bert(tmp_path / "bert")
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    mask = 4
    rows = [[2, 9, mask, mask, 3], [2, mask, 8, 7, mask, 11, 3]]
    choices = [[10, 12], [13, 14], [10, 14]]
    found = likelihood.masked(model, rows, choices, mask_id=mask, pad_id=0)
    for i, row in enumerate(rows):
        places = [at for at, token in enumerate(row) if token == mask]
        with torch.no_grad():
            log_probs = model(input_ids=torch.tensor([row])).logits[0].log_softmax(-1)
        for j, choice in enumerate(choices):
            wanted = sum(float(log_probs[at, token]) for at, token in zip(places, choice, strict=True))
            assert abs(found[i, j] - wanted) < CLOSE
