"""The recipe for customer service, run whole on a tiny model: what it leaves, says, and answers."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import customers
import numpy as np
import pytest
import tiny
from conftest import REPOSITORY, call_recipe, forget_accelerate
from forked import Forked
from servers import site

from adapters.applications.customer_service import evaluation, serving
from adapters.applications.customer_service.assistant import Assistant
from adapters.applications.customer_service.conversation import Session
from adapters.applications.customer_service.gate import CLOSED
from adapters.applications.customer_service.phrases import HANDED_OVER, phrase
from adapters.applications.customer_service.store import Store
from adapters.artifacts import artifact
from adapters.cli.main import main
from adapters.core.errors import ArtifactError, BankError
from adapters.models.base_model import open_base
from adapters.serving.bank.bank import AdapterBank

RECIPE = REPOSITORY / "recipes" / "customer_service.py"
pytestmark = pytest.mark.usefixtures("one_thread")


def flags(given: dict[str, str], base: Path, out: Path, *more: str) -> list[str]:
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    return [*words, *customers.FLAGS.split(), "--model_name_or_path", str(base), "--output_dir", str(out), *more]


@pytest.fixture(scope="module")
def learned(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An assistant's folder."""
    folder = tmp_path_factory.mktemp("company")
    more = ("--retriever", "adapter", "--prompted_base", str(tiny.llama(folder / "llama", positions=512)))
    given = flags(customers.company(folder / "data"), tiny_bert, folder / "run", *more)
    forget_accelerate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "RESAMPLES", 100)
        assert call_recipe(RECIPE, given) == 0
    forget_accelerate()
    return folder / "run"


@pytest.fixture(scope="module")
def assistant(learned: Path) -> Assistant:
    return Assistant.load(learned)


def opened(assistant: Assistant, *names: str) -> Assistant:
    """The assistant with these gates open to all, and the others to none."""
    import dataclasses

    policy = type(assistant.policy)(
        {
            name: dataclasses.replace(gate, threshold=0.0 if name in names else CLOSED)
            for name, gate in assistant.policy.gates.items()
        },
        assistant.knowledge,
        assistant.policy.ranking,
    )
    return dataclasses.replace(assistant, policy=policy)


def test_what_it_leaves_are_ordinary_artifacts_scores_and_a_page(learned):
    for name in ("intents", "retriever"):
        card = artifact.verify(learned / name / "artifact")
        assert card["task"]["name"] == "classification" and card["method"]["name"] == "lora"
    scores = json.loads((learned / "scores.json").read_text())
    assert scores["split"] == "test" and set(scores["questions"]) == {"in", "near", "far"}
    names = [one["name"] for one in scores["systems"]]
    others = {"BM25 alone", "embeddings alone", "intent alone", "TF-IDF, search", "few-shot prompting, intent"}
    assert names[0] == "assistant" and others <= {*names}
    for system in scores["systems"]:
        for name, score in system.items():
            assert name == "name" or score["low"] <= score["high"]
    assert {"AUROC, near", "AUROC, far", "FPR at 95 %, far"} <= set(scores["systems"][0])
    page = (learned / "report.html").read_text()
    assert "<svg" in page and "http://" not in page.replace("http://www.w3.org", "")
    notes = json.loads((learned / "assistant.json").read_text())["notes"]
    assert any("old.pdf: cannot be read" in line for line in notes)
    assert any("without a guarantee" in line or "none passes" in line for line in notes)


def test_a_loaded_assistant_finds_what_the_learned_one_found(assistant, learned):
    saved = json.loads((learned / "scores.json").read_text())
    questions = [row["question"] for row in customers.rows(6, 2)]
    found = assistant.find(questions)
    assert [len(one.intents) for one in found] == [3] * len(questions)
    assert all(abs(sum(one.intents.values()) - 1) < 1e-5 for one in found)
    gold = ["template refund" if row["intent"] == "refund" else None for row in customers.rows(6, 2)]
    right = [assistant.policy.reply(one) == own for one, own in zip(found, gold, strict=True) if own]
    assert len(right) == 6 and saved["answer"] == "reply"


