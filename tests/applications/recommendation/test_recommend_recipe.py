"""The recipe of recommendation, run whole on a tiny model: what it leaves, says, and answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shop
from conftest import REPOSITORY, call_recipe, forget_accelerate

from adapters.applications.recommendation.catalogue import Item
from adapters.applications.recommendation.learning import OWN, TOWERS, TRAINING
from adapters.applications.recommendation.recommender import ADAPTER, Recommender, Request, cut, encoder, saved_record
from adapters.applications.recommendation.serving import application
from adapters.artifacts import artifact
from adapters.cli.main import main
from adapters.core.errors import ArtifactError
from adapters.models.base_model import open_base
from adapters.serving.bank.bank import AdapterBank

RECIPE = REPOSITORY / "recipes" / "recommend.py"
pytestmark = pytest.mark.usefixtures("one_thread")


def flags(given: dict[str, str], base: Path, out: Path, *more: str) -> list[str]:
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    return [*words, *shop.FLAGS.split(), "--model_name_or_path", str(base), "--output_dir", str(out), *more]


@pytest.fixture(scope="module")
def made(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recommender's folder."""
    folder = tmp_path_factory.mktemp("shop")
    more = ("--num_train_epochs", "2", "--compared_methods", "full", "head", "--als", "--slice_column_name", "price")
    forget_accelerate()
    assert call_recipe(RECIPE, flags(shop.files(folder / "data", users=80), tiny_bert, folder / "run", *more)) == 0
    forget_accelerate()
    return folder / "run"


@pytest.fixture(scope="module")
def loaded(made: Path) -> Recommender:
    return Recommender.load(made)


