"""Written answers from the command line: prompted, trained, in the lab, side by side, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from adapters.cli.main import main
from adapters.experiments.prompt_lab.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

WORDS = {"Ada": "Ida", "Alan": "Olan", "lived": "wohnte", "worked": "werkte", "in": "im", "near": "nah",
         "London": "Lunden", "Paris": "Parys"}  # fmt: skip
TRANSLATION = ("--task", "translation", "--source_lang", "en", "--target_lang", "de")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parallel lines, questions in SQuAD's form, summaries, and a tiny GPT-2 and T5."""
    folder = tmp_path_factory.mktemp("texts")
    names, verbs, preps, cities = (list(WORDS)[i : i + 2] for i in (0, 2, 4, 6))
    pairs = [(n, v, p, c) for n in names for v in verbs for p in preps for c in cities]
    for split, some in (("train", pairs * 2), ("val", pairs[:8]), ("test", pairs[::2])):
        (folder / f"{split}.en").write_text("".join(f"{' '.join(words)}\n" for words in some))
        (folder / f"{split}.de").write_text("".join(f"{' '.join(WORDS[w] for w in words)}\n" for words in some))
        paragraphs = []
        for i, (n, v, p, c) in enumerate(some):
            answer = {"text": c, "answer_start": len(f"{n} {v} {p} ")}
            asked = {"id": f"{split}{i}", "question": f"{v} {p}", "answers": [answer]}
            paragraphs.append({"context": f"{n} {v} {p} {c} .", "qas": [asked]})
        (folder / "asked").mkdir(exist_ok=True)
        (folder / "asked" / f"{split}.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
        rows = [{"source": [" ".join(words), "."], "target": [words[0], words[3]]} for words in some]
        (folder / "long").mkdir(exist_ok=True)
        (folder / "long" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny.gpt2(folder / "gpt2", positions=256)
    tiny.t5(folder / "t5")
    return folder


def flags(place: Path, task: str) -> list[str]:
    return {
        "translation": [*TRANSLATION, "--dataset_name", str(place)],
        "question_answering": ["--task", "question_answering", "--dataset_name", str(place / "asked")],
        "summarization": ["--task", "summarization", "--dataset_name", str(place / "long")],
    }[task]


def run(place: Path, out: Path, task: str, method: str, *more: str, on: str = "gpt2") -> dict[str, Any]:
    own = ["--model_name_or_path", str(place / on), "--output_dir", str(out), "--mixed_precision", "no",
           "--max_new_tokens", "8", "--method", method]  # fmt: skip
    assert main(["train", *flags(place, task), *own, *more]) == 0
    record: dict[str, Any] = json.loads((out / "scores.json").read_text())
    return record


TASKS = {"translation": ("chrf", 8), "question_answering": ("answer_f1", 8), "summarization": ("rouge", 8)}


@pytest.mark.parametrize("on", ["gpt2", "t5"])
@pytest.mark.parametrize("task", TASKS)
def test_a_prompted_run_leaves_its_files_and_can_be_used(task: str, on: str, place: Path, tmp_path: Path) -> None:
    from adapters.artifacts import loading

    record = run(place, tmp_path / "run", task, "few_shot", "--shots", "1", on=on)
    metric, number = TASKS[task]
    assert (record["main"]["metric"], record["dataset"]["n"], record["truncated"]) == (metric, number, 0)
    assert record["method_notes"] == {"prompt": f"{task}_few", "shots": 1}
    report = (tmp_path / "run" / "report.txt").read_text()
    assert all(len(line) <= 80 for line in report.splitlines()) and f"test {record['main']['title']}:" in report
    assert "labels" not in (tmp_path / "run" / "artifact" / "README.md").read_text()
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert all(isinstance(line["gold"], list) for line in lines)
    loaded = loading.load(tmp_path / "run" / "artifact", base=str(place / on))
    answers = loaded.answer([line["inputs"] for line in lines])
    written = {"translation": "translation", "question_answering": "answer", "summarization": "summary"}[task]
    assert [answer["output"][written] for answer in answers] == [line["prediction"] for line in lines]


@pytest.mark.parametrize(("task", "method", "on"), [
    ("translation", "lora", "gpt2"), ("summarization", "prefix", "gpt2"), ("question_answering", "full", "t5"),
])  # fmt: skip
def test_a_trained_run_leaves_what_answers_as_it_did(
    task: str, method: str, on: str, place: Path, tmp_path: Path
) -> None:
    from adapters.artifacts import loading

    record = run(place, tmp_path / "run", task, method, "--max_train_steps", "2", "--learning_rate", "0.001", on=on)
    assert record["training"]["steps"] == 2
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    loaded = loading.load(tmp_path / "run" / "artifact", base=None if method == "full" else str(place / on))
    outputs = [list(answer["output"].values())[-1] for answer in loaded.answer([line["inputs"] for line in lines])]
    assert outputs == [line["prediction"] for line in lines]


def test_an_encoder_marks_what_others_write_and_both_are_compared(
    place: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from adapters.artifacts import loading

    run(place, tmp_path / "asked", "question_answering", "zero_shot")
    own = ["--model_name_or_path", str(tiny_bert), "--max_train_steps", "20", "--learning_rate", "0.01"]
    record = run(place, tmp_path / "marked", "question_answering", "lora", *own)
    assert record["main"]["score"] == "f1" and record["dataset"]["n"] == 8
    assert (
        main(["compare", str(tmp_path / "asked"), str(tmp_path / "marked"), "--output_dir", str(tmp_path / "c")]) == 0
    )
    assert "question_answering" in (tmp_path / "c" / "comparison.md").read_text()
    loaded = loading.load(tmp_path / "marked" / "artifact", base=str(tiny_bert))
    (answer,) = loaded.answer([{"question": "lived in", "context": "Ada lived in London ."}])
    output = answer["output"]
    assert output["context"][output["start"] : output["end"]] == output["answer"]


def test_a_comparison_takes_methods_that_mark_and_methods_that_write(
    place: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    from adapters.core.errors import ModelError
    from adapters.experiments.comparison.comparison import Comparison

    def checked(methods: str) -> Comparison:
        own = ["--model_name_or_path", str(tiny_bert), "--prompt_model_name_or_path", str(place / "gpt2"), "--seeds",
               "1", "--max_new_tokens", "8", "--output_dir", str(tmp_path / "c"), "--methods", methods,
               "--tuning_trials", "0"]  # fmt: skip
        found = Comparison(
            "", task="question_answering", defaults={}, argv=[*flags(place, "question_answering")[2:], *own]
        )
        found.check()
        return found

    assert [run.method for run in checked("head,lora,few_shot").runs] == ["head", "lora", "few_shot"]
    with pytest.raises(ModelError, match="question_answering has no head, and prompt_tuning cannot generate"):
        own = [
            "--model_name_or_path",
            str(place / "gpt2"),
            "--output_dir",
            str(tmp_path / "d"),
            "--methods",
            "prompt_tuning",
        ]
        Comparison(
            "", task="question_answering", defaults={}, argv=[*flags(place, "question_answering")[2:], *own]
        ).check()


def test_a_constrained_answer_stands_in_the_context(place: Path, tmp_path: Path) -> None:
    run(
        place, tmp_path / "run", "question_answering", "few_shot", "--prompt", "question_answering_span", "--shots", "1"
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert all(line["prediction"] and line["prediction"] in line["inputs"]["context"] for line in lines)


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_shown_with_the_data(
    task: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    for name in (f"{task}_zero", f"{task}_few"):
        shown = ["--shots", "1", "--examples", "1", "--model_name_or_path", str(place / "gpt2")]
        assert main(["prompts", name, *flags(place, task)[2:], *shown]) == 0
        out = capsys.readouterr().out
        assert "shot 1: " in out and "query, its answer '" in out and "1 of 1 shot" in out
    assert main(["prompts"]) == 0
    assert f"{task}_few" in capsys.readouterr().out


def lab(place: Path, out: Path, task: str, *more: str) -> Lab:
    own = ["--model_name_or_path", str(place / "gpt2"), "--output_dir", str(out), "--mixed_precision", "no",
           "--max_new_tokens", "4", "--shots", "0,1", "--seeds", "2"]  # fmt: skip
    return Lab("A lab.", defaults={}, argv=[*flags(place, task), *own, *more])


@pytest.mark.parametrize("task", TASKS)
def test_the_lab_tries_them(task: str, place: Path, tmp_path: Path) -> None:
    experiment = lab(place, tmp_path / "lab", task, "--prompts", f"{task}_zero,{task}_few")
    experiment.check()
    experiment.run_conditions()
    experiment.save_and_print()
    found = json.loads((tmp_path / "lab" / "lab.json").read_text())
    assert (found["metric"], len(found["tables"][0]["rows"])) == (TASKS[task][0], 4)
    assert found["tables"][0]["usual"] is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ("--calibration", "contextual"),
            "--calibration contextual: must be none: answers of translation are generated",
        ),
        (
            ("--calibration", "none,channel"),
            "--calibration channel: must be none: answers of translation are generated",
        ),
        (("--ensemble", "seeds"), "--ensemble seeds: must be left out: answers of translation are generated"),
        (("--shot_selection", "hardest"), "no answer's likelihood is known"),
        (("--shot_selection", "balanced"), "only for tasks whose answer is one label"),
        (("--metrics", "accuracy"), "--metrics accuracy: compares label; translation answers with text"),
    ],
)
def test_the_lab_refuses_what_needs_known_answers(
    more: tuple[str, ...], said: str, place: Path, tmp_path: Path
) -> None:
    from adapters.core.errors import SettingsError

    with pytest.raises(SettingsError, match=said):
        lab(place, tmp_path / "lab", "translation", *more).check()


@pytest.mark.parametrize(
    ("task", "more", "said"),
    [
        (
            "translation",
            ("--target_lang", "fr"),
            "no column of fr with a usual name (fr). Columns found: de, en.",
        ),
        ("translation", ("--method", "head"), "translation has no head to train: use full, lora or prefix"),
        ("translation", ("--method", "prompt_tuning"), "translation has no head, and prompt_tuning cannot generate"),
        ("translation", ("--method", "lora", "--max_new_tokens", "250"), "--max_new_tokens 250: of 256 tokens"),
        ("summarization", ("--prompt", "translation_few"), "is a prompt for translation, not for summarization"),
        ("summarization", ("--summary_column_name", "gist"), "no column 'gist' (--summary_column_name)"),
    ],
)
def test_what_a_user_can_get_wrong_ends_with_code_2(
    task: str, more: tuple[str, ...], said: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    method = () if "--method" in more else ("--method", "few_shot")
    own = [
        "--model_name_or_path",
        str(place / "gpt2"),
        "--output_dir",
        str(tmp_path / "run"),
        "--mixed_precision",
        "no",
    ]
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(["train", *flags(place, task), *own, *method, *more]))
    assert stop.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_unequal_files_end_with_both_counts(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, lines in (("train.en", 3), ("train.de", 2)):
        (tmp_path / name).write_text("Ada\n" * lines)
    own = ["--model_name_or_path", str(place / "gpt2"), "--output_dir", str(tmp_path / "run"), "--method", "lora"]
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(["train", *TRANSLATION, "--train_file", str(tmp_path / "train.en"), *own]))
    assert stop.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "train.de has 2 lines" in said and "train.en has 3 lines" in said and not (tmp_path / "run").exists()
