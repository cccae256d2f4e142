"""The runtime's tokenizer gives what transformers' gives, so that an export reads the words that its artifact reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import build_tiny_bert
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.artifacts.runtime.tokenizer import FastTokenizer, SpecialTokens
from adapters.data.word_splitter import split_words
from adapters.models.tokenizer import WordTokenizer
from adapters.models.word_parts import WordParts

BUILT: dict[str, Callable[[Path], Path]] = {
    "wordpiece": build_tiny_bert,
    "bytes": tiny.gpt2,
    "roberta": tiny.roberta,
    "unigram": tiny.xlmr,
    "template": tiny.t5,
}
HARD = ["", " ", "[SEP] </s>", "\u200b", "\ufeffAda", "東京タワー", "U.N.", "a\nb", "\U0001f600", "▁", "New  York "]
texts = st.one_of(st.sampled_from(HARD), st.text(max_size=30), st.sampled_from(tiny.TEXT))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[WordTokenizer, WordTokenizer]]:
    """For each kind transformers' tokenizer and the runtime's, made of its own record."""
    from adapters.models.base_model import open_base

    root = tmp_path_factory.mktemp("tokenizers")
    out = {}
    for name, build in BUILT.items():
        base = open_base(str(build(root / name)))
        file = root / f"{name}.json"
        base.tokenizer.backend_tokenizer.save(str(file))
        record = SpecialTokens.of(base.tokenizer).record()
        labelled = base.word_tokenizer.labelled
        runs = FastTokenizer(file, SpecialTokens.of_record(record))
        out[name] = base.word_tokenizer, WordTokenizer(runs, labelled=labelled)  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize("kind", BUILT)
def test_both_know_the_same_of_the_vocabulary(both: Any, kind: str) -> None:
    ours, theirs = both[kind][1], both[kind][0]
    for name in (
        "blank",
        "before",
        "after",
        "special",
        "spelled",
        "leading",
        "mark",
        "separates_pairs",
        "unknown",
        "labelled",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert theirs.before or theirs.after or kind == "bytes"  # otherwise this compares nothing


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_texts=st.lists(texts, min_size=1, max_size=4), budget=st.integers(8, 24))
@example(given_texts=["a " * 60, "b"], budget=8)
@pytest.mark.parametrize("kind", BUILT)
def test_texts_words_pairs_and_windows_are_the_same(both: Any, kind: str, given_texts: list[str], budget: int) -> None:
    theirs, ours = both[kind]
    from adapters.models.tokenizer import valid_text

    valid = [valid_text(text) for text in given_texts]
    assert ours.texts(valid, budget) == theirs.texts(valid, budget)
    assert ours.pairs(valid, valid[::-1], budget) == theirs.pairs(valid, valid[::-1], budget)
    offsets = [split_words(text) for text in valid]
    words = [[text[a:b] for a, b in spans] for text, spans in zip(valid, offsets, strict=True)]
    parts = WordParts(theirs).of_words(words)
    assert WordParts(ours).of_words(words) == parts
    assert WordParts(ours).of_texts(valid, offsets) == WordParts(theirs).of_texts(valid, offsets)
    assert WordParts(ours).windows(parts, budget) == WordParts(theirs).windows(parts, budget)
    options: dict[str, Any] = {
        "truncation": "only_second",
        "max_length": budget + 8,
        "stride": 2,
        "return_overflowing_tokens": True,
        "return_offsets_mapping": True,
    }
    found, wanted = (one.encode_data(["Ada"] * len(valid), valid, **options) for one in (ours, theirs))
    assert found.input_ids == wanted.input_ids
    assert found.offset_mapping == wanted.offset_mapping
    assert found.overflow_to_sample_mapping == wanted.overflow_to_sample_mapping
    rows = range(len(found.input_ids))
    assert [found.sequence_ids(row) for row in rows] == [wanted.sequence_ids(row) for row in rows]


def test_one_text_has_no_rows(both: Any) -> None:
    theirs, ours = both["wordpiece"]
    for options in ({}, {"add_special_tokens": False, "return_offsets_mapping": True}):
        found, wanted = ours.encode_data("Ada Lovelace", **options), theirs.encode_data("Ada Lovelace", **options)
        assert found.input_ids == wanted.input_ids
        assert found.get("offset_mapping") == wanted.get("offset_mapping")
        assert isinstance(found.input_ids[0], int)
