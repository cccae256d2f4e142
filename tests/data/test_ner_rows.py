"""Tagged sentences of any format -> words and IOB2 tags; what is wrong is said at its file:line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.core.errors import DataError, Faults, SettingsError
from adapters.data.columns import ColumnRoles
from adapters.data.dataset_files import open_file
from adapters.data.entity_spans import SpanRules
from adapters.data.ner_rows import (
    NerColumns,
    Sentence,
    find_ner_columns,
    find_tag_form,
    read_sentences,
)
from adapters.data.tag_forms import TagForm


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def conll(path: Path, text: str) -> Path:
    """Words and tags as `Ada/B-PER lived/O`, a line a sentence."""
    blocks = ["\n".join(word.replace("/", "\t") for word in line.split()) for line in text.strip().split("\n")]
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path


def read(
    path: Path,
    *,
    text: str | None = None,
    labels: str | None = None,
    sentence: str | list[str] | None = None,
    repair: bool = False,
    rules: SpanRules | None = None,
    faults: Faults | None = None,
    roles: ColumnRoles | None = None,
    **form: Any,
) -> tuple[list[Sentence], list[str]]:
    roles = roles or ColumnRoles(open_file(path), {"text": text, "label": labels, "sentence": sentence})
    columns = find_ner_columns(roles)
    faults = faults or Faults(roles.source.name)
    found_form = find_tag_form(roles.source, columns, **form)
    found = read_sentences(roles.source, columns, found_form, rules=rules or SpanRules(), repair=repair, faults=faults)
    return [sentence for _, sentence in found], faults.shown


def only_fault(path: Path, **options: Any) -> str:
    faults = read(path, **options)[1]
    assert len(faults) == 1, faults
    return faults[0]


# columns --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row, text, labels, expected",
    [
        ({"tokens": ["Ada"], "ner_tags": ["B-PER"]}, None, None, ("tokens", "ner_tags", True)),
        ({"words": ["Ada"], "tags": ["B-PER"]}, None, None, ("words", "tags", True)),
        ({"tokens": ["Ada"], "labels": ["B-PER"]}, None, None, ("tokens", "labels", True)),
        ({"text": "A", "entities": [{"start": 0, "end": 1, "label": "PER"}]}, None, None, ("text", "entities", False)),
        ({"text": "Ada", "label": [[0, 3, "PER"]]}, None, None, ("text", "label", False)),
        ({"sentence": "Ada", "labels": [[0, 3, "PER"]]}, None, None, ("sentence", "labels", False)),
        ({"a": ["Ada"], "b": ["B-PER"]}, "a", "b", ("a", "b", True)),
        ({"a": "Ada", "b": [[0, 3, "PER"]]}, "a", "b", ("a", "b", False)),
        (
            {"sentence": "Ada smiled", "word_labels": "B-PER O"},
            "sentence",
            "word_labels",
            ("sentence", "word_labels", True),
        ),
        ({"text": "Ada", "tags": ["news"], "spans": [[0, 3, "PER"]]}, "text", None, ("text", "spans", False)),
        ({"text": "Ada", "tokens": ["Ada"], "entities": [[0, 3, "PER"]]}, None, None, ("text", "entities", False)),
        ({"text": "Ada", "tokens": ["Ada"], "spans": [[0, 3, "PER"]]}, None, "spans", ("text", "spans", False)),
        ({"text": "Ada", "tokens": ["Ada"], "tags": ["B-PER"]}, None, None, ("tokens", "tags", True)),
        ({"text": "Ada", "entities": []}, None, None, ("text", "entities", False)),
    ],
)
def test_columns_are_found_by_name_and_by_what_is_in_them(
    tmp_path: Path, row: dict[str, Any], text: str | None, labels: str | None, expected: tuple[str, str, bool]
) -> None:
    found = find_ner_columns(ColumnRoles(open_file(jsonl(tmp_path / "a.jsonl", row)), {"text": text, "label": labels}))
    assert found == NerColumns(text=expected[0], labels=expected[1], tagged=expected[2])


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"text": "word"}, r"no column 'word' \(--text_column_name\)\. Columns found: 0, 1\."),
        ({"labels": "ner"}, r"no column 'ner' \(--label_column_name\)\. Columns found: 0, 1\."),
    ],
)
def test_an_unknown_column_is_refused_with_those_there_are(tmp_path: Path, flags: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(conll(tmp_path / "a.conll", "Ada/B-PER"), **flags)  # type: ignore[arg-type]


def test_a_file_without_tags_is_refused_with_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl: no tagged sentences.*Columns found: text, mood\. Name them"):
        read(jsonl(tmp_path / "a.jsonl", {"text": "Ada", "mood": "good"}))


def test_a_column_of_a_column_file_can_be_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    path.write_text("1\tAda\tNNP\tB-PER\n2\tlived\tVBD\tO\n\n")
    found, faults = read(path, text="1", labels="3")
    assert (found[0].words, found[0].tags, faults) == (["Ada", "lived"], ["B-PER", "O"], [])


# tags -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, line, message",
    [
        ("Ada/B-PER lived/O\nin/O London/X", 5, "word 'London': the tag 'X' is not of the scheme iob2"),
        ("Ada/B-PER lived/O\nin/O London/S-LOC", 5, "word 'London': the tag 'S-LOC' is not of the scheme iob2"),
        ("Ada/B-PER lived/O\nin/O London/LOC", 5, "word 'London': the tag 'LOC' is not of the scheme iob2"),
        ("Ada/B-PER lived/O\nin/O Oslo/I-LOC", 5, "word 'Oslo': I-LOC continues no entity (the tag before it is O)"),
        ("Ada/B-PER Oslo/I-LOC", 2, "word 'Oslo': I-LOC continues no entity (the tag before it is B-PER)"),
        ("Ada/B-PER\nOslo/I-LOC", 3, "word 'Oslo': I-LOC continues no entity (the tag before it is nothing)"),
    ],
)
def test_a_wrong_tag_is_said_at_its_own_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = conll(tmp_path / "a.conll", text)
    assert only_fault(path, scheme="iob2") == f"{path}:{line}: {message}"


def test_a_sentence_with_a_fault_is_left_out_and_reading_goes_on(tmp_path: Path) -> None:
    path = conll(tmp_path / "a.conll", "Ada/B-PER\nlived/I-LOC in/X\nOslo/B-LOC")
    found, faults = read(path, scheme="iob2")
    assert [sentence.words for sentence in found] == [["Ada"], ["Oslo"]]
    assert [fault.split(": ")[0] for fault in faults] == [f"{path}:3", f"{path}:4"]


def test_repair_lets_a_stray_continuation_begin_an_entity_and_counts(tmp_path: Path) -> None:
    path = conll(tmp_path / "a.conll", "Ada/I-PER B./I-PER lives/O in/O Oslo/I-LOC\nhere/O\nAda/B-PER")
    found, faults = read(path, scheme="iob2", repair=True)
    assert faults == []
    assert found[0].tags == ["B-PER", "I-PER", "O", "O", "B-LOC"]
    assert [sentence.repaired for sentence in found] == [2, 0, 0]


def test_repair_lets_no_tag_of_another_scheme_pass(tmp_path: Path) -> None:
    path = conll(tmp_path / "a.conll", "Ada/B-PER B./continues lives/I-LOC")
    assert only_fault(path, scheme="iob2", repair=True) == (
        f"{path}:2: word 'B.': the tag 'continues' is not of the scheme iob2"
    )


def test_a_fault_advises_repair_and_scheme_once(tmp_path: Path) -> None:
    source = open_file(conll(tmp_path / "a.conll", "a/I-PER\nb/I-PER"))
    faults = Faults(source.name)
    columns = find_ner_columns(ColumnRoles(source))
    assert list(read_sentences(source, columns, TagForm(), rules=SpanRules(), repair=False, faults=faults)) == []
    with pytest.raises(DataError, match=r"(?s)2 faults:.*:1: .*:3: .*\nRepair such tags with --repair_tags") as raised:
        faults.raise_if_any()
    assert str(raised.value).count("--repair_tags") == 1


@pytest.mark.parametrize(
    "row, message",
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 words but 1 tag"),
        ({"tokens": [], "tags": ["O"]}, "0 words but 1 tag"),
        ({"tokens": ["a"], "tags": None}, "column 'tags' must be a list of strings, found None"),
        ({"tokens": ["a"], "tags": [3]}, "column 'tags' must be a list of strings, found [3]"),
        ({"tokens": ["a", None], "tags": ["O", "O"]}, "column 'tokens' must be a list of strings, found ['a', None]"),
        ({"tokens": {"a": 1}, "tags": ["O"]}, "column 'tokens' must be a list of strings, found {'a': 1}"),
        ({"tags": ["O"]}, "column 'tokens' must be a list of strings, found None"),
        (
            {"tokens": ["a"], "tags": "[O]"},
            "column 'tags': the cell contains 'O', which is neither a text nor a number: '[O]'",
        ),
    ],
)
def test_a_row_that_is_no_tagged_sentence_is_said_at_its_line(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"tokens": ["x"], "tags": ["B-X"]}, row)
    assert only_fault(path) == f"{path}:2: {message}"


def test_a_lost_end_is_a_fault_or_repaired_and_counted(tmp_path: Path) -> None:
    path = conll(tmp_path / "a.conll", "a/B-X b/E-X c/S-X\nd/B-X e/O")
    found, faults = read(path)
    assert len(found) == 1 and len(faults) == 1 and "word 'd': B-X has no end (the tag after it is O)" in faults[0]
    found, faults = read(path, repair=True)
    assert (faults, [one.repaired for one in found], found[1].tags) == ([], [0, 1], ["B-X", "O"])
    found, faults = read(conll(tmp_path / "bios.conll", "a/B-X b/I-X c/S-X\nd/B-X e/O"))
    assert (faults, found[0].tags) == ([], ["B-X", "I-X", "B-X"]), "BIOS has no ends"


def test_an_empty_word_is_a_fault_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada\tB-PER\n\tI-PER\nleft\tO\n\nParis\tB-LOC\n")
    assert only_fault(path) == f"{path}:2: column 'tokens': the word is empty"
    path = jsonl(tmp_path / "a.jsonl", {"tokens": ["x"], "tags": ["B-X"]}, {"tokens": ["a", ""], "tags": ["O", "B-X"]})
    assert only_fault(path) == f"{path}:2: column 'tokens': the word is empty"
    path = jsonl(tmp_path / "b.jsonl", {"tokens": ["a", ""], "entities": [{"start": 0, "end": 1, "type": "X"}]})
    assert only_fault(path) == f"{path}:1: word 1 is empty, counted from 0"


@pytest.mark.parametrize("scheme", [None, "bmes"])
def test_the_scheme_is_recognised_or_taken_as_named(tmp_path: Path, scheme: str | None) -> None:
    found, faults = read(conll(tmp_path / "a.conll", "a/B-X b/M-X c/E-X d/S-X"), scheme=scheme)
    assert (faults, found[0].tags) == ([], ["B-X", "I-X", "I-X", "B-X"])


def test_an_unknown_scheme_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--tag_scheme iob3: known schemes are iob1, iob2, bioes, bmes, io"):
        read(conll(tmp_path / "a.conll", "a/B-X"), scheme="iob3")


@pytest.mark.parametrize(
    "tokens, tags",
    [
        ('["Ada", "in", "New York"]', '["B-PER", "O", "B-LOC"]'),
        ('  ["Ada", "in", "New York"]', '["B-PER","O","B-LOC"]'),
        ("Ada in Oslo", "B-PER O B-LOC"),
        ("Ada  in\tOslo ", "B-PER O B-LOC"),
    ],
)
def test_a_csv_cell_holds_a_json_list_or_words_between_blanks(tmp_path: Path, tokens: str, tags: str) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["tokens", "tags"], [tokens, tags], [tokens, tags]])
    found, faults = read(path)
    assert faults == []
    assert [sentence.tags for sentence in found] == [["B-PER", "O", "B-LOC"]] * 2
    assert [len(sentence.words) for sentence in found] == [3, 3]


# spans ----------------------------------------------------------------------------------------------------------------

TEXT = "Ada met Bob."


@pytest.mark.parametrize(
    "entities, message",
    [
        ([[0, 2, "PER"]], "entity PER 0:2 ('Ad') cuts a word: 'Ada' (correct its start or end)"),
        ([[1, 3, "PER"]], "entity PER 1:3 ('da') cuts a word: 'Ada' (correct its start or end)"),
        ([[0, 5, "PER"]], "entity PER 0:5 ('Ada m') cuts a word: 'Ada met' (correct its start or end)"),
        ([[3, 4, "PER"]], "entity PER 3:4 (' ') contains no word"),
        ([[8, 13, "PER"]], "entity PER 8:13 ('Bob.') is outside the text of 12 characters"),
        ([[-1, 3, "PER"]], "entity PER -1:3 ('Ada') is outside the text of 12 characters"),
        ([[3, 3, "PER"]], "entity PER 3:3 ('') is outside the text of 12 characters"),
        ([[3, 0, "PER"]], "entity PER 3:0 ('') is outside the text of 12 characters"),
        ([[0, 3, "O"]], "entity O 0:3 ('Ada') has no usable label"),
        ([[0, 3, ""]], "entity  0:3 ('Ada') has no usable label"),
        ([[0, 3]], "an entity must be {start, end, label}, found [0, 3]"),
        (["PER"], "an entity must be {start, end, label}, found 'PER'"),
        ([[0, 3.0, "PER"]], "an entity must be {start, end, label}, found [0, 3.0, 'PER']"),
        ([[True, 3, "PER"]], "an entity must be {start, end, label}, found [True, 3, 'PER']"),
        ([{"start": 0, "end": 3}], "an entity must be {start, end, label}, found {'start': 0, 'end': 3}"),
        ([[0, 7, "PER"], [4, 11, "ORG"]], "entities overlap: PER at word 0 and ORG at word 1"),
        ([[4, 11, "ORG"], [0, 7, "PER"]], "entities overlap: PER at word 0 and ORG at word 1"),
        ([[0, 11, "ORG"], [4, 7, "PER"]], "entities overlap: ORG at word 0 and PER at word 1"),
        ([[0, 3, "PER"], [0, 3, "ORG"]], "entities overlap: PER at word 0 and ORG at word 0"),
        (None, "needs a string in 'text' and a list in 'entities'"),
        ("Ada", "needs a string in 'text' and a list in 'entities'"),
    ],
)
def test_a_wrong_span_is_said_at_its_line(tmp_path: Path, entities: Any, message: str) -> None:
    good = {"text": TEXT, "entities": [{"start": 0, "end": 3, "label": "PER"}]}
    path = jsonl(tmp_path / "a.jsonl", good, {"text": TEXT, "entities": entities}, good)
    assert only_fault(path) == f"{path}:2: {message}"
    assert [sentence.tags for sentence in read(path)[0]] == [["B-PER", "O", "O", "O"]] * 2


def test_all_wrong_spans_of_a_row_are_said(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": TEXT, "entities": [[0, 2, "PER"], [99, 100, "PER"], {}]})
    assert len(read(path)[1]) == 3


def test_spans_become_tags_of_words_with_offsets(tmp_path: Path) -> None:
    row = {"text": "In New York, Ada.", "entities": [{"start": 13, "end": 16, "label": "PER"}, [3, 11, "LOC"]]}
    (sentence,), faults = read(jsonl(tmp_path / "a.jsonl", row))
    assert faults == []
    assert sentence.words == ["In", "New", "York", ",", "Ada", "."]
    assert sentence.tags == ["O", "B-LOC", "I-LOC", "O", "B-PER", "O"]
    assert [sentence.text[a:b] for a, b in sentence.offsets] == sentence.words  # type: ignore[index]


def test_spans_may_stand_in_a_csv_cell_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["text", "entities"], [TEXT, '[[0, 3, "PER"]]'], ["None here", "[]"]])
    found, faults = read(path)
    assert faults == []
    assert [sentence.tags for sentence in found] == [["B-PER", "O", "O", "O"], ["O", "O"]]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["Ada", "Ōe", "met", "x1"]), st.sampled_from(["O", "B-P", "I-P", "B-L"]))))
def test_spans_of_a_text_are_the_same_as_tags_of_its_words(tmp_path: Path, words: list[tuple[str, str]]) -> None:
    words = [("Zoë", "B-P"), *words]
    tokens = [word for word, _ in words]
    (tagged,), _ = read(
        jsonl(tmp_path / "tags.jsonl", {"tokens": tokens, "tags": [t for _, t in words]}), repair=True, scheme="iob2"
    )
    text, entities, at = " ".join(tokens), [], 0
    for (word, _), tag in zip(words, tagged.tags, strict=True):
        if tag[0] == "B":
            entities.append({"start": at, "end": at + len(word), "label": tag[2:]})
        elif tag[0] == "I":
            entities[-1]["end"] = at + len(word)
        at += len(word) + 1
    (marked,), faults = read(jsonl(tmp_path / "spans.jsonl", {"text": text, "entities": entities}))
    assert faults == []
    assert (marked.words, marked.tags) == (tagged.words, tagged.tags)


@pytest.mark.parametrize(
    "name, scheme",
    [("wnut17/test.conll", "iob2"), ("crossner/ai/train.conll", "iob2"), ("zh_resume_ner/dev.char.bmes", "bmes")],
)
def test_real_files_have_no_fault_and_the_entities_that_seqeval_finds(
    shared_data: Path, name: str, scheme: str
) -> None:
    from seqeval.metrics.sequence_labeling import get_entities
    from seqeval.scheme import IOB2, IOBES, auto_detect

    source = open_file(shared_data / name)
    columns = find_ner_columns(ColumnRoles(source))
    assert find_tag_form(source, columns) == TagForm(scheme=scheme, closed=scheme == "bmes")
    found, faults = read(shared_data / name)
    raw = [row.values["tags"] for row in source.rows(Faults(name))]
    assert faults == [] and len(found) == len(raw) > 90
    if scheme == "bmes":  # seqeval knows it by the letters of IOBES
        raw = [[tag.replace("M-", "I-") for tag in tags] for tags in raw]
    assert auto_detect(raw) in (IOB2, IOBES)
    assert [get_entities(tags) for tags in raw] == [get_entities(sentence.tags) for sentence in found]


# words and numbers of words -------------------------------------------------------------------------------------------

WORDS = ["Ada", "met", "Bob", "Lee"]


@pytest.mark.parametrize(
    "row",
    [
        {"tokens": WORDS, "entities": [{"type": "PER", "start": 0, "end": 1}, {"type": "PER", "start": 2, "end": 4}]},
        {"tokens": WORDS, "entities": [[0, 1, "PER"], [2, 4, "PER"]]},
        {"tokenized_text": WORDS, "ner": [[2, 4, "PER"], [0, 1, "PER"]]},
    ],
)
def test_entities_of_words_count_words(tmp_path: Path, row: dict[str, Any]) -> None:
    faults = Faults("a")
    (sentence,), shown = read(jsonl(tmp_path / "a.jsonl", row), faults=faults)
    assert (sentence.words, sentence.tags, shown) == (WORDS, ["B-PER", "O", "B-PER", "I-PER"], [])
    assert sentence.text is None and dict(faults.notes) == {"entities counted in words, with exclusive ends": 2}


def test_ends_of_words_may_be_inclusive(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"tokens": WORDS, "entities": [[0, 0, "PER"], [2, 3, "PER"]]})
    assert read(path, rules=SpanRules(ends="inclusive"))[0][0].tags == ["B-PER", "O", "B-PER", "I-PER"]
    faults = Faults("a")
    assert read(path, faults=faults)[1] == [f"{path}:1: entity PER 0:0 has no word among the 4"]
    assert "--span_ends inclusive" in faults.advice[0]


@pytest.mark.parametrize("span", [[3, 5, "PER"], [-1, 2, "PER"], [9, 9, "PER"]])
def test_entities_beyond_the_words_are_faults(tmp_path: Path, span: list[Any]) -> None:
    assert "has no word among the 4" in only_fault(jsonl(tmp_path / "a.jsonl", {"tokens": WORDS, "entities": [span]}))


# messages -------------------------------------------------------------------------------------------------------------


def test_columns_that_contain_tags_are_named_where_the_choice_is_open(tmp_path: Path) -> None:
    row = {"words": ["Ada", "met"], "coarse": ["B-PER", "O"], "fine": ["B-PER.X", "O"]}
    path = jsonl(tmp_path / "a.jsonl", row)
    with pytest.raises(DataError, match=r"--label_column_name\. These contain tags: coarse, fine\."):
        read(path)
    assert read(path, labels="fine")[0][0].tags == ["B-PER.X", "O"]


def test_a_column_of_tags_alone_is_read_and_said(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"words": ["Ada", "met"], "my_tags": ["B-PER", "O"], "pos": ["NN", "VB"]})
    roles = ColumnRoles(open_file(path))
    assert read(path, roles=roles)[0][0].tags == ["B-PER", "O"]
    assert roles.notes == ["label is read from my_tags, the only column that contains tags"]


def test_a_first_line_of_words_is_not_called_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("Ada\tB-PER\nmet\tO\n")
    with pytest.raises(DataError, match="The first line seems to be a word and its tag"):
        read(path)


def test_tags_in_other_columns_of_a_column_file_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada\tNN\tB-NP\tB-PER\tB-X\nmet\tVB\tB-VP\tO\tO\n")
    roles = ColumnRoles(open_file(path))
    assert read(path, roles=roles)[0][0].tags == ["B-PER", "O"]
    assert roles.notes == [
        "tags are read from column 3; column 2 has tags of phrases (--label_column_name 2)",
        "tags are read from column 3; column 4 has tags of another kind (--label_column_name 4)",
    ]
    roles = ColumnRoles(open_file(path), {"label": "4"})
    assert read(path, roles=roles)[0][0].tags == ["B-X", "O"] and roles.notes == []


def test_a_word_with_a_bracket_begins_no_list(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["tokens", "tags"], ["( 5 )", "O B-N O"], ["{ x }", "O O O"]])
    found, faults = read(path)
    assert ([one.words for one in found], faults) == ([["(", "5", ")"], ["{", "x", "}"]], [])


def test_where_each_span_lacks_its_last_letter_the_flag_of_inclusive_ends_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "Ada met Grace", "entities": [[0, 2, "PER"], [8, 12, "PER"]]})
    roles = ColumnRoles(open_file(path))
    faults = Faults(str(path))
    columns = find_ner_columns(roles)
    list(read_sentences(roles.source, columns, TagForm(), rules=SpanRules(), repair=False, faults=faults))
    assert any("--span_ends inclusive" in advice for advice in faults.advice)
