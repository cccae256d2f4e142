"""What a search and a comparison ask of the prompted methods: their spaces, shorter trials, and what a seed moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny

from adapters.core import discovery
from adapters.core.errors import SettingsError
from adapters.core.search_space import drawn
from adapters.core.settings import CommonSettings, join
from adapters.methods.base.method import load_method
from adapters.tasks.base.example import Example

TRAIN = [Example(id=str(i), inputs={"text": f"Ada lived {i}"}, gold="good" if i % 2 else "bad") for i in range(40)]


def given(name: str, **changes: Any) -> Any:
    return join(CommonSettings, discovery.load("methods", name).Settings)(**changes)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from adapters.models.base_model import open_base

    return open_base(str(tiny.gpt2(tmp_path_factory.mktemp("base") / "gpt2")))


def test_prompts_and_calibrations_are_searched_where_answers_are_chosen() -> None:
    few, zero = (load_method(name).search_space("classification") for name in ("few_shot", "zero_shot"))
    assert [*few] == ["prompt", "shots", "shot_seed", "calibration", "apply_chat_template"]
    assert [*zero] == ["prompt", "calibration", "apply_chat_template"]
    prompts = few["prompt"].record()["values"]
    assert sum(name.startswith("classification_sentiment") for name in prompts) >= 4
    assert not {"classification_cloze", "classification_sentiment_cloze", "classification_sentiment_zh"} & {*prompts}
    assert max(few["shots"].record()["values"]) == 16
    generated = load_method("few_shot").search_space("ner")
    assert "calibration" not in generated and max(generated["shots"].record()["values"]) == 8
    assert len(generated["prompt"].record()["values"]) >= 4


def test_own_prompts_are_searched_too_in_any_language_and_faulty_ones_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    query = 'task = "classification"\nanswer = "label"\nquery = "{{text}} '
    (folder / "mine.toml").write_text(f'language = "zh"\n{query}: "\n', encoding="utf-8")
    (folder / "masked.toml").write_text(f'{query}{{{{mask}}}}"\n')
    (folder / "broken.toml").write_text("task = ")
    values = load_method("zero_shot").search_space("classification", [str(tmp_path)])["prompt"].record()["values"]
    assert "mine" in values and not {"masked", "broken"} & {*values}


@pytest.mark.parametrize("name", ["few_shot", "zero_shot"])
@pytest.mark.parametrize("task", ["classification", "ner", "question_answering", "summarization", "translation"])
def test_every_drawn_setting_is_a_setting(name: str, task: str) -> None:
    method = load_method(name)
    for values in drawn(method.search_space(task), seed=3, number=30):
        method(given(name, **values))


def test_a_trial_of_a_prompt_for_other_labels_is_refused(base: Any) -> None:
    stars = tiny.classifying(["one", "two"])
    with pytest.raises(SettingsError, match=r"--prompt classification_sentiment: .*\(one, two\)"):
        tiny.method("zero_shot", prompt="classification_sentiment", trial=True).check(base, stars)
    tiny.method("zero_shot", prompt="classification_sentiment", trial=True).check(
        base, tiny.classifying(["neg", "pos"])
    )
    tiny.method("zero_shot", prompt="classification_zero", trial=True).check(base, stars)
    tiny.method("zero_shot", prompt="classification_sentiment").check(base, stars)


def test_trials_of_prompts_are_not_shortened_as_few_dev_examples_would_choose_by_luck() -> None:
    assert load_method("few_shot").shortened(given("few_shot", max_eval_samples=300), 1 / 3) == {}


def test_a_seed_moves_only_the_draw_of_shots() -> None:
    few = load_method("few_shot")
    assert few.moved_by_seed(given("few_shot"))
    assert not few.moved_by_seed(given("few_shot", shots=0))
    assert not few.moved_by_seed(given("few_shot", shot_seed=0))
    assert not load_method("zero_shot").moved_by_seed(given("zero_shot"))
    assert load_method("lora").moved_by_seed(given("lora"))


def test_shots_with_a_seed_of_their_own_are_the_same_in_every_run(base: Any) -> None:
    task = tiny.classifying()

    def shots(**changes: Any) -> list[str]:
        made = tiny.method("few_shot", shots=4, prompt="classification_few", **changes)
        made.wrap(base, task, TRAIN)
        return [example.id for member in made.members for example in member.examples]

    assert shots(seed=0, shot_seed=7) == shots(seed=5, shot_seed=7) == shots(seed=7)
    assert shots(seed=0, shot_seed=0) == shots(seed=0) != shots(seed=5)
    assert shots(seed=1, shot_seed=2, ensemble_seeds=2) == shots(seed=2, ensemble_seeds=2)
