"""How the tags of a data set are read: their spelling, their scheme, the names of those that are numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from adapters.core.errors import DataError, SettingsError
from adapters.data.columns import MAX_LISTED
from adapters.data.rows import RowSource
from adapters.data.tag_schemes import OUTSIDE, SCHEMES, has_ends, scheme_of_pairs, to_iob2
from adapters.data.tag_spellings import ALONE, TagSpelling, find_spelling

_MOST = 0.5
"""Share of words with a type above which tags without letters are not taken for entities."""
_SHOWN_TAGS = 5
_SEVERAL = re.compile(r"[BIESLUM][-_].+?[|;,+/&][BIESLUM][-_].+")


@dataclass(frozen=True, kw_only=True)
class TagForm:
    """How tags become IOB2.

    Attributes:
        scheme: one of `SCHEMES`.
        spelling: how all tags are written.
        label_name: the type of tags without one.
        names: of tags that are numbers.
        note: what is to be said of it, or nothing.
        closed: whether the data end entities of several words by a tag of its own (BIOES, BMES).
    """

    scheme: str = "iob2"
    spelling: TagSpelling = field(default_factory=TagSpelling)
    label_name: str | None = None
    names: tuple[str, ...] = ()
    note: str = ""
    closed: bool = False

    @classmethod
    def find(
        cls,
        sentences: Iterable[Sequence[Any]],
        source: RowSource,
        column: str,
        *,
        scheme: str | None,
        label_name: str | None,
        names: Sequence[str],
    ) -> TagForm:
        """The form of a source's tags; see `find_tag_form` of `ner_rows`."""
        column = getattr(source, "aliases", {}).get(column, column)
        if scheme is not None and scheme not in SCHEMES:
            raise SettingsError(f"--tag_scheme {scheme}: known schemes are {', '.join(SCHEMES)}.")
        pairs: Counter[tuple[Any, Any]] = Counter()
        for sentence in sentences:
            tags = [tag.strip() if isinstance(tag, str) else tag if isinstance(tag, int) else None for tag in sentence]
            pairs.update(pairwise([None, *tags]))
        counts: Counter[Any] = Counter()
        for (_, tag), count in pairs.items():
            if tag is not None:
                counts[tag] += count
        where = f"{source.name}: the tags in column {column!r}"
        if not names:
            _refuse_numbers(counts, where)
        form = cls(names=tuple(names), label_name=label_name)
        named = Counter[str]()
        for tag, count in counts.items():
            if (name := form._named(tag)) is not None:
                named[name] += count
        form = replace(form, spelling=find_spelling(named))
        form._check_types(named, where)
        normal = {tag: form._normal(tag) or OUTSIDE for tag in counts}
        found = scheme or scheme_of_pairs(
            (normal.get(before, OUTSIDE), normal[tag]) for before, tag in pairs if tag is not None
        )
        if found == "io" and scheme is None:
            outside = sum(count for tag, count in counts.items() if normal[tag] == OUTSIDE)
            _refuse_words_with_types(outside, named, source, column)
        return replace(form, scheme=found, note=_note(form, named), closed=has_ends(normal.values()))

    def _check_types(self, named: Counter[str], where: str) -> None:
        """Raises DataError or SettingsError unless each tag has one type, its own or the one that the user named."""
        several = next((tag for tag in named if _SEVERAL.fullmatch(tag)), None)
        if several is not None:
            raise DataError(
                f"{where} have several entities for one word, as {several} does, but it is in one at most. Keep the "
                "outer or the inner ones, in a column of their own."
            )
        alone = self.spelling.place == ALONE
        if alone and self.label_name is None:
            outside = self.spelling.outside
            shown = ", ".join([*sorted(named.keys() - {outside}), outside])
            raise DataError(
                f"{where} are {shown}, which say where an entity is but not its type. Name the type of all with "
                "--label_name, for example --label_name ENTITY; or name the column of tags with types with "
                "--label_column_name."
            )
        if self.label_name is not None and not alone:
            shown = ", ".join(tag for tag, _ in named.most_common(_SHOWN_TAGS)) or "spans"
            raise SettingsError(
                f"--label_name {self.label_name}: names the type of tags without one (B, I, O). {where} are {shown}. "
                "Leave the flag out."
            )

    def to_iob2(self, tags: Sequence[str | int]) -> tuple[list[str], list[tuple[int, str, bool]]]:
        """Convert one sentence's tags to IOB2.

        Returns:
            The IOB2 tags, and the faults as (position, what is wrong, whether it can be repaired), as
            `tag_schemes.to_iob2` finds them.
        """
        if self.spelling.usual and not self.names:
            found, wrong = to_iob2(tags, self.scheme, closed=self.closed)  # type: ignore[arg-type]
            return found, [(position, what, not what.startswith("the tag ")) for position, what in wrong]
        strange: list[tuple[int, str, bool]] = []
        normal = []
        for position, tag in enumerate(tags):
            read = self._normal(tag)
            if read is None:
                strange.append((position, self._strange(tag), False))
            normal.append(OUTSIDE if read is None else read)
        found, wrong = to_iob2(normal, self.scheme, closed=self.closed)
        others = [(position, what, not what.startswith("the tag ")) for position, what in wrong]
        return found, sorted([*strange, *others])

    def _named(self, tag: str | int) -> str | None:
        """The name of a tag that may be a number; None for a number without a name."""
        if not self.names:
            return tag if isinstance(tag, str) else None
        if isinstance(tag, str) and not tag.isdecimal():
            return tag if tag in self.names else None
        number = int(tag)
        return self.names[number] if 0 <= number < len(self.names) else None

    def _normal(self, tag: str | int) -> str | None:
        name = self._named(tag)
        return None if name is None else self.spelling.normal(name, self.label_name)

    def _strange(self, tag: str | int) -> str:
        if self._named(tag) is None:
            return f"the tag {tag!r} is none of the {len(self.names)} of --label_names"
        return f"the tag {tag!r} is not written as the others are ({self.spelling.example})"


