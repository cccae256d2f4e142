"""A prompted model: its prompts, its parsed answers, and what the methods refuse, save and load."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from conftest import write_tagged

from adapters.core import discovery
from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.core.settings import CommonSettings, join
from adapters.data.tag_schemes import tag_labels
from adapters.evaluation.evaluate import evaluate
from adapters.evaluation.metrics.base.metric import load_metric
from adapters.methods.base.method import load_method
from adapters.methods.base.prompt_method import FILE, PromptMethod, PromptSettings
from adapters.prompting import template
from adapters.prompting.calibration import Calibration
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.prompting.template import Prompt
from adapters.tasks.base.example import Example
from adapters.tasks.ner import Task

TASK = Task(tag_labels(["LOC", "MISC", "ORG", "PER"]))
PROMPT = Prompt(name="short", task="ner", answer="lines", query="Text : {{text}}\n", shot="Text : {{text}}\n{{answer}}")


def example(id: str, text: str) -> Example:
    """`Ada/B-PER left/O`, a tag behind each word."""
    parts = [word.rpartition("/") for word in text.split()]
    return Example(id=id, inputs={"tokens": [word for word, _, _ in parts]}, gold=[tag for _, _, tag in parts])


EXAMPLES = [
    example("0", "Ada/B-PER Lovelace/I-PER lived/O in/O London/B-LOC ./O"),
    example("1", "Paris/B-LOC"),
    example("2", "Emmy/B-PER and/O Kurt/B-PER lived/O in/O San/B-LOC Marino/I-LOC with/O a/O friend/O ./O"),
    example("3", "notes/O"),
    example("4", "Grace/B-PER wrote/O notes/O near/O New/B-LOC York/I-LOC ./O"),
]
SHOTS = [example(f"s{i}", f"Alan/B-PER worked/O near/O Paris/B-LOC {'very/O ' * (i % 3)}") for i in range(12)]
TOO_LONG = Example(id="long", inputs={"tokens": ["word"] * 700}, gold=["O"] * 700)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    root = tmp_path_factory.mktemp("bases")
    folders = {name: tiny.BUILDERS[name](root / name, positions=512) for name in ("gpt2", "llama")}  # type: ignore[operator]
    return {name: open_base(str(path)) for name, path in {**folders, "t5": tiny.t5(root / "t5")}.items()}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def base(request: pytest.FixtureRequest, bases: dict[str, Any]) -> Any:
    return bases[request.param]


@pytest.fixture
def gpt2(bases: dict[str, Any]) -> Any:
    return bases["gpt2"]


def shaken(model: Any) -> Any:
    """The model with weights so large that it does not write one token again and again."""
    import torch

    generator = torch.Generator().manual_seed(7)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.4, generator=generator)
    return model


def fixed(base: Any, answers: str | Callable[[str], str]) -> Any:
    """A model that writes a fixed answer, or one that depends on its input."""
    import torch

    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.config = SimpleNamespace(is_encoder_decoder=False)
            self.generation_config = SimpleNamespace(eos_token_id=base.tokenizer.eos_token_id)
            self.asked: list[str] = []

        def forward(self, **_: Any) -> Any:
            """What rows begin with alike is read once; nothing is remembered of it."""
            return SimpleNamespace(past_key_values=SimpleNamespace(batch_repeat_interleave=lambda rows: None))

        def get_output_embeddings(self) -> Any:
            return torch.nn.Identity()

        def generate(self, input_ids: Any, attention_mask: Any, max_new_tokens: int, **_: Any) -> Any:
            asked = [base.tokenizer.decode(row[keep.bool()]) for row, keep in zip(input_ids, attention_mask)]  # noqa: B905
            self.asked += asked
            written = [base.tokenizer(answers if isinstance(answers, str) else answers(text)) for text in asked]
            ends = base.tokenizer.eos_token_id
            rows = [(row.input_ids + [ends] * max_new_tokens)[:max_new_tokens] for row in written]
            return torch.cat([input_ids, torch.tensor(rows)], 1)

    return Fixed()


def predictor(model: Any, base: Any, *, prompt: Prompt = PROMPT, shots: Sequence[Example] = (), **options: Any) -> Any:
    return PromptPredictor(model, base, TASK, prompt, shots, **{"max_new_tokens": 12, **options})


def tokens(base: Any, text: str) -> list[int]:
    found: list[int] = base.tokenizer(text).input_ids
    return found


# what is asked --------------------------------------------------------------------------------------------------------


def test_answers_do_not_hang_on_the_batch_or_the_order(base: Any) -> None:
    model = shaken(base.load_generator())
    alone = predictor(model, base, shots=SHOTS[:2], batch_rows=1).predict(EXAMPLES)
    assert len({prediction.written for prediction in alone}) == len(EXAMPLES)
    for options in ({}, {"batch_rows": 2}, {"batch_rows": 5}, {"batch_tokens": 400}):
        asked = predictor(model, base, shots=SHOTS[:2], **options)
        assert asked.predict(EXAMPLES) == alone
        assert asked.predict(EXAMPLES[::-1]) == alone[::-1]
        assert asked.predict([EXAMPLES[3], TOO_LONG, EXAMPLES[0]])[::2] == [alone[3], alone[0]]
    assert predictor(model, base).predict([]) == []


def test_the_model_sees_the_head_the_shots_and_the_question(gpt2: Any) -> None:
    model = fixed(gpt2, "none")
    prompt = replace(PROMPT, instruction="Types: {{types}}", separator="\n##\n")
    predictor(model, gpt2, prompt=prompt, shots=SHOTS[1:3]).predict(EXAMPLES[:1])
    assert model.asked == [
        "Types: LOC, MISC, ORG, PER\n##\n"
        "Text : Alan worked near Paris very\nPER: Alan\nLOC: Paris\n##\n"
        "Text : Alan worked near Paris very very\nPER: Alan\nLOC: Paris\n##\n"
        "Text : Ada Lovelace lived in London .\n"
    ]


@pytest.mark.parametrize("new", [1, 30, 200, 300, 400, 450, 480, 490, 500, 511])
def test_as_many_shots_are_shown_as_fit_and_the_question_is_never_cut(base: Any, new: int) -> None:
    asked = predictor(None, base, shots=SHOTS, max_new_tokens=new)
    room = base.positions - new
    for one in EXAMPLES:
        rows = [
            tokens(base, "".join(asked.shots[:number]) + PROMPT.question(TASK, one)) for number in range(len(SHOTS) + 1)
        ]
        fitting = [(row, number) for number, row in enumerate(rows) if len(row) <= room]
        assert asked.fit(one) == (fitting[-1][1] if fitting else None)
        if fitting:
            assert asked.tokens(one, fitting[-1][1]) == fitting[-1][0]


def test_shots_that_do_not_fit_are_dropped_and_counted(base: Any) -> None:
    model = fixed(base, "PER: Ada Lovelace\nLOC: London")
    for new, all_fit in ((40, True), (350, False)):
        asked = predictor(model, base, shots=SHOTS, max_new_tokens=new)
        model.asked.clear()
        predictions = asked.predict(EXAMPLES)
        shown = {text.rpartition("Text : ")[2]: text.count("PER: Alan") for text in model.asked}
        kept = [shown[PROMPT.question(TASK, one).removeprefix("Text : ")] for one in EXAMPLES]
        assert [len(SHOTS) - prediction.shots_dropped for prediction in predictions] == kept
        assert (set(kept) == {len(SHOTS)}) == all_fit
        assert not any(prediction.truncated for prediction in predictions)
        assert predictions[0].value == EXAMPLES[0].gold and not predictions[0].parse_failure


def test_a_text_that_does_not_fit_alone_is_not_asked(gpt2: Any) -> None:
    model = fixed(gpt2, "none")
    asked = predictor(model, gpt2, shots=SHOTS)
    (prediction,) = asked.predict([TOO_LONG])
    assert model.asked == []
    assert (prediction.truncated, prediction.parse_failure, prediction.shots_dropped) == (True, True, 0)
    assert prediction.value == ["O"] * 700
    others = asked.predict([TOO_LONG, EXAMPLES[1], TOO_LONG, EXAMPLES[3]])
    assert [(p.truncated, p.parse_failure, len(p.value)) for p in others] == [
        (True, True, 700),
        (False, False, 1),
        (True, True, 700),
        (False, False, 1),
    ]
    assert len(model.asked) == 2


def test_an_answer_may_take_all_the_room_that_is_left(gpt2: Any) -> None:
    model = shaken(gpt2.load_generator())
    length = len(tokens(gpt2, PROMPT.question(TASK, EXAMPLES[0])))
    (whole,) = predictor(model, gpt2, max_new_tokens=gpt2.positions - length).predict(EXAMPLES[:1])
    assert not whole.truncated
    (none,) = predictor(model, gpt2, max_new_tokens=gpt2.positions - length + 1).predict(EXAMPLES[:1])
    assert none.truncated


def test_many_more_shots_than_fit_cost_little(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    cut = PromptPredictor.tokens

    def count(self: PromptPredictor, example: Example, shots: int, mask: str = "") -> list[int]:
        counted.append(shots)
        return cut(self, example, shots, mask)

    monkeypatch.setattr(PromptPredictor, "tokens", count)
    asked = predictor(None, gpt2, shots=SHOTS * 50)
    number = asked.fit(EXAMPLES[0])
    assert number is not None and 0 < number < 600
    assert len(counted) <= 12


@pytest.mark.parametrize("tokens", [[], [""], ["\ud800"], ["\x00"], ["\u200b", " "], ["<|endoftext|>"], ["{{text}}"]])
def test_texts_of_all_kinds_are_asked_and_have_as_many_tags_as_words(base: Any, tokens: list[str]) -> None:
    model = base.load_generator()
    odd = Example(id="0", inputs={"tokens": tokens})
    for prompt in (PROMPT, replace(PROMPT, query="{{text}}", shot="{{text}}{{answer}}")):
        predictions = predictor(model, base, prompt=prompt, max_new_tokens=4).predict([odd, EXAMPLES[0]])
        assert [len(prediction.value) for prediction in predictions] == [len(tokens), 6]
        assert not any(prediction.truncated for prediction in predictions)


# what is made of the answer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("PER: Ada\n\nText : Paris\nLOC: Paris", "PER: Ada"),
        ("none\n\n\n", "none"),
        ("\n\nPER: Ada", "PER: Ada"),  # small models begin with an empty line where nothing was shown to them
        ("\n\n\n \n\n", ""),
        ("PER: Ada\n", "PER: Ada\n"),
        ("", ""),
    ],
)
def test_an_answer_ends_in_front_of_the_separator(written: str, kept: str, gpt2: Any) -> None:
    (prediction,) = predictor(fixed(gpt2, written), gpt2, max_new_tokens=40).predict(EXAMPLES[:1])
    assert prediction.written == kept


def test_answers_that_cannot_be_read_are_counted(gpt2: Any) -> None:
    answers = {
        "Ada": "PER: Ada Lovelace\nLOC: London",
        "Paris": "I think it is Paris",
        "Emmy": "PER: Emmy\nLOC: Rome",
        "notes": "none",
        "Grace": "PER: Grace\nLOC: New",
    }

    def write(asked: str) -> str:
        return answers[asked.rpartition("Text : ")[2].split()[0]]

    asked = predictor(fixed(gpt2, write), gpt2, shots=SHOTS, max_new_tokens=380)
    metric = load_metric("entity_f1", TASK.labels.names)
    found = evaluate(asked, [*EXAMPLES, TOO_LONG], [metric], split="dev")
    assert [prediction.parse_failure for prediction in found.predictions] == [False, True, True, False, False, True]
    assert found.predictions[4].value == ["B-PER", "O", "O", "O", "B-LOC", "O", "O"]
    assert found.failures() == {"parse_failures": 3, "truncated": 1, "shots_dropped": 5}


@pytest.mark.parametrize("name", [name for name in template.paths() if name.startswith("ner_")])
def test_a_model_that_writes_as_it_is_shown_is_read_right(name: str, gpt2: Any) -> None:
    prompt = template.load(name, TASK)
    gold = {prompt.question(TASK, one): TASK.write_answer(one, prompt.form) for one in EXAMPLES}

    def write(asked: str) -> str:
        return next(answer for question, answer in gold.items() if asked.endswith(question)) + prompt.separator + "x"

    predictions = predictor(fixed(gpt2, write), gpt2, prompt=prompt, max_new_tokens=150).predict(EXAMPLES)
    assert [prediction.value for prediction in predictions] == [one.gold for one in EXAMPLES]
    assert not any(prediction.parse_failure for prediction in predictions)


@pytest.mark.parametrize("name", [name for name in template.paths() if name.startswith("ner_")])
def test_a_question_is_cut_into_the_tokens_with_which_a_shot_begins(name: str, gpt2: Any) -> None:
    prompt = template.load(name, TASK)
    for one in EXAMPLES:
        question, shot = prompt.question(TASK, one), prompt.demonstration(TASK, one)
        row = tokens(gpt2, question)
        assert tokens(gpt2, shot)[: len(row)] == row


def test_the_spaces_of_an_answer_stay(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "clean_up_tokenization_spaces",
        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
    ):
        monkeypatch.setattr(gpt2.tokenizer, name, True)
    prompt = replace(PROMPT, answer="inline")
    model = fixed(gpt2, "<PER>Ada Lovelace</PER> lived in <LOC>London</LOC> .")
    (prediction,) = predictor(model, gpt2, prompt=prompt, max_new_tokens=60).predict(EXAMPLES[:1])
    assert (prediction.value, prediction.parse_failure) == (EXAMPLES[0].gold, False)


# the methods ----------------------------------------------------------------------------------------------------------

NAMES = ("few_shot", "zero_shot")


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    from adapters.data.dataset_files import open_splits
    from adapters.tasks.ner import Settings

    folder = tmp_path_factory.mktemp("read")
    write_tagged(folder / "train.conll", 20)
    task, splits = Task.read(open_splits(folder=folder), Settings())
    return task, splits["train"]


def method(name: str, **changes: Any) -> Any:
    kind = join(CommonSettings, discovery.load("methods", name).Settings)
    return load_method(name)(kind(max_new_tokens=changes.pop("max_new_tokens", 8), **changes))


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_is_refused_with_what_could_be_used(name: str, tiny_bert: Path) -> None:
    from adapters.models.base_model import open_base

    with pytest.raises(
        ModelError, match=rf"tiny-bert is of the kind encoder; the method {name} works with causal, enc"
    ):
        method(name).check(open_base(str(tiny_bert)), TASK)
    with pytest.raises(ModelError, match=r"\(smollm2, gpt2, t5-small\)"):
        method(name).check(open_base(str(tiny_bert)), TASK)


@pytest.mark.parametrize("name", NAMES)
def test_a_body_without_its_language_model_head_is_refused(name: str, bases: dict[str, Any], tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaModel

    from adapters.models.base_model import open_base

    body = tmp_path / "body"
    LlamaModel(LlamaConfig.from_pretrained(bases["llama"].folder, tie_word_embeddings=False)).save_pretrained(body)
    bases["llama"].tokenizer.save_pretrained(body)
    base = open_base(str(body))
    asked = method(name, **({"shots": 0} if name == "few_shot" else {}))
    asked.check(base, TASK)
    with pytest.raises(ModelError, match=r"have no language-model head \(lm_head.weight missing\).*\(smollm2, gpt2\)"):
        asked.wrap(base, TASK, [])


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("few_shot", {"shots": 21}, "--shots 21: there are 20 training examples"),
        ("few_shot", {"shots": -1}, "--shots -1: must be 0 or more"),
        ("few_shot", {"max_new_tokens": 0}, "--max_new_tokens 0: must be at least 1"),
        ("zero_shot", {"max_new_tokens": -3}, "--max_new_tokens -3: must be at least 1"),
        ("zero_shot", {"max_new_tokens": 512}, "--max_new_tokens 512: must be below 512, the positions of gpt2"),
        ("few_shot", {"max_new_tokens": 10**9}, "--max_new_tokens 1000000000: must be below 512"),
        ("zero_shot", {"prompt": "ner_few_shot"}, "--prompt ner_few_shot: no prompt or .toml file of that name: did"),
        ("zero_shot", {"prompt": "no.toml"}, "--prompt no.toml: no prompt or .toml file of that name: known: "),
    ],
)
def test_settings_that_cannot_work_are_refused(
    name: str, changes: dict[str, Any], told: str, gpt2: Any, train: tuple[Any, Any]
) -> None:
    with pytest.raises(SettingsError) as raised:
        asked = method(name, **changes)
        asked.check(gpt2, train[0])
        asked.wrap(gpt2, *train)
    assert str(raised.value).startswith(told)


def test_all_positions_but_one_may_be_the_answers(gpt2: Any) -> None:
    method("zero_shot", max_new_tokens=511).check(gpt2, TASK)


def test_a_task_that_cannot_be_asked_is_refused(gpt2: Any) -> None:
    task = discovery.load("tasks", "classification").MultiLabelTask(TASK.labels)
    with pytest.raises(ModelError, match="The task classification cannot be prompted; train a method for it"):
        method("zero_shot").check(gpt2, task)


def test_a_method_without_a_prompt_of_its_own_asks_for_one(gpt2: Any, tmp_path: Path) -> None:
    class Method(PromptMethod):
        name = "zerro_shot"

    plain = join(CommonSettings, PromptSettings)
    with pytest.raises(SettingsError, match=r"There is no prompt ner_zerro: did you mean 'ner_zero'.* Give --prompt"):
        Method(plain()).wrap(gpt2, TASK, [])
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "ner_zerro.toml").write_text('task = "ner"\nanswer = "json"\nquery = "{{text}}"\n')
    own = Method(plain(plugin_dir=[str(tmp_path)]))
    own.wrap(gpt2, TASK, [])
    assert own.notes() == {"prompt": "ner_zerro", "shots": 0}


def test_zero_shot_shows_nothing_of_train(gpt2: Any, train: tuple[Any, Any]) -> None:
    assert not hasattr(discovery.load("methods", "zero_shot").Settings(), "shots")
    asked = method("zero_shot")
    model = asked.wrap(gpt2, *train)
    assert asked.notes() == {"prompt": "ner_zero", "shots": 0}
    assert asked.predictor(model, gpt2, train[0]).shots == []


def test_shots_are_drawn_by_the_seed(gpt2: Any, train: tuple[Any, Any]) -> None:
    drawn = []
    for seed in (0, 0, 1):
        asked = method("few_shot", shots=3, seed=seed)
        asked.wrap(gpt2, *train)
        drawn.append([shot.id for shot in asked.members[0].examples])
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(map(int, drawn[0])) <= {*range(20)}


@pytest.mark.parametrize("base_name", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_is_loaded_with_the_same_prompt_shots_and_answers(
    name: str, base_name: str, bases: dict[str, Any], train: tuple[Any, Any], tmp_path: Path
) -> None:
    task, examples = train
    base = bases[base_name]
    prompt = tmp_path / "mine.toml"
    prompt.write_text(
        'task = "ner"\nanswer = "json"\nquery = "T {{text}}"\nseparator = "#"\n[verbalizer]\nPER = "per\\u00e4"\n'
    )
    changes = {"prompt": str(prompt), "seed": 3, **({"shots": 2} if name == "few_shot" else {})}
    asked = method(name, **changes)
    asked.check(base, task)
    model = asked.wrap(base, *train)
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())
    folder = tmp_path / "artifact"
    folder.mkdir()
    asked.save(model, base, folder)
    assert [path.name for path in folder.iterdir()] == [FILE]
    prompt.unlink()
    # Shots, seed and prompt are the folder's: what else the settings say of them does not count.
    loaded = method(name)
    again = loaded.load(base, task, folder)
    (one,), (other,) = loaded.members, asked.members
    assert one.prompt == other.prompt
    assert [(e.id, e.inputs, e.gold) for e in one.examples] == [(e.id, e.inputs, e.gold) for e in other.examples]
    assert loaded.notes() == asked.notes() == {"prompt": "mine", "shots": 2 if name == "few_shot" else 0}
    first, second = asked.predictor(model, base, task), loaded.predictor(again, base, task)
    assert (first.instruction, first.shots) == (second.instruction, second.shots)
    chosen = list(examples)[:3]
    assert first.predict(chosen) == second.predict(chosen)
    loaded.save(again, base, tmp_path)
    assert (tmp_path / FILE).read_bytes() == (folder / FILE).read_bytes()


def test_shots_of_raw_text_are_saved_with_their_offsets(gpt2: Any, tmp_path: Path) -> None:
    shot = replace(
        TASK.from_request({"text": "Ada left\nSan  Marino."}, "7"), gold=["B-PER", "O", "B-LOC", "I-LOC", "O"]
    )
    asked = method("few_shot", shots=1)
    model = asked.wrap(gpt2, TASK, [shot])
    asked.save(model, gpt2, tmp_path)
    loaded = method("few_shot")
    loaded.load(gpt2, TASK, tmp_path)
    assert loaded.predictor(model, gpt2, TASK).shots == asked.predictor(model, gpt2, TASK).shots
    assert "person: Ada\nlocation: San Marino\n\n" in asked.predictor(model, gpt2, TASK).shots[0]


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": {"query": "{{txt}} {{text}}"}},
        {"prompt": {"query": "text"}},
        {"prompt": {"answer": "xml"}},
        {"prompt": {"task": "qa"}},
        {"prompt": {"separator": ""}},
        {"prompt": {"query": 3}},
        {"prompt": {"more": "x"}},
        {"prompt": {"verbalizer": "x"}},
        {"prompt": {"shot": "{{text}}"}},
        {"shots": None},
        {"shots": [{"id": "0"}]},
    ],
)
def test_a_folder_with_another_prompt_than_ours_is_refused(change: dict[str, Any], gpt2: Any, tmp_path: Path) -> None:
    asked = method("few_shot", shots=1)
    asked.save(asked.wrap(gpt2, TASK, EXAMPLES), gpt2, tmp_path)
    found = json.loads((tmp_path / FILE).read_text())
    for key, value in change.items():
        (member,) = found["members"]
        member[key] = {**member[key], **value} if isinstance(value, dict) else value
    (tmp_path / FILE).write_text(json.dumps(found))
    with pytest.raises(ArtifactError, match=r"prompt.json: not a prompt"):
        method("few_shot").load(gpt2, TASK, tmp_path)


def test_special_tokens_in_data_are_text_and_those_of_a_chat_are_tokens(gpt2: Any) -> None:
    end = gpt2.tokenizer.eos_token
    example = replace(EXAMPLES[0], inputs={"tokens": ["Ada", end, "left"]})
    plain = Prompt(name="p", task="ner", answer="lines", query="{{text}}\n", shot="{{text}}\n{{answer}}")
    chat = replace(plain, query=f"{end}{{{{text}}}}{end}")
    for prompt, ends in ((plain, 0), (chat, 2)):
        asked = PromptPredictor(None, gpt2, TASK, prompt, [], max_new_tokens=1)
        ids = asked.tokens(example, 0)
        assert ids.count(gpt2.tokenizer.eos_token_id) == ends
        assert gpt2.tokenizer.decode(ids, clean_up_tokenization_spaces=False) == prompt.question(TASK, example)


def test_special_tokens_in_data_are_text_to_a_unigram_model_too(bases: dict[str, Any]) -> None:
    base = bases["t5"]
    example = replace(EXAMPLES[0], inputs={"tokens": ["Ada", base.tokenizer.eos_token, "left"]})
    plain = Prompt(name="p", task="ner", answer="lines", query="{{text}}\n", shot="{{text}}\n{{answer}}")
    ids = PromptPredictor(None, base, TASK, plain, [], max_new_tokens=1).tokens(example, 0)
    end = base.tokenizer.eos_token_id
    assert ids.count(end) == 1 and ids[-1] == end, "the one that ends the prompt"


@pytest.mark.parametrize("steps", [(), ("contextual",)])
def test_a_mask_in_data_is_text_and_the_answer_has_one_place(steps: tuple[str, ...], tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    base = open_base(str(tiny.modernbert(tmp_path / "modernbert")))
    model, mask = base.load_generator().eval(), base.tokenizer.mask_token
    prompt = Prompt(
        name="cloze",
        task="classification",
        answer="label",
        query="{{text}} It was {{mask}} .",
        shot="{{text}} It was {{answer}} .",
        verbalizer={"bad": "London", "good": "New York"},
    )
    shots = [Example(id="s", inputs={"text": f"Ada {mask} left"}, gold="bad")]
    texts = [f"{mask} lived", f"a town {mask}{mask} near", "a town"]
    examples = [Example(id=str(i), inputs={"text": text}) for i, text in enumerate(texts)]
    calibration = Calibration(steps=steps)
    asked = PromptPredictor(model, base, tiny.classifying(), prompt, shots, max_new_tokens=4, calibration=calibration)
    assert all(found.value in ("bad", "good") for found in asked.predict(examples))
    assert asked.label_scorer is not None and asked.label_scorer.longest > 1
    ids = asked.tokens(examples[1], 1, mask)
    assert ids.count(base.tokenizer.mask_token_id) == 1
    assert asked.form.text(asked.shots, examples[1], "_").endswith(f"a town {mask}{mask} near It was _ .")


def test_a_prompt_with_a_second_mask_is_refused(tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    base, path = open_base(str(tiny.modernbert(tmp_path / "modernbert"))), tmp_path / "cloze.toml"
    head = 'task = "classification"\nanswer = "label"\n'
    path.write_text(f'{head}query = "{{{{text}}}} {{{{mask}}}} {{{{mask}}}}"\n')
    with pytest.raises(SettingsError, match=r"cloze.toml:3: query: \{\{mask\}\} may occur once"):
        tiny.method("zero_shot", prompt=str(path)).check(base, tiny.classifying())
    path.write_text(f'{head}instruction = "{base.tokenizer.mask_token}"\nquery = "{{{{text}}}} {{{{mask}}}}"\n')
    with pytest.raises(ModelError, match="the one place of the answer is"):
        tiny.method("zero_shot", prompt=str(path)).check(base, tiny.classifying())


@pytest.mark.parametrize("content", [{}, {"members": []}, {"members": None}, {"members": [3]}])
def test_a_folder_without_a_prompt_is_refused(content: dict[str, Any], gpt2: Any, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=r"prompt.json: not a prompt"):
        method("few_shot").load(gpt2, TASK, tmp_path)
