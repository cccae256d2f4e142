"""Tasks of other shapes fit the protocol: span answers, a pair of marked entities, generated text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import FIRST, LAST

from adapters.artifacts import artifact
from adapters.core.errors import ModelError
from adapters.core.files import write_json
from adapters.core.settings import CommonSettings
from adapters.data.dataset_files import open_splits
from adapters.methods.base.method import Method, head_modules
from adapters.models.base_model import CAUSAL, ENCODER, ENCODER_DECODER
from adapters.models.generation import generate
from adapters.models.tokenizer import IGNORED, WordTokenizer
from adapters.tasks.base.example import Encoded, Example, Prediction
from adapters.tasks.base.predictor import shared_out
from adapters.tasks.base.row_task import RowTask
from adapters.tasks.base.task import Task, config_of

CITIES = ["London", "Paris", "Berlin", "Oslo", "Rome"]
WRITTEN = 6  # tokens of the longest answer


class Stub(RowTask):
    """What the three have in common: rows of JSONL, whose columns are the inputs, and a gold answer."""

    metrics = ()
    gold = "gold"
    labelled = False


class Spans(Stub):
    """Span answers (extractive question answering): the first and the last token of the answer in a context."""

    name = "spans"
    kinds = (ENCODER, CAUSAL)
    columns = ("question", "context")

    def auto_class(self, kind: str) -> str:
        return "AutoModelForQuestionAnswering"

    def prior(self, targets: Any) -> None:
        """None: the targets are places in a row, not classes."""

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        texts = ([e.inputs[column] for e in examples] for column in self.columns)
        made = tokenizer.hf_tokenizer(*texts, truncation="only_second", max_length=budget, return_offsets_mapping=True)
        out = []
        for number, example in enumerate(examples):
            of_text, offsets = made.sequence_ids(number), made.offset_mapping[number]
            where = [pair if text == 1 else None for text, pair in zip(of_text, offsets, strict=True)]
            targets = self._places(where, example) if learning else [IGNORED, IGNORED]
            types = made["token_type_ids"][number] if "token_type_ids" in made else []
            out.append(
                Encoded(
                    example=number, input_ids=made.input_ids[number], targets=targets, token_types=types, detail=where
                )
            )
        return out

    @staticmethod
    def _places(where: Sequence[tuple[int, int] | None], example: Example) -> list[int]:
        """The tokens in which the answer begins and ends; IGNORED where it was cut off."""
        begin = example.inputs["context"].index(example.gold)
        inside = [i for i, at in enumerate(where) if at and at[1] > begin and at[0] < begin + len(example.gold)]
        return [inside[0], inside[-1]] if inside else [IGNORED, IGNORED]

    def logits(self, model: Any, inputs: Mapping[str, Any], targets: Any = None) -> Any:
        """`[rows, 2, tokens]`: the tokens are the classes of the begin and of the end; padding is none of them."""
        import torch

        out = model(**inputs)
        both = torch.stack([out.start_logits, out.end_logits], 1)
        mask = inputs.get("attention_mask")
        return both if mask is None else both.masked_fill(mask[:, None] == 0, torch.finfo(both.dtype).min)

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        out = []
        for example, row, (begins, ends) in zip(examples, encoded, answers, strict=True):
            there = [i for i, at in enumerate(row.detail) if at]
            pairs = [(begins[i] + ends[j], i, j) for i in there for j in there if i <= j < i + 8]
            score, i, j = max(pairs)
            answer = example.inputs["context"][row.detail[i][0] : row.detail[j][1]]
            out.append(Prediction(value=answer, detail=float(score)))
        return out


class Relations(Stub):
    """A pair of marked entities: what the text says of a subject and an object in it."""

    name = "relations"
    kinds = (ENCODER, CAUSAL)
    columns = ("text", "subject", "object")
    labelled = True

    def auto_class(self, kind: str) -> str:
        return "AutoModelForSequenceClassification"

    @staticmethod
    def marked(example: Example) -> str:
        """The text with marks around the two: `( Ada ) lived in ! London !`."""
        text, marks = example.inputs["text"], []
        for column, before, after in (("subject", "( ", " )"), ("object", "! ", " !")):
            begin, end = example.inputs[column]
            marks += [(begin, before), (end, after)]
        for at, mark in sorted(marks, reverse=True):
            text = text[:at] + mark + text[at:]
        return text

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        made = tokenizer.hf_tokenizer([self.marked(e) for e in examples], truncation=True, max_length=budget)
        return [
            Encoded(
                example=i, input_ids=made.input_ids[i], targets=[self.labels.index[e.gold] if learning else IGNORED]
            )
            for i, e in enumerate(examples)
        ]

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        return [Prediction(value=self.labels.names[answer.argmax()], detail=float(answer.max())) for answer in answers]


class Texts(Stub):
    """Generated text: the base writes with the head that it has."""

    name = "texts"
    kinds = (CAUSAL, ENCODER_DECODER)
    columns = ("text",)
    has_head = False

    def auto_class(self, kind: str) -> str:
        return "AutoModelForSeq2SeqLM" if kind == ENCODER_DECODER else "AutoModelForCausalLM"

    def encode(
        self, examples: Sequence[Example], tokenizer: WordTokenizer, budget: int, *, learning: bool = False
    ) -> list[Encoded]:
        """A causal model reads the answer behind the text, and each token's target is the next token."""
        tokenizer, leftwards = tokenizer.hf_tokenizer, tokenizer.causal
        out = []
        for number, example in enumerate(examples):
            ids = list(tokenizer(f"{example.inputs['text']} :", truncation=True, max_length=budget - WRITTEN).input_ids)
            targets = [IGNORED]
            if learning:
                answer = tokenizer(example.gold).input_ids
                if leftwards:
                    targets = [IGNORED] * (len(ids) - 1) + answer + [tokenizer.eos_token_id]
                    ids += answer
                else:
                    targets = answer  # with the end that the tokenizer puts there
            out.append(Encoded(example=number, input_ids=ids, targets=targets))
        return out

    def logits(self, model: Any, inputs: Mapping[str, Any], targets: Any = None) -> Any:
        """An encoder-decoder model shifts the targets to the right for its decoder."""
        return model(**inputs, **({"labels": targets} if config_of(model).is_encoder_decoder else {})).logits

    def answers(self, model: Any, inputs: Mapping[str, Any], tokenizer: WordTokenizer) -> Sequence[np.ndarray]:
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        rows = [row.tolist() if mask is None else row[mask[i] == 1].tolist() for i, row in enumerate(ids)]
        return [np.array(row, int) for row in generate(model, tokenizer.hf_tokenizer, rows, max_new_tokens=WRITTEN)]

    def decode(
        self,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        tokenizer: WordTokenizer,
    ) -> list[Prediction]:
        texts = tokenizer.hf_tokenizer.batch_decode([answer.tolist() for answer in answers], skip_special_tokens=True)
        return [Prediction(value=text.strip(), written=text) for text in texts]