def test_embeddings_under_the_adapter_are_those_of_its_model_in_stock_peft(assistant, learned, tiny_bert):
    import peft
    import torch
    import transformers

    base = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3)
    model = peft.PeftModel.from_pretrained(base, learned / "retriever" / "artifact").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert)
    texts = ["Ada lived in London", "Rome"]
    ours = assistant.bank.embed(texts, "retriever")
    with torch.inference_mode():
        for text, vector in zip(texts, ours, strict=True):
            given = tokenizer(text, return_tensors="pt")
            states = model(**given, output_hidden_states=True).hidden_states[-1]
            assert np.allclose(states[0].mean(0).numpy(), vector, atol=1e-5)
    assert not np.allclose(ours, assistant.bank.embed(texts), atol=1e-5)


def test_a_template_asks_for_its_slot_and_is_never_left_half_filled(assistant):
    able = opened(assistant, "the answer")
    outcome = able._reply("template refund", "a refund", Session(id="a", owner="me"), "it matched.", {})
    after = Session(id="a", owner="me", turns=1, question="refund my order", waiting=outcome.target)
    assert outcome.kind == "ask" and outcome.slot == "order_number" and "{" not in outcome.text
    outcome, after = able.respond(after, "it is AB-1234", now=1.0)
    assert (outcome.kind, outcome.text) == ("answer", "Your order AB-1234 is paid back in ten days.")
    outcome, after = able.respond(after, "no, it is CD-9876", now=2.0)
    assert (outcome.kind, outcome.text) == ("answer", "Your order CD-9876 is paid back in ten days.")
    outcome, after = able.respond(after, "hello", now=10_000.0)
    assert after.slots == {}, "half an hour later the slots are forgotten"


def test_nothing_passes_closed_gates_and_the_intent_is_kept(assistant):
    outcome = opened(assistant).ask("where is my card")
    assert (outcome.kind, outcome.text) == ("hand_over", phrase(HANDED_OVER, "where"))
    assert outcome.intent in customers.ASKED and "confidence of the answer" in outcome.numbers
    thanked = opened(assistant).ask("Thanks, bye!")
    assert (thanked.kind, thanked.text) == ("answer", "You are welcome."), "it is no addition to the question before"


def test_two_intents_are_asked_back_and_the_choice_answers(assistant):
    able = opened(assistant, "one of two")
    outcome, after = able.respond(Session(id="a", owner="me"), "where is my card", now=0.0)
    assert outcome.kind == "ask" and len(outcome.choices) == 2
    assert all(choice.replace("_", " ") in outcome.text for choice in outcome.choices)
    outcome, after = able.respond(after, "the first one", now=1.0)
    assert outcome.intent == after.intent and outcome.reason == "the customer chose between two."


def test_documents_answer_with_their_source_where_no_reply_passes(assistant):
    passages = assistant.passages.rank(["where is the car park"])
    assert len(passages[0]) == 1
    decided = opened(assistant, "the answer").policy
    found = assistant.find(["where is the car park"])[0]
    assert decided._passage(found) == 0
    assert assistant.knowledge.passages[0].source == "parking.md, Parking"


def test_the_command_asks_in_a_session_of_one_owner(learned, capsys, tmp_path):
    words = ["customer_service", str(learned), "--sessions", str(tmp_path / "s.db"), "--session", "7"]
    assert main([*words, "--owner", "ada", "--json", "--ask", "where is my card", "thanks"]) == 0
    outcomes = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(outcomes) == 2 and all(one["kind"] in ("answer", "ask", "hand_over") for one in outcomes)
    assert main([*words, "--owner", "eve", "--ask", "what did ada ask"]) == 2
    assert "There is no session '7' of yours" in capsys.readouterr().err
    assert len(Store(str(tmp_path / "s.db")).history("7", "ada")) == 2


def test_a_servers_bank_answers_as_the_assistants_own(learned, assistant, tiny_bert, tmp_path):
    made = serving.application(learned, str(tmp_path / "s.db"))
    bank = AdapterBank(made.base)
    with site(bank, applications=[made]) as served:
        asked = {"headers": {"x-customer-key": "a-secret-of-ada-0"}, "json": {"text": "where is my card"}}
        answer = served.ask("POST", "/v1/conversations/1", **asked).json()
        outcome, _ = assistant.respond(Session(id="1", owner="ada"), "where is my card")
        assert (answer["kind"], answer["text"], answer["intent"]) == (outcome.kind, outcome.text, outcome.intent)
        names = [one["name"] for one in served.ask("GET", "/v1/adapters").json()["adapters"]]
        assert names == ["intents", "retriever"]
        page = served.ask("GET", "/customer_service/")
        assert "default-src 'none'" in page.headers["content-security-policy"] and "chat.js" in page.text
        with pytest.raises(BankError, match="intents"):
            Assistant.load(learned, bank)


