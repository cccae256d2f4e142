"""What the model card says of the base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tiny

from adapters.artifacts.model_card import derived_model_card
from adapters.experiments.records import _of_base
from adapters.models.base_model import open_base


def test_what_is_said_on_each_use_of_a_base_is_in_the_cards(tiny_bert: Path) -> None:
    base, settings = open_base(str(tiny_bert)), tiny.method("full").settings
    assert "notice" not in _of_base(base, settings)
    noted = replace(base, source=replace(base.source, notice="dequantized from 4 bits"))
    card = {"task": {"name": "ner"}, "method": {"library": "peft"}, "base": _of_base(noted, settings)}
    assert card["base"]["notice"] == "dequantized from 4 bits"
    assert "dequantized from 4 bits." in derived_model_card(card, ["Merged."]).splitlines()
