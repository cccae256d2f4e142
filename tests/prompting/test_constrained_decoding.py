"""Constrained answers are parsable, whatever the model, text and limit; and all parsable answers are possible."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.prompting.constrained_decoding import ConstrainedAnswer, LinesGrammar, SpanGrammar, constrained_answers
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.prompting.template import Prompt
from adapters.tasks.base.answer_constraints import LinesConstraint, lines_constraint, span_constraint
from adapters.tasks.base.example import Example

pytestmark = pytest.mark.usefixtures("one_thread")
TASK = tiny.tagging()
PROMPT = Prompt(
    name="p",
    task="ner",
    answer="lines",
    query="{{text}}\n",
    shot="{{text}}\n{{answer}}",
    verbalizer={"PER": "person", "LOC": "place"},
)
END = 0


def cut(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_the_answers_are_exactly_lines_of_names_and_stretches_apart_from_each_other() -> None:
    constraint = LinesConstraint(names=("p", "q"), words=("a", "ab", "c"), between=("", " ", ""), none="-")

    def everything(written: list[int]) -> Iterator[str]:
        walk = ConstrainedAnswer(LinesGrammar(constraint, cut, separator="|", end=END), 99)
        for token in walk.allowed(written):
            if token in (END, ord("|")):
                text = "".join(map(chr, written))
                again = ConstrainedAnswer(walk.grammar, 99).ends_repeating(written)
                repeats.append(text) if again else None
                yield text.rpartition("\n")[0] if again else text
            else:
                yield from everything([*written, token])

    repeats: list[str] = []
    stretches = {(0, 1): "a", (1, 2): "ab", (2, 3): "c", (0, 2): "a ab", (1, 3): "abc", (0, 3): "a abc"}
    wanted = {"-"}
    for number in (1, 2, 3):
        for spans in itertools.permutations(sorted(stretches), number):
            if all(one[1] <= other[0] for one, other in itertools.pairwise(sorted(spans))):
                for kinds in itertools.product("pq", repeat=number):
                    wanted.add("\n".join(f"{k}: {stretches[s]}" for k, s in zip(kinds, spans, strict=True)))
    assert set(everything([])) == wanted
    assert len(wanted) > 20
    assert {"p: a\nq: a", "p: ab\nq: ab"} <= set(repeats), "a line that says a word again ends the answer"
    assert not {"p: ab\nq: a", "p: a\nq: c"} & set(repeats)


@pytest.mark.parametrize("none", ["", "no"])
@pytest.mark.parametrize("room", [4, 6, 99])
def test_the_answers_are_exactly_the_stretches_of_the_text_that_there_is_room_for(none: str, room: int) -> None:
    words = [(0, 1), (2, 4), (4, 5), (7, 8)]
    constraint = span_constraint(
        "a abc\u200b\u200bd", words, none
    )  # what stands between c and d is no blank: no stretch goes on

    def everything(written: list[int]) -> Iterator[str]:
        walk = ConstrainedAnswer(SpanGrammar(constraint, cut, separator="|", end=END), room)
        for token in walk.allowed(written):
            if token in (END, ord("|")):
                yield "".join(map(chr, written))
            else:
                yield from everything([*written, token])

    wanted = {" a", " ab", " c", " d", " a ab", " abc", " a abc", *([" no"] if none else [])}
    assert set(everything([])) == {text for text in wanted if len(text) < room}


def test_an_answer_may_end_as_the_separator_is_cut_in_running_text(tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    tokenizer = open_base(str(tiny.gpt2(tmp_path / "gpt2"))).tokenizer
    inside = tokenizer("Ada\n\nAda").input_ids
    word = tokenizer("Ada").input_ids
    ending = inside[len(word) : -len(word)]
    for constraint in (span_constraint("Ada", [(0, 3)], ""), lines_constraint(["p"], "Ada", [(0, 3)], "none")):
        (walk,) = constrained_answers([constraint], tokenizer, separator="\n\n", max_tokens=20)
        answer = tokenizer(" Ada" if isinstance(walk.grammar, SpanGrammar) else "p: Ada").input_ids
        for number, token in enumerate([*answer, *ending]):
            assert token in walk.allowed([*answer, *ending][:number])
        assert walk.allowed([*answer, *ending]) == [tokenizer.eos_token_id]


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def writer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    import torch

    from adapters.models.base_model import open_base

    base = open_base(str(tiny.BUILDERS[request.param](tmp_path_factory.mktemp("writer") / request.param)))
    model = base.load_generator().eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.4)
    return base, model


WORDS = ["Ada", "Paris", "U.N.", "-", "none", "person:", "New", "York", "😀", "\u200b", ":", "<b>", "...", "á", "�"]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), min_size=1, max_size=4),
    room=st.integers(8, 40),
    raw=st.booleans(),
)
def test_no_answer_is_unreadable(writer: tuple[Any, Any], texts: list[list[str]], room: int, raw: bool) -> None:
    base, model = writer
    examples = [
        TASK.from_request({"text": " ".join(words)} if raw else {"tokens": words}, str(i))
        for i, words in enumerate(texts)
    ]
    asked = PromptPredictor(model, base, TASK, PROMPT, [], max_new_tokens=room, constrained=True)
    for example, prediction in zip(examples, asked.predict(examples), strict=True):
        if base.kind != "encoder-decoder":  # the tiny T5's tokens know no line break: it writes freely
            assert prediction.written and not prediction.parse_failure, prediction.written
        assert len(prediction.value) == len(example.inputs["tokens"])


def test_a_free_answer_is_counted_where_it_cannot_be_read(writer: tuple[Any, Any]) -> None:
    base, model = writer
    example = Example(id="0", inputs={"tokens": ["Ada", "in", "Paris"]})
    (free,) = PromptPredictor(model, base, TASK, PROMPT, [], max_new_tokens=20).predict([example])
    assert free.parse_failure


def test_words_that_are_no_stretch_do_not_follow_each_other() -> None:
    text = "Ada (x y) Paris-Rome"
    found = lines_constraint(["p"], text, [(0, 3), (4, 9), (10, 15), (15, 16), (16, 20)], "none")
    assert found.words == ("Ada", "Paris", "-", "Rome")
    assert found.between == ("", None, "", "")


def test_the_setting_is_known_to_the_method_and_its_card(tmp_path: Path) -> None:
    from adapters.core.errors import SettingsError

    assert tiny.method("zero_shot").recorded()["decoding"] == "constrained"
    with pytest.raises(SettingsError, match="--decoding"):
        tiny.method("zero_shot", decoding="beam")
