"""A bank writes: each text under its own adapter as stock PEFT does alone, with sampling, stop texts and a listener."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from servers import until

from adapters.core.errors import BankError, SettingsError
from adapters.models.base_model import open_base
from adapters.serving.bank.bank import AdapterBank, Request, Sampling
from adapters.tasks.base.task import load_task

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = ["Ada Lovelace lived", "Alan Turing wrote notes near", " Grace", "In 2024, we paid $3,000"]
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"lora_r": 4, "lora_alpha": 64},
    "rslora": {"lora_r": 8, "lora_alpha": 64},
    "dora": {"lora_r": 4, "lora_alpha": 64},
    "prefix": {"num_virtual_tokens": 5, "prefix_init": "random"},
}


class House:
    """A base, one writer of each method in a bank, and a classifier."""

    def __init__(self, root: Path, kind: str) -> None:
        self.folder = (tiny.BUILDERS | tiny.MORE)[kind](root / "base")
        self.base = open_base(str(self.folder))
        self.bank = AdapterBank(str(self.folder))
        task = load_task("text_generation").from_card({"labels": []})
        for seed, (name, changes) in enumerate(METHODS.items()):
            self.bank.load(name, tiny.adapter(root / name, name, self.base, task, seed=seed, **changes))
        self.bank.load("mood", tiny.adapter(root / "mood", "lora", self.base, tiny.classifying()))
        self.root = root

    def stock(self, name: str | None) -> Any:
        """The adapter in stock PEFT on a base of its own."""
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        model: Any = AutoModelForCausalLM.from_pretrained(self.folder)
        return (model if name is None else PeftModel.from_pretrained(model, self.root / name)).eval()


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], House]:
    root, made = tmp_path_factory.mktemp("writers"), {}

    def ask(kind: str) -> House:
        if kind not in made:
            made[kind] = House(root / kind, kind)
        return made[kind]

    return ask


def completions(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["output"]["completion"] for answer in answers]


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_each_text_is_continued_as_its_adapter_does_alone_in_stock_peft(
    kind: str, houses: Callable[[str], House]
) -> None:
    import torch
    from transformers import AutoTokenizer

    house = houses(kind)
    names: list[str | None] = [None, *METHODS]
    requests = [Request(name, text) for name in names for text in TEXTS]
    written = completions(house.bank.generate(requests, Sampling(max_new_tokens=12)))
    house.bank._inference.batch_tokens = 1
    assert completions(house.bank.generate(requests, Sampling(max_new_tokens=12))) == written, "one at a time"
    house.bank._inference.batch_tokens = 1024
    tokenizer = AutoTokenizer.from_pretrained(house.folder)
    wanted = []
    for name in names:
        model = house.stock(name)
        for text in TEXTS:
            ids = tokenizer(text, return_tensors="pt").input_ids
            with torch.inference_mode():
                out = model.generate(input_ids=ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
            wanted.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    assert written == wanted
    assert len(set(written)) > 8


def test_draws_depend_on_the_seed_alone_and_not_on_other_rows(houses: Callable[[str], House]) -> None:
    house = houses("llama")
    drawn = [Sampling(max_new_tokens=16, temperature=1.2, top_p=0.9, seed=seed) for seed in (1, 2, 1)]
    together = house.bank.generate([Request("lora", TEXTS[0])] * 3, drawn)
    alone = house.bank.generate([Request("lora", TEXTS[0])], drawn[0])
    beside = house.bank.generate([Request("dora", TEXTS[1]), Request("lora", TEXTS[0])], [drawn[1], drawn[0]])
    texts = completions(together)
    assert texts[0] == texts[2] == completions(alone)[0] == completions(beside)[1]
    assert texts[0] != texts[1]
    assert [answer["output"]["seed"] for answer in together] == [1, 2, 1]
    (unseeded,) = house.bank.generate([Request("lora", TEXTS[0])], Sampling(temperature=1.0))
    again = Sampling(temperature=1.0, seed=unseeded["output"]["seed"])
    assert completions(house.bank.generate([Request("lora", TEXTS[0])], again)) == completions([unseeded])


def test_a_stop_text_ends_and_is_left_out_and_what_was_heard_is_the_text(houses: Callable[[str], House]) -> None:
    house = houses("llama")
    requests = [Request(name, text) for name in (None, "lora", "prefix") for text in TEXTS]
    free = completions(house.bank.generate(requests, Sampling(max_new_tokens=20)))
    chosen = [text[5:8] if text.isascii() else text[3:5] for text in free]
    heard: dict[int, list[str]] = {}

    def listen(number: int, text: str) -> bool:
        heard.setdefault(number, []).append(text)
        return True

    each = [Sampling(max_new_tokens=20, stop=(stop, "never written")) for stop in chosen]
    answers = house.bank.generate(requests, each, on_text=listen)
    for number, (answer, stop, whole) in enumerate(zip(answers, chosen, free, strict=True)):
        output = answer["output"]
        assert output["completion"] == whole[: whole.index(stop)] and output["finish_reason"] == "stop"
        assert "".join(heard.get(number, [])) == output["completion"]
    lengths = house.bank.generate(requests, Sampling(max_new_tokens=3))
    assert {answer["output"]["finish_reason"] for answer in lengths} == {"length"}
    assert {answer["output"]["completion_tokens"] for answer in lengths} == {3}


def test_a_listener_ends_its_row_alone(houses: Callable[[str], House]) -> None:
    house = houses("llama")
    requests = [Request("lora", TEXTS[0]), Request("dora", TEXTS[1])]
    whole = completions(house.bank.generate(requests, Sampling(max_new_tokens=20)))
    answers = house.bank.generate(requests, Sampling(max_new_tokens=20), on_text=lambda number, text: number != 0)
    assert answers[0]["output"]["finish_reason"] == "cancelled"
    assert answers[0]["output"]["completion_tokens"] < 20
    assert completions(answers)[1] == whole[1]


def test_a_short_text_is_complete_before_the_long_one_of_its_batch(houses: Callable[[str], House]) -> None:
    events: list[tuple[str, int]] = []
    complete: dict[int, dict[str, Any]] = {}

    def listen(number: int, text: str) -> bool:
        events.append(("heard", number))
        return True

    def finished(number: int, answer: dict[str, Any]) -> None:
        events.append(("finished", number))
        complete[number] = dict(answer)

    requests = [Request("lora", TEXTS[0]), Request("mood", TEXTS[0]), Request("dora", TEXTS[1])]
    each = [Sampling(max_new_tokens=20), Sampling(), Sampling(max_new_tokens=2)]
    answers = houses("llama").bank.generate(requests, each, on_text=listen, on_complete=finished)
    assert events[0] == ("finished", 1), "what cannot be written waits for nobody"
    assert events.count(("heard", 0)) == 20 and events.count(("heard", 2)) == 2, "after each token"
    assert events.index(("finished", 2)) < events.index(("finished", 0)) == len(events) - 1
    assert answers == [complete[number] for number in range(3)]


def test_a_temperature_next_to_nothing_takes_the_likeliest_token(houses: Callable[[str], House]) -> None:
    bank, requests = houses("llama").bank, [Request("lora", TEXTS[0])]
    greedy = completions(bank.generate(requests))
    assert completions(bank.generate(requests, Sampling(temperature=5e-324, seed=1))) == greedy


def test_sampling_takes_the_tokens_that_transformers_top_p_keeps() -> None:
    import torch
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    from adapters.models.continuation import _Generation

    torch.manual_seed(0)
    for temperature, top_p in ((1.0, 0.3), (0.7, 0.8), (2.0, 0.95), (1.0, 1.0)):
        logits = torch.randn(30) * 3
        warped = TemperatureLogitsWarper(temperature)(None, logits[None])
        warped = TopPLogitsWarper(top_p)(None, warped) if top_p < 1 else warped
        shares = torch.softmax(warped[0], -1)
        writer = _Generation(None, Sampling(temperature=temperature, top_p=top_p, seed=3), None)  # type: ignore[arg-type]
        drawn = torch.bincount(torch.tensor([writer.choose(logits) for _ in range(4000)]), minlength=30) / 4000
        assert set(drawn.nonzero().flatten().tolist()) <= set(shares.nonzero().flatten().tolist())
        assert (drawn - shares).abs().max() < 0.04


def test_a_request_may_choose_another_task_for_an_adapter_that_generates(houses: Callable[[str], House]) -> None:
    house = houses("llama")
    framed = "Text: Ada lived\nSummary:"
    (chosen, own, unfit, unknown, classifier) = house.bank.predict(
        [
            Request("lora", {"text": "Ada lived"}, task="summarization"),
            Request("lora", framed),
            Request("lora", "Ada", task="classification"),
            {"adapter": "lora", "inputs": "Ada", "task": "sumarization"},
            Request("mood", "Ada", task="summarization"),
        ]
    )
    assert chosen["task"] == "summarization" and own["task"] == "text_generation"
    assert chosen["output"]["summary"] == own["output"]["completion"]
    assert "only one whose answers are generated" in unfit["error"]
    assert "did you mean 'summarization'" in unknown["error"].lower()
    assert "mood is an adapter for classification" in classifier["error"]


def test_what_cannot_be_written_is_an_answer_of_its_own(houses: Callable[[str], House], tiny_bert: Path) -> None:
    bank = houses("llama").bank
    faults: dict[int, Any] = {}
    answers = bank.generate(
        [
            Request("lora", "Ada " * 400),
            Request("mood", "Ada"),
            Request("loar", "Ada"),
            Request("lora", {"document": "Ada"}),
            {"adapter": "lora", "inputs": 3, "id": "x"},
            Request("lora", "Ada"),
        ],
        Sampling(max_new_tokens=4),
        faults=faults,
    )
    matches = ("positions", "for classification", "did you mean", "must be {'text'", "must be a text", "")
    for answer, match in zip(answers, matches, strict=True):
        assert match in answer.get("error", "")
    assert sorted(faults) == [0, 1, 2, 3, 4]
    assert "completion" in answers[5]["output"] and answers[5]["version"] == 1
    for wrong in (
        Sampling(max_new_tokens=0), Sampling(temperature=-1), Sampling(top_p=0), Sampling(stop=("",)), Sampling(seed=-1)
    ):  # fmt: skip
        with pytest.raises(SettingsError, match="must be"):
            bank.generate([Request("lora", "Ada")], wrong)
    with pytest.raises(BankError, match="cannot generate"):
        AdapterBank(str(tiny_bert)).generate([Request(None, "Ada")])


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_text_that_ends_makes_room_for_the_next_while_others_go_on(
    houses: Callable[[str], House], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.models.decoding import _Batch

    going_on: list[int] = []
    admit = _Batch.admit

    def seen(batch: Any, *given: Any) -> bool:
        going_on.append(len(batch.numbers))
        return admit(batch, *given)

    monkeypatch.setattr(_Batch, "admit", seen)
    house = houses(kind)
    bank = AdapterBank(str(house.folder), batch_tokens=32)  # room for three such texts at a time
    for name in METHODS:
        bank.load(name, house.root / name)
    names = [*METHODS] * 3
    requests = [Request(name, TEXTS[number % len(TEXTS)]) for number, name in enumerate(names)]
    each = [Sampling(max_new_tokens=2 + number) for number in range(len(names))]
    order: list[int] = []
    answers = bank.generate(requests, each, on_complete=lambda number, _: order.append(number))
    assert sorted(order) == list(range(len(names)))
    assert going_on[0] == 0 and any(going_on), "some were admitted beside others that went on"
    monkeypatch.undo()
    alone = [house.bank.generate([request], one)[0] for request, one in zip(requests, each, strict=True)]
    assert completions(answers) == completions(alone)


def test_a_cache_whose_rows_cannot_be_exchanged_is_written_in_whole_batches(
    houses: Callable[[str], House], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, requests = houses("llama").bank, [Request(name, text) for name, text in zip(METHODS, TEXTS, strict=True)]
    wanted = completions(bank.generate(requests))
    monkeypatch.setattr("adapters.models.decoding.exchangeable", lambda cache: False)
    heard: list[int] = []
    answers = bank.generate(requests, on_text=lambda number, _: not heard.append(number))
    assert completions(answers) == wanted and {*heard} == {0, 1, 2, 3}


def test_nothing_joins_while_another_thread_waits_for_room(houses: Callable[[str], House]) -> None:
    house = houses("llama")
    bank = AdapterBank(str(house.folder), capacity=1)
    for name in ("mood", "lora"):
        bank.load(name, house.root / name)
    predicted: list[Any] = []
    waiting = threading.Thread(target=lambda: predicted.extend(bank.predict([Request("mood", "Ada")])))
    offered: list[Request] = []

    def more(may_join: Callable[[Request], bool]) -> Any:
        if not offered:
            waiting.start()
            until(lambda: bank._cache.queue.tickets)
        offered.append(Request(None, "Ada"))
        return (offered[-1], Sampling(max_new_tokens=4)) if len(offered) < 50 and may_join(offered[-1]) else None

    answers = bank.generate([Request("lora", "Ada")], Sampling(max_new_tokens=3), more=more)
    waiting.join(60)
    assert len(answers) == 2 and "error" not in predicted[0], "one was asked for before the other thread waited"


def test_a_batch_takes_no_more_than_so_many_that_join(
    houses: Callable[[str], House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.serving.bank.text_generation.JOINING", 3)
    left = [Request(name, "Ada") for name in ("lora", None, "unknown", "lora", "lora", None)]

    def more(may_join: Callable[[Request], bool]) -> Any:
        return (left.pop(0), Sampling(max_new_tokens=2)) if left and may_join(left[0]) else None

    answers = houses("llama").bank.generate([Request("dora", "Ada")] * 2, Sampling(max_new_tokens=2), more=more)
    assert [answer["adapter"] for answer in answers] == ["dora", "dora", "lora", None, "unknown"]
    assert len(left) == 3 and not any(adapter.users for adapter in houses("llama").bank._cache.all())
