"""Adapters that answer alone in a bank: predictions and explanations of several threads at once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import tiny
from servers import until

import adapters
from adapters.artifacts import artifact
from adapters.core.errors import ModelError, UserError
from adapters.models.base_model import open_base
from adapters.prompting import template
from adapters.serving.bank.bank import AdapterBank
from adapters.tasks.base.example import Example

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = ["Ada lived in London near Paris", "Alan worked", "Grace wrote notes in New York"]


@pytest.fixture
def bank(tmp_path: Path) -> AdapterBank:
    """A bank with a few-shot prompt for entities, decoded freely."""
    base, task = open_base(str(tiny.llama(tmp_path / "base", positions=512))), tiny.tagging()
    method: Any = tiny.method("few_shot", shots=2, max_new_tokens=8, prompt=None, decoding="free")
    method.check(base, task)
    words, tags = ["Alan", "worked", "near", "Paris"], ["B-PER", "O", "O", "B-LOC"]
    shots = [Example(id=str(n), inputs={"tokens": words * 4}, gold=tags * 4) for n in range(4)]
    model = method.wrap(base, task, shots)
    card = {
        "task": task.card(),
        "method": {"name": "few_shot", "library": method.library, "settings": method.recorded()},
        "max_length": 512,
        "label_digest": task.labels.digest,
        "base": base.digests(),
    }
    artifact.write(tmp_path / "prompt", lambda draft: method.save(model, base, draft), card, "# A prompt\n")
    made = AdapterBank(str(base.folder), capacity=2, device="cpu")
    made.load("prompt", tmp_path / "prompt")
    return made


def test_explanations_do_not_disturb_predictions(bank: AdapterBank) -> None:
    def predict(text: str) -> Any:
        (answer,) = bank.predict([{"adapter": "prompt", "inputs": text}])
        assert "error" not in answer
        return answer["output"]

    wanted, done = [predict(text) for text in TEXTS], threading.Event()
    explained: list[Any] = []

    def explain() -> None:
        while not done.is_set():
            try:
                bank.explain({"adapter": "prompt", "inputs": TEXTS[0]})
            except UserError as error:  # of a tiny model's answer there may be nothing to explain
                explained.append(error)
            else:
                explained.append(None)

    thread = threading.Thread(target=explain)
    thread.start()
    try:
        assert [[predict(text) for text in TEXTS] for _ in range(4)] == [wanted] * 4
    finally:
        done.set()
        thread.join()
    assert explained and [predict(text) for text in TEXTS] == wanted


class Watched:
    """A tokenizer that stops its first call until it is let go, and counts how many are in it."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.entered, self.go = tokenizer, threading.Event(), threading.Event()
        self.inside = self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, *texts: Any, **options: Any) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.entered.set()
        assert self.go.wait(60)
        found = self.tokenizer(*texts, **options)
        self.inside -= 1
        return found


def bank_with_both(folder: Path, prompted: bool) -> AdapterBank:
    """A bank with an adapter `mixed`, and `alone`: a prompt, or an adapter of another method of PEFT."""
    base_folder = str(tiny.llama(folder / "base", positions=512))
    base, task = open_base(base_folder), tiny.classifying()
    bank = AdapterBank(base_folder)
    bank.load("mixed", tiny.adapter(folder / "mixed", "lora", base, task, seed=1))
    how: dict[str, Any] = {"peft_type": "LOHA"}
    if prompted:
        how = {"shots": 0, "prompt": "classification_sentiment"}
    alone = tiny.adapter(folder / "alone", "few_shot" if prompted else "peft", base, task, max_length=24, **how)
    assert not bank.load("alone", alone)["mixed"]
    return bank


