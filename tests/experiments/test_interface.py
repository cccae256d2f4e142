"""The Python interface: data in every form, the recipes' defaults and messages, and exceptions that end nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import FIRST, LAST, PLACES

import adapters
from adapters.core.errors import ComparisonError, DataError, SettingsError
from adapters.experiments.python_errors import reworded

ROWS = [
    {"tokens": [first, last, "lived", "in", place, "."], "ner_tags": ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]}
    for first in FIRST
    for last, place in zip(LAST, [*PLACES[:5], "Oslo", "Rome"], strict=True)
]


def short(tiny_bert: Path, folder: Path, **more: Any) -> dict[str, Any]:
    return {"model": str(tiny_bert), "output_dir": folder, "max_train_steps": 2, "mixed_precision": "no", **more}


@pytest.fixture(scope="module")
def result(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> adapters.RunResult:
    folder = tmp_path_factory.mktemp("interface") / "run"
    made = adapters.train(task="ner", method="lora", train=ROWS[:40], test=ROWS[40:], **short(tiny_bert, folder))
    assert made is not None
    return made


def test_a_list_of_dicts_is_trained_on_and_the_result_is_all_on_disk(result):
    assert result.record["dataset"]["sizes"]["test"] == len(ROWS) - 40
    assert 0 <= result.score <= 1 and result.scores["entity_f1"]["f1"]["value"] == result.score
    assert len(result.predictions) == len(ROWS) - 40
    assert result.curve is not None and result.curve.startswith("<svg")
    assert adapters.RunResult.read(result.folder) == result
    assert "lora for ner" in repr(result)
    shown = result._repr_html_()
    assert shown.count("<table>") == 3 and "<svg" in shown and "Entities" in shown


def test_what_was_trained_is_loaded_and_called_with_a_text_or_a_list(result, tiny_bert):
    ner = adapters.load(result.artifact, base=str(tiny_bert))
    one = ner("Ada Lovelace lived in London .")
    assert set(one) == {"text", "entities", "tokens", "tags"}
    assert ner(["Ada Lovelace lived in London .", {"tokens": ["Ada"]}])[0] == one
    assert adapters.load(result, base=str(tiny_bert))("Ada") == ner("Ada")
    with pytest.raises(DataError, match="input 1: ner takes"):
        ner(["Ada", {"nothing": 1}])
    bank = adapters.AdapterBank(str(tiny_bert))
    bank.load("ner", result.artifact)
    (answer,) = bank.predict([adapters.Request("ner", "Ada Lovelace lived in London .")])
    assert answer["output"]["tags"] == one["tags"]


def test_frames_and_datasets_are_read_as_lists_are(tiny_bert, tmp_path, result, capsys):
    import datasets
    import pandas

    frame = pandas.DataFrame(ROWS[:40])
    dataset = datasets.Dataset.from_list(ROWS[40:])
    made = adapters.train(task="ner", method="lora", train=frame, test=dataset, **short(tiny_bert, tmp_path / "frame"))
    assert made is not None and made.score == result.score
    rest = datasets.Dataset.from_list(ROWS[:1])
    splits = datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS[:40]), test=dataset, spare=rest)
    again = adapters.train(task="ner", method="lora", data=splits, **short(tiny_bert, tmp_path / "splits"))
    assert "not used of the DatasetDict: spare" in capsys.readouterr().err
    assert again is not None and [line["prediction"] for line in again.predictions] == [
        line["prediction"] for line in made.predictions
    ]


def test_the_splits_of_a_dataset_dict_have_their_usual_names(tmp_path, capsys):
    import datasets

    reviews = [{"text": f"{'good' if n % 2 else 'bad'} film {n}", "label": str(n % 2)} for n in range(20)]
    named = {name: datasets.Dataset.from_list(reviews) for name in ("train", "dev", "test")}
    made = datasets.DatasetDict(named)
    run = adapters.train(task="classification", method="tfidf", data=made, output_dir=tmp_path / "out")
    assert run is not None and run.record["dataset"]["n"] == 20
    assert (tmp_path / "out" / "data" / "validation.jsonl").is_file()
    both = datasets.DatasetDict({**named, "validation": datasets.Dataset.from_list(reviews[:9])})
    again = adapters.train(task="classification", method="tfidf", data=both, output_dir=tmp_path / "both")
    assert again is not None and "not used of the DatasetDict: dev" in capsys.readouterr().err
    assert len((tmp_path / "both" / "data" / "validation.jsonl").read_text().splitlines()) == 9


def test_runs_of_one_process_have_each_their_own_precision(tiny_bert, tmp_path):
    """As in a notebook: Accelerate keeps the precision of its first run."""
    reviews = [{"text": f"{'good' if n % 2 else 'bad'} film {n}", "label": str(n % 2)} for n in range(30)]
    flags = short(tiny_bert, tmp_path / "bf16", mixed_precision="bf16")
    first = adapters.train(task="classification", method="lora", train=reviews, **flags)
    second = adapters.train(task="classification", method="tfidf", train=reviews, output_dir=tmp_path / "tfidf")
    third = adapters.train(task="classification", method="lora", train=reviews, **short(tiny_bert, tmp_path / "no"))
    assert [run and run.record["precision"] for run in (first, second, third)] == ["bf16", "no", "no"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="a system without /proc")
def test_the_peak_of_a_run_is_not_that_of_what_came_before(tmp_path):
    import torch

    from adapters.core.memory import peak_bytes

    held = bytearray(b"x") * (500 * 2**20)
    before = peak_bytes(torch.device("cpu"))
    del held
    rows = [{"text": f"a {n}", "label": "xy"[n % 2]} for n in range(20)]
    made = adapters.train(task="classification", method="majority", train=rows, output_dir=tmp_path / "run")
    assert made.record["cost"]["peak_memory_bytes"] < before - 400 * 2**20


def test_the_environment_of_accelerate_divides_no_gradients(tmp_path, tiny_bert, result, monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    whole = short(tiny_bert, tmp_path / "run", task="ner", method="lora", train=ROWS[:40], test=ROWS[40:])
    weights = Path("artifact") / "adapter_model.safetensors"
    assert (adapters.train(**whole).folder / weights).read_bytes() == (result.folder / weights).read_bytes()


def test_class_numbers_become_their_names(tiny_bert, tmp_path):
    import datasets

    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"]))
    rows = {"text": [f"{name} wrote notes" for name in FIRST * 3], "label": [0, 1] * 12}
    data = datasets.Dataset.from_dict(rows, features=features)
    made = adapters.train(task="classification", method="head", train=data, **short(tiny_bert, tmp_path / "classes"))
    assert made is not None and made.record["labels"] == ["bad", "good"]
    assert made.record["dataset"]["split"] == "dev"
    assert "so they are too high" in " ".join((made.folder / "report.txt").read_text().split())
    assert "so their scores are too high" in (made.artifact / "README.md").read_text()


def test_a_new_folder_is_taken_and_said_where_none_is_given(tiny_bert, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "head_ner").mkdir(parents=True)
    (tmp_path / "runs" / "head_ner" / "notes.txt").write_text("mine")
    made = adapters.train(
        task="ner", method="head", train=ROWS[:40], model=str(tiny_bert), max_train_steps=2, mixed_precision="no"
    )
    assert made is not None and made.folder == Path("runs/head_ner-2")
    assert "output_dir: runs/head_ner-2" in capsys.readouterr().err


def test_a_dry_run_ends_nothing(tiny_bert, tmp_path, capsys):
    folder = tmp_path / "dry"
    given = short(tiny_bert, folder, dry_run=True)
    assert adapters.train(task="ner", method="lora", train=ROWS[:40], **given) is None
    assert "dry run: nothing is written" in capsys.readouterr().out
    assert not folder.exists()
    with pytest.raises(DataError, match=r"^train: row 2: must be a dict of columns, found str"):
        adapters.train(task="ner", method="lora", train=[ROWS[0], "a text"], **given)
    with pytest.raises(DataError, match=r"^train: 1 fault:\n  train: row 17: column 'ner_tags'"):
        adapters.train(task="ner", method="lora", train=[*ROWS[:16], {"tokens": ["Ada"]}, *ROWS[17:]], **given)


@pytest.mark.parametrize("more", [{}, {"dry_run": True}, {"learning_rat": 1}, {"resume_from_checkpoint": "latest"}])
def test_the_rows_of_a_finished_run_stay_where_a_call_is_refused_or_dry(result, tiny_bert, more):
    kept = {path: path.read_bytes() for path in sorted(result.folder.rglob("*")) if path.is_file()}
    assert result.folder / "data" / "train.jsonl" in kept
    whole = short(tiny_bert, result.folder, task="ner", method="lora", train=ROWS[:16], test=ROWS[16:20], **more)
    if more.get("dry_run"):
        assert adapters.train(**whole) is None
    else:
        with pytest.raises(SettingsError):
            adapters.train(**whole)
    with pytest.raises(SettingsError, match="holds files of others"):
        adapters.evaluate(result, test=ROWS[16:20], output_dir=result.folder, base=str(tiny_bert))
    with pytest.raises(SettingsError, match="holds files other than a comparison's"):
        adapters.compare(task="ner", methods="majority", train=ROWS[:16], output_dir=result.folder)
    assert {path: path.read_bytes() for path in sorted(result.folder.rglob("*")) if path.is_file()} == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"task": "nre"}, r"No task is called 'nre': did you mean 'ner'"),
        ({"task": "nre", "method": None}, r"No task is called 'nre': did you mean 'ner'"),
        ({"task": None, "method": None}, r"task: is missing. Choose from classification, ner"),
        ({"task": ["ner"]}, r"task: must be one name, as a text; found \['ner'\]. Choose from classification, ner"),
        ({"method": "lorra"}, r"No method is called 'lorra': did you mean 'lora'"),
        ({"method": None}, r"method: is missing. Choose from bitfit"),
        ({"method": ["lora"]}, r"method: must be one name, as a text; found \['lora'\]"),
        ({"metrics": "entity_f2"}, r"No metric is called 'entity_f2'"),
        ({"metrics": (name for name in ["entity_f2"])}, r"No metric is called 'entity_f2'"),
        ({"plugin_dir": "nowhere"}, r"plugin_dir nowhere: no such folder"),
        ({"learning_rat": 1}, "learning_rat: .*did you mean 'learning_rate'"),
        ({"train": (row for row in ROWS)}, r"train: a generator is exhausted after one reading.*Pass a list"),
        ({"train": []}, "train: contains no row"),
        ({"train": 7}, "train: must be a path, a list of dicts, a pandas DataFrame or a datasets.Dataset, found int"),
        ({"train": [*ROWS[:16], {"tokens": ["Ada"]}, *ROWS[17:]]}, "train: row 17: column 'ner_tags'"),
        ({"train": [{"words_of": ["a"], "ner_tags": ["O"]}]}, r"Columns found: words_of, ner_tags"),
        ({"train": [{"tokens": ["a"], "ner_tags": [{1, object()}]}]}, "row 1: column 'ner_tags' contains a object"),
        ({"train": ["a text"]}, "train: row 1: must be a dict of columns, found str"),
        ({"data": ROWS}, r"not both"),
        ({"train": "nowhere.conll"}, "^train='nowhere.conll': no such file"),
        ({"learning_rate": "fast"}, r"^learning_rate='fast': must be a number, such as 1e-3\.$"),
        ({"learning_rate": -1.0}, r"^learning_rate=-1\.0: must be above 0"),
    ],
)
def test_wrong_input_is_an_exception_with_what_to_do(tiny_bert, tmp_path, given, words):
    whole = {"task": "ner", "method": "lora", "train": ROWS[:40], **short(tiny_bert, tmp_path / "run"), **given}
    with pytest.raises((SettingsError, DataError), match=words):
        adapters.train(**whole)


def test_what_a_call_lacks_is_said_by_name():
    with pytest.raises(SettingsError, match=r"^task: is missing. Choose from classification, ner"):
        adapters.train()
    with pytest.raises(SettingsError, match=r"^task: is missing\."):
        adapters.compare(methods="lora")
    with pytest.raises(SettingsError, match=r"^No task is called 'nre': did you mean 'ner'\?"):
        adapters.train(task="nre")
    with pytest.raises(SettingsError, match=r"^method: must be one name, as a text; found \['occlusion'\]"):
        adapters.explain("nowhere", "a text", method=["occlusion"])


@pytest.mark.parametrize("methods", ["majority,tfidf", ["majority", "tfidf"], ("majority", "tfidf")])
def test_a_text_in_place_of_a_list_of_methods_is_read_as_on_the_command_line(tmp_path, methods, runs_in_process):
    rows = [{"text": f"a {'xy'[n % 2]} {n}", "label": "xy"[n % 2]} for n in range(40)]
    given = {
        "task": "classification",
        "train": rows,
        "output_dir": tmp_path,
        "seeds": 1,
        "tuning_trials": 0,
        "metrics": "accuracy",
    }
    found = adapters.compare(methods=methods, **given)
    assert {row["method"] for row in found.rows} == {"majority", "tfidf"}


def test_a_text_in_place_of_a_list_of_folders_is_one(result, tiny_bert):
    for ask in (adapters.load, lambda run, **given: adapters.explain(run, "a text", **given)):
        with pytest.raises(SettingsError, match="plugin_dir nowhere: no such folder"):
            ask(result.folder, base=str(tiny_bert), plugin_dirs="nowhere")
    with pytest.raises(SettingsError, match="plugin_dir nowhere: no such folder"):
        adapters.AdapterBank(str(tiny_bert), plugin_dirs="nowhere").load("ner", result.folder)


def test_labels_as_a_text_are_those_of_the_command_line(tiny_bert, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=2)
    get_peft_model(model, LoraConfig(task_type="SEQ_CLS", target_modules=["query"])).save_pretrained(tmp_path)
    for labels in ("bad,good", ["bad", "good"]):
        bank = adapters.AdapterBank(str(tiny_bert))
        with pytest.warns(UserWarning, match="no card"):
            bank.load("mood", tmp_path, labels=labels)
        with pytest.warns(UserWarning, match="no card"):
            loaded = adapters.load(tmp_path, base=str(tiny_bert), labels=labels)
        assert bank.info("mood")["labels"] == list(loaded.task.labels.names) == ["bad", "good"]


def test_a_single_stop_text_or_label_is_not_read_letter_by_letter():
    with pytest.raises(SettingsError, match="stop: must be a list of texts, none of them empty, found 'END'"):
        adapters.Sampling(stop="END").check()
    client = adapters.Client("http://127.0.0.1:9")
    for ask in (client.generate, client.generate_stream):
        with pytest.raises(DataError, match=r'a list of stop texts, even for one: \["END"\]. Found \'END\''):
            ask(None, "Roses are", stop="END")
    with pytest.raises(DataError, match="a list of labels"):
        client.load("ner", "ner", labels="PER")


def test_errors_are_in_the_words_of_the_call_and_leave_no_rows_behind(tmp_path):
    rows = [{"text": f"a {n}", "label": "xy"[n % 2]} for n in range(20)]
    given = {"task": "classification", "method": "majority", "output_dir": tmp_path / "run"}
    with pytest.raises(DataError) as raised:
        adapters.train(train=[*rows, {"text": "no label"}], **given)
    assert str(raised.value).startswith("train: 1 fault:\n  train: row 21: column 'label'")
    assert "by drop_label null" in str(raised.value) and raised.value.__cause__ is None
    for wrong, meant in (("lr", "learning_rate"), ("base", "model")):
        with pytest.raises(SettingsError, match=f"^{wrong}: there is no such setting: did you mean '{meant}'"):
            adapters.train(train=rows, **given, **{wrong: 1})
    assert not (tmp_path / "run").exists()
    loaded = adapters.load(adapters.train(train=rows, **given).folder)
    assert repr(loaded) == "LoadedArtifact(majority for classification)"
    with pytest.raises(DataError, match="found int"):
        loaded(3)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("--test_file a.csv:3: no", "test='a.csv:3': no"),
        ("--test_file runs/x/data/test.jsonl:3: no", "test: row 3: no"),
        ("runs/x/data/train.jsonl: 2 faults:\n  runs/x/data/train.jsonl:3: no", "train: 2 faults:\n  train: row 3: no"),
        ("--load_in_4bit True: must be", "load_in_4bit=True: must be"),
        ("--metrics: none of them", "metrics: none of them"),
        ("--seed takes one value, found 2: 1 2.", "seed takes one value, found 2: 1 2."),
        ("Leave it out with --drop_label null.", "Leave it out with drop_label null."),
    ],
)
def test_a_flag_and_its_value_are_an_argument(said: str, message: str) -> None:
    assert reworded(said, Path("runs/x")) == message


def test_a_frame_without_the_text_column_is_refused_with_its_columns(tiny_bert, tmp_path):
    import pandas

    frame = pandas.DataFrame({"id": [1, 2], "rating": ["good", "bad"]})
    with pytest.raises(DataError, match=r"Columns found: id, rating"):
        adapters.train(task="classification", method="head", train=frame, **short(tiny_bert, tmp_path / "run"))


def test_a_folder_without_a_finished_run_is_no_result(tmp_path):
    with pytest.raises(ComparisonError, match="no finished run"):
        adapters.RunResult.read(tmp_path)


def test_importing_is_light_and_an_unknown_name_is_none_of_ours():
    code = (
        "import sys, adapters; heavy = {'torch', 'transformers', 'peft', 'datasets', 'numpy'} & set(sys.modules); "
        "print(sorted(heavy), 'train' in dir(adapters))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "True"]
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        adapters.trian  # noqa: B018 - the name is looked up


def test_labels_of_a_head_are_taken_from_a_list_and_never_from_a_set(tiny_bert, tmp_path):
    with pytest.raises(SettingsError, match="is a set, whose items are in no order"):
        adapters.load(tmp_path, labels={"positive", "negative"})


def test_the_readme_of_an_artifact_loads_it_in_stock_peft_whatever_its_head_is(tiny_bert, tmp_path):
    texts = [f"<e1>{first}</e1> met <e2>{last}</e2> in town" for first, last in zip(FIRST, LAST, strict=False)]
    rows = [{"text": text, "label": ("met", "none")[n % 2]} for n, text in enumerate(texts * 4)]
    given = short(tiny_bert, tmp_path / "run", validation=rows[:4])
    made = adapters.train(task="relation_extraction", method="lora", train=rows, **given)
    assert made is not None
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", (made.artifact / "README.md").read_text(), re.DOTALL)
        if "PeftModel" in block
    ]
    names: dict[str, Any] = {}
    exec(code.replace("this/folder", str(made.artifact)).replace(f'"{tiny_bert.name}"', repr(str(tiny_bert))), names)
    assert len(names["outputs"]) == names["model"].config.num_labels == 4
