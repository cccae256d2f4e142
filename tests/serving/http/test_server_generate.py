"""`POST /v1/generate`: what the bank writes, as one answer or line by line, for many clients at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import servers
from servers import Running, Site, answer, post, until

from adapters.models.continuation import Sampling
from adapters.serving.bank.bank import AdapterBank
from adapters.serving.http.client import BusyError, Client, ClientError, RefusedError
from adapters.tasks.base.requests import Request

PATH = "/v1/generate"
TEXT = "Ada Lovelace lived"
LONG = {"adapter": "poet", "inputs": TEXT, "max_new_tokens": 100}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Any:
    """A bank of two writers and a classifier."""
    return servers.writing_bank(tmp_path_factory.mktemp("writers"))


@pytest.fixture(scope="module")
def site(bank: AdapterBank) -> Iterator[Site]:
    """An application around it."""
    with servers.site(bank, max_new_tokens=100, max_characters=200) as made:
        yield made


class Paced:
    """The bank, whose writing stops after each token unless it, or its text, may go on."""

    def __init__(self, bank: AdapterBank) -> None:
        self.bank, self.go, self.heard = bank, threading.Event(), 0
        self.gates: dict[str, threading.Event] = {}
        self.batches: list[list[Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.breaks_at = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bank, name)

    def generate(self, requests: Any, sampling: Any, *, faults: Any, on_text: Any, on_complete: Any, more: Any) -> Any:
        texts = [request.inputs for request in requests]
        self.batches.append(texts)

        def joining(may_join: Any) -> Any:
            found = more(may_join)
            texts.extend([found[0].inputs] if found is not None else [])
            return found

        def paced(number: int, text: str) -> bool:
            self.heard += 1
            if self.heard == self.breaks_at:
                raise RuntimeError("broken midway")
            going = bool(on_text(number, text))
            assert self.gates.get(texts[number], self.go).wait(60)
            return going and bool(on_text(number, ""))

        answers = self.bank.generate(
            requests, sampling, faults=faults, on_text=paced, on_complete=on_complete, more=joining
        )
        self.answers += answers
        return answers


@pytest.fixture
def paced(bank: AdapterBank) -> Iterator[Paced]:
    """A bank that is let go at the end."""
    made = Paced(bank)
    yield made
    made.go.set()


def generate(site: Site, request: Any, **headers: str) -> Any:
    return site.ask("POST", PATH, content=json.dumps(request), headers={"content-type": "application/json", **headers})


def lines(connection: Any) -> Iterator[dict[str, Any]]:
    """The lines of a stream as they come."""
    import http.client

    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 200 and response.headers["content-type"] == "application/x-ndjson"
    yield from map(json.loads, response)


@pytest.mark.parametrize("adapter", ["poet", "scribe", None])
@pytest.mark.parametrize(
    "options", [{}, {"max_new_tokens": 9, "temperature": 1, "seed": 3}, {"top_p": 0.8, "temperature": 0.9, "seed": 0}]
)
def test_an_answer_is_what_the_bank_writes_and_a_stream_is_its_parts(
    site: Site, bank: AdapterBank, adapter: str | None, options: Mapping[str, Any]
) -> None:
    (expected,) = bank.generate([Request(adapter, TEXT)], Sampling(**options))
    response = generate(site, {"adapter": adapter, "inputs": TEXT, **options})
    assert response.status_code == 200 and response.json() == expected
    assert "seed" in expected["output"] or not options
    response = generate(site, {"adapter": adapter, "inputs": {"text": TEXT}, "id": "mine", "stream": True, **options})
    *parts, last = [json.loads(line) for line in response.text.splitlines()]
    assert last == {**expected, "id": "mine"}
    assert parts and all(part.keys() == {"id", "adapter", "text"} for part in parts)
    assert {(part["id"], part["adapter"]) for part in parts} == {("mine", adapter)}
    assert "".join(part["text"] for part in parts) == expected["output"]["completion"]


def test_a_stop_text_ends_it_and_an_unseeded_draw_tells_its_seed(site: Site, bank: AdapterBank) -> None:
    whole = bank.generate([Request("poet", TEXT)])[0]["output"]["completion"]
    stop = whole[10:13]
    found = generate(site, {"adapter": "poet", "inputs": TEXT, "stop": ["never written", stop]}).json()["output"]
    assert found["completion"] == whole[: whole.index(stop)] and found["finish_reason"] == "stop"
    drawn = {"adapter": "poet", "inputs": TEXT, "temperature": 1.5}
    found = generate(site, drawn).json()["output"]
    assert generate(site, {**drawn, "seed": found["seed"]}).json()["output"] == found


def test_texts_of_several_clients_are_written_in_one_batch_and_predictions_do_not_wait(
    bank: AdapterBank, paced: Paced
) -> None:
    async def clients(site: Site) -> Any:
        first = asyncio.create_task(site.send("POST", PATH, json={**LONG, "inputs": "first"}))
        await asyncio.to_thread(until, lambda: paced.heard)
        others = [
            asyncio.create_task(site.send("POST", PATH, json={"adapter": name, "inputs": TEXT, "max_new_tokens": 8}))
            for name in ("poet", "scribe", None)
        ]
        await asyncio.to_thread(until, lambda: site.service.generator.batcher.waiting == 3)
        predicted = await site.send("POST", "/v1/predict", json=[{"adapter": "mood", "inputs": TEXT}])
        assert predicted.status_code == 200 and len(paced.batches) == 1
        paced.go.set()
        return await asyncio.gather(first, *others)

    with servers.site(paced) as site:
        _, *found = asyncio.run(clients(site))
        assert paced.batches == [["first", *[TEXT] * 3]], "they join what is being written"
        generated = site.service.metrics.generated.labels
        until(lambda: generated("")._value.get() and generated("poet")._value.get() == 108)  # counted after the answer
        metrics = site.ask("GET", "/metrics").text.splitlines()
    expected = bank.generate(
        [Request(name, TEXT, "0") for name in ("poet", "scribe", None)], Sampling(max_new_tokens=8)
    )
    assert [response.json() for response in found] == expected
    assert 'taskswap_generated_tokens_total{adapter="poet"} 108.0' in metrics
    assert 'taskswap_generated_tokens_total{adapter=""} 8.0' in metrics
    assert 'taskswap_texts_total{adapter="scribe"} 1.0' in metrics
    assert 'taskswap_requests_total{route="/v1/generate",status="200"} 4.0' in metrics


def test_a_short_text_is_answered_while_the_long_one_of_its_batch_is_written(paced: Paced) -> None:
    first = paced.gates["first"] = threading.Event()
    paced.gates["short"] = threading.Event()
    paced.gates["short"].set()

    async def clients(site: Site) -> Any:
        tasks = []
        for text, most in (("first", 2), ("short", 1), ("long", 9)):
            request = {"adapter": "poet", "inputs": text, "max_new_tokens": most}
            tasks.append(asyncio.create_task(site.send("POST", PATH, json=request)))
            waiting = len(tasks) - 1
            await asyncio.to_thread(until, lambda: paced.heard and site.service.generator.batcher.waiting == waiting)  # noqa: B023
        first.set()
        short = await tasks.pop(1)
        assert not tasks[1].done() and paced.batches == [["first", "short", "long"]]
        paced.go.set()
        return short, await asyncio.gather(*tasks)

    with servers.site(paced) as site:
        short, others = asyncio.run(clients(site))
    assert [one.json()["output"]["completion_tokens"] for one in (short, *others)] == [1, 2, 9]


def test_a_text_that_joins_others_is_written_by_the_newest_version_in_memory(paced: Paced) -> None:
    """Two adapters fit; the third waits for the batch to end, and those that came after it do too."""
    bank = AdapterBank(str(paced.bank.base.folder), capacity=2)
    scribe, poet = (paced.bank._cache.find(name).folder for name in ("scribe", "poet"))
    for name in ("one", "two", "three"):  # the last in the place of the first
        bank.load(name, scribe)
    paced.bank = bank
    asked = Request("two", "first"), Request("three", "joins"), Request("one", "waits"), Request("two", "behind it")

    async def clients(site: Site) -> Any:
        tasks = []
        for number, request in enumerate(asked):
            given = {"adapter": request.adapter, "inputs": request.inputs, "max_new_tokens": 3}
            tasks.append(asyncio.create_task(site.send("POST", PATH, json=given)))
            waiting = number
            await asyncio.to_thread(until, lambda: paced.heard and site.service.generator.batcher.waiting == waiting)  # noqa: B023
            if number == 0:
                bank.reload("three", poet)
        paced.go.set()
        return await asyncio.gather(*tasks)

    with servers.site(paced) as site:
        found = asyncio.run(clients(site))
    assert [answer.json()["output"]["completion_tokens"] for answer in found] == [3] * 4
    assert [answer.json()["version"] for answer in found] == [1, 2, 1, 1]
    assert paced.batches == [["first", "joins"], ["waits", "behind it"]]
    alone = [paced.bank.generate([Request(name, text)], Sampling(max_new_tokens=3)) for name, text in
             (("three", "joins"), ("one", "waits"))]  # fmt: skip
    assert [one[0]["output"] for one in alone] == [found[1].json()["output"], found[2].json()["output"]]
    for name in ("one", "two", "three"):
        bank.unload(name)
    assert bank.stats().resident == 0, "no lease is left"


def test_texts_that_have_joined_fail_with_their_batch_and_leave_no_lease(
    paced: Paced, caplog: pytest.LogCaptureFixture
) -> None:
    async def clients(site: Site) -> Any:
        tasks = [asyncio.create_task(site.send("POST", PATH, json={**LONG, "inputs": "first"}))]
        await asyncio.to_thread(until, lambda: paced.heard)
        for name in ("scribe", None):
            request = {"adapter": name, "inputs": TEXT, "max_new_tokens": 50}
            tasks.append(asyncio.create_task(site.send("POST", PATH, json=request)))
        await asyncio.to_thread(until, lambda: site.service.generator.batcher.waiting == 2)
        paced.breaks_at = 12
        paced.go.set()
        return await asyncio.gather(*tasks)

    with servers.site(paced) as site:
        found = asyncio.run(clients(site))
        assert [answer.status_code for answer in found] == [500] * 3
        assert generate(site, LONG).status_code == 200
    assert len(paced.batches[0]) == 3 and "broken midway" in caplog.text
    assert not any(adapter.users for adapter in paced.bank._cache.all())


@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_ends_its_row_alone(paced: Paced, stream: bool) -> None:
    with Running(paced) as live:
        with live.connect() as gone, live.connect() as other:
            gone.sendall(post({**LONG, "stream": stream}, PATH))
            until(lambda: paced.heard)
            if stream:
                assert next(lines(gone))["text"]
            other.sendall(post({**LONG, "max_new_tokens": 3}, PATH))
            until(lambda: live.service.generator.batcher.waiting == 1)
            gone.close()
            until(lambda: paced.heard)
            with live.connect() as waits:  # its text is dropped before anything is written
                waits.sendall(post({**LONG, "inputs": "dropped"}, PATH))
                until(lambda: live.service.generator.batcher.waiting == 2)
            until(lambda: live.service.generator.batcher.waiting == 1)
            paced.go.set()
            assert json.loads(answer(other)[2])["output"]["completion_tokens"] == 3
        until(lambda: len(paced.answers) == 2)
    first, second = (found["output"] for found in paced.answers)
    assert first["finish_reason"] == "cancelled" and first["completion_tokens"] < 5
    assert second["finish_reason"] == "length"
    assert [text for batch in paced.batches for text in batch] == [TEXT, TEXT]


def test_a_deadline_is_a_504_and_the_last_line_of_a_stream_that_has_begun(paced: Paced) -> None:
    with servers.site(paced) as site:
        response = generate(site, LONG, **{"x-timeout-ms": "150"})
        assert response.status_code == 504
        assert response.json()["expected"] == "an answer within 150 ms"
        late = generate(site, {**LONG, "stream": True}, **{"x-timeout-ms": "50"})
        assert late.status_code == 504, "it has not begun: another text is being written"
        paced.go.set()
        until(lambda: paced.answers)
        paced.go.clear()
        response = generate(site, {**LONG, "stream": True}, **{"x-timeout-ms": "150"})
        assert response.status_code == 200
        *parts, last = [json.loads(line) for line in response.text.splitlines()]
        assert parts and last.keys() == {"id", "adapter", "error"} and "time limit" in last["error"]
        paced.go.set()
        until(lambda: len(paced.answers) == 2)
        assert 'taskswap_refusals_total{reason="deadline"} 3.0' in site.ask("GET", "/metrics").text
    assert {found["output"]["finish_reason"] for found in paced.answers} == {"cancelled"}


def test_a_full_queue_refuses_and_a_server_that_stops_finishes_what_it_has_admitted(paced: Paced) -> None:
    async def clients(site: Site) -> Any:
        admitted = [asyncio.create_task(site.send("POST", PATH, json=LONG))]
        await asyncio.to_thread(until, lambda: paced.heard)
        admitted.append(asyncio.create_task(site.send("POST", PATH, json={**LONG, "stream": True})))
        await asyncio.to_thread(until, lambda: site.service.generator.batcher.waiting == 1)
        full = await site.send("POST", PATH, json=LONG)
        site.service.drain()
        stopping = await site.send("POST", PATH, json=LONG)
        paced.go.set()
        await asyncio.to_thread(site.service.close)
        return full, stopping, await asyncio.gather(*admitted)

    with servers.site(paced, max_queue=1, max_texts=1) as site:
        full, stopping, admitted = asyncio.run(clients(site))
    assert full.status_code == 503 and int(full.headers["retry-after"]) >= 1
    assert "The queue is full" in full.json()["error"]
    assert stopping.status_code == 503 and "draining" in stopping.json()["error"]
    assert [response.status_code for response in admitted] == [200, 200]
    assert json.loads(admitted[1].text.splitlines()[-1])["output"]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"adapter": "poett"}, 404, "did you mean 'poet'?"),
        ({"adapter": "mood"}, 422, "mood is an adapter for classification"),
        ({"inputs": "x" * 201}, 413, "201 characters is too long"),
        ({"inputs": {"text": "x" * 201}}, 413, "too long"),
        ({"inputs": "a " * 70}, 422, "has 128 positions"),
        ({"inputs": {"document": "x"}}, 422, "inputs"),
        ({"inputs": {"text": "x", "more": 1}}, 422, "inputs"),
        ({"inputs": None}, 422, "inputs"),
        ({"adapter": 1}, 422, "adapter"),
        ({"max_new_tokens": 0}, 422, "max_new_tokens"),
        ({"max_new_tokens": 101}, 422, "must be at most 100"),
        ({"max_new_tokens": 1.5}, 422, "max_new_tokens"),
        ({"temperature": -0.1}, 422, "temperature"),
        ({"temperature": float("nan")}, 422, "temperature"),
        ({"temperature": float("inf")}, 422, "temperature"),
        ({"temperature": "1"}, 422, "temperature"),
        ({"top_p": 0}, 422, "top_p"),
        ({"top_p": 1.1}, 422, "top_p"),
        ({"seed": -1}, 422, "seed"),
        ({"seed": 2**63}, 422, "seed"),
        ({"stop": [""]}, 422, "stop[0]"),
        ({"stop": ["x" * 101]}, 422, "stop[0]"),
        ({"stop": ["x"] * 9}, 422, "stop"),
        ({"stop": "x"}, 422, "stop"),
        ({"stream": "yes"}, 422, "stream"),
        ({"max_tokens": 5}, 422, "max_tokens"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_requests_are_refused_in_json_before_anything_is_sent(
    site: Site, changes: Mapping[str, Any], status: int, message: str, stream: bool
) -> None:
    response = generate(site, {"adapter": "poet", "inputs": "Ada", "stream": stream, **changes})
    assert response.status_code == status, response.text
    found = response.json()
    assert message in found["error"]
    assert found.keys() == {"error", "expected", "found"} and all(isinstance(one, str) for one in found.values())


def test_what_is_no_request_and_a_base_that_cannot_write_are_refused(site: Site, served_bank: Any) -> None:
    for body, kind, status in ((b"{", "application/json", 400), (b"[]", "application/json", 422), (b"", "text/x", 415)):
        assert site.ask("POST", PATH, content=body, headers={"content-type": kind}).status_code == status
    with servers.site(served_bank) as encoder:
        response = generate(encoder, {"adapter": "ner", "inputs": TEXT})
        assert response.status_code == 422 and "no language-model head" in response.json()["error"]
    from adapters.serving.http.auth import Tokens

    with servers.site(None, tokens=Tokens(predict=b"secret-of-the-tests")) as guarded:
        assert generate(guarded, LONG).status_code == 401


def test_a_fault_of_ours_midway_is_not_told_twice(paced: Paced, caplog: pytest.LogCaptureFixture) -> None:
    paced.go.set()
    paced.breaks_at = 5
    with servers.site(paced) as site:
        assert generate(site, LONG).status_code == 500
        assert generate(site, LONG).status_code == 200
        assert site.service.generator.batcher.waiting == 0
    assert "broken midway" in caplog.text and len(paced.batches) == 2


def test_extremes_that_the_schema_allows_are_written(site: Site) -> None:
    for changes in ({"temperature": 5e-324}, {"temperature": 1e300}, {"top_p": 5e-324, "temperature": 1}):
        assert generate(site, {"adapter": "poet", "inputs": "", "max_new_tokens": 4, **changes}).status_code == 200


def test_the_client_generates_and_streams(bank: AdapterBank) -> None:
    (expected,) = bank.generate([Request("poet", TEXT)], Sampling(max_new_tokens=12, temperature=1, seed=4))
    options: dict[str, Any] = {"max_new_tokens": 12, "temperature": 1, "seed": 4}
    with Running(bank) as live, Client(live.url) as client:
        assert client.generate("poet", TEXT, **options) == expected
        stream = client.generate_stream("poet", TEXT, **options)
        assert "".join(stream) == expected["output"]["completion"] and stream.answer == expected
        assert len(client.idle) == 1, "its connection is used again"
        with pytest.raises(RefusedError, match="did you mean 'poet'") as refused:
            list(client.generate_stream("poett", TEXT))
        assert refused.value.status == 404
        with pytest.raises(RefusedError, match="for classification"):
            client.generate("mood", TEXT)


def test_a_stream_of_the_client_that_is_left_ends_its_text_and_one_that_fails_raises(paced: Paced) -> None:
    with Running(paced) as live, Client(live.url, retries=0) as client:
        for part in client.generate_stream("poet", TEXT, max_new_tokens=100):
            assert part
            break
        until(lambda: not client.idle)
        paced.go.set()
        until(lambda: paced.answers)
        assert paced.answers[0]["output"]["finish_reason"] == "cancelled"
    paced.go.clear()
    with Running(paced, timeout_ms=150) as live, Client(live.url, retries=0) as client:
        with pytest.raises(ClientError, match="time limit"):
            list(client.generate_stream("poet", TEXT, max_new_tokens=100))
        with pytest.raises(BusyError):
            client.generate("poet", TEXT, max_new_tokens=100)
        paced.go.set()
