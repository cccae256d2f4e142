"""Folders called as the aliases of models and data sets are, tiny: they come first where commands run."""

from __future__ import annotations

import random
from pathlib import Path

import tiny
from conftest import FILLERS, FIRST, LAST, PLACES, build_tiny_bert


def write(folder: Path) -> None:
    """minilm, smollm2, conll2003 and rotten_tomatoes."""
    build_tiny_bert(folder / "minilm", layers=1, hidden=64)
    tiny.llama(folder / "smollm2")
    for name in ("conll2003", "rotten_tomatoes"):
        (folder / name).mkdir()
    for name in ("train", "dev", "test"):
        write_entities(folder / "conll2003" / f"{name}.conll", 40)
        write_reviews(folder / "rotten_tomatoes" / f"{name}.csv")


def write_entities(path: Path, sentences: int) -> None:
    """Sentences with four types of entity, as many as CoNLL-2003 has: stock PEFT is told nine labels."""
    draw = random.Random(path.name)
    lines = []
    for _ in range(sentences):
        lines += [f"{draw.choice(FIRST)} B-PER", f"{draw.choice(LAST)} I-PER", f"{draw.choice(FILLERS)} O"]
        lines += [f"{draw.choice(PLACES).split()[0]} B-{draw.choice(['LOC', 'ORG', 'MISC'])}", ". O", ""]
    path.write_text("\n".join(lines) + "\n")


def write_reviews(path: Path) -> None:
    rows = [f"{'Good' if n % 2 else 'Bad'} film {n},{'fresh' if n % 2 else 'rotten'}" for n in range(40)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
