"""A damaged or foreign adapter is refused by a typed error, and the bank stays as it was."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trials
from damage import CONFIG, DAMAGES, LABELS, WEIGHTS, Damage, Kit, flipped, lora, reseal
from safetensors.torch import load_file, save_file

from adapters.artifacts.artifact import CARD
from adapters.core.errors import UserError
from adapters.serving.bank.bank import AdapterBank

pytestmark = pytest.mark.usefixtures("one_thread")
# Of each error one of these: what was expected beside what was found, or what is missing, too much, or not a thing.
TELLS = (
    r"expected .* found|is missing|contains no tensor|belong to no module|trained on .* not on|must be|a pickle|"
    r"not JSON|digest does not match|do not match their digest|No method is called|not finite|not a safetensors file|"
    r"unexpected|not supported here"
)
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    "",
    "x" * 3000,
    [],
    ["x"],
    [None],
    {},
    {"a": [1]},
    "../../etc/passwd",
    "\x00",
]
"""What a forger may put in the place of anything."""


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit.build(tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="module")
def bank(kit: Kit) -> Iterator[AdapterBank]:
    bank = AdapterBank(str(kit.base), capacity=3)
    bank.load("sound", kit.sound)
    bank.load("five", kit.five)
    yield bank
    assert [one["name"] for one in bank.adapters()] == ["five", "sound"]


def refused(bank: AdapterBank, folder: Path, **how: Any) -> str:
    """The message with which a folder is refused; the bank is then to the bit what it was."""
    before, answers = trials.state(bank), trials.logits(bank, "sound")
    with warnings.catch_warnings(), pytest.raises(UserError) as raised:
        warnings.simplefilter("ignore", UserWarning)
        bank.load("x", folder, **how)
        bank.unload("x")  # so that what is wrongly accepted fails one test alone
    assert trials.state(bank) == before
    assert trials.logits(bank, "sound") == answers
    return str(raised.value)


def test_there_are_twenty_five() -> None:
    assert [one.number for one in DAMAGES] == list(range(1, 26))


@pytest.mark.parametrize("one", DAMAGES, ids=str)
def test_with_a_card_each_is_refused(one: Damage, kit: Kit, bank: AdapterBank, tmp_path: Path) -> None:
    assert_tells(refused(bank, one.make(kit, tmp_path / "it", "kept")))
    assert not list(tmp_path.rglob("it-ran"))


def assert_tells(message: str) -> None:
    assert re.search(TELLS, message), message


@pytest.mark.parametrize("one", [one for one in DAMAGES if not one.undetectable], ids=str)
def test_with_a_card_forged_to_fit_each_is_refused(one: Damage, kit: Kit, bank: AdapterBank, tmp_path: Path) -> None:
    assert_tells(refused(bank, one.make(kit, tmp_path / "it", "resealed")))
    assert not list(tmp_path.rglob("it-ran"))


@pytest.mark.parametrize("one", DAMAGES, ids=str)
def test_without_a_card_each_is_refused_or_named_as_unchecked(
    one: Damage, kit: Kit, bank: AdapterBank, tmp_path: Path
) -> None:
    folder = one.make(kit, tmp_path / "it", "none")
    assert "not an artifact" in refused(bank, folder, labels=one.labels, require_card=True)
    if not one.unchecked:
        assert_tells(refused(bank, folder, labels=one.labels))
        return
    answers = trials.logits(bank, "sound")
    with pytest.warns(UserWarning, match="no card, so these were not checked") as warned:
        info = bank.load("x", folder, labels=one.labels)
    try:
        assert one.unchecked in str(warned[0].message)
        assert any(one.unchecked in what for what in info["unchecked"])
        assert trials.logits(bank, "sound") == answers
    finally:
        bank.unload("x")


@pytest.mark.parametrize("number", [17, 18, 19, 20, 21, 22, 23])
def test_a_config_that_says_other_than_its_card_is_refused(
    number: int, kit: Kit, bank: AdapterBank, tmp_path: Path
) -> None:
    """The bank reads the settings in the card, PEFT those in the config: one folder would answer in two ways."""
    folder = tmp_path / "it"
    shutil.copytree(kit.sound, folder)
    DAMAGES[number - 1].change(folder, kit)
    reseal(folder)
    refused(bank, folder)


def odd(bank: AdapterBank, folder: Path, *, free: bool, **how: Any) -> str:
    """What is wrong with how a forged folder is met: neither a typed refusal nor, unless `free`, the sound answers."""
    try:
        bank.load("x", folder, **how)
    except UserError:
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:120]
    try:
        same = free or trials.logits(bank, "x") == trials.logits(bank, "sound")
        return "" if same else "accepted, and its answers differ"
    finally:
        bank.unload("x")


def test_a_card_with_odd_values_is_refused_or_changes_nothing(kit: Kit, bank: AdapterBank, tmp_path: Path) -> None:
    wrong, folder = [], tmp_path / "it"
    shutil.copytree(kit.sound, folder)
    sound = (folder / CARD).read_bytes()
    for path in places(card_of(kit)):
        for value in ODD:
            (folder / CARD).write_bytes(sound)
            reseal(folder, lambda card, path=path, value=value: put(card, path, value))
            found = odd(bank, folder, free=path[-1] in ("max_length", "lora_alpha"))
            wrong += [f"{'.'.join(path)} = {value!r:.40}: {found}"] if found else []
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


@pytest.mark.filterwarnings("ignore:.*no card, so these were not checked:UserWarning")
def test_a_config_with_odd_values_is_refused_or_changes_nothing(kit: Kit, bank: AdapterBank, tmp_path: Path) -> None:
    wrong, folder = [], tmp_path / "it"
    shutil.copytree(kit.sound, folder, ignore=shutil.ignore_patterns(CARD, "README.md"))
    sound = json.loads((folder / CONFIG).read_text())
    tried = [(name, value) for name in (*sound, "novel") for value in ODD]
    for name, value in tried[::4]:  # 15 values: of each option every fourth, beginning at another
        (folder / CONFIG).write_text(json.dumps({**sound, name: value}))
        found = odd(bank, folder, free=name in ("lora_alpha", "use_rslora"), labels=LABELS)
        wrong += [f"{name} = {value!r:.40}: {found}"] if found else []
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


def card_of(kit: Kit) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((kit.sound / CARD).read_text())
    return {name: value for name, value in card.items() if name != "digest"}


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths to all entries of a card but those that only list files and tensors one by one."""
    for name, inner in value.items():
        yield (*path, name)
        if isinstance(inner, dict) and name not in ("files", "tensors"):
            yield from places(inner, (*path, name))


