"""Adapters of stock PEFT on bases of sixteen classes: on real texts, a bank answers what PEFT does on the stock ids."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import foreign
import numpy as np
import pytest

from adapters.serving.bank.bank import AdapterBank

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

REFUSED = {
    ("modernbert", "QUESTION_ANS"): "was random when the adapter was trained, and is lost",
    ("deberta", "SEQ_CLS"): "was random when the adapter was trained, and is lost",
    **{(name, "QUESTION_ANS"): "generates its answers" for name in foreign.CAUSAL},
}
"""PEFT does not save all of the first two heads; causal bases answer questions by generating here."""


TRIED = {"LoRA": foreign.LABELS, "(IA)³": ("SEQ_CLS",), "prefix tuning": ("TOKEN_CLS", "CAUSAL_LM")}
"""The tasks of each method; the benchmark tries all methods with all."""


@pytest.mark.parametrize("name", sorted(foreign.BASES))
def test_each_adapter_answers_alone_and_mixed_as_in_stock_peft(name: str, tmp_path: Path) -> None:
    base = foreign.BASES[name][0](tmp_path / "base")
    bank = AdapterBank(str(base))
    made: dict[str, foreign.Foreign] = {}
    right: dict[str, list[np.ndarray]] = {}
    for seed, (method, tasks) in enumerate(TRIED.items()):
        for task in sorted({*tasks} & {*foreign.tasks(name)}):
            key = f"{task.lower()}-{seed}"
            try:
                one = foreign.make(tmp_path / key, base, task, foreign.configs(name)[method], seed=seed)
            except foreign.ImpossibleError:
                continue
            if reason := foreign.refusal(bank, key, one):
                assert re.search(REFUSED.get((name, task), "nothing"), reason), (name, task, method, reason)
                continue
            assert (name, task) not in REFUSED
            made[key], right[key] = one, foreign.wanted(one)
            alone = foreign.bank_answers(bank, [(key, one, text) for text in foreign.TEXTS])
            assert foreign.difference(alone, right[key]) <= foreign.CLOSE, (name, task, method)
    assert len(made) >= 2
    order = [(number, key) for number in range(len(foreign.TEXTS)) for key in made]
    found = foreign.bank_answers(bank, [(key, made[key], foreign.TEXTS[number]) for number, key in order])
    assert foreign.difference(found, [right[key][number] for number, key in order]) <= foreign.CLOSE


def test_the_texts_tell_tokenizers_apart(tmp_path: Path) -> None:
    """What the texts are for: read with a blank before every word, as before, they have other ids."""
    from transformers import AutoTokenizer

    for name in ("gpt2", "qwen2", "roberta"):
        folder = foreign.BASES[name][0](tmp_path / name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stock = AutoTokenizer.from_pretrained(folder)
            other = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
        differ = [text for text in foreign.TEXTS if stock(text).input_ids != other(text).input_ids]
        assert len(differ) >= 4, name
