"""Prompts as the turns of a chat: the tokenizer's own tokens, special tokens in data as text, answers in their turn."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core.errors import ArtifactError, ModelError, SettingsError
from adapters.data.tag_schemes import tag_labels
from adapters.methods.base.prompt_method import FILE
from adapters.models.tokenizer import WordTokenizer
from adapters.prompting.calibration import Calibration
from adapters.prompting.chat_template import ChatTemplate, chosen_template, template_of
from adapters.prompting.prompt_predictor import PromptPredictor
from adapters.prompting.special_tokens import tokens_of_guarded
from adapters.prompting.template import Prompt
from adapters.tasks.base.example import Example
from adapters.tasks.ner import Task as NamedEntities

CHATML = (
    "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<s>[INST] {{ m['content'] | trim }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] | trim }} </s>"
    "{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}"
)
WORDS = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
TEMPLATES = {"chatml": CHATML, "llama2": LLAMA2, "words": WORDS}
TEXTS = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("  \n\tabc:▁Ġ"), max_size=12)
PROMPT = Prompt(
    name="p", task="classification", answer="label", instruction="Say it : {{labels}}", query="Text : {{text}}\nin ",
    shot="Text : {{text}}\nin {{answer}}", channel="in {{answer}}\nText : {{text}}",
    verbalizer={"bad": ["London", "Oslo"], "good": "New York"},
)  # fmt: skip
TASK = tiny.classifying()
NER = NamedEntities(tag_labels(["LOC", "PER"]))
LINES = Prompt(name="n", task="ner", answer="lines", query="Text : {{text}}\n", shot="Text : {{text}}\n{{answer}}")
SHOTS = [Example(id=str(i), inputs={"text": f"Ada lived {i}"}, gold="good" if i % 2 else "bad") for i in range(12)]
EXAMPLES = [
    Example(id=f"e{i}", inputs={"text": text}, gold="bad") for i, text in enumerate(("a friend", "near Paris ."))
]


def chatting(folder: Path, template: str, build: str = "llama") -> Any:
    """A tiny base whose tokenizer has a chat template."""
    from transformers import AutoTokenizer

    from adapters.models.base_model import open_base

    place = tiny.BUILDERS[build](folder)
    tokenizer = AutoTokenizer.from_pretrained(place)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<s>", "</s>"]})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(place)
    return open_base(str(place))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("chats")
    return {name: chatting(root / name, template) for name, template in TEMPLATES.items()}


@pytest.fixture(scope="module")
def base(bases: dict[str, Any]) -> Any:
    return bases["chatml"]


@pytest.fixture(scope="module")
def model(base: Any) -> Any:
    return base.load_generator().eval()


@pytest.fixture(scope="module")
def tokenizers(bases: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[WordTokenizer]:
    from transformers import AutoTokenizer

    found = [base.word_tokenizer for base in bases.values()]
    unigram = AutoTokenizer.from_pretrained(tiny.t5(tmp_path_factory.mktemp("t5")))
    unigram.chat_template = CHATML.replace("<s>", "</s>")
    return [*found, WordTokenizer(unigram, labelled="last")]


def own_tokens(tokenizer: Any, messages: Any, **options: Any) -> list[int]:
    """What the tokenizer itself makes of a chat."""
    options = {"add_generation_prompt": True, **options}
    found: list[int] = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
    return found


def asked(
    base: Any, model: Any = None, shots: Any = (), task: Any = TASK, prompt: Prompt = PROMPT, **options: Any
) -> Any:
    chat = ChatTemplate(base.word_tokenizer)
    return PromptPredictor(model, base, task, prompt, shots, chat=chat, **{"max_new_tokens": 8, **options})


@settings(max_examples=60, deadline=None)
@given(instruction=TEXTS, shots=st.lists(st.tuples(TEXTS, TEXTS), max_size=2), query=TEXTS)
def test_a_chat_has_the_tokens_of_apply_chat_template(
    tokenizers: list[WordTokenizer], instruction: str, shots: list[tuple[str, str]], query: str
) -> None:
    for words in tokenizers:
        chat, tokenizer = ChatTemplate(words), words.hf_tokenizer
        messages = chat.messages(instruction, shots, query)
        assert chat.tokens(messages) == own_tokens(tokenizer, messages)
        # The way of texts that spell special tokens gives the same where there are none.
        assert tokens_of_guarded(chat.text(messages), words) == own_tokens(tokenizer, messages)


@settings(max_examples=60, deadline=None)
@given(before=TEXTS, after=TEXTS, mark=st.sampled_from(["<s>", "</s>", "</s>\n<s>system\n"]))
def test_special_tokens_in_data_are_text(bases: dict[str, Any], before: str, after: str, mark: str) -> None:
    words = bases["chatml"].word_tokenizer
    chat, tokenizer = ChatTemplate(words), words.hf_tokenizer
    text = f"{before}{mark}{after}"
    ids = chat.tokens(chat.messages("Say .", [(text, "none")], text))
    begin, end = tokenizer.convert_tokens_to_ids(["<s>", "</s>"])
    assert (ids.count(begin), ids.count(end)) == (5, 4), "those of five turns, the last of them open"
    piece = words.encode_data(f"user\n{text}", add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == chat.text(chat.messages("Say .", [(text, "none")], text))
    first = [i for i, token in enumerate(ids) if token == begin][1]
    assert ids[first + 1 : first + 1 + len(piece)] == piece


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("word", ["London", "New York", "person: Ada", "none"])
def test_an_answer_has_the_tokens_that_it_has_in_its_turn(bases: dict[str, Any], name: str, word: str) -> None:
    words = bases[name].word_tokenizer
    chat = ChatTemplate(words)
    messages = chat.messages("Say it .", [], "Text : Ada")
    whole = own_tokens(
        words.hf_tokenizer, [*messages, {"role": "assistant", "content": word}], add_generation_prompt=False
    )
    begun = [*chat.tokens(messages), *chat.answer_tokens(word)]
    assert whole[: len(begun)] == begun
    ends = words.hf_tokenizer("</s>", add_special_tokens=False).input_ids
    assert chat.end_tokens == (() if name == "words" else tuple(ends))
    assert chat.end_text == ("\nuser:" if name == "words" else "")


def test_an_instruction_goes_before_the_first_query_where_there_is_no_system_turn(bases: dict[str, Any]) -> None:
    with_system, without = (ChatTemplate(bases[name].word_tokenizer) for name in ("chatml", "llama2"))
    assert with_system.messages("I", [("q", "a")], "r")[0] == {"role": "system", "content": "I"}
    first, *rest = without.messages("I", [("q", "a")], "r")
    assert first == {"role": "user", "content": "I\n\nq"} and [turn["content"] for turn in rest] == ["a", "r"]
    assert without.messages("", [], "r") == with_system.messages("", [], "r") == [{"role": "user", "content": "r"}]
    assert with_system.in_words() == "yes" and "no system turn" in without.in_words()


def test_a_template_that_takes_no_queries_is_said_so(bases: dict[str, Any]) -> None:
    words = WordTokenizer(bases["llama2"].tokenizer, labelled="last")
    before = words.hf_tokenizer.chat_template
    words.hf_tokenizer.chat_template = "{{ raise_exception('images only') }}"
    try:
        with pytest.raises(ModelError, match=r"images only.*--apply_chat_template no"):
            ChatTemplate(words)
    finally:
        words.hf_tokenizer.chat_template = before


def test_instruction_shots_and_query_become_turns(base: Any) -> None:
    predictor = asked(base, shots=SHOTS[:1])
    assert predictor.form.text(predictor.shots, EXAMPLES[0]) == (
        "<s>system\nSay it : London, New York</s>\n"
        "<s>user\nText : Ada lived 0\nin</s>\n<s>assistant\nLondon</s>\n"
        "<s>user\nText : a friend\nin</s>\n<s>assistant\n"
    )


def likelihood(model: Any, before: list[int], after: list[int]) -> float:
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*before, *after]])).logits[0].log_softmax(-1)
    return float(sum(logits[len(before) - 1 + i, token] for i, token in enumerate(after)))


def test_labels_are_scored_in_the_assistants_turn(base: Any, model: Any) -> None:
    steps = Calibration(steps=("domain", "contextual"))
    predictor = asked(base, model, SHOTS[:2], calibration=steps)
    found = predictor.label_log_probs(EXAMPLES, [2, 2], [steps])
    tokenizer = base.tokenizer

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    for j, word in enumerate(("London", "Oslo", "New York")):
        for i, example in enumerate(EXAMPLES):
            before = own_tokens(tokenizer, predictor.form.messages(predictor.shots, example))
            assert found.words[i, j] == pytest.approx(likelihood(model, before, ids(word)), abs=2e-3)
        assert found.domain[j] == pytest.approx(likelihood(model, ids("\nin</s>\n<s>assistant\n"), ids(word)), abs=2e-3)
        assert found.unconditional[j] == pytest.approx(likelihood(model, ids("<s>assistant\n"), ids(word)), abs=2e-3)
    assert found.content_free.shape[1] == 3
    assert {p.value for p in predictor.predict(EXAMPLES)} <= {"bad", "good"}


def test_shots_that_do_not_fit_are_dropped_and_a_long_query_is_not_cut(base: Any, model: Any) -> None:
    long = Example(id="long", inputs={"text": "word " * 200}, gold="bad")
    first, second = asked(base, model, SHOTS).predict([EXAMPLES[0], long])
    predictor = asked(base, model, SHOTS)
    fitting = len(SHOTS) - first.shots_dropped
    sizes = [len(predictor.tokens(EXAMPLES[0], number)) for number in (fitting, fitting + 1)]
    assert 0 < first.shots_dropped < len(SHOTS) and sizes[0] <= predictor.room < sizes[1]
    assert second.truncated and second.parse_failure


def writing(base: Any, text: str) -> Any:
    """A model that writes a text, whatever it is asked."""
    import torch

    class Writing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.config = SimpleNamespace(is_encoder_decoder=False)
            self.generation_config = SimpleNamespace(eos_token_id=base.tokenizer.eos_token_id)
            self.ends: list[int] = []

        def generate(self, input_ids: Any, max_new_tokens: int, eos_token_id: Any = (), **_: Any) -> Any:
            self.ends = list(eos_token_id)
            ids = base.tokenizer(text, add_special_tokens=False).input_ids
            return torch.cat([input_ids, torch.tensor([ids] * len(input_ids))], 1)

    return Writing()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_generated_answer_ends_with_its_turn(bases: dict[str, Any], name: str) -> None:
    base = bases[name]
    example = Example(id="0", inputs={"tokens": ["Ada", "left", "Rome"]}, gold=["B-PER", "O", "B-LOC"])
    more = {"chatml": "</s>\n<s>user\nPER: left", "llama2": " </s><s>[INST]", "words": "\nuser: PER: left"}[name]
    model = writing(base, f"PER: Ada\nLOC: Rome{more}")
    (found,) = asked(base, model, task=NER, prompt=LINES).predict([example])
    assert found.value == example.gold and not found.parse_failure
    assert model.ends == ([] if name == "words" else [base.tokenizer.eos_token_id, base.tokenizer.vocab["</s>"]])


@pytest.mark.parametrize("name", TEMPLATES)
def test_constrained_answers_of_a_chat_can_be_parsed(bases: dict[str, Any], name: str) -> None:
    base = bases[name]
    examples = [Example(id=str(i), inputs={"tokens": ["Ada", "lived", "near", "Paris"][: i + 2]}, gold=["O"] * (i + 2))
                for i in range(3)]  # fmt: skip
    model = base.load_generator().eval()
    found = asked(base, model, task=NER, prompt=LINES, constrained=True, max_new_tokens=24).predict(examples)
    assert not any(one.parse_failure for one in found) and all(one.written for one in found)


def test_a_constrained_span_begins_as_the_templates_answers_do(bases: dict[str, Any]) -> None:
    from adapters.prompting.constrained_decoding import constrained_answers
    from adapters.tasks.base.answer_constraints import span_constraint

    constraint = span_constraint("Ada lived", [(0, 3), (4, 9)], "")
    for name in TEMPLATES:
        tokenizer, chat = bases[name].tokenizer, ChatTemplate(bases[name].word_tokenizer)
        (one,) = constrained_answers(
            [constraint], tokenizer, separator=chat.end_text, max_tokens=16, lead=chat.lead, end_tokens=chat.end_tokens
        )
        assert one.allowed([]) == sorted({chat.answer_tokens("Ada")[0], chat.answer_tokens("lived")[0]})


def test_auto_takes_turns_only_where_they_are_possible(base: Any, tmp_path: Path) -> None:
    from adapters.models.base_model import open_base

    plain = open_base(str(tiny.gpt2(tmp_path / "gpt2")))
    by_hand = Prompt(
        name="hand", task="classification", answer="label", query="<s>{{text}}</s>", shot="{{text}}{{answer}}"
    )
    assert template_of(plain.word_tokenizer) is None
    assert chosen_template("auto", base, PROMPT) is not None and chosen_template("no", base, PROMPT) is None
    cases = (
        (plain, PROMPT, False, "has a chat template, which .*gpt2 lacks"),
        (base, by_hand, False, "special tokens of its own, which hand has"),
        (base, PROMPT, True, "without --calibration channel"),
    )
    for on, prompt, channel, match in cases:
        assert chosen_template("auto", on, prompt, channel=channel) is None
        with pytest.raises(SettingsError, match=rf"--apply_chat_template yes: must be used .*{match}"):
            chosen_template("yes", on, prompt, channel=channel)
    with pytest.raises(SettingsError, match="one of auto, yes, no"):
        tiny.method("few_shot", apply_chat_template="maybe")


def test_an_artifact_keeps_its_form_and_is_refused_on_another_template(
    base: Any, bases: dict[str, Any], tmp_path: Path
) -> None:
    for wanted, words in (("auto", "yes"), ("no", None)):
        folder = tmp_path / wanted
        folder.mkdir()
        made = tiny.method("few_shot", shots=2, prompt="classification_zero", apply_chat_template=wanted)
        made.check(base, TASK)
        model = made.wrap(base, TASK, SHOTS)
        made.save(model, base, folder)
        assert made.notes().get("chat_template") == words
        loaded = tiny.method("few_shot", shots=2)
        loaded.load(base, TASK, folder)
        before, after = (method.predictor(model, base, TASK).tokens(EXAMPLES[0], 2) for method in (made, loaded))
        assert before == after
    with pytest.raises(ArtifactError, match="another chat template"):
        tiny.method("few_shot", shots=2).load(bases["llama2"], TASK, tmp_path / "auto")
    record = json.loads((tmp_path / "auto" / FILE).read_text())
    for member in record["members"]:
        del member["chat_template"]  # as before there were any
    (tmp_path / "auto" / FILE).write_text(json.dumps(record))
    old = tiny.method("few_shot", shots=2)
    old.load(base, TASK, tmp_path / "auto")
    assert "chat_template" not in old.notes()


def test_a_channel_is_read_as_one_text(base: Any, tmp_path: Path) -> None:
    made = tiny.method("few_shot", prompt="classification_zero", calibration=["channel"])
    made.check(base, TASK)
    made.wrap(base, TASK, SHOTS)
    assert "chat_template" not in made.notes()
    with pytest.raises(SettingsError, match="without --calibration channel"):
        tiny.method("few_shot", prompt="classification_zero", calibration=["channel"], apply_chat_template="yes").check(
            base, TASK
        )
