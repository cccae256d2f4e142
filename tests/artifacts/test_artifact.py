"""An artifact is intact and used with its own base, or refused before any tensor of it is used."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file

from adapters.artifacts.artifact import check_base, read_card, tensor_shapes, verify, write
from adapters.core.errors import ArtifactError
from adapters.core.files import as_json, digest_file, digest_value

CARD = {
    "task": {"name": "ner", "labels": ["O", "B-é"]},
    "scores": {"f1": {"value": 0.5, "low": 1e-05, "high": 0.75}, "n": 12},
    "base": {"name": "tiny", "weights_sha256": "a" * 64, "tokenizer_sha256": "b" * 64},
}
STORED = """\
{
 "format": 1,
 "layout": 2,
 "task": {
  "labels": [
   "B-\\u00e9"
  ]
 },
 "base": null,
 "files": {
  "README.md": "016250dad882f424e5160777882dff213a17757f83e229c4e69fcd12c806e928",
  "notes.txt": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
 },
 "tensors": {},
 "digest": "67e8081b7f2898f5f8f6ef0ccd891a8c8d63b81c45c05d1f55e032f07b85c2d5"
}
"""
"""A card as older versions have written it."""
TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.5]), "n": torch.tensor([1, 2])}


def fill(folder: Path) -> None:
    save_file(TENSORS, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"r": 8}')


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    write(folder, fill, CARD, "# An adapter\n")
    return folder


def refused(folder: Path, message: str = "") -> None:
    with pytest.raises(ArtifactError) as raised:
        verify(folder)
    assert message in str(raised.value), raised.value


def resealed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a card and give it the digest that belongs to it, as a forger would."""
    path = folder / "card.json"
    card = json.loads(path.read_text())
    change(card)
    card.pop("digest", None)
    path.write_text(as_json({**card, "digest": digest_value(card)}))


# whole ----------------------------------------------------------------------------------------------------------------


def test_what_was_written_verifies_and_the_card_says_all_of_it(whole: Path) -> None:
    card = verify(whole)
    assert {name: card[name] for name in CARD} == CARD
    assert card["format"] == 1
    files = {"adapter_model.safetensors", "adapter_config.json", "README.md"}
    assert card["files"] == {name: digest_file(whole / name) for name in files}
    assert card["tensors"] == {"adapter_model.safetensors": {"a.weight": [2, 3], "b": [1], "n": [2]}}
    assert card["digest"] == digest_value({name: value for name, value in card.items() if name != "digest"})
    assert {path.name for path in whole.iterdir()} == files | {"card.json"}
    assert read_card(whole) == card


def test_an_artifact_can_be_moved_and_copied(whole: Path, tmp_path: Path) -> None:
    before = verify(whole)
    copy = shutil.copytree(whole, tmp_path / "copy")
    assert verify(copy) == before
    assert str(tmp_path) not in (whole / "card.json").read_text()


