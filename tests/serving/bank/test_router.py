"""A router's scores are those of scikit-learn; it grows in any order, and is stored and read without a change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from adapters.core.errors import ArtifactError, DataError, SettingsError
from adapters.core.files import as_json, digest_file, digest_value
from adapters.serving.bank.router import Router
from adapters.serving.bank.router_file import RECORD, TENSORS
from adapters.serving.bank.router_kinds import KINDS, Mahalanobis

HIDDEN = 6


def drawn(seed: int = 0, *, adapters: int = 4, texts: int = 30, apart: float = 1.5) -> dict[str, np.ndarray]:
    """Features of adapters `a`, `b`, … around means of their own, of one covariance."""
    draw = np.random.default_rng(seed)
    mix = draw.normal(size=(HIDDEN, HIDDEN))
    return {
        chr(97 + n): (draw.normal(size=(texts, HIDDEN)) @ mix + apart * draw.normal(size=HIDDEN)).astype(np.float32)
        for n in range(adapters)
    }


def unit(rows: np.ndarray) -> np.ndarray:
    """As the router scales features."""
    return np.asarray(rows, np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)


def scaled(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: unit(rows) for name, rows in features.items()}


def stacked(features: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All rows, and the name of each."""
    rows = np.concatenate([*features.values()]).astype(np.float64)
    return rows, np.repeat([*features], [len(each) for each in features.values()])


def shares(router: Router, features: np.ndarray) -> np.ndarray:
    """`[texts, adapters]`, in the order of the names."""
    return np.array([[routed.scores[name] for name in router.names] for routed in router.choose(features)])


def chosen(router: Router, features: np.ndarray) -> list[str | None]:
    return [routed.adapter for routed in router.choose(features)]


# against scikit-learn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_means_choose_as_nearest_centroid(seed: int) -> None:
    features, others = drawn(seed), stacked(drawn(seed + 10))[0]
    router = Router.fit("means", features)
    assert chosen(router, others) == [*NearestCentroid().fit(*stacked(scaled(features))).predict(unit(others))]


@pytest.mark.parametrize("texts", [2, 5, 30, 400])
def test_the_covariance_of_mahalanobis_is_that_of_ledoit_and_wolf(texts: int) -> None:
    features = drawn(texts=texts)
    around = np.concatenate([each - each.mean(0) for each in scaled(features).values()])
    expected = LedoitWolf(assume_centered=True).fit(around)
    scorer = Router.fit("mahalanobis", features).scorer
    assert isinstance(scorer, Mahalanobis)
    covariance, shrinkage = scorer.covariance()
    assert shrinkage == pytest.approx(expected.shrinkage_, rel=1e-6)
    np.testing.assert_allclose(covariance, expected.covariance_, rtol=1e-6, atol=1e-9)


def test_mahalanobis_has_the_posteriors_of_a_linear_discriminant_analysis() -> None:
    features, others = drawn(), stacked(drawn(7))[0]
    router = Router.fit("mahalanobis", features)
    assert isinstance(router.scorer, Mahalanobis)
    # Its own shrunk covariance is one of each class, averaged: the same for classes of one size.
    same = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=router.scorer.covariance()[1], priors=[1 / 4] * 4)
    np.testing.assert_allclose(
        shares(router, others), same.fit(*stacked(scaled(features))).predict_proba(unit(others)), atol=1e-6
    )


@pytest.mark.parametrize("adapters", [2, 4])
def test_the_classifier_has_the_probabilities_of_logistic_regression(adapters: int) -> None:
    features, others = drawn(adapters=adapters), stacked(drawn(7))[0]
    features["a"] = features["a"][:9]
    scaler, (rows, names) = StandardScaler(), stacked(scaled(features))
    fitted = LogisticRegression(class_weight="balanced", max_iter=1000).fit(scaler.fit_transform(rows), names)
    expected = fitted.predict_proba(scaler.transform(unit(others)))
    np.testing.assert_allclose(shares(Router.fit("classifier", features), others), expected, atol=1e-3)


