"""Tags of five schemes in, IOB2 inside, spans out; and the likeliest valid tag sequence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from adapters.core.errors import DataError
from adapters.data.labels import LabelSet
from adapters.data.tag_schemes import (
    Span,
    detect_scheme,
    entity_types,
    may_follow,
    scheme_of_labels,
    spans,
    split_tag,
    tag_labels,
    tags_of,
    to_iob2,
)
from adapters.tasks.base.decoding import TagSearch

TYPES = ["PER", "LOC", "my-type", "a_b", "O"]
SCHEMES = ["iob1", "iob2", "bioes", "bmes", "io"]


@st.composite
def sentences(draw: st.DrawFn, apart: bool = False) -> tuple[list[Span], int]:
    """Spans that do not overlap, in order, and the number of words. `apart`: a word between equal types."""
    found: list[Span] = []
    at = 0
    for _ in range(draw(st.integers(0, 5))):
        begin = at + draw(st.integers(0, 2))
        kind = draw(st.sampled_from(TYPES))
        if apart and found and found[-1][0] == kind and found[-1][2] == begin:
            begin += 1
        at = begin + draw(st.integers(1, 4))
        found.append((kind, begin, at))
    return found, at + draw(st.integers(0, 2))


def encoded(found: list[Span], length: int, scheme: str) -> list[str]:
    """Tags of spans by the definition of each scheme, word by word."""
    tags = ["O"] * length
    for kind, begin, end in found:
        for word in range(begin, end):
            first, last = word == begin, word == end - 1
            if scheme == "io":
                tags[word] = kind
                continue
            if scheme == "iob2":
                prefix = "B" if first else "I"
            elif scheme == "iob1":
                touches = any(other == kind and stop == begin for other, _, stop in found)
                prefix = "B" if first and touches else "I"
            elif first and last:
                prefix = "S"
            elif first:
                prefix = "B"
            elif last:
                prefix = "E"
            else:
                prefix = "I" if scheme == "bioes" else "M"
            tags[word] = f"{prefix}-{kind}"
    return tags


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_written_in_any_scheme_are_read_back(scheme: str) -> None:
    @settings(max_examples=150, deadline=None)
    @given(sentences(apart=scheme == "io"))
    def check(drawn: tuple[list[Span], int]) -> None:
        found, length = drawn
        if scheme == "io":
            found = [span for span in found if span[0] != "O"]
        tags, faults = to_iob2(encoded(found, length, scheme), scheme, closed=True)
        assert faults == []
        assert len(tags) == length
        assert spans(tags) == found
        assert tags == tags_of(found, length)

    check()


@pytest.mark.parametrize(
    "scheme, given, expected",
    [
        ("iob1", "I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),
        ("iob1", "I-PER B-PER I-PER I-LOC", "B-PER B-PER I-PER B-LOC"),
        ("iob2", "B-PER I-PER B-PER B-LOC", "B-PER I-PER B-PER B-LOC"),
        ("bioes", "S-PER B-PER E-PER B-LOC I-LOC E-LOC", "B-PER B-PER I-PER B-LOC I-LOC I-LOC"),
        ("bioes", "U-PER B-PER L-PER U-PER", "B-PER B-PER I-PER B-PER"),  # BILOU: its other letters
        ("bmes", "B-NAME M-NAME E-NAME S-NAME O", "B-NAME I-NAME I-NAME B-NAME O"),
        ("io", "PER PER O LOC PER", "B-PER I-PER O B-LOC B-PER"),
        ("io", "I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),  # the same scheme, written with its one prefix
        ("iob2", "B_PER I_PER", "B-PER I-PER"),
    ],
)
def test_hand_made_cases_of_each_scheme(scheme: str, given: str, expected: str) -> None:
    assert to_iob2(given.split(), scheme, closed=True) == (expected.split(), [])


@pytest.mark.parametrize(
    "scheme, given, expected, at",
    [
        ("iob2", "I-PER O", "B-PER O", [0]),
        ("iob2", "O I-PER I-PER", "O B-PER I-PER", [1]),
        ("iob2", "B-PER I-LOC", "B-PER B-LOC", [1]),
        ("bioes", "E-PER O", "B-PER O", [0]),
        ("bioes", "S-PER I-PER", "B-PER B-PER", [1]),
        ("bioes", "B-PER E-PER E-PER", "B-PER I-PER B-PER", [2]),
        ("bmes", "O M-PER", "O B-PER", [1]),
    ],
)
def test_a_continuation_of_nothing_is_a_fault_and_begins_an_entity(
    scheme: str, given: str, expected: str, at: list[int]
) -> None:
    tags, faults = to_iob2(given.split(), scheme)
    assert tags == expected.split()
    assert [position for position, _ in faults] == at
    assert all("continues no entity" in what for _, what in faults)


@pytest.mark.parametrize(
    "scheme, given, expected, at",
    [
        ("bioes", "B-PER O", "B-PER O", [0]),
        ("bioes", "B-PER I-PER", "B-PER I-PER", [1]),
        ("bioes", "B-PER S-PER B-LOC E-LOC", "B-PER B-PER B-LOC I-LOC", [0]),
        ("bioes", "B-PER B-LOC L-LOC", "B-PER B-LOC I-LOC", [0]),
        ("bmes", "B-PER M-PER O B-PER", "B-PER I-PER O B-PER", [1, 3]),
        ("iob2", "B-PER O", "B-PER O", []),
    ],
)
def test_an_entity_that_has_no_end_is_a_fault_where_the_data_have_ends(
    scheme: str, given: str, expected: str, at: list[int]
) -> None:
    tags, faults = to_iob2(given.split(), scheme, closed=True)
    assert tags == expected.split() and [position for position, _ in faults] == at
    assert all("has no end" in what for _, what in faults)
    assert to_iob2(given.split(), scheme) == (tags, []), "data without such tags, as BIOS"
    assert to_iob2(["B-PER", "E-LOC"], "bioes", closed=True)[1] == to_iob2(["B-PER", "E-LOC"], "bioes")[1]


@pytest.mark.parametrize(
    "scheme, tag",
    [
        ("iob2", "PER"),
        ("iob2", "X"),
        ("iob2", "B"),
        ("iob2", "B-"),
        ("iob2", "b-PER"),
        ("iob2", "S-PER"),
        ("iob2", "M-PER"),
        ("iob2", ""),
        ("iob2", "o"),
        ("iob2", "O-PER"),
        ("iob1", "E-PER"),
        ("iob1", "PER"),
        ("bioes", "M-PER"),
        ("bioes", "PER"),
        ("bmes", "I-PER"),
        ("bmes", "PER"),
        ("iob2", "_"),
        ("io", ""),
    ],
)
def test_a_tag_that_is_not_of_the_scheme_is_a_fault_and_no_entity(scheme: str, tag: str) -> None:
    tags, faults = to_iob2(["O", tag, "O"], scheme)
    assert tags == ["O", "O", "O"]
    assert faults == [(1, f"the tag {tag!r} is not of the scheme {scheme}")]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_there_are_as_many_tags_as_words_and_they_are_valid_whatever_is_given(scheme: str) -> None:
    letters = st.sampled_from([f"{p}{s}{t}" for p in "OBIESLUMxb" for s in ("", "-", "_") for t in ("", "PER", "-")])

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.one_of(letters, st.text(max_size=4)), max_size=6))
    def check(given_tags: list[str]) -> None:
        tags, faults = to_iob2(given_tags, scheme)
        assert len(tags) == len(given_tags)
        assert all(0 <= position < len(tags) for position, _ in faults)
        for before, tag in itertools.pairwise(["O", *tags]):
            assert tag == "O" or (tag[:2] in ("B-", "I-") and len(tag) > 2)
            assert tag[:2] != "I-" or before[2:] == tag[2:]
        assert tags_of(spans(tags), len(tags)) == tags

    check()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_is_recognised(scheme: str) -> None:
    # Two touching entities of one type, a long one and a single one show each scheme's letters.
    found = [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 7)]
    if scheme == "io":
        found = [("PER", 0, 3), ("LOC", 4, 7)]
    assert detect_scheme([["O", "O"], encoded(found, 8, scheme), []]) == scheme


@pytest.mark.parametrize(
    "expected, sentences",
    [
        ("iob2", []),
        ("iob2", ["O O"]),
        ("iob2", ["B-PER", "B-LOC I-LOC"]),
        ("iob2", ["B-PER O", "I-PER O"]),  # a stray I- in a file that begins entities with B-
        ("iob1", ["O I-PER", "I-PER B-PER"]),
        ("iob1", ["I-PER I-LOC"]),
        ("bioes", ["S-PER O"]),
        ("bioes", ["B-PER L-PER O"]),
        ("bmes", ["B-PER M-PER E-PER"]),
        ("bmes", ["S-PER O", "M-PER"]),
        ("io", ["PER PER O"]),
    ],
)
def test_the_scheme_of_hand_made_files(expected: str, sentences: list[str]) -> None:
    assert detect_scheme(iter(line.split() for line in sentences)) == expected


@settings(max_examples=200, deadline=None)
@given(sentences())
def test_spans_and_tags_are_two_forms_of_the_same(drawn: tuple[list[Span], int]) -> None:
    found, length = drawn
    tags = tags_of(found, length)
    assert len(tags) == length
    assert spans(tags) == found


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(["O", *(f"{p}-{t}" for p in "BI" for t in ["PER", "LOC", "my-type", "B-x"])])))
def test_any_tag_sequence_is_read_as_seqeval_reads_it(tags: list[str]) -> None:
    assert spans(tags) == [(kind, begin, last + 1) for kind, begin, last in get_entities(tags)]


@pytest.mark.parametrize(
    "tag, parts",
    [("O", ("O", "")), ("B-PER", ("B", "PER")), ("I_a-b", ("I", "a-b")), ("PER", ("", "PER")), ("B-", ("", "B-"))],
)
def test_a_tag_is_split_at_its_prefix(tag: str, parts: tuple[str, str]) -> None:
    assert split_tag(tag) == parts


def test_labels_are_o_and_two_tags_a_type_in_alphabetical_order() -> None:
    labels = tag_labels(["PER", "LOC", "PER"])
    assert labels.names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert entity_types(labels) == ("LOC", "PER")
    assert labels.index["B-PER"] == 3 and len(labels) == 5
    assert labels.digest == tag_labels(["LOC", "PER"]).digest
    assert labels.digest != LabelSet(tuple(reversed(labels.names))).digest


def test_a_label_set_with_two_equal_names_is_refused() -> None:
    with pytest.raises(AssertionError):
        LabelSet(("O", "B-PER", "B-PER"))


# TagSearch ------------------------------------------------------------------------------------------------------------


def is_valid(names: list[str]) -> bool:
    return all(tag[0] != "I" or before[2:] == tag[2:] for before, tag in itertools.pairwise(["O", *names]))


def brute_force(scores: np.ndarray, labels: LabelSet) -> tuple[float, list[tuple[int, ...]]]:
    """The best score of all valid sequences, and the sequences that have it."""
    valid = [
        path
        for path in itertools.product(range(len(labels)), repeat=len(scores))
        if is_valid([labels.names[tag] for tag in path])
    ]
    totals = [float(sum(scores[word, tag] for word, tag in enumerate(path))) for path in valid]
    best = max(totals)
    return best, [path for path, total in zip(valid, totals, strict=True) if abs(total - best) < 1e-9]


def log_probs(seed: int, words: int, tags: int, scale: float = 3.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(scale=scale, size=(words, tags))
    logits -= logits.max(-1, keepdims=True)
    shifted: np.ndarray = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return shifted


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_the_best_tags_are_those_of_a_search_of_all_valid_sequences(seed: int, lengths: list[int]) -> None:
    labels = tag_labels(["LOC", "PER"])
    scores = [log_probs(seed + i, length, len(labels)) for i, length in enumerate(lengths)]
    found = TagSearch(labels).best(scores)
    assert [len(path) for path in found] == lengths
    for path, score in zip(found, scores, strict=True):
        if len(score):
            assert tuple(path.tolist()) in brute_force(score, labels)[1]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([0.01, 1.0, 1000.0]))
def test_the_best_tags_are_always_valid_and_equal_the_likeliest_where_those_are(
    seed: int, words: int, scale: float
) -> None:
    labels = tag_labels(["A", "B", "I-C"])
    scores = [log_probs(seed + i, words + i, len(labels), scale) for i in range(3)]
    for path, score in zip(TagSearch(labels).best(scores), scores, strict=True):
        assert is_valid([labels.names[tag] for tag in path])
        greedy = score.argmax(-1)
        if is_valid([labels.names[tag] for tag in greedy]):
            assert path.tolist() == greedy.tolist()


def test_the_best_tags_do_not_hang_on_what_is_decoded_beside_them() -> None:
    labels = tag_labels(["LOC", "PER"])
    scores = [log_probs(i, i % 7, len(labels)) for i in range(300)]  # more than are decoded at once, some empty
    together = TagSearch(labels).best(scores)
    alone = [TagSearch(labels).best([score])[0] for score in scores]
    assert [path.tolist() for path in together] == [path.tolist() for path in alone]


def test_a_sentence_without_words_has_no_tags() -> None:
    labels = tag_labels(["LOC", "PER"])
    assert TagSearch(labels).best([]) == []
    assert [path.tolist() for path in TagSearch(labels).best([np.zeros((0, 5)), np.zeros((0, 5))])] == [[], []]
    first, second = TagSearch(labels).best([np.zeros((0, 5)), np.log(np.full((2, 5), 0.2))])
    assert first.tolist() == [] and len(second) == 2


# the tags of heads that others trained -------------------------------------------------------------------------------

HEADS = {
    "iob2": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "iob1": ["O", "I-PER", "B-LOC", "I-LOC"],
    "bioes": ["O", "B-PER", "I-PER", "E-PER", "S-PER"],
    "bmes": ["O", "B-PER", "M-PER", "E-PER", "S-PER"],
    "io": ["O", "PER", "LOC"],
    "plain": ["NOUN", "VERB", "ADJ"],
}


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        *((labels, scheme) for scheme, labels in HEADS.items()),
        (["O", "I-PER", "I-LOC"], "iob1"),  # IOB1 with no two adjacent entities of a type
        (["B-PER", "I-PER", "L-PER", "U-PER", "O"], "bioes"),
        (["O", "B-PER"], "iob2"),
        (["-LRB-", "NN", "PRP$", "``"], "plain"),
        (["S-PER", "O"], "bioes"),
        (["O"], "plain"),
    ],
)
def test_the_scheme_of_a_head_is_recognised_from_its_labels(labels: list[str], scheme: str) -> None:
    assert scheme_of_labels(labels) == scheme


@pytest.mark.parametrize("labels", [["O", "B-PER", "LOC"], ["O", "B-PER", "M-PER", "L-PER"], ["O", "X-PER"]])
def test_labels_of_no_scheme_are_refused(labels: list[str]) -> None:
    with pytest.raises(DataError, match="no known scheme"):
        scheme_of_labels(labels)


def reads_without_fault(tags: list[str], scheme: str) -> bool:
    """Whether tags are of the scheme: they are read without a fault, and no entity is left open."""
    if scheme in ("io", "iob1"):
        return True
    faults = to_iob2(tags, scheme)[1]
    closed = all(before[0] not in "BIM" or after[0] in "IME" for before, after in itertools.pairwise([*tags, "O"]))
    return not faults and (scheme == "iob2" or closed)


@pytest.mark.parametrize("scheme", sorted(set(HEADS) - {"plain"}))
def test_the_search_obeys_the_scheme(scheme: str) -> None:
    labels = LabelSet(tuple(HEADS[scheme]))
    for words in range(1, 5):
        for seed in range(20):
            scores = log_probs(seed, words, len(labels))
            (path,) = TagSearch(labels).best([scores])
            sequences = itertools.product(range(len(labels)), repeat=words)
            valid = [one for one in sequences if reads_without_fault([labels.names[i] for i in one], scheme)]
            best = max(sum(scores[i, tag] for i, tag in enumerate(one)) for one in valid)
            assert tuple(path.tolist()) in valid
            assert sum(scores[i, tag] for i, tag in enumerate(path)) == pytest.approx(best)


def test_plain_labels_are_free_of_each_other() -> None:
    labels = LabelSet(tuple(HEADS["plain"]))
    scores = log_probs(3, 6, 3)
    assert TagSearch(labels).best([scores])[0].tolist() == scores.argmax(-1).tolist()
    assert all(may_follow(a, b, "plain") for a in labels.names for b in labels.names)
    assert entity_types(labels) == ()
