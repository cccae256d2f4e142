"""The recipes for regression, run whole on tiny models: what they leave, and that it can be used, here and by PEFT."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import FILLERS, FIRST, call_recipe
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import root_mean_squared_error

from adapters.artifacts import loading
from adapters.cli.main import main
from adapters.core import discovery
from adapters.methods.base.method import load_method

RunRecipe = Callable[..., int]
RATES = {"full": "0.003", "lora": "0.015", "prefix": "0.1"}
TRAINING = [
    name
    for name in discovery.names("methods")
    if load_method(name).trains and load_method(name).needs_base and name != "setfit"
]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def write_pairs(path: Path, number: int, *, decimals: int = 1) -> Path:
    """STS-B's columns: two texts, and from 0 to 5 how many names of the first are in the second."""
    draw = random.Random(path.name)
    lines = ["genre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"]
    for i in range(number):
        names = draw.sample(FIRST, 5)
        same = draw.randint(0, 5)
        others = [name for name in FIRST if name not in names]
        second = [*names[:same], *draw.choices(others, k=5 - same)]
        score = f"{same:.{decimals}f}"
        lines.append(f"made\tMSRvid\t2012\t{i}\tnone\tnone\t{' '.join(names)}\t{' '.join(second)}\t{score}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for name, size in (("train", 160), ("dev", 40), ("test", 60)):
        write_pairs(folder / f"{name}.tsv", size)
    return folder


@pytest.mark.parametrize("method", sorted(RATES))
def test_a_training_recipe_leaves_a_run_whose_artifact_answers(
    method: str, pairs: Path, run_recipe: RunRecipe, tiny_bert: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    flags = ["--dataset_name", str(pairs), "--learning_rate", RATES[method], "--num_train_epochs", "8",
             "--per_device_train_batch_size", "8"]  # fmt: skip
    assert run_recipe(f"{method}_regression", *flags) == 0
    shown = capsys.readouterr()
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    assert "text <- sentence1, text_pair <- sentence2, label <- score; not read: genre, filename, year" in shown.err
    assert "train: 160 numbers from 0 to 5" in shown.err
    folder = tmp_path / "run"
    record = json.loads((folder / "scores.json").read_text())
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    gold, found = [line["gold"] for line in lines], [line["prediction"] for line in lines]
    scores = {name: quality for part in record["quality"].values() for name, quality in part.items()}
    assert scores["pearson"]["value"] == pytest.approx(pearsonr(gold, found)[0])
    assert scores["spearman"]["value"] == pytest.approx(spearmanr(gold, found)[0])
    assert scores["rmse"]["value"] == pytest.approx(root_mean_squared_error(gold, found))
    assert all(score["low"] <= score["value"] <= score["high"] for score in scores.values())
    assert record["main"]["metric"] == "pearson"
    report = (folder / "report.txt").read_text()
    assert "test Pearson correlation:" in report and "spearman" in report and "lower is better" in report
    card = json.loads((folder / "artifact" / "card.json").read_text())
    known = card["task"]["label_range"]
    train = [float(line.rsplit("\t", 1)[1]) for line in (pairs / "train.tsv").read_text().splitlines()[1:]]
    assert known == {
        "minimum": 0.0, "maximum": 5.0, "mean": pytest.approx(np.mean(train)), "sd": pytest.approx(np.std(train)),
    }  # fmt: skip
    loaded = loading.load(folder / "artifact", base=None if method == "full" else str(tiny_bert))
    answers = loaded.answer([line["inputs"] for line in lines])
    assert [answer["output"]["value"] for answer in answers] == pytest.approx(found, rel=1e-5)
    assert "error" in loaded.answer([lines[0]["inputs"]["text"]])[0], "a pair lacks its second text"
    assert main(["inspect", str(folder / "artifact")]) == 0
    assert "numbers of train: from 0 to 5, mean" in capsys.readouterr().out


@pytest.mark.parametrize("base", ["bert", "gpt2"])
def test_stock_peft_gives_the_number_by_the_line_of_the_model_card(
    base: str, run_recipe: RunRecipe, tiny_bert: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tiny_bert if base == "bert" else tiny.gpt2(tmp_path / "gpt2")
    rows = [
        f"{name} lived in the old town {filler},{10 * n + 200}" for n, name in enumerate(FIRST) for filler in FILLERS
    ]
    (tmp_path / "train.csv").write_text("\n".join(["text,stars", *rows]) + "\n")
    flags = [
        "--train_file",
        str(tmp_path / "train.csv"),
        "--model_name_or_path",
        str(folder),
        "--max_train_steps",
        "10",
    ]
    assert run_recipe("lora_regression", *flags) == 0
    artifact = tmp_path / "run" / "artifact"
    (line,) = re.findall(r"^value = .*$", (artifact / "README.md").read_text(), re.MULTILINE)
    stock = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model = PeftModel.from_pretrained(stock, artifact).eval()
    loaded = loading.load(artifact, base=str(folder), device="cpu")
    for text in ("Ada lived in the old town", "Kurt Bohr wrote notes"):
        inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
        scope: dict[str, Any] = {"model": model, "inputs": inputs}
        with torch.inference_mode():
            exec(line, scope)
        assert float(scope["value"]) == pytest.approx(loaded(text)["value"], rel=1e-5)
        assert 100 < loaded(text)["value"] < 400, "the unit of the data"


@pytest.mark.parametrize("method", TRAINING)
def test_every_method_that_trains_trains_it(method: str, pairs: Path, tiny_bert: Path, tmp_path: Path) -> None:
    flags = ["--dataset_name", str(pairs), "--model_name_or_path", str(tiny_bert), "--mixed_precision", "no"]
    flags += ["--max_train_steps", "2", "--output_dir", str(tmp_path / "run"), "--method", method]
    flags += ["--peft_type", "VERA"] if method == "peft" else []
    assert main(["train", "--task", "regression", *flags]) == 0
    loaded = loading.load(tmp_path / "run" / "artifact", base=str(tiny_bert))
    answer = loaded({"text": "Ada Grace", "text_pair": "Ada"})
    assert -5 < answer["value"] < 10


def test_a_comparison_tests_pearsons_correlation_and_shows_the_numbers_that_differ_most(
    pairs: Path, tiny_bert: Path, tmp_path: Path, runs_in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "compared"
    flags = ["--dataset_name", str(pairs), "--model_name_or_path", str(tiny_bert), "--mixed_precision", "no",
             "--methods", "head,full", "--seeds", "2", "--learning_rate", "0.003", "--num_train_epochs", "6",
             "--output_dir", str(out)]  # fmt: skip
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "compare_regression.py"
    assert call_recipe(recipe, flags) == 0
    shown = " ".join(capsys.readouterr().out.split())
    kept = json.loads((out / "comparison.json").read_text())
    assert (kept["metric"], kept["title"]) == ("pearson", "Pearson correlation")
    lines = {
        folder.name: [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        for folder in (out / "runs").iterdir()
        if folder.is_dir()
    }
    for row in kept["rows"]:
        assert row["low"] <= row["value"] <= row["high"]
        for run, value in zip(row["runs"], row["values"], strict=True):
            own = lines[Path(run).name]
            expected = pearsonr([one["gold"] for one in own], [one["prediction"] for one in own])[0]
            assert value == pytest.approx(expected)
        assert row["by_label"] == {}
    head, full = kept["rows"]
    (test,) = kept["tests"]
    assert test["difference"] == pytest.approx(head["value"] - full["value"])
    best = max((head, full), key=lambda row: row["value"])
    assert f"On tiny-bert, {best['method']} ({100 * best['value']:.1f}) scores highest" in shown
    page = (out / "comparison.html").read_text()
    assert "Pearson correlation" in page and "by label" not in page
    first = page.split('class="example"')[1]
    gold, *answers = map(float, re.findall(r"<td>(-?[\d.]+)</td>", first))
    assert 0 <= gold <= 5 and len(answers) == 2
    assert len(re.search(r"<td>(-?[\d.]+)</td></tr></table>", first)[1]) <= 7, "four digits are enough"  # type: ignore[index]


@pytest.mark.parametrize(
    ("second", "flags", "message"),
    [
        ("2", ["--text_column_name", "mark", "--label_column_name", "text"], r"column 'text' must be a number, found"),
        ("2", [], r"no column of numbers with a usual name .* Name it with --label_column_name"),
        ("x", ["--label_column_name", "mark"], r"train.csv:3.*column 'mark' must be a number, found 'x'"),
        ("1", ["--label_column_name", "mark"], r"every number in column 'mark' is 1, and there is nothing to learn"),
        ("2", ["--label_column_name", "mark", "--metrics", "accuracy"],
         r"--metrics accuracy: compares label; regression answers with number"),
        ("2", ["--label_column_name", "mark", "--model_name_or_path", "T5"], r"of the kind encoder-decoder"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(
    second: str, flags: list[str], message: str, run_recipe: RunRecipe, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rows = [f"film {n},{second if n % 2 else 1}" for n in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["text,mark", *rows]) + "\n")
    flags = [str(tiny.t5(tmp_path / "t5")) if flag == "T5" else flag for flag in flags]
    assert run_recipe("lora_regression", "--train_file", str(tmp_path / "train.csv"), *flags) == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "run").exists()


def test_without_data_a_recipe_says_what_it_needs(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "lora_regression.py"
    assert call_recipe(recipe, ["--model_name_or_path", str(tiny_bert), "--output_dir", str(tmp_path / "run")]) == 2
    assert "--train_file" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["few_shot", "zero_shot"])
def test_a_number_is_not_prompted(method: str, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tiny.gpt2(tmp_path / "gpt2")
    flags = ["--dataset_name", str(pairs), "--model_name_or_path", str(base), "--output_dir", str(tmp_path / "run")]
    assert main(["train", "--task", "regression", "--method", method, *flags]) == 2
    assert "The task regression cannot be prompted; train a method for it" in capsys.readouterr().err
