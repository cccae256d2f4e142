"""Methods without a base model: held against their libraries, saved and loaded exactly, refused where damaged."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.artifacts import artifact, loading
from adapters.core.errors import ArtifactError, DataError, ModelError, SettingsError
from adapters.core.search_space import drawn
from adapters.data.labels import LabelSet
from adapters.methods.base.method import load_method
from adapters.tasks.base.example import Example
from adapters.tasks.classification import MultiLabelTask

WORDS = ("good", "bad", "film", "plot", "Rome", "ROME", "ü", "a", "3.5", "東京", "!", "naïve-ish", "x\x00y")
COUNT = 40


def texts(seed: int = 0, count: int = COUNT, least: int = 1) -> list[str]:
    """Random texts, more than the model is fitted on."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(least, 9))) for _ in range(count)]


def labelled(golds: list[Any], seed: int = 0, pair: bool = False) -> list[Example]:
    return [
        Example(id=str(i), inputs={"text": text, **({"text_pair": other} if pair else {})}, gold=gold)
        for i, (text, other, gold) in enumerate(zip(texts(seed), texts(seed + 99), golds, strict=False))
    ]


def drawn_from(values: Any, seed: int = 1, count: int = COUNT) -> list[Any]:
    return random.Random(seed).choices(values, k=count)


def sentences(seed: int = 2, count: int = COUNT) -> list[Example]:
    draw, made = random.Random(seed), []
    for number in range(count):
        words = draw.choices(WORDS, k=draw.randint(0 if number else 1, 7))
        tags = ["B-LOC" if word in ("Rome", "東京") and draw.random() < 0.9 else "O" for word in words]
        made.append(Example(id=str(number), inputs={"tokens": words}, gold=tags))
    return made


def several() -> MultiLabelTask:
    return MultiLabelTask(LabelSet(("new", "odd", "sad")))


SETS = [["new"], ["new", "sad"], [], ["sad"]]
KINDS: dict[str, Callable[[], tuple[Any, list[Example]]]] = {
    "two": lambda: (tiny.classifying(), labelled(drawn_from(["bad", "good"]))),
    "three": lambda: (tiny.classifying("abc"), labelled(drawn_from("abc"))),
    "unseen": lambda: (tiny.classifying("abcd"), labelled(drawn_from("bd"))),
    "one": lambda: (tiny.classifying("ab"), labelled(["b"] * COUNT)),
    "pairs": lambda: (tiny.classifying("abc", pair=True), labelled(drawn_from("abc"), pair=True)),
    "several": lambda: (several(), labelled(drawn_from(SETS))),
    "number": lambda: (tiny.regressing(), labelled(drawn_from([1.0, 2.5, 4.0]))),
    "tags": lambda: (tiny.tagging(), sentences()),
}
FITS = [(name, kind) for name in ("majority", "tfidf") for kind in KINDS if kind != "tags" or name == "majority"]
FITS += [("crf", "tags")]


def fitted(name: str, kind: str, **changes: Any) -> tuple[Any, Any, Any]:
    task, train = KINDS[kind]()
    method = tiny.method(name, **changes)
    method.check(None, task)
    return method, task, method.wrap(None, task, train)


def written(method: Any, task: Any, model: Any, folder: Path) -> Path:
    card = {
        "task": task.card(),
        "method": {"name": method.name, "library": method.library, "settings": method.recorded()},
        "max_length": method.settings.max_length,
        "label_digest": task.labels.digest,
        "base": None,
    }
    artifact.write(folder, lambda draft: method.save(model, None, draft), card, "# A model\n")
    return folder


