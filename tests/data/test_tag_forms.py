"""Tags as data sets have them: numbers, other spellings, no types, no tags at all."""

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
from adapters.data.ner_rows import find_ner_columns, find_tag_form, read_sentences
from adapters.data.tag_forms import TagForm

NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def read(path: Path, **options: Any) -> tuple[list[list[str]], list[str], TagForm]:
    roles = ColumnRoles(open_file(path))
    columns = find_ner_columns(roles)
    form = find_tag_form(roles.source, columns, **options)
    faults = Faults(roles.source.name)
    found = list(read_sentences(roles.source, columns, form, rules=SpanRules(), faults=faults))
    return [sentence.tags for _, sentence in found], faults.shown, form


def jsonl(path: Path, *tags: Any) -> Path:
    rows = [{"tokens": [f"w{n}" for n in range(len(one))], "ner_tags": one} for one in tags]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def conll(path: Path, *sentences: str) -> Path:
    path.write_text("\n".join("".join(f"w{n}\t{tag}\n" for n, tag in enumerate(s.split())) for s in sentences))
    return path


# numbers --------------------------------------------------------------------------------------------------------------


def test_numbers_become_their_names(tmp_path: Path) -> None:
    found, faults, _ = read(jsonl(tmp_path / "a.jsonl", [1, 2, 0], [0, 3]), names=NAMES)
    assert (found, faults) == ([["B-PER", "I-PER", "O"], ["O", "B-LOC"]], [])


@pytest.mark.parametrize("names", [("O", "PER-B", "PER-I"), ("o", "b_PER", "i_PER"), ("O", "PER", "PER")])
def test_names_may_be_written_in_any_way(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert read(jsonl(tmp_path / "a.jsonl", [1, 2, 0, 0, 0]), names=names)[0] == [["B-PER", "I-PER", "O", "O", "O"]]


def test_numbers_in_columns_and_cells_become_their_names(tmp_path: Path) -> None:
    assert read(conll(tmp_path / "a.conll", "1 2 0", "0 3"), names=NAMES)[0] == [
        ["B-PER", "I-PER", "O"],
        ["O", "B-LOC"],
    ]
    (tmp_path / "a.csv").write_text("tokens,tags\n\"['a' 'b']\",[1 0]\na b,0 3\n")
    assert read(tmp_path / "a.csv", names=NAMES)[0] == [["B-PER", "O"], ["O", "B-LOC"]]
    (tmp_path / "b.csv").write_text("sid,word,tag\n1,a,1\n1,b,0\n2,c,3\n")
    assert read(tmp_path / "b.csv", names=NAMES)[0] == [["B-PER", "O"], ["B-LOC"]]


@pytest.mark.parametrize("tags", [[1, 2, 0], ["1", "2", "0"]])
def test_numbers_without_names_are_refused(tmp_path: Path, tags: list[Any]) -> None:
    with pytest.raises(DataError, match=r"column 'ner_tags' are numbers \(0, 1, 2, …\).*--label_names O,B-PER"):
        read(jsonl(tmp_path / "a.jsonl", tags))
    with pytest.raises(DataError, match="column '1' are numbers"):
        read(conll(tmp_path / "a.conll", "1 2 0"))


@pytest.mark.parametrize("tag", [5, -1, -100, "X"])
def test_a_number_without_a_name_is_a_fault(tmp_path: Path, tag: Any) -> None:
    path = jsonl(tmp_path / "a.jsonl", [1, 0], [0, tag])
    found, faults, _ = read(path, names=NAMES)
    assert found == [["B-PER", "O"]]
    assert faults == [f"{path}:2: word 'w1': the tag {tag!r} is none of the 5 of --label_names"]


# spellings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags, note",
    [
        ("PER-B PER-I O", "tags are written PER-B, O; they are read as B-PER, O"),
        ("b-per i-per o", "tags are written b-per, o; they are read as B-per, O"),
        ("B.PER I.PER O", "tags are written B.PER, O; they are read as B-PER, O"),
        ("B-PER I-PER O", ""),
    ],
)
def test_another_spelling_is_read_and_said(tmp_path: Path, tags: str, note: str) -> None:
    found, faults, form = read(conll(tmp_path / "a.conll", tags))
    kind = "per" if "per" in tags else "PER"
    assert (found, faults, form.note) == ([[f"B-{kind}", f"I-{kind}", "O"]], [], note)


def test_a_tag_written_otherwise_is_a_fault_at_its_line(tmp_path: Path) -> None:
    path = conll(tmp_path / "a.conll", "PER-B PER-I O", "B-PER O", "o PER-B")
    found, faults, _ = read(path)
    assert found == [["B-PER", "I-PER", "O"]]
    assert faults == [
        f"{path}:5: word 'w0': the tag 'B-PER' is not written as the others are (PER-B, O)",
        f"{path}:8: word 'w0': the tag 'o' is not written as the others are (PER-B, O)",
    ]


