"""Entity tags: from any scheme to IOB2, and from IOB2 to spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from adapters.core.errors import DataError
from adapters.data.labels import LabelSet

OUTSIDE = "O"
SCHEMES = ("iob1", "iob2", "bioes", "bmes", "io")
PLAIN = "plain"
"""The scheme of labels that are no entities' tags, such as parts of speech."""

# The prefixes of each scheme. Sets, not strings: "" is in every string, but a tag without a prefix is a fault.
_PREFIXES = {
    scheme: frozenset(letters)
    for scheme, letters in {"iob1": "BI", "iob2": "BI", "bioes": "BIESLU", "bmes": "BMES", "io": ""}.items()
}
_CONTINUE = frozenset("IMEL")
_ALONE = frozenset("SU")
_END = frozenset("EL")
_OPEN = frozenset("BIM")
"""Prefixes after which BIOES and BMES continue the entity."""

Span = tuple[str, int, int]
"""An entity: its type, its first word, and one past its last word."""


def tag_labels(types: Iterable[str]) -> LabelSet:
    """The IOB2 tags of some entity types: `O`, then `B-` and `I-` of each type in alphabetical order."""
    return LabelSet((OUTSIDE, *(f"{p}-{t}" for t in sorted(set(types)) for p in "BI")))


def entity_types(labels: LabelSet) -> tuple[str, ...]:
    """The entity types of a set of tags, in their order; none of plain labels."""
    if scheme_of_labels(labels.names) == PLAIN:
        return ()
    return tuple(dict.fromkeys(kind for kind in (split_tag(name)[1] for name in labels.names) if kind))


def scheme_of_labels(names: Sequence[str]) -> str:
    """The tag scheme of a head's labels, from their names alone; `plain` if they have no prefixes and no `O`.

    `B-` and `I-` alone are IOB2, or IOB1 if a type has no `B-`: IOB2 needs one for each.

    Raises DataError if only some labels have a prefix.
    """
    split = {name: split_tag(name) for name in names if name != OUTSIDE}
    prefixes = {prefix for prefix, _ in split.values()}
    if prefixes <= {""}:
        return "io" if OUTSIDE in names and split else PLAIN
    bare = [name for name, (prefix, _) in split.items() if not prefix]
    if bare:
        tag = next(name for name in split if name not in bare)
        raise DataError(
            f"The labels mix tags with a prefix ({tag}) and without one ({', '.join(bare[:3])}), so they are of no "
            f"known scheme ({', '.join(SCHEMES)}, or plain labels without O)."
        )
    for scheme in ("iob2", "bioes", "bmes"):
        if prefixes <= _PREFIXES[scheme]:
            begun = {kind for prefix, kind in split.values() if prefix == "B"}
            lone = {kind for prefix, kind in split.values() if prefix == "I"} - begun
            return "iob1" if scheme == "iob2" and lone else scheme
    raise DataError(
        f"The prefixes {', '.join(sorted(prefixes))} of the labels are of no known scheme: {', '.join(SCHEMES)}."
    )


def may_follow(before: str, tag: str, scheme: str) -> bool:
    """Whether one tag may follow another in a scheme; `O` stands for what is before the first word and after the last.

    In IOB1 and without prefixes, any tag may.
    """
    (first, first_kind), (second, kind) = split_tag(before), split_tag(tag)
    continues = second in _CONTINUE and first_kind == kind
    if scheme == "iob2":
        return second != "I" or (continues and first in ("B", "I"))
    if scheme in ("bioes", "bmes"):
        inside = first in _OPEN
        return continues if inside else second not in _CONTINUE
    return True


