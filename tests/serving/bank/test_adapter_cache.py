"""What a bank knows, holds and lets go: names, room, leases, versions; a failure changes nothing."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import ArtifactError, BankError, SettingsError, UnknownAdapterError
from adapters.serving.bank.bank import AdapterBank, Request
from adapters.serving.bank.weight_pool import RowIndex, WeightPool

pytestmark = pytest.mark.usefixtures("one_thread")
TEXT = "Ada Lovelace lived in New York ."


@pytest.fixture(scope="module")
def base(tiny_bert: Path) -> Any:
    from adapters.models.base_model import open_base

    return open_base(str(tiny_bert))


@pytest.fixture(scope="module")
def folders(base: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six LoRA adapters, each with answers of its own."""
    root = tmp_path_factory.mktemp("adapters")
    return [tiny.adapter(root / f"a{i}", "lora", base, tiny.classifying(), seed=i, lora_r=i + 1) for i in range(6)]


@pytest.fixture
def bank(tiny_bert: Path) -> AdapterBank:
    return AdapterBank(str(tiny_bert), capacity=3)


def scores(bank: AdapterBank, name: str) -> dict[str, float]:
    (answer,) = bank.predict([Request(name, TEXT)])
    assert "error" not in answer, answer
    found: dict[str, float] = answer["output"]["scores"]
    return found


def resident(bank: AdapterBank) -> list[str]:
    return [info["name"] for info in bank.adapters() if info["resident"]]


def state(bank: AdapterBank) -> Any:
    """All that a failed load must leave as it was."""
    rows = {n: {k: p.counts.sum() for k, p in layer.pools.items()} for n, layer in bank.mixed.layers.items()}
    return json.dumps([bank.adapters(), sorted(bank._cache.free_slots), len(bank._cache.resident)]), str(rows)


def test_the_least_recently_used_makes_room_and_comes_back_by_itself(bank: AdapterBank, folders: list[Path]) -> None:
    for number in range(3):
        bank.load(f"a{number}", folders[number])
    before = {name: scores(bank, name) for name in ("a0", "a1", "a2")}
    scores(bank, "a0")
    bank.load("a3", folders[3])
    assert resident(bank) == ["a0", "a2", "a3"], "a1 is the least recently used"
    assert scores(bank, "a1") == before["a1"]
    assert resident(bank) == ["a0", "a1", "a3"]
    assert bank._cache.evictions == 2
    assert len({json.dumps(one) for one in before.values()}) == 3


def test_a_pinned_adapter_stays_and_room_that_is_never_there_is_an_error(
    bank: AdapterBank, folders: list[Path]
) -> None:
    bank.load("a0", folders[0], pin=True)
    for number in range(1, 6):
        bank.load(f"a{number}", folders[number])
    assert "a0" in resident(bank)
    for name in resident(bank):
        bank.pin(name)
    before = state(bank)
    with pytest.raises(BankError, match="pinned"):
        bank.load("more", folders[1])
    assert state(bank) == before
    evicted = next(info["name"] for info in bank.adapters() if not info["resident"])
    (answer,) = bank.predict([Request(evicted, TEXT)])
    assert "pinned" in answer["error"]
    bank.pin("a0", False)
    assert "error" not in bank.predict([Request(evicted, TEXT)])[0]


def test_more_adapters_than_there_is_room_for_are_answered_in_one_call(bank: AdapterBank, folders: list[Path]) -> None:
    for number, folder in enumerate(folders):
        bank.load(f"a{number}", folder)
    alone = [scores(bank, f"a{i}") for i in range(6)]
    numbers = [i % 6 for i in range(30)]
    answers = bank.predict([Request(f"a{i}", TEXT, f"r{at}") for at, i in enumerate(numbers)])
    assert [answer["output"]["scores"] for answer in answers] == [alone[i] for i in numbers]
    assert [answer["id"] for answer in answers] == [f"r{at}" for at in range(30)]
    assert len(resident(bank)) == 3


def test_a_bound_of_bytes_evicts_too(tiny_bert: Path, folders: list[Path]) -> None:
    sizes = [AdapterBank(str(tiny_bert)).load("a", folder)["bytes"] for folder in folders[:3]]
    bank = AdapterBank(str(tiny_bert), max_bytes=sizes[1] + sizes[2])
    for number in range(3):
        bank.load(f"a{number}", folders[number])
    assert resident(bank) == ["a1", "a2"]
    with pytest.raises(BankError, match="bytes"):
        AdapterBank(str(tiny_bert), max_bytes=sizes[0] - 1).load("a0", folders[0])