@pytest.mark.parametrize("prompted", [False, True])
def test_one_thread_encodes_at_a_time_whether_adapters_answer_alone_or_not(tmp_path: Path, prompted: bool) -> None:
    bank = bank_with_both(tmp_path, prompted)
    requests = [{"adapter": name, "inputs": "Ada Lovelace lived in London . " * 9} for name in ("mixed", "alone")]
    wanted = [bank.predict([request]) for request in requests]
    tokenizer = bank._inference.tokenizer
    watched: Any = Watched(tokenizer.hf_tokenizer)
    tokenizer.hf_tokenizer = watched
    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: bank.predict([requests[n]])})) for n in (0, 1)]
    threads[0].start()
    assert watched.entered.wait(60)
    threads[1].start()
    threads[1].join(0.2)
    watched.go.set()
    for thread in threads:
        thread.join(60)
    assert watched.most == 1 and [found[0], found[1]] == wanted


@pytest.mark.parametrize("prompted", [False, True])
def test_an_adapter_that_is_explained_answers_between_two_passes(tmp_path: Path, prompted: bool) -> None:
    bank = bank_with_both(tmp_path, prompted)
    request = {"adapter": "alone", "inputs": "Ada Lovelace lived in London , Alan Turing near Paris ."}
    wanted, why = bank.predict([request]), bank.explain(request, method="occlusion")
    with bank.lease("alone") as leased:
        alone: Any = leased["alone"].resident.alone
    found: list[Any] = []
    waits: list[bool] = []
    thread = threading.Thread(target=lambda: found.extend(bank.predict([request])))

    def proceed() -> None:
        if not waits:
            thread.start()
            until(alone._next.locked)  # by who waits for the end of this pass
        waits.append(alone._next.locked())

    assert bank.explain(request, method="occlusion", proceed=proceed) == why
    thread.join(60)
    assert waits[:2] == [True, False] and len(waits) > 2 and found == wanted


@pytest.mark.parametrize("prompted", [False, True])
def test_an_explanation_ends_before_a_pass_where_it_is_told_to(tmp_path: Path, prompted: bool) -> None:
    class EnoughError(Exception):
        """Nobody waits any more."""

    bank = bank_with_both(tmp_path, prompted)
    for name in ("mixed", "alone"):
        request = {"adapter": name, "inputs": "Ada Lovelace lived in London , Alan Turing near Paris ."}
        passes: list[int] = []

        def proceed(passes: list[int] = passes) -> None:
            passes.append(1)
            if len(passes) == 3:
                raise EnoughError

        with pytest.raises(EnoughError):
            bank.explain(request, method="occlusion", proceed=proceed)
        assert len(passes) == 3 and "error" not in bank.predict([request])[0]


def test_a_prompt_needs_the_file_that_it_was_made_of_no_more(tmp_path: Path) -> None:
    base, task = open_base(str(tiny.llama(tmp_path / "base", positions=512))), tiny.classifying()
    mine = tmp_path / "mine.toml"
    mine.write_text(template.paths(())["classification_sentiment"].read_text())
    folder = tiny.adapter(tmp_path / "prompt", "zero_shot", base, task, prompt=str(mine), ensemble_prompts=[str(mine)])
    mine.unlink()
    bank = AdapterBank(str(base.folder))
    assert not bank.load("prompt", folder)["mixed"]
    (answer,) = bank.predict([{"adapter": "prompt", "inputs": TEXTS[0]}])
    assert answer["output"] == adapters.load(folder, base=str(base.folder))(TEXTS[0])


def test_a_prompt_that_its_base_cannot_answer_is_refused(tmp_path: Path) -> None:
    base, task = open_base(str(tiny.llama(tmp_path / "base", positions=512))), tiny.classifying()
    folder = tiny.adapter(tmp_path / "prompt", "zero_shot", base, task, prompt="classification_sentiment")
    record = json.loads((folder / "prompt.json").read_text())
    record["members"][0]["prompt"]["query"] = "{{text}} It was {{mask}}."
    (folder / "prompt.json").write_text(json.dumps(record))
    tiny.rewrite(folder, lambda card: None)
    with pytest.raises(ModelError, match="only an encoder can fill"):
        AdapterBank(str(base.folder)).load("prompt", folder)
