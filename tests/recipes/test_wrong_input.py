"""What a user can get wrong: exit code 2, a message that says what to do, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, write_tagged

Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test asks the Hub, and what a refused run leaves in the cache can be seen."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TASKSWAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of files."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(run_recipe: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused("--lora_r", "0")`: run lora_ner, which must end with code 2 and leave no trace; returns the message."""

    def call(*flags: str | Path, recipe: str = "lora_ner") -> str:
        before = {name: found for name, found in contents(tmp_path).items() if not name.startswith("cache")}
        capsys.readouterr()
        code = run_recipe(recipe, *map(str, flags))
        shown = capsys.readouterr()
        assert code == 2, shown.err
        assert "Traceback" not in shown.err
        assert shown.out == ""
        left = contents(tmp_path)
        assert {name: found for name, found in left.items() if not name.startswith("cache")} == before
        drafts = [name for name in left if Path(name).name.startswith((".", "tmp"))]
        assert not drafts
        return shown.err

    return call


def two_columns(path: Path, rows: str) -> Path:
    """A column file out of `word/TAG word/TAG | …`, a bar between sentences."""
    sentences = [[cell.rpartition("/")[::2] for cell in sentence.split()] for sentence in rows.split("|")]
    path.write_text("\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in rows) for rows in sentences) + "\n")
    return path


# Flags


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--lora_r 0", "--lora_r 0: must be at least 1"),
        ("--lora_alpha 0", "--lora_alpha 0.0: must be above 0"),
        ("--lora_alpha nan", "--lora_alpha nan: must be above 0"),
        ("--lora_alpha 1e9", "--lora_alpha 1000000000.0: must be above 0 and at most 12288"),
        ("--lora_dropout 1", "--lora_dropout 1.0: must be in [0, 1)"),
        ("--lora_target_modules ,", "--lora_target_modules"),
        ("--max_length 0", "--max_length 0: must be at least 1"),
        ("--max_length 2", "--max_length 2"),
        ("--num_train_epochs 0", "--num_train_epochs 0.0: must be above 0"),
        ("--num_train_epochs inf", "--num_train_epochs inf"),
        ("--num_train_epochs nan", "--num_train_epochs nan: must be above 0"),
        ("--learning_rate 0", "--learning_rate 0.0: must be above 0"),
        ("--learning_rate inf", "--learning_rate inf"),
        ("--max_train_steps 0", "--max_train_steps 0: must be at least 1"),
        ("--max_train_samples 0", "--max_train_samples 0: must be at least 1"),
        ("--per_device_train_batch_size -1", "--per_device_train_batch_size -1: must be at least 1"),
        ("--gradient_accumulation_steps 0", "--gradient_accumulation_steps 0: must be at least 1"),
        ("--validation_split_percentage 100", "between 1 and 99"),
        ("--num_warmup_steps -1", "--num_warmup_steps -1"),
        ("--seed -1", "--seed -1"),
        ("--seed 99999999999", "--seed 99999999999"),
        ("--seed one", "seed"),
        ("--seed 1 2", "--seed takes one value, found 2"),
        ("--seed", "--seed takes one value, found 0"),
        ("--dropout 1", "--dropout 1.0: must be in [0, 1)"),
        ("--mixed_precision fp8", "--mixed_precision fp8: must be one of"),
        ("--mixed_precision fp16", "--mixed_precision fp16: not supported on a CPU"),
        ("--lr_scheduler_type lineer", "did you mean 'linear'?"),
        ("--repair_tags maybe", "--repair_tags maybe: must be true or false"),
        ("--lora_rank 4", "--lora_rank: there is no such flag: did you mean '--lora_r'"),
        ("--learning-rat 1e-3", "did you mean '--learning_rate'"),
        ("--no_such_thing_at_all", "--no_such_thing_at_all: there is no such flag. --help lists all"),
        ("--device cuda", "--device: there is no such flag: training runs on the device that Accelerate finds"),
        ("lora_r 4", "takes one value, found 3: no lora_r 4"),
        ("--tag_scheme iob9", "--tag_scheme iob9: known schemes are iob1, iob2, bioes, bmes, io"),
        ("--encoding utf-9", "--encoding utf-9: unknown to Python"),
        ("--dataset_format conl", "did you mean 'conll' or 'jsonl'?"),
        ("--metrics nope", "No metric is called 'nope': known: accuracy, answer_f1, bleu, chrf, cmrc_f1"),
        ("--metrics accuracy", "--metrics accuracy: compares label; ner answers with tags. Leave it out"),
        ("--metrics entity_f", "did you mean 'entity_f1'"),
        ("--plugin_dir missing", "--plugin_dir missing: no such folder"),
        ("--dataset_name conl2003", "did you mean 'conll2003'?"),
        ("--dataset_name minilm", "is the alias of a model, but a dataset is needed"),
        ("--dataset_name ./nowhere", "is neither a local path nor an alias"),
        ("--model_name_or_path minilmm", "did you mean 'minilm'?"),
        ("--model_name_or_path conll2003", "is the alias of a dataset, but a model is needed"),
        ("--model_name_or_path /", "has no config.json"),
    ],
)  # fmt: skip
def test_a_flag_that_cannot_work_is_named(refused, flags, told):
    assert told in refused(*flags.split())


