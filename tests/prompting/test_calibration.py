"""Calibrations follow the formulas of their papers, alone and combined; the channel scores texts after words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp, softmax

from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.prompting.calibration import CONTENT_FREE, STEPS, Calibration, LabelLogProbs, divided, parse, prior_of
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.prompting.template import Prompt
from adapters.tasks.base.example import Example

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = np.array([0, 0, 1, 2, 2, 2])
PROMPT = Prompt(
    name="short",
    task="classification",
    answer="label",
    instruction="Text : Entities :",
    query="Text : {{text}}\nin ",
    shot="Text : {{text}}\nin {{answer}}",
    channel="in {{answer}}\nText : {{text}}",
    verbalizer={"bad": ["London", "Oslo"], "good": "New York"},
)
SHOTS = [
    Example(id="a", inputs={"text": "Ada lived"}, gold="bad"),
    Example(id="b", inputs={"text": "a town"}, gold="good"),
]
EXAMPLES = [Example(id=str(i), inputs={"text": text}) for i, text in enumerate(tiny.TEXT)]


def reading(seed: int, texts: int = 7) -> LabelLogProbs:
    draw = np.random.default_rng(seed)
    words = len(CLASSES)
    return LabelLogProbs(
        words=-draw.gamma(2, 4, (texts, words)),
        content_free=-draw.gamma(2, 4, (3, words)),
        classes=CLASSES,
        domain=-draw.gamma(2, 4, words),
        unconditional=-draw.gamma(2, 4, words),
        tokens=draw.integers(1, 4, words),
        bytes=draw.integers(2, 9, words),
    )


def of_classes(words: np.ndarray) -> np.ndarray:
    """Mean probability of each class's words, in logarithms."""
    columns = [logsumexp(words[:, c == CLASSES], axis=1) - np.log((c == CLASSES).sum()) for c in range(3)]
    return log_softmax(np.stack(columns, 1), axis=1)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_each_calibration_is_its_formula(seed: int) -> None:
    found = reading(seed)
    plain = of_classes(found.words)
    assert np.allclose(Calibration().classes(found), plain)
    assert np.allclose(Calibration(score="mean").classes(found), of_classes(found.words / found.tokens))
    assert np.allclose(Calibration(score="byte").classes(found), of_classes(found.words / found.bytes))
    assert np.allclose(Calibration(steps=("pmi",)).classes(found), of_classes(found.words - found.unconditional))
    assert np.allclose(Calibration(steps=("domain",)).classes(found), of_classes(found.words - found.domain))
    # Zhao et al. 2021: q = softmax(W p), W = diag(p_cf)^-1, no bias; their softmax of a product is taken as its
    # normalisation, which keeps the order of the classes.
    usual = softmax(of_classes(found.content_free), axis=1).mean(0)
    weighted = np.exp(plain) / usual
    wanted = weighted / weighted.sum(1, keepdims=True)
    assert np.allclose(np.exp(Calibration(steps=("contextual",)).classes(found)), wanted)
    mean = np.exp(plain).mean(0)
    weighted = np.exp(plain) / mean
    texts = Calibration(steps=("batch",)).classes(found)
    batch = np.exp(divided(texts, prior_of(texts)))
    assert np.allclose(batch, weighted / weighted.sum(1, keepdims=True))


@given(seed=st.integers(0, 10_000), shift=st.lists(st.floats(-5, 5), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_a_bias_towards_a_class_is_taken_out(seed: int, shift: list[float]) -> None:
    from dataclasses import replace

    found, bias = reading(seed), np.array(shift)[CLASSES]
    biased = replace(
        found,
        words=found.words + bias,
        content_free=found.content_free + bias,
        domain=found.domain + bias,
        unconditional=found.unconditional + bias,
    )
    for steps in (("pmi",), ("domain",)):
        one = Calibration(steps=steps)
        assert np.allclose(one.classes(biased), one.classes(found))
    one = replace(found, content_free=found.content_free[:1])
    other = replace(biased, content_free=biased.content_free[:1])
    contextual = Calibration(steps=("contextual",))
    assert np.allclose(contextual.classes(other), contextual.classes(one))


def test_steps_go_together_in_one_order() -> None:
    found = reading(3)
    one, other = Calibration(steps=("batch", "contextual")), Calibration(steps=("contextual", "batch"))
    assert np.allclose(one.classes(found), other.classes(found))
    assert one.name == "contextual+batch"
    assert [c.name for c in parse(["none", "contextual", "channel+batch", "mean", "domain+byte"])] == [
        "none",
        "contextual",
        "channel+batch",
        "mean",
        "domain+byte",
    ]
    assert len(STEPS) == 5


@pytest.mark.parametrize("text", ["contextuel", "pmi+domain", "channel+pmi", "mean+byte", "channel+mean"])
def test_what_is_not_known_or_does_not_go_together_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--(calibration|score) "):
        parse([text])


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    from adapters.models.base_model import open_base

    base = open_base(str(tiny.BUILDERS[request.param](tmp_path_factory.mktemp("writer") / request.param)))
    return base, base.load_generator().eval()


def likelihood(model: Any, before: Sequence[int], after: Sequence[int]) -> float:
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*before, *after]])).logits[0].log_softmax(-1)
    return float(sum(logits[len(before) - 1 + i, token] for i, token in enumerate(after)))