@pytest.mark.slow
def test_the_command_serves_an_application_on_its_base(learned, tmp_path):
    database = f"sqlite:///{tmp_path / 's.db'}"
    words = ["serve", "--application", f"customer_service={learned}", "--port", "0", "--database", database]
    process = Forked(words, tmp_path / "log")
    try:
        process.until_it_prints('"ready"')
        url = next(json.loads(line)["url"] for line in process.printed().splitlines() if '"listening"' in line)
        sent = urllib.request.Request(f"{url}/v1/conversations/1", b'{"text": "where is my card"}')
        for name, value in (("Content-Type", "application/json"), ("X-Customer-Key", "a-secret-of-ada-0")):
            sent.add_header(name, value)
        with urllib.request.urlopen(sent, timeout=30) as answer:
            assert json.load(answer)["number"] == 1
    finally:
        process.terminate()
    assert process.wait(60) == 0 and (tmp_path / "s.db").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("customer_servic", "no such application: did you mean 'customer_service'?"),
        ("base", "no such application: "),
        ("customer_service", "holds no assistant"),
    ],
)
def test_an_application_that_cannot_be_served_is_refused(name, message, tmp_path, capsys):
    assert main(["serve", "--application", f"{name}={tmp_path}"]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_was_learned_is_not_learned_again(learned, tiny_bert, capsys):
    given = customers.FLAGS.split()
    data = learned.parent / "data"
    files = {name: str(data / f"{name.partition('_')[0]}.jsonl") for name in ("train_file", "test_file")}
    files |= {name: str(data / f"{name.partition('_')[0]}.toml") for name in ("templates_file", "slots_file")}
    files["documents"] = str(data / "handbook")
    before = (learned / "intents" / "scores.json").stat().st_mtime_ns
    assert call_recipe(RECIPE, flags(files, tiny_bert, learned, "--retriever", "adapter")) == 0
    assert given and (learned / "intents" / "scores.json").stat().st_mtime_ns == before
    assert capsys.readouterr().err.count("learned before") == 2


def wrong(tmp_path: Path, base: Path, rows: Sequence[dict[str, object]], *more: str) -> list[str]:
    path = customers.write(tmp_path / "wrong.jsonl", rows)
    return ["--train_file", str(path), "--model_name_or_path", str(base), "--output_dir", str(tmp_path / "run"), *more]


ONE = [{"question": f"where is card {n}", "intent": "card"} for n in range(20)]
TWO = [*ONE, {"question": "refund", "intent": "refund"}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "", "answer": "yes"}, {"question": "is it", "answer": "yes"}], "an answer without a question"),
        (ONE, "there is one intent only (card)"),
        ([{"question": "who"}], "neither intents (intent, label) nor answers"),
        ([{"messages": [{"role": "user", "content": "who"}]}], "no question with an intent or an answer"),
        ([{"question": "a", "intent": None}, *TWO], "a question with neither intent nor answer"),
        ([{"question": "a", "intent": "b", "scope": "outer"}, *ONE], "scope 'outer'"),
    ],
)
def test_wrong_questions_are_refused_in_words_that_help(rows, message, tmp_path, tiny_bert, capsys):
    assert call_recipe(RECIPE, wrong(tmp_path, tiny_bert, rows)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("templates", 'card = "Card {number}."', "has the slot {number}, which is in no --slots_file"),
        ("templates", 'car = "Yes."', "no question has this intent: did you mean 'card'"),
        ("templates", 'card = "Card {number"', "single brace"),
        ("templates", 'card = "Card {number.__class__}"', "is no name of a slot"),
        ("slots", '[number]\npattern = "["', "its pattern is no regular expression"),
        ("slots", '[number]\nask = "Which?"', "has neither pattern nor entity"),
        ("slots", '[number]\nentity = "PER"', "there is no --ner_adapter"),
    ],
)
def test_wrong_templates_are_refused_in_words_that_help(file, text, message, tmp_path, tiny_bert, capsys):
    (tmp_path / f"{file}.toml").write_text(text)
    more = [f"--{file}_file", str(tmp_path / f"{file}.toml")]
    assert call_recipe(RECIPE, wrong(tmp_path, tiny_bert, TWO, *more)) == 2
    assert message in capsys.readouterr().err