def test_a_flag_of_another_method_is_unknown(refused):
    assert "--lora_r: there is no such flag" in refused("--lora_r", "4", recipe="full_ner")


def test_a_target_module_that_matches_nothing_lists_those_there_are(refused):
    told = refused("--lora_target_modules", "query", "qery")
    assert "--lora_target_modules qery: matches no linear layer of this base. Did you mean 'query'?" in told
    assert "Known layers: dense, key, query, value; or all-linear" in told


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("s.toml", "lora_r = 0\n", "--lora_r 0: must be at least 1"),
        ("s.toml", "lora_r = \n", "not valid toml"),
        ("s.json", '{"lora_rank": 4}', "did you mean '--lora_r'"),
        ("s.json", "[1]", "must contain settings by name, found list"),
        ("s.yaml", "seed: [1, 2]\n", "--seed takes one value, found 2"),
        ("s.yaml", "seed: [1\n", "not valid yaml"),
        ("missing.yaml", None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_settings_file_that_cannot_work_is_named(name, text, told, tiny_bert, tagged, tmp_path, capsys):
    from adapters import recipe

    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    defaults = {"model_name_or_path": str(tiny_bert), "dataset_name": str(tagged), "output_dir": str(tmp_path / "run")}
    with pytest.raises(SystemExit) as stop:  # noqa: SIM117
        with recipe.start("", task="ner", method="lora", defaults=defaults, argv=[str(path)]) as run:
            run.read_task()
            run.build_method()
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# Data


def test_a_missing_file_is_named_with_its_flag(refused, tmp_path):
    told = refused("--train_file", tmp_path / "missing.conll")
    assert f"--train_file {tmp_path}/missing.conll: no such file. Check the path" in told


def test_a_missing_test_file_is_named_before_anything_is_trained(refused, tagged, tmp_path):
    told = refused("--train_file", tagged / "train.conll", "--test_file", tmp_path / "missing.conll")
    assert f"--test_file {tmp_path}/missing.conll: no such file" in told
    assert "epoch" not in told


def test_a_folder_in_place_of_a_file_is_named(refused, tagged):
    told = refused("--train_file", tagged)
    assert f"--train_file {tagged}: is a folder, not a file" in told
    assert f"--dataset_name {tagged}" in told


def test_a_folder_without_a_training_file_says_what_it_holds(refused, tmp_path):
    (tmp_path / "odd").mkdir()
    write_tagged(tmp_path / "odd" / "corpus.conll", 3)
    told = refused("--dataset_name", tmp_path / "odd")
    assert "nothing in it has train or test in its name" in told
    assert "It contains: corpus.conll" in told


def test_a_test_split_alone_cannot_be_trained_on(refused, tagged):
    told = refused("--dataset_name", "none", "--test_file", tagged / "test.conll")
    assert "There is no training split: give --train_file" in told


def test_a_dataset_without_tags_says_which_columns_it_needs_and_has(refused, tmp_path):
    (tmp_path / "bare.jsonl").write_text('{"tokens": ["Ada", "wrote"], "topic": "history"}\n')
    told = refused("--train_file", tmp_path / "bare.jsonl")
    assert "no tagged sentences" in told
    assert "Columns found: tokens, topic" in told
    assert "--label_column_name" in told


def test_words_without_a_second_column_are_no_tagged_sentences(refused, tmp_path):
    (tmp_path / "bare.conll").write_text("Ada\nwrote\n\nin\nParis\n")
    assert "bare.conll:1: no tag column" in refused("--train_file", tmp_path / "bare.conll")


@pytest.mark.parametrize("flag", ["--text_column_name", "--label_column_name"])
def test_a_column_that_is_not_there_lists_those_that_are(refused, tmp_path, flag):
    line = json.dumps({"tokens": ["Ada", "wrote"], "ner_tags": ["B-PER", "O"], "topic": "history"})
    (tmp_path / "train.jsonl").write_text(line + "\n")
    told = refused("--train_file", tmp_path / "train.jsonl", flag, "nope")
    assert f"no column 'nope' ({flag}). Columns found: tokens, ner_tags, topic" in told


@pytest.mark.parametrize("split", ["validation", "test"])
def test_labels_that_train_has_not_are_listed_with_their_places(refused, tagged, tmp_path, split):
    other = two_columns(tmp_path / "other.conll", "Ada/B-PER wrote/O | Acme/B-ORG made/O | it/O at/O CERN/B-ORG")
    told = refused("--train_file", tagged / "train.conll", f"--{split}_file", other)
    assert "2 faults" in told
    assert f"{other}:4: label 'ORG' does not occur in train (2 times: also at 7)" in told
    assert "train has LOC, PER" in told
    assert told.count("Correct or remove the label, or add examples of it to train") == 1


def test_a_fault_of_many_lines_is_shown_once_with_its_number(refused, tmp_path):
    rows = "\n\n".join("Ada\tB-PER\nwrote\tO\textra" for _ in range(25))
    (tmp_path / "train.conll").write_text(rows + "\n")
    told = refused("--train_file", tmp_path / "train.conll")
    assert "25 faults:" in told and "(25 times: also at " in told
    assert f"{tmp_path}/train.conll:2: found 3 columns, the file's first token line (line 1) has 2" in told
    assert told.count("found 3 columns") == 1


def test_a_continuation_without_a_beginning_says_how_it_is_repaired(refused, run_recipe, tagged, tmp_path):
    bad = two_columns(tmp_path / "bad.conll", "Ada/B-PER wrote/O | in/O Paris/I-LOC | Rome/B-LOC Oslo/B-LOC Ada/B-PER")
    given = ("--train_file", str(bad), "--validation_file", str(tagged / "dev.conll"), "--max_train_steps", "1")
    told = refused(*given, "--tag_scheme", "iob2")
    assert "bad.conll:5: word 'Paris': I-LOC continues no entity" in told
    assert "--repair_tags" in told
    assert run_recipe("lora_ner", *given, "--tag_scheme", "iob2", "--repair_tags") == 0
    notes = json.loads((tmp_path / "run" / "scores.json").read_text())["dataset"]["notes"]
    assert notes["train"]["repaired_tags"] == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"Ada\tO\nwrote\tO\n\nit\tO\n", "no entity in the whole train split"),
        (b"Ada\tB-PER\nwr\0te\tO\n\nit\tO\n", "train.conll:2: the line contains a NUL character"),
        (b"Ada\tB-PER\nwr\xffte\tO\n\nit\tO\n", "train.conll:2: byte 0xff is not utf-8"),
        (b"Ada\tB-PER\nwrote\tX-PER\n\nit\tO\n", "the tag 'X-PER' is not of the scheme"),
    ],
)
def test_a_file_that_cannot_be_learnt_from_says_why(refused, tmp_path, content, told):
    (tmp_path / "train.conll").write_bytes(content)
    assert told in refused("--train_file", tmp_path / "train.conll")


