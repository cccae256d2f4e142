"""`POST /v1/explain`: what the bank explains, behind a limit of its own, while others predict."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import TEXT, Running, Site, answer, head, post, site, until

import adapters
from adapters.artifacts import loading
from adapters.artifacts.explaining.base import explain
from adapters.artifacts.explaining.base.attribution import Options
from adapters.serving.http.auth import Tokens

PATH = "/v1/explain"
LONG = "Ada lived in London with a friend near New York . "


@pytest.fixture
def served(served_bank: Any) -> Iterator[Site]:
    with site(served_bank) as made:
        yield made


def ask(served: Site, given: Any, **more: Any) -> Any:
    headers = {"content-type": "application/json", **more.pop("headers", {})}
    return served.ask("POST", PATH, content=json.dumps(given), headers=headers, **more)


def test_the_bank_explains_as_the_adapter_alone_does(served: Site, served_root: Path, tiny_bert: Path) -> None:
    for name in ("mood", "topic"):
        answered = ask(served, {"adapter": name, "inputs": TEXT, "id": "7", "steps": 64})
        assert answered.status_code == 200, answered.text
        body = answered.json()
        assert (body["id"], body["adapter"], body["version"]) == ("7", name, 1)
        alone = loading.load(served_root / name, base=str(tiny_bert), device="cpu")
        own = explain.explain(alone.predictor, alone.task, TEXT, model="lora", options=Options(steps=64))
        found = body["explanation"]
        assert (found["target"], found["method"]) == (own.target, "integrated_gradients")
        assert [part["value"] for part in found["parts"]] == pytest.approx([one.value for one in own.parts], abs=1e-3)
        assert found["error"] < 0.05 and found["score"] == pytest.approx(own.score, abs=1e-4)


def test_method_and_target_are_chosen(served: Site) -> None:
    first, second = (
        ask(served, {"adapter": "mood", "inputs": TEXT, "method": "occlusion", "target": label}).json()["explanation"]
        for label in ("good", "bad")
    )
    assert (first["target"], first["method"], first["complete"]) == ("good", "occlusion", False)
    values = [[part["value"] for part in one["parts"]] for one in (first, second)]
    assert values[0] == pytest.approx([-value for value in values[1]], abs=1e-5)


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        ({"adapter": "none", "inputs": TEXT}, 404, "none"),
        ({"adapter": "mood", "inputs": ""}, 422, "none of them empty"),
        ({"adapter": "mood", "inputs": TEXT, "target": "goood"}, 422, "did you mean 'good'"),
        ({"adapter": "mood", "inputs": TEXT, "method": "integrated"}, 422, "No explanation is called"),
        ({"adapter": "mood", "inputs": TEXT, "method": "weights"}, 422, "For this answer there is"),
        ({"adapter": "mood", "inputs": TEXT, "steps": 10_000}, 422, "steps"),
        ({"adapter": None, "inputs": TEXT}, 422, "adapter"),
        ({"adapter": "mood", "inputs": TEXT, "more": 1}, 422, "more"),
        ({"adapter": "mood", "inputs": LONG * 60}, 413, "too long to be explained"),
        ({"adapter": "mood", "inputs": "a" * 30_000}, 413, "too long"),
    ],
)
def test_what_cannot_be_explained_is_refused(served: Site, given: Any, status: int, message: str) -> None:
    answered = ask(served, given)
    assert answered.status_code == status and message in answered.json()["error"]


def test_explanations_can_be_off_and_need_the_token(served_bank: Any) -> None:
    with site(served_bank, max_explanations=0) as made:
        assert ask(made, {"adapter": "mood", "inputs": TEXT}).status_code == 403
    with site(served_bank, tokens=Tokens(predict=b"secret")) as made:
        assert ask(made, {"adapter": "mood", "inputs": TEXT}).status_code == 401


def test_many_explanations_wait_no_longer_than_their_limit_while_predictions_go_on(
    served_bank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, begun = threading.Event(), threading.Event()
    explained = served_bank.explain

    def slow(*given: Any, **more: Any) -> Any:
        begun.set()
        assert go.wait(60)
        return explained(*given, **more)

    monkeypatch.setattr(served_bank, "explain", slow)
    with Running(served_bank, max_explanations=2) as server:
        client = adapters.Client(server.url, retries=0)
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(client.explain("mood", TEXT))) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert begun.wait(60)
        until(lambda: len(server.service.explainer.waiting) == 2)
        with pytest.raises(adapters.UserError, match="2 explanations are waiting"):
            client.explain("mood", TEXT)
        assert client.predict([{"adapter": "mood", "inputs": TEXT}])[0]["output"]["label"]
        go.set()
        for thread in threads:
            thread.join(60)
        assert len(found) == 2 and found[0]["explanation"] == found[1]["explanation"]
        until(lambda: not server.service.explainer.waiting)
        client.close()


def test_answers_are_the_same_while_explanations_are_computed(served_bank: Any) -> None:
    requests = [{"adapter": name, "inputs": TEXT} for name in ("mood", "ner", "topic")]
    alone = served_bank.predict(requests)
    wrong: list[Any] = []
    stop = threading.Event()

    def predict() -> None:
        while not stop.is_set():
            answers = served_bank.predict(requests)
            if [one["output"].get("label") for one in answers] != [one["output"].get("label") for one in alone]:
                wrong.append(answers)
            scores = [answers[i]["output"]["score"] for i in (0, 2)]
            if scores != pytest.approx([alone[i]["output"]["score"] for i in (0, 2)], abs=1e-3):
                wrong.append(scores)

    thread = threading.Thread(target=predict)
    thread.start()
    values = [
        [part.value for part in served_bank.explain({"adapter": name, "inputs": TEXT})[1].parts]
        for name in ("mood", "topic") * 5
    ]
    stop.set()
    thread.join(60)
    assert not wrong
    assert all(one == pytest.approx(values[i % 2], abs=1e-4) for i, one in enumerate(values))


def test_an_explanation_that_takes_too_long_is_refused(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(served.service.bank, "explain", lambda *given, **more: go.wait(60))
    answered = ask(served, {"adapter": "mood", "inputs": TEXT}, headers={"x-timeout-ms": "50"})
    go.set()
    assert answered.status_code == 504 and "took too long" in answered.json()["error"]


class Endless:
    """An explanation that goes from pass to pass until it is told to end."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, *given: Any, proceed: Any, **more: Any) -> Any:
        self.begun.set()
        while not self.go.wait(0.005):
            proceed()


