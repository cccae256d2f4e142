"""SetFit: what it learns, that its classifier is scikit-learn's, and that a run of it can be kept and continued."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import tiny
import torch
from conftest import FIRST, PLACES
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from adapters.artifacts import artifact, loading
from adapters.cli.main import main
from adapters.core.errors import ArtifactError, DataError, ModelError, SettingsError
from adapters.core.search_space import drawn
from adapters.methods.setfit import Method, fitted_head
from adapters.models.base_model import open_base
from adapters.serving.bank.bank import AdapterBank
from adapters.tasks.base.example import Example
from adapters.tasks.base.predictor import ModelPredictor

pytestmark = pytest.mark.usefixtures("one_thread")
LEARNING = ["--num_iterations", "4", "--learning_rate", "0.003", "--num_train_epochs", "2"]


# The classifier


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_classifier_is_scikit_learns(classes, balanced):
    draw = np.random.default_rng(classes)
    x, names = draw.normal(size=(60, 8)).astype(np.float32), [f"c{number}" for number in range(classes)]
    labels = [names[int(number)] for number in (draw.random(60) ** 2 * classes)]
    weight, bias = fitted_head(x, [[one] for one in labels], names, one_vs_rest=False, balanced=balanced, C=0.5)
    theirs = LogisticRegression(C=0.5, max_iter=1000, class_weight="balanced" if balanced else None)
    theirs.fit(x.astype(np.float64), labels)
    ours = torch.softmax(torch.from_numpy(x @ weight.T + bias), 1).numpy()
    assert list(theirs.classes_) == names
    assert np.allclose(ours, theirs.predict_proba(x), atol=1e-5)


def test_several_labels_are_scikit_learns_one_versus_rest():
    draw = np.random.default_rng(0)
    x, names = draw.normal(size=(50, 6)).astype(np.float32), ["a", "b", "always", "never"]
    present = np.column_stack([draw.random((50, 2)) < [0.3, 0.6], np.ones(50), np.zeros(50)]).astype(int)
    labels = [[name for name, there in zip(names, row, strict=True) if there] for row in present]
    weight, bias = fitted_head(x, labels, names, one_vs_rest=True, balanced=False, C=1.0)
    with pytest.warns(UserWarning, match="is present in all training examples"):
        theirs = OneVsRestClassifier(LogisticRegression(max_iter=1000)).fit(x.astype(np.float64), present)
    ours = torch.sigmoid(torch.from_numpy(x @ weight.T + bias)).numpy()
    assert np.allclose(ours, theirs.predict_proba(x), atol=1e-5)


def test_a_class_without_an_example_is_never_predicted():
    x = np.eye(4, dtype=np.float32)
    weight, bias = fitted_head(x, [["a"], ["c"], ["a"], ["c"]], "abc", one_vs_rest=False, balanced=False, C=100.0)
    assert (x @ weight.T + bias).argmax(1).tolist() == [0, 2, 0, 2]
    assert torch.softmax(torch.from_numpy(x @ weight.T + bias), 1)[:, 1].max() == 0


# Runs


def write_texts(path: Path, number: int) -> Path:
    """Texts of two words about people and places, as many of either."""
    draw = random.Random(path.name)
    kinds = [("person", FIRST), ("place", PLACES)]
    rows = [(*draw.sample(words, 2), label) for label, words in (kinds[n % 2] for n in range(number))]
    path.write_text("text,label\n" + "".join(f"{one} {other},{label}\n" for one, other, label in rows))
    return path


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for name, size in (("train", 16), ("dev", 12), ("test", 30)):
        write_texts(folder / f"{name}.csv", size)
    return folder


Run = Callable[..., int]


@pytest.fixture(scope="module")
def run_into(texts: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[int, Path]]:
    """`run_into(flags)`: a run's exit code and its folder."""
    from conftest import forget_accelerate

    root = tmp_path_factory.mktemp("runs")

    def by(*flags: str, base: Path = tiny_bert, data: Path = texts, task: str = "classification") -> tuple[int, Path]:
        forget_accelerate()
        folder = root / str(len([*root.iterdir()]))
        folder.mkdir()
        given = ["--model_name_or_path", str(base), "--dataset_name", str(data), "--mixed_precision", "no"]
        code = main(
            ["train", "--task", task, "--method", "setfit", *given, "--output_dir", str(folder / "run"), *flags]
        )
        return code, folder / "run"

    return by


@pytest.fixture(scope="module")
def trained(run_into: Any) -> Path:
    """A run with a checkpoint after each of its first steps."""
    code, folder = run_into(*LEARNING, "--checkpointing_steps", "3", "--save_total_limit", "99")
    assert code == 0
    return folder


