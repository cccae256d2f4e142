"""Entities as a model writes them, and back: what was written is read, and nothing that can be written takes long."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from adapters.core.errors import SettingsError
from adapters.data.tag_schemes import Span, tag_labels
from adapters.data.word_splitter import joined
from adapters.models.tokenizer import valid_text
from adapters.tasks.base.entity_formats import FORMATS, check_form, locate_mentions
from adapters.tasks.base.example import Example, Prediction
from adapters.tasks.base.task import AnswerForm
from adapters.tasks.ner import Task

NAMES = ("LOC", "PER", "geo-political entity", "a：b", "nones", "x\u2028y")
# What a format writes itself, what a type's name may look like, scripts, and what is invisible.
PIECES = [
    "Paris",
    "New",
    "York",
    "none",
    "None.",
    "-",
    "*",
    "•",
    ":",
    "PER:",
    "PER",
    "LOC",
    "<PER>",
    "</PER>",
    "<LOC>",
    "</LOC>",
    "<",
    "</",
    ">",
    "/",
    "<b>",
    "</b>",
    '"',
    "'",
    "[",
    "]",
    "[]",
    "{",
    "}",
    ",",
    "\\",
    "\\n",
    "&lt;",
    "{{text}}",
    "\x00",
    "\u200b",
    "\ufeff",
    "\u202e",
    "国",
    "ก็",
    "عربي",
    "हिन्दी",
    "한국",
    "é",
    "e\u0301",
    "\U0001f600",
    "\ud800",
    "\udc00",
    "\ufffd",
]
BLANKS = [" ", "", "  ", "\t", "\n", "\n\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2028", "\u3000"]

words = st.one_of(
    st.sampled_from(PIECES),
    st.lists(st.sampled_from(PIECES), min_size=2, max_size=3).map("".join),
    st.text(min_size=1, max_size=5).map(lambda text: "".join(text.split())).filter(bool),
)
names = st.one_of(st.sampled_from(NAMES), st.text(min_size=1, max_size=6))


def squeezed(text: str) -> str:
    return " ".join(valid_text(text).split())


@st.composite
def entities(draw: st.DrawFn, length: int, kinds: Sequence[str] = NAMES) -> list[Span]:
    found, at = [], 0
    while at < length:
        at += draw(st.integers(0, 3))
        size = draw(st.integers(1, 3))
        if at + size <= length:
            found.append((draw(st.sampled_from(kinds)), at, at + size))
        at += size
    return found


@st.composite
def sentences(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], list[Span]]:
    """A text of words with any white space or none between them, their offsets, and spans of words."""
    chosen = draw(st.lists(words, max_size=8))
    text, offsets = draw(st.sampled_from(BLANKS)), []
    for word in chosen:
        offsets.append((len(text), len(text) + len(word)))
        text += word + draw(st.sampled_from(BLANKS))
    return text, offsets, draw(entities(len(chosen)))


def write(format: str, found: Sequence[Span], text: str, offsets: Sequence[tuple[int, int]]) -> str:
    return FORMATS[format].write([(kind, offsets[a][0], offsets[b - 1][1]) for kind, a, b in found], text)


def read(format: str, written: str, text: str, offsets: Sequence[tuple[int, int]]) -> tuple[list[Span], bool]:
    mentions = FORMATS[format].read(written, text)
    found, placed = locate_mentions(mentions.found, text, offsets)
    return found, placed and mentions.complete


def placed_slowly(found: Sequence[Span], text: str, offsets: Sequence[tuple[int, int]]) -> list[Span]:
    """The rule of `place` for entities in the order of the text, by trying every stretch of words."""
    taken: set[int] = set()
    out = []
    for kind, a, b in found:
        wanted = squeezed(text[offsets[a][0] : offsets[b - 1][1]])
        begin, end = next(
            (i, j)
            for i in range(len(offsets))
            for j in range(i + 1, len(offsets) + 1)
            if squeezed(text[offsets[i][0] : offsets[j - 1][1]]) == wanted and not taken & {*range(i, j)}
        )
        taken |= {*range(begin, end)}
        out.append((kind, begin, end))
    return sorted(out, key=lambda span: span[1])


def has_a_mark_at_an_edge(found: Sequence[Span], text: str, offsets: Sequence[tuple[int, int]]) -> bool:
    """Whether the text itself has, right where we put the mark of an entity, the very same mark."""
    text = valid_text(text)
    return any(
        re.sub(r"\s+", " ", text[offsets[a][0] :]).startswith(re.sub(r"\s+", " ", f"<{kind}>"))
        or re.sub(r"\s+", " ", text[offsets[b - 1][1] :]).startswith(re.sub(r"\s+", " ", f"</{kind}>"))
        for kind, a, b in found
    )


# writing and reading back ---------------------------------------------------------------------------------------------


def test_there_are_three_formats() -> None:
    assert set(FORMATS) == {"lines", "json", "inline"} == set(Task.answer_formats)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=150, deadline=None)
@given(sentences(), st.booleans())
@example(("", [], []), False)
@example(("<b>Paris</b>", [(0, 3), (3, 8), (8, 12)], [("LOC", 1, 2)]), False)
@example(("a </PER> b <PER>", [(0, 1), (2, 8), (9, 10), (11, 16)], [("PER", 2, 3)]), False)
@example(("New\u2028York\x85x", [(0, 3), (4, 8), (9, 10)], [("x\u2028y", 0, 3)]), False)
@example(("Paris Paris", [(0, 5), (6, 11)], [("LOC", 1, 2)]), False)
def test_what_is_written_is_read_and_each_mention_stands_where_the_rule_says(
    format: str, sentence: tuple[str, list[tuple[int, int]], list[Span]], shown: bool
) -> None:
    text, offsets, gold = sentence
    # The one thing that no format can hold: in the inline one, a text's own mark where one of ours would stand.
    assume(format != "inline" or not has_a_mark_at_an_edge(gold, text, offsets))
    written = write(format, gold, text, offsets)
    assert "\n\n" not in written  # the usual separator would end the answer
    written = valid_text(written) if shown else written  # as a model is shown it
    assert read(format, written, text, offsets) == (placed_slowly(gold, text, offsets), True)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_entities_of_different_words_come_back_as_they_were(format: str, data: st.DataObject) -> None:
    tokens = data.draw(st.lists(words, unique_by=valid_text, max_size=8))
    text, offsets = joined(tokens)
    gold = data.draw(entities(len(tokens)))
    assume(format != "inline" or not has_a_mark_at_an_edge(gold, text, offsets))
    assert read(format, write(format, gold, text, offsets), text, offsets) == (gold, True)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=100, deadline=None)
@given(name=names, tokens=st.lists(words, min_size=1, max_size=4))
def test_a_name_that_is_not_refused_is_read_back(format: str, name: str, tokens: list[str]) -> None:
    assume(name == valid_text(name))
    try:
        check_form({"X": name}, format, "\n\n", "here")
    except SettingsError:
        assume(False)
    text, offsets = joined(tokens)
    gold = [(name, 0, len(tokens))]
    assume(format != "inline" or not has_a_mark_at_an_edge(gold, text, offsets))
    assert read(format, write(format, gold, text, offsets), text, offsets) == (gold, True)


@pytest.mark.parametrize("format", FORMATS)
def test_words_that_are_nothing_or_white_space_shift_no_span(format: str) -> None:
    tokens = ["", " ", "Ada", "", " Bohr\u3000", "\u3000", "x", ""]
    text, offsets = joined(tokens)
    gold = [("PER", 2, 5)]
    assert read(format, write(format, gold, text, offsets), text, offsets) == (gold, True)
    # At an edge of an entity they are not read back: nothing tells them from the white space around.
    wider = [("PER", 1, 6)]
    assert read(format, write(format, wider, text, offsets), text, offsets) == (gold, True)


def test_a_mark_of_the_text_is_told_from_ours_unless_it_touches_an_entity_of_its_type() -> None:
    tokens = ["x", "</PER>", "y", "<PER>"]
    text, offsets = joined(tokens)
    for gold in ([("PER", 0, 1)], [("PER", 0, 2)], [("PER", 2, 3)], [("PER", 2, 4)], [("PER", 0, 4)], [("LOC", 3, 4)]):
        assert read("inline", write("inline", gold, text, offsets), text, offsets) == (gold, True)
    text, offsets = "x</PER>", [(0, 1), (1, 7)]
    written = write("inline", [("PER", 0, 1)], text, offsets)
    assert written == "<PER>x</PER></PER>"
    assert read("inline", written, text, offsets) == ([("PER", 0, 2)], True)  # the first of two is the text's


# what stands where ----------------------------------------------------------------------------------------------------

TEXT = "Paris met New York in Paris , New York"
OFFSETS = joined(TEXT.split())[1]


@pytest.mark.parametrize(
    ("mentions", "spans", "whole"),
    [
        (["Paris"], [(0, 1)], True),
        (["Paris", "Paris"], [(0, 1), (5, 6)], True),
        (["Paris", "Paris", "Paris"], [(0, 1), (5, 6)], False),
        (["New \n York", "New York"], [(2, 4), (7, 9)], True),
        (["York", "New York"], [(3, 4), (7, 9)], True),  # the first York is taken
        (["New York", "New", "York"], [(2, 4), (7, 8), (8, 9)], True),
        (["New York in", "York in Paris"], [(2, 5)], False),  # overlap
        (["Par"], [], False),
        (["aris"], [], False),
        (["New York i"], [], False),
        (["paris"], [], False),
        (["NewYork"], [], False),
        (["Rome", "met"], [(1, 2)], False),
        (["", " \t"], [], False),
        ([TEXT], [(0, 9)], True),
        ([TEXT + " !"], [], False),
        ([], [], True),
    ],
)
def test_a_mention_stands_at_the_first_whole_words_that_are_free(
    mentions: list[str], spans: list[tuple[int, int]], whole: bool
) -> None:
    found = locate_mentions([("X", words) for words in mentions], TEXT, OFFSETS)
    assert found == ([("X", *span) for span in spans], whole)


def test_a_mention_may_begin_between_words_that_touch() -> None:
    text, offsets = "東京都", [(0, 1), (1, 2), (2, 3)]
    assert locate_mentions([("X", "京"), ("Y", "都"), ("Z", "東")], text, offsets)[0] == [
        ("Z", 0, 1),
        ("X", 1, 2),
        ("Y", 2, 3),
    ]
    assert locate_mentions([("X", "都"), ("Y", "東京")], "東京都", [(0, 2), (2, 3)])[1]
    assert locate_mentions([("X", "京都")], "東京都", [(0, 2), (2, 3)]) == ([], False)


# answers of all kinds -------------------------------------------------------------------------------------------------

TASK = Task(tag_labels(["LOC", "PER"]))
ADA = Example(id="0", inputs={"tokens": ["Ada", "Lovelace", "left", "Paris"]})
GOLD = ["B-PER", "I-PER", "O", "B-LOC"]
OUTSIDE = ["O"] * 4


def answer(format: str, written: str, example: Example = ADA) -> Prediction:
    return TASK.read_answer(example, written, AnswerForm(format=format, verbalizer={"PER": ("person",)}))


@pytest.mark.parametrize(
    ("written", "tags", "whole"),
    [
        ("person: Ada Lovelace\nLOC: Paris", GOLD, True),
        ("LOC: Paris\nperson: Ada Lovelace", GOLD, True),
        ("\n\n  - Person :  Ada  Lovelace \r\n * loc:Paris \n", GOLD, True),
        ("•person: Ada Lovelace\n• LOC: Paris\n", GOLD, True),
        ("person: Ada Lovelace\n\nLOC: Paris", GOLD, True),
        ("person: Ada Lovelace\nLOC", ["B-PER", "I-PER", "O", "O"], False),
        ("person: Ada Lovelace\nLOC: ", ["B-PER", "I-PER", "O", "O"], False),
        ("person: Ada Lovelace\nLOC: Rome", ["B-PER", "I-PER", "O", "O"], False),
        ("PER: Ada Lovelace\nLOC: Paris", ["O", "O", "O", "B-LOC"], False),  # PER is called person here
        ("city: Paris", OUTSIDE, False),
        ("Sure! The entities are:\nLOC: Paris", ["O", "O", "O", "B-LOC"], False),
        (": Paris", OUTSIDE, False),
        ("none", OUTSIDE, True),
        (" None. \n", OUTSIDE, True),
        ("- none", OUTSIDE, True),
        ("none\nnone", OUTSIDE, False),
        ("none: Paris", OUTSIDE, False),
        ("There are none", OUTSIDE, False),
        ("", OUTSIDE, False),
        (" \n ", OUTSIDE, False),
        ("-", OUTSIDE, False),
    ],
)
def test_lines_are_read(written: str, tags: list[str], whole: bool) -> None:
    prediction = answer("lines", written)
    assert (prediction.value, prediction.parse_failure, prediction.written) == (tags, not whole, written)


def test_a_colon_may_stand_in_the_words_of_a_line() -> None:
    example = Example(id="0", inputs={"tokens": ["at", "10:30", ":", "Paris"]})
    assert answer("lines", "LOC: 10:30 :", example).value == ["O", "B-LOC", "I-LOC", "O"]


PERSON, PLACE = '{"type": "person", "text": "Ada Lovelace"}', '{"text": "Paris", "type": "loc", "score": 1}'


@pytest.mark.parametrize(
    ("written", "tags", "whole"),
    [
        (f"[{PERSON}, {PLACE}]", GOLD, True),
        (f" \n[\n{PERSON}\n,{PLACE}\n]\n", GOLD, True),
        ("[]", OUTSIDE, True),
        ("[ ]\n", OUTSIDE, True),
        (f"[{PERSON}, {PLACE}] That is all.", GOLD, False),
        (f"[{PERSON}, {PLACE}", GOLD, False),
        (f'[{PERSON}, {{"type": "LOC", "text": "Par', ["B-PER", "I-PER", "O", "O"], False),
        (f"[{PERSON}, ", ["B-PER", "I-PER", "O", "O"], False),
        (f"[{PERSON},]", ["B-PER", "I-PER", "O", "O"], False),
        (f"[{PERSON} {PLACE}]", ["B-PER", "I-PER", "O", "O"], False),
        (f'[{PERSON}, "Paris", {PLACE}]', GOLD, False),
        (f'[{PERSON}, {{"type": "LOC"}}, {PLACE}]', GOLD, False),
        ('[{"type": "LOC", "text": ["Paris"]}]', OUTSIDE, False),
        ('[{"type": null, "text": "Paris"}]', OUTSIDE, False),
        ('[{"type": "city", "text": "Paris"}]', OUTSIDE, False),
        (PERSON, OUTSIDE, False),
        ("[", OUTSIDE, False),
        ("null", OUTSIDE, False),
        ("[NaN]", OUTSIDE, False),
        (f"Sure: [{PERSON}]", OUTSIDE, False),
        ("none", OUTSIDE, False),
        ("", OUTSIDE, False),
    ],
)
def test_json_is_read_as_far_as_it_goes(written: str, tags: list[str], whole: bool) -> None:
    prediction = answer("json", written)
    assert (prediction.value, prediction.parse_failure) == (tags, not whole)


def test_json_holds_quotes_and_backslashes_of_the_words() -> None:
    tokens = ['Ada"', '\\"', "[{", 'Paris"}]']
    example = Example(id="0", inputs={"tokens": tokens}, gold=["B-PER", "I-PER", "O", "B-LOC"])
    written = TASK.write_answer(example, AnswerForm(format="json"))
    assert json.loads(written) == [{"type": "PER", "text": 'Ada" \\"'}, {"type": "LOC", "text": 'Paris"}]'}]
    read_back = TASK.read_answer(example, written, AnswerForm(format="json"))
    assert (read_back.value, read_back.parse_failure) == (example.gold, False)


@pytest.mark.parametrize(
    ("written", "tags", "whole"),
    [
        ("<person>Ada Lovelace</person> left <LOC>Paris</LOC>", GOLD, True),
        (" <person> Ada\nLovelace </person>  left <loc>Paris</loc>\n", GOLD, True),
        ("Ada Lovelace left Paris", OUTSIDE, True),
        ("<person>Ada Lovelace</person> left <LOC>Rome</LOC>", ["B-PER", "I-PER", "O", "O"], False),
        ("<person>Ada Lovelace</person> left", ["B-PER", "I-PER", "O", "O"], False),
        ("<person>Ada Lovelace</person> left <LOC>Paris", ["B-PER", "I-PER", "O", "O"], False),
        ("<person>Ada Lovelace</person> left Paris</LOC>", ["B-PER", "I-PER", "O", "O"], False),
        ("<person>Ada Lovelace left <LOC>Paris</LOC>", ["O", "O", "O", "B-LOC"], False),
        ("<person>Ada <LOC>Lovelace</LOC></person> left Paris", ["O", "B-LOC", "O", "O"], False),
        ("<person>Ada Lovelace</LOC> left Paris", OUTSIDE, False),
        ("<city>Paris</city>", OUTSIDE, False),
        ("Ada Lovelace left <city>Paris</city>", OUTSIDE, False),
        ("Ada Lovelace left <LOC></LOC>Paris", OUTSIDE, False),
        ("Ada Lovelace left <LOC>Par</LOC>is", OUTSIDE, False),
        ("Ada Lovelace left Paris and Rome", OUTSIDE, False),
        ("", OUTSIDE, False),
    ],
)
def test_marks_in_the_text_are_read(written: str, tags: list[str], whole: bool) -> None:
    prediction = answer("inline", written)
    assert (prediction.value, prediction.parse_failure) == (tags, not whole)


def test_tags_that_a_text_holds_itself_are_no_entities() -> None:
    example = Example(id="0", inputs={"tokens": ["<b>", "Paris", "</b>", "<", "LOC", ">", "x"]})
    same = answer("inline", "<b> Paris </b> < LOC > x", example)
    assert (same.value, same.parse_failure) == (["O"] * 7, False)
    marked = answer("inline", "<b> <LOC>Paris</LOC> </b> < LOC > x", example)
    assert (marked.value, marked.parse_failure) == (["O", "B-LOC", *["O"] * 5], False)


# time -----------------------------------------------------------------------------------------------------------------

SIZE = 100_000
HOSTILE = [
    " " * SIZE,
    "x" + " " * SIZE + "x",
    "a:" + " " * SIZE + "x",
    "a: x" + " " * SIZE + "y",
    " " * SIZE + ":",
    "\n" * SIZE,
    ":" * SIZE,
    "a:" * (SIZE // 2),
    "- " * (SIZE // 2),
    "-" * SIZE,
    "\r\n" * (SIZE // 2),
    "<" * SIZE,
    "<a>" * (SIZE // 3),
    "</a>" * (SIZE // 4),
    "<a" * (SIZE // 2),
    "</" * (SIZE // 2),
    "<a>b</a>" * (SIZE // 8),
    "<" + "a" * SIZE,
    "<a>" * (SIZE // 7) + "</a>" * (SIZE // 7),
    "".join(f"<a{i}>" for i in range(SIZE // 8)),
    ">" * SIZE,
    "[" * SIZE,
    '[{"type":' * (SIZE // 9),
    "[" + '{"type":"PER","text":"a"},' * (SIZE // 26),
    '"' * SIZE,
    '["' + "\\" * SIZE,
    "[1" + "0" * SIZE,
    "[1" + ",1" * (SIZE // 2),
    "[" + " " * SIZE + "x",
    "{" * SIZE,
    '[{"a":' * (SIZE // 6),
]


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_that_can_be_written_takes_long_to_read(format: str) -> None:
    for written in HOSTILE:
        for text in ("Ada left", written):
            begin = time.process_time()
            FORMATS[format].read(written, text)
            assert time.process_time() - begin < 1, written[:20]


@pytest.mark.parametrize(
    ("mentions", "text"),
    [
        (["a"] * (SIZE // 2), "a " * (SIZE // 2)),
        (["a b"] * (SIZE // 3), "a " * (SIZE // 2)),
        (["a " * (SIZE // 2 - 1) + "b"], "a " * (SIZE // 2)),
        (["a " * (SIZE // 4) + "b"] * 2, "a " * (SIZE // 2)),
        (["a " * n for n in range(1, 400)], "a " * (SIZE // 2)),
        (["a" * n for n in range(1, 400)], "a" * SIZE),
        (["a" * n for n in range(1, 400)], ("a" * 999 + " ") * (SIZE // 1000)),
        ([str(n) for n in range(SIZE // 6)], " ".join(map(str, range(SIZE // 6)))),
        (["a" + " " * SIZE + "b"], "a" + " " * SIZE + "c"),
        ([" " * SIZE], " " * SIZE),
        (["a b"], ("a" + " " * 1000) * (SIZE // 1000)),
    ],
)
def test_mentions_are_placed_in_short_time(mentions: list[str], text: str) -> None:
    tokens = [*text.split()]
    offsets, at = [], 0
    for token in tokens:
        at = text.index(token, at)
        offsets.append((at, at + len(token)))
        at += len(token)
    begin = time.process_time()
    found, _ = locate_mentions([("X", words) for words in mentions], text, offsets)
    assert time.process_time() - begin < 4
    assert len(found) <= len(tokens)


# names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "bad", "good"),
    [
        ("lines", ["", "a:b", "a\nb", "a\r", " a", "a ", "-a", "* a", "•a", "none", "None.", "NONE..."], NAMES),
        ("json", [""], [*NAMES, "none", "a:b", "<a>", '"', "\n", " ", "-"]),
        ("inline", ["", "<", "a>", "a/b", "a\nb", "\ra", "\u3000a", "a\t"], [*NAMES, "none", "a:b", "-a"]),
    ],
)
def test_a_name_that_a_format_cannot_hold_is_refused(format: str, bad: list[str], good: list[str]) -> None:
    for name in bad:
        with pytest.raises(SettingsError) as raised:
            check_form({"PER": name, "LOC": "place"}, format, "\n\n", "mine.toml")
        said = str(raised.value)
        assert said.startswith(f"mine.toml: the answer format {format!r} cannot express the type {name!r}: "), said
        assert said.endswith("Give 'PER' another name under [verbalizer], or choose another prompt.")
    for name in good:
        check_form({"PER": name, "LOC": "place"}, format, "\n\n", "mine.toml")


@pytest.mark.parametrize("format", FORMATS)
def test_two_types_of_one_name_are_refused(format: str) -> None:
    with pytest.raises(SettingsError, match=r"mine.toml: two types have the same name: .*Change \[verbalizer\]"):
        check_form({"PER": "Person", "LOC": "person"}, format, "\n\n", "mine.toml")
    check_form({}, format, "\n\n", "mine.toml")


@pytest.mark.parametrize(
    ("format", "separator", "refused"),
    [
        ("lines", "\n", True),
        ("lines", "\n\n", False),
        ("json", "\n", False),
        ("json", ",", True),
        ("inline", "|", False),
    ],
)
def test_a_separator_that_would_end_an_answer_too_soon_is_refused(format: str, separator: str, refused: bool) -> None:
    if not refused:
        check_form({"PER": "person"}, format, separator, "mine.toml")
        return
    with pytest.raises(SettingsError, match=r"mine\.toml: the separator"):
        check_form({"PER": "person"}, format, separator, "mine.toml")
