"""Conversations in PostgreSQL: a server of Debian's `postgresql`, started for these tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.applications.customer_service.conversation import Session
from adapters.applications.customer_service.policy import HAND_OVER
from adapters.applications.customer_service.store import Store
from adapters.core.errors import SessionError

pytestmark = pytest.mark.slow


def program(name: str) -> str | None:
    """Where a program of PostgreSQL is: Debian keeps those of a server by version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a database of a server of its own, which listens on a socket in a folder alone."""
    initdb, control = program("initdb"), program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no driver: pip install 'taskswap[postgresql]'")
    root = os.geteuid() == 0  # it refuses to run as root
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if root else {}
        if root:
            shutil.chown(folder, "nobody")

        def run(*words: str) -> None:
            subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60, **user)  # type: ignore[call-overload]

        data = ("--pgdata", f"{folder}/data")
        run(initdb, *data, "--username", "desk", "--auth", "trust", "--no-sync", "--encoding", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run(control, *data, "--log", f"{folder}/log", "--options", options, "--wait", "start")
        try:
            yield f"postgresql+psycopg://desk@/postgres?host={folder}"
        finally:
            run(control, *data, "--mode", "immediate", "stop")


def turn(session: Session) -> Session:
    return replace(session, turns=session.turns + 1, updated=float(session.turns + 1))


def test_turns_and_the_inbox_are_kept_decided_and_deleted(url: str) -> None:
    store = Store(url)
    session = replace(turn(store.open("a/1", "ada")), slots={"x": "ü\x07"}, choices=("a", "b"))
    store.add(session, "wo \x00 ist\ud800 sie?", {"kind": HAND_OVER, "text": "gleich \x00"})
    again = Store(url)
    assert again.open("a/1", "ada") == session
    (item,) = again.handed_over(decided=False)
    assert (item["asked"], item["outcome"]["text"], item["owner"]) == ("wo   ist  sie?", "gleich \x00", "ada")
    with pytest.raises(SessionError, match="no session 'a/1' of yours"):
        again.history("a/1", "eve")
    again.decide(item, {"intent": "ü"}, 2.0)
    assert store.handed_over(decided=False) == [] and store.history("a/1", "ada")[0]["decision"] == {"intent": "ü"}
    assert store.forget("ada") == 1 and store.handed_over(decided=True) == [] == store.history("a/1", "ada")
    with pytest.raises(SessionError, match="deleted meanwhile"):
        again.decide(item, {"intent": "ü"}, 3.0)
    for one in (store, again):
        one.close()


def test_of_answers_to_the_same_turns_in_batches_of_several_servers_one_each_is_written(url: str) -> None:
    stores, written = [Store(url) for _ in range(4)], []
    before, barrier = [Session(id=f"b/{n}", owner="bob") for n in range(6)], threading.Barrier(4)

    def write(number: int) -> None:
        barrier.wait()
        order = before[number:] + before[:number]
        failed = stores[number].add_all([(turn(session), str(number), {}) for session in order])
        written.append(sum(one is None for one in failed))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == 6
    assert all(len(stores[0].history(session.id, "bob")) == 1 for session in before)
    for store in stores:
        store.close()
