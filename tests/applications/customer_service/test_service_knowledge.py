"""Questions and replies as they are read: rows, conversation logs, versions; templates and documents."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import customers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.applications.customer_service import documents, reading, templates
from adapters.applications.customer_service.knowledge import Knowledge, Passage, Question, Questions, with_versions
from adapters.applications.customer_service.learning import CustomerService
from adapters.applications.customer_service.settings import all_settings
from adapters.core.errors import ArtifactError, DataError
from adapters.data.splits import with_dev

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def settings(**changes: Any) -> Any:
    return all_settings()(train_file="t", **changes)


def read(tmp_path: Path, rows: list[dict[str, Any]], **changes: Any) -> list[reading.QuestionAnswer]:
    return reading.read(str(customers.write(tmp_path / "rows.jsonl", rows)), settings(**changes), "--train_file")[0]


# rows


def test_rows_have_usual_names_or_those_that_are_given(tmp_path):
    rows = [{"Query": "where is it", "Intent": "card", "reply": "here"}, {"Query": "buy me", "Intent": "oos"}]
    found = read(tmp_path, rows)
    assert [(one.text, one.intent, one.scope, answer) for one, answer in found] == [
        ("where is it", "card", "in", "here"),
        ("buy me", None, "out", None),
    ]
    other = [{"a": "where", "b": "card", "c": "near"}, {"a": "who", "b": "refund", "c": ""}]
    named = {"question_column_name": "a", "intent_column_name": "b", "scope_column_name": "c"}
    assert [one.scope for one, _ in read(tmp_path, other, **named)] == ["near", "in"]


def test_turns_of_a_log_become_questions_with_the_next_reply(tmp_path):
    turns = [
        ("1", "customer", "hi"),
        ("1", "customer", "where is my card"),
        ("2", "agent", "hello"),
        ("1", "agent", "soon"),
    ]
    rows = [{"conversation_id": name, "speaker": who, "text": text} for name, who, text in turns]
    path = str(customers.write(tmp_path / "log.jsonl", rows))
    found, said = reading.read(path, settings(), "")
    assert [(one.text, one.where.rpartition(":")[2], answer) for one, answer in found] == [
        ("hi where is my card", "1", "soon")
    ]
    assert "1 turn of the staff without a question before them left out" in said
    messages = [{"role": "user", "content": "where"}, {"role": "assistant", "content": "there"}]
    assert [(one.text, answer) for one, answer in read(tmp_path, [{"messages": messages}])] == [("where", "there")]
    with pytest.raises(DataError, match="speaker 'parrot'"):
        read(tmp_path, [{"messages": [*messages, {"role": "parrot", "content": "who"}]}])


def test_two_answers_to_one_question_are_versions_and_others_keep_theirs():
    asked = [
        (Question(text="Where is it?"), "here"),
        (Question(text="open on sunday"), "here"),
        (Question(text="where is  it"), "there"),
        (Question(text="who are you"), None),
    ]
    questions, replies, several = with_versions(asked)
    assert several == 1
    first, second, third, fourth = questions
    assert first.reply == third.reply != second.reply and fourth.reply is None
    assert replies[str(first.reply)].versions == ("here", "there") and replies[str(first.reply)].text == "there"
    assert replies[str(second.reply)].text == "here"


def test_no_question_is_in_train_and_in_dev_or_in_both_halves_of_dev():
    asked = Questions(Question(text=text, intent="i") for n in range(200) for text in (f"is it {n}", f"Is it  {n}?"))
    splits = with_dev({"train": asked}, settings())
    train, dev = splits["train"], splits["validation"]
    assert dev and len(dev.without(train)) == len(dev)
    one, other = dev.halves()
    assert one and other and len(one.without(other)) == len(one)


def learner(tmp_path: Path, **files: list[dict[str, str]]) -> CustomerService:
    paths = {f"--{name}": str(customers.write(tmp_path / f"{name}.jsonl", rows)) for name, rows in files.items()}
    return CustomerService("", {"output_dir": str(tmp_path / "run")}, [word for pair in paths.items() for word in pair])


def test_questions_of_dev_that_train_has_are_left_out_and_said(tmp_path, capsys):
    train = [{"question": f"is it {n}", "intent": "ab"[n % 2]} for n in range(20)]
    dev = [{"question": f"Is it {n}?", "intent": "ab"[n % 2]} for n in range(15, 30)]
    made = learner(tmp_path, train_file=train, validation_file=dev, test_file=dev[:7])
    made.read()
    assert sorted(one.text for one in made.splits["validation"]) == [f"Is it {n}?" for n in range(20, 30)]
    said = capsys.readouterr().err
    assert "5 questions of dev are in train, too, and left out of dev" in said
    assert "5 questions of test are in train, too, and scored" in said and len(made.splits["test"]) == 7
    with pytest.raises(DataError, match="train has all of its questions"):
        learner(tmp_path, train_file=train, validation_file=dev[:5]).read()


@given(st.lists(st.tuples(TEXTS, st.none() | TEXTS), max_size=20))
def test_knowledge_is_read_as_it_was_saved(tmp_path_factory, rows):
    questions, replies, _ = with_versions((Question(text=text), answer) for text, answer in rows)
    knowledge = Knowledge(questions=questions, replies=replies, passages=(Passage(text="a", file="b", place="c"),))
    path = tmp_path_factory.mktemp("knowledge") / "knowledge.json"
    knowledge.save(path)
    assert Knowledge.read(path) == knowledge
    assert {target for _, target in knowledge.entries()} == {*replies}


def test_damaged_knowledge_is_refused(tmp_path):
    (tmp_path / "k.json").write_text('{"questions": [{"txt": ""}], "replies": [], "passages": []}')
    with pytest.raises(ArtifactError, match="no knowledge of an assistant"):
        Knowledge.read(tmp_path / "k.json")


def test_equal_texts_are_in_one_half_and_nothing_is_lost():
    questions = Questions(Question(text=f"q{n % 50}", where=str(n)) for n in range(100))
    one, other = questions.halves()
    assert len(one) + len(other) == 100 and min(len(one), len(other)) > 20
    assert not {q.text for q in one} & {q.text for q in other}


# templates


SLOTS = {"number": templates.Slot(name="number", pattern=r"no (\d+)"), "who": templates.Slot(name="who", entity="PER")}


@given(st.lists(st.sampled_from(["{number}", "{who}", "{{", "}}", "a ", "é"])), st.sets(st.sampled_from([*SLOTS])))
def test_a_template_is_filled_as_by_python_or_not_at_all(parts, known):
    template, values = "".join(parts), {name: f"<{name}>" for name in known}
    templates.check(template, SLOTS, "here")
    text, missing = templates.fill(template, values)
    assert {*missing} == {*templates.slots_of(template)} - known
    assert text == ("" if missing else template.format(**values))


def test_values_are_the_last_that_stand_in_a_text():
    assert SLOTS["number"].value("no 12 and no 345", {}) == "345"
    assert SLOTS["number"].value("none", {}) is None
    assert SLOTS["who"].value("it is Ada", {"PER": "Ada"}) == "Ada"
    assert len(templates.Slot(name="all", pattern=".*").value("x" * 999, {}) or "") <= templates.LONGEST


# documents


def a_pdf(*texts: str) -> bytes:
    """A PDF with a text on each page, written by hand from the standard's example (ISO 32000-1, H.3)."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(texts)))
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>"]
    for number, text in enumerate(texts):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        page = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources {font} /Contents {4 + 2 * number} 0 R >>"
        )
        objects += [page, f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    return out + f"{end}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n".encode()


def test_documents_of_all_kinds_become_passages_with_their_places(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.md").write_text("Before.\n\n# Parking #\n\nBehind the\nhouse.\n\n## Bikes\nIn front.\n")
    page = "<head><title>no</title></head><h1>Pay</h1><p>By&nbsp;card.<script>evil()</script><p>Or <b>cash</b>."
    (tmp_path / "sub" / "b.html").write_text(page)
    (tmp_path / "c.txt").write_text("One.\n\nTwo.")
    (tmp_path / "d.pdf").write_bytes(a_pdf("First page.", "Second page."))
    found, unread = documents.passages(str(tmp_path), 40)
    assert [(one.source, one.text) for one in found] == [
        ("a.md", "Before."),
        ("a.md, Parking", "Behind the house."),
        ("a.md, Bikes", "In front."),
        ("c.txt", "One. Two."),
        ("d.pdf, page 1", "First page."),
        ("d.pdf, page 2", "Second page."),
        ("sub/b.html, Pay", "By card. Or cash."),
    ]
    assert unread == []


def test_documents_that_cannot_be_read_are_named_and_the_rest_is_indexed(tmp_path):
    (tmp_path / "good.txt").write_text("Here.")
    (tmp_path / "bad.pdf").write_bytes(a_pdf("cut")[:60])
    (tmp_path / "latin.md").write_bytes(b"caf\xe9")
    (tmp_path / "empty.html").write_text("<p></p>")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    found, unread = documents.passages(str(tmp_path), 40)
    assert [one.file for one in found] == ["good.txt"]
    assert [line.partition(":")[0] for line in unread] == ["bad.pdf", "empty.html", "latin.md", "picture.png"]
    (tmp_path / "good.txt").unlink()
    with pytest.raises(DataError, match="no document with a text"):
        documents.passages(str(tmp_path), 40)
    with pytest.raises(DataError, match="no such folder"):
        documents.passages(str(tmp_path / "none"), 40)


@given(st.lists(st.text("ab 。.汉字", max_size=60), max_size=8), st.integers(20, 40))
def test_passages_have_all_that_was_written_and_are_short(tmp_path_factory, blocks, words):
    folder = tmp_path_factory.mktemp("documents")
    (folder / "a.txt").write_text("start\n\n" + "\n\n".join(blocks))
    found, _ = documents.passages(str(folder), words)
    together = "".join(one.text for one in found)
    assert [c for c in together if c != " "] == [c for c in "start" + "".join(blocks) if c != " "]
    assert all(documents._size(one.text) <= words for one in found)


def test_settings_that_cannot_work_are_refused():
    for changes, message in (({"max_wrong": 0.0}, "max_wrong"), ({"retriever": "best"}, "retriever")):
        with pytest.raises(ValueError, match=message):
            settings(**changes).check()
    with pytest.raises(ValueError, match="train_file"):
        dataclasses.replace(settings(), train_file=None).check()
