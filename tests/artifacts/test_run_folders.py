"""The folder of a run is taken wherever its artifact is: by each command, in Python, and over HTTP."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import servers
import tiny

import adapters
from adapters.artifacts import combining, loading, merging
from adapters.artifacts.export.base.export_format import ExportRequest, export
from adapters.artifacts.published import located
from adapters.cli.main import main
from adapters.core.errors import ArtifactError
from adapters.serving.bank.bank import AdapterBank

pytestmark = pytest.mark.usefixtures("one_thread")
TEXT = "Ada Lovelace lived in London."


@pytest.fixture(scope="module")
def root(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `ner`, `mood`, `humour` and `relations`, each with its artifact in it."""
    from adapters.models.base_model import open_base

    folder, base = tmp_path_factory.mktemp("runs"), open_base(str(tiny_bert))
    tasks = {"ner": tiny.tagging(), "mood": tiny.classifying(), "humour": tiny.classifying()}
    for seed, (name, task) in enumerate({**tasks, "relations": tiny.relating()}.items()):
        (folder / name).mkdir()
        (folder / name / "settings.json").write_text("{}")
        tiny.adapter(folder / name / "artifact", "lora", base, task, seed=seed, lora_r=2)
    return folder


@pytest.fixture
def command(root: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Runs a command with the runs' names in braces replaced by their folders; gives what it printed."""
    dev = tmp_path / "dev.csv"
    dev.write_text("text,label\nAda,bad\nRome,good\nParis,good\nAlan,bad\n")

    def run(words: str, *texts: str) -> str:
        folders = {folder.name: folder for folder in root.iterdir()}
        given = words.format(**folders, dev=dev, out=tmp_path / "out").split()
        assert main([*given, *texts, "--base", str(tiny_bert)]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "words",
    [
        "predict {ner}",
        "predict --pipeline ner={ner},relation={relations}",
        "explain {mood} --method occlusion",
    ],
)
def test_commands_answer_with_the_folder_of_a_run(command, words: str) -> None:
    assert "Ada" in command(words, TEXT)


@pytest.mark.parametrize(
    "words",
    [
        "inspect {mood}",
        "merge {mood} --output_dir {out}",
        "merge {mood} {humour} --output_dir {out}",
        "merge {mood} {humour} --output_dir {out} --validation_file {dev}",
        "export {mood} --format merged --output_dir {out}",
    ],
)
def test_commands_take_the_folder_of_a_run(command, tmp_path: Path, words: str) -> None:
    assert command(words)
    if "{out}" in words:
        card = json.loads((tmp_path / "out" / "card.json").read_text())
        names = [part["name"] for part in card["combined"]["of"]] if "combined" in card else [card["merged"]["name"]]
        assert names == [name for name in ("mood", "humour") if f"{{{name}}}" in words]


@pytest.mark.slow
def test_several_runs_are_exported_together(root: Path, tiny_bert: Path, tmp_path: Path) -> None:
    runs = {"ner": root / "ner", "mood": root / "mood"}
    export("onnx", ExportRequest(folder=None, adapters=runs, output_dir=tmp_path / "out", base=str(tiny_bert)))
    assert adapters.load(tmp_path / "out", adapter="ner")(TEXT)["text"] == TEXT


def test_python_takes_the_folder_of_a_run(root: Path, tiny_bert: Path, tmp_path: Path) -> None:
    run, base = root / "mood", str(tiny_bert)
    wanted = loading.load(run / "artifact", base=base)(TEXT)
    assert adapters.load(run, base=base)(TEXT) == loading.load(run, base=base)(TEXT) == wanted
    assert merging.merge(run, tmp_path / "merged", base=base).is_dir()
    assert combining.Adapters([run, root / "humour"], base=base).combine(tmp_path / "both").is_dir()
    bank = AdapterBank(base)
    info = bank.load("mood", run)
    assert (info["folder"], info["followed"]) == (str(run / "artifact"), str(run))
    assert bank.reload("mood", root / "humour")["folder"] == str(root / "humour" / "artifact")
    assert bank.moved() == []


def test_a_server_takes_the_folder_of_a_run(root: Path, tiny_bert: Path) -> None:
    bank = AdapterBank(str(tiny_bert), adapter_root=root)
    bank.load("ner", root.resolve() / "ner")
    with servers.site(bank, adapter_root=str(root)) as site:
        for folder in ("mood", "mood/artifact"):
            put = site.ask("PUT", "/v1/adapters/mood", json={"folder": folder}).json()
            assert put["folder"] == "mood/artifact"
        assert site.predict([{"adapter": "mood", "inputs": TEXT}]).json()[0]["output"]["text"] == TEXT


def test_a_run_whose_artifact_is_a_link_out_of_the_root_is_refused(root: Path, tiny_bert: Path, tmp_path: Path) -> None:
    bank = AdapterBank(str(tiny_bert), adapter_root=tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "artifact").symlink_to(root / "mood" / "artifact")
    assert located(tmp_path / "run") == (root / "mood" / "artifact").resolve()
    with pytest.raises(ArtifactError, match="lies outside"):
        bank.load("mood", tmp_path / "run")


def test_a_version_may_be_the_folder_of_a_run(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "mood", tmp_path / "versions" / "0001")
    (tmp_path / "current.json").write_text('{"format": 1, "version": 1, "folder": "versions/0001"}')
    assert located(tmp_path) == (tmp_path / "versions" / "0001" / "artifact").resolve()


def test_an_artifact_is_itself_whatever_lies_in_it(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "mood" / "artifact", tmp_path / "one")
    (tmp_path / "one" / "artifact").mkdir()
    assert located(tmp_path / "one") == tmp_path / "one"


def test_a_folder_with_neither_says_what_to_give(root: Path, tiny_bert: Path) -> None:
    with pytest.raises(ArtifactError, match="Give the folder of a run that has finished, or the `artifact` in it"):
        adapters.load(root, base=str(tiny_bert))
