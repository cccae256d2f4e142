"""A prompted model behind a bank: predictions and explanations of several threads, one after the other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import tiny

from adapters.artifacts import artifact
from adapters.core.errors import UserError
from adapters.models.base_model import open_base
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
        "base": {"name": base.name, "weights_sha256": base.digest, "tokenizer_sha256": base.tokenizer_digest},
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
