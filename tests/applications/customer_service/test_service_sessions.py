"""Conversations and their store: what short answers mean, whose sessions are whose, and what a fault leaves."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import REPOSITORY

from adapters.applications.customer_service import store as stored
from adapters.applications.customer_service.conversation import Session, added, interpret
from adapters.applications.customer_service.phrases import only_thanks, phrase
from adapters.applications.customer_service.policy import HAND_OVER
from adapters.applications.customer_service.store import Store
from adapters.core.errors import SessionError, SettingsError

ASKED = Session(
    id="s",
    owner="ada",
    question="where is my card",
    intent="card_lost",
    target="r1",
    choices=("card_lost", "card_late"),
)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("1", 0),
        ("the second one", 1),
        ("it is the card late thing", 1),
        ("no, the other one", 1),
        ("第二个", 1),
        ("my card", None),
        ("what do you mean", None),
    ],
)
def test_a_choice_is_understood_by_place_or_by_name(text, chosen):
    assert interpret(ASKED, text, ["card lost", "card late"]).chosen == chosen
    assert interpret(ASKED, text).chosen is None


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("no, the other card", "where is my card the other card"),
        ("Actually, I meant the blue one", "where is my card the blue one"),
        ("不是，另一张卡", "where is my card 另一张卡"),
    ],
)
def test_a_correction_keeps_the_question_and_leaves_out_the_answer(text, question):
    said = interpret(replace(ASKED, choices=()), text)
    assert (said.question, said.without) == (question, ("r1", "card_lost"))


@pytest.mark.parametrize(
    "text",
    [
        "nobody answered me",
        "no refund has come yet",
        "sorry, when do you open",
        "actually when do you open",
        "north of the city",
        "where is the shop",
    ],
)
def test_other_messages_are_questions(text):
    assert interpret(replace(ASKED, choices=()), text).question == text


def test_a_correction_of_nothing_is_a_question_and_short_messages_add_to_the_last():
    fresh = Session(id="s", owner="ada")
    assert interpret(fresh, "no, the other card").question == "no, the other card"
    assert added(ASKED, "the blue one") == "where is my card the blue one"
    assert added(ASKED, "how long does a refund take") is None and added(fresh, "why") is None


def test_a_session_forgets_after_its_time():
    kept = replace(ASKED, updated=100.0, turns=3, slots={"a": "b"})
    assert kept.at(100.0 + 60 * 30) == kept
    assert kept.at(101.0 + 60 * 30) == Session(id="s", owner="ada", turns=3, updated=100.0)


# the store


def turn(session: Session) -> Session:
    return replace(session, turns=session.turns + 1, updated=float(session.turns + 1))


def test_turns_are_read_as_they_were_written_and_only_by_their_owner(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    session = replace(turn(store.open("s", "ada")), slots={"x": "ü"}, choices=("a", "b"))
    store.add(session, "wo?", {"kind": "answer", "text": "da ü"})
    assert Store(store.url).open("s", "ada") == session
    (row,) = store.history("s", "ada")
    assert (row["number"], row["asked"], row["outcome"]["text"]) == (1, "wo?", "da ü")
    for read in (lambda: store.open("s", "eve"), lambda: store.history("s", "eve")):
        with pytest.raises(SessionError, match="no session 's' of yours"):
            read()
    with pytest.raises(SessionError):
        store.add(Session(id="s", owner="eve", turns=1), "mine", {})
    assert store.open("s", "ada") == session and len(store.history("s", "ada")) == 1
    assert store.open("t", "eve") == Session(id="t", owner="eve")
    with pytest.raises(SessionError, match="1 to 200 characters"):
        store.open("x" * 201, "ada")


def test_a_persons_data_are_deleted_by_one_call(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    for name, owner in (("a", "ada"), ("b", "ada"), ("c", "eve")):
        store.add(turn(store.open(name, owner)), "hello", {})
    assert store.forget("ada") == 2
    assert store.open("a", "ada").turns == 0 and store.open("c", "eve").turns == 1
    assert store.history("a", "ada") == []


def test_what_is_deleted_is_in_no_file_or_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "WAIT_SECONDS", 0.05)
    store = Store(str(tmp_path / "s.db"))
    for owner in ("ada", "eve"):
        store.add(turn(store.open(owner, owner)), f"peculiar {owner}", {})
    assert store.forget("ada") == 1
    assert not any(b"peculiar ada" in path.read_bytes() for path in tmp_path.iterdir())
    reader = sqlite3.connect(tmp_path / "s.db")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM turns").fetchall()
    with pytest.raises(SessionError, match="its log still has the bytes"):
        store.forget("eve")
    reader.close()
    assert store.forget("eve") == 0
    assert not any(b"peculiar" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_number_of_the_inbox_is_given_once(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    for owner in ("ada", "eve"):
        store.add(turn(store.open(owner, owner)), "hello", {"kind": HAND_OVER})
    (_, shown) = store.handed_over(decided=False)
    store.forget("eve")
    store.add(turn(store.open("bob", "bob")), "hello", {"kind": HAND_OVER})
    assert [item["id"] for item in store.handed_over(decided=False)] == [1, 3]
    with pytest.raises(SessionError, match="deleted meanwhile"):
        store.decide(shown, {"answer": "Dear Eve"}, 1.0)


def test_of_two_answers_to_the_same_turn_one_is_written(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    store.add(turn(store.open("s", "ada")), "first", {})
    before, barrier, failed = store.open("s", "ada"), threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        try:
            store.add(turn(before), str(number), {})
        except SessionError as error:
            failed.append(str(error))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 7 and all("at the same time" in one for one in failed)
    assert len(store.history("s", "ada")) == 2


def test_a_full_disk_leaves_the_session_before_the_turn(tmp_path):
    store = Store(str(tmp_path / "s.db"))
    store.add(turn(store.open("s", "ada")), "first", {})
    before = store.open("s", "ada")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, limits[1]))
    try:
        with pytest.raises(SessionError, match="could not be read or written"):
            store.add(turn(before), "x" * 200_000, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.open("s", "ada") == before and len(store.history("s", "ada")) == 1
    store.add(turn(before), "x" * 200_000, {})
    assert len(Store(store.url).history("s", "ada")) == 2


WRITER = """
import sys
from dataclasses import replace
from adapters.applications.customer_service.store import Store
store = Store(sys.argv[1])
session = store.open("s", "ada")
while True:
    session = replace(session, turns=session.turns + 1, updated=1.0)
    store.add(session, "x" * 500, {"n": session.turns})
    print(session.turns, flush=True)
