"""`taskswap merge`: one adapter into its base, two into one by weights given or chosen on dev."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny

from adapters.artifacts import loading
from adapters.cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def two(tiny_bert: Path, tmp_path: Path) -> list[Path]:
    from adapters.models.base_model import open_base

    base = open_base(str(tiny_bert))
    return [
        tiny.adapter(tmp_path / name, "lora", base, tiny.classifying(("person", "place")), seed=seed, lora_r=2)
        for seed, name in enumerate(("one", "other"))
    ]


def test_one_adapter_is_merged_and_answers(two: list[Path], tiny_bert: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "merged"
    assert main(["merge", str(two[0]), "--output_dir", str(out), "--base", str(tiny_bert)]) == 0
    assert "taskswap inspect" in capsys.readouterr().out
    alone, merged = loading.load(two[0], base=str(tiny_bert)), loading.load(out)
    texts = ["Rome", "Ada Lovelace"]
    for before, after in zip(alone.answer(texts), merged.answer(texts), strict=True):
        assert after["output"]["label"] == before["output"]["label"]
        assert after["output"]["score"] == pytest.approx(before["output"]["score"], abs=2e-4)


@pytest.mark.parametrize("weights", [[], ["--weights", "0.5", "0.5"]])
def test_an_output_folder_that_cannot_be_made_is_refused(
    two: list[Path], tiny_bert: Path, tmp_path: Path, capsys, weights: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    words = ["merge", *map(str, two if weights else two[:1]), *weights, "--base", str(tiny_bert)]
    assert main([*words, "--output_dir", str(tmp_path / "file" / "x")]) == 2
    assert f"{tmp_path}/file is a file. Name a folder." in capsys.readouterr().err


def test_weights_are_chosen_on_dev_and_recorded(two: list[Path], tiny_bert: Path, tmp_path: Path, capsys) -> None:
    dev = tmp_path / "dev.csv"
    dev.write_text("text,label\nAda,person\nRome,place\nParis,place\nAlan,person\n")
    out = tmp_path / "both"
    words = ["merge", *map(str, two), "--output_dir", str(out), "--base", str(tiny_bert), "--validation_file", str(dev)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert shown.count("dev Accuracy") == 5
    assert shown.count("<- best") == 1
    card = json.loads((out / "card.json").read_text())
    assert card["combined"]["chosen_on"]["n"] == 4
    assert len(card["combined"]["chosen_on"]["tried"]) == 5
    assert "scores" not in card
    assert main(["inspect", str(out), "--base", str(tiny_bert)]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--weights", "1", "2", "3"], "weights"),
        (["--merge_method", "slerp"], "slerp"),
        (["--weights", "1", "1", "--validation_file", "x.csv"], "not both"),
        (["--density", "2"], "density"),
    ],
)
def test_what_cannot_be_combined_is_said(
    flags: list[str], message: str, two: list[Path], tiny_bert: Path, tmp_path: Path, capsys
) -> None:
    words = ["merge", *map(str, two), "--output_dir", str(tmp_path / "out"), "--base", str(tiny_bert)]
    assert main([*words, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [["--weights", "1"], ["--density", "0.5"], ["--validation_file", "x.csv"]])
def test_what_only_several_adapters_take_is_refused_with_one(
    flags: list[str], two: list[Path], tiny_bert: Path, tmp_path: Path, capsys
) -> None:
    words = ["merge", str(two[0]), "--output_dir", str(tmp_path / "out"), "--base", str(tiny_bert)]
    assert main([*words, *flags]) == 2
    assert "only for combining several adapters; one was given" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
