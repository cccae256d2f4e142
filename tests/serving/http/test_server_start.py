"""How a server starts: cards are checked before a base is fetched, and lines on a terminal are for people."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
import tiny

from adapters.artifacts import loading
from adapters.artifacts.artifact import CARD
from adapters.cli.main import main
from adapters.core.errors import ArtifactError, SettingsError
from adapters.core.files import as_json, digest_value
from adapters.core.sources import resolve
from adapters.serving.bank.card_check import named_base
from adapters.serving.http.telemetry import JsonLines, PlainLines
from adapters.serving.http.uvicorn_server import log_to


def on(base: str, folder: Path, target: Path) -> Path:
    """A copy of an adapter whose card names a base."""
    shutil.copytree(folder, target)
    card = json.loads((target / CARD).read_text())
    card["base"]["name"] = base
    del card["digest"]
    (target / CARD).write_text(as_json({**card, "digest": digest_value(card)}))
    return target


@pytest.fixture
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and a fault where anything would be fetched."""

    def fetched(*_: Any, **__: Any) -> Any:
        raise AssertionError("a base was fetched")

    monkeypatch.setenv("TASKSWAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(resolve, "_from_alias", fetched)
    monkeypatch.setattr(resolve, "_from_hub", fetched)


@pytest.fixture
def quiet() -> Iterator[None]:
    """The log as it was."""
    loggers = [logging.getLogger(name) for name in ("adapters.serving", "uvicorn", "py.warnings")]
    before = [(one.handlers, one.propagate, one.level) for one in loggers]
    yield
    logging.captureWarnings(False)
    for one, (handlers, propagate, level) in zip(loggers, before, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


def test_the_base_is_the_one_that_all_adapters_name(served_root: Path, tmp_path: Path) -> None:
    ner, mood = on("e5", served_root / "ner", tmp_path / "ner"), on("e5", served_root / "mood", tmp_path / "mood")
    assert named_base({}) is None
    assert named_base({"ner": ner, "mood": mood}) == "e5"
    other = on("minilm", served_root / "mood", tmp_path / "other")
    with pytest.raises(SettingsError, match=r"ner and mood name different base models \(e5, minilm\)"):
        named_base({"ner": ner, "mood": other})


@pytest.mark.usefixtures("nothing_is_fetched", "quiet")
@pytest.mark.parametrize("hub_id", [False, True])
def test_an_adapter_of_another_alias_is_refused_before_the_base_is_fetched(
    served_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], hub_id: bool
) -> None:
    folder = on("sentence-transformers/all-MiniLM-L6-v2" if hub_id else "minilm", served_root / "ner", tmp_path / "ner")
    assert main(["serve", "--base", "e5", "--port", "0", "--adapter", f"ner={folder}"]) == 2
    said = capsys.readouterr().err
    assert f"{folder} was trained on minilm, not on e5" in said and "Use it with --base minilm" in said
    for words in (["predict", str(folder), "a"], ["inspect", str(folder)]):
        assert main([*words, "--base", "e5"]) == 2
        assert "This artifact was trained on minilm, not on e5" in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_is_fetched", "quiet")
@pytest.mark.parametrize("fault", ["weights", "card", "router"])
def test_what_is_damaged_is_refused_before_the_base_is_fetched(
    served_bank: Any, served_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    folder = on("minilm", served_root / "ner", tmp_path / "ner")
    router = tiny.router(tmp_path / "router", served_bank)
    damaged = {"weights": folder / "adapter_model.safetensors", "card": folder / CARD, "router": router / "router.json"}
    damaged[fault].write_bytes(damaged[fault].read_bytes()[:-9])
    words = ["--base", "minilm", "--port", "0", "--adapter", f"ner={folder}", "--router", str(router)]
    assert main(["serve", *words]) == 2
    assert str(damaged[fault]) in capsys.readouterr().err


@pytest.mark.usefixtures("quiet")
def test_names_that_are_no_aliases_are_left_to_the_digests(served_root: Path, tmp_path: Path) -> None:
    folder = on("bert-of-my-own", served_root / "ner", tmp_path / "ner")
    card = json.loads((folder / CARD).read_text())
    for name in ("minilm", "somebody/all-MiniLM-L6-v2"):
        loading.check_base_name(card, name)
    card["base"]["name"] = "minilm"
    for name in ("minilm", "sentence-transformers/all-MiniLM-L6-v2", "somebody/a-copy", str(tmp_path)):
        loading.check_base_name(card, name)
    with pytest.raises(ArtifactError, match="not on smollm2"):
        loading.check_base_name(card, "smollm2")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("quiet")
def test_lines_on_a_terminal_are_plain_and_elsewhere_json() -> None:
    for stream in (Terminal(), io.StringIO()):
        log_to(stream)
        fields = {"url": "http://127.0.0.1:8000", "base": "a base", "seconds": 3.4}
        logging.getLogger("adapters.serving").info("ready", extra={"fields": fields})
        line = stream.getvalue()
        if stream.isatty():
            assert line.endswith(' ready url=http://127.0.0.1:8000 base="a base" seconds=3.4\n')
        else:
            assert json.loads(line) | fields == json.loads(line)


def record(message: str, level: int = logging.INFO, fault: Any = None, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("adapters.serving", level, "", 0, message, (), fault)
    made.fields = fields
    return made


def test_a_plain_line_has_its_level_and_its_trace_and_no_control_characters() -> None:
    try:
        raise RuntimeError("of ada@example.org")
    except RuntimeError:
        line = PlainLines().format(record("a fault", logging.ERROR, sys.exc_info(), texts=["\x1b[2Jclear", "b"]))
    first, *trace = line.splitlines()
    assert first.partition(" ")[2] == 'error a fault texts=["\\u001b[2Jclear","b"]'
    assert all(one.startswith("  ") for one in trace) and "ada@example.org" not in line
    line = PlainLines().format(record("one\n12:00:00 two \x9b31m", name="\u202etxt", empty="", none=None))
    assert line.partition(" ")[2] == 'one\n  12:00:00 two \\x9b31m name=\\u202etxt empty="" none=null'
    assert json.loads(JsonLines().format(record("one", name="x")))["name"] == "x"


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost")])
def test_the_ready_line_has_the_address_to_open(served_bank: Any, caplog: Any, host: str, shown: str) -> None:
    with caplog.at_level(logging.INFO, "adapters.serving"), servers.Running(served_bank, host=host) as server:
        servers.until(lambda: any(one.getMessage() == "ready" for one in caplog.records))
        ready = next(one for one in caplog.records if one.getMessage() == "ready")
        assert ready.fields["url"] == f"http://{shown}:{server.port}"