def rows_of(stub: type[Stub], number: int) -> list[dict[str, Any]]:
    """Made-up rows, of which a small model can learn something in a second."""
    draw, out = random.Random(number), []
    for i in range(number):
        name, city, verb = (
            f"{draw.choice(FIRST)} {draw.choice(LAST)}",
            draw.choice(CITIES),
            draw.choice(["lived", "worked"]),
        )
        text = " ".join([name, verb, "in", city, *["with a friend"] * draw.randint(0, 1), "."])
        at = text.index(city)
        given = {
            "spans": {"question": f"{verb} in", "context": text, "gold": city},
            "relations": {"text": text, "subject": [0, len(name)], "object": [at, at + len(city)], "gold": verb},
            "texts": {"text": text, "gold": verb},
        }
        out.append({"id": f"n{i}", **given[stub.name]})
    return out


# A stub of each task on a base of each kind that it accepts; steps and a rate at which a tiny model learns some of it.
STUBS = {stub.name: stub for stub in (Spans, Relations, Texts)}
RUNS = {"spans": (30, 0.015), "relations": (48, 0.015), "texts": (100, 0.006)}
PAIRS = [
    ("spans", "bert"),
    ("spans", "gpt2"),
    ("relations", "bert"),
    ("relations", "gpt2"),
    ("texts", "gpt2"),
    ("texts", "t5"),
]
TRAINED = [(stub, on, name) for stub, on in PAIRS for name in ("full", "lora")]
HEADS = {
    ("spans", "bert"): ["qa_outputs"],
    ("spans", "gpt2"): ["qa_outputs"],
    ("relations", "bert"): ["classifier"],
    ("relations", "gpt2"): ["score"],
    ("texts", "gpt2"): [],
    ("texts", "t5"): [],
}
LAYERS = {"gpt2": ["c_attn", "c_proj", "c_fc"], "t5": ["q", "k", "v", "o", "wi", "wo"]}
each_pair = pytest.mark.parametrize(("stub", "on"), PAIRS)
each_trained = pytest.mark.parametrize(("stub", "on", "name"), TRAINED)


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def _loud(folder: Path) -> Path:
    """With larger embeddings: they are its head, too, and with fresh ones every next token is about as likely."""
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder)
    model.transformer.wte.weight.data.mul_(20)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Any]:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    root = tmp_path_factory.mktemp("tiny")
    folders = {"bert": tiny_bert, "gpt2": _loud(tiny.gpt2(root / "gpt2")), "t5": tiny.t5(root / "t5")}
    return {name: open_base(str(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Each task and its training examples, read from a file."""
    found = {}
    for name, stub in STUBS.items():
        folder = tmp_path_factory.mktemp(name)
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(stub, 48)))
        task, splits = stub.read(open_splits(folder=folder), None)
        found[name] = task, splits["train"]
    return found


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A method around a base, trained, and its predictions of what it was trained on."""

    method: Any
    model: Any
    losses: list[float]
    predictor: Any
    predictions: list[Prediction]


@pytest.fixture(scope="module")
def trained(bases: dict[str, Any], read: dict[str, Any]) -> Callable[[str, str, str], Trained]:
    """`trained(stub, base, method)`: trained when it is first asked for."""
    import torch

    done: dict[Any, Trained] = {}

    def train(stub: str, on: str, name: str) -> Trained:
        (task, examples), base = read[stub], bases[on]
        adapted = {"lora_target_modules": LAYERS[on]} if (stub, name) == ("texts", "lora") else {}
        steps, rate = RUNS[stub]
        short = {"max_train_steps": steps, "learning_rate": rate, "adam_beta2": 0.999}
        method = tiny.method(name, **short, dropout=0.0, **adapted)
        method.check(base, task)
        torch.manual_seed(0)
        model = method.wrap(base, task, examples)
        rising = count()
        history = tiny.trainer(method, model, base, task, examples).run(lambda: float(next(rising)))
        predictor = method.predictor(model, base, task)
        return Trained(
            method=method,
            model=model,
            losses=history.losses,
            predictor=predictor,
            predictions=predictor.predict(examples),
        )

    def ask(*asked: str) -> Trained:
        if asked not in done:
            done[asked] = train(*asked)
        return done[asked]

    return ask


def values(predictions: Sequence[Prediction]) -> list[Any]:
    return [prediction.value for prediction in predictions]


def assert_same(some: Sequence[Prediction], others: Sequence[Prediction]) -> None:
    assert values(some) == values(others)
    assert np.allclose([p.detail or 0 for p in some], [p.detail or 0 for p in others], rtol=0, atol=1e-5)


@each_trained
def test_a_stub_learns(stub, on, name, trained):
    made = trained(stub, on, name)
    assert len(made.losses) == RUNS[stub][0]
    assert np.mean(made.losses[-6:]) < 0.7 * np.mean(made.losses[:6])


@each_trained
def test_what_trains_is_the_methods_own_and_the_head_of_the_task(stub, on, name, trained, read):
    model = trained(stub, on, name).model
    named = {parameter for parameter, value in model.named_parameters() if value.requires_grad}
    if name == "full":
        assert len(named) == len([*model.parameters()])
        assert head_modules(model, read[stub][0]) == HEADS[stub, on]
    else:
        beside = {parameter for parameter in named if ".lora_" not in parameter}
        assert beside < named
        assert {parameter.split(".")[2] for parameter in beside if ".pooler." not in parameter} == set(HEADS[stub, on])


@each_trained
def test_there_is_one_prediction_an_example_in_their_order(stub, on, name, trained, read):
    made, examples = trained(stub, on, name), read[stub][1]
    assert len(made.predictions) == len(examples)
    assert len(set(values(made.predictions))) > 1, "or their order could not be seen"
    order = random.Random(0).sample(range(len(examples)), 20)
    together = made.predictor.predict([examples[i] for i in order])
    assert_same(together, [made.predictions[i] for i in order])
    alone = [made.predictor.predict([examples[i]])[0] for i in order[:8]]
    assert_same(together[:8], alone)


@each_trained
def test_a_saved_stub_is_loaded_with_the_same_answers(stub, on, name, trained, read, bases, tmp_path):
    made, (task, examples), base = trained(stub, on, name), read[stub], bases[on]
    folder = tmp_path / "artifact"
    artifact.write(
        folder, lambda draft: made.method.save(made.model, base, draft), {"task": task.card()}, "# A model\n"
    )
    again = STUBS[stub].from_card(artifact.verify(folder)["task"])
    fresh = tiny.method(name, **made.method.recorded())
    loaded = fresh.predictor(fresh.load(base, again, folder), base, again).predict(examples)
    assert_same(loaded, made.predictions)
    outputs = [again.output(e, p) for e, p in zip(examples, loaded, strict=True)]
    assert outputs == [{**e.inputs, "gold": p.value} for e, p in zip(examples, made.predictions, strict=True)]


@each_pair
def test_nothing_of_the_gold_answer_reaches_the_inputs(stub, on, read, bases):
    task, train = read[stub]
    blind = [task.from_request(example.inputs, example.id) for example in train]
    shown, hidden = (task.encode(some, bases[on].word_tokenizer, 64) for some in (train, blind))
    assert shown == hidden
    learnt = task.encode(train, bases[on].word_tokenizer, 64, learning=True)
    assert all(set(row.targets) == {IGNORED} for row in hidden)
    assert all(set(row.targets) != {IGNORED} for row in learnt)


def test_two_texts_are_told_apart_by_their_token_types_where_the_base_knows_some(read, bases):
    task, train = read["spans"]
    assert {kind for row in task.encode(train, bases["bert"].word_tokenizer, 64) for kind in row.token_types} == {0, 1}
    assert not any(row.token_types for row in task.encode(train, bases["gpt2"].word_tokenizer, 64))


def test_token_types_reach_the_model_while_it_learns_and_while_it_answers(read, bases):
    task, train = read["spans"]
    method, base = tiny.method("full"), bases["bert"]
    model = method.wrap(base, task, train)
    seen = []

    def note(module: Any, args: Any, given: Mapping[str, Any]) -> None:
        types = given["token_type_ids"]
        assert types.shape == given["input_ids"].shape
        seen.append((module.training, set(types.flatten().tolist())))

    model.register_forward_pre_hook(note, with_kwargs=True)
    tiny.trainer(method, model, base, task, train).run(lambda: 0.5)
    method.predictor(model, base, task).predict(train)
    assert {training for training, _ in seen} == {True, False}
    assert all(types == {0, 1} for _, types in seen)


@pytest.mark.parametrize(
    ("stub", "on", "name", "said"),
    [
        ("spans", "t5", "full", "the task spans works with encoder, causal"),
        ("relations", "t5", "lora", "the task relations works with encoder, causal"),
        ("texts", "tiny-bert", "lora", "the task texts works with causal, encoder-decoder"),
        ("texts", "t5", "head", "texts has no head to train"),
        ("texts", "gpt2", "zero_shot", "texts cannot be prompted"),
    ],
)
def test_a_base_or_a_method_that_does_not_fit_a_stub_is_refused(stub, on, name, said, read, bases):
    with pytest.raises(ModelError) as refusal:
        tiny.method(name).check(bases[on.removeprefix("tiny-")], read[stub][0])
    assert said in str(refusal.value)


# A method that generates


class Writer:
    """Writes behind (an encoder-decoder: in answer to) a question about each example."""

    def __init__(self, model: Any, base: Any, question: str) -> None:
        self.model, self.tokenizer, self.question = model, base.tokenizer, question

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        return shared_out(examples, self.write)

    def write(self, examples: list[Example]) -> list[Prediction]:
        rows = [self.tokenizer(self.question + example.inputs["text"]).input_ids for example in examples]
        answers = generate(self.model, self.tokenizer, rows, max_new_tokens=WRITTEN)
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [Prediction(value=text.strip(), written=text) for text in texts]


class Asking(Method):
    """A frozen model with its own head, and a question."""

    name = "asking"
    kinds = (CAUSAL, ENCODER_DECODER)
    trains = False
    question = ""

    def wrap(self, base: Any, task: Task, train: Sequence[Example]) -> Any:
        self.question = f"{train[0].gold} : "
        return base.load_generator().requires_grad_(False)

    def save(self, model: Any, base: Any, folder: Path) -> None:
        write_json(folder / "question.json", {"question": self.question})

    def load(self, base: Any, task: Task, folder: Path) -> Any:
        self.question = json.loads((folder / "question.json").read_text())["question"]
        return base.load_generator()

    def predictor(self, model: Any, base: Any, task: Task, *, precision: str = "no") -> Writer:
        return Writer(model, base, self.question)


@pytest.mark.parametrize("on", ["gpt2", "t5"])
def test_a_method_that_generates_answers_a_task_of_texts(on, read, bases, tmp_path):
    task, train = read["texts"]
    method = Asking(CommonSettings())
    method.check(bases[on], task)
    model = method.wrap(bases[on], task, train)
    predictor = method.predictor(model, bases[on], task)
    predictions = predictor.predict(train)
    assert values(predictions) == values([predictor.predict([example])[0] for example in train])
    assert len(predictions) == len(train) and all(p.written is not None for p in predictions)
    folder = tmp_path / "artifact"
    artifact.write(folder, lambda draft: method.save(model, bases[on], draft), {"task": task.card()}, "# A question\n")
    artifact.verify(folder)
    fresh = Asking(CommonSettings())
    again = fresh.load(bases[on], task, folder)
    assert fresh.question == method.question == f"{train[0].gold} : "
    assert fresh.predictor(again, bases[on], task).predict(train) == predictions
    with pytest.raises(ModelError, match="the method asking works with causal, encoder-decoder"):
        method.check(bases["bert"], task)
