"""How the entity tags of a data set are written: `B-PER`, `PER-B`, `b_per`, `B.PER`, or `B` without a type."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from adapters.data.tag_schemes import OUTSIDE

SEPARATORS = "-_.:/|+=~\N{EN DASH}\N{NON-BREAKING HYPHEN}\N{MINUS SIGN}"

_LETTERS = "BIESLUM"
_PREFIXED = re.compile(rf"([{_LETTERS}])([{re.escape(SEPARATORS)}])(.+)", re.IGNORECASE)
_SUFFIXED = re.compile(rf"(.+)([{re.escape(SEPARATORS)}])([{_LETTERS}])", re.IGNORECASE)
_ALONE = re.compile(rf"([{_LETTERS}])[{re.escape(SEPARATORS)}]?", re.IGNORECASE)
_UNSEPARATED = re.compile(rf"([{_LETTERS}])(?=[^a-z\W_])(.+)")
_OUTSIDES = (OUTSIDE, OUTSIDE.lower())

PREFIX, SUFFIX, ALONE, BARE = "prefix", "suffix", "alone", "bare"


@dataclass(frozen=True, kw_only=True)
class TagSpelling:
    """The one way in which all tags of a data set are written.

    Attributes:
        place: where the letter of a tag is: before its type, after it, alone (no type), or nowhere (types alone).
        separator: between letter and type, or nothing; `-` stands for `_` as well in the usual spelling.
        lower: letters in lower case.
        outside: the tag of words in no entity.
    """

    place: str = PREFIX
    separator: str = "-"
    lower: bool = False
    outside: str = OUTSIDE

    @property
    def usual(self) -> bool:
        """Whether tags are written as everywhere, `B-PER` and `O`."""
        return self in (TagSpelling(), TagSpelling(place=BARE))

    @property
    def example(self) -> str:
        """A tag written so, and the one of words in no entity."""
        letter = "b" if self.lower else "B"
        forms = {
            PREFIX: f"{letter}{self.separator}PER",
            SUFFIX: f"PER{self.separator}{letter}",
            ALONE: letter,
            BARE: "PER",
        }
        return f"{forms[self.place]}, {self.outside}"

    def normal(self, tag: str, label_name: str | None = None) -> str | None:
        """A tag as `B-PER` or `O` (without a letter, if none has one); None if it is written otherwise.

        In the usual spelling every tag is returned as it is.
        """
        if self.usual:
            return tag
        if tag == self.outside:
            return OUTSIDE
        if tag in _OUTSIDES or not tag:
            return None
        if self.place == BARE:
            return tag
        letter, kind = self._parts(tag)
        if not letter or letter.islower() != self.lower:
            return None
        return f"{letter.upper()}-{label_name if self.place == ALONE else kind}"

    def fits(self, tag: str) -> bool:
        """Whether a tag is written so: it is the one of words in no entity, or has its letter in its place."""
        letter = self._parts(tag)[0] if self.place != BARE else ""
        return tag == self.outside or (bool(letter) and letter.islower() == self.lower)

    def _parts(self, tag: str) -> tuple[str, str]:
        """Letter and type, both empty in a tag of another form."""
        if self.place == ALONE:
            found = _ALONE.fullmatch(tag)
            return (found[1], "") if found else ("", "")
        if not self.separator:
            found = _UNSEPARATED.fullmatch(tag)
            return (found[1], found[2]) if found else ("", "")
        found = (_PREFIXED if self.place == PREFIX else _SUFFIXED).fullmatch(tag)
        separators = "-_" if self.place == PREFIX and self.separator == "-" and not self.lower else self.separator
        if not found or found[2] not in separators:
            return "", ""
        return (found[1], found[3]) if self.place == PREFIX else (found[3], found[1])


def find_spelling(tags: Counter[str]) -> TagSpelling:
    """The spelling of most tags, which those of a data set must share.

    Any other than the usual one must be that of at least half of the tags that are not outside.
    """
    outside = OUTSIDE.lower() if tags[OUTSIDE.lower()] > tags[OUTSIDE] else OUTSIDE
    others = Counter({tag: count for tag, count in tags.items() if tag not in _OUTSIDES})
    if not others:
        return TagSpelling(outside=outside)
    if _are_alone(others):
        lower = 2 * sum(count for tag, count in others.items() if tag[0].islower()) > others.total()
        return TagSpelling(place=ALONE, lower=lower, outside=outside)
    found: Counter[TagSpelling] = Counter({TagSpelling(outside=outside): 0})  # the first of equals is chosen
    for place, form in ((PREFIX, _PREFIXED), (SUFFIX, _SUFFIXED)):
        for tag, count in others.items():
            if parts := form.fullmatch(tag):
                letter = parts[1] if place == PREFIX else parts[3]
                separator = "-" if place == PREFIX and parts[2] == "_" and letter.isupper() else parts[2]
                spelled = TagSpelling(place=place, separator=separator, lower=letter.islower(), outside=outside)
                found[spelled] += count
    (best, count), *_ = found.most_common(1)
    usual = TagSpelling(outside=outside)
    if best != usual and 2 * count < others.total():
        best, count = usual, found[usual]
    if count:
        return best
    return (
        TagSpelling(separator="", outside=outside) if _unseparated(others) else TagSpelling(place=BARE, outside=outside)
    )


def _unseparated(others: Collection[str]) -> bool:
    """Whether all tags are like `BPER` and `IPER`: with a letter, and each type that goes on also begins."""
    found = [_UNSEPARATED.fullmatch(tag) for tag in others]
    parts = {(match[1], match[2]) for match in found if match}
    begun = {kind for letter, kind in parts if letter in "BSU"}
    going_on = {kind for letter, kind in parts if letter not in "BSU"}
    return len(parts) == len(others) and bool(going_on) and going_on <= begun


def _are_alone(others: Collection[str]) -> bool:
    """Whether tags that are not outside are letters of a scheme without a type."""
    letters = {found[1].upper() if (found := _ALONE.fullmatch(tag)) else "" for tag in others}
    return "" not in letters and bool(letters & {"B", "I"})


def kind_of_tags(cells: Iterable[str]) -> str | None:
    """What a column's cells are as tags, so that the column of the tags is found among others.

    Returns:
        `prefix` or `suffix` (at least 95 % of those that are not `O` have a letter and a type), `alone` (letters
        without types), `outside` (all are `O`), `bare` (at least half are `O`, the others types), or None: no tags.
    """
    tags = Counter(cells)
    outside = sum(tags.pop(tag, 0) for tag in _OUTSIDES)
    if not tags:
        return "outside" if outside else None
    if _are_alone(tags):
        return ALONE
    spelling = find_spelling(tags)
    fitting = sum(count for tag, count in tags.items() if spelling.fits(tag))
    if spelling.place in (PREFIX, SUFFIX) and fitting >= 0.95 * tags.total():
        return spelling.place
    return BARE if outside >= tags.total() and all(any(map(str.isalpha, tag)) for tag in tags) else None


def is_tag(cell: str) -> bool:
    """Whether a cell alone looks like a tag: `O`, `B-PER`, `PER-B`, `B`."""
    return cell in _OUTSIDES or any(form.fullmatch(cell) for form in (_PREFIXED, _SUFFIXED, _ALONE))


def types_of(cells: Iterable[str]) -> set[str]:
    """The types in the tags of a column."""
    tags = Counter(cells)
    spelling = find_spelling(tags)
    return {kind for _, kind in map(spelling._parts, tags) if kind}
