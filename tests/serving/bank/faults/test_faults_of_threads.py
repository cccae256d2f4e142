"""Many threads, few places, adapters that come and go: no wrong answer, no deadlock, and memory stays flat."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
import trials
from conftest import build_tiny_bert

from adapters.core.errors import UserError
from adapters.serving.bank.adapter_loader import LoadedAdapter
from adapters.serving.bank.bank import AdapterBank, Request

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
PATIENCE = 120.0
"""Seconds after which threads that have not ended are called deadlocked."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_bert(tmp_path_factory.mktemp("threads") / "tiny-bert")


@pytest.fixture(scope="module")
def folders(base: Path) -> dict[str, Path]:
    from adapters.models.base_model import open_base

    return trials.crowd(base.parent, open_base(str(base)))


def test_threads_are_answered_rightly_while_adapters_come_and_go(base: Path, folders: dict[str, Path]) -> None:
    bank = AdapterBank(str(base), capacity=5)
    storm = trials.Storm(bank, folders)
    evicted = bank._cache.evictions
    assert storm.run(400, within=PATIENCE), "deadlock"
    assert not storm.wrong, f"{len(storm.wrong)} of {storm.requests}, the first: {storm.wrong[0][:600]}"
    assert storm.requests == 400
    assert storm.changes >= 6
    assert bank._cache.evictions - evicted > 50
    assert not [one.name for one in bank._cache.resident if one.users]
    assert len(bank._cache.resident) + len(bank._cache.free_slots) == 5 + 1, (
        "one more, in which a version replaces another"
    )


def test_texts_longer_than_a_window_are_cut_each_as_its_own_adapter_says(base: Path, folders: dict[str, Path]) -> None:
    """A tokenizer keeps the length that it was last told: threads of other lengths must not see it."""
    bank = AdapterBank(str(base), capacity=8)
    text = " ".join([trials.LONG] * 3)
    names = ("head-class", "head-tags", "prompt-class", "lora-tags")
    for name in names:
        bank.load(name, folders[name])
    wanted = {name: bank.predict([Request(name, text)])[0] for name in names}
    wrong: list[str] = []

    def ask(name: str) -> None:
        for _ in range(30):
            try:
                (found,) = bank.predict([Request(name, text)])
            except Exception as error:
                wrong.append(f"{name}: {type(error).__name__}: {error}")
                return
            if not trials.same(found, wanted[name]):
                wrong.append(f"{name}: expected {wanted[name]}, found {found}")

    threads = [threading.Thread(target=ask, args=(names[i % 4],), daemon=True) for i in range(8)]
    with trials.restless():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong, f"{len(wrong)} of 240, the first: {wrong[0][:600]}"


def test_banks_of_one_process_do_not_disturb_each_other(base: Path, folders: dict[str, Path]) -> None:
    banks = [AdapterBank(str(base), capacity=2) for _ in range(2)]
    for bank, name in zip(banks, ("lora-tags", "head-class"), strict=True):
        bank.load("it", folders[name])
    wanted = [bank.predict([Request("it", trials.LONG)])[0]["output"] for bank in banks]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(20):
            (found,) = banks[number].predict([Request("it", trials.LONG)])
            if not trials.same(found["output"], wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(i % 2,), daemon=True) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_rows_under_a_lease_finish_on_the_version_they_began_with(base: Path, folders: dict[str, Path]) -> None:
    from adapters.serving.bank.mixed_inference import _Row

    bank = AdapterBank(str(base), capacity=2)
    bank.load("it", folders["one"])
    old = trials.logits(bank, "it")
    with bank.lease("it") as leased:
        resident = leased["it"].resident
        examples = [resident.task.from_request({"text": text}, "0") for text in trials.TEXTS]
        rows = [
            _Row(resident, row, i)
            for i, row in enumerate(resident.task.encode(examples, bank._inference.tokenizer, 64))
        ]
        before = [answer.tobytes() for answer in bank._inference._answers(rows)]
        reloading = threading.Thread(target=bank.reload, args=("it", folders["other"]), daemon=True)
        reloading.start()
        reloading.join(PATIENCE)
        assert not reloading.is_alive()
        assert bank.adapters()[0]["version"] == 2
        new = trials.logits(bank, "it")
        assert [answer.tobytes() for answer in bank._inference._answers(rows)] == before == old
        assert leased["it"].retired and leased["it"].entry is not None
    assert new != old
    assert trials.logits(bank, "it") == new
    assert len(bank._cache.free_slots) == 1 + 1, "the old version has gone with its last user"