def test_an_alias_is_another_name_and_moves(bank: AdapterBank, folders: list[Path]) -> None:
    bank.load("a0", folders[0])
    bank.load("a1", folders[1])
    bank.alias("best", "a0")
    assert scores(bank, "best") == scores(bank, "a0")
    bank.alias("best", "a1")
    assert scores(bank, "best") == scores(bank, "a1")
    assert [info["aliases"] for info in bank.adapters()] == [[], ["best"]]
    with pytest.raises(BankError, match="already loaded"):
        bank.alias("a0", "a1")
    with pytest.raises(BankError, match="already loaded"):
        bank.load("best", folders[2])
    bank.unload("best")
    assert [info["name"] for info in bank.adapters()] == ["a0"]
    with pytest.raises(BankError, match="No adapter is called"):
        bank.unload("best")


def test_a_lease_of_what_is_in_memory_looks_at_no_other_adapter(
    bank: AdapterBank, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        bank.load(f"a{number}", folders[number])
    asked: list[Any] = []
    monkeypatch.setattr(type(bank._cache), "_fits", lambda *given: bool(asked.append(given)))
    with bank.lease("a0", "a1") as leased:
        assert [*leased] == ["a0", "a1"]
    assert not asked, "with 1,000 adapters in memory each batch would add up the bytes of all"


def test_a_lease_holds_the_old_version_while_a_new_one_answers(bank: AdapterBank, folders: list[Path]) -> None:
    bank.load("a", folders[0])
    old = scores(bank, "a")
    with bank.lease("a") as leased:
        info = bank.reload("a", folders[1])
        assert info["version"] == 2
        new = scores(bank, "a")
        example = leased["a"].resident.task.from_request({"text": TEXT}, "0")
        (inside,) = bank._inference.predict([(leased["a"].resident, example)])
        labels = leased["a"].resident.task.labels.names
        assert {n: round(float(s), 4) for n, s in zip(labels, inside.detail, strict=True)} == old
        assert new != old
        assert len(bank._cache.resident) == 2
        bank.unload("a")
        assert len(bank._cache.resident) == 1
    assert not bank._cache.resident
    assert sorted(bank._cache.free_slots) == [1, 2, 3, 4]


def test_a_changed_folder_does_not_come_back_unnoticed(bank: AdapterBank, folders: list[Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folders[0], mine)
    bank.load("mine", mine)
    for number in range(1, 4):
        bank.load(f"a{number}", folders[number])
    assert "mine" not in resident(bank)
    shutil.rmtree(mine)
    shutil.copytree(folders[5], mine)
    answers = bank.predict([Request("mine", TEXT), Request("a1", TEXT)])
    assert "has changed since" in answers[0]["error"]
    assert "error" not in answers[1]
    with pytest.raises(ArtifactError, match="has changed since"), bank.lease("mine"):
        pass
    assert bank.reload("mine")["version"] == 2
    assert "error" not in bank.predict([Request("mine", TEXT)])[0]


def test_a_failed_load_leaves_the_bank_as_it_was(
    bank: AdapterBank, folders: list[Path], tmp_path: Path, other_bert: Path
) -> None:
    from adapters.models.base_model import open_base

    bank.load("a0", folders[0])
    answer, before = scores(bank, "a0"), state(bank)
    foreign = tiny.adapter(tmp_path / "foreign", "lora", open_base(str(other_bert)), tiny.classifying())
    few = tiny.adapter(tmp_path / "few", "peft", open_base(str(other_bert)), tiny.classifying(), peft_type="LOHA")
    for name, folder, match in (
        ("a0", folders[1], "already loaded"),
        ("Capital", folders[1], "not a valid adapter name"),
        ("x/y", folders[1], "not a valid adapter name"),
        ("b", foreign, "trained on"),
        ("b", tmp_path, "no card.json"),
        ("b", tmp_path / "none", "no such folder"),
        ("b", few, "trained on"),
    ):
        with pytest.raises((BankError, ArtifactError, ValueError), match=match):
            bank.load(name, folder)
        assert state(bank) == before
    with pytest.raises(ArtifactError):
        bank.reload("a0", foreign)
    assert state(bank) == before
    assert scores(bank, "a0") == answer


def test_a_thread_waits_for_room_until_a_lease_ends(tiny_bert: Path, folders: list[Path]) -> None:
    bank = AdapterBank(str(tiny_bert), capacity=1)
    bank.load("a0", folders[0])
    bank.load("a1", folders[1])
    found: list[dict[str, float]] = []
    with bank.lease("a0"):
        thread = threading.Thread(target=lambda: found.append(scores(bank, "a1")))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "the only place is taken"
    thread.join(10)
    assert len(found) == 1


def test_only_folders_under_the_root_are_loaded(tiny_bert: Path, folders: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(folders[0], root / "inside")
    (root / "link").symlink_to(folders[1])
    shutil.copytree(folders[2], root / "half")
    (root / "half" / "README.md").unlink()
    (root / "half" / "README.md").symlink_to(folders[2] / "README.md")
    bank = AdapterBank(str(tiny_bert), adapter_root=root)
    bank.load("inside", root / "inside")
    for bad in (folders[0], root / "link", root / "half", root / ".." / "root" / ".." / folders[0].name):
        with pytest.raises(ArtifactError):
            bank.load("bad", bad)


class Slow:
    """A pool as a dict of lists, and the pool that shall do the same."""

    def __init__(self) -> None:
        self.rows: dict[int, np.ndarray] = {}
        self.pool = WeightPool(3, 1.0, torch.zeros(1))

    def step(self, slot: int, values: np.ndarray) -> None:
        """Drop what the slot has, or give it something."""
        if slot in self.rows:
            self.pool.drop(slot)
            del self.rows[slot]
        elif len(values):
            self.rows[slot] = values
            self.pool.put(slot, torch.from_numpy(values))

    def check(self, found: RowIndex) -> None:
        """The same rows for a batch of all slots."""
        slots = np.arange(12)
        picked = self.pool.of_batch(slots, found)
        longest = max((len(rows) for rows in self.rows.values()), default=0)
        if picked is None:
            assert not longest
            return
        assert picked.shape[1] == longest
        assert torch.equal(picked, self.pool.pick(slots, longest))
        for line, rows in zip(picked.numpy(), (self.rows.get(int(s), np.zeros((0, 3))) for s in slots), strict=True):
            assert (line[: len(rows)] == rows).all()
            assert (line[len(rows) :] == 1.0).all(), "what changes nothing"


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5), st.integers(0, 3)), max_size=30),
    seed=st.integers(0, 99),
)
def test_pools_give_back_what_was_put_in_whatever_came_and_went(steps: list[tuple[int, int, int]], seed: int) -> None:
    draw = np.random.default_rng(seed)
    pools = [Slow(), Slow(), Slow()]
    for slot, number, left_out in steps:  # one of the pools, or none, is left out: its layout goes another way
        for i, pool in enumerate(pools):
            if i != left_out:
                pool.step(slot, draw.normal(size=(number, 3)).astype(np.float32))
        found: RowIndex = {}
        for pool in pools:
            pool.check(found)
    assert all(len(pool.pool.rows) <= 1 + 9 * 5 + 5 for pool in pools), "freed rows are used again"