@pytest.mark.parametrize(
    "tags, scheme",
    [
        ("PER-B PER-I PER-E O LOC-S", "bioes"),
        ("b_PER m_PER e_PER o", "bmes"),
        ("O I.PER I.PER", "iob1"),
        ("o o o per per", "io"),
        ("O O O PER PER", "io"),
    ],
)
def test_the_scheme_is_recognised_in_any_spelling(tmp_path: Path, tags: str, scheme: str) -> None:
    assert read(conll(tmp_path / "a.conll", tags))[2].scheme == scheme


def test_types_with_separators_stay_whole(tmp_path: Path) -> None:
    tags = "B-event-nominal I-event-nominal O B-PER.NAM I-PER.NAM"
    assert read(conll(tmp_path / "a.conll", tags))[0] == [tags.split()]


def test_blanks_round_tags_are_no_part_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("a\tB-PER \nb\tO\n")
    assert read(tmp_path / "a.conll")[0] == [["B-PER", "O"]]
    (tmp_path / "a.csv").write_text("sid,word,tag\n1, a , B-PER\n1,b,O \n")
    assert read(tmp_path / "a.csv")[0] == [["B-PER", "O"]]


def test_several_tags_of_one_word_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column '1' have several entities for one word, as B-PER\|B-ORG"):
        read(conll(tmp_path / "a.conll", "B-PER|B-ORG O"))


# no types -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", ["B I O", "b i o", "B- I- O"])
def test_tags_without_a_type_get_the_one_that_is_named(tmp_path: Path, tags: str) -> None:
    path = conll(tmp_path / "a.conll", tags)
    with pytest.raises(DataError, match=r"not its type.*--label_name"):
        read(path)
    assert read(path, label_name="ENT")[0] == [["B-ENT", "I-ENT", "O"]]


def test_a_type_for_tags_that_have_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--label_name ENT: names the type of tags without one"):
        read(conll(tmp_path / "a.conll", "B-PER O"), label_name="ENT")


# no tags --------------------------------------------------------------------------------------------------------------


def test_parts_of_speech_are_no_entities(tmp_path: Path) -> None:
    path = conll(tmp_path / "a.conll", "NN VB NN", "DT NN O")
    with pytest.raises(DataError, match=r"83 ?% of the words .*Columns found: tokens, tags, 0, 1\.") as raised:
        read(path)
    assert "--label_column_name" in str(raised.value) and "--repair_tags" not in str(raised.value)
    assert read(path, scheme="io")[0] == [["B-NN", "B-VB", "B-NN"], ["B-DT", "B-NN", "O"]]


def test_only_what_can_be_repaired_is_advised_to_be(tmp_path: Path) -> None:
    for tags, flag in (("B-PER I-LOC", "--repair_tags"), ("B-PER X", "--label_column_name")):
        roles = ColumnRoles(open_file(conll(tmp_path / "a.conll", tags)))
        columns, faults = find_ner_columns(roles), Faults("a")
        list(read_sentences(roles.source, columns, TagForm(), rules=SpanRules(), faults=faults))
        assert len(faults.advice) == 1 and flag in faults.advice[0]


# mixtures -------------------------------------------------------------------------------------------------------------

SENTENCES = [
    (["Ada", "met", "Bob"], ["B-PER", "O", "B-PER"]),
    (["Oslo", "slept"], ["B-LOC", "O"]),
    (["So", "."], ["O", "O"]),
]


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_names_order_format_and_spelling_give_the_same_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    draw = data.draw
    words = draw(st.sampled_from(["tokens", "words", "Tokens", "text", "sentence", "my_words"]))
    tags = draw(st.sampled_from(["ner_tags", "labels", "tags", "NER", "label", "my_tags"]))
    spelled = draw(st.sampled_from(["{p}-{t}", "{t}-{p}", "{p}.{t}", "{t}_{p}"]))
    cell = draw(st.sampled_from(["json", "python", "numpy", "blanks"]))
    written = {
        "json": json.dumps,
        "python": repr,
        "numpy": lambda items: "[" + " ".join(map(repr, items)) + "]",
        "blanks": " ".join,
    }[cell]
    rows = []
    for tokens, marks in SENTENCES:
        marks = [mark if mark == "O" else spelled.format(p=mark[0], t=mark[2:]) for mark in marks]
        rows.append({words: tokens, tags: marks, "pos": ["NN"] * len(tokens), "note": "x y"})
    order = draw(st.permutations(list(rows[0])))
    name = draw(st.sampled_from(["a.jsonl", "a.csv", "a.tsv", "a.parquet"]))
    rows = [{key: row[key] for key in order} for row in rows]
    path = tmp_path / name
    if name == "a.jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name == "a.parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t" if name == "a.tsv" else ",", lineterminator="\n")
            writer.writerow(order)
            writer.writerows([[written(v) if isinstance(v, list) else v for v in row.values()] for row in rows])
    try:
        found, faults, _ = read(path)
    except DataError as error:
        assert "Columns found: " in str(error)
        assert "my_words" in (words, tags) or "my_tags" in (words, tags)
        return
    assert (found, faults) == ([marks for _, marks in SENTENCES], [])