def test_a_span_that_cuts_a_word_is_named(refused, tmp_path):
    line = json.dumps({"text": "Paris.", "entities": [{"start": 0, "end": 4, "label": "LOC"}]})
    (tmp_path / "train.jsonl").write_text(line + "\n")
    told = refused("--train_file", tmp_path / "train.jsonl")
    assert "train.jsonl:1: entity LOC 0:4 ('Pari') cuts a word: 'Paris'" in told


def test_so_few_examples_that_no_dev_split_can_be_cut_are_refused(refused, tmp_path):
    two_columns(tmp_path / "train.conll", "Ada/B-PER wrote/O in/O Paris/B-LOC")
    told = refused("--train_file", tmp_path / "train.conll")
    assert "train has 1 example" in told
    assert "--validation_file" in told


# What a base cannot read, and what memory cannot hold


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[[int], Path]:
    """`foreign(3)`: a training file in which three words of ten are of a script that the base does not know."""

    def write(unknown: int) -> Path:
        words = ["Москва"] * unknown + ["town"] * (9 - unknown)
        sentence = " ".join(["Ada/B-PER", *(f"{word}/O" for word in words)])
        return two_columns(tmp_path / "foreign.conll", "|".join([sentence] * 40))

    return write


def test_a_text_that_the_base_cannot_read_is_refused_unless_allowed(refused, run_recipe, foreign, capsys):
    flags = ["--train_file", str(foreign(6)), "--max_train_steps", "1", "--validation_split_percentage", "50"]
    flags[2:2] = ["--validation_file", str(flags[1])]
    told = refused(*flags)
    assert "60% of the tokens of train are unknown to tiny-bert, for example in 'Москва'" in told
    assert "(e5 reads a hundred languages;" in told and "--allow_unknown_tokens" in told
    assert run_recipe("lora_ner", *flags, "--allow_unknown_tokens") == 0
    assert "warning: 60% of the tokens" in capsys.readouterr().err


