"""A single request: calling an artifact answers it; what takes a list says so, whichever door it comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.artifacts.loaded import LoadedArtifact
from adapters.artifacts.pipeline import Pipeline
from adapters.core.errors import DataError
from adapters.serving.bank.bank import AdapterBank
from adapters.serving.bank.export_bank import ExportBank
from adapters.serving.bank.router import Router
from adapters.serving.http.client import Client
from adapters.tasks.base.requests import Request

TEXT = "Ada Lovelace lived in London."
SINGLE: list[Any] = [TEXT, {"adapter": "ner", "inputs": TEXT}, Request("ner", TEXT), None, 7]
URL = "http://127.0.0.1:9"


def loaded(bank: AdapterBank) -> LoadedArtifact:
    return LoadedArtifact(bank.card("ner"), bank.task("ner"), bank.predictor("ner"))


DOORS: dict[str, Callable[[AdapterBank], Callable[[Any], Any]]] = {
    "bank.predict": lambda bank: bank.predict,
    "bank.embed": lambda bank: bank.embed,
    "exports.predict": lambda bank: ExportBank.__new__(ExportBank).predict,
    "answer": lambda bank: loaded(bank).answer,
    "predict": lambda bank: loaded(bank).predict,
    "predictor.predict": lambda bank: bank.predictor("ner").predict,
    "pipeline.answer": lambda bank: Pipeline(lambda one: [], lambda one: []).answer,
    "client.predict": lambda bank: Client(URL).predict,
    "client.stream": lambda bank: Client(URL).stream,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("single", SINGLE, ids=lambda one: type(one).__name__)
def test_a_single_request_is_refused_in_words_that_show_a_list_or_a_call(
    served_bank: AdapterBank, door: str, single: Any
) -> None:
    with pytest.raises(DataError, match=r"even for one: \[|answered by \w+\.\w+\(") as error:
        DOORS[door](served_bank)(single)
    assert repr(single)[:30] in str(error.value)


def test_a_single_text_to_write_after_is_refused(tmp_path: Path) -> None:
    import servers

    with pytest.raises(DataError, match="list of requests, even for one"):
        servers.writing_bank(tmp_path).generate(Request(None, "Roses are"))


def test_texts_where_examples_are_needed_name_what_answers_them(served_bank: AdapterBank) -> None:
    with pytest.raises(DataError, match=r"adapters\.load\(…\)\(\"A text\.\"\).*Found 'Ada Lovelace"):
        loaded(served_bank).predict([TEXT])  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"bank\.predict\(\[Request"):
        served_bank.predictor("ner").predict([Request("ner", TEXT)])  # type: ignore[list-item]
    example = served_bank.task("ner").from_request({"text": TEXT}, "0")
    assert len(loaded(served_bank).predict([example])) == 1
    assert loaded(served_bank).predict([]) == []


def test_a_call_answers_one_or_several_and_a_list_of_one_gives_a_list(served_bank: AdapterBank) -> None:
    ner = loaded(served_bank)
    assert ner([TEXT]) == [ner(TEXT)] == [ner(Request("ner", TEXT))] == [ner({"text": TEXT})]
    assert len(served_bank.predict([Request("ner", TEXT)])) == 1


def test_requests_may_come_from_a_generator(served_bank: AdapterBank) -> None:
    def coming() -> Iterator[Request]:
        yield Request("ner", TEXT)
        yield Request("mood", TEXT)

    assert [one["adapter"] for one in served_bank.predict(coming())] == ["ner", "mood"]


def test_a_router_refuses_a_single_text(served_bank: AdapterBank) -> None:
    with pytest.raises(DataError, match="expected a list of texts"):
        Router(embed=served_bank.embed).route(TEXT)


@pytest.mark.parametrize("ask", ["predict", "stream"])
def test_a_clients_request_without_an_adapter_is_refused_before_anything_is_sent(ask: str) -> None:
    with pytest.raises(DataError, match=r"request 1: must name its adapter, as in \[\{.*found 'hello'"):
        list(getattr(Client(URL), ask)([Request("ner", TEXT), "hello"]))


def test_a_client_sends_all_that_a_request_has(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    client = Client(URL)
    monkeypatch.setattr(client, "_call", lambda method, path, given: sent.append(given) or [])
    client.predict(one for one in [Request("poet", TEXT, task="summarization"), {"adapter": "ner", "inputs": TEXT}])
    assert sent == [
        [
            {"id": "0", "adapter": "poet", "inputs": TEXT, "task": "summarization"},
            {"adapter": "ner", "inputs": TEXT, "id": "1"},
        ]
    ]
