"""The weights of tfidf and crf: their own sums, whatever the text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.artifacts.explaining.base import attribution, explain
from adapters.artifacts.explaining.base.attribution import Options
from adapters.core import discovery
from adapters.core.errors import ModelError
from adapters.tasks.base.example import Example

TEXTS = ["a good film , a joy", "a bad film", "not good , not bad", "what a joy", "so dull , so bad", "good good good"]
ODD = st.text(st.sampled_from("ab İßΣ dgo fim.,-\u200b\n'好"), min_size=1, max_size=40)


def fitted(task: Any, golds: list[Any], inputs: Any = None, name: str = "tfidf", **changes: Any) -> Any:
    given = inputs or [{"text": text} for text in TEXTS]
    train = [Example(id=str(n), inputs=one, gold=gold) for n, (one, gold) in enumerate(zip(given, golds, strict=True))]
    return tiny.method(name, **changes).fit(task, train)


def several() -> Any:
    labels = tiny.classifying(("a", "b", "c")).labels
    return discovery.load("tasks", "classification").MultiLabelTask(labels)


KINDS: dict[str, tuple[Any, list[Any]]] = {
    "two labels": (tiny.classifying(), ["good", "bad", "good", "good", "bad", "good"]),
    "three labels": (tiny.classifying(("a", "b", "c")), ["a", "b", "c", "a", "b", "c"]),
    "several labels": (several(), [["a"], ["a", "b"], [], ["c"], ["b", "c"], ["a"]]),
    "a number": (tiny.regressing(), [5.0, 1.0, 3.0, 5.0, 2.0, 4.5]),
}


def outputs(model: Any, task: Any, example: Example) -> np.ndarray:
    """What scikit-learn's own vectorizers and the model's weights say."""
    from scipy import sparse

    given = sparse.hstack([kind.vectorizer.transform([example.inputs["text"]]) for kind in model.ngrams])
    return np.asarray(given @ model.weights.T)[0] + model.bias


@pytest.mark.parametrize("kind", KINDS)
@given(text=ODD)
@settings(deadline=None, max_examples=40)
def test_words_and_the_base_add_up_to_the_decision_function(kind: str, text: str) -> None:
    task, golds = KINDS[kind]
    model = fitted(task, golds)
    example = Example(id="", inputs={"text": f"{text} good"})
    prediction = model.predict([example])[0]
    target = task.target(example, prediction)
    values, base = model.contributions(example, task.words(example), target)
    own = outputs(model, task, example)
    if kind == "two labels":
        expected = own[0] if target.name == model.classes[1] else -own[0]
    elif kind == "a number":
        expected = own[0] - task.label_range.mean
    elif kind == "several labels":
        expected = own[target.of]
    else:
        expected = own[target.of] - np.delete(own, target.of).mean()
    assert values.sum() + base == pytest.approx(expected, abs=1e-9)


def test_ngrams_are_at_the_places_where_scikit_learn_counts_them() -> None:
    model = fitted(*KINDS["two labels"])
    for text in (*TEXTS, "İ good-film  GOOD", "a"):
        lowered = text.lower()
        for kind in model.ngrams:
            analyzed = kind.vectorizer.build_analyzer()(text)
            ours = [ngram for ngram, *_ in kind._occurrences(lowered)]
            assert sorted(ours) == sorted(analyzed)


def test_a_word_has_its_own_weight_and_its_share_of_runs() -> None:
    task, golds = KINDS["two labels"]
    model = fitted(task, golds, char_ngrams=False, word_ngrams=2)
    (kind,) = model.ngrams
    example = Example(id="", inputs={"text": "not good"})
    index, x = kind.vectorizer.vocabulary_, kind.vectorizer.transform(["not good"]).toarray()[0]
    added = {name: float(x[index[name]] * model.weights[0, index[name]]) for name in ("not", "good", "not good")}
    values, _ = model.contributions(
        example, task.words(example), task.target(example, model.predict([example])[0], "good")
    )
    assert values == pytest.approx([added["not"] + added["not good"] / 2, added["good"] + added["not good"] / 2])


def related() -> Any:
    """A task of relations, and tfidf that knows them."""
    relation = tiny.relating()
    sentences = [{"text": f"Ada {verb} Oslo", "head": [0, 3], "tail": [len(verb) + 5, len(verb) + 9]}
                 for verb in ("left", "lived in", "worked for", "or", "near", "with")]  # fmt: skip
    labels = ["no_relation", "lives_in", "works_for", "no_relation", "lives_in", "works_for"]
    return relation, fitted(relation, labels, sentences)


def test_words_before_an_entity_are_erased_and_it_stays_the_entity() -> None:
    relation, model = related()
    text = "once Ada Lovelace lived in New York"
    example = Example(id="", inputs={"text": text, "head": [5, 17], "tail": [27, 35]})
    with explain.answered(model, relation, example, "lives_in") as answer:
        erased = np.zeros((3, len(answer.words)), bool)
        erased[0, 0] = erased[1, 1] = erased[2] = True
        found = [score.value for score in answer.without(erased)]
    left = [
        {"text": text[4:], "head": [1, 13], "tail": [23, 31]},
        {"text": text.replace("Ada", ""), "head": [6, 14], "tail": [24, 32]},
    ]
    wanted = [explain.explain(model, relation, one, model="tfidf", target="lives_in").score for one in left]
    assert found[:2] == pytest.approx(wanted, abs=1e-6)
    assert np.isfinite(found[2]) and len({round(value, 6) for value in found}) == 3


def test_a_pair_and_marked_entities_add_up() -> None:
    pair = tiny.classifying(pair=True)
    inputs = [{"text": text, "text_pair": other} for text, other in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)]
    model = fitted(pair, KINDS["two labels"][1], inputs)
    answered(model, pair, Example(id="", inputs={"text": "a good film", "text_pair": "good , not bad"}))
    relation, model = related()
    parts = answered(
        model, relation, Example(id="", inputs={"text": "Bob lived in Rome", "head": [0, 3], "tail": [13, 17]})
    )
    assert [part.text for part in parts] == ["Bob", "lived", "in", "Rome"] and parts[1].value


def answered(model: Any, task: Any, example: Example) -> Any:
    with explain.answered(model, task, example) as answer:
        one = attribution.chosen(answer, None)
        values = one.attribute(answer, Options())
        assert one.name == "weights"
        assert values.sum() + one.base(answer) == pytest.approx(answer.score.value, abs=1e-6)
    return explain.explain(model, task, {**example.inputs}, model="tfidf").parts


def test_a_crf_adds_up_to_the_state_scores_of_an_entity() -> None:
    task = tiny.tagging()
    sentences = ["Ada lived in London .", "Alan saw Ada in Paris .", "London is near Paris ."]
    golds = ["B-PER O O B-LOC O", "B-PER O B-PER O B-LOC O", "B-LOC O O B-LOC O"]
    model = fitted(task, [gold.split() for gold in golds], [{"tokens": s.split()} for s in sentences], "crf")
    found = explain.explain(
        model, task, {"tokens": ["Ada", "lived", "near", "Paris", "."]}, model="crf", target="Paris"
    )
    assert found.method == "weights" and found.target == "LOC: Paris" and found.probability is None
    scores = model._scores([["Ada", "lived", "near", "Paris", "."]])[3]
    at = model.tags.index("B-LOC")
    assert found.score == pytest.approx(scores[at] - np.delete(scores, at).mean())
    values = [part.value for part in found.parts]
    assert values[3] > max(values[:2]) and values[0] == values[1] == 0, "only neighbours count, at a window of 1"


def test_a_word_of_the_crf_that_looks_like_its_own_names_of_features() -> None:
    task = tiny.tagging()
    words = ["outside", "1:word=x", "bias", "x"]
    model = fitted(task, [["B-PER", "O", "O", "B-LOC"]] * 2, [{"tokens": words}] * 2, "crf")
    target = task.target(
        Example(id="", inputs={"tokens": words}), model.predict([Example(id="", inputs={"tokens": words})])[0]
    )
    example = Example(id="", inputs={"tokens": words})
    values, base = model.contributions(example, task.words(example), target)
    scores = model._scores([words])[0]
    at = model.tags.index("B-PER")
    assert values.sum() + base == pytest.approx(scores[at] - np.delete(scores, at).mean())
    assert values[0] and values[1]


def test_majority_has_no_words_to_explain_with() -> None:
    task = tiny.classifying()
    model = fitted(task, KINDS["two labels"][1], name="majority")
    with pytest.raises(ModelError, match="do not depend on the text"):
        explain.explain(model, task, "a film", model="majority", method="weights")
    found = explain.explain(model, task, "a film", model="majority")
    assert found.method == "occlusion" and not any(part.value for part in found.parts)