def test_the_channel_is_the_text_behind_each_word(model: tuple[Any, Any]) -> None:
    base, writer = model
    task = tiny.classifying()
    calibration = Calibration(steps=("channel", "contextual"))
    asked = PromptPredictor(writer, base, task, PROMPT, SHOTS, max_new_tokens=4, calibration=calibration)
    found = asked.channel_log_probs(EXAMPLES, [2] * len(EXAMPLES), [calibration])
    assert found.words.shape == (len(EXAMPLES), 3)
    assert found.content_free.shape == (len(CONTENT_FREE), 3)
    head = "Text : Entities :\n\nin London\nText : Ada lived\n\nin New York\nText : a town\n\n"
    for i, example in enumerate(EXAMPLES):
        for j, word in enumerate(("London", "Oslo", "New York")):
            front = base.tokenizer(f"{head}in {word}\nText :").input_ids
            text = base.tokenizer(f" {example.inputs['text']}", add_special_tokens=False).input_ids
            assert found.words[i, j] == pytest.approx(likelihood(writer, front, text), abs=2e-3)
    predictions = asked.predict(EXAMPLES)
    assert {p.value for p in predictions} <= {"bad", "good"}
    assert all(p.detail.sum() == pytest.approx(1) for p in predictions)


def test_words_are_read_behind_nothing_and_behind_the_querys_own_words(model: tuple[Any, Any]) -> None:
    base, writer = model
    calibration = Calibration(steps=("domain",))
    asked = PromptPredictor(writer, base, tiny.classifying(), PROMPT, [], max_new_tokens=4, calibration=calibration)
    found = asked.label_log_probs(EXAMPLES, [0] * len(EXAMPLES), [calibration])
    before = base.tokenizer("\nin").input_ids
    for j, word in enumerate(("London", "Oslo", "New York")):
        tokens = base.tokenizer(f" {word}", add_special_tokens=False).input_ids
        assert found.domain[j] == pytest.approx(likelihood(writer, before, tokens), abs=2e-3)
        assert found.tokens[j] == len(tokens)
    first = base.tokenizer.bos_token_id or base.tokenizer.eos_token_id
    assert found.unconditional[1] == pytest.approx(
        likelihood(writer, [first], base.tokenizer(" Oslo", add_special_tokens=False).input_ids), abs=2e-3
    )


def test_a_prompt_without_a_channel_cannot_be_asked_for_it(model: tuple[Any, Any], tmp_path: Path) -> None:
    base, _ = model
    path = tmp_path / "plain.toml"
    path.write_text('task = "classification"\nanswer = "label"\nquery = "{{text}} is "\n')
    for changes, match in (
        ({"calibration": ["channel"], "prompt": str(path)}, "which plain lacks"),
        ({"calibration": ["x"]}, "must be none, or of channel"),
        ({"score": "max"}, "--score"),
    ):
        with pytest.raises(SettingsError, match=match):
            tiny.method("few_shot", **changes).check(base, tiny.classifying())
    path.write_text('task = "classification"\nanswer = "label"\nquery = "{{text}}"\nchannel = "{{text}} {{answer}}"\n')
    with pytest.raises(SettingsError, match=r"plain.toml:4: channel: \{\{answer\}\} must come before \{\{text\}\}"):
        tiny.method("few_shot", prompt=str(path)).check(base, tiny.classifying())


def test_a_batch_is_of_training_texts_so_a_text_alone_is_answered_as_among_others(
    model: tuple[Any, Any], tmp_path: Path
) -> None:
    base, _ = model
    task, path = tiny.classifying(), tmp_path / "mine.toml"
    path.write_text('task = "classification"\nanswer = "label"\nquery = "Text : {{text}}\\nin "\n')
    train = [Example(id=f"t{i}", inputs={"text": f"{text} {i}"}, gold="bad") for i, text in enumerate(tiny.TEXT * 3)]
    method = tiny.method("few_shot", shots=2, calibration=["batch"], prompt=str(path))
    writer = method.wrap(base, task, train)
    asked = method.predictor(writer, base, task)
    together = asked.predict(EXAMPLES)
    for example, other in zip(EXAMPLES, together, strict=True):
        (alone,) = asked.predict([example])
        assert alone.value == other.value
        assert np.abs(alone.detail - other.detail).max() < 1e-4
    plain = tiny.method("few_shot", shots=2, prompt=str(path))
    bare = plain.predictor(plain.wrap(base, task, train), base, task)
    others = [one for one in train if one.inputs not in [shot.inputs for shot in method.members[0].examples]]
    assert len(others) == 13
    weighted = bare.predict(EXAMPLES)[0].detail / np.mean([p.detail for p in bare.predict(others)], 0)
    assert together[0].detail == pytest.approx(weighted / weighted.sum(), abs=1e-4)
    method.save(writer, base, tmp_path)
    loaded = tiny.method("few_shot", shots=2, calibration=["batch"], prompt=str(path))
    again = loaded.predictor(loaded.load(base, task, tmp_path), base, task).predict(EXAMPLES[:1])
    assert np.abs(again[0].detail - together[0].detail).max() < 1e-4


