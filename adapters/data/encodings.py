"""Which encoding a line may have whose bytes are not of the one that was named."""

from __future__ import annotations

import re

_HIGH = re.compile(rb"[\x80-\xff]+")
_CONTROLS = re.compile(rb"[\x80-\x9f]")
"""Bytes that are control characters in latin-1 and printed ones in cp1252."""


def fault_of_byte(text: str, byte: int, encoding: str) -> tuple[str, str]:
    """What is wrong with a line, and the advice that names the likeliest encoding.

    Args:
        text: the line, its undecodable bytes escaped as Python's `surrogateescape` does.
        byte: the first of them.
        encoding: the encoding that was named.
    """
    what = f"byte 0x{byte:02x} is not {encoding}"
    found = likely_encoding(text.encode(encoding, "surrogateescape"), given=encoding)
    if found is None:
        return what, "Name the encoding of the file, for example --encoding cp1251 where it is Cyrillic."
    if found == "cp1252" and 0x80 <= byte <= 0x9F:
        what += f" (in cp1252 it is {bytes([byte]).decode('cp1252')})"
    more = ", or big5, shift_jis or euc_kr" if found == "gb18030" else ""
    return what, f"Name the encoding of the file, for example --encoding {found}{more}."


def likely_encoding(line: bytes, *, given: str) -> str | None:
    """An encoding in which the line can be read: utf-8, gb18030, cp1252 or latin-1; None where none is likely.

    Characters of Chinese are two bytes or more, so runs of high bytes are long and decode; in Western European texts
    they are single bytes among letters, and those from 0x80 to 0x9f are quotes and dashes of cp1252.
    """
    runs = _HIGH.findall(line)
    if _decodes(line, "utf-8"):
        candidates = ["utf-8"]
    elif all(len(run) >= 2 for run in runs) and _decodes(line, "gb18030"):
        candidates = ["gb18030"]
    elif sum(map(len, runs)) >= 3 * len(runs):  # words of high bytes
        candidates = []
    elif _CONTROLS.search(line):
        candidates = ["cp1252"] if _decodes(line, "cp1252") else []
    else:
        candidates = ["latin-1"]
    return next((name for name in candidates if name != given.lower().replace("_", "-")), None)


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
