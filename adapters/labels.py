"""Label sets with a digest, and entity tags: schemes in, IOB2 inside, spans out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adapters.errors import Faults
from adapters.files import digest_value

OUTSIDE = "O"
SCHEMES = ("iob1", "iob2", "bioes", "bmes", "io")
# The prefixes of each scheme. Sets, not strings: "" is in every string, and a tag without prefix must not pass.
_PREFIXES = {
    scheme: frozenset(letters)
    for scheme, letters in {"iob1": "BI", "iob2": "BI", "bioes": "BIESLU", "bmes": "BMES", "io": ""}.items()
}
_CONTINUE = frozenset("IMEL")
_ALONE = frozenset("SU")
_END = frozenset("EL")

Span = tuple[str, int, int]


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of label names; the position of a name is its class in the model's head."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a set that would make two classes one."""
        assert len(set(self.names)) == len(self.names), self.names

    @cached_property
    def index(self) -> dict[str, int]:
        """Class of each name."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def digest(self) -> str:
        """sha256 of the ordered names."""
        return digest_value(list(self.names))

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.names)


def refuse_unknown(
    subject: str, examples: Iterable[Any], labels_of: Callable[[Any], Iterable[str]], known: Sequence[str]
) -> None:
    """Raises DataError, with `file:line` of the first of them, where examples have labels that train lacks.

    Args:
        subject: what is being read, for the message.
        examples: each with its place as `where`.
        labels_of: the labels of an example's gold answer.
        known: the labels of train, as the message shall list them.
    """
    faults, there = Faults(subject), frozenset(known)
    listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    for example in examples:
        for label in sorted(set(labels_of(example.gold)) - there):
            advice = f"train knows {listed}. Remove the label, or add examples of it to train."
            faults.add(example.where, f"label {label!r} does not occur in train", advice)
    faults.raise_if_any()


def tag_labels(types: Iterable[str]) -> LabelSet:
    """The IOB2 tags of some entity types: `O`, then `B-` and `I-` of each type in alphabetical order."""
    return LabelSet((OUTSIDE, *(f"{p}-{t}" for t in sorted(set(types)) for p in "BI")))


def entity_types(labels: LabelSet) -> tuple[str, ...]:
    """The entity types of a set of IOB2 tags, in their order."""
    return tuple(name[2:] for name in labels.names if name.startswith("B-"))


def split_tag(tag: str) -> tuple[str, str]:
    """`B-PER` -> (`B`, `PER`); `O` -> (`O`, ``); a tag without a prefix (and `O-PER`) -> (``, tag)."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if len(tag) > 2 and tag[1] in "-_" and tag[0].isupper() and tag[0] != OUTSIDE:
        return tag[0], tag[2:]
    return "", tag


def detect_scheme(sentences: Iterable[Sequence[str]]) -> str:
    """The tag scheme of a dataset, from all its tags: `iob1`, `iob2`, `bioes`, `bmes`, or `io` (no prefixes).

    IOB1 and IOB2 share their letters. A dataset in which no entity begins with `I-` is IOB2; one in which some do, and
    in which every `B-` stands only where IOB1 needs it (right behind an entity of its own type), is IOB1. One that
    mixes both habits is called IOB2, so that its stray `I-` are reported as faults.
    """
    prefixes: set[str] = set()
    starts_with_i = needless_b = False
    for tags in sentences:
        before = ("O", "")
        for tag in tags:
            prefix, kind = split_tag(tag)
            prefixes.add(prefix)
            follows = before[0] != OUTSIDE and before[1] == kind
            starts_with_i = starts_with_i or (prefix == "I" and not follows)
            needless_b = needless_b or (prefix == "B" and not follows)
            before = (prefix, kind)
    prefixes.discard(OUTSIDE)
    if "M" in prefixes:
        return "bmes"
    if prefixes & set("ESLU"):
        return "bioes"
    if prefixes and prefixes <= {""}:
        return "io"
    return "iob1" if starts_with_i and not needless_b else "iob2"