def _refuse_numbers(counts: Counter[Any], where: str) -> None:
    """Raises DataError where all tags are numbers."""
    numbers = [tag for tag in counts if isinstance(tag, int) or tag.isdecimal()]
    if numbers and len(numbers) == len(counts):
        shown = ", ".join(sorted(set(map(str, numbers)), key=int)[:_SHOWN_TAGS])
        raise DataError(
            f"{where} are numbers ({shown}, …), not names. Give the names in order, beginning with that of 0: "
            "--label_names O,B-PER,I-PER,… or a JSON file of them."
        )


def _note(form: TagForm, tags: Counter[str]) -> str:
    """What is said of tags that are not written as usual."""
    spelling = form.spelling
    if spelling.usual:
        return ""
    listed = (tag for tag, _ in tags.most_common())
    entity = next((tag for tag in listed if spelling.normal(tag, form.label_name) not in (None, OUTSIDE)), None)
    shown = [tag for tag in (entity, spelling.outside) if tag]
    read = [spelling.normal(tag, form.label_name) or "" for tag in shown]
    return f"tags are written {', '.join(shown)}; they are read as {', '.join(read)}"


def _refuse_words_with_types(outside: int, tags: Counter[str], source: RowSource, column: str) -> None:
    """Raises DataError where most words have a type, as they have parts of speech."""
    share = 1 - outside / max(tags.total(), 1)
    if share <= _MOST:
        return
    shown = ", ".join(tag for tag, _ in tags.most_common(_SHOWN_TAGS))
    listed = ", ".join(source.columns[:MAX_LISTED]) + (", …" if len(source.columns) > MAX_LISTED else "")
    raise DataError(
        f"{source.name}: {share:.0%} of the words have another tag than O in column {column!r}, and none begins with "
        f"B- or I- ({shown}), so these seem to be no entities. Columns found: {listed}. Name the tags' column with "
        "--label_column_name; or, if each of them is an entity's type, add --tag_scheme io."
    )