def test_a_run_learns_what_can_be_told_apart(trained: Path):
    record = json.loads((trained / "scores.json").read_text())
    assert record["quality"]["accuracy"]["accuracy"]["value"] > 0.9
    first, last = record["training"]["dev_scores"]
    assert last["loss"] < 0.5 * first["loss"]
    assert record["training"]["steps"] == 2 * 16 * 2 * 4 / 16


def test_an_artifact_answers_as_the_run_did_without_its_base(trained: Path, capsys: pytest.CaptureFixture[str]):
    lines = [json.loads(line) for line in (trained / "predictions.jsonl").read_text().splitlines()]
    loaded = loading.load(trained / "artifact")
    answers = loaded.answer([line["inputs"] for line in lines])
    assert [answer["output"]["label"] for answer in answers] == [line["prediction"] for line in lines]
    assert main(["predict", str(trained / "artifact"), lines[0]["inputs"]["text"]]) == 0
    assert lines[0]["prediction"] in capsys.readouterr().out
    assert main(["inspect", str(trained / "artifact")]) == 0
    assert "setfit" in capsys.readouterr().out


def test_the_kept_classifier_is_scikit_learns_on_the_kept_encoder(trained: Path, texts: Path):
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    lines = [line.split(",") for line in (texts / "train.csv").read_text().splitlines()[1:]]
    tokenizer = AutoTokenizer.from_pretrained(trained / "artifact")
    body = AutoModel.from_pretrained(trained / "artifact").eval()
    with torch.inference_mode():
        states = [body(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text, _ in lines]
    x = torch.nn.functional.normalize(torch.stack([state.mean(0) for state in states])).double().numpy()
    theirs = LogisticRegression(max_iter=1000).fit(x, [label for _, label in lines])
    head = load_file(trained / "artifact" / "head.safetensors")
    assert np.allclose(head["weight"][1] - head["weight"][0], theirs.coef_[0], atol=1e-3)
    assert float(head["bias"][1] - head["bias"][0]) == pytest.approx(float(theirs.intercept_[0]), abs=1e-3)


def test_a_loaded_model_answers_as_the_saved_one_to_the_last_bit(tiny_bert: Path, texts: Path, tmp_path: Path):
    from adapters.data.dataset_files import open_splits
    from adapters.tasks.classification import Settings, Task

    task, splits = Task.read(open_splits(folder=texts), Settings())
    base, method = open_base(str(tiny_bert)), tiny.method("setfit")
    model = method.wrap(base, task, ())
    predictor = method.predictor(model, base, task)
    assert isinstance(predictor, ModelPredictor)
    method.before_scoring(predictor, splits["train"])
    method.save(model, base, tmp_path)
    loaded = method.predictor(method.load(base, task, tmp_path), base, task)
    ours, theirs = (one.predict(splits["test"][:]) for one in (predictor, loaded))
    assert [(p.value, p.detail.tolist()) for p in ours] == [(p.value, p.detail.tolist()) for p in theirs]
    assert len({p.value for p in ours}) == 2


def test_a_run_goes_on_from_any_step_as_if_it_had_not_been_stopped(trained: Path, run_into: Any):
    checkpoints = sorted(path for path in (trained / "checkpoints").iterdir() if path.name.startswith("step-"))
    assert len(checkpoints) >= 4
    for path in checkpoints[::2]:
        code, again = run_into(*LEARNING, "--resume_from_checkpoint", str(path))
        assert code == 0
        for name in ("artifact/model.safetensors", "artifact/head.safetensors", "predictions.jsonl"):
            assert (again / name).read_bytes() == (trained / name).read_bytes(), (path.name, name)


def test_a_seed_draws_the_pairs(texts: Path):
    from adapters.data.dataset_files import open_splits
    from adapters.tasks.classification import Settings, Task

    task, splits = Task.read(open_splits(folder=texts), Settings())
    drawn_by = [tiny.method("setfit", seed=seed).training_data(task, splits["train"])[1] for seed in (0, 0, 1)]
    ids = [[pair.id for pair in pairs] for pairs in drawn_by]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 16 * 2 * 20


def test_pairs_of_texts_and_several_labels_are_learnt_in_bf16_too(run_into: Any, tmp_path: Path):
    draw = random.Random(0)
    rows = []
    for _ in range(24):
        one, other = draw.choice(FIRST), draw.choice(PLACES)
        labels = [name for name in ("person", "place") if draw.random() < 0.6]
        words = {"person": one, "place": other}
        rows.append({"text": " ".join(words[name] for name in labels) or "notes", "label": labels})
    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, folder = run_into(*LEARNING, "--multi_label", "--mixed_precision", "bf16", data=tmp_path / "several")
    assert code == 0
    loaded = loading.load(folder / "artifact")
    assert set(loaded("Ada")["labels"]) <= {"person", "place"}


def test_a_dry_run_writes_nothing(run_into: Any, capsys: pytest.CaptureFixture[str]):
    code, folder = run_into(*LEARNING, "--dry_run")
    assert code == 0 and not folder.exists()
    assert "steps    16, with 2 dev scores" in capsys.readouterr().out


FEW = (*LEARNING, "--dropout", "0", "--learning_rate", "0.001")


@pytest.fixture(scope="module")
def one(run_into: Any) -> Path:
    """The run of one process that those of two are compared with."""
    code, folder = run_into(*FEW, "--per_device_train_batch_size", "8")
    assert code == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_learn_and_answer_what_one_does(sharded, one, texts, tiny_bert, tmp_path):
    from adapters.cli import launch

    given = ["--model_name_or_path", tiny_bert, "--dataset_name", texts, "--mixed_precision", "no"]
    words = ["recipes/setfit_classification.py", *given, *FEW, "--per_device_train_batch_size", 4]
    config = launch._fsdp_variables(launch._read("accelerate_configs/fsdp2.yaml")) if sharded else {}
    forked.launched(2, [*words, "--output_dir", tmp_path / "two"], tmp_path / "logs", **config)
    first, second = (json.loads((folder / "scores.json").read_text()) for folder in (one, tmp_path / "two"))
    assert (first["processes"], second["processes"]) == (1, 2)
    for alone, shared in zip(first["training"]["dev_scores"], second["training"]["dev_scores"], strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], abs=1e-4)
        assert shared["score"] == pytest.approx(alone["score"], abs=1e-9)
    assert (one / "predictions.jsonl").read_text() == (tmp_path / "two" / "predictions.jsonl").read_text()
    loaded = loading.load(tmp_path / "two" / "artifact")
    lines = [json.loads(line) for line in (tmp_path / "two" / "predictions.jsonl").read_text().splitlines()]
    assert [loaded(line["inputs"])["label"] for line in lines] == [line["prediction"] for line in lines]


