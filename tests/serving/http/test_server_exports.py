"""A server of exports answers as the exports do, says what it cannot do, and starts without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import REPOSITORY, build_tiny_bert
from servers import Site

from adapters.artifacts import runtime
from adapters.artifacts.export.base.export_format import ExportRequest, export
from adapters.core.errors import BankError, SettingsError
from adapters.serving.bank.export_bank import ExportBank
from adapters.serving.http.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
TEXT = "Ada Lovelace lived in London."


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An export of one adapter, and one of two."""
    from adapters.models.base_model import open_base

    root = tmp_path_factory.mktemp("served")
    base = open_base(str(build_tiny_bert(root / "bert")))
    ner = tiny.adapter(root / "ner", "lora", base, tiny.tagging(), seed=1, lora_r=2)
    mood = tiny.adapter(root / "mood", "lora", base, tiny.classifying(), seed=2, lora_r=2)
    for name, given in (("one", {"folder": ner}), ("two", {"folder": None, "adapters": {"ner": ner, "mood": mood}})):
        export("onnx", ExportRequest(**given, output_dir=root / name, base=str(root / "bert")))  # type: ignore[arg-type]
    return {"one": root / "one", "two": root / "two"}


@pytest.fixture
def site(folders: dict[str, Path]) -> Any:
    found = Site(ExportBank({"ner": folders["one"], "app": folders["two"]}), runtime="onnx")
    yield found
    found.close()


def test_answers_are_those_of_the_exports(site: Site, folders: dict[str, Path]) -> None:
    asked = [{"adapter": name, "inputs": TEXT} for name in ("ner", "app-mood", "app-ner", "ner")]
    answers = site.predict(asked).json()
    alone = [runtime.load(folders["one"])(TEXT), runtime.load(folders["two"], "mood")(TEXT)]
    wanted = [alone[0], alone[1], alone[0], alone[0]]
    assert [one["version"] for one in answers] == [1] * 4
    for found, output in zip(answers, wanted, strict=True):
        if "tags" in output:
            assert found["output"]["tags"] == output["tags"]
        else:
            assert found["output"]["score"] == pytest.approx(output["score"], abs=1e-3)
    listed = site.ask("GET", "/v1/adapters").json()
    assert [one["name"] for one in listed["adapters"]] == ["app-mood", "app-ner", "ner"]
    assert all(one["resident"] and one["task"] for one in listed["adapters"])
    assert site.ask("GET", "/v1/adapters/app-mood").json()["card"]["output"] == "sequence_classification"
    assert 'taskswap_texts_total{adapter="ner"} 2.0' in site.ask("GET", "/metrics").text


def test_what_exports_cannot_do_is_said(site: Site) -> None:
    answers = site.predict(
        [
            {"adapter": "ner", "inputs": TEXT},
            {"adapter": None, "inputs": TEXT},
            {"adapter": "app-moot", "inputs": TEXT},
            {"adapter": "ner", "inputs": {"question": "who?"}},
            {"adapter": "ner", "inputs": {"text": TEXT}, "task": "summarization"},
        ]
    ).json()
    assert "output" in answers[0]
    for answer, said in zip(answers[1:], ("Name one of ner, app-ner, app-mood", "did you mean 'app-mood'",
                                          "ner takes", "does no other"), strict=True):  # fmt: skip
        assert said in answer["error"]
    assert site.ask("POST", "/v1/generate", json={"adapter": "ner", "inputs": "a"}).status_code == 422
    assert site.ask("DELETE", "/v1/adapters/app-mood").status_code in (200, 204)
    assert "No adapter is called" in json.dumps(site.predict([{"adapter": "app-mood", "inputs": TEXT}]).json())


