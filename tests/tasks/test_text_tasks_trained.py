"""Tasks whose answer is a text, trained: written by GPT-2 and T5 classes, marked by a BERT; kept, loaded and mixed."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import FIRST, LAST

from adapters.core.errors import DataError, ModelError
from adapters.evaluation.evaluate import evaluate
from adapters.evaluation.metrics.base.metric import task_metrics
from adapters.models.base_model import ENCODER
from adapters.models.tokenizer import IGNORED
from adapters.tasks.base.example import Encoded, Example
from adapters.tasks.question_answering import Task as Answering
from adapters.tasks.summarization import Task as Summarizing

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

CITIES = ["london", "paris", "berlin", "oslo", "rome"]
LAYERS = {"gpt2": ["c_attn", "c_proj", "c_fc"], "t5": ["q", "k", "v", "o", "wi", "wo"]}
# Steps and a rate at which a tiny model learns some of it.
RUNS = {
    ("summarization", "gpt2"): (100, 0.006),
    ("summarization", "t5"): (100, 0.006),
    ("question_answering", "bert"): (40, 0.015),
}
EACH = [(task, on, name) for task, on in RUNS for name in ("full", "lora")]


class Split(list[Example]):
    """Examples as a split of `Examples` gives them, with what a cache of encoded rows is named by."""

    name, notes = "train", {"source": "made up"}

    def __init__(self, examples: list[Example]) -> None:
        from datasets import Dataset

        super().__init__(examples)
        self.dataset = Dataset.from_dict({"id": [example.id for example in examples]})


def rows_of(task: str, number: int) -> Split:
    """Made-up rows, of which a small model can learn something in a second."""
    draw, out = random.Random(number), []
    for i in range(number):
        city, verb = draw.choice(CITIES), draw.choice(["lived", "worked"])
        name = f"{draw.choice(FIRST)} {draw.choice(LAST)}".lower()
        text = " ".join([name, verb, "in", city, *["with a friend"] * draw.randint(0, 1), "."])
        if task == "summarization":
            out.append(Example(id=f"n{i}", inputs={"text": text}, gold=[verb]))
        else:
            inputs, start = {"question": f"{verb} in", "context": text}, text.index(city)
            out.append(Example(id=f"n{i}", inputs=inputs, gold=[city], starts=(start,), where=f"made.json:{i}"))
    return Split(out)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Any]:
    from transformers import GPT2LMHeadModel

    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    root = tmp_path_factory.mktemp("tiny")
    gpt2 = tiny.gpt2(root / "gpt2")
    model = GPT2LMHeadModel.from_pretrained(gpt2)
    model.transformer.wte.weight.data.mul_(20)  # its head, too; with fresh ones every next token is about as likely
    model.save_pretrained(gpt2)
    folders = {"bert": tiny_bert, "gpt2": gpt2, "t5": tiny.t5(root / "t5")}
    return {name: open_base(str(folder)) for name, folder in folders.items()}


def task_of(name: str, kind: str) -> Any:
    return {"summarization": Summarizing, "question_answering": Answering}[name](max_new_tokens=6).on(kind)


Train = Callable[[str, str, str], Any]


@pytest.fixture(scope="module")
def trained(bases: dict[str, Any]) -> Train:
    """`trained(task, base, method)`: method, model, losses, task and examples; trained when it is first asked for."""
    import torch

    done: dict[Any, Any] = {}

    def train(name: str, on: str, how: str) -> Any:
        base, examples = bases[on], rows_of(name, 48)
        task = task_of(name, base.kind)
        steps, rate = RUNS[name, on]
        adapted = {"lora_target_modules": LAYERS[on]} if how == "lora" and on in LAYERS else {}
        short = {"max_train_steps": steps, "learning_rate": rate, "adam_beta2": 0.999, "dropout": 0.0}
        method = tiny.method(how, **short, **adapted)
        method.check(base, task)
        torch.manual_seed(0)
        model = method.wrap(base, task, examples)
        rising = count()
        history = tiny.trainer(method, model, base, task, examples).run(lambda: float(next(rising)))
        return method, model, history.losses, task, examples

    def ask(*asked: str) -> Any:
        if asked not in done:
            done[asked] = train(*asked)
        return done[asked]

    return ask


@pytest.mark.parametrize(("name", "on", "how"), EACH)
def test_a_model_learns_and_what_it_says_is_scored(
    name: str, on: str, how: str, trained: Train, bases: dict[str, Any]
) -> None:
    method, model, losses, task, examples = trained(name, on, how)
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])
    predictor = method.predictor(model, bases[on], task)
    found = evaluate(predictor, examples, task_metrics(task, ()), split="test")
    assert found.main["value"] > (0.4 if how == "full" or on == "bert" else 0.1)
    assert found.failures() == {"parse_failures": 0, "truncated": 0, "shots_dropped": 0}


@pytest.mark.parametrize(("name", "on", "how"), EACH)
def test_what_is_saved_answers_as_before(
    name: str, on: str, how: str, trained: Train, bases: dict[str, Any], tmp_path: Path
) -> None:
    method, model, _, task, examples = trained(name, on, how)
    before = method.predictor(model, bases[on], task).predict(examples[:8])
    method.save(model, bases[on], tmp_path)
    again = method.predictor(method.load(bases[on], task, tmp_path), bases[on], task).predict(examples[:8])
    assert [prediction.value for prediction in again] == [prediction.value for prediction in before]


@pytest.mark.parametrize(("name", "on"), list(RUNS)[:1] + list(RUNS)[2:])
def test_a_bank_answers_as_the_adapter_alone(name: str, on: str, bases: dict[str, Any], tmp_path: Path) -> None:
    from adapters.artifacts import loading as predictor
    from adapters.serving.bank.bank import AdapterBank, Request

    base = bases[on]
    for seed in (1, 2):
        tiny.adapter(tmp_path / f"a{seed}", "lora", base, task_of(name, base.kind), seed=seed)
    folder = str(base.source.path)
    bank = AdapterBank(folder)
    asked = []
    for seed in (1, 2):
        bank.load(f"a{seed}", tmp_path / f"a{seed}")
        asked += [Request(f"a{seed}", dict(example.inputs)) for example in rows_of(name, 3)]
    together = [answer["output"] for answer in bank.predict(asked)]
    alone = [
        predictor.load(tmp_path / request.adapter, base=folder).answer([{"inputs": request.inputs}])[0]["output"]
        for request in asked
    ]
    assert together == alone
    assert len({str(output) for output in together}) > 1


def test_an_encoder_cannot_be_prompted_for_answers_nor_write_summaries(bases: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="cannot be prompted"):
        tiny.method("few_shot").check(bases["bert"], Answering().on(ENCODER))
    with pytest.raises(ModelError, match="the task summarization works with causal"):
        tiny.method("lora").check(bases["bert"], Summarizing())


# marking --------------------------------------------------------------------------------------------------------------

LONG = "ada lived in london . " + "alan worked near rome with a friend . " * 12 + "emmy wrote notes in oslo ."


def asking(text: str, answer: str | None, question: str = "where", start: int = -1) -> Example:
    starts = () if answer is None else (text.index(answer) if start < 0 else start,)
    inputs = {"question": question, "context": text}
    return Example(id="x", inputs=inputs, gold=[answer] if answer else [], starts=starts, where="made.json:7")


def test_windows_cover_a_long_context_and_learn_the_answer_where_it_is_whole(bases: dict[str, Any]) -> None:
    task, tokens = Answering().on(ENCODER), bases["bert"].word_tokenizer
    example = asking(LONG, "oslo")
    rows = task.encode([example], tokens, 40, learning=True)
    assert len(rows) > 3 and all(len(row.input_ids) <= 40 for row in rows)
    seen: set[int] = set()
    for row in rows:
        where, was_cut = row.detail
        assert not was_cut
        seen |= {i for place in where if place for i in range(*place)}
    assert seen == {i for i, letter in enumerate(LONG) if letter != " "}
    holding = [row for row in rows if row.targets != [0, 0]]
    assert holding
    for row in holding:
        (begin, _), (_, end) = (row.detail[0][i] for i in row.targets)
        assert LONG[begin:end] == "oslo"
    for row in rows:
        inside = [place for place in row.detail[0] if place and place[0] >= LONG.index("oslo")]
        assert (row in holding) == (
            bool(inside) and inside[0][0] <= LONG.index("oslo") and "oslo" in LONG[inside[0][0] : inside[-1][1]]
        )


def test_the_place_decides_which_of_equal_words_is_learnt(bases: dict[str, Any]) -> None:
    task, tokens, text = Answering().on(ENCODER), bases["bert"].word_tokenizer, "oslo is not oslo ."
    for start in (0, 12):
        (row,) = task.encode([asking(text, "oslo", start=start)], tokens, 40, learning=True)
        assert row.detail[0][row.targets[0]][0] == start


def test_an_answer_that_does_not_stand_in_its_context_cannot_be_learnt(bases: dict[str, Any]) -> None:
    example = Example(id="x", inputs={"question": "where", "context": "ada ."}, gold=["oslo"], where="made.json:7")
    with pytest.raises(DataError, match=r"made\.json:7: the answer 'oslo' is not in the context"):
        Answering().on(ENCODER).encode([example], bases["bert"].word_tokenizer, 40, learning=True)
    assert Answering().on(ENCODER).encode([example], bases["bert"].word_tokenizer, 40)


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_the_best_stretch_of_all_windows_is_found(bases: dict[str, Any], longest: int) -> None:
    task, tokens = Answering(max_answer_length=longest).on(ENCODER), bases["bert"].word_tokenizer
    draw = np.random.default_rng(longest)
    examples = [asking(LONG, None), asking("ada lived in oslo .", None)]
    rows = task.encode(examples, tokens, 40)
    scores = [draw.normal(size=(2, len(row.input_ids))) for row in rows]
    found = task.decode(examples, rows, scores, tokens)
    for number, example in enumerate(examples):
        slow = max(
            (begins[i] + ends[j], row.detail[0][i][0], row.detail[0][j][1])
            for row, (begins, ends) in zip(rows, scores, strict=True)
            for i in range(len(begins))
            for j in range(i, min(i + longest, len(ends)))
            if row.example == number and row.detail[0][i] and row.detail[0][j]
        )
        assert found[number].value == example.inputs["context"][slow[1] : slow[2]]
        assert task.output(example, found[number])["start"] == slow[1]


def test_none_is_answered_where_that_is_likelier_in_every_window(bases: dict[str, Any]) -> None:
    tokens, example = bases["bert"].word_tokenizer, asking("ada lived in oslo .", None)
    for with_none, first, said in ((True, 9.0, ""), (True, -9.0, "ada"), (False, 9.0, "ada")):
        task = Answering(version_2_with_negative=with_none).on(ENCODER)
        (row,) = task.encode([example], tokens, 40)
        scores = np.zeros((2, len(row.input_ids)))
        scores[:, 0] = first
        at = next(i for i, place in enumerate(row.detail[0]) if place)
        scores[:, at] = 1.0
        (prediction,) = task.decode([example], [row], [scores], tokens)
        assert prediction.value == said
        assert ("start" in task.output(example, prediction)) == bool(said)


def test_a_question_without_an_answer_is_learnt_as_the_first_token(bases: dict[str, Any]) -> None:
    task = Answering(version_2_with_negative=True).on(ENCODER)
    rows = task.encode([asking(LONG, None)], bases["bert"].word_tokenizer, 40, learning=True)
    assert all(row.targets == [0, 0] for row in rows)
    assert task.encode([asking(LONG, None)], bases["bert"].word_tokenizer, 40)[0].targets == [IGNORED, IGNORED]


def test_a_question_that_is_too_long_is_cut_and_counted(bases: dict[str, Any]) -> None:
    task, tokens = Answering().on(ENCODER), bases["bert"].word_tokenizer
    example = asking("ada lived in oslo .", None, question="where " * 200)
    rows = task.encode([example], tokens, 40)
    zeros: list[Any] = [np.zeros((2, len(row.input_ids))) for row in rows]
    assert task.decode([example], rows, zeros, tokens)[0].truncated
    assert isinstance(rows[0], Encoded) and len(rows[0].input_ids) <= 40