# What is refused


def test_other_tasks_and_bases_are_refused_with_what_works(tiny_bert: Path, tmp_path: Path):
    base, method = open_base(str(tiny_bert)), tiny.method("setfit")
    with pytest.raises(ModelError, match="setfit classifies texts, and an answer of ner is no label"):
        method.check(base, tiny.tagging())
    for kind in ("llama", "t5"):
        with pytest.raises(ModelError, match="the method setfit works with encoder"):
            method.check(open_base(str(tiny.BUILDERS[kind](tmp_path / kind))), tiny.classifying())


def test_a_bank_answers_with_it_alone(trained: Path, tiny_bert: Path):
    bank = AdapterBank(str(tiny_bert))
    assert not bank.load("few", trained / "artifact")["mixed"]
    (answer,) = bank.predict([{"adapter": "few", "inputs": "a good one"}])
    assert answer["output"] == loading.load(trained / "artifact", base=str(tiny_bert))("a good one")


def test_a_changed_classifier_is_refused(trained: Path, tmp_path: Path):
    import shutil

    shutil.copytree(trained / "artifact", tmp_path / "changed")
    path = tmp_path / "changed" / "head.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError):
        artifact.verify(tmp_path / "changed")


def test_examples_of_one_label_are_refused():
    from datasets import Dataset

    from adapters.tasks.base.example import Examples

    class Rows:
        @staticmethod
        def from_row(row: Any) -> Example:
            return Example(id=row["id"], inputs={"text": "a"}, gold="good")

    train = Examples("train", Dataset.from_dict({"id": ["0", "1"]}), Rows, {})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="texts that share no label, and of these 2 examples there are none"):
        tiny.method("setfit").training_data(tiny.classifying(), train)


@pytest.mark.parametrize(
    ("flag", "value", "needed"),
    [("num_iterations", 0, "at least 1"), ("max_pairs", 1, "at least 2"), ("C", 0.0, "a finite number above 0")],
)
def test_a_setting_that_cannot_work_is_refused(flag, value, needed):
    with pytest.raises(SettingsError, match=f"--{flag} {value}: must be {needed}"):
        tiny.method("setfit", **{flag: value})


def test_every_setting_that_a_search_draws_can_be_used():
    for changes in drawn(Method.search_space("classification"), 0, 20):
        assert tiny.method("setfit", **changes).settings.num_iterations >= 5