@pytest.mark.parametrize("name", ["app-ner", "app-mood"])
def test_names_that_are_not_valid_or_taken_are_refused(folders: dict[str, Path], name: str) -> None:
    for given in ({name: folders["one"], "app": folders["two"]}, {"app": folders["two"], name: folders["one"]}):
        with pytest.raises(SettingsError, match=f"would be called {name}, and so has") as raised:
            ExportBank(given)
        assert all(str(folder) in str(raised.value) for folder in folders.values())
    for wrong, said in (("a" * 61, "not a valid adapter name"), ("Capital", "not a valid adapter name")):
        with pytest.raises(SettingsError, match=said):
            ExportBank({wrong: folders["two"]})
    with pytest.raises(SettingsError, match="'auto' is not a valid adapter name"):
        ExportBank({"auto": folders["one"]})


REFUSED = [
    ("PUT", "/v1/adapters/ner", {"folder": "one"}, "the adapters that it was started with"),
    ("POST", "/v1/adapters/ner/rollback", None, "the adapters that it was started with"),
    ("PUT", "/v1/router", {"folder": "router"}, "the adapters that it was started with"),
    ("POST", "/v1/explain", {"adapter": "ner", "inputs": TEXT}, "taskswap explain"),
]


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize(("method", "path", "body", "said"), REFUSED)
def test_what_only_a_server_of_artifacts_does_is_refused_by_what_this_one_is(
    method: str, path: str, body: Any, said: str, root: bool, folders: dict[str, Path]
) -> None:
    more = {"adapter_root": str(folders["one"].parent)} if root else {}
    site = Site(ExportBank({"ner": folders["one"]}), runtime="onnx", **more)
    refused = site.ask(method, path, json=body)
    assert refused.status_code == 403 and refused.json()["error"].startswith("A server of exports (--runtime onnx)")
    assert said in refused.json()["error"] and refused.json()["expected"] == "a server with --runtime torch"
    assert site.ask("GET", "/v1/router").json()["router"] is None
    assert site.ask("DELETE", "/v1/router").status_code == 404
    site.close()


def test_a_bank_of_exports_says_itself_what_it_cannot_do(folders: dict[str, Path]) -> None:
    bank = ExportBank({"ner": folders["one"]})
    assert not (bank.generates or bank.explains or bank.loads) and bank.moved() == []
    for call in (
        lambda: bank.load("ner", folders["one"], replace=True),
        lambda: bank.reload("ner"),
        lambda: bank.rollback("ner"),
        lambda: bank.load_router(folders["one"]),
        bank.unload_router,
        lambda: bank.generate([{"adapter": "ner", "inputs": TEXT}]),
        lambda: bank.explain({"adapter": "ner", "inputs": TEXT}, method="occlusion"),
    ):
        with pytest.raises(BankError):
            call()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"runtime": "tflite"}, "must be torch or onnx"),
        ({"runtime": "onnx", "device": "cuda"}, "--device cuda"),
        ({"runtime": "onnx", "watch": 1.0}, "--watch"),
        ({"runtime": "onnx", "dtype": "bfloat16"}, "--dtype"),
    ],
)
def test_settings_that_need_torch_are_refused(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings(**flags).check()


def test_a_server_without_an_export_is_refused() -> None:
    with pytest.raises(SettingsError, match="needs an export"):
        ExportBank({})


OPENING = """
import json, sys
from adapters.serving.http.auth import Tokens
from adapters.serving.http.service import Service
from adapters.serving.http.settings import Settings
service = Service(Settings(runtime="onnx", adapter=[f"ner={sys.argv[1]}"]), Tokens())
service.open()
answer = service.bank.predict([{"adapter": "ner", "inputs": sys.argv[2]}])[0]
print(json.dumps([service.status, answer["output"]["tags"], sorted({"torch", "transformers"} & set(sys.modules))]))
service.close()
"""


def test_a_server_of_exports_starts_without_torch(folders: dict[str, Path]) -> None:
    command = [sys.executable, "-c", OPENING, str(folders["one"]), TEXT]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    status, tags, heavy = json.loads(ended.stdout)
    assert status == "ready" and heavy == []
    assert tags == runtime.load(folders["one"])(TEXT)["tags"]