def put(card: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        card = card[name]
    card[path[-1]] = value


def test_no_flipped_bit_anywhere_is_accepted(kit: Kit, bank: AdapterBank, tmp_path: Path) -> None:
    before = trials.state(bank)
    assert trials.flip_bits(bank, kit.sound, tmp_path / "it", 300) == []
    assert trials.state(bank) == before


def test_no_cut_of_a_tiny_adapter_is_accepted(kit: Kit, bank: AdapterBank, tmp_path: Path) -> None:
    tiny_one = lora(
        tmp_path / "tiny", bank.base, trials.tiny.tagging(("PER",)), lora_r=1, lora_target_modules=["query"]
    )
    assert (tiny_one / "adapter_model.safetensors").stat().st_size < 4096
    before = trials.state(bank)
    tried, accepted = trials.cut_files(bank, tiny_one, tmp_path / "it", 250)
    assert tried == 250
    assert accepted == []
    assert trials.state(bank) == before


@pytest.mark.parametrize("kind", ["int8", "int64", "bool", "complex64", "float8_e4m3fn", "float64 of 1e300"])
@pytest.mark.parametrize("card", ["resealed", "none"])
def test_tensors_of_a_kind_that_no_adapter_has_are_refused(
    kind: str, card: str, kit: Kit, bank: AdapterBank, tmp_path: Path
) -> None:
    """Each would be turned to float32: whole numbers and parts of complex ones lost, 1e300 become infinite."""
    import torch

    how, _, scale = kind.partition(" of ")
    folder = tmp_path / "it"
    shutil.copytree(kit.sound, folder)
    tensors = {name: tensor.double() * float(scale or 1) for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file({name: tensor.to(getattr(torch, how)) for name, tensor in tensors.items()}, folder / WEIGHTS)
    if card == "resealed":
        reseal(folder)
    else:
        (folder / CARD).unlink()
    refused(bank, folder, labels=LABELS if card == "none" else None)


@pytest.mark.filterwarnings("ignore:.*no card, so these were not checked:UserWarning")
@pytest.mark.parametrize("card", ["kept", "none"])
def test_a_folder_that_changed_while_its_adapter_was_evicted_is_refused(card: str, kit: Kit, tmp_path: Path) -> None:
    """Else one version would give two answers."""
    from adapters.serving.bank.bank import Request

    folder = Path(shutil.copytree(kit.sound, tmp_path / "it"))
    if card == "none":
        (folder / CARD).unlink()
    small = AdapterBank(str(kit.base), capacity=1)
    small.load("it", folder, labels=LABELS if card == "none" else None)
    small.load("sound", kit.sound)
    assert not small.adapters()[0]["resident"]
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(flipped(data, len(data) * 8 - 20))
    (answer,) = small.predict([Request("it", "Ada")])
    assert "error" in answer
