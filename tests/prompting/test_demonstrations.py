"""Shots depend only on the seed, and each is used once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiny
from conftest import build_tiny_bert
from hypothesis import given
from hypothesis import strategies as st

from adapters.artifacts import loading
from adapters.core.errors import SettingsError
from adapters.prompting.demonstrations import Nearest, balanced, draw, hardest, text_of
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.prompting.template import Prompt
from adapters.tasks.base.example import Example

TRAIN = [Example(id=str(number), inputs={"tokens": [str(number)]}) for number in range(40)]


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_shots_are_different_training_examples_and_the_same_for_a_seed(number: int, seed: int) -> None:
    shots = draw(TRAIN, number, seed)
    assert len({shot.id for shot in shots}) == len(shots) == number
    assert all(shot in TRAIN for shot in shots)
    assert draw(tuple(TRAIN), number, seed) == shots


def test_another_seed_draws_others_in_another_order() -> None:
    drawn = {tuple(shot.id for shot in draw(TRAIN, 5, seed)) for seed in range(50)}
    assert len(drawn) == 50
    assert len({frozenset(shots) for shots in drawn}) > 45
    assert len({tuple(shot.id for shot in draw(TRAIN[:3], 3, seed)) for seed in range(50)}) == 6
    assert len({shot for shots in drawn for shot in shots}) == len(TRAIN)


def test_a_seed_draws_the_same_in_every_process_and_version() -> None:
    assert [shot.id for shot in draw(TRAIN, 5, 0)] == ["14", "35", "19", "27", "13"]


@pytest.mark.parametrize(("number", "there"), [(41, 40), (1, 0), (10**9, 3)])
def test_more_shots_than_examples_are_refused(number: int, there: int) -> None:
    with pytest.raises(SettingsError, match=f"--shots {number}: there are {there} training examples"):
        draw(TRAIN[:there], number, 0)


def test_no_shots_need_no_examples() -> None:
    assert draw([], 0, 0) == []


# chosen ---------------------------------------------------------------------------------------------------------------

TEXTS = [
    Example(id=str(i), inputs={"text": text}, gold=label)
    for i, (text, label) in enumerate(
        [
            ("Ada", "good"),
            ("Rome", "bad"),
            ("Alan lived", "good"),
            ("the town", "good"),
            ("notes", "good"),
            ("Kurt", "good"),
            ("a friend in Oslo", "bad"),
        ]
    )
]
PROMPT = Prompt(name="p", task="classification", answer="label", query="{{text}} is ", shot="{{text}} is {{answer}}")


@given(st.integers(0, 7), st.integers(0, 999))
def test_balanced_shots_are_of_each_class_as_many_while_there_are_some(number: int, seed: int) -> None:
    shots = balanced(TEXTS, number, seed)
    assert len({shot.id for shot in shots}) == len(shots) == number
    counts = Counter(shot.gold for shot in shots)
    assert abs(counts["good"] - counts["bad"]) <= 1 or counts["bad"] == 2
    assert balanced(TEXTS, number, seed) == shots


def test_balanced_shots_hang_on_the_seed_and_need_classes() -> None:
    drawn = {tuple(shot.id for shot in balanced(TEXTS, 4, seed)) for seed in range(30)}
    assert len(drawn) > 20
    assert len({shots[0] for shots in drawn}) > 3, "no class always comes first"
    with pytest.raises(SettingsError, match="balanced"):
        balanced([Example(id="0", inputs={}, gold=["O"])], 1, 0)
    with pytest.raises(SettingsError, match="--shots 8"):
        balanced(TEXTS, 8, 0)


def test_the_hardest_are_those_whose_answer_is_least_likely() -> None:
    shots, left_out = hardest(TEXTS, 3, 0, lambda some: [-float(example.id) for example in some])
    assert {shot.id for shot in shots} == {"4", "5", "6"} and not left_out
    seeds = {
        tuple(shot.id for shot in hardest(TEXTS, 3, s, lambda some: [-float(e.id) for e in some])[0]) for s in range(9)
    }
    assert len(seeds) > 1


def test_candidates_that_do_not_fit_are_no_hardest_and_are_counted(tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    def odd(some: list[Example]) -> list[float | None]:
        return [None if int(one.id) % 2 else -float(one.id) for one in some]

    shots, left_out = hardest(TEXTS, 3, 0, odd)
    assert {shot.id for shot in shots} == {"2", "4", "6"} and left_out == 3
    with pytest.raises(SettingsError, match="--shots 5: of 7 candidates for the hardest, 3 do not fit"):
        hardest(TEXTS, 5, 0, odd)
    base, path = open_base(str(tiny.gpt2(tmp_path / "gpt2"))), tmp_path / "mine.toml"
    path.write_text('task = "classification"\nanswer = "label"\nquery = "{{text}} is "\n')
    long = Example(id="long", inputs={"text": "town " * 3 * base.positions}, gold="good")
    method = tiny.method("few_shot", shots=3, shot_selection="hardest", prompt=str(path))
    method.wrap(base, tiny.classifying(), [*TEXTS, long])
    assert long not in method.members[0].examples
    assert method.notes()["shot_selection"] == "hardest (1 candidates too long for the prompt left out)"


def test_of_the_nearest_the_most_similar_stay_where_not_all_fit(tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    base = open_base(str(tiny.gpt2(tmp_path / "gpt2")))
    near = Nearest(TEXTS, 5, letters)
    query = Example(id="q", inputs={"text": "Roma " * 8})
    (shots,) = near.of([query])
    kept = "".join(f"{shot.inputs['text']} is {shot.gold}\n\n" for shot in shots[2:])
    model = base.load_generator().eval()
    asked = PromptPredictor(model, base, tiny.classifying(), PROMPT, TEXTS[:5], max_new_tokens=4, nearest=near)
    asked.room = len(base.tokenizer(f"{kept}{query.inputs['text']} is").input_ids)
    assert asked.shown(query) == shots[2:]
    (found,) = asked.predict([query])
    assert found.shots_dropped == 2
    (wanted,) = asked.with_shots(shots[2:]).predict([query])
    assert np.abs(found.detail - wanted.detail).max() < 1e-4


def letters(texts: list[str]) -> np.ndarray:
    return np.array([[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float)


def test_the_nearest_stand_last_and_a_text_is_not_its_own_shot() -> None:
    near = Nearest(TEXTS, 3, letters)
    queries = [Example(id="q", inputs={"text": "Roma"}), TEXTS[5]]
    for query, shots in zip(queries, near.of(queries), strict=True):
        one = letters([text_of(query)])[0]
        others = [example for example in TEXTS if example.inputs != query.inputs]
        cosine = [one @ v / np.linalg.norm(one) / np.linalg.norm(v) for v in letters([text_of(o) for o in others])]
        wanted = [others[i].id for i in np.argsort(-np.array(cosine), kind="stable")[:3]]
        assert [shot.id for shot in shots[::-1]] == wanted
    assert text_of(Example(id="", inputs={"text": "a b", "tokens": ["a", "b"], "offsets": [(0, 1)]})) == "a b"
    assert text_of(Example(id="", inputs={"tokens": ["a", "b"]})) == "a b"


def test_each_query_is_asked_behind_its_own_nearest_shots(tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    base = open_base(str(tiny.gpt2(tmp_path / "gpt2")))
    model = base.load_generator().eval()
    near = Nearest(TEXTS, 2, letters)
    asked = PromptPredictor(model, base, tiny.classifying(), PROMPT, TEXTS[:2], max_new_tokens=4, nearest=near)
    queries = [Example(id=str(i), inputs={"text": text}) for i, text in enumerate(["Roma", "in a town", "Alan"])]
    found = asked.predict(queries)
    for query, shots, prediction in zip(queries, near.of(queries), found, strict=True):
        alone = PromptPredictor(model, base, tiny.classifying(), PROMPT, shots, max_new_tokens=4)
        (wanted,) = alone.predict([query])
        assert prediction.value == wanted.value
        assert np.abs(prediction.detail - wanted.detail).max() < 1e-4
    mean = np.mean([prediction.detail for prediction in asked.predict(TEXTS)], axis=0)
    assert np.abs(np.exp(asked.measured_prior(TEXTS)) - mean).max() < 1e-4, "each text has its own shots there, too"


@pytest.mark.parametrize("selection", ["balanced", "hardest", "nearest"])
def test_a_few_shot_artifact_chooses_as_before_it_was_saved(selection: str, tmp_path: Path) -> None:
    from adapters.artifacts import artifact
    from adapters.models.base_model import open_base

    base = open_base(str(tiny.llama(tmp_path / "llama")))
    encoder = build_tiny_bert(tmp_path / "bert")
    task = tiny.classifying()
    path = tmp_path / "mine.toml"
    path.write_text('task = "classification"\nanswer = "label"\nquery = "{{text}} is "\n')
    method = tiny.method("few_shot", shots=2, shot_selection=selection, shot_encoder=str(encoder), prompt=str(path))
    method.check(base, task)
    model = method.wrap(base, task, TEXTS)
    queries = [Example(id=str(i), inputs={"text": text}) for i, text in enumerate(["Rome", "Ada in a town"])]
    before = method.predictor(model, base, task).predict(queries)
    card = {
        "task": task.card(),
        "method": {"name": "few_shot", "library": "taskswap", "settings": method.recorded()},
        "max_length": 64,
        "base": base.digests(),
    }
    artifact.write(tmp_path / "out", lambda draft: method.save(model, base, draft), card, "# Shots\n")
    after = loading.load(tmp_path / "out", base=str(base.folder)).predict(queries)
    for one, other in zip(before, after, strict=True):
        assert np.abs(one.detail - other.detail).max() < 1e-5
    assert method.notes()["shot_selection"] == selection


def test_shots_are_chosen_by_the_model_that_chose_them_before_or_the_artifact_is_refused(tmp_path: Path) -> None:
    from adapters.core.errors import ArtifactError
    from adapters.models.base_model import open_base

    base, task = open_base(str(tiny.llama(tmp_path / "llama"))), tiny.classifying()
    encoder = build_tiny_bert(tmp_path / "bert")
    how = {"shots": 1, "shot_selection": "nearest", "shot_encoder": str(encoder), "prompt": "classification_sentiment"}
    method = tiny.method("few_shot", **how)
    (tmp_path / "out").mkdir()
    method.save(method.wrap(base, task, TEXTS), base, tmp_path / "out")
    again = tiny.method("few_shot", **how)
    again.load(base, task, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "prompt.json").read_text())
    build_tiny_bert(tmp_path / "bert", seed=1)
    with pytest.raises(ArtifactError, match="is not the model that it was made with"):
        again.load(base, task, tmp_path / "out")
    del record["shot_encoder"]
    (tmp_path / "out" / "prompt.json").write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match="or it records none"):
        again.load(base, task, tmp_path / "out")
