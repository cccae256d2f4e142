"""GPT-2's own code path with a GPT-2 that knows something: trained here from a config, so that scores mean something.

Absolute positions up to 1,024, byte-level BPE with leading spaces, no token to pad with. What it learns: that reviews
with some adjectives are positive.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
SIDES = {"positive": ["good", "great", "lovely", "fresh"], "negative": ["bad", "poor", "dull", "stale"]}
NOUNS = ["film", "plot", "cast", "score", "ending", "dialogue", "scenery", "book"]
POSITIONS, WINDOW, STEPS = 1024, 96, 170
RunRecipe = Callable[..., int]


def review(draw: random.Random) -> tuple[str, str]:
    side = draw.choice([*SIDES])
    return f"The {draw.choice(NOUNS)} was long and {draw.choice(SIDES[side])}", side


def document(draw: random.Random) -> tuple[str, str]:
    """A question and its answer."""
    text, side = review(draw)
    return f"Review: {text}\nSentiment:", f" {side}\n\n"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights and tokenizer; half a minute of training."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

    draw, folder = random.Random(0), tmp_path_factory.mktemp("trained")
    parts = [part for _ in range(8000) for part in document(draw)]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(parts, trainer)
    model = json.loads(made.to_str())["model"]
    tokenizer = GPT2TokenizerFast(
        vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]], model_max_length=POSITIONS
    )
    torch.manual_seed(0)
    gpt = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(model["vocab"]),
            n_embd=64,
            n_layer=2,
            n_head=4,
            n_positions=POSITIONS,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    torch.nn.init.zeros_(gpt.transformer.wpe.weight)  # what is learned at one position holds at all, at first
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=3e-3)
    cut = tokenizer(parts).input_ids
    text = torch.tensor([token for ids in cut for token in ids])
    answers = torch.tensor([token if number % 2 else -100 for number, ids in enumerate(cut) for token in ids])
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 40, (STEPS - step) / 150)
        rows, window = 16, WINDOW
        at = torch.randint(len(text) - window, (rows, 1), generator=generator) + torch.arange(window)
        begins = torch.randint(POSITIONS - window + 1, (rows, 1), generator=generator)  # every position is learned
        loss = gpt(input_ids=text[at], position_ids=begins + torch.arange(window), labels=answers[at]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    gpt.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    draw = random.Random(1)
    for name, size in (("train", 90), ("test", 40)):
        rows = [",".join(review(draw)) for _ in range(size)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return tmp_path


def score(run_recipe: RunRecipe, recipe: str, base: Path, out: Path, *flags: str) -> dict[str, Any]:
    given = ["--model_name_or_path", str(base), "--output_dir", str(out), "--mixed_precision", "no", *flags]
    assert run_recipe(recipe, *given) == 0
    found: dict[str, Any] = json.loads((out / "scores.json").read_text())
    return found


@pytest.mark.parametrize("shots", ["0", "2", "80"])
def test_reviews_are_told_apart_with_any_number_of_shots(
    shots: str, gpt2: Path, reviews: Path, run_recipe: RunRecipe, tmp_path: Path
) -> None:
    prompt = tmp_path / "review.toml"
    prompt.write_text('task = "classification"\nanswer = "label"\nquery = "Review: {{text}}\\nSentiment: "\n')
    files = [f"--{name}_file={reviews / f'{name}.csv'}" for name in ("train", "test")]
    found = score(
        run_recipe, "prompt_classification", gpt2, tmp_path / "run", *files, "--prompt", str(prompt), "--shots", shots
    )
    if shots != "80":  # so long a prompt it has not learnt to read
        assert found["main"]["value"] > 0.9
    assert bool(found["shots_dropped"]) == (shots == "80"), "80 reviews do not fit into 1,024 positions"
