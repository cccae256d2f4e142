"""`taskswap explain`: what it writes, where it finds training data, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import adapters
from adapters.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of tfidf on reviews."""
    folder = tmp_path_factory.mktemp("explain")
    rows = [
        f"{'a good film, a joy' if n % 2 else 'a dull film, so bad'} {n},{'good' if n % 2 else 'bad'}"
        for n in range(40)
    ]
    (folder / "reviews.csv").write_text(
        "\n".join(["text,label", *(f'"{r.rpartition(",")[0]}",{r.rpartition(",")[2]}' for r in rows)])
    )
    words = ["train", "--task", "classification", "--method", "tfidf", "--train_file", str(folder / "reviews.csv")]
    assert main([*words, "--output_dir", str(folder / "run")]) == 0
    return folder / "run"


def test_words_are_shown_and_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(run / "artifact")
    assert main(["explain", artifact, "a good joy", "--nearest", "2"]) == 0
    said = capsys.readouterr()
    assert "classification by tfidf: good" in said.out and "Decided like these of train" in said.out
    assert "training examples of" in said.err and "reviews.csv" in said.err
    assert main(["explain", artifact, "a good joy", "so dull", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["target"] for one in records] == ["good", "bad"] and all(one["error"] < 1e-6 for one in records)
    assert main(["explain", artifact, "a <b> joy", "--output", str(tmp_path / "why.html")]) == 0
    page = (tmp_path / "why.html").read_text()
    assert "&lt;" in page and 'class="for"' in page and "http://" not in page.replace("http://www.w3.org", "")
    (tmp_path / "texts.jsonl").write_text('{"text": "a joy"}\n{"text": "dull"}\n')
    assert (
        main(["explain", artifact, "--input", str(tmp_path / "texts.jsonl"), "--output", str(tmp_path / "a.json")]) == 0
    )
    assert [one["method"] for one in json.loads((tmp_path / "a.json").read_text())] == ["weights", "weights"]


@pytest.mark.parametrize("texts", [[], ["a joy\u2028so good"], ["a joy", "dull"]])
def test_files_are_json_however_many_texts_there_are(
    run: Path, tmp_path: Path, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "texts.jsonl"
    asked.write_text("".join(json.dumps(text) + "\n" for text in texts))
    words = ["explain", str(run / "artifact"), "--input", str(asked)]
    for name in ("a.json", "a.jsonl", "a.html"):
        assert main([*words, "--output", str(tmp_path / name)]) == 0
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [one["texts"]["text"] for one in found] == texts
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()] == found
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == found


def test_a_file_of_neighbours_is_read_whole_where_the_run_drew_of_its_own(run: Path, tmp_path: Path) -> None:
    file = str(run.parent / "reviews.csv")
    rows = {"task": "classification", "train": file, "max_train_samples": 20, "train_draw": 1}
    drawn = adapters.train(method="tfidf", output_dir=tmp_path / "run", **rows)
    assert drawn is not None
    assert adapters.explain(drawn.folder, "a good joy", nearest=1, train=file).neighbours[0].answer == "good"


def test_python_explains_as_the_command_does(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = adapters.explain(run, "a good joy", nearest=1)
    assert main(["explain", str(run / "artifact"), "a good joy", "--nearest", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(json.dumps(found.record()))
    assert found.neighbours[0].answer == "good" and "joy" in found.neighbours[0].text
    assert "Decided like these" in found._repr_html_()
    again = adapters.explain(adapters.load(run), "a good joy")
    assert [part.value for part in again.parts] == [part.value for part in found.parts]


def test_explanations_are_tested(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marked = tmp_path / "marked.jsonl"
    rows = [{"text": f"the film {n} is a joy", "spans": [[len(f"the film {n} is a "), len(f"the film {n} is a joy")]],
             "label": "good"} for n in range(6)]  # fmt: skip
    rows += [{"text": f"film {n} was so dull", "rationales": [[3, 5]]} for n in range(6)] + [
        {"text": "a film", "rationales": [[2, 2]]}
    ]
    marked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "tests.json"
    assert main(["explain", str(run / "artifact"), "--evaluate", str(marked), "--output", str(out)]) == 0
    record: dict[str, Any] = json.loads(out.read_text())
    assert (record["examples"], record["marked"], record["skipped"]) == (13, 12, 0)
    assert list(record["methods"]) == ["weights", "occlusion", "random", "length"]
    weights, random = record["methods"]["weights"], record["methods"]["random"]
    assert weights["completeness"]["value"] == 1 and weights["completeness"]["n"] == 13
    assert weights["auprc"]["value"] > random["auprc"]["value"] and weights["auprc"]["n"] == 12
    assert weights["comprehensiveness"]["value"] > random["comprehensiveness"]["value"]
    assert weights["random_weights"]["value"] < 0.9 and "random_weights" not in random
    assert main(["explain", str(run / "artifact"), "--evaluate", str(marked), "--max_samples", "2"]) == 0
    shown = capsys.readouterr().out
    assert "compr." in shown and max(map(len, shown.splitlines())) <= 80 and "…\n" not in shown


def test_an_example_that_a_method_does_not_suit_is_left_out_and_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.artifacts.explaining import occlusion
    from adapters.core.errors import ModelError

    whole = occlusion.Attribution.attribute

    def attribute(self: Any, answer: Any, options: Any) -> Any:
        if "odd" in answer.example.inputs["text"]:
            raise ModelError("The model says something else of an odd text.")
        return whole(self, answer, options)

    monkeypatch.setattr(occlusion.Attribution, "attribute", attribute)
    marked, out = tmp_path / "marked.jsonl", tmp_path / "tests.json"
    rows = [{"text": text, "spans": [[0, 1]]} for text in ("a joy", "a good film", "an odd film", "so dull", "\u200b")]
    marked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["explain", str(run / "artifact"), "--evaluate", str(marked)]
    assert main([*words, "--output", str(out)]) == 0
    record = json.loads(out.read_text())
    assert (record["examples"], record["skipped"]) == (5, 2)
    assert record["reasons"] == [
        f"{marked}:3: The model says something else of an odd text.",
        f"{marked}:5: The text has no word, so there is nothing to explain.",
    ]
    assert {found["auprc"]["n"] for found in record["methods"].values()} == {3}
    assert main([*words]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 not explained" in shown and "The model says something else of an odd text." in shown


def test_lines_of_json_end_at_a_line_feed_alone(run: Path, tmp_path: Path) -> None:
    marked, out = tmp_path / "marked.jsonl", tmp_path / "tests.json"
    text = "a joy\u2028so\u2029good\u0085a film"
    marked.write_text(json.dumps({"text": text, "spans": [[2, 5]]}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert main(["explain", str(run / "artifact"), "--evaluate", str(marked), "--output", str(out)]) == 0
    assert json.loads(out.read_text())["marked"] == 1


def test_a_file_of_another_encoding_is_read_if_it_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marked = tmp_path / "marked.jsonl"
    marked.write_bytes('{"text": "a joy"}\n{"text": "a caf\u00e9 film"}\n'.encode("latin-1"))
    words = ["explain", str(run / "artifact"), "--evaluate", str(marked)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"{marked}:2: byte 0xe9 is not utf-8" in said and "--encoding" in said
    assert main([*words, "--encoding", "latin-1", "--json"]) == 0
    assert main([*words, "--encoding", "latin-7"]) == 2
    assert "--encoding latin-7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "shots"], "--method shots: explains the shots of a prompt, not words"),
        (["--method", "weights,integrated_gradients"], "no gradient of a text's embeddings"),
        (["--steps", "0"], "--steps 0: must be at least 2"),
        (["--target", "goood"], "did you mean 'good'"),
        (["--target", "goood", "--method", "weights"], "did you mean 'good'"),
        (["--max_samples", "0"], "--max_samples 0: must be at least 1"),
    ],
)
def test_tests_that_cannot_be_made_are_refused(
    run: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_text('{"text": "a joy"}\n{"text": "so dull"}\n')
    assert main(["explain", str(run / "artifact"), "--evaluate", str(path), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give texts, or --input"),
        (["a", "--input", "x.jsonl"], "one of the three"),
        (["--evaluate", "nowhere.jsonl"], "no such file"),
        (["a", "--method", "occlusions"], "did you mean 'occlusion'"),
        (["a", "--method", "occlusion,weights"], "several only with --evaluate"),
        (["a", "--method", "integrated_gradients"], "no gradient of a text's embeddings"),
        (["a", "--target", "goood"], "did you mean 'good'"),
        (["a", "--output", "why.txt"], "must end with"),
        (["", "--method", "weights"], "none of them empty"),
        (["a", "--nearest", "-1"], "must be 0 or more"),
        (["a", "--steps", "1"], "steps"),
    ],
)
def test_wrong_input_is_refused(run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(run / "artifact"), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "spans": [[0, 5]]}', "spans end at character 5, and the text has 1"),
        ('{"text": "a b", "rationales": [[1, 3]]}', "rationales end at token 3, and the text has 2"),
        ('{"text": "a", "spans": [[2, 1]]}', "is no span"),
        ('{"text": "a", "spans": "a"}', "is no span"),
        ('{"words": "a"}', "classification takes"),
        ("[1]", "must be an object"),
        ("{", "not JSON"),
        ("", "has no examples"),
    ],
)
def test_marks_with_faults_are_refused_with_their_line(
    run: Path, tmp_path: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_text(line + "\n")
    assert main(["explain", str(run / "artifact"), "--evaluate", str(path)]) == 2
    said = capsys.readouterr().err
    assert message in said and (not line or f"{path}:1" in said)


def test_training_data_that_are_not_known_are_asked_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    shutil.copytree(run / "artifact", tmp_path / "artifact")
    words = ["explain", str(tmp_path / "artifact"), "a joy", "--nearest", "1"]
    assert main(words) == 2
    assert "give --train_file" in capsys.readouterr().err
    assert main([*words, "--train_file", str(run.parent / "reviews.csv")]) == 0
