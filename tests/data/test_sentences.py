"""Where sentences begin."""

from __future__ import annotations

import pytest

from adapters.data.sentences import sentence_starts


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Ada met Grace. They talked.", ["Ada met Grace. ", "They talked."]),
        ("Mr. Smith met J. Doe in St. Louis. It rained.", ["Mr. Smith met J. Doe in St. Louis. ", "It rained."]),
        ('"Stop!" Ada said. 3 came.', ['"Stop!" ', "Ada said. ", "3 came."]),
        ("It cost 3.5 dollars and e.g. nothing", ["It cost 3.5 dollars and e.g. nothing"]),
        ("小米在北京。华为在深圳！好", ["小米在北京。", "华为在深圳！", "好"]),
        ("one line\ntwo lines", ["one line\n", "two lines"]),
        ("", [""]),
    ],
)
def test_sentences_begin_after_full_stops_but_not_after_abbreviations(text: str, sentences: list[str]) -> None:
    starts = sentence_starts(text)
    assert [text[begin:end] for begin, end in zip(starts, [*starts[1:], len(text)], strict=True)] == sentences


def test_a_long_text_takes_linear_time() -> None:
    assert len(sentence_starts("Ada. " * 100_000)) == 1  # short words with a capital
    assert len(sentence_starts("people. " * 50_000 + "A" * 100_000)) == 2