"""


def test_kill_9_loses_no_turn_that_was_acknowledged(tmp_path):
    path = tmp_path / "s.db"
    told = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        assert process.stdout is not None
        for _ in range(20):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        told = max([told, *map(int, process.communicate()[0].split())])
        numbers = [row["number"] for row in Store(str(path)).history("s", "ada")]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= told


def test_a_missing_driver_is_named_with_what_to_install():
    with pytest.raises(SettingsError, match=r"psycopg2 is missing.*\[postgresql\]'"):
        Store("postgresql+psycopg2://desk@/desk")


def test_a_database_that_cannot_be_opened_is_named(tmp_path):
    Path(tmp_path / "s.db").write_bytes(b"not a database, but long enough to be read as one" * 40)
    with pytest.raises(SessionError, match="could not be read or written"):
        Store(str(tmp_path / "s.db"))


@pytest.mark.parametrize(
    "text", ["thanks", "OK, thank you so much!", "Great. Thanks a lot, bye", "谢谢", "好的，谢谢您！"]
)
def test_thanks_alone_are_no_question(text: str) -> None:
    assert only_thanks(text)


@pytest.mark.parametrize("text", ["thanks, where is it?", "no thanks", "ok", "谢谢，我的卡呢", "您好", "", "bye" * 99])
def test_what_asks_or_says_something_else_is_not_only_thanks(text: str) -> None:
    assert not only_thanks(text)


def test_phrases_are_in_the_language_of_the_message() -> None:
    assert phrase("slot", "退款 please", "订单号") == "请提供订单号。"
    assert phrase("slot", "a refund", "order number") == "Please give the order number."