def test_a_reload_waits_for_room_until_a_lease_ends(base: Path, folders: dict[str, Path]) -> None:
    bank = AdapterBank(str(base), capacity=1)
    bank.load("it", folders["one"])
    with bank.lease("it"):
        reloading = threading.Thread(target=bank.reload, args=("it",), daemon=True)
        reloading.start()
        reloading.join(0.3)
        assert reloading.is_alive()
        assert bank.adapters()[0]["version"] == 1
    reloading.join(PATIENCE)
    assert not reloading.is_alive()
    assert bank.adapters()[0]["version"] == 2


def test_a_reload_that_fails_leaves_the_old_version(base: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    bank = AdapterBank(str(base), capacity=2)
    bank.load("it", folders["one"])
    before, answers = trials.state(bank), trials.logits(bank, "it")
    with pytest.raises(UserError):
        bank.reload("it", tmp_path)
    assert trials.state(bank) == before
    assert trials.logits(bank, "it") == answers


def test_a_disk_that_fails_while_an_adapter_is_brought_back_leaves_no_lease(
    base: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = AdapterBank(str(base), capacity=2)
    for name in ("lora-tags", "head-class", "ia3-class"):
        bank.load(name, folders[name])
    whole = Path.read_bytes

    def failing(path: Path) -> bytes:
        if "lora-tags" in str(path):
            raise OSError(5, "Input/output error", str(path))
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    try:
        answers = bank.predict([Request("ia3-class", "Ada"), Request("lora-tags", "Ada")])
    finally:
        assert not [one.name for one in bank._cache.known.values() if one.users]
    assert ["error" in answer for answer in answers] == [False, True]
    monkeypatch.undo()
    assert "output" in bank.predict([Request("lora-tags", "Ada")])[0]


def test_an_adapter_that_is_loaded_between_two_looks_takes_no_room_from_the_others(
    base: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is unknown when requests are parted into groups that fit, and known when their adapters are leased."""
    bank = AdapterBank(str(base), capacity=2)
    for name in ("lora-tags", "head-class"):
        bank.load(name, folders[name])
    acquire = bank._cache.acquire

    def late(names: Iterable[str]) -> tuple[dict[str, LoadedAdapter], dict[str, UserError]]:
        if "further" not in bank._cache.known:
            bank.load("further", folders["further"])
        return acquire(names)

    monkeypatch.setattr(bank._cache, "acquire", late)
    answers = bank.predict([Request(name, "Ada") for name in ("lora-tags", "head-class", "further")])
    assert not [answer["error"] for answer in answers if "error" in answer]


def test_rounds_of_loading_and_evicting_leave_memory_flat(base: Path, folders: dict[str, Path]) -> None:
    bank = AdapterBank(str(base), capacity=2)
    names = ("lora-tags", "prefix-tags", "ia3-class", "prompt-class", "bottleneck-tags")
    seen = list(trials.rounds(bank, [folders[name] for name in names], 200))
    assert bank._cache.evictions > 150
    first, last = seen[40], seen[-1]
    assert last[1] == first[1], "the pools have grown"
    assert last[0] - first[0] < 24 * 2**20, f"{(last[0] - first[0]) / 2**20:.1f} MiB more"