def to_iob2(tags: Sequence[str], scheme: str) -> tuple[list[str], list[tuple[int, str]]]:
    """Rewrite one sentence's tags as IOB2.

    Returns:
        The IOB2 tags, as many as given, and the faults as (position, what is wrong). Where there is a fault the tag
        that stands in the result is the repaired one: a continuation without a beginning begins an entity.
    """
    out: list[str] = []
    faults: list[tuple[int, str]] = []
    before, before_type = OUTSIDE, ""
    for position, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        if scheme == "io" and tag not in (OUTSIDE, ""):  # some write it with the one prefix I-
            prefix, kind = "I", kind if prefix == "I" else tag
        elif prefix != OUTSIDE and prefix not in _PREFIXES[scheme]:
            faults.append((position, f"the tag {tag!r} is not of the scheme {scheme}"))
            prefix, kind = OUTSIDE, ""
        inside = before != OUTSIDE and before_type == kind and before not in _END | _ALONE
        if prefix == OUTSIDE:
            out.append(OUTSIDE)
        elif prefix in _CONTINUE and inside:
            out.append(f"I-{kind}")
        else:
            if prefix in _CONTINUE and scheme not in ("iob1", "io"):
                faults.append((position, f"{tag} continues no entity (before it stands {before_tag(tags, position)})"))
            out.append(f"B-{kind}")
        before, before_type = prefix, kind
    return out, faults


def before_tag(tags: Sequence[str], position: int) -> str:
    """The tag in front of a position, for messages."""
    return tags[position - 1] if position else "nothing"


def spans(tags: Sequence[str]) -> list[Span]:
    """Entities of one sentence as (type, first word, one past the last word), read as conlleval reads IOB2.

    A stray `I-X` begins an entity of type X, so that any sequence of tags has one reading.
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
    """The IOB2 tags of `length` words that hold the given spans, which must not overlap."""
    tags = [OUTSIDE] * length
    for kind, begin, end in found:
        tags[begin] = f"B-{kind}"
        tags[begin + 1 : end] = [f"I-{kind}"] * (end - begin - 1)
    return tags


def best_tags(log_probs: Sequence[np.ndarray], labels: LabelSet) -> list[np.ndarray]:
    """The likeliest valid IOB2 tag sequence of each sentence (Viterbi with forbidden steps and no learned ones).

    Args:
        log_probs: per sentence, float `[words, tags]`.
        labels: IOB2 tags; a step into `I-X` is allowed only from `B-X` or `I-X`.

    Returns:
        Per sentence, int64 `[words]`: classes of `labels`.
    """
    forbidden = np.array([[b[0] == "I" and a[2:] != b[2:] for b in labels.names] for a in labels.names])
    step = np.where(forbidden, -1e9, 0.0)  # [from, to]
    first = np.array([-1e9 if name[0] == "I" else 0.0 for name in labels.names])
    results: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(log_probs)
    order = sorted(range(len(log_probs)), key=lambda i: len(log_probs[i]))
    for begin in range(0, len(order), 256):
        chosen = [i for i in order[begin : begin + 256] if len(log_probs[i])]
        for i, path in zip(chosen, _viterbi([log_probs[i] for i in chosen], step, first), strict=True):
            results[i] = path
    return results


def _viterbi(rows: list[np.ndarray], step: np.ndarray, first: np.ndarray) -> list[np.ndarray]:
    """Viterbi of several sentences side by side; padding repeats the last state at no cost."""
    if not rows:
        return []
    lengths = np.array([len(row) for row in rows])
    tags = len(first)
    padded = np.zeros((len(rows), lengths.max(), tags))
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    score = padded[:, 0] + first  # [sentences, tags]
    back = np.zeros((lengths.max(), len(rows), tags), dtype=np.int64)
    stay = np.arange(tags)
    for word in range(1, lengths.max()):
        paths = score[:, :, None] + step  # [sentences, from, to]
        chosen = paths.argmax(1)
        alive = (word < lengths)[:, None]
        back[word] = np.where(alive, chosen, stay)
        score = np.where(alive, paths.max(1) + padded[:, word], score)
    last = score.argmax(1)
    out = np.zeros((len(rows), lengths.max()), dtype=np.int64)
    for word in range(lengths.max() - 1, -1, -1):
        out[:, word] = last
        last = back[word, np.arange(len(rows)), last]
    return [out[i, :length] for i, length in enumerate(lengths)]
