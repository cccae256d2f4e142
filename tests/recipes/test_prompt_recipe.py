"""prompt_ner.py, run whole on tiny causal models: what it leaves, that it can be used, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

pytestmark = pytest.mark.slow

RunRecipe = Callable[..., int]


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def writer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that writes."""
    return tiny.BUILDERS[request.param](tmp_path_factory.mktemp("writers") / str(request.param))


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    return tiny.gpt2(tmp_path / "gpt2")


def test_a_prompted_run_leaves_its_files_and_can_be_used(
    writer: Path, run_recipe: RunRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from adapters.artifacts import loading

    flags = ["--model_name_or_path", str(writer), "--shots", "1", "--max_new_tokens", "8", "--decoding", "free"]
    assert run_recipe("prompt_ner", *flags) == 0
    folder = tmp_path / "run"
    out = capsys.readouterr().out
    names = {"settings.json", "artifact", "predictions.jsonl", "scores.json", "report.txt"}
    assert {path.name for path in folder.iterdir()} == names
    assert {path.name for path in (folder / "artifact").iterdir()} == {"prompt.json", "card.json", "README.md"}
    record = json.loads((folder / "scores.json").read_text())
    assert (record["method"], record["method_notes"]) == ("few_shot", {"prompt": "ner_few", "shots": 1})
    assert record["cost"]["trainable_params"] == 0 and record["training"] == {}
    assert 0 < record["parse_failures"] <= record["dataset"]["n"] == 30  # random weights write nothing readable
    assert "no training; peak memory" in out and "parse failures: " in out
    share = f"{100 * record['parse_failures'] / 30:.1f} %"
    assert f"parse failures: {record['parse_failures']} of 30 answers, {share}" in out and "chat template: no" in out
    assert "prompt: ner_few, shots: 1" in (folder / "report.txt").read_text()
    assert all(len(line) <= 80 for line in out.splitlines())
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert all(isinstance(line["written"], str) for line in lines)
    loaded = loading.load(folder / "artifact", base=str(writer))
    answers = loaded.answer(["Ada lived in London.", {"tokens": ["Ada", "smiled"]}])
    assert [len(answer["output"]["tags"]) for answer in answers] == [5, 2]
    assert all(set(answer) == {"id", "task", "output", "truncated"} for answer in answers)


def test_what_the_artifact_answers_is_what_the_run_predicted(
    gpt2: Path, run_recipe: RunRecipe, tmp_path: Path
) -> None:  # fmt: skip
    from adapters.artifacts import loading
    from adapters.tasks.base.example import Example

    assert run_recipe("prompt_ner", "--model_name_or_path", str(gpt2), "--shots", "2", "--max_new_tokens", "8") == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    loaded = loading.load(tmp_path / "run" / "artifact", base=str(gpt2))
    texts = [block.splitlines() for block in (tmp_path / "tagged" / "test.conll").read_text().strip().split("\n\n")]
    tokens = [[line.split("\t")[0] for line in block] for block in texts]
    examples = [Example(id=str(i), inputs={"tokens": words}) for i, words in enumerate(tokens)]
    found = loaded.predict(examples)
    assert [prediction.written for prediction in found] == [line["written"] for line in lines]
    assert [prediction.value for prediction in found] == [line["prediction"] for line in lines]


def test_zero_shot_is_chosen_by_a_flag_and_by_a_settings_file(
    gpt2: Path, run_recipe: RunRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    import runpy
    import sys

    flags = ["--model_name_or_path", str(gpt2), "--method", "zero_shot", "--max_new_tokens", "4"]
    assert run_recipe("prompt_ner", *flags, "--seed", "7") == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert (record["method"], record["method_notes"]) == ("zero_shot", {"prompt": "ner_zero", "shots": 0})
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert "shots" not in settings
    again = tmp_path / "again.json"
    again.write_text(json.dumps({**settings, "output_dir": str(tmp_path / "second")}))
    monkeypatch.setattr(sys, "argv", ["recipes/prompt_ner.py", str(again)])
    runpy.run_path(str(Path(tiny.__file__).parents[1] / "recipes" / "prompt_ner.py"), run_name="__main__")
    second = json.loads((tmp_path / "second" / "scores.json").read_text())
    assert second["method"] == "zero_shot"
    assert second["settings_digest"] == record["settings_digest"]


def test_a_seed_draws_other_shots(gpt2: Path, run_recipe: RunRecipe, tmp_path: Path) -> None:
    drawn = []
    for seed in ("0", "0", "1"):
        flags = ["--model_name_or_path", str(gpt2), "--seed", seed, "--shots", "3", "--max_new_tokens", "1"]
        assert run_recipe("prompt_ner", *flags, "--overwrite_output_dir", "--max_predict_samples", "3") == 0
        (member,) = json.loads((tmp_path / "run" / "artifact" / "prompt.json").read_text())["members"]
        drawn.append(member["shots"])
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(shots) == 3 for shots in drawn)


def test_shots_that_do_not_fit_are_dropped_counted_and_said(
    gpt2: Path, run_recipe: RunRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    flags = ["--model_name_or_path", str(gpt2), "--shots", "20", "--max_new_tokens", "8"]
    assert run_recipe("prompt_ner", *flags) == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert record["shots_dropped"] == 30 and record["truncated"] == 0
    assert "shots: 20 (some dropped for lack of space in 30 of 30" in " ".join(capsys.readouterr().out.split())


PROMPT = 'task = "ner"\nanswer = "lines"\nquery = "{{text}}: "\n'


@pytest.mark.parametrize(
    ("flags", "prompt", "told"),
    [
        (["--shots", "121"], "", "--shots 121: there are 120 training examples"),
        (["--shots", "-1"], "", "--shots -1: must be 0 or more"),
        (["--max_new_tokens", "0"], "", "--max_new_tokens 0: must be at least 1"),
        (["--max_new_tokens", "128"], "", "--max_new_tokens 128: must be below 128"),
        (["--prompt", "ner_fwe"], "", "did you mean 'ner_few'"),
        (["--method", "zero"], "", "did you mean 'zero_shot'"),
        (["--method", "zero_shot", "--shots", "2"], "", "--shots: there is no such flag"),
        ([], PROMPT.replace("{{text}}", "{{texts}}"), "mine.toml:3: query: unknown placeholder {{texts}}"),
        ([], PROMPT.replace("{{text}}", "text"), "mine.toml:3: query: the placeholder {{text}} is not used"),
        ([], PROMPT.replace("lines", "xml"), "mine.toml:2: ner has no answer format 'xml'"),
        ([], PROMPT + '[verbalizer]\nPER = "a: person"\n', "cannot express the type 'a: person'"),
        ([], PROMPT + '[verbalizer]\nPER = "x"\nLOC = "X"\n', "two types have the same name"),
    ],
)
def test_what_a_user_can_get_wrong_ends_with_code_2_and_leaves_nothing(
    flags: list[str], prompt: str, told: str, gpt2: Path, run_recipe: RunRecipe, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if prompt:
        (tmp_path / "mine.toml").write_text(prompt)
        flags = ["--prompt", str(tmp_path / "mine.toml")]
    assert run_recipe("prompt_ner", "--model_name_or_path", str(gpt2), *flags) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_base_without_a_language_model_head_is_refused(
    tiny_bert: Path, run_recipe: RunRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    assert run_recipe("prompt_ner", "--model_name_or_path", str(tiny_bert)) == 2
    assert "is of the kind encoder; the method few_shot works with causal" in capsys.readouterr().err
    body = tmp_path / "body"
    AutoTokenizer.from_pretrained(tiny.llama(tmp_path / "whole")).save_pretrained(body)
    config = LlamaConfig.from_pretrained(tmp_path / "whole", tie_word_embeddings=False)
    LlamaModel(config).save_pretrained(body)
    assert run_recipe("prompt_ner", "--model_name_or_path", str(body)) == 2
    assert "have no language-model head (lm_head.weight missing)" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
