"""Decisions by two gates, answers written from passages, slots filled by entities, and scores of the outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace as settings
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import FIRST
from desk import FAQ, NoAdapters, assistant, policy
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from adapters.applications.customer_service import templates
from adapters.applications.customer_service.assistant import NER, Assistant
from adapters.applications.customer_service.conversation import LONGEST, Session, sound
from adapters.applications.customer_service.evaluation import evaluate
from adapters.applications.customer_service.knowledge import Knowledge, Question, Questions, Reply
from adapters.applications.customer_service.policy import GATES, MAIN, TWO, Policy
from adapters.applications.customer_service.ranking import Ranking, SearchResult
from adapters.applications.customer_service.retriever import Match
from adapters.applications.customer_service.store import Store
from adapters.applications.customer_service.written import unsupported, written
from adapters.core.errors import ArtifactError
from adapters.models.base_model import open_base
from adapters.serving.bank.bank import AdapterBank

pytestmark = pytest.mark.usefixtures("one_thread")
INTENTS = Knowledge(questions=Questions([Question(text="a", intent="card_lost"), Question(text="b", intent="refund")]))


def match(target: str, score: float) -> Match:
    return Match(target=target, score=score, cosine=score, lexical=score, text=f"text of {target}")


FOUND = SearchResult(matches=[match("r2", 0.9), match("r1", 0.8), match("r3", 0.1)], passages=[match("0", 0.5)])
NAMED = SearchResult(intents={"refund": 0.6, "card_lost": 0.4}, matches=[match("refund", 0.9)])


@pytest.mark.parametrize(
    ("knowledge", "found", "opened", "kind", "what"),
    [
        (FAQ, FOUND, [MAIN], "answer", "r2"),
        (FAQ, FOUND, [TWO], "ask", ("r2", "r1")),
        (FAQ, FOUND, [], "hand_over", None),
        (FAQ, SearchResult(), [MAIN], "hand_over", None),
        (INTENTS, NAMED, [MAIN], "answer", "refund"),
        (INTENTS, NAMED, [TWO], "ask", ("refund", "card_lost")),
        (INTENTS, NAMED, [], "hand_over", None),
    ],
)
def test_the_first_gate_that_opens_decides(
    knowledge: Knowledge, found: SearchResult, opened: Sequence[str], kind: str, what: Any
) -> None:
    decision = policy(knowledge, *opened).decide(found)
    assert (decision.kind, decision.choices or decision.target) == (kind, what)
    assert decision.intent == next(iter(found.intents), None)
    assert {"confidence of the answer", "threshold of one of two", "score"} <= set(decision.numbers) and decision.reason


def test_what_is_right_depends_on_the_gate_and_nothing_is_right_out_of_scope() -> None:
    of = policy(FAQ)
    asked = Question(text="x", reply="r1")
    assert [of.right(name, asked, FOUND) for name in GATES] == [False, True]
    assert of.right(MAIN, replace(asked, reply="r2"), FOUND)
    outside = Question(text="x", scope="near", reply="r2")
    assert not any(of.right(name, outside, FOUND) for name in GATES)
    named = Question(text="x", intent="card_lost")
    assert [policy(INTENTS).right(name, named, NAMED) for name in GATES] == [False, True]


TEMPLATES = Knowledge(
    questions=Questions(
        [Question(text="a", intent="card_lost", reply="t1"), Question(text="b", intent="refund", reply="t2")]
    ),
    replies={
        name: Reply(id=name, versions=(name,), intent=intent)
        for name, intent in (("t1", "card_lost"), ("t2", "refund"))
    },
)


@pytest.mark.parametrize("right", ["t2", "t1"])
def test_dev_weighs_the_intent_against_the_match(right: str) -> None:
    found = SearchResult(intents={"refund": 0.9, "card_lost": 0.1}, matches=[match("t1", 0.9), match("t2", 0.1)])
    intent = {"t1": "card_lost", "t2": "refund"}[right]
    asked = [Question(text="x", intent=intent, reply=right)] * 3
    half = (asked, [found] * 3)
    tuned = Policy.tuned(TEMPLATES, [half, half], settings(max_wrong=0.05, max_wrong_asked=0.2, promise=0.95))
    assert tuned.reply(found) == right and tuned.two(found)[0] == tuned.decide(found).intent == intent


def test_weights_are_those_of_the_highest_likelihood() -> None:
    """Drawn with known weights; a choice of two is scikit-learn's logistic regression."""
    generator, true, rows = np.random.default_rng(0), (0.6, 12.0), 20000
    shares, scores = generator.uniform(0.05, 0.95, rows), generator.uniform(0, 1, (rows, 2)) / 4
    values = np.stack([np.log(shares / (1 - shares)), scores[:, 0] - scores[:, 1]], -1)
    first = generator.random(rows) < 1 / (1 + np.exp(-values @ np.array(true)))
    found = [
        SearchResult(intents={"card_lost": p, "refund": 1 - p}, matches=[match("card_lost", a), match("refund", b)])
        for p, (a, b) in zip(shares, scores, strict=True)
    ]
    asked = [Question(text="x", intent="card_lost" if one else "refund") for one in first]
    weights = Ranking.fitted(INTENTS, asked, found).weights
    logistic = LogisticRegression(C=np.inf, fit_intercept=False).fit(values, first)
    np.testing.assert_allclose(weights, logistic.coef_[0], rtol=0.01)
    np.testing.assert_allclose(weights, true, rtol=0.05)


