"""Where the sentences of a text begin, by a rule."""

from __future__ import annotations

import regex

# A full stop ends a sentence where white space follows, and a capital, a digit or a letter without case; not one after
# a single letter or a short word with a capital, which is likelier an abbreviation (Mr., St., J.).
_END = regex.compile(
    r"(?:(?<!\b\p{Lu}\p{L}{0,2})\.|[!?…]+)[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[\p{Lu}\p{Lo}\p{N}])"
    r"|[。！？]+[”’」』）]*|\n\s*"
)


def sentence_starts(text: str) -> list[int]:
    """The character at which each sentence of a text begins, in order; the first is 0."""
    return [0, *(match.end() for match in _END.finditer(text) if match.end() < len(text))]