def test_an_explanation_that_nobody_waits_for_ends_before_its_next_pass(
    served_bank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = Endless()
    with Running(served_bank, max_explanations=2) as server, monkeypatch.context() as patch:
        patch.setattr(served_bank, "explain", endless)
        waiting = server.service.explainer.waiting
        first, second = server.connect(), server.connect()
        first.sendall(post({"adapter": "mood", "inputs": TEXT}, PATH))
        assert endless.begun.wait(60)
        second.sendall(post({"adapter": "mood", "inputs": TEXT}, PATH))
        until(lambda: len(waiting) == 2)
        second.close()
        until(lambda: len(waiting) == 1)
        assert not endless.go.is_set(), "the first is still computed"
        first.close()
        until(lambda: not waiting)
        late, body = server.connect(), json.dumps({"adapter": "mood", "inputs": TEXT}).encode()
        late.sendall(head(PATH, content_length=len(body), x_timeout_ms=50) + body)
        assert answer(late)[0] == 504
        late.close()
        until(lambda: not waiting)


def test_a_server_ends_though_a_pass_of_an_explanation_does_not(
    served_bank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(served_bank, "explain", lambda *given, **more: go.wait(60))
    monkeypatch.setattr("adapters.serving.http.explainer.END_SECONDS", 0.01)
    made = Site(served_bank)
    answered = ask(made, {"adapter": "mood", "inputs": TEXT}, headers={"x-timeout-ms": "50"})
    made.close()
    thread = made.service.explainer.thread
    assert answered.status_code == 504 and thread.is_alive() and thread.daemon
    go.set()
    thread.join(60)
    assert not thread.is_alive()
