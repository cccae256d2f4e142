"""The advice for bytes that are not of the encoding is the encoding that helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.core.errors import DataError, Faults
from adapters.data.dataset_files import open_file


def refusal(folder: Path, content: bytes, encoding: str = "utf-8") -> str:
    path = folder / "train.csv"
    path.write_bytes(b"text,label\n" + content + b",x\n")
    with pytest.raises(DataError) as caught:
        open_file(path, encoding=encoding)
    assert f"{path}: 1 fault:" in str(caught.value) and f"{path}:2: byte 0x" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("so “now”", "cp1252", ["byte 0x93 is not utf-8 (in cp1252 it is “)", "--encoding cp1252"]),
        ("café – or – not", "cp1252", ["byte 0xe9 is not utf-8", "--encoding cp1252"]),
        ("it’s 5 €", "cp1252", ["byte 0x92 is not utf-8 (in cp1252 it is ’)", "--encoding cp1252"]),
        ("un café très bon", "latin-1", ["byte 0xe9 is not utf-8", "--encoding latin-1"]),
        ("这部电影很好看", "gb18030", ["--encoding gb18030"]),
        ("这部 film 很好", "gbk", ["--encoding gb18030"]),
        ("хороший фильм", "cp1251", ["--encoding cp1251 where it is Cyrillic"]),
    ],
)
def test_bytes_that_are_not_utf_8_name_the_likeliest_encoding(
    tmp_path: Path, text: str, encoding: str, said: list[str]
) -> None:
    message = refusal(tmp_path, text.encode(encoding))
    for part in said:
        assert part in message
    assert message.count("--encoding") == 1


def test_utf_8_is_named_where_another_encoding_was_given(tmp_path: Path) -> None:
    assert "--encoding utf-8" in refusal(tmp_path, "café".encode(), encoding="ascii")


@pytest.mark.parametrize(("text", "encoding"), [("so “now”", "cp1252"), ("un café", "latin-1"), ("很好看", "gb18030")])
def test_with_the_advised_encoding_the_text_is_what_was_written(tmp_path: Path, text: str, encoding: str) -> None:
    message = refusal(tmp_path, text.encode(encoding))
    advised = message.rpartition("--encoding ")[2].split()[0].rstrip(".,")
    rows = list(open_file(tmp_path / "train.csv", encoding=advised).rows(Faults("x")))
    assert rows[0].values["text"] == text