def test_without_questions_of_dev_both_count_and_an_intent_without_a_template_leaves_it_to_the_matches() -> None:
    both = SearchResult(
        intents={"refund": 0.6, "card_lost": 0.4}, matches=[match("card_lost", 0.5), match("refund", 0.4)]
    )
    assert [*Ranking.fitted(INTENTS, [], []).order(both)] == ["card_lost", "refund"]
    assert sum(Ranking(INTENTS).order(both).values()) == pytest.approx(1)
    several = Knowledge(
        questions=Questions([Question(text=name, intent="refund", reply=name) for name in ("r1", "r2")]),
        replies={name: Reply(id=name, versions=(name,)) for name in ("r1", "r2")},
    )
    assert [*Ranking(several).order(replace(both, matches=[match("r2", 0.5)]))] == ["r2"]
    assert Ranking(several).order(SearchResult()) == {}


def test_an_intent_that_was_corrected_is_not_offered_again_by_another_of_its_replies() -> None:
    replies = {"r1": "refund", "r2": "refund", "r3": "card_lost"}
    knowledge = Knowledge(
        questions=Questions([Question(text=name, intent=intent, reply=name) for name, intent in replies.items()]),
        replies={name: Reply(id=name, versions=(name,)) for name in replies},
    )
    able = assistant(NoAdapters(), knowledge)
    found = SearchResult(
        intents={"refund": 0.9, "card_lost": 0.1}, matches=[match("r1", 0.8), match("r2", 0.79), match("r3", 0.5)]
    )
    left = able._without(found, ["r1", "refund"])
    assert able.policy.reply(left) == "r3" and able.policy.two(left) == ["card_lost"]


def test_the_intent_of_an_answer_is_its_own_or_else_the_likeliest() -> None:
    knowledge = Knowledge(
        questions=Questions([Question(text="a", reply="r1"), Question(text="b", intent="refund", reply="r2")]),
        replies={name: Reply(id=name, versions=(name,)) for name in ("r1", "r2")},
    )
    found = SearchResult(intents={"card_lost": 0.9, "refund": 0.1}, matches=[match("r1", 0.9), match("r2", 0.1)])
    assert policy(knowledge, MAIN).decide(found).intent == "card_lost"
    other = SearchResult(intents={"card_lost": 0.9, "refund": 0.1}, matches=[match("r2", 0.9), match("r1", 0.1)])
    assert policy(knowledge, MAIN).decide(other).intent == "refund"


def test_asking_back_is_set_on_what_is_not_answered() -> None:
    generator = np.random.default_rng(0)

    def half(count: int) -> tuple[list[Question], list[SearchResult]]:
        """Questions of which the surest are answered right, the next are of the second reply, others of none."""
        questions, found = [], []
        for score in generator.random(count):
            own = "r2" if score > 0.6 else "r1" if score > 0.3 else "r3"
            questions.append(Question(text="x", reply=own))
            found.append(SearchResult(matches=[match("r2", score), match("r1", score / 2), match("r3", 0.0)]))
        return questions, found

    asked = settings(max_wrong=0.05, max_wrong_asked=0.2, promise=0.95)
    tuned = Policy.tuned(FAQ, [half(400), half(400)], asked)
    assert tuned.gates[MAIN].promised and tuned.gates[TWO].promised
    assert tuned.gates[MAIN].passed + tuned.gates[TWO].passed < 400
    scores = (0.05, 0.55, 0.95)
    found = [SearchResult(matches=[match("r2", s), match("r1", s / 2), match("r3", 0.0)]) for s in scores]
    kinds = {tuned.decide(one).kind: score for one, score in zip(found, scores, strict=True)}
    assert kinds == {"hand_over": 0.05, "ask": 0.55, "answer": 0.95}


def test_a_past_reply_is_given_as_it_was_with_its_place() -> None:
    outcome = assistant(NoAdapters(), FAQ, MAIN).ask("money back")
    assert (outcome.text, outcome.source) == ("In ten days {really}.", "faq.csv:r2")


def test_two_replies_are_asked_back_by_the_questions_that_they_answered() -> None:
    able = assistant(NoAdapters(), FAQ, TWO)
    outcome, after = able.respond(Session(id="a", owner="b"), "where is the money card")
    assert outcome.kind == "ask" and {*outcome.choices} == {"r1", "r2"}
    assert "“where is my card”" in outcome.text and "“money back”" in outcome.text
    outcome, _ = able.respond(after, "where is my card")
    assert (outcome.kind, outcome.text) == ("answer", "It takes five days.")


