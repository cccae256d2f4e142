"""Prompts as data: every fault has a line, every text comes out as it went in, and a record is the prompt again."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.core import discovery
from adapters.core.errors import SettingsError
from adapters.core.files import packaged
from adapters.data.labels import LabelSet
from adapters.data.tag_schemes import tag_labels
from adapters.prompting import template
from adapters.prompting.template import Prompt
from adapters.tasks.base.entity_formats import FORMATS
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import PromptableTask, load_task
from adapters.tasks.ner import Task

TASK = Task(tag_labels(["PER", "ORG", "LOC", "MISC"]))
ADA = Example(id="0", inputs={"tokens": ["Ada", "left", "New", "York"]}, gold=["B-PER", "O", "B-LOC", "I-LOC"])
LINES = ['task = "ner"', 'answer = "lines"', 'instruction = "Types: {{types}}"', 'query = "T: {{text}}\\nE:"']
HAN = re.compile("[一-鿿]")
NAMES = sorted(path.stem for path in packaged("prompts").glob("ner_*.toml"))


def save(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


# faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({3: 'query = "T: {{text}} {{txt}}"'}, ":4: query: unknown placeholder {{txt}}: did you mean 'text'?"),
        (
            {3: 'query = """', 4: "T: {{text}}", 5: "", 6: 'E: {{ answer }}"""'},
            ":7: query: unknown placeholder {{answer}}: ",
        ),
        ({3: "query = '{{text}} {{}}'"}, ":4: query: unknown placeholder {{}}: "),
        ({3: "query = '{{text}} {{ text | upper }}'"}, ":4: query: unknown placeholder {{text | upper}}: "),
        ({3: "query = '{{text}} {{text.x}}'"}, ":4: query: unknown placeholder {{text.x}}: "),
        ({2: "instruction = '{{text}}'"}, ":3: instruction: unknown placeholder {{text}}: known: types"),
        # The same placeholder is right above, and wrong below.
        (
            {2: "shot = '{{text}} {{answer}}'", 3: "query = '{{text}} {{answer}}'"},
            ":4: query: unknown placeholder {{answer}}",
        ),
        ({2: "query = '{{text}}'", 3: "instruction = 'x {{text}}'"}, ":4: instruction: unknown placeholder {{text}}: "),
        ({2: "note = '''", 3: "query the {{txt}}", 4: "'''", 5: "query = '{{text}} {{txt}}'"}, ":6: query: unknown "),
        (
            {3: 'query = "T: text"'},
            ":4: query: the placeholder {{text}} is not used; without it the model sees no text.",
        ),
        ({4: 'shot = "{{text}}"'}, ":5: shot: the placeholder {{answer}} is not used"),
        ({4: 'shot = "{{answer}}"'}, ":5: shot: the placeholder {{text}} is not used"),
        ({4: 'shot = "{{text}} {{answer}} {{lable}}"'}, ":5: shot: unknown placeholder {{lable}}"),
        ({4: 'instructions = "x"'}, ":5: unknown key 'instructions': did you mean 'instruction'?"),
        ({4: "", 5: '  "shots" = 3'}, ":6: unknown key 'shots': did you mean 'shot'?"),
        ({4: '"" = 1'}, ":5: unknown key '': known: "),
        ({4: "[verbaliser]", 5: 'PER = "x"'}, ":5: unknown key 'verbaliser': did you mean 'verbalizer'?"),
        ({4: "[[verbalizer]]", 5: 'PER = "x"'}, ":5: verbalizer must be a table of texts or lists of texts."),
        ({4: "verbalize = 'x'"}, ":5: unknown key 'verbalize': did you mean 'verbalizer'"),
        ({3: "query = 1"}, ":4: query must be a text."),
        ({4: "separator = ['x']"}, ":5: separator must be a text."),
        ({4: "note.x = 'y'"}, ":5: note must be a text."),
        ({4: "verbalizer = 'x'"}, ":5: verbalizer must be a table of texts or lists of texts."),
        ({4: "", 5: "[verbalizer]", 6: "PER = 3"}, ":6: verbalizer must be a table of texts or lists of texts."),
        ({4: "verbalizer.PER = 3"}, ":5: verbalizer must be a table of texts or lists of texts."),
        ({0: 'task = "qa"'}, ":1: is a prompt for qa, not for ner."),
        ({0: "task = 'NER'"}, ":1: is a prompt for NER, not for ner."),
        ({1: 'answer = "line"'}, ":2: ner has no answer format 'line': did you mean 'lines'"),
        ({1: 'answer = ""'}, ":2: ner has no answer format '': known: inline, json, lines"),
        ({4: 'separator = ""'}, ":5: separator must not be empty."),
        ({3: ""}, ": has no query. A prompt needs task, answer, query."),
        ({0: "", 1: "", 2: "", 3: ""}, ": has no task, answer, query."),
        ({3: 'query = "{{text}}'}, ":4: cannot be read as a prompt ("),
        ({1: "answer = "}, ":2: cannot be read as a prompt ("),
        ({4: "task = 'ner'"}, ":5: cannot be read as a prompt ("),
        ({4: "note = '''x"}, ":5: cannot be read as a prompt ("),
        ({4: "note = " + "1" * 5000}, ": cannot be read as a prompt ("),
        ({4: "note = " + "[" * 5000}, ": cannot be read as a prompt ("),
        ({4: "[verbalizer]", 5: "PER = 'a:b'"}, ": the answer format 'lines' cannot express the type 'a:b'"),
        ({4: "[verbalizer]", 5: "PER = 'loc'"}, ": two types have the same name: "),
    ],
)
def test_a_fault_says_its_line(changes: Mapping[int, str], told: str, file: Path) -> None:
    lines = [*LINES, *[""] * 5]
    for number, line in changes.items():
        lines[number] = line
    save(file, *lines[: max(len(LINES), *(number + 1 for number in changes))])
    with pytest.raises(SettingsError) as raised:
        template.read(file, TASK)
    said = str(raised.value)
    assert said.startswith(str(file)), said
    assert told in said
    if told.startswith(": cannot be read"):
        assert said[len(str(file)) :].partition(": ")[0].lstrip(":").isdigit()


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"mine.toml: cannot be read as a prompt \("):
        template.read(file, TASK)
    with pytest.raises(SettingsError, match=r"mine.toml: cannot be read as a prompt \("):
        template.read(file.with_name("no") / "mine.toml", TASK)


def test_a_file_of_windows_is_read_and_its_lines_counted(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(LINES).encode())
    assert template.read(file, TASK).query == "T: {{text}}\nE:"
    file.write_bytes("\r\n".join([*LINES, "x = 1"]).encode())
    with pytest.raises(SettingsError, match=r"mine\.toml:5: unknown key 'x'"):
        template.read(file, TASK)


@pytest.mark.parametrize("name", ["ner_fwe", "ner_few.tml", "", "no/such.toml", "ner_few.toml", "../prompts/ner_few"])
def test_a_prompt_that_is_not_there_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"--prompt .*: no prompt or .toml file of that name: (did you mean|known)"):
        template.load(name, TASK)


def test_a_folder_is_no_prompt(file: Path) -> None:
    file.mkdir()
    with pytest.raises(SettingsError, match=r"no prompt or \.toml file"):
        template.load(str(file), TASK)


# filling --------------------------------------------------------------------------------------------------------------

NASTY = [
    "{{text}}",
    "{{answer}}",
    "{{ types }}",
    "{{",
    "}}",
    "{{}}",
    "{text}",
    "{0}",
    "%s",
    "%(text)s",
    "$text",
    "${text}",
    "{% for x in y %}",
    "{{ 7 * 7 }}",
    "{# x #}",
    "\\1",
    "\\g<0>",
    "\\n",
    "\\",
    "\x00",
    "\x1b[0m",
    "\r\n",
    "\u2028",
    "\ufeff",
    "\ud800",
    "\udfff",
    "\U0001f600",
    "国",
    "'''",
    '"""',
    "`id`",
]
texts = st.one_of(
    st.lists(st.sampled_from(NASTY), max_size=6).map("".join),
    st.text(st.characters(exclude_categories=["Cn"]), max_size=12),  # lone surrogates included
)