def test_the_entities_of_a_ner_adapter_fill_slots_and_a_type_that_it_lacks_is_refused(tiny_bert, tmp_path, capsys):
    text, base = "Ada Lovelace lived in London", open_base(str(tiny_bert))
    for seed in range(9):  # weights are random, and some find no person
        ner, bank = tmp_path / f"ner {seed}", AdapterBank(str(tiny_bert))
        bank.load("ner", tiny.adapter(ner, "lora", base, tiny.tagging(), seed=seed))
        (answer,) = bank.predict([{"adapter": "ner", "inputs": {"text": text}}])
        people = [one["text"] for one in answer["output"]["entities"] if one["label"] == "PER"]
        if people:
            break
    assert people
    given = {
        "train_file": str(customers.write(tmp_path / "train.jsonl", customers.rows(12, 1))),
        "slots_file": str(tmp_path / "slots.toml"),
        "templates_file": str(tmp_path / "templates.toml"),
        "ner_adapter": str(ner),
    }
    (tmp_path / "templates.toml").write_text('refund = "It is on its way, {who}."')
    for entity, message in (
        ("PERS", "the entity type 'PERS' is unknown: did you mean 'PER'?"),
        ("ORG", "known: LOC, PER"),
    ):
        (tmp_path / "slots.toml").write_text(f'[who]\nentity = "{entity}"\nask = "Who are you?"\n')
        assert call_recipe(RECIPE, flags(given, tiny_bert, tmp_path / "run", "--retriever", "base")) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    (tmp_path / "slots.toml").write_text('[who]\nentity = "PER"\nask = "Who are you?"\n')
    forget_accelerate()
    assert call_recipe(RECIPE, flags(given, tiny_bert, tmp_path / "run", "--retriever", "base")) == 0
    forget_accelerate()
    assert artifact.verify(tmp_path / "run" / "ner" / "artifact")["task"]["name"] == "ner"
    able = Assistant.load(tmp_path / "run")
    assert sorted(able.bank.names()) == ["intents", "ner"]
    waiting = Session(id="a", owner="me", turns=1, question="refund my order", waiting="template refund")
    outcome, after = able.respond(waiting, text, now=1.0)
    assert (outcome.kind, outcome.text) == ("answer", f"It is on its way, {people[-1]}.")
    assert after.slots == {"who": people[-1]}


def test_a_folder_without_an_assistant_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="holds no assistant"):
        Assistant.load(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path, tiny_bert, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    assert call_recipe(RECIPE, wrong(tmp_path, tiny_bert, TWO)) == 2
    assert "holds files of others (thesis.txt)" in capsys.readouterr().err


def test_an_assistant_of_other_adapters_or_damaged_files_is_refused(learned, tmp_path):
    for name, text in (("assistant.json", '"retriever": "'), ("vectors.safetensors", "")):
        folder = tmp_path / name
        shutil.copytree(learned, folder)
        path = folder / name
        path.write_bytes(path.read_bytes().replace(text.encode(), text.encode() + b"0") if text else b"0" * 9)
        with pytest.raises(ArtifactError, match="retriever was trained again" if text else "holds no assistant"):
            Assistant.load(folder)


def test_a_missing_library_is_named_with_its_extra(tmp_path, tiny_bert, capsys, monkeypatch):
    monkeypatch.setattr("adapters.applications.customer_service.settings.LIBRARIES", ("bm25s", "no_such_library"))
    assert call_recipe(RECIPE, wrong(tmp_path, tiny_bert, TWO)) == 2
    said = capsys.readouterr().err
    assert "needs no_such_library: pip install -e '" in said and "[customer-service]'" in said


def test_an_encoder_that_is_to_write_is_refused_before_anything_is_learned(tmp_path, tiny_bert, capsys):
    assert call_recipe(RECIPE, wrong(tmp_path, tiny_bert, TWO, "--generate")) == 2
    assert "is of the kind encoder. Use a causal base" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