def test_files_in_subfolders_belong_to_it(tmp_path: Path) -> None:
    def fill_deep(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.json").write_text("{}")

    write(tmp_path / "x", fill_deep, CARD, "")
    assert verify(tmp_path / "x")["files"].keys() == {"README.md", "sub/a.json"}
    (tmp_path / "x" / "sub" / "a.json").write_text("[]")
    refused(tmp_path / "x", "damaged or modified")


def test_half_precision_tensors_have_shapes_and_are_checked(tmp_path: Path) -> None:
    tensors = {"h": torch.ones(2, dtype=torch.bfloat16), "f": torch.ones(3, dtype=torch.half), "s": torch.tensor(1.0)}
    write(tmp_path / "x", lambda folder: save_file(tensors, folder / "m.safetensors"), CARD, "")
    assert verify(tmp_path / "x")["tensors"] == {"m.safetensors": {"f": [3], "h": [2], "s": []}}
    assert tensor_shapes(tmp_path / "x") == {"m.safetensors": {"f": [3], "h": [2], "s": []}}


def test_a_method_that_fails_to_save_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        write(tmp_path / "x", fail, CARD, "")
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_would_save_a_pickle_is_our_own_mistake(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        write(tmp_path / "x", lambda folder: torch.save({}, folder / "m.bin"), CARD, "")
    assert list(tmp_path.iterdir()) == []


def test_a_card_stays_as_older_versions_wrote_it(tmp_path: Path) -> None:
    body = {"task": {"labels": ["B-é"]}, "base": None}
    write(tmp_path / "one", lambda draft: (draft / "notes.txt").write_text("x"), body, "# An adapter\n")
    assert (tmp_path / "one" / "card.json").read_text() == STORED
    assert verify(tmp_path / "one") == json.loads(STORED)


# damaged --------------------------------------------------------------------------------------------------------------


def test_no_changed_byte_of_the_card_passes(whole: Path) -> None:
    path = whole / "card.json"
    content = path.read_bytes()
    meaning = json.loads(content)
    same = 0
    for at in range(len(content)):
        for flip in (0x01, 0x02, 0x20, 0x80, 0xFF):
            changed = bytearray(content)
            changed[at] ^= flip
            path.write_bytes(bytes(changed))
            try:
                verified = verify(whole)
            except ArtifactError:
                continue
            same += 1
            assert verified == meaning, (at, flip)  # 1e-05 may become 1E-05, and \u00e9 \u00E9
    assert same < 10


def test_no_cut_of_any_file_passes(whole: Path) -> None:
    contents = {path: path.read_bytes() for path in whole.iterdir()}
    assert len(contents) == 4
    for path, content in contents.items():
        last = len(content) - (path.name == "card.json")  # behind the card's last brace stands a line end
        for length in range(last):
            path.write_bytes(content[:length])
            refused(whole)
        path.write_bytes(content)
        verify(whole)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "README.md"])
def test_no_changed_byte_of_a_file_passes(whole: Path, name: str) -> None:
    path = whole / name
    content = path.read_bytes()
    for at in range(0, len(content), 3):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(bytes(changed))
        refused(whole, f"{path}: damaged or modified: expected sha256 {hashlib.sha256(content).hexdigest()}, found ")


def test_a_missing_and_an_extra_file_are_named(whole: Path) -> None:
    (whole / "adapter_config.json").rename(whole / "other.json")
    refused(whole, "files missing: ['adapter_config.json']; files not in the card: ['other.json']")


@pytest.mark.parametrize("name", ["extra.txt", ".hidden", "sub/deep.json", "card.json.bak", "\udcff"])
def test_an_extra_file_is_refused(whole: Path, name: str) -> None:
    (whole / name).parent.mkdir(exist_ok=True)
    (whole / name).write_text("")
    refused(whole, "files missing: none; files not in the card")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "sub/a.pkl", "a.pt", "optimizer.PTH", "x.npy", "x.Pickle"])
def test_a_pickle_is_never_opened(whole: Path, name: str) -> None:
    class Loud:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("a pickle was loaded",))

    (whole / name).parent.mkdir(exist_ok=True)
    (whole / name).write_bytes(pickle.dumps(Loud()))
    refused(whole, "a pickle can run code")
    resealed(whole, lambda card: card["files"].update({name: digest_file(whole / name)}))
    refused(whole, "a pickle can run code")