def test_pools_of_one_layout_are_looked_up_once_a_batch() -> None:
    pools = [Slow(), Slow()]
    for pool in pools:
        pool.step(2, np.ones((4, 3), np.float32))
    found: RowIndex = {}
    for pool in pools:
        pool.check(found)
    assert len(found) == 1
    pools[0].step(3, np.ones((4, 3), np.float32))
    for pool in pools:
        pool.check(found)
    assert len(found) == 2


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


# found in review ------------------------------------------------------------------------------------------------------


def test_who_waits_first_is_served_first_however_busy_the_others_are(tiny_bert: Path, folders: list[Path]) -> None:
    import time

    bank = AdapterBank(str(tiny_bert), capacity=1)
    bank.load("a", folders[0])
    bank.load("b", folders[1])
    stop, got = threading.Event(), threading.Event()

    def busy() -> None:
        while not stop.is_set():
            with bank.lease("b"):
                time.sleep(0.01)

    def asks() -> None:
        with bank.lease("a"):
            got.set()

    threads = [threading.Thread(target=work) for work in (busy, busy, asks)]
    for thread in threads:
        thread.start()
    served = got.wait(20)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert served


def test_a_lease_inside_a_lease_is_not_held_up_by_those_who_wait(tiny_bert: Path, folders: list[Path]) -> None:
    bank = AdapterBank(str(tiny_bert), capacity=2)
    for number in range(3):
        bank.load(f"a{number}", folders[number])
    with bank.lease("a0"):
        waits = threading.Thread(target=lambda: bank.predict([Request("a1", TEXT), Request("a2", TEXT)]))
        waits.start()
        waits.join(0.2)
        with bank.lease("a1"):
            pass
    waits.join(20)
    assert not waits.is_alive()


def test_a_pinned_adapter_in_a_full_bank_is_reloaded_and_evicts_nobody(tiny_bert: Path, folders: list[Path]) -> None:
    bank = AdapterBank(str(tiny_bert), capacity=2)
    bank.load("a", folders[0], pin=True)
    bank.load("b", folders[1])
    assert bank.reload("a", folders[2])["version"] == 2
    assert resident(bank) == ["a", "b"]