def split_tag(tag: str) -> tuple[str, str]:
    """`B-PER` -> (`B`, `PER`); `O` -> (`O`, ``); a tag without a prefix (and `O-PER`) -> (``, tag)."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if len(tag) > 2 and tag[1] in "-_" and tag[0].isupper() and tag[0] != OUTSIDE:
        return tag[0], tag[2:]
    return "", tag


def detect_scheme(sentences: Iterable[Sequence[str]]) -> str:
    """The tag scheme of a dataset, from all its tags: `iob1`, `iob2`, `bioes`, `bmes`, or `io` (no prefixes).

    IOB1 and IOB2 have the same prefixes. A dataset in which no entity begins with `I-` is IOB2; one in which some do,
    and every `B-` is where IOB1 needs it (directly after an entity of its own type), is IOB1. One that mixes both is
    read as IOB2, so that its stray `I-` are reported as faults.
    """
    return scheme_of_pairs({pair for tags in sentences for pair in pairwise([OUTSIDE, *tags])})


def scheme_of_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """As `detect_scheme`, from each tag with the one before it; `O` stands for what is before the first word."""
    prefixes: set[str] = set()
    starts_with_i = needless_b = False
    for before, tag in pairs:
        (first, first_kind), (prefix, kind) = split_tag(before), split_tag(tag)
        prefixes.add(prefix)
        follows = first != OUTSIDE and first_kind == kind
        starts_with_i = starts_with_i or (prefix == "I" and not follows)
        needless_b = needless_b or (prefix == "B" and not follows)
    prefixes.discard(OUTSIDE)
    if "M" in prefixes:
        return "bmes"
    if prefixes & set("ESLU"):
        return "bioes"
    if prefixes and prefixes <= {""}:
        return "io"
    return "iob1" if starts_with_i and not needless_b else "iob2"


def has_ends(tags: Iterable[str]) -> bool:
    """Whether some tag ends an entity of several words; data without such tags (BIOS) end them by what follows."""
    return any(split_tag(tag)[0] in _END for tag in tags)


def to_iob2(tags: Sequence[str], scheme: str, *, closed: bool = False) -> tuple[list[str], list[tuple[int, str]]]:
    """Convert one sentence's tags to IOB2.

    Args:
        tags: of the words.
        scheme: one of `SCHEMES`.
        closed: whether an entity of several words needs a tag that ends it, in BIOES and BMES (see `has_ends`).

    Returns:
        The IOB2 tags, one for each given tag, and the faults as (position, what is wrong). At a fault the result has
        the repaired tag: a continuation without a beginning begins an entity, and one without an end ends where it is.
    """
    closed = closed and scheme in ("bioes", "bmes")
    out: list[str] = []
    faults: list[tuple[int, str]] = []
    before, before_type = OUTSIDE, ""
    for position, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        if scheme == "io" and tag not in (OUTSIDE, ""):  # some datasets have I- as the only prefix
            prefix, kind = "I", kind if prefix == "I" else tag
        elif prefix != OUTSIDE and prefix not in _PREFIXES[scheme]:
            faults.append((position, f"the tag {tag!r} is not of the scheme {scheme}"))
            prefix, kind = OUTSIDE, ""
        inside = before != OUTSIDE and before_type == kind and before not in _END | _ALONE
        continues = prefix in _CONTINUE  # one of nothing is a fault of its own
        known = not faults or faults[-1][0] != position
        if closed and before in _OPEN and not continues and known:
            faults.append((position - 1, f"{tags[position - 1]} has no end (the tag after it is {tag})"))
        if prefix == OUTSIDE:
            out.append(OUTSIDE)
        elif prefix in _CONTINUE and inside:
            out.append(f"I-{kind}")
        else:
            if prefix in _CONTINUE and scheme not in ("iob1", "io"):
                faults.append(
                    (position, f"{tag} continues no entity (the tag before it is {before_tag(tags, position)})")
                )
            out.append(f"B-{kind}")
        before, before_type = prefix, kind
    if closed and before in _OPEN:
        faults.append((len(tags) - 1, f"{tags[-1]} has no end (it is the last tag)"))
    return out, faults


def before_tag(tags: Sequence[str], position: int) -> str:
    """The tag before a position, for messages."""
    return tags[position - 1] if position else "nothing"


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of one sentence, read as conlleval reads IOB2.

    A stray `I-X` begins an entity of type X, so that every sequence of tags can be read.
    """
    found: list[Span] = []
    begin, current = 0, ""
    for position, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = split_tag(tag)
        if current and (prefix != "I" or kind != current):
            found.append((current, begin, position))
            current = ""
        if kind and not current:
            begin, current = position, kind
    return found


def tags_of(found: Iterable[Span], length: int) -> list[str]:
    """The IOB2 tags of `length` words with the given spans, which must not overlap."""
    tags = [OUTSIDE] * length
    for kind, begin, end in found:
        tags[begin] = f"B-{kind}"
        tags[begin + 1 : end] = [f"I-{kind}"] * (end - begin - 1)
    return tags