@pytest.mark.parametrize("name", ["modeling_own.py", "deep/__init__.PY", "own.so"])
def test_an_artifact_with_code_is_refused_though_its_card_lists_it(whole: Path, name: str) -> None:
    (whole / name).parent.mkdir(exist_ok=True)
    (whole / name).write_text("print('it ran')")
    resealed(whole, lambda card: card["files"].update({name: digest_file(whole / name)}))
    refused(whole, "is code, and none is ever run")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_tensor_that_is_not_finite_is_refused(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    tensors = {"fine": torch.ones(2), "b": torch.tensor([0.0, value], dtype=dtype)}
    write(tmp_path / "x", lambda folder: save_file(tensors, folder / "m.safetensors"), CARD, "")
    refused(tmp_path / "x", "m.safetensors: tensor b contains values that are not finite")


def test_a_tensor_in_a_subfolder_is_checked_too(tmp_path: Path) -> None:
    def fill_deep(folder: Path) -> None:
        (folder / "sub").mkdir()
        save_file({"b": torch.tensor([float("nan")])}, folder / "sub" / "m.safetensors")

    write(tmp_path / "x", fill_deep, CARD, "")
    refused(tmp_path / "x", "tensor b contains values that are not finite")


# forged ---------------------------------------------------------------------------------------------------------------


def replace_tensors(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    path = folder / "adapter_model.safetensors"
    save_file(tensors, path)
    resealed(folder, lambda card: card["files"].update({path.name: digest_file(path)}))


@pytest.mark.parametrize(
    "tensors",
    [
        {**TENSORS, "c": torch.ones(1)},
        {name: tensor for name, tensor in TENSORS.items() if name != "b"},
        {**TENSORS, "a.weight": torch.ones(3, 2)},
        {**TENSORS, "b": torch.tensor(1.5)},
    ],
)
def test_other_tensors_than_the_card_says_are_refused(whole: Path, tensors: dict[str, torch.Tensor]) -> None:
    replace_tensors(whole, tensors)
    refused(whole, "tensor names or shapes differ from the card's")


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 64, b"not tensors at all"])
def test_a_weight_file_that_is_none_is_refused(whole: Path, content: bytes) -> None:
    path = whole / "adapter_model.safetensors"
    path.write_bytes(content)
    resealed(whole, lambda card: card["files"].update({path.name: digest_file(path)}))
    refused(whole, "adapter_model.safetensors")


@pytest.mark.parametrize("key", ["files", "tensors"])
@pytest.mark.parametrize("value", [None, [], "x", 3, {"README.md": 3}])
def test_a_card_without_what_it_must_say_is_refused(whole: Path, key: str, value: object) -> None:
    resealed(whole, lambda card: card.pop(key) if value is None else card.update({key: value}))
    refused(whole)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"card"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": 1}',
        b'{"format": 2}',
        b'{"format": 1, "n": NaN, "digest": "x"}',
        b'{"format": 1, "n": 1e999, "digest": "x"}',
        b'{"format": 1, "n": ' + b"9" * 5000 + b"}",
        b'{"format": [1]}',
    ],
)
def test_what_is_no_card_is_refused(whole: Path, content: bytes) -> None:
    (whole / "card.json").write_bytes(content)
    refused(whole, "card.json")


def test_a_card_of_another_format_says_which(whole: Path) -> None:
    resealed(whole, lambda card: card.update(format=2))
    refused(whole, "expected format 1, found 2")


def test_a_card_of_an_older_version_says_so(whole: Path) -> None:
    assert json.loads((whole / "card.json").read_text())["layout"] == 2
    resealed(whole, lambda card: card.pop("layout"))
    refused(whole, "an artifact written by an older version of taskswap (before 0.2). Train it again, or load its PEFT")
    resealed(whole, lambda card: card.update(layout=3))
    refused(whole, "expected layout 2, found 3")


# found elsewhere ------------------------------------------------------------------------------------------------------


def test_what_is_no_artifact_is_refused_with_what_is_there_instead(whole: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no such folder")
    refused(whole / "card.json", "no such folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, "contains no card.json, so it is not an artifact of taskswap")
    (empty / "card.json").mkdir()
    refused(empty, "contains no card.json")


def test_another_base_is_refused_with_the_right_one(whole: Path) -> None:
    recorded = verify(whole)["base"]
    check_base(recorded, tiny.named_base("tiny"))
    check_base(recorded, tiny.named_base("a copy under another name"))
    with pytest.raises(ArtifactError, match=r"trained on tiny \(weights aaaaaaaaaaaa…\), not on tiny \(weights cccccc"):
        check_base(recorded, tiny.named_base("tiny", weights="c" * 64))
    with pytest.raises(ArtifactError, match=r"tiny \(tokenizer bbb.*not on other \(tokenizer ccc.*Use it with tiny"):
        check_base(recorded, tiny.named_base("other", tokenizer="c" * 64))