def alike(one: Any, other: Any) -> bool:
    return all(
        a.value == b.value and (a.detail is None) == (b.detail is None) and np.array_equal(a.detail, b.detail)
        if a.detail is not None
        else a.value == b.value and b.detail is None
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(("name", "kind"), FITS)
def test_a_loaded_model_answers_exactly_as_the_fitted_one_and_no_pickle_is_written(
    name: str, kind: str, tmp_path: Path
) -> None:
    method, task, model = fitted(name, kind)
    loaded = loading.load(written(method, task, model, tmp_path / "a"), device="cpu")
    asked = sentences(7) if kind == "tags" else labelled([None] * COUNT, seed=5, pair=kind == "pairs")
    assert alike(loaded.predict(asked), model.predict(asked))
    assert {path.suffix for path in (tmp_path / "a").iterdir()} <= {".json", ".safetensors", ".md"}
    assert model.learned >= 1 and model.description
    inputs = {"tokens": ["Rome", "!"]} if kind == "tags" else asked[0].inputs
    assert loaded(inputs)


@given(
    words=st.lists(st.text(max_size=6), min_size=2, max_size=12),
    golds=st.lists(st.sampled_from("abc"), min_size=2, max_size=12),
    asked=st.lists(st.text(max_size=12), min_size=1, max_size=3),
    pairs=st.booleans(),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_texts_can_be_learned_saved_and_answered(
    words: list[str], golds: list[str], asked: list[str], pairs: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def example(text: str, gold: str | None) -> Example:
        return Example(id="0", inputs={"text": text, **({"text_pair": text[::-1]} if pairs else {})}, gold=gold)

    task, method = tiny.classifying("abc", pair=pairs), tiny.method("tfidf")
    train = [example(f"{word} x", gold) for word, gold in zip(words, golds, strict=False)]
    model = method.wrap(None, task, train)
    loaded = loading.load(written(method, task, model, tmp_path_factory.mktemp("any") / "a"), device="cpu")
    given_texts = [example(text, None) for text in asked]
    assert alike(loaded.predict(given_texts), model.predict(given_texts))


def sklearns(task: Any, train: list[Example], estimator: Any, wanted: Any) -> Any:
    """scikit-learn's own pipeline of the default settings, fitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union

    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    return make_pipeline(union, estimator).fit([example.inputs["text"] for example in train], wanted)


@pytest.mark.parametrize("kind", ["two", "three", "several", "number"])
def test_tfidf_is_scikit_learns_own_pipeline(kind: str) -> None:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier

    _, task, model = fitted("tfidf", kind)
    train, asked = KINDS[kind]()[1], texts(5)
    found = model.predict([Example(id="", inputs={"text": text}) for text in asked])
    golds = [example.gold for example in train]
    logistic = LogisticRegression(C=10, max_iter=1000)
    if kind == "number":
        theirs = sklearns(task, train, Ridge(alpha=0.1, tol=1e-8), golds)
        assert [one.value for one in found] == pytest.approx(list(theirs.predict(asked)))
        return
    if kind == "several":
        wanted = np.array([[int(name in gold) for name in ("new", "sad")] for gold in golds])  # none is odd
        shares = sklearns(task, train, OneVsRestClassifier(logistic), wanted).predict_proba(asked)
        assert np.stack([one.detail for one in found])[:, [0, 2]] == pytest.approx(shares)
        assert all("odd" not in one.value for one in found)
        return
    pipeline = sklearns(task, train, logistic, golds)
    assert [one.value for one in found] == list(pipeline.predict(asked))
    assert np.stack([one.detail for one in found]) == pytest.approx(pipeline.predict_proba(asked))


def test_class_weights_of_the_task_count() -> None:
    task, train = KINDS["two"]()
    task.weights = (0.01, 100.0)
    found = tiny.method("tfidf").wrap(None, task, train).predict(train)
    assert all(one.value == "good" for one in found)


@pytest.mark.parametrize("seed", range(4))
def test_the_crf_tags_as_crfsuites_own_tagger(seed: int, tmp_path: Path) -> None:
    import pycrfsuite

    from adapters.methods.crf import features

    train, task = sentences(seed), tiny.tagging()
    method = tiny.method("crf", crf_c1=0.01, crf_c2=0.01, crf_window=seed)
    model = method.wrap(None, task, train)
    numbers: dict[str, str] = {}  # as a NUL would end a name

    def rows(example: Example) -> list[list[str]]:
        found = features(example.inputs["tokens"], seed)
        return [[numbers.setdefault(name, str(len(numbers))) for name in row] for row in found]

    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params({"c1": 0.01, "c2": 0.01, "max_iterations": 100})
    for example in train:
        if example.gold:
            trainer.append(rows(example), example.gold)
    trainer.train(str(tmp_path / "model"))
    asked = sentences(seed + 50)
    with pycrfsuite.Tagger().open(str(tmp_path / "model")) as tagger:
        theirs = [tagger.tag(rows(example)) if example.gold else [] for example in asked]
    assert [one.value for one in model.predict(asked)] == theirs
    assert {"O", "B-LOC"} <= {tag for tags in theirs for tag in tags}


def test_a_crf_of_one_tag_and_one_sentence_works() -> None:
    only = Example(id="0", inputs={"tokens": ["a"]}, gold=["O"])
    model = tiny.method("crf").wrap(None, tiny.tagging(), [only])
    assert model.predict([only, *sentences(3)[:2]])[0].value == ["O"]
    assert model.predict([]) == []


def test_majority_answers_what_is_most_frequent_and_says_it() -> None:
    assert fitted("majority", "tags")[2].description == "every word is O, so that no entity is ever found"
    model = fitted("majority", "several")[2]
    golds = [tuple(example.gold) for example in KINDS["several"]()[1]]
    (answer,) = model.predict(labelled([None])[:1])
    assert tuple(answer.value) == max(set(golds), key=golds.count)
    assert answer.detail == pytest.approx([np.mean(["new" in gold for gold in golds]), 0,
                                           np.mean(["sad" in gold for gold in golds])])  # fmt: skip
    numbers = [example.gold for example in KINDS["number"]()[1]]
    assert fitted("majority", "number")[2].predict(labelled([None])[:1])[0].value == pytest.approx(np.mean(numbers))


@pytest.mark.parametrize(
    ("name", "task", "told"),
    [
        ("tfidf", "ner", r"those of the task ner are tags of words. Use crf or majority\."),
        ("crf", "classification", r"the task classification are labels. Use majority or tfidf\."),
        ("majority", "summarization", r"are written. Use a method with a base model \(full, lora, few_shot\)"),
    ],
)
def test_a_task_of_other_answers_is_refused_with_what_does_it(name: str, task: str, told: str) -> None:
    from adapters.tasks.base.task import load_task

    made: Any = {"ner": tiny.tagging, "classification": tiny.classifying}.get(task)
    with pytest.raises(ModelError, match=told):
        tiny.method(name).check(None, made() if made else load_task(task).of_head(()))


def test_texts_without_a_word_are_refused_only_if_characters_do_not_count() -> None:
    train = [Example(id=str(i), inputs={"text": "!!"}, gold=gold) for i, gold in enumerate(["bad", "good"])]
    with pytest.raises(DataError, match="No text of train has a word"):
        tiny.method("tfidf", char_ngrams=False).wrap(None, tiny.classifying(), train)
    assert tiny.method("tfidf").wrap(None, tiny.classifying(), train).predict(train)


@pytest.mark.parametrize(("name", "task"), [("majority", "ner"), ("tfidf", "classification"), ("tfidf", "regression"),
                                            ("crf", "ner")])  # fmt: skip
def test_every_drawn_setting_of_a_search_is_one_of_the_methods(name: str, task: str) -> None:
    space = load_method(name).search_space(task)
    assert ("class_weights" in space) == (task == "classification")
    own = [{key: value for key, value in one.items() if key != "class_weights"} for one in drawn(space, 0, 20)]
    assert len(own) == (20 if space else 1)
    for changes in own:
        method = tiny.method(name, **changes)
        assert method.shortened(method.settings, 0.3) == {}


@pytest.mark.parametrize("flags", [{"tfidf_c": 0.0}, {"tfidf_c": float("nan")}, {"word_ngrams": 0}])
def test_settings_that_cannot_be_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"--{next(iter(flags))} "):
        tiny.method("tfidf", **flags)


@pytest.mark.parametrize("flags", [{"crf_c1": -1.0}, {"crf_window": 11}, {"crf_iterations": 0}])
def test_settings_of_a_crf_that_cannot_be_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"--{next(iter(flags))} "):
        tiny.method("crf", **flags)


EDITS: list[tuple[str, str, Callable[[Any, Any], Any]]] = [
    ("majority", "two", lambda contents, _: contents.update(answer="none of them")),
    ("majority", "two", lambda contents, _: contents.update(answer=["bad"])),
    ("majority", "number", lambda contents, _: contents.update(answer=None)),
    ("majority", "several", lambda contents, _: contents.update(answer=[["new"]])),
    ("majority", "two", lambda contents, _: contents.clear()),
    ("tfidf", "three", lambda contents, _: contents["classes"].pop()),
    ("tfidf", "three", lambda contents, _: contents.update(classes=["a", "b", "z"])),
    ("tfidf", "three", lambda contents, _: contents["kinds"][0].update(analyzer="os.system")),
    ("tfidf", "three", lambda contents, _: contents["kinds"][0].update(longest=10**9)),
    ("tfidf", "three", lambda contents, _: contents["kinds"][0]["ngrams"].append("a")),
    ("tfidf", "three", lambda contents, _: contents["kinds"].clear()),
    ("tfidf", "three", lambda _, arrays: arrays.update(weights=arrays["weights"][:, 1:])),
    ("tfidf", "three", lambda _, arrays: arrays.pop("bias")),
    ("tfidf", "number", lambda _, arrays: arrays.update(bias=np.zeros((1, 1)))),
    ("crf", "tags", lambda contents, _: contents.update(tags=["O", "B-XYZ"])),
    ("crf", "tags", lambda contents, _: contents.update(window=-1)),
    ("crf", "tags", lambda contents, _: contents["features"].pop()),
    ("crf", "tags", lambda _, arrays: arrays["feature"].__setitem__(0, 2**31 - 1)),
    ("crf", "tags", lambda _, arrays: arrays["tag"].__setitem__(0, -1)),
    ("crf", "tags", lambda _, arrays: arrays.update(steps=np.zeros((9, 9)))),
    ("crf", "tags", lambda _, arrays: arrays.update(weight=arrays["weight"][:-1])),
]


@pytest.mark.parametrize(("name", "kind", "edit"), EDITS)
def test_contents_that_were_changed_and_signed_anew_are_refused(
    name: str, kind: str, edit: Callable[[Any, Any], Any], tmp_path: Path
) -> None:
    method, task, model = fitted(name, kind)
    contents, arrays = model.contents()
    contents, arrays = json.loads(json.dumps(contents)), {key: array.copy() for key, array in arrays.items()}
    edit(contents, arrays)
    model.contents = lambda: (contents, arrays)
    folder = written(method, task, model, tmp_path / "a")
    with pytest.raises(ArtifactError, match=r"model\.json: not a model that can be used"):
        loading.load(folder, device="cpu")


def test_a_changed_file_and_a_card_of_another_method_are_refused(tmp_path: Path) -> None:
    method, task, model = fitted("tfidf", "two")
    folder = written(method, task, model, tmp_path / "a")
    with pytest.raises(SettingsError, match=r"--base bert: .* has no base model"):
        loading.load(folder, base="bert", device="cpu")
    (folder / "model.json").write_text("{}")
    with pytest.raises(ArtifactError, match="damaged or modified"):
        loading.load(folder, device="cpu")
    method.recorded = lambda: {}
    method.name = "lora"
    with pytest.raises(ArtifactError, match="lora works with a base model"):
        loading.load(written(method, task, model, tmp_path / "b"), device="cpu")