def test_what_it_leaves_is_an_ordinary_artifact_scores_and_a_page(made: Path) -> None:
    card = artifact.verify(made / ADAPTER / "artifact")
    assert card["task"]["name"] == "regression" and card["method"]["name"] == "lora" and card["max_length"] == 16
    assert not (made / TRAINING).exists(), "checkpoints are for the time until the recommender is written"
    scores = json.loads((made / "scores.json").read_text())
    names = [one["name"] for one in scores["slices"]["all items"]["systems"]]
    others = {"full fine-tuning", "frozen base, trained user tower", "frozen base, untrained"}
    assert names[:2] == [OWN, TOWERS] and others <= {*names}
    assert {"popularity", "item-kNN", "BM25 on the history", "ALS"} <= {*names}
    assert {"all items", "warm items", "known users", "price: 3"} <= {*scores["slices"]}
    for part in scores["slices"].values():
        for system in part["systems"]:
            assert system["nDCG@10"]["low"] <= system["nDCG@10"]["value"] <= system["nDCG@10"]["high"]
            assert 0 < system["coverage"] <= 1
    cost = scores["cost"]["lora"]
    assert cost["encodings in training"] < cost["events"] * 2 and cost["encodings in refreshing"] == 24 * 3
    page = (made / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "sampling" not in page
    notes = json.loads((made / "recommender.json").read_text())["notes"]
    assert any(line.startswith("test: ") and "are new" in line for line in notes)


def test_the_served_item_tower_has_the_vectors_of_training(loaded: Recommender, made: Path) -> None:
    texts = loaded.catalogue.texts()
    vectors, weights = loaded.encode(texts)
    assert np.allclose(vectors, loaded.signals.vectors, atol=1e-4)
    assert np.allclose(weights, loaded.signals.weights, atol=1e-4)
    bank = AdapterBank(saved_record(made)["base"])
    bank.load(ADAPTER, made / ADAPTER / "artifact")
    long = "ada lived near rome and wrote notes " * 20
    short = encoder(bank, 16)([long])[0]
    assert np.allclose(short, encoder(bank, 16)([f"{long} and more"])[0]), "no more than 16 tokens are read"
    assert cut(bank.base, ["", long], 16)[0] == " "


def test_a_text_that_is_cut_has_the_tokens_that_are_read(tiny_bert: Path) -> None:
    from adapters.applications.recommendation.towers import token_rows

    base = open_base(str(tiny_bert))
    texts = ["Ada lived in London, with a friend; zzzz qqqq", "a", "", "é ü\ud800 x" * 9]
    for most in (3, 5, 9, 64):
        assert token_rows(base, cut(base, texts, most), most) == token_rows(base, texts, most)


def test_a_loaded_recommender_knows_the_users_and_takes_new_items(loaded: Recommender) -> None:
    assert len(loaded.users) == 80
    answer = loaded.recommend(Request(user="u0", number=3))
    assert len(answer["items"]) == 3 and answer["basis"] == "history"
    loaded.add_items([Item(id="fresh", text="zzzz fresh")])
    assert "fresh" in [item["id"] for item in loaded.recommend(Request(wishes="zzzz fresh", number=1))["items"]]
    assert [one["id"] for one in loaded.search("fresh", 3)] in ([], ["fresh"]), "a word that training had not"


def test_the_command_asks_it(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", str(made), "--user", "u0", "--number", "2"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2 and "by history" in shown.err
    assert main(["recommend", str(made), "--wishes", "zzzz", "--json", "--tags", "sea"]) == 0
    assert json.loads(capsys.readouterr().out)["basis"] == "wishes"
    assert main(["recommend", str(made), "--history", "gone"]) == 2
    assert "there is no item 'gone'" in capsys.readouterr().err


def test_a_folder_with_a_recommender_is_not_replaced_unasked(
    made: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_recipe(RECIPE, flags(shop.files(tmp_path), tiny_bert, made)) == 2
    assert "holds a recommender" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("x")
    assert call_recipe(RECIPE, flags(shop.files(tmp_path), tiny_bert, tmp_path / "other")) == 2
    assert "holds files of others" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "message"), [("fulll", "did you mean 'full'"), ("tfidf", "trains an encoder")])
def test_a_method_that_cannot_be_compared_is_refused_before_anything_is_trained(
    name: str, message: str, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = flags(shop.files(tmp_path / "data"), tiny_bert, tmp_path / "run", "--compared_methods", name)
    assert call_recipe(RECIPE, given) == 2
    said = capsys.readouterr().err
    assert message in said and "untrained" not in said


def test_given_cases_are_ranked_among_their_candidates(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = shop.files(tmp_path / "data")
    cases = [
        {"user": f"x{n}", "history": ["sea0", "sea1"], "target": "sea2", "candidates": ["war1", "joke2"]}
        for n in range(5)
    ]
    given["test_file"] = str(shop.write(tmp_path / "cases.jsonl", cases))
    more = ("--max_train_steps", "1", "--overwrite_output_dir")
    assert call_recipe(RECIPE, flags(given, tiny_bert, tmp_path / "run", *more)) == 0
    scores: dict[str, Any] = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert {"all items", "sampled", "new users"} <= {*scores["slices"]} and scores["slices"]["sampled"]["cases"] == 5
    by_name = {one["name"]: one for one in scores["slices"]["sampled"]["systems"]}
    assert by_name["BM25 on the history"]["nDCG@10"]["value"] == 1, "the words tell the target from the others"
    assert "sampled: 5 users" in capsys.readouterr().out


def test_a_damaged_folder_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no recommender"):
        application(tmp_path)
    for name, content in (("vectors.safetensors", b"x"), ("items.jsonl", b"{}\n"), ("ranker.txt", b"tree\nx")):
        folder = tmp_path / name.partition(".")[0]
        shutil.copytree(made, folder)
        (folder / name).write_bytes(content)
        with pytest.raises(ArtifactError):
            Recommender.load(folder)
    folder = tmp_path / "items"
    (folder / "items.jsonl").write_text("".join((made / "items.jsonl").read_text().splitlines(True)[:-1]))
    with pytest.raises(ArtifactError):
        Recommender.load(folder)
