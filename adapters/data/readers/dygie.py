"""SciERC's JSON, as DyGIE reads it: a document on each line, with `sentences`, `ner` and `relations`.

Places count the words of the whole document, ends inclusive. Columns of each sentence: `tokens`, `entities`
(`[start, end, type]` in the sentence, the end exclusive), `relations` (`[head, tail, type]`, numbers of entities), and
`document_id`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.core.errors import DataError, Faults
from adapters.data.readers.base.json_text import Decoder
from adapters.data.rows import FileSource, Row, line_blocks, with_a_row

EXTENSIONS: tuple[str, ...] = ()
FILES = "SciERC's JSON: documents with sentences, ner and relations"

_KEYS = ("sentences", "ner", "relations")
_OPENS = re.compile(r'\s*\{\s*"(?:doc_key|clusters|sentences|ner|relations|dataset)"\s*:')
_SENTENCES = re.compile(r'"sentences"\s*:\s*\[\s*\[\s*"')
_COLUMNS = ("tokens", "entities", "relations", "document_id")


def recognises(path: Path, head: str) -> bool:
    """Whether its first line begins like such a document."""
    return bool(_OPENS.match(head) and _SENTENCES.search(head))


def open(path: Path, encoding: str) -> DocumentSource:
    """Check that there is a sentence. Raises DataError."""
    source = DocumentSource(path=path, encoding=encoding, columns=list(_COLUMNS))
    return with_a_row(source, f"the file contains no sentence. A document has the lists {', '.join(_KEYS)}.")


@dataclass(frozen=True, kw_only=True)
class DocumentSource(FileSource):
    """The sentences of documents."""

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per sentence."""
        decode = Decoder().decode
        for first, texts, unsound in line_blocks(self.path, self.encoding, faults):
            for number, text in enumerate(texts, first):
                if not text.strip() or number in unsound:
                    continue
                value, _, problems = decode(text.rstrip(), end_expected=True)
                try:
                    if problems:
                        raise DataError(problems[0])
                    for values in _sentences(value, number):
                        yield Row(self.name, number, 0, values)
                except DataError as error:
                    faults.add(f"{self.path}:{number}", str(error))


def _sentences(value: Any, number: int) -> Iterator[dict[str, Any]]:
    """The columns of each sentence of a document. Raises DataError."""
    given = [value.get(key) for key in _KEYS] if isinstance(value, Mapping) else []
    lists = [one for one in given if isinstance(one, list)]
    if len(lists) < len(_KEYS) or len({len(one) for one in lists}) > 1:
        raise DataError(f"a document needs the lists {', '.join(_KEYS)}, of equal length")
    name, at = str(value.get("doc_key", number)), 0
    for tokens, entities, relations in zip(*lists, strict=True):
        try:
            places = [(start - at, end + 1 - at, kind) for start, end, kind in entities]
            index = {(start, end): found for found, (start, end, _) in enumerate(places)}
            related = [
                [index[head - at, head_end + 1 - at], index[tail - at, tail_end + 1 - at], kind]
                for head, head_end, tail, tail_end, kind in relations
            ]
        except (TypeError, ValueError) as error:
            raise DataError(
                f"an entity must be [start, end, type], a relation [start, end, start, end, type] ({error})"
            ) from error
        except KeyError as error:
            raise DataError(f"a relation's argument {error} is no entity of its sentence") from error
        yield {
            "tokens": tokens,
            "entities": [list(one) for one in places],
            "relations": related,
            "document_id": name,
        }
        at += len(tokens)
