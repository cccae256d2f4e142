"""What the routes answer: as the bank does, errors in their places, and a 4xx in JSON for whatever is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import servers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import TEXT, Site

from adapters.serving.http import schema
from adapters.serving.http.routes.pages import POLICY
from adapters.serving.http.telemetry import JsonLines, PlainLines

SPACES = [
    "Ada",
    "Ada Lovelace lived in New York .",
    "Alan Turing wrote notes near the old town of Paris .",
    "in the town",
    "Grüße aus Köln",
    "字典",
    "\x00",
    " \t",
    "😀 Ada",
]
NEAR = 0.0011


@pytest.fixture(scope="module")
def site(served_bank: Any, served_root: Path) -> Iterator[Site]:
    """An application around a bank of three adapters, which may load others."""
    with servers.site(served_bank, adapter_root=str(served_root)) as made:
        yield made


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same but for the last digits of their scores: batches are cut differently."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return abs(one - other) <= NEAR
    return bool(one == other)


requests = st.fixed_dictionaries(
    {
        "adapter": st.sampled_from([*servers.NAMES, None, "unknown"]),
        "inputs": st.one_of(st.sampled_from(SPACES), st.builds(dict, text=st.sampled_from(SPACES))),
    },
    optional={"id": st.text(max_size=9)},
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clients=st.lists(st.lists(requests, min_size=1, max_size=5), min_size=1, max_size=8))
def test_many_clients_at_once_are_answered_as_the_bank_answers_each(
    site: Site, served_bank: Any, clients: list[Any]
) -> None:
    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(site.send("POST", "/v1/predict", json=requests) for requests in clients))

    for requests, response in zip(clients, asyncio.run(all_of_them()), strict=True):
        expected = served_bank.predict(requests)
        found = response.json()
        assert alike(found if response.status_code == 200 else found["answers"], expected), (requests, found)
        assert (response.status_code == 200) == any("output" in answer for answer in expected)


def test_an_answer_says_how_long_it_waited_and_what_it_shared_its_batch_with(site: Site) -> None:
    response = site.predict([{"adapter": "ner", "inputs": TEXT}] * 3, headers={"x-request-id": "mine-1"})
    assert response.status_code == 200
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-batch-rows"] == "3"
    names = [part.partition(";dur=")[0] for part in response.headers["server-timing"].split(", ")]
    assert names == ["wait", "model"]
    assert [answer["id"] for answer in response.json()] == ["0", "1", "2"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"b', "ä"])
def test_a_hostile_request_id_is_not_taken_over(site: Site, given: str) -> None:
    found = site.ask("GET", "/healthz", headers={"x-request-id": given.encode("latin-1")}).headers["x-request-id"]
    assert found != given and len(found) == 32


def test_a_request_that_cannot_be_answered_has_its_error_in_its_own_place(site: Site) -> None:
    requests = [
        {"adapter": "mood", "inputs": ""},
        {"adapter": "ner", "inputs": TEXT},
        {"adapter": "nerr", "inputs": TEXT},
        {"adapter": "ner", "inputs": "x" * 20_001},
    ]
    response = site.predict(requests)
    assert response.status_code == 200
    empty, good, unknown, long = response.json()
    assert "none of them empty" in empty["error"]
    assert good["output"]["text"] == TEXT
    assert "did you mean 'ner'?" in unknown["error"]
    assert "20,001 characters is too long" in long["error"]


@pytest.mark.parametrize(
    ("requests", "status", "message"),
    [
        ([{"adapter": "nerr", "inputs": TEXT}], 404, "did you mean 'ner'?"),
        ([{"adapter": "mood", "inputs": " "}, {"adapter": "nerr", "inputs": TEXT}], 422, "none of them empty"),
        ([{"adapter": "ner", "inputs": {"words": ["a"]}}], 422, "ner takes"),
        ([{"adapter": "ner", "inputs": "x" * 20_001}], 413, "too long"),
        ([{"adapter": "a\x00b", "inputs": TEXT}], 404, "No adapter is called"),
        ([{"adapter": "../../etc", "inputs": TEXT}], 404, "No adapter is called"),
        ([], 422, "requests: must have at least 1, has 0"),
        ({}, 422, "requests: must be a list"),
        (None, 422, "must be a list"),
        ("text", 422, "must be a list"),
        ([1], 422, "requests[0]: must be an object"),
        ([{"inputs": TEXT}], 422, "requests[0].adapter: is missing"),
        ([{"adapter": "ner"}], 422, "requests[0].inputs: is missing"),
        ([{"adapter": 1, "inputs": TEXT}], 422, "requests[0].adapter: must be a text"),
        ([{"adapter": "ner", "inputs": 5}], 422, "requests[0].inputs: must be a text or an object."),
        ([{"adapter": "ner", "inputs": None}], 422, "requests[0].inputs: must be a text or an object."),
        ([{"adapter": "ner", "inputs": TEXT}, {"adapter": "ner", "inputs": [TEXT]}], 422, "requests[1].inputs: must"),
        ([{"adapter": "ner", "inputs": TEXT, "id": 5}], 422, "requests[0].id"),
        ([{"adapter": "ner", "inputs": TEXT, "adaptor": 5}], 422, "requests[0].adaptor: there is no such field"),
        ([{"adapter": "ner", "inputs": ""}] * 10_000, 413, "Too many texts"),
    ],
)
def test_wrong_requests_are_refused_in_json(site: Site, requests: Any, status: int, message: str) -> None:
    response = site.predict(requests)
    assert response.status_code == status, response.text
    found = response.json()
    assert message in found["error"]
    assert {"error", "expected", "found"} <= found.keys() <= {"error", "expected", "found", "answers"}
    assert all(isinstance(found[name], str) for name in ("error", "expected", "found"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[",
        b'[{"adapter": "ner", "inputs": "a"}',
        b"\xff\xfe",
        b"nul",
        b"[" * 100_000,
        b'[{"adapter": "ner", "inputs": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}]",
        rb'[{"adapter": "ner", "inputs": "\ud800"}]',
        b'[{"adapter": "ner", "inputs": "\xed\xa0\x80"}]',
        b"[NaN]x",
        b'[{"adapter": "ner", "inputs": "a\x00b"}]',
    ],
)
def test_what_is_no_json_is_refused_with_400(site: Site, body: bytes) -> None:
    response = site.ask("POST", "/v1/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["error"].startswith("The body is not JSON")
    assert len(response.content) < 1000
    assert site.predict([{"adapter": "ner", "inputs": TEXT}]).status_code == 200


def test_nul_and_surrogate_pairs_and_odd_spaces_are_texts_like_others(site: Site, served_bank: Any) -> None:
    requests = [{"adapter": "ner", "inputs": text} for text in ("a\x00b", "\U0001f600", "\u202e\u200b", "")]
    response = site.predict(requests)
    assert response.status_code == 200
    assert alike(response.json(), served_bank.predict(requests))


def test_another_content_type_is_refused_with_what_to_send(site: Site) -> None:
    response = site.ask("POST", "/v1/predict", content=b"[]", headers={"content-type": "text/plain"})
    assert response.status_code == 415
    assert "-H 'Content-Type: application/json'" in response.json()["error"]


READ_BY = [("POST", "/v1/predict"), ("PUT", "/v1/adapters/ner")]
"""A route that reads its body, and one of which FastAPI does."""


@pytest.mark.parametrize(("method", "path"), READ_BY)
def test_a_body_that_is_too_large_is_refused_whatever_it_says_of_its_length(site: Site, method: str, path: str) -> None:
    async def tokens() -> Any:
        for _ in range(30):
            yield b" " * 100_000

    for body in (b" " * 1_000_001, tokens()):
        response = site.ask(method, path, headers={"content-type": "application/json"}, content=body)
        assert response.status_code == 413
        assert response.json()["expected"] == "at most 1,000,000 bytes"
    assert _limits(site).bodies.bytes_in_memory == 0


@pytest.mark.parametrize(("method", "path"), READ_BY)
def test_a_body_that_does_not_arrive_is_refused(served_bank: Any, method: str, path: str) -> None:
    async def begun() -> Any:
        yield b"["
        await asyncio.sleep(20)

    with servers.site(served_bank, read_timeout_s=0.1) as site:
        response = site.ask(method, path, headers={"content-type": "application/json"}, content=begun())
        assert response.status_code == 408 and response.json()["expected"] == "all of it within 0.1 s"


def _limits(site: Site) -> Any:
    found = site.app.middleware_stack
    while type(found).__name__ != "Limits":
        found = found.app
    return found


@pytest.mark.parametrize("given", ["0", "-1", "x", "1.5", "²", "9" * 30, ""])
def test_a_deadline_that_is_no_number_is_refused(site: Site, given: str) -> None:
    response = site.predict([{"adapter": "ner", "inputs": TEXT}], headers={"x-timeout-ms": given.encode()})
    assert response.status_code == 422
    assert response.json()["expected"] == "a whole number, at least 1"


def test_a_client_may_ask_for_less_time_and_not_for_more(served_bank: Any) -> None:
    slow = servers.Slow(served_bank)
    with servers.site(None, timeout_ms=200) as mine:
        slow.go.set()
        mine.service.start(slow)
        slow.go.clear()
        for requests in ("20", "90000"):
            response = mine.predict([{"adapter": "ner", "inputs": TEXT}], headers={"x-timeout-ms": requests})
            assert response.status_code == 504
            assert response.json()["expected"] == f"an answer within {min(200, int(requests))} ms"
        slow.go.set()


def test_before_the_base_is_warm_and_when_the_server_stops_it_is_not_ready(served_bank: Any) -> None:
    with servers.site(None) as mine:
        for message in ("warming", "draining"):
            assert mine.ask("GET", "/healthz").json() == {"status": "alive"}
            for response in (mine.ask("GET", "/readyz"), mine.predict([]), mine.ask("GET", "/v1/adapters")):
                assert response.status_code == 503
                assert response.headers["retry-after"] == "1"
                assert message in response.json()["error"]
            mine.service.drain()
    with servers.site(served_bank) as mine:
        assert mine.ask("GET", "/readyz").json() == {"status": "ready"}


def test_no_path_and_no_method_are_told_so_in_json(site: Site) -> None:
    response = site.ask("GET", "/v2")
    assert response.status_code == 404 and "GET" in response.json()["found"]
    response = site.ask("GET", "/v1/predict")
    assert response.status_code == 405 and response.headers["allow"] == "POST"
    assert response.json()["expected"] == "POST"


def test_a_fault_of_the_server_shows_no_trace_to_the_client_and_is_in_the_log(served_bank: Any, caplog: Any) -> None:
    class Broken(servers.Slow):
        def predict(self, requests: Any, faults: Any = None, observed: Any = None) -> Any:
            if any(request.inputs == "break" for request in requests):
                raise RuntimeError("a secret of the inside")
            return self.bank.predict(requests, faults, observed)

    with servers.site(Broken(served_bank)) as mine, caplog.at_level(logging.INFO, "adapters.serving"):
        response = mine.predict([{"adapter": "ner", "inputs": "break"}], headers={"x-request-id": "r-7"})
        assert response.status_code == 500
        assert response.json().keys() == {"error", "expected", "found"}
        assert "r-7" in response.json()["error"]
        assert "secret" not in response.text and "Traceback" not in response.text
        assert mine.predict([{"adapter": "ner", "inputs": TEXT}]).status_code == 200
    (record,) = [record for record in caplog.records if record.exc_info]
    line = json.loads(JsonLines().format(record))
    assert "a secret of the inside" in line["trace"] and line["request_id"] == "r-7"


@pytest.mark.parametrize("shown", [False, True])
def test_texts_are_in_the_log_only_if_asked_for(served_bank: Any, caplog: Any, shown: bool) -> None:
    with servers.site(served_bank, log_texts=shown) as mine, caplog.at_level(logging.DEBUG):
        mine.predict([{"adapter": "ner", "inputs": "Zanzibar"}, {"adapter": "zzz", "inputs": "Zanzibar"}])
        mine.predict([{"adapter": "mood", "inputs": {"wrong": "Zanzibar"}}])
        mine.predict([{"adapter": "mood", "inputs": ["Zanzibar"]}])
        mine.ask(
            "POST",
            "/v1/predict/stream",
            content=b'{"adapter": "ner", "inputs": "Zanzibar"}\n"Zanzibar"',
            headers={"content-type": "application/x-ndjson"},
        )
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "adapters.serving"]
    assert len(lines) == 4
    assert any("Zanzibar" in line for line in lines) is shown
    first = orjson.loads(lines[0])
    assert (first["status"], first["route"], first["texts"], first["batch_rows"]) == (200, "/v1/predict", 2, 2)
    assert {"time", "level", "request_id", "ms", "wait_ms", "model_ms"} <= first.keys()


@pytest.mark.parametrize("number", [2**64, -(10**40)])
def test_no_number_in_a_request_keeps_its_line_from_the_log(served_bank: Any, caplog: Any, number: int) -> None:
    with servers.site(served_bank, log_texts=True) as mine, caplog.at_level(logging.INFO, "adapters.serving"):
        mine.predict([{"adapter": "ner", "inputs": {"text": "Zanzibar", "more": [number]}}])
    (record,) = [record for record in caplog.records if record.name == "adapters.serving"]
    assert json.loads(JsonLines().format(record))["inputs"] == [{"text": "Zanzibar", "more": [number]}]
    assert f"[{number}]" in PlainLines().format(record)


def test_metrics_count_requests_batches_and_refusals_and_make_no_series_of_unknown_names(served_bank: Any) -> None:
    with servers.site(served_bank) as mine:
        mine.predict([{"adapter": "ner", "inputs": TEXT}, {"adapter": "made-up", "inputs": TEXT}])
        mine.predict([])
        lines = mine.ask("GET", "/metrics").text.splitlines()
    for line in (
        'taskswap_requests_total{route="/v1/predict",status="200"} 1.0',
        'taskswap_requests_total{route="/v1/predict",status="422"} 1.0',
        "taskswap_batch_rows_sum 2.0",
        'taskswap_texts_total{adapter="ner"} 1.0',
        'taskswap_texts_total{adapter="other"} 1.0',
        'taskswap_refusals_total{reason="shape"} 1.0',
        "taskswap_adapters_resident 3.0",
        "taskswap_queue_texts 0.0",
        "taskswap_batch_fill_count 1.0",
        "taskswap_evictions_total 0.0",
        'taskswap_request_seconds_count{route="/v1/predict"} 2.0',
    ):
        assert line in lines, line
    assert not [line for line in lines if "made-up" in line]


def test_two_applications_count_apart(served_bank: Any) -> None:
    with servers.site(served_bank) as one, servers.site(served_bank) as other:
        one.predict([{"adapter": "ner", "inputs": TEXT}])
        assert "taskswap_batch_rows_sum 1.0" in one.ask("GET", "/metrics").text
        assert "taskswap_batch_rows_sum 0.0" in other.ask("GET", "/metrics").text


def test_the_page_is_served_under_a_strict_policy(site: Site) -> None:
    response = site.ask("GET", "/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == POLICY
    assert "'unsafe" not in POLICY and "http" not in POLICY
    for path in ("/page.css", "/page.js"):
        assert site.ask("GET", path).status_code in (200, 404)


def test_the_openapi_describes_what_is_sent_with_examples_that_are_right(site: Site) -> None:
    described = site.ask("GET", "/openapi.json").json()
    assert {"/v1/predict", "/v1/predict/stream", "/v1/adapters", "/v1/adapters/{id}"} <= described["paths"].keys()
    predict = described["paths"]["/v1/predict"]["post"]
    content = predict["requestBody"]["content"]["application/json"]
    assert content["schema"]["maxItems"] == 64
    (example,) = content["examples"].values()
    assert len(site.service.parser.parse_list(orjson.dumps(example["value"]))) == 2
    for answer in predict["responses"]["200"]["content"]["application/json"]["example"]:
        schema.Answer.model_validate(answer)
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    references = set(re.findall(r'"#/components/schemas/(\w+)"', orjson.dumps(described).decode()))
    assert {"PredictRequest", "Answer", "LoadRequest"} <= references <= set(described["components"]["schemas"])


def test_an_evicted_adapter_whose_folder_has_changed_is_the_servers_fault_and_not_the_clients(
    tiny_bert: Path, served_root: Path, tmp_path: Path
) -> None:
    from adapters.serving.bank.bank import AdapterBank

    shutil.copytree(served_root / "ner", tmp_path / "ner")
    shutil.copytree(served_root / "mood", tmp_path / "mood")
    bank = AdapterBank(str(tiny_bert), adapter_root=tmp_path, capacity=1)
    bank.load("ner", tmp_path.resolve() / "ner")
    bank.load("mood", tmp_path.resolve() / "mood")
    with servers.site(bank, adapter_root=str(tmp_path)) as mine:
        assert mine.predict([{"adapter": "mood", "inputs": TEXT}]).status_code == 200
        (tmp_path / "ner" / "README.md").write_text("changed")
        response = mine.predict([{"adapter": "ner", "inputs": TEXT}])
        assert response.status_code == 503
        assert str(tmp_path) not in response.text


def test_the_docs_show_every_path_with_its_example_and_fetch_nothing(site: Site) -> None:
    response = site.ask("GET", "/docs")
    assert response.status_code == 200
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    described = site.ask("GET", "/openapi.json").json()
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in response.text
    assert "Ada Lovelace lived in London." in response.text and "lora_ner/artifact" in response.text
    assert "<script" not in response.text and "src=" not in response.text
    assert "`" not in response.text and "<code>X-Timeout-Ms</code> sets a lower time limit" in response.text
    assert not any("`" in one["summary"] for methods in described["paths"].values() for one in methods.values())


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("generate", {"adapter": "ner", "inputs": 5}, "inputs: must be a text or an object."),
        ("generate", {"adapter": "ner", "inputs": {"text": 5}}, "inputs.text: must be a text."),
        ("generate", {"adapter": "ner", "inputs": {"txt": "a"}}, "inputs.text: is missing."),
        ("generate", {"adapter": "ner", "inputs": "a", "stop": ["b", 5]}, "stop[1]: must be a text."),
        ("generate", {"inputs": 5}, "adapter: is missing."),
        ("generate", [], "body: must be an object."),
        ("generate", {"adapter": "ner", "inputs": "a", "x" * 200: 1}, f"{'x' * 80}: there is no such field."),
        ("explain", {"adapter": "ner", "inputs": ["a"]}, "inputs: must be a text or an object."),
        ("explain", {"adapter": "ner", "inputs": "a", "steps": "3"}, "steps: must be a whole number."),
    ],
)
def test_a_fault_names_its_place_as_people_do_and_all_that_may_stand_there(
    site: Site, path: str, body: Any, message: str
) -> None:
    response = site.ask("POST", f"/v1/{path}", json=body)
    assert (response.status_code, response.json()["error"]) == (422, message)


def test_a_fault_in_a_line_of_a_stream_names_its_place(site: Site) -> None:
    lines = b'{"adapter": "ner", "inputs": 5}\n5\n{"adapter": NaN}\n'
    headers = {"content-type": "application/x-ndjson"}
    response = site.ask("POST", "/v1/predict/stream", content=lines, headers=headers)
    errors = [json.loads(line)["error"] for line in response.text.splitlines()]
    assert errors[0] == "inputs: must be a text or an object." and errors[1] == "request: must be an object."
    assert errors[2] == "adapter: must be a text."


def test_a_fault_of_a_path_or_a_query_has_its_name() -> None:
    from pydantic import TypeAdapter, ValidationError

    from adapters.serving.http.refusal import misfit

    with pytest.raises(ValidationError) as error:
        TypeAdapter(dict[str, list[float | str | None]]).validate_python({"time": [1, {}]})
    assert misfit(error.value.errors(), {"time": [1, {}]}) == "time[1]: must be a number or a text."
    assert misfit([{"loc": ("str",), "type": "string_type", "msg": ""}], 5, "page") == "page: must be a text."