# growing and storing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(["a", "b", "c", "d"]), seed=st.integers(0, 99))
def test_adapters_added_in_any_order_and_stored_make_the_same_router(
    kind: str, order: Sequence[str], seed: int, tmp_path: Path
) -> None:
    features, others = drawn(seed), stacked(drawn(seed + 100))[0]
    router, reordered = Router.fit(kind, features), Router(kind)
    for name in order:
        reordered.add(name, features[name])
    for each in (router, reordered):
        each.set_threshold({name: rows[:7] for name, rows in drawn(seed + 200).items()}, rate=0.1)
    assert reordered.names == router.names == ["a", "b", "c", "d"]
    np.testing.assert_allclose(shares(reordered, others), shares(router, others), rtol=1e-6, atol=1e-9)
    assert reordered.threshold == pytest.approx(router.threshold, rel=1e-6)
    reordered.save(tmp_path / "router", tiny.named_base())
    read = Router.load(tmp_path / "router")
    assert read.choose(others) == reordered.choose(others)
    assert read.info() == reordered.info()
    assert read.base == {"name": "a-base", "weights_sha256": "a" * 64, "tokenizer_sha256": "b" * 64}
    assert read.bytes == sum(tensor.nbytes for tensor in load_file(tmp_path / "router" / TENSORS).values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_router_read_again_grows_as_the_one_that_was_stored(kind: str, tmp_path: Path) -> None:
    features, others = drawn(), stacked(drawn(7))[0]
    first = {name: features[name] for name in ("a", "c")}
    router = Router.fit(kind, first)
    router.save(tmp_path / "router", tiny.named_base())
    read = Router.load(tmp_path / "router")
    for each in (router, read):
        each.add("b", features["b"])
    assert read.choose(others) == router.choose(others)


@pytest.mark.parametrize("kind", KINDS)
def test_a_removed_adapter_is_chosen_no_more(kind: str) -> None:
    features = drawn()
    router = Router.fit(kind, features)
    router.remove("b")
    assert router.names == ["a", "c", "d"] and "b" not in router.counts
    found = router.choose(features["b"])
    assert {routed.adapter for routed in found} <= {"a", "c", "d"}
    assert all(set(routed.scores) == {"a", "c", "d"} for routed in found)
    if kind != "mahalanobis":  # whose covariance keeps the texts of the removed adapter
        left = {name: rows for name, rows in features.items() if name != "b"}
        np.testing.assert_allclose(shares(router, features["b"]), shares(Router.fit(kind, left), features["b"]))


def test_means_store_a_vector_an_adapter_and_the_classifier_all_features() -> None:
    features = drawn(texts=50)
    assert Router.fit("means", features).bytes == 4 * HIDDEN * 8
    assert Router.fit("mahalanobis", features).bytes == 4 * HIDDEN * 8 + HIDDEN * (HIDDEN + 1) // 2 * 8 + 16
    assert Router.fit("classifier", features).bytes == 4 * 50 * HIDDEN * 4 + 4 * (HIDDEN + 1) * 8


# none of them ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(rate=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_at_most_the_stated_rate_of_dev_texts_is_refused_and_not_one_fewer(kind: str, rate: float, seed: int) -> None:
    router, dev = Router.fit(kind, drawn(seed)), drawn(seed + 100, texts=11)
    assert None not in chosen(router, stacked(dev)[0])
    router.set_threshold(dev, rate)
    assert chosen(router, stacked(dev)[0]).count(None) == int(rate * 44)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stated_rate_holds_for_new_texts_of_the_same_kind(kind: str) -> None:
    source = drawn(texts=4000)
    parts = [{name: rows[begin:end] for name, rows in source.items()} for begin, end in ((0, 500), (500, 2000))]
    router = Router.fit(kind, parts[0])
    router.set_threshold(parts[1], 0.1)
    refused = chosen(router, stacked({name: rows[2000:] for name, rows in source.items()})[0]).count(None)
    assert refused / 8000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("kind", ["means", "mahalanobis"])
def test_a_text_far_from_all_adapters_fits_none_and_its_confidence_is_that_of_the_nearest(kind: str) -> None:
    around = {name: rows + 20 for name, rows in drawn().items()}
    router = Router.fit(kind, around)
    router.set_threshold(around, 0.0)
    (routed,) = router.choose(np.full((1, HIDDEN), -20.0))
    assert routed.adapter is None
    assert routed.confidence == max(routed.scores.values())
    assert sum(routed.scores.values()) == pytest.approx(1)
    assert [*routed.scores.values()] == sorted(routed.scores.values(), reverse=True)


def test_confidences_on_texts_like_those_of_dev_are_as_often_right_as_they_say() -> None:
    source = drawn(texts=3000, apart=0.8)
    for kind in KINDS:
        router = Router.fit(kind, {name: rows[:200] for name, rows in source.items()})
        router.set_threshold({name: rows[200:1000] for name, rows in source.items()}, 0.0)
        router.threshold = None
        rows, names = stacked({name: rows[1000:] for name, rows in source.items()})
        found = router.choose(rows)
        right = np.mean([routed.adapter == name for routed, name in zip(found, names, strict=True)])
        assert np.mean([routed.confidence for routed in found]) == pytest.approx(right, abs=0.04), kind


def test_the_temperature_is_finite_where_no_dev_text_is_routed_wrongly() -> None:
    features = {name: rows / 100 + 9 * np.eye(HIDDEN)[n] for n, (name, rows) in enumerate(drawn().items())}
    router = Router.fit("means", features)
    router.set_threshold(features, 0.0)
    assert router.temperature > 0
    assert all(0.95 < routed.confidence <= 1 for routed in router.choose(stacked(features)[0]))


def test_an_adapter_more_or_fewer_asks_for_another_threshold() -> None:
    features = drawn()
    for change in (lambda router: router.add("e", features["a"] + 1), lambda router: router.remove("a")):
        router = Router.fit("means", features)
        router.set_threshold(features, 0.05)
        assert (router.rate, router.threshold is None) == (0.05, False)
        change(router)
        assert (router.rate, router.threshold, router.temperature) == (None, None, 1.0)


# wrong input ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_learnt_or_routed_is_refused_in_words() -> None:
    features = drawn()
    router = Router.fit("means", features)
    cases: list[tuple[type[Exception], str, Any]] = [
        (SettingsError, "did you mean 'means'", lambda: Router("mean")),
        (SettingsError, "knows a already", lambda: router.add("a", features["a"])),
        (SettingsError, "does not know 'z'", lambda: router.remove("z")),
        (SettingsError, "does not know 'z'", lambda: router.set_threshold({"z": features["a"]}, 0.1)),
        (SettingsError, "rate=1", lambda: router.set_threshold(features, 1)),
        (SettingsError, "embed=bank.embed", lambda: router.route(["a text"])),
        (DataError, "No dev texts", lambda: router.set_threshold({}, 0.1)),
        (DataError, r"expected features \[texts, 6\].*found \[3, 5\]", lambda: router.choose(np.zeros((3, 5)))),
        (DataError, r"found \[6\]", lambda: router.choose(np.zeros(6))),
        (DataError, r"found \[0, 6\]", lambda: router.add("z", np.zeros((0, 6)))),
        (DataError, "not finite", lambda: router.add("z", np.full((2, 6), np.nan))),
        (DataError, "knows no adapter", lambda: Router().choose(features["a"])),
        (DataError, "knows no adapter", lambda: Router().save("unused", tiny.named_base())),
        (DataError, "no covariance", lambda: Router.fit("mahalanobis", {"a": np.ones((3, 6))}).choose(np.ones((1, 6)))),
    ]
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()
    with pytest.raises(DataError, match="expected a list of texts, found a text"):
        Router(embed=lambda texts: np.zeros((len(texts), 3))).add("a", "one text")
    assert router.names == [*features] and router.choose(np.zeros((0, HIDDEN))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_one_adapter_alone_is_sure_of_itself(kind: str) -> None:
    features = drawn(adapters=1)
    router = Router.fit(kind, features)
    router.set_threshold(features, 0.0)
    assert all(routed.adapter == "a" and routed.confidence == 1 for routed in router.choose(features["a"]))


# damage ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "router"
    router = Router.fit("mahalanobis", drawn())
    router.set_threshold(drawn(1), 0.05)
    router.save(folder, tiny.named_base())
    return folder


def resealed(folder: Path, **changes: Any) -> None:
    """Change the record as a forger would, with digests that match."""
    record = json.loads((folder / RECORD).read_text())
    body = {name: value for name, value in {**record, **changes}.items() if name != "digest"}
    body["files"] = changes.get("files", {TENSORS: digest_file(folder / TENSORS)})
    (folder / RECORD).write_text(as_json({**body, "digest": digest_value(body)}))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_refused(stored: Path, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.mktemp("flipped") / "router"
    shutil.copytree(stored, folder)
    file = folder / data.draw(st.sampled_from([RECORD, TENSORS]))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(bytes(content))
    try:
        router = Router.load(folder)
    except ArtifactError:
        return
    assert file.name == RECORD and router.choose(drawn(3)["a"]) == Router.load(stored).choose(drawn(3)["a"])  # a blank


def test_what_is_missing_or_not_a_router_is_refused_with_what_to_do(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"contains no router\.json.*Give the folder of"):
        Router.load(tmp_path)
    for file, words in ((TENSORS, "cannot be read"), (RECORD, r"contains no router\.json")):
        folder = tmp_path / file
        shutil.copytree(stored, folder)
        (folder / file).unlink()
        with pytest.raises(ArtifactError, match=words):
            Router.load(folder)
    folder = tmp_path / "pickle"
    shutil.copytree(stored, folder)
    (folder / "router.pkl").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"router\.pkl: loading a pickle can run code"):
        Router.load(folder)
    record = json.loads((folder / RECORD).read_text())
    record["files"]["router.pkl"] = digest_file(folder / "router.pkl")
    (folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match=r"router\.pkl: loading a pickle can run code"):
        Router.load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "forest"}, "No kind of router"),
        ({"kind": "means"}, "expected tensors"),
        ({"kind": 3}, "kind: unexpected"),
        ({"format": 2}, "expected format 1"),
        ({"counts": {}}, "counts: unexpected"),
        ({"counts": {"a": 0}}, "counts: unexpected"),
        ({"counts": {"a": 30}}, "expected tensors"),
        ({"hidden": 7}, "expected tensors"),
        ({"hidden": 10**30}, "hidden: unexpected"),
        ({"temperature": 0}, "temperature: unexpected"),
        ({"temperature": True}, "temperature: unexpected"),
        ({"threshold": "low"}, "threshold: unexpected"),
        ({"base": {"name": "a"}}, "base: unexpected"),
        ({"files": {}}, "expected sha256 None"),
        ({"files": None}, "files: unexpected"),
    ],
)
def test_a_forged_record_is_refused(stored: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = tmp_path / "router"
    shutil.copytree(stored, folder)
    resealed(folder, **changes)
    with pytest.raises(ArtifactError, match=words):
        Router.load(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors["means"].fill(np.nan), "not finite"),
        (lambda tensors: tensors["scatter"].fill(-1), "give no scores"),
        (lambda tensors: tensors["moments"].fill(0), "give no scores"),
        (lambda tensors: tensors.pop("scatter"), "expected tensors"),
        (lambda tensors: tensors.update(means=tensors["means"].astype(np.int64)), "not finite numbers"),
    ],
)
def test_forged_numbers_are_refused(stored: Path, tmp_path: Path, change: Any, words: str) -> None:
    folder = tmp_path / "router"
    shutil.copytree(stored, folder)
    tensors = load_file(folder / TENSORS)
    change(tensors)
    save_file(tensors, folder / TENSORS)
    resealed(folder)
    with pytest.raises(ArtifactError, match=words):
        Router.load(folder)
