"""Attributions to words, of tiny models of every kind: they add up, are of the right words, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from captum.attr import LayerIntegratedGradients

from adapters.artifacts import loading
from adapters.artifacts.explaining.base import attribution, explain
from adapters.artifacts.explaining.base.attribution import Options
from adapters.artifacts.explaining.base.neighbours import Neighbours
from adapters.artifacts.explaining.base.reader import ReadAnswer
from adapters.core import discovery
from adapters.core.errors import DataError, ModelError, SettingsError
from adapters.models.base_model import open_base
from adapters.tasks.base.example import Example
from adapters.tasks.base.explained import Alternatives
from adapters.tasks.base.requests import Request, example_of

MANY = Options(steps=128)
TEXT = "Ada Lovelace lived in New York ."


TASKS: dict[str, tuple[Callable[[], Any], Any, str | None]] = {
    "classification": (tiny.classifying, TEXT, None),
    "several labels": (
        lambda: discovery.load("tasks", "classification").MultiLabelTask(tiny.classifying(("a", "b", "c")).labels),
        TEXT,
        "b",
    ),
    "a pair": (lambda: tiny.classifying(pair=True), {"text": TEXT, "text_pair": "Grace Hopper wrote notes ."}, None),
    "windows": (lambda: tiny.classifying(windows=True), " ".join([TEXT] * 30), None),
    "regression": (tiny.regressing, TEXT, None),
    "ner": (tiny.tagging, TEXT, None),
    "question": (
        lambda: discovery.load("tasks", "question_answering").Task(),
        {"question": "Where did Ada live ?", "context": TEXT},
        "New York",
    ),
    "relation": (tiny.relating, "<e1>Ada Lovelace</e1> lived in <e2>New York</e2> .", None),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bases")
    found = {name: open_base(str(build(folder / name))) for name, build in tiny.BUILDERS.items() if name != "t5"}
    return {"bert": open_base(str(tiny_bert)), **found}


@pytest.fixture(scope="module")
def loaded(bases: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """An artifact with random weights, loaded; each is written once."""
    root, made = tmp_path_factory.mktemp("artifacts"), {}

    def load(base: str, method: str, task: str) -> Any:
        key = f"{base}-{method}-{task}".replace(" ", "_")
        if key not in made:
            kind = TASKS[task][0]().on(bases[base].kind)
            folder = tiny.adapter(root / key, method, bases[base], kind, seed=3)
            made[key] = loading.load(folder, device="cpu", base=str(bases[base].folder), plugin_dirs=())
        return made[key]

    return load


def answer_of(loaded: Any, inputs: Any, target: str | None = None) -> Any:
    example = example_of(Request(None, inputs), loaded.task)
    return explain.answered(loaded.predictor, loaded.task, example, target)


def target_of(loaded: Any, inputs: Any, target: str | None) -> Any:
    """The target, or of a task with entities one that a random model need not have found."""
    if loaded.task.answer != "tags":
        return target
    from adapters.tasks.base.explained import Target

    index = loaded.task.labels.index
    return Target(name="LOC: New York", of=[(4, index["B-LOC"]), (5, index["I-LOC"])])


SUITS = [
    *((base, task) for base in ("bert", "llama") for task in TASKS if (base, task) != ("llama", "question")),
    *((base, task) for base in ("gpt2", "roberta", "deberta") for task in ("a pair", "ner")),
]


@pytest.mark.parametrize(("base", "task"), SUITS)
def test_integrated_gradients_add_up_to_the_difference_of_the_scores(loaded: Any, base: str, task: str) -> None:
    _, inputs, wanted = TASKS[task]
    model = loaded(base, "lora", task)
    with answer_of(model, inputs, target_of(model, inputs, wanted)) as answer:
        assert isinstance(answer, ReadAnswer)
        values = attribution.load("integrated_gradients").attribute(answer, MANY)
        difference = answer.score.value - answer.empty.value
        assert abs(difference) > 1e-4
        assert values.sum() == pytest.approx(difference, rel=0.05, abs=1e-3)
        assert np.abs(values).max() > 0


@pytest.mark.parametrize("method", ["full", "prefix", "prompt_tuning", "bottleneck"])
def test_every_method_with_a_head_is_explained(loaded: Any, method: str) -> None:
    model = loaded("bert", method, "classification")
    with answer_of(model, TEXT) as answer:
        values = attribution.load("integrated_gradients").attribute(answer, MANY)
        assert values.sum() == pytest.approx(answer.score.value - answer.empty.value, rel=0.05, abs=1e-3)


def test_values_are_those_of_captums_layer_integrated_gradients(loaded: Any) -> None:
    model = loaded("bert", "lora", "classification")
    with answer_of(model, TEXT) as answer:
        ours = attribution.load("integrated_gradients").attribute(answer, Options(steps=16))
        network, row = model.predictor.model, answer.rows[0]
        label = answer.target.of

        def margin(ids: torch.Tensor) -> torch.Tensor:
            logits = network(input_ids=ids).logits
            return logits[:, label] - logits[:, 1 - label]

        ids = torch.tensor([row.input_ids])
        none = torch.tensor([answer.tokens_without(0, np.ones(len(answer.words), bool))])
        peer = LayerIntegratedGradients(margin, network.get_input_embeddings())
        theirs = peer.attribute(ids, none, n_steps=16)[0].sum(-1).detach().numpy()
        assert ours == pytest.approx(answer.to_words(0, theirs), abs=1e-5)
        special = [at for at, words in enumerate(answer.traced.rows[0].toarray()) if not words.any()]
        assert special == [0, len(row.input_ids) - 1] and np.abs(theirs[special]).max() == 0


class LinearReader:
    """A model whose answer is a linear function of embeddings: what each word adds is known."""

    def __init__(self, base: Any) -> None:
        generator = torch.Generator().manual_seed(0)
        self.tokenizer, self.budget = base.word_tokenizer, 64
        self.table = torch.randn(base.embeddings, 6, generator=generator)
        self.head = torch.randn(6, 3, generator=generator)

    def reading(self) -> Any:
        return nullcontext(self)

    def predict(self, examples: Any) -> Any:
        raise AssertionError("it is read, not asked")

    def embeddings(self, ids: Any) -> torch.Tensor:
        return self.table[torch.tensor([list(ids)])]

    def logits(self, embeddings: torch.Tensor, row: Any) -> torch.Tensor:
        return embeddings.sum(1) @ self.head

    def answers(self, encoded: Any) -> Any:
        return [self.logits(self.embeddings(row.input_ids), row)[0].numpy() for row in encoded]

    def features(self, encoded: Any) -> Any:
        return np.stack([self.embeddings(row.input_ids).mean(1)[0].numpy() for row in encoded])


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_a_linear_model_is_explained_exactly(bases: dict[str, Any], method: str) -> None:
    reader = LinearReader(bases["bert"])
    task = tiny.classifying(("a", "b", "c"))
    text = "Ada Lovelace  lived, in New-York"
    example = example_of(Request(None, text), task)
    with explain.answered(reader, task, example, "b") as answer:  # type: ignore[arg-type]
        words = [text[word.start : word.end] for word in answer.words]
        assert words == ["Ada", "Lovelace", "lived", ",", "in", "New", "-", "York"]
        contrast = reader.head[:, 1] - (reader.head[:, 0] + reader.head[:, 2]) / 2
        blank = reader.table[answer.blank] @ contrast
        ids = [reader.tokenizer.encode_data(word, add_special_tokens=False).input_ids for word in words]
        truth = [sum(float(reader.table[token] @ contrast - blank) for token in tokens) for tokens in ids]
        found = attribution.load(method).attribute(answer, Options(steps=4))
        assert found == pytest.approx(truth, abs=1e-4)
        assert answer.score.value - answer.empty.value == pytest.approx(sum(truth), abs=1e-4)


def test_more_points_are_taken_until_attributions_add_up(
    bases: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class CurvedReader(LinearReader):
        """One whose answer is no linear function: two points on a path say little of it."""

        def logits(self, embeddings: torch.Tensor, row: Any) -> torch.Tensor:
            return torch.sin(super().logits(embeddings, row) / 4)

    reader, task = CurvedReader(bases["bert"]), tiny.classifying(("a", "b", "c"))
    method = attribution.load("integrated_gradients")
    errors = {}
    for finer in ((1,), (1, 2, 4, 8)):
        monkeypatch.setattr("adapters.artifacts.explaining.integrated_gradients.FINER", finer)
        with explain.answered(reader, task, example_of(Request(None, TEXT), task), "b") as answer:  # type: ignore[arg-type]
            whole = answer.score.value - answer.empty.value
            errors[finer] = abs(method.attribute(answer, Options(steps=2)).sum() - whole) / abs(whole)
    assert errors[(1,)] > attribution.MAX_ERROR >= errors[1, 2, 4, 8]


def test_a_token_of_two_words_is_shared_and_nothing_is_lost(bases: dict[str, Any]) -> None:
    from adapters.tasks.base.explained import Word, traced

    words = [
        Word(column="text", start=0, end=3),
        Word(column="text", start=3, end=4),
        Word(column="text", start=6, end=8),
    ]
    found = traced(words, [[None, ("text", 0, 2), ("text", 2, 4), ("text", 4, 6), ("text", 5, 8)]])
    assert found.rows[0].toarray().tolist() == [[0, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0, 0], [0, 0, 1]]


def test_alternatives_are_compared_with_the_mean_of_the_others() -> None:
    two = Alternatives(scores=np.array([0.5, 2.0]), chosen=1)
    assert two.contrast() == pytest.approx(1.5)
    assert two.probability() == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert Alternatives(scores=np.array([1.0, 2.0, 6.0]) + 7, chosen=2).contrast() == pytest.approx(4.5)
    assert Alternatives(scores=np.array([-3.0]), chosen=0).contrast() == -3


def test_words_beyond_the_length_count_nothing_and_it_is_said(loaded: Any) -> None:
    model = loaded("bert", "lora", "classification")
    found = explain.explain(model.predictor, model.task, " ".join([TEXT] * 60), model="lora")
    assert found.truncated and found.notes and "not read" in found.notes[0]
    assert not any(part.value for part in found.parts[-100:])


def test_a_text_of_ten_thousand_words_is_read_in_windows(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded("bert", "lora", "windows")
    text = "Ada lived in London " * 2500
    read: list[int] = []
    whole = model.predictor.logits
    monkeypatch.setattr(
        model.predictor, "logits", lambda e, row: (read.append(e.shape[0] * e.shape[1]), whole(e, row))[1]
    )
    options = Options(steps=2, batch_tokens=256)
    found = explain.explain(model.predictor, model.task, text, model="lora", options=options)
    assert len(found.parts) == 10_000 and not found.truncated
    assert found.parts[9_998].value and found.parts[0].value
    assert max(read) <= 256, "memory is bounded by the tokens that are read at a time"


def test_an_answer_in_two_windows_is_explained_in_the_one_that_was_chosen(loaded: Any) -> None:
    """The other window still has the whole text while words are erased in the chosen one."""
    model = loaded("bert", "lora", "question")
    context = " ".join(f"{TEXT} Grace Hopper wrote notes {number} ." for number in range(30))
    inputs = {"question": "who ?", "context": context}
    of_two = 0
    for number in range(30):
        with answer_of(model, inputs, f"notes {number} .") as answer:
            assert isinstance(answer, ReadAnswer) and len(answer.rows) > 2
            (chosen,) = answer.counting
            none = np.ones(len(answer.words), bool)
            row = replace(answer.rows[chosen], input_ids=answer.tokens_without(chosen, none))
            alone = model.task.alternatives(answer.target, [row], answer.reader.answers([row]))
            assert answer.empty.value == pytest.approx(sum(one.contrast() for one in alone), abs=1e-5)
            words = [word.start <= answer.target.of[0] < word.end for word in answer.words]
            if sum(bool(shares[:, words.index(True)].sum()) for shares in answer.traced.rows) < 2:
                continue
            of_two += 1
            difference = answer.score.value - answer.empty.value
            values = attribution.load("integrated_gradients").attribute(answer, MANY)
            assert values.sum() == pytest.approx(difference, rel=0.05, abs=1e-3)
    assert of_two >= 2


def test_many_words_are_occluded_in_runs(loaded: Any) -> None:
    model = loaded("bert", "lora", "windows")
    options = Options(passes=7)
    found = explain.explain(model.predictor, model.task, TEXT * 2, model="lora", method="occlusion", options=options)
    values = [part.value for part in found.parts]
    assert len(values) == 14 and values[0] == values[1] != values[2]
    assert "2 words were erased at a time" in found.notes[0]


@pytest.mark.parametrize(
    ("inputs", "method", "target", "error", "message"),
    [
        (TEXT, "integrated_gradient", None, SettingsError, "did you mean 'integrated_gradients'"),
        (
            TEXT,
            "weights",
            None,
            ModelError,
            "For this answer there is: integrated_gradients, occlusion, gradient_input",
        ),
        (TEXT, "shots", None, ModelError, "there are no shots"),
        (TEXT, None, "goood", DataError, "did you mean 'good'"),
        ("", None, None, DataError, "none of them empty"),
        ("\u200b", None, None, DataError, "no word"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_what_can(
    loaded: Any, inputs: str, method: str | None, target: str | None, error: type[Exception], message: str
) -> None:
    model = loaded("bert", "lora", "classification")
    with pytest.raises(error, match=message):
        explain.explain(model.predictor, model.task, inputs, model="lora", method=method, target=target)


def test_an_entity_that_is_not_there_is_refused_with_those_that_are(loaded: Any) -> None:
    model = loaded("bert", "lora", "ner")
    for text in (TEXT, TEXT.lower(), "Alan Turing worked near Paris .", "a b c d e f"):
        entities = model(text)["entities"]
        if entities:
            break
    assert entities, "the random head finds none"
    with pytest.raises(DataError, match=r"'Atlantis' is not there: (known|did you mean)"):
        explain.explain(model.predictor, model.task, text, model="lora", target="Atlantis")
    found = explain.explain(model.predictor, model.task, text, model="lora", target=str(len(entities)))
    assert found.target == f"{entities[-1]['label']}: {entities[-1]['text']}"


def test_embeddings_that_say_something_else_are_refused(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded("bert", "lora", "classification")
    whole = model.predictor.logits
    monkeypatch.setattr(model.predictor, "logits", lambda embeddings, row: whole(embeddings, row) * 1.1 + 0.1)
    with pytest.raises(ModelError, match="of a text's embeddings"):
        explain.explain(model.predictor, model.task, TEXT, model="lora")


def test_parameters_that_train_still_do_afterwards(loaded: Any) -> None:
    model = loaded("bert", "lora", "classification")
    network = model.predictor.model
    network.train().requires_grad_(True)
    explain.explain(model.predictor, model.task, TEXT, model="lora")
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_shots_are_explained_by_leaving_each_out(bases: dict[str, Any]) -> None:
    base = bases["llama"]
    task = tiny.classifying()
    train = [Example(id=str(n), inputs={"text": f"a {word} film"}, gold=word) for n, word in enumerate(["bad", "good"])]
    method = tiny.method("few_shot", shots=2, prompt="classification_few", apply_chat_template="no")
    model = method.wrap(base, task, train)
    predictor = method.predictor(model, base, task)
    found = explain.explain(predictor, task, "what a film", model="few_shot")
    assert found.method == "shots" and [part.column for part in found.parts] == ["shot", "shot"]
    assert {part.label for part in found.parts} == {"bad", "good"}
    example = example_of(Request(None, "what a film"), task)
    (whole,) = predictor.predict([example])
    shots = predictor.shown(example)
    (less,) = predictor.with_shots(shots[1:]).predict([example])
    odds = [np.log(one.detail[task.labels.index[found.target]] / (1 - one.detail[task.labels.index[found.target]]))
            for one in (whole, less)]  # fmt: skip
    assert found.parts[0].value == pytest.approx(odds[0] - odds[1], abs=1e-6)
    words = explain.explain(predictor, task, "what a film", model="few_shot", method="occlusion")
    assert [part.text for part in words.parts] == ["what", "a", "film"]


def test_a_written_answer_is_explained_by_its_likelihood(bases: dict[str, Any]) -> None:
    base, task = bases["llama"], tiny.tagging()
    inputs = {"tokens": ["Ada", "lived", "in", "London"]}
    train = [Example(id=str(n), inputs=inputs, gold=["B-PER", "O", "O", "B-LOC"]) for n in range(2)]
    method = tiny.method("few_shot", shots=1, prompt="ner_few", apply_chat_template="no")
    predictor = method.predictor(method.wrap(base, task, train), base, task)
    found = explain.explain(predictor, task, {"tokens": ["Grace", "lived", "in", "Paris"]}, model="few_shot")
    assert found.method == "shots" and len(found.parts) == 1 and found.probability is not None
    assert found.score == pytest.approx(np.log(found.probability)) and found.target


def test_records_are_json_and_pages_hold_no_markup_of_the_text(loaded: Any) -> None:
    model = loaded("bert", "lora", "classification")
    found = explain.explain(model.predictor, model.task, "<script>alert(1)</script> & Ada", model="lora")
    record = json.loads(json.dumps(found.record()))
    assert record["error"] <= 0.05 and "".join(part["text"] for part in record["parts"]).startswith("<script>")
    page = found.html()
    assert "<script>alert" not in page and page.count("&lt;") >= 2
    assert 'class="for"' in page or 'class="against"' in page


def test_neighbours_are_the_nearest_by_the_models_own_features(bases: dict[str, Any]) -> None:
    reader, task = LinearReader(bases["bert"]), tiny.classifying(("a", "b", "c"))
    texts = ["Ada Lovelace lived in London .", "Alan Turing worked near Paris .", "Grace Hopper wrote notes ."]
    train = [Example(id=str(n), inputs={"text": text}, gold="a", where=f"t:{n}") for n, text in enumerate(texts)]
    two = Neighbours(reader, task, train, count=2)  # type: ignore[arg-type]
    found = two.of(Example(id="", inputs={"text": "Alan Turing worked near Rome ."}))
    assert found[0].where == "t:1" and len(found) == 2
    assert found[0].similarity > found[1].similarity
    itself = Neighbours(reader, task, train, count=5).of(train[0])  # type: ignore[arg-type]
    assert [one.where for one in itself] == sorted((one.where for one in itself), key=lambda w: w == "t:0")
    assert len(itself) == 2


def test_an_example_without_a_row_is_near_nothing_and_shifts_no_other(
    bases: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are made of two examples at a time, of which the second, or both, have none."""
    monkeypatch.setattr("adapters.artifacts.explaining.base.neighbours.CHUNK", 2)
    reader, task = LinearReader(bases["bert"]), tiny.classifying(("a", "b", "c"))
    texts = ["Ada lived in London .", "-", "Alan Turing worked near Paris .", "Grace Hopper .", "-", "-", "Kurt Bohr"]
    train = [Example(id=str(n), inputs={"text": text}, gold="a", where=f"t:{n}") for n, text in enumerate(texts)]
    whole = task.encode
    monkeypatch.setattr(
        task,
        "encode",
        lambda examples, *given: [
            row for row in whole(examples, *given) if examples[row.example].inputs["text"] != "-"
        ],
    )
    near = Neighbours(reader, task, train, count=3)  # type: ignore[arg-type]
    for number in (0, 2, 3, 6):
        found = near.of(Example(id="", inputs={"text": f"{texts[number]} ."}))
        assert found[0].where == f"t:{number}"
    assert {one.similarity for one in near.of(Example(id="", inputs={"text": "-"}))} == {0.0}


def test_every_attribution_method_is_found() -> None:
    assert attribution.names() == ["gradient_input", "integrated_gradients", "occlusion", "shots", "weights"]
    preferences = [attribution.load(name).preference for name in attribution.names()]
    assert len(set(preferences)) == len(preferences)
