"""Parallel lines: `train.en` and `train.de`, line for line the same sentence, the form of many translation corpora.

The files of one corpus differ only in their ending, which is a language's code (ISO 639-1, with or without a region:
`pt`, `pt_BR`). Opening one of them reads them all; a column is a language. Files of unequal length are refused, since
the line at which they diverge is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from adapters.core.errors import DataError, Faults, numbered
from adapters.core.files import digest_file, digest_value
from adapters.data.rows import FileSource, Line, Row, lines, plain_name

EXTENSIONS: tuple[str, ...] = ()
FILES = "a sentence on each line, and its translation on that line of a file beside it (train.en, train.de)"

_LANGUAGE = re.compile(
    "a[fmrsz]|b[egnos]|c[asy]|d[ae]|e[lnostu]|f[airy]|g[adlu]|h[aeirtuy]|i[dgst]|j[av]|k[akmnouy]|l[abotv]|m[giklnrsty]|"
    "n[belno]|or|p[alst]|r[ouw]|s[dikloqruvw]|t[aeghiklrt]|u[gkrz]|vi|wo|xh|y[io]|z[hu]"
)


def recognises(path: Path, head: str) -> bool:
    """Whether the file's ending is a language, and another file in its folder differs only in that."""
    return bool(companions(path))


def companions(path: Path) -> list[Path]:
    """The files in the same folder with the same text in other languages."""
    stem, language = _parts(path)
    if not language or not path.is_file():
        return []
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    return [other for other in others if _parts(other)[0] == stem and _parts(other)[1] not in ("", language)]


def open(path: Path, encoding: str) -> ParallelSource:
    """Count the lines of each file. Raises DataError where there is only one file, or the numbers differ."""
    together = sorted([path, *companions(path)])
    files = {_parts(one)[1]: one for one in together}
    if len(files) < len(together):
        raise DataError(f"{path}: two files are of one language: {', '.join(map(str, together))}. Remove one.")
    if len(files) < 2:
        raise DataError(
            f"{path}: no file of another language is in its folder. Parallel lines are two files like train.en and "
            "train.de, whose endings are the languages."
        )
    counts = {language: sum(1 for _ in lines(one, encoding, Faults(str(one)))) for language, one in files.items()}
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{files[language]} has {numbered(count, 'lines')}" for language, count in counts.items())
        raise DataError(
            f"{counted}. Each line must be the same sentence in all files, so the numbers must be equal. "
            "Mend the files, or fetch them again."
        )
    return ParallelSource(path=path, encoding=encoding, columns=list(files), files=files)


@dataclass(frozen=True, kw_only=True)
class ParallelSource(FileSource):
    """Lines of one number in several files, by language."""

    files: dict[str, Path]
    """By language."""

    def digest(self) -> str:
        """sha256, in hex, of the files' bytes."""
        return digest_value({language: digest_file(path) for language, path in self.files.items()})

    def rows(self, faults: Faults) -> Iterator[Row]:
        """One row per line, without surrounding white space; lines that are blank in every file are skipped."""
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(_lines(path, self.encoding, faults))) for path in self.files.values()
            ]
            for number, row in enumerate(zip_longest(*streams), 1):
                if not all(line is not None and line.sound for line in row):
                    continue
                texts = [line.text.strip() for line in row if line is not None]
                if any(texts):
                    yield Row(self.name, number, 0, dict(zip(self.files, texts, strict=True)))


def _lines(path: Path, encoding: str, faults: Faults) -> Generator[Line]:
    yield from lines(path, encoding, faults)


def _parts(path: Path) -> tuple[str, str]:
    """The name without its ending, and the ending if it is a language's code, else an empty one."""
    stem, _, ending = plain_name(path).rpartition(".")
    code = ending.replace("-", "_").partition("_")[0]
    return (stem, ending) if stem and _LANGUAGE.fullmatch(code) else (plain_name(path), "")
