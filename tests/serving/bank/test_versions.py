"""Versions of an adapter in a bank: rolled back, followed where a link or `current.json` moves, each answer of one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny

from adapters.artifacts.published import CURRENT
from adapters.core.errors import ArtifactError, BankError, UnknownAdapterError
from adapters.core.files import write_json
from adapters.serving.bank.bank import AdapterBank
from adapters.tasks.base.requests import Request

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def made(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four adapters whose answers tell them apart by their labels."""
    from adapters.models.base_model import open_base

    base, folder = open_base(str(tiny_bert)), tmp_path_factory.mktemp("versions")
    for number, label in enumerate(LABELS, 1):
        tiny.adapter(folder / f"{number:04}", "lora", base, tiny.classifying((label, f"not {label}")), seed=number)
    return folder


@pytest.fixture(scope="module")
def shared(tiny_bert: Path) -> AdapterBank:
    """A bank that each test leaves empty."""
    return AdapterBank(str(tiny_bert), capacity=3)


@pytest.fixture
def bank(shared: AdapterBank) -> Any:
    yield shared
    for name in shared.names():
        shared.unload(name)


@pytest.fixture
def published(made: Path, tmp_path: Path) -> Path:
    """A folder of versions of which the first is current."""
    shutil.copytree(made, tmp_path / "x" / "versions")
    point(tmp_path / "x", 1)
    return tmp_path / "x"


def point(folder: Path, number: int) -> None:
    write_json(folder / CURRENT, {"version": number, "folder": f"versions/{number:04}"})


def of(bank: AdapterBank) -> tuple[int, str]:
    """Version and origin of an answer."""
    (answer,) = bank.predict([Request("x", "Ada")])
    return answer["version"], next(label for label in LABELS if label in answer["output"]["scores"])


def test_a_rollback_returns_to_the_former_version_under_a_new_number_and_twice_to_the_one_before(
    bank: AdapterBank, made: Path
) -> None:
    for number in (1, 2, 3):
        bank.load("x", made / f"{number:04}", replace=True, pin=True)
    assert (bank.info("x")["former"], of(bank)) == ([2, 1], (3, "three"))
    info = bank.rollback("x")
    assert (info["version"], info["former"], info["pinned"], of(bank)) == (4, [1], True, (4, "two"))
    assert (bank.rollback("x")["folder"], of(bank)) == (str(made / "0001"), (5, "one"))
    with pytest.raises(BankError, match="version 5 has no former version"):
        bank.rollback("x")
    assert of(bank) == (5, "one")


def test_two_former_versions_are_known_and_no_more(bank: AdapterBank, made: Path) -> None:
    for number in (1, 2, 3, 4):
        bank.load("x", made / f"{number:04}", replace=True)
    assert bank.info("x")["former"] == [3, 2]


def test_what_was_never_replaced_or_is_unknown_cannot_be_rolled_back(bank: AdapterBank, made: Path) -> None:
    bank.load("x", made / "0001")
    with pytest.raises(BankError, match="no former version"):
        bank.rollback("x")
    with pytest.raises(UnknownAdapterError):
        bank.rollback("y")


def test_a_former_version_whose_folder_has_changed_is_refused_and_nothing_changes(
    bank: AdapterBank, made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made / "0001", tmp_path / "one")
    bank.load("x", tmp_path / "one")
    shutil.rmtree(tmp_path / "one")
    shutil.copytree(made / "0002", tmp_path / "one")
    bank.reload("x")
    with pytest.raises(ArtifactError, match="has changed since version 1 of x"):
        bank.rollback("x")
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(ArtifactError, match="no such folder"):
        bank.rollback("x")
    assert of(bank) == (2, "two")


def test_a_rollback_that_another_change_has_overtaken_is_refused(
    bank: AdapterBank, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        bank.load("x", made / f"{number:04}", replace=True)
    read = bank._loader.read

    def overtaken(source: Any) -> Any:
        monkeypatch.undo()
        bank.load("x", made / "0003", replace=True)
        return read(source)

    monkeypatch.setattr(bank._loader, "read", overtaken)
    with pytest.raises(BankError, match="is version 3 now"):
        bank.rollback("x")
    assert of(bank) == (3, "three")


@pytest.mark.parametrize("change", ["reload", "rollback"])
def test_a_new_version_of_what_is_unloaded_meanwhile_is_refused(
    change: str, bank: AdapterBank, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        bank.load("x", made / f"{number:04}", replace=True)
    read = bank._loader.read

    def unloaded(source: Any) -> Any:
        bank.unload("x")
        return read(source)

    monkeypatch.setattr(bank._loader, "read", unloaded)
    with pytest.raises(UnknownAdapterError, match="x was unloaded at the same time"):
        getattr(bank, change)("x")
    assert (bank.stats().known, bank.stats().resident) == (0, 0)


def test_what_current_json_names_is_loaded_and_followed_when_it_moves(bank: AdapterBank, published: Path) -> None:
    info = bank.load("x", published)
    assert (info["folder"], info["followed"]) == (str(published / "versions" / "0001"), str(published))
    assert (of(bank), bank.moved()) == ((1, "one"), [])
    point(published, 2)
    assert (of(bank), bank.moved()) == ((1, "one"), ["x"])
    bank.reload("x")
    assert (of(bank), bank.moved()) == ((2, "two"), [])


def test_a_rollback_stays_until_the_pointer_moves_again(bank: AdapterBank, published: Path) -> None:
    bank.load("x", published)
    point(published, 2)
    bank.reload("x")
    bank.rollback("x")
    assert (of(bank), bank.moved()) == ((3, "one"), [])
    point(published, 3)
    assert bank.moved() == ["x"]
    bank.reload("x")
    assert of(bank) == (4, "three")


def test_an_evicted_adapter_is_read_again_from_the_version_that_was_loaded(
    bank: AdapterBank, published: Path, made: Path
) -> None:
    bank.load("x", published)
    point(published, 2)
    for number in range(3):
        bank.load(f"other{number}", made / "0003")
    assert not bank.info("x")["resident"]
    assert of(bank) == (1, "one")


def test_links_are_followed_too(bank: AdapterBank, made: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(made / "0001")
    bank.load("x", tmp_path / "link")
    (tmp_path / "next").symlink_to(made / "0002")
    (tmp_path / "next").replace(tmp_path / "link")
    assert (of(bank), bank.moved()) == ((1, "one"), ["x"])
    bank.reload("x")
    assert of(bank) == (2, "two")


def test_a_pointer_that_is_broken_or_leads_out_leaves_the_old_version(
    bank: AdapterBank, published: Path, made: Path
) -> None:
    bank.load("x", published)
    for broken in ("versions/0009", str(made / "0002"), ".."):
        write_json(published / CURRENT, {"version": 2, "folder": broken})
        assert bank.moved() == ["x"]
        with pytest.raises(ArtifactError, match=CURRENT):
            bank.reload("x")
    (published / CURRENT).unlink()
    assert bank.moved() == ["x"]
    with pytest.raises(ArtifactError, match=r"contains no card\.json"):
        bank.reload("x")
    assert of(bank) == (1, "one")


def test_a_folder_of_versions_is_loaded_alone_too(published: Path, tiny_bert: Path) -> None:
    from adapters.artifacts.loading import load

    point(published, 4)
    loaded = load(published, base=str(tiny_bert), device="cpu")
    assert "four" in loaded("Ada")["scores"]
