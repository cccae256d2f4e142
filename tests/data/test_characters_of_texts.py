"""How texts are written: which characters are Chinese of which script, and what a reader overlooks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.data.word_splitter import split_words
from adapters.data.writing import chinese_scripts, folded, unspaced, writing_notes


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("这家酒店的环境和服务态度不错", "simplified"),
        ("這間酒店環境和服務態度亦算不錯", "traditional"),
        ("这家酒店環境不錯", "both"),
        ("北京大学", "simplified"),
        ("北京大學", "traditional"),
        ("北京市", None),  # the same in both
        ("図書館で勉強する", None),  # Japanese
        ("Ada lived in Oslo.", None),
        ("", None),
    ],
)
def test_a_texts_script_is_told_by_what_the_other_lacks(text: str, script: str | None) -> None:
    assert dict(chinese_scripts([text])) == ({script: 1} if script else {})


def test_mixed_scripts_and_full_width_letters_are_said_and_one_script_is_not() -> None:
    simplified, traditional = "国内银行的发卡模式", "國內銀行的發卡模式"
    assert writing_notes([simplified] * 3) == writing_notes(["１２", "Ａ"][:0]) == []
    (scripts,) = writing_notes([simplified, simplified, traditional])
    assert scripts.startswith("2 texts in simplified Chinese, 1 text in traditional Chinese: ")
    (wide,) = writing_notes(["第１名", "（甲），乙。", "ｏｋ"])  # full-width punctuation is Chinese punctuation
    assert wide.startswith("2 texts with full-width letters or digits")


@given(st.text(st.sampled_from("aB１Ａ （(，,　\t国國ﬁ"), max_size=12))
def test_what_looks_alike_is_folded_into_one_and_stays_so(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert folded(text) == folded(text.upper()) == folded(text.replace("a", "ａ").replace("(", "（").replace(" ", "　"))


@given(st.text(st.sampled_from("国語カひa1，。 　"), max_size=20))
def test_characters_without_blanks_are_words_and_full_width_punctuation_too(text: str) -> None:
    words = [text[start:end] for start, end in split_words(text)]
    assert sum(word in "国語カひ" for word in words) == unspaced([text])
    assert sum(word in "，。" for word in words) == sum(text.count(mark) for mark in "，。")
    assert not any("　" in word for word in words)
