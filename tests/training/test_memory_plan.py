"""What a training batch keeps in memory, planned from one row and two, against what torch's profiler counts."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate
import pytest
import tiny
import torch
from conftest import build_tiny_bert, forget_accelerate, write_tagged

from adapters.core import discovery
from adapters.core.errors import ModelError
from adapters.core.settings import CommonSettings, join
from adapters.methods.base.method import load_method
from adapters.models.base_model import open_base
from adapters.models.precision import cast_frozen_weights, fastest_precision
from adapters.tasks.base import examples
from adapters.training.trainer import Trainer, passes

ROWS = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    write_tagged(folder / "train.conll", 40)
    long = " ".join(["town O", "\n", "Rome B-LOC", "\n"] * 40).replace(" \n ", "\n")
    (folder / "long.conll").write_text(f"{long}\n\n" * 40)
    return folder


def trainer(base: Path, method: str, precision: str, file: Path) -> Trainer:
    forget_accelerate()
    kinds = [discovery.load("tasks", "ner").Settings, discovery.load("methods", method).Settings]
    more: dict[str, Any] = {
        "max_length": 512,
        "mixed_precision": precision,
        "train_file": str(file),
        "validation_file": str(file),
    }
    settings = join(CommonSettings, *kinds)(**more)
    task, splits, _ = examples.read_splits("ner", settings)
    opened = open_base(str(base))
    task = task.on(opened.kind)
    made = load_method(method)(settings)
    model = made.wrap(opened, task, splits["train"])
    cast_frozen_weights(model, precision)
    made_of: Trainer = tiny.trainer(made, model, opened, task, splits["train"], precision)
    return made_of


def kept(trainer: Trainer, rows: list[int]) -> int:
    """Bytes that are allocated after a forward pass and were not before it, by torch's profiler."""
    inputs, targets = trainer.dataset.collate(rows, trainer.accelerator.device)
    with trainer.accelerator.autocast(), trainer._attention(inputs):
        trainer.unwrapped.train()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            loss = trainer.task.loss(trainer.task.logits(trainer.unwrapped, inputs, targets), targets)[0]
            found = loss
        del found
    return sum(event.self_cpu_memory_usage for event in profile.key_averages())


@pytest.mark.parametrize(("everywhere", "fewest"), [([5, 3], 3), ([5, 5], 5), ([5, "Not even one row fits"], None)])
def test_processes_agree_on_the_fewest_rows_that_any_of_them_can_take(
    everywhere: list[Any], fewest: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one does more passes than the others, and waits for them for ever."""
    monkeypatch.setattr(accelerate.utils, "gather_object", lambda own: [own[0], *everywhere[1:]])
    two: Any = SimpleNamespace(accelerator=SimpleNamespace(num_processes=2))
    if fewest is None:
        with pytest.raises(ModelError, match="Not even one row fits"):
            Trainer._fewest(two, lambda: 5)
    else:
        assert Trainer._fewest(two, lambda: 5) == fewest


def test_every_process_makes_as_many_passes_and_each_row_is_in_one() -> None:
    for rows, world, micro_batches in itertools.product(range(1, 20), range(1, 5), range(1, 6)):
        batch = [*range(100, 100 + rows)]
        parts = [passes(batch, rank, world, micro_batches) for rank in range(world)]
        assert len({len(own) for own in parts}) == 1
        assert sorted(row for own in parts for part in own for row in part) == batch
        assert len(parts[0]) <= micro_batches and all(parts[0]), "the largest share"


def test_processes_take_the_precision_that_the_first_has_timed() -> None:
    cpu = torch.device("cpu")
    assert fastest_precision(cpu, "auto", agreed=lambda own: f"of {own in ('no', 'bf16')}") == "of True"
    assert fastest_precision(cpu, "bf16", agreed=lambda own: "no") == "bf16", "what was requested is not asked about"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("file", ["train", "long"])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_what_is_planned_for_a_batch_is_what_it_keeps(
    kind: str, file: str, method: str, precision: str, data: Path, tmp_path: Path
) -> None:
    build = build_tiny_bert if kind == "bert" else tiny.llama
    base = build(tmp_path / "base", positions=512)
    made = trainer(base, method, precision, data / f"{file}.conll")
    longest = max(range(len(made.dataset.lengths)), key=made.dataset.lengths.__getitem__)
    one, two = (made._saved_bytes([longest] * rows) for rows in (1, 2))
    planned = one + (ROWS - 1) * (two - one)
    assert planned == pytest.approx(kept(made, [longest] * ROWS), rel=0.15)