def test_a_batch_of_too_few_texts_and_an_artifact_without_its_mean_are_refused(
    model: tuple[Any, Any], tmp_path: Path
) -> None:
    base, _ = model
    task, path = tiny.classifying(), tmp_path / "mine.toml"
    path.write_text('task = "classification"\nanswer = "label"\nquery = "{{text}} is "\n')
    with pytest.raises(SettingsError, match=r"--calibration batch: .* 8 or more training texts .* there are 2"):
        tiny.method("few_shot", shots=2, calibration=["batch"], prompt=str(path)).wrap(
            base, task, [Example(id=str(i), inputs={"text": f"Ada {i}"}, gold="bad") for i in range(4)]
        )
    long = " ".join(["London"] * base.positions)
    method = tiny.method("few_shot", shots=2, calibration=["batch"], prompt=str(path))
    train = [Example(id=str(i), inputs={"text": f"{long} {i}"}, gold="bad") for i in range(12)]
    with pytest.raises(ModelError, match="--calibration batch: no training text fits into the prompt"):
        method.predictor(method.wrap(base, task, train), base, task)
    plain = tiny.method("zero_shot", prompt=str(path))
    plain.save(plain.wrap(base, task, ()), base, tmp_path)
    with pytest.raises(ArtifactError, match="the calibration batch needs 'prior'"):
        tiny.method("zero_shot", calibration=["batch"], prompt=str(path)).load(base, task, tmp_path)


def test_each_text_is_calibrated_with_the_shots_that_it_got(model: tuple[Any, Any]) -> None:
    base, writer = model
    calibration = Calibration(steps=("contextual",))
    long = Example(id="long", inputs={"text": "in " * (base.positions // 2)})
    many = [*SHOTS, *(Example(id=str(i), inputs={"text": "a friend lived in a town"}, gold="bad") for i in range(30))]
    asked = PromptPredictor(writer, base, tiny.classifying(), PROMPT, many, max_new_tokens=4, calibration=calibration)
    number = asked.fit(long)
    assert number is not None and 0 < number < (asked.fit(EXAMPLES[0]) or 0) < len(many)
    together = asked.predict([EXAMPLES[0], long])
    alone = PromptPredictor(
        writer, base, tiny.classifying(), PROMPT, many[:number], max_new_tokens=4, calibration=calibration
    )
    (wanted,) = alone.predict([long])
    assert np.abs(together[1].detail - wanted.detail).max() < 1e-4
    assert together[1].shots_dropped == len(many) - number


def test_a_long_text_of_a_channel_takes_no_shots_from_the_others(model: tuple[Any, Any]) -> None:
    base, writer = model
    calibration = Calibration(steps=("channel",))
    long = Example(id="long", inputs={"text": "in " * (base.positions // 2)})
    many = [*SHOTS, *(Example(id=str(i), inputs={"text": "a friend lived in a town"}, gold="bad") for i in range(30))]
    asked = PromptPredictor(writer, base, tiny.classifying(), PROMPT, many, max_new_tokens=4, calibration=calibration)
    (before,) = asked.predict(EXAMPLES[:1])
    after, other = asked.predict([EXAMPLES[0], long])
    assert np.abs(before.detail - after.detail).max() < 1e-4
    assert before.shots_dropped == after.shots_dropped < other.shots_dropped < len(many)
    number = len(many) - other.shots_dropped
    contexts = asked.channel_contexts(long, number, ["London", "Oslo", "New York"])
    lengths = [len(base.tokenizer(f"{one}{long.inputs['text']}").input_ids) for one in contexts]
    assert base.positions - 20 < max(lengths) <= base.positions


def test_relations_are_calibrated_by_entities_without_content(model: tuple[Any, Any]) -> None:
    base, writer = model
    prompt = Prompt(
        name="r",
        task="relation_extraction",
        answer="label",
        query="{{text}} {{head}} {{tail}} is ",
        shot="{{text}} {{head}} {{tail}} is {{answer}}",
    )
    calibration, task = Calibration(steps=("contextual",)), tiny.relating()
    example = task.from_request({"text": "<e1>Ada</e1> lived in <e2>London</e2>."}, "0")
    asked = PromptPredictor(writer, base, task, prompt, [], max_new_tokens=4, calibration=calibration)
    (found,) = asked.predict([example])
    assert found.value in task.labels.names
    empty = task.content_free(example, "N/A")
    assert asked.form.text([], empty) == "N/A N/A N/A is "
