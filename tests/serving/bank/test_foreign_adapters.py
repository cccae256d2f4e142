"""Adapters of stock PEFT on bases of sixteen classes: on real texts, a bank answers what PEFT does on the stock ids."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import foreign
import pytest

from adapters.serving.bank.bank import AdapterBank

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

REFUSED = {
    ("modernbert", "QUESTION_ANS"): "was random when the adapter was trained, and is lost",
    ("deberta", "SEQ_CLS"): "was random when the adapter was trained, and is lost",
    **{(name, "QUESTION_ANS"): "generates its answers" for name in foreign.CAUSAL},
}
"""PEFT does not save all of the first two heads; causal bases answer questions by generating here."""


@pytest.mark.parametrize("name", sorted(foreign.BASES))
def test_each_adapter_answers_alone_and_mixed_as_in_stock_peft(name: str, tmp_path: Path) -> None:
    base = foreign.BASES[name][0](tmp_path / "base")
    bank = AdapterBank(str(base))
    made: dict[str, foreign.Foreign] = {}
    for task in foreign.tasks(name):
        for seed, method in enumerate(("LoRA", "(IA)³", "prefix tuning")):
            key = f"{task.lower()}-{seed}"
            try:
                made[key] = foreign.make(tmp_path / key, base, task, foreign.configs(name)[method], seed=seed)
            except foreign.ImpossibleError:
                continue
            found = foreign.compare(bank, made[key])
            if (name, task) in REFUSED:
                assert re.match(f"refused: .*{REFUSED[name, task]}", found), (name, task, method, found)
                del made[key]
            else:
                assert found == "equal", (name, task, method)
    assert len(made) >= 3, "LoRA at least, for three tasks or more"
    for key, one in made.items():
        bank.load(key, one.folder, labels=foreign.LABELS[one.task] or None)
    asked = [(key, one, text) for text in foreign.TEXTS for key, one in made.items()]
    right = {key: dict(zip(foreign.TEXTS, foreign.wanted(one), strict=True)) for key, one in made.items()}
    found = foreign.bank_answers(bank, asked)
    assert foreign.difference(found, [right[key][text] for key, _, text in asked]) <= foreign.CLOSE


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