def test_a_text_with_some_unknown_tokens_is_warned_of(run_recipe, foreign, capsys):
    path = str(foreign(1))
    assert run_recipe("lora_ner", "--train_file", path, "--validation_file", path, "--max_train_steps", "1") == 0
    assert (
        "warning: 10% of the tokens of train are unknown to tiny-bert, for example in 'Москва'"
        in capsys.readouterr().err
    )


def test_a_batch_too_large_for_memory_is_split_into_micro_batches(run_recipe, monkeypatch, capsys, tmp_path):
    flags = ("--per_device_train_batch_size", "100", "--dropout", "0", "--output_dir")
    assert run_recipe("lora_ner", *flags, str(tmp_path / "whole")) == 0
    monkeypatch.setattr("adapters.core.memory.available_bytes", lambda *_: 3 * 2**20)
    capsys.readouterr()
    assert run_recipe("lora_ner", *flags, str(tmp_path / "parted")) == 0
    told = capsys.readouterr().err
    assert told.count("memory: ") == 1
    fitting, parts = (int(number) for number in re.findall(r"memory: (\d+) rows .* into (\d+) micro-batches", told)[0])
    assert 1 <= fitting < 100 and fitting * parts >= 100 > fitting * (parts - 1)
    whole, parted = (
        json.loads((tmp_path / name / "scores.json").read_text())["training"] for name in ("whole", "parted")
    )
    assert parted["last_loss"] == pytest.approx(whole["last_loss"], abs=1e-5)


def test_a_batch_of_which_not_one_row_fits_is_refused(refused, monkeypatch):
    monkeypatch.setattr("adapters.core.memory.available_bytes", lambda *_: 1000)
    assert "Not even one row fits: lower --max_length or choose a smaller base" in refused()


def test_a_gpu_out_of_memory_names_a_smaller_batch(run_recipe, monkeypatch, tmp_path, capsys):
    from adapters.training.trainer import Trainer

    def full(self: object, batches: object) -> float:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Trainer, "train_step", full)
    assert run_recipe("lora_ner", "--per_device_train_batch_size", "30") == 2  # four batches of 30 rows
    told = capsys.readouterr().err
    assert "with 30 rows at once: from now on a batch is split into 2 micro-batches" in told
    assert "A batch of 1 row does not fit" in told
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"settings.json"}


def test_a_loss_that_is_not_finite_is_refused_and_leaves_no_artifact(run_recipe, tmp_path, capsys):
    assert run_recipe("full_ner", "--learning_rate", "1e30", "--num_warmup_steps", "0", "--num_train_epochs", "9") == 2
    told = capsys.readouterr().err
    assert "The loss is " in told and "Lower --learning_rate" in told
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"settings.json"}


# Base models


