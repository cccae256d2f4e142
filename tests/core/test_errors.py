"""Messages: the first faults at once, advice once, the nearest names."""

from __future__ import annotations

import pytest

from adapters.core import errors
from adapters.core.errors import DataError, Faults, UserError, did_you_mean, numbered, there_are, verb


def test_every_error_of_a_user_is_a_value_error() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 12
    assert all(issubclass(kind, UserError) and issubclass(kind, ValueError) for kind in kinds)


def test_no_fault_raises_nothing() -> None:
    Faults("a.conll").raise_if_any()


def test_one_fault_is_said_with_its_place_and_advice() -> None:
    faults = Faults("a.conll")
    faults.add("a.conll:3", "no tag", "Add one.")
    with pytest.raises(DataError) as raised:
        faults.raise_if_any()
    assert str(raised.value) == "a.conll: 1 fault:\n  a.conll:3: no tag\nAdd one."


def test_twenty_different_faults_are_shown_all_are_counted_and_each_advice_is_given_once() -> None:
    faults = Faults("a.conll")
    letters = [first + second for first in "abcde" for second in "uvwxyz"]
    for line, letter in enumerate(letters, 1):
        faults.add(f"a.conll:{line}", f"no tag {letter}", "Add one." if line % 2 else "")
    faults.add("a.conll:31", "no word", "Add a word.")
    with pytest.raises(DataError) as raised:
        faults.raise_if_any()
    said = str(raised.value).split("\n")
    assert said[0] == "a.conll: 31 faults:"
    assert said[1:21] == [f"  a.conll:{line}: no tag {letter}" for line, letter in enumerate(letters[:20], 1)]
    assert said[21:] == ["  … and 11 others", "Add one.", "Add a word."]
    assert faults.count == 31 and raised.value.faults is faults


def test_of_faults_that_differ_in_a_value_alone_five_are_shown_and_the_others_counted() -> None:
    faults = Faults("a.csv")
    for line in range(2, 2002):
        faults.add(f"a.csv:{line}", f"column 'score' must be a number, found {'it' + chr(39) + f's {line}'!r}")
        faults.add(f"a.csv:{line}", "column 'text' is empty")
    faults.add("a.csv:3000", "column 'other' is empty")
    assert faults.shown == [
        *(f"a.csv:{line}: column 'score' must be a number, found \"it's {line}\"" for line in range(2, 7)),
        "… and 1,995 more like this",
        "a.csv:2: column 'text' is empty (2,000 times: also at 3, 4, 5, …)",
        "a.csv:3000: column 'other' is empty",
    ]


def test_faults_that_are_nothing_but_a_value_are_counted_once() -> None:
    faults = Faults("a.csv")
    for number in range(30):
        faults.add(f"a.csv:{number}", repr(str(number)))
    assert faults.shown[5:] == ["… and 25 more like this"]


def test_the_same_fault_is_shown_once_with_its_number_and_some_places() -> None:
    faults = Faults("a.conll")
    for line in (*range(1, 2001), 7000):
        faults.add(f"a.conll:{line}", "no tag", "Add one.")
    faults.add("b.conll:1", "no word")
    with pytest.raises(DataError) as raised:
        faults.raise_if_any()
    assert str(raised.value).split("\n") == [
        "a.conll: 2,002 faults:",
        "  a.conll:1: no tag (2,001 times: also at 2, 3, 4, …)",
        "  b.conll:1: no word",
        "Add one.",
    ]


@pytest.mark.parametrize(
    "given, known, said",
    [
        ("conl2003", ["conll2003", "rotten_tomatoes"], "did you mean 'conll2003'?"),
        ("LORA", ["full", "lora"], "did you mean 'lora'?"),
        ("lora_a", ["lora_r", "lora_alpha", "seed"], "did you mean 'lora_r' or 'lora_alpha'?"),
        ("per", ["LOC", "PER"], "did you mean 'PER'?"),
        ("xyz", ["lora", "full"], "known: full, lora"),
        ("", ["lora"], "known: lora"),
        ("lora", [], "known: none"),
    ],
)
def test_the_nearest_known_names_are_said(given: str, known: list[str], said: str) -> None:
    assert did_you_mean(given, iter(known)) == said


def test_a_number_before_words_has_them_in_the_singular_for_one() -> None:
    assert numbered(2_000, "rows left out") == "2,000 rows left out"
    assert numbered(1, "rows left out") == "1 row left out"
    assert [f"{count} {verb(count, one)}" for one in ("are", "have", "occur") for count in (1, 2)] == [
        *("1 is", "2 are", "1 has", "2 have", "1 occurs", "2 occur")
    ]
    assert there_are(1, "training examples") == "there is 1 training example"
    assert there_are(0, "training examples") == "there are 0 training examples"
    assert numbered(1, "entities") == "1 entity" and numbered(0, "spans") == "0 spans"