def shown(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


@settings(max_examples=300, deadline=None)
@given(texts, texts, texts)
def test_values_come_out_as_they_went_in(text: str, answer: str, between: str) -> None:
    between = between.replace("{", "").replace("}", "")
    found = template.fill(f"a{{{{text}}}}{between}{{{{  answer }}}}{{{{text}}}}z", {"text": text, "answer": answer})
    assert found == "a" + shown(text) + shown(between) + shown(answer) + shown(text) + "z"
    found.encode()


@pytest.mark.parametrize("unit", ["{{text}}", "{{answer", "{", "\\", "$text", "\x00", "\ud800", "国"])
def test_a_megabyte_is_filled_in_at_once(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    begin = time.process_time()
    assert template.fill("{{text}}|{{answer}}", {"text": text, "answer": text}) == f"{shown(text)}|{shown(text)}"
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("unit", ["{", "{{ ", "{{a", "{{{{}", " ", "{{" + " " * 1000, "}"])
def test_a_template_of_a_megabyte_is_filled_at_once(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    begin = time.process_time()
    assert template.fill(text, {}) == text
    assert time.process_time() - begin < 2


def test_a_prompt_is_its_parts_one_behind_the_other(file: Path) -> None:
    prompt = template.read(save(file, *LINES, "[verbalizer]", 'PER = "person"'), TASK)
    assert (prompt.name, prompt.separator, prompt.shot) == ("mine", "\n\n", "T: {{text}}\nE:{{answer}}")
    assert prompt.instruction_text(TASK) == "Types: LOC, MISC, ORG, person\n\n"
    assert prompt.demonstration(TASK, ADA) == "T: Ada left New York\nE:person: Ada\nLOC: New York\n\n"
    assert prompt.question(TASK, ADA) == "T: Ada left New York\nE:"


def test_what_may_be_left_out_is_left_out(file: Path) -> None:
    prompt = template.read(save(file, *LINES[:2], "query = '{{text}}'", r'separator = "\n--\n"', "[verbalizer]"), TASK)
    assert prompt.instruction_text(TASK) == ""
    assert prompt.demonstration(TASK, ADA) == "Ada left New YorkPER: Ada\nLOC: New York\n--\n"


def test_a_shot_of_its_own_may_use_every_hole(file: Path) -> None:
    save(file, *LINES[:3], "query = '{{types}}{{text}}{{text}}'", "shot = '{{types}}/{{ text}}/{{answer }}'")
    prompt = template.read(file, TASK)
    assert prompt.demonstration(TASK, ADA) == "LOC, MISC, ORG, PER/Ada left New York/PER: Ada\nLOC: New York\n\n"
    assert prompt.question(TASK, ADA) == "LOC, MISC, ORG, PER" + "Ada left New York" * 2


@pytest.mark.parametrize("format", FORMATS)
def test_holes_in_a_text_are_not_filled(format: str, file: Path) -> None:
    save(file, LINES[0], f'answer = "{format}"', *LINES[2:])
    tokens = ["{{answer}}", "{{text}}", "{{types}}", "\ud800", "\\1"]
    example = Example(id="0", inputs={"tokens": tokens}, gold=["B-PER", "I-PER", "O", "B-LOC", "I-LOC"])
    prompt = template.read(file, TASK)
    text = "{{answer}} {{text}} {{types}} \ufffd \\1"
    assert prompt.question(TASK, example) == f"T: {text}\nE:"
    demonstration = prompt.demonstration(TASK, example)
    assert demonstration.startswith(f"T: {text}\nE:")
    written = demonstration.removeprefix(f"T: {text}\nE:").removesuffix("\n\n")
    read = TASK.read_answer(example, written, prompt.form)
    assert (read.value, read.parse_failure) == (example.gold, False)


# records --------------------------------------------------------------------------------------------------------------


def through_json(prompt: Prompt) -> Prompt:
    record: dict[str, Any] = json.loads(json.dumps(prompt.record()))
    return template.from_record(record)


@pytest.mark.parametrize(
    "more", [[], ["separator = '#'", "language = 'de'", "note = 'x'", "[verbalizer]", "PER = 'ä:'"]]
)
def test_a_record_is_the_prompt_again(more: Sequence[str], file: Path) -> None:
    save(file, LINES[0], 'answer = "json"', *LINES[2:], *more)
    prompt = template.read(file, TASK)
    assert through_json(prompt) == prompt


# the files ------------------------------------------------------------------------------------------------------------


def test_there_are_prompts_and_their_names_begin_with_their_task() -> None:
    assert len(NAMES) >= 4 and {"ner_few", "ner_zero"} <= {*NAMES}
    every = [*template.paths()]
    assert [name for name in every if name.startswith("ner_")] == NAMES
    tasks = {name: tomllib.loads(path.read_text())["task"] for name, path in template.paths().items()}
    assert len(every) >= 10 and all(name.startswith(f"{task}_") for name, task in tasks.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_of_ours_can_be_asked_and_read(name: str) -> None:
    prompt = template.load(name, TASK)
    assert (prompt.name, prompt.task) == (name, name.partition("_")[0]) == (name, "ner")
    assert through_json(prompt) == prompt
    assert prompt.language and prompt.note
    names = [prompt.verbalizer[kind] for kind in ("LOC", "MISC", "ORG", "PER")]
    assert not prompt.instruction or ", ".join(map(str, names)) in prompt.instruction_text(TASK)
    question, demonstration = prompt.question(TASK, ADA), prompt.demonstration(TASK, ADA)
    assert "Ada left New York" in question and demonstration.startswith(question)
    written = demonstration.removeprefix(question).split(prompt.separator)[0]
    read = TASK.read_answer(ADA, written, prompt.form)
    assert (read.value, read.parse_failure) == (ADA.gold, False)


@pytest.mark.parametrize("name", NAMES)
def test_a_question_of_ours_ends_where_its_answer_begins(name: str) -> None:
    # A byte-level token holds the space in front of its word: after a lone space at the end no such token can follow.
    assert not template.load(name, TASK).query.endswith((" ", "\t"))


CHINESE = {
    "classification_inference_zh": ("entailment", "neutral", "contradiction"),
    "classification_paraphrase_zh": ("0", "1"),
    "classification_sentiment_zh": ("Negative", "Positive"),
    "classification_topic_zh": ("news_car", "news_edu", "news_finance", "news_game", "news_stock", "news_story"),
    "ner_few_zh": ("address", "company", "government", "name", "position", "scene"),
    "ner_zero_zh": ("CONT", "EDU", "NAME", "ORG", "PRO", "RACE", "TITLE", "LOC"),
    "question_answering_few_zh": (),
    "question_answering_span_zh": (),
    "question_answering_zero_zh": (),
    "relation_extraction_few_zh": ("no_relation",),
    "relation_extraction_zero_zh": ("no_relation",),
    "summarization_few_zh": (),
    "summarization_zero_zh": (),
    "text_generation_few_zh": (),
    "translation_few_zh": (),
    "translation_zero_zh": (),
}
"""Labels of public sets for which each has words."""
ASKED = {"text": "曹雪芹住在北京", "text_pair": "他在北京", "context": "曹雪芹住在北京", "question": "谁？"}


def chinese_task(name: str, labels: Sequence[str]) -> Any:
    if name.startswith("ner"):
        return Task(tag_labels(labels))
    task: Any = load_task(template._raw(template.paths()[name])["task"])
    if name.startswith("relation"):
        return task(LabelSet((*labels, "拥有")))
    if name.startswith("classification"):
        return task(LabelSet(tuple(labels)), pair="text_pair" in template.paths()[name].read_text("utf-8"))
    return task(**({"source_lang": "en", "target_lang": "zh"} if name.startswith("translation") else {}))


def test_every_task_that_can_be_prompted_has_chinese_prompts() -> None:
    found = {name for name, path in template.paths().items() if template._raw(path).get("language") == "zh"}
    assert found == {*CHINESE}
    assert {template._raw(template.paths()[name])["task"] for name in found} == {
        name for name in discovery.names("tasks") if issubclass(load_task(name), PromptableTask)
    }


@pytest.mark.parametrize("name", CHINESE)
def test_a_chinese_prompt_has_chinese_words_for_the_labels_and_reads_what_it_shows(name: str) -> None:
    task = chinese_task(name, CHINESE[name])
    prompt = template.load(name, task)
    words = [prompt.form.verbalizer[label] for label in CHINESE[name]]
    assert all(HAN.search(word) for several in words for word in several) and HAN.search(prompt.note)
    labelled = name.startswith(("classification", "relation"))
    gold: Any = CHINESE[name][0] if labelled else ["曹雪芹"]
    inputs: Any = {key: ASKED[key] for key in task.placeholders if key in ASKED}
    if name.startswith("ner"):
        gold = [f"B-{CHINESE[name][0]}", *[f"I-{CHINESE[name][0]}"] * 2, "O", "O", "O", "O"]
        inputs = {"text": ASKED["text"], "tokens": [*ASKED["text"]], "offsets": [(n, n + 1) for n in range(7)]}
    if name.startswith("relation"):
        inputs = task.from_request({"text": ASKED["text"], "head": "曹雪芹", "tail": "北京"}, "0").inputs
    example = Example(id="0", inputs=inputs, gold=gold)
    question, demonstration = prompt.question(task, example), prompt.demonstration(task, example)
    assert demonstration.startswith(question.rstrip()) and HAN.search(question.replace(ASKED["text"], ""))
    read = task.read_answer(example, demonstration[len(question) :].split(prompt.separator)[0], prompt.form)
    value = read.value if labelled or name.startswith("ner") else [read.value]
    assert (value, read.parse_failure) == (gold, False)


def test_chinese_punctuation_in_an_answer_is_read() -> None:
    task = Task(tag_labels(["PER"]))
    prompt = template.load("ner_few_zh", task)
    example = Example(id="0", inputs={"text": "鲁迅", "tokens": ["鲁", "迅"], "offsets": [(0, 1), (1, 2)]})
    read = task.read_answer(example, "人名：鲁迅", prompt.form)
    assert (read.value, read.parse_failure) == (["B-PER", "I-PER"], False)
    assert not task.read_answer(example, "none。", prompt.form).parse_failure
    answered = chinese_task("question_answering_few_zh", ())
    form = template.load("question_answering_few_zh", answered).form
    assert answered.read_answer(Example(id="0", inputs=ASKED), "没有答案。", form).value == ""


def test_a_prompt_may_lie_in_a_file_or_in_a_plugin_folder(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        for name in ("ner_few", "mine"):
            save(folder / "prompts" / f"{name}.toml", *LINES, f"note = '{folder.name}'")
    dirs = [str(first), str(second), str(tmp_path / "none")]
    assert sorted(template.paths(dirs)) == sorted([*template.paths(), "mine"])
    assert template.load("mine", TASK, dirs).note == "first"  # as of methods, the first folder's
    assert template.load("ner_few", TASK, dirs) == template.load("ner_few", TASK)  # and ours above all
    assert template.load(str(second / "prompts" / "mine.toml"), TASK).note == "second"
    with pytest.raises(SettingsError, match="--prompt mine: no prompt"):
        template.load("mine", TASK)


def test_labels_that_a_prompt_does_not_name_keep_their_names() -> None:
    task = Task(tag_labels(["PER", "corporation"]))
    assert "Types: person, corporation." in template.load("ner_few", task).instruction_text(task)
    with pytest.raises(SettingsError, match=r"ner_few\.toml: two types have the same name"):
        template.load("ner_few", Task(tag_labels(["PER", "Person"])))


def test_an_answer_begins_as_the_demonstrations_show() -> None:
    task = load_task("question_answering")()
    assert template.load("question_answering_span", task).lead == " "
    assert template.load("question_answering_span_zh", task).lead == ""
    ours = Prompt(name="p", task="t", answer="span", query="Answer: ", shot="Answer: {{ answer }}")
    assert ours.lead == "", "the blank ends the query"