def test_a_model_of_pickles_alone_is_refused(refused, tiny_bert, tmp_path):
    shutil.copytree(tiny_bert, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").rename(tmp_path / "old" / "pytorch_model.bin")
    told = refused("--model_name_or_path", tmp_path / "old")
    assert "has its weights only as pytorch_model.bin" in told
    assert "save_pretrained" in told


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{cut"), "config.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "nope"}'), "config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"cut"), "model.safetensors"),
        (lambda folder: (folder / "tokenizer.json").write_text("{cut"), "tokenizer.json"),
    ],
    ids=["no config", "no weights", "damaged config", "unknown architecture", "damaged weights", "damaged tokenizer"],
)
def test_a_damaged_base_model_is_named(refused, tiny_bert, tmp_path, damage, told):
    shutil.copytree(tiny_bert, tmp_path / "base")
    damage(tmp_path / "base")
    message = refused("--model_name_or_path", tmp_path / "base")
    assert told in message
    assert str(tmp_path / "base") in message


# The output folder


@pytest.fixture
def finished(run_recipe: Callable[..., int], tmp_path: Path) -> Path:
    """The folder of a run that has ended."""
    assert run_recipe("lora_ner", "--max_train_steps", "1") == 0
    return tmp_path / "run"


def test_a_folder_that_holds_another_run_is_refused_unless_it_may_be_replaced(refused, run_recipe, finished):
    told = refused("--seed", "1")
    assert f"--output_dir {finished}: holds another run" in told
    assert "--overwrite_output_dir" in told
    assert run_recipe("lora_ner", "--seed", "1", "--max_train_steps", "1", "--overwrite_output_dir") == 0
    assert json.loads((finished / "scores.json").read_text())["seed"] == 1


def test_a_run_that_may_be_replaced_survives_a_wrong_input(refused, finished, tmp_path):
    assert contents(finished)
    refused("--overwrite_output_dir", "--train_file", tmp_path / "missing.conll")
    refused("--overwrite_output_dir", "--lora_target_modules", "qery")


@pytest.mark.parametrize("overwrite", [(), ("--overwrite_output_dir",)], ids=["as it is", "overwrite"])
def test_a_folder_that_holds_foreign_files_is_refused_and_they_survive(refused, tmp_path, overwrite):
    (tmp_path / "run" / "thesis").mkdir(parents=True)
    (tmp_path / "run" / "thesis" / "chapter.tex").write_text("years of work")
    told = refused(*overwrite)
    assert f"--output_dir {tmp_path}/run: holds files of others (thesis). Name another folder." in told


def test_a_foreign_file_beside_a_run_is_not_removed_with_it(refused, finished):
    (finished / "notes.md").write_text("mine")
    assert "holds files of others (notes.md)" in refused("--overwrite_output_dir")


def test_an_output_folder_that_is_a_file_is_refused(refused, tmp_path):
    (tmp_path / "taken").write_text("mine")
    assert f"--output_dir {tmp_path}/taken: is a file. Name a folder." in refused("--output_dir", tmp_path / "taken")


def test_an_output_folder_that_cannot_be_made_is_refused_before_training(refused, tmp_path):
    (tmp_path / "taken").write_text("mine")
    told = refused("--output_dir", tmp_path / "taken" / "below" / "run")
    assert f"--output_dir {tmp_path}/taken/below/run" in told
    assert "epoch" not in told


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_without_permission_is_refused_before_training(refused, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    told = refused("--output_dir", tmp_path / "locked" / "run")
    assert f"--output_dir {tmp_path}/locked/run" in told


# The end of a process


def recipe_command(base: Path, data: Path, folder: Path, *flags: str) -> list[str]:
    given = ["--model_name_or_path", str(base), "--dataset_name", str(data), "--output_dir", str(folder)]
    return [sys.executable, "recipes/lora_ner.py", *given, "--mixed_precision", "no", *flags]


@pytest.mark.slow
def test_a_user_error_ends_a_process_with_code_2_and_its_message_alone(tiny_bert, tagged, tmp_path):
    command = recipe_command(tiny_bert, tagged, tmp_path / "run", "--train_file", "missing.conll")
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.strip().startswith("--train_file missing.conll: no such file.")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "run").exists()