def test_a_version_that_does_not_fit_leaves_the_old_one_in_memory(
    tiny_bert: Path, folders: list[Path], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folders[0], mine)
    size = AdapterBank(str(tiny_bert)).load("a", mine)["bytes"]
    bank = AdapterBank(str(tiny_bert), max_bytes=size + 1)
    bank.load("a", mine)
    before, answer = state(bank), scores(bank, "a")
    shutil.rmtree(mine)
    shutil.copytree(folders[5], mine)  # of a higher rank
    for _ in range(2):
        with pytest.raises(BankError, match="No room for a"):
            bank.reload("a")
        assert state(bank) == before and scores(bank, "a") == answer, "the old folder is no more, and is not needed"


def test_a_version_that_cannot_be_stored_leaves_the_old_one_in_memory(
    tiny_bert: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = AdapterBank(str(tiny_bert), capacity=1)
    bank.load("a", folders[0])
    before, answer = state(bank), scores(bank, "a")
    put, stored = WeightPool.put, list[int]()

    def full(pool: WeightPool, slot: int, values: torch.Tensor) -> None:
        stored.append(slot)
        if len(stored) == 3:
            raise MemoryError
        put(pool, slot, values)

    with monkeypatch.context() as patch:
        patch.setattr(WeightPool, "put", full)
        with pytest.raises(MemoryError):
            bank.reload("a", folders[2])
    assert state(bank) == before and scores(bank, "a") == answer
    assert bank.reload("a", folders[2])["version"] == 2 and scores(bank, "a") != answer


def test_a_damaged_evicted_adapter_evicts_nobody(tiny_bert: Path, folders: list[Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folders[0], mine)
    bank = AdapterBank(str(tiny_bert), capacity=1)
    bank.load("mine", mine)
    bank.load("b", folders[1])
    (mine / "README.md").write_text("changed")
    assert "error" in bank.predict([Request("mine", TEXT)])[0]
    assert resident(bank) == ["b"]


def test_a_head_keeps_nothing_of_a_batch_and_bytes_are_those_held(tiny_bert: Path, folders: list[Path]) -> None:
    bank = AdapterBank(str(tiny_bert))
    info = bank.load("a", folders[0])
    scores(bank, "a")
    head = bank._cache.find("a").resident.head
    assert head is not None and head.body.given.states is None and head.body.given.pooled is None
    half = AdapterBank(str(tiny_bert), dtype="bfloat16").load("a", folders[0])
    assert half["bytes"] - head.nbytes == (info["bytes"] - head.nbytes) / 2


# the public methods ---------------------------------------------------------------------------------------------------


def test_loading_a_name_again_is_refused_or_with_replace_a_new_version(bank: AdapterBank, folders: list[Path]) -> None:
    assert bank.load("b", folders[0], replace=True)["version"] == 1
    first = scores(bank, "b")
    with pytest.raises(BankError, match="already loaded"):
        bank.load("b", folders[1])
    info = bank.load("b", folders[1], pin=True, replace=True)
    assert (info["version"], info["pinned"]) == (2, True) and scores(bank, "b") != first
    assert bank.load("b", folders[0], replace=True)["pinned"] is False
    assert scores(bank, "b") == first
    bank.alias("alias", "b")
    with pytest.raises(BankError, match="already loaded"):
        bank.load("alias", folders[1], replace=True)


def test_names_info_card_task_and_stats_say_what_is_in_the_bank(bank: AdapterBank, folders: list[Path]) -> None:
    for name, folder in zip(("d", "c", "b", "a"), folders, strict=False):
        bank.load(name, folder)
    bank.alias("best", "c")
    assert bank.names() == ["d", "c", "b", "a"]
    assert [info["name"] for info in bank.adapters()] == ["a", "b", "c", "d"]
    stats = bank.stats()
    assert (stats.known, stats.resident, stats.evictions) == (4, 3, 1)
    assert bank.info("best") == bank.info("c") == bank.adapters()[2]
    assert bank.info("c", with_card=True) == {**bank.info("c"), "card": bank.card("c")}
    assert bank.card("c")["digest"] == json.loads((folders[1] / "card.json").read_text())["digest"]
    assert bank.task("d").name == "classification" and "d" in resident(bank)
    for ask in (bank.info, bank.card, bank.task, bank.unload, bank.predictor):
        with pytest.raises(UnknownAdapterError, match="No adapter is called 'none'"):
            ask("none")


def test_the_device_is_chosen_and_one_that_is_not_there_is_refused(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    bank = AdapterBank(str(tiny_bert))
    assert (bank.device, bank.dtype) == (torch.device("cpu"), torch.float32)
    assert AdapterBank(str(tiny_bert), device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(SettingsError, match="This machine has: cpu"):
        AdapterBank(str(tiny_bert), device="cuda")
    with pytest.raises(SettingsError, match="dtype 'half'"):
        AdapterBank(str(tiny_bert), dtype="half")