def passing(able: Assistant) -> Assistant:
    """The assistant whose policy lets passages through, and no reply."""
    able.policy._passage = lambda found: 0  # type: ignore[method-assign]
    return able


def test_a_passage_answers_with_its_heading_and_what_is_written_needs_its_words() -> None:
    documents = replace(FAQ, replies=FAQ.replies)
    outcome = passing(assistant(NoAdapters(), documents)).ask("where do i park the car")
    assert (outcome.kind, outcome.source) == ("answer", "a.md, Parking")
    said = "It is behind the house."
    outcome = passing(assistant(NoAdapters(said), documents, generate=True)).ask("where do i park the car")
    assert (outcome.kind, outcome.text, outcome.source) == ("answer", said, "a.md, Parking")
    for made_up in ("It is behind the church.", "", "Behind the house, for 5 euros."):
        outcome = passing(assistant(NoAdapters(made_up), documents, generate=True)).ask("where do i park the car")
        assert outcome.kind == "hand_over" and "has words that they lack" in outcome.reason


@given(st.lists(st.sampled_from(["car", "park", "house", "the", "church", "5"]), max_size=6))
def test_an_answer_is_supported_only_if_all_its_words_are(parts: list[str]) -> None:
    assert {*unsupported(" ".join(parts), FAQ.passages)} == {*parts} & {"church", "5"}


def test_a_real_base_writes_and_what_it_makes_up_is_not_given(tmp_path: Path) -> None:
    bank = AdapterBank(str(tiny.llama(tmp_path / "llama", positions=512)))
    text = written(bank, "where is the car park", FAQ.passages)
    assert text is None or not unsupported(text, FAQ.passages)


def test_entities_of_an_adapter_fill_slots(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = AdapterBank(str(tiny_bert))
    bank.load(NER, tiny.adapter(tmp_path / "ner", "lora", open_base(str(tiny_bert)), tiny.tagging()))
    slots = {"who": templates.Slot(name="who", entity="PER")}
    able = assistant(bank, FAQ, slots=slots)
    (answer,) = bank.predict([{"adapter": NER, "inputs": {"text": " ".join(FIRST)}}])
    found = {one["label"]: one["text"] for one in answer["output"]["entities"]}
    assert able._slots_in(" ".join(FIRST)) == ({"who": found["PER"]} if "PER" in found else {})


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.pop("gates"),
        lambda record: record["gates"].popitem(),
        lambda record: record["gates"].update({name: {} for name in record["gates"]}),
        lambda record: record.pop("weights"),
        lambda record: record.update(weights=[1.0]),
        lambda record: record.update(weights=None),
    ],
)
def test_damaged_thresholds_are_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads(json.dumps(assistant(NoAdapters(), FAQ, MAIN).policy.record()))
    assert json.loads(json.dumps(Policy.of_record(record, FAQ).record())) == record
    change(record)
    with pytest.raises(ArtifactError, match="the thresholds of the assistant are damaged"):
        Policy.of_record(record, FAQ)


def test_outcomes_are_counted_in_and_out_of_scope() -> None:
    asked = [
        Question(text="where is my card", reply="r1"),
        Question(text="money back", reply="r2"),
        Question(text="zzz qqq", reply="r3"),
        Question(text="hi", scope="far"),
    ]
    found = evaluate(assistant(NoAdapters(), FAQ, MAIN), asked)
    outcomes = found["outcomes"]
    assert outcomes["answer, in scope"]["value"] == outcomes["answer, out of scope"]["value"] == 1
    wrong = 1 + (found["systems"][0]["accuracy"]["value"] < 1)
    assert outcomes["wrong answers given"]["value"] == pytest.approx(wrong / 4)
    assert found["questions"] == {"far": 1, "in": 3}
    share, right = found["curves"]["assistant"][-1]
    assert (share, right) == (1.0, pytest.approx(1 - wrong / 4))
    assert evaluate(assistant(NoAdapters(), FAQ), asked)["outcomes"]["hand_over, in scope"]["value"] == 1


HOSTILE = [
    "<script>alert(1)</script>",
    "\x00\x1b[2J\ud800",
    "x" * 1_000_000,
    "{order.__class__}",
    "'; DROP TABLE turns; --",
    "🃏" * 99,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_written_is_answered_and_kept_as_text(text: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s.db"))
    outcome, session = assistant(NoAdapters(), FAQ, MAIN).respond(store.open("s", "ada"), text)
    store.add(session, text, outcome.record())
    (row,) = store.history("s", "ada")
    assert row["asked"] == sound(text) and len(row["asked"]) <= LONGEST
    assert store.open("s", "ada") == session
    assert outcome.text in {one.text for one in FAQ.replies.values()}
