"""Emoji, zero-width, bidirectional, decomposed, empty and blank words: a tag each, and offsets that cut the text."""

from __future__ import annotations

from pathlib import Path

import pytest
import sentences
import tiny

from adapters.serving.bank.bank import AdapterBank

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_word_has_a_tag_and_every_entity_is_cut_from_the_text(tiny_bert: Path, tmp_path: Path) -> None:
    bank = AdapterBank(str(tiny_bert))
    bank.load("ner", tiny.adapter(tmp_path / "it", "bottleneck", bank.base, tiny.tagging(), bottleneck_size=4))
    words, entities, wrong = sentences.tag(bank, "ner", 600)
    assert not wrong, f"{len(wrong)}, the first: {wrong[0][:500]}"
    assert words > 2000
    assert entities > 300
