"""Metrics of written texts against the libraries and scripts whose numbers they give."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from compared import compared
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.evaluation.metrics.base.metric import load_metric
from adapters.evaluation.significance import bootstrap

WORDS = [
    "the",
    "a",
    "an",
    "cat",
    "sat",
    "on",
    "mat",
    "Mat.",
    "dog's",
    "U.S.",
    "308",
    "6½",
    "half-time",
    "Über",
    "für",
    "中文",
    "文",
    ",",
    ";",
    "'",
    "$5",
    "\n",
    "",
    "A",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
REFERENCES = st.lists(TEXTS.filter(str.strip), min_size=1, max_size=3)
CORPORA = st.lists(st.tuples(TEXTS, REFERENCES), min_size=1, max_size=6)


def sums(name: str, corpus: list[tuple[str, list[str]]]) -> np.ndarray:
    metric = load_metric(name, ())
    return metric.count_all([gold for _, gold in corpus], [said for said, _ in corpus]).sum(0)


def scores(name: str, corpus: list[tuple[str, list[str]]]) -> dict[str, float]:
    return {key: float(value) for key, value in load_metric(name, ()).scores(sums(name, corpus)).items()}


# bleu and chrf --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(CORPORA)
def test_chrf_is_sacrebleus_of_the_corpus(corpus: list[tuple[str, list[str]]]) -> None:
    from sacrebleu.metrics.chrf import CHRF

    most = max(len(gold) for _, gold in corpus)
    streams = [[gold[i] if i < len(gold) else None for _, gold in corpus] for i in range(most)]
    theirs = CHRF().corpus_score([said for said, _ in corpus], streams).score
    assert scores("chrf", corpus)["chrf"] == pytest.approx(theirs / 100, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(CORPORA, st.booleans())
def test_bleu_is_sacrebleus_of_the_corpus(corpus: list[tuple[str, list[str]]], chinese: bool) -> None:
    from sacrebleu.metrics.bleu import BLEU

    tidy = [(said, [re.sub("[中文]", "", one) + (" 文" if chinese else "") for one in gold]) for said, gold in corpus]
    most = max(len(gold) for _, gold in tidy)
    streams = [[gold[i] if i < len(gold) else None for _, gold in tidy] for i in range(most)]
    theirs = BLEU(tokenize="zh" if chinese else "13a").corpus_score([said for said, _ in tidy], streams).score
    assert scores("bleu", tidy)["bleu"] == pytest.approx(theirs / 100, abs=1e-12)


def test_a_chinese_translation_earns_its_characters() -> None:
    near, far = "我们今天去公园看花", "他不喜欢这本书"
    assert scores("bleu", [(near, ["我们昨天去公园看花"])])["bleu"] > 0.4
    assert scores("bleu", [(far, ["我们昨天去公园看花"])])["bleu"] == 0


def test_the_bleu_of_a_corpus_is_no_mean_of_sentences() -> None:
    one, other = ("a b c d e", ["a b c d e"]), ("x", ["y z"])
    mean = np.mean([scores("bleu", [part])["bleu"] for part in (one, other)])
    assert abs(scores("bleu", [one, other])["bleu"] - mean) > 0.05


# rouge ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(CORPORA)
def test_rouge_of_english_is_that_of_rouge_score(corpus: list[tuple[str, list[str]]]) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    plain = [
        (said.encode("ascii", "ignore").decode(), [one.encode("ascii", "ignore").decode() for one in gold])
        for said, gold in corpus
    ]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    theirs = [scorer.score_multi(gold, said) for said, gold in plain]
    ours = scores("rouge", plain)
    for kind in ("rouge1", "rouge2", "rougeL"):
        assert ours[kind] == pytest.approx(np.mean([one[kind].fmeasure for one in theirs]), abs=1e-6)


def test_letters_of_other_scripts_are_words_for_rouge() -> None:
    assert scores("rouge", [("für Über", ["Über für"])]) == {"rouge1": 1.0, "rouge2": 0.0, "rougeL": 0.5}
    assert scores("rouge", [("中文好", ["中文"])])["rouge1"] == pytest.approx(0.8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("今天去公园看花NBA3 ，。", max_size=12), st.text("今天去公园看花NBA3 ，。", max_size=12)),
        max_size=4,
    )
)
def test_rouge_of_chinese_is_that_of_rouge_score_with_its_characters_as_words(pairs: list[tuple[str, str]]) -> None:
    """rouge_score's own tokenizer drops all of Chinese."""
    from rouge_score.rouge_scorer import RougeScorer

    class Characters:
        def tokenize(self, text: str) -> list[str]:
            return re.findall("[今天去公园看花]|[a-z0-9]+", text.lower())

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Characters())
    for said, gold in pairs:
        theirs, ours = scorer.score(gold, said), scores("rouge", [(said, [gold])])
        for kind in ("rouge1", "rouge2", "rougeL"):
            assert ours[kind] == pytest.approx(theirs[kind].fmeasure, abs=1e-6)


# answers --------------------------------------------------------------------------------------------------------------


def plainly(text: str) -> str:
    """The four steps of SQuAD's script, one after the other."""
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def official(gold: str, said: str) -> tuple[int, float]:
    wanted, found = plainly(gold).split(), plainly(said).split()
    same = sum((Counter(wanted) & Counter(found)).values())
    if not wanted or not found:
        f1 = float(wanted == found)
    elif not same:
        f1 = 0.0
    else:
        precision, recall = same / len(found), same / len(wanted)
        f1 = 2 * precision * recall / (precision + recall)
    return int(plainly(gold) == plainly(said)), f1


@settings(max_examples=100, deadline=None)
@given(CORPORA)
def test_answers_score_as_by_squads_script(corpus: list[tuple[str, list[str]]]) -> None:
    spaced = [(said.replace("中文", "x"), [one.replace("中文", "x") for one in gold]) for said, gold in corpus]
    counted = [(said, [one for one in gold if plainly(one)] or [""]) for said, gold in spaced]
    exact = [max(official(one, said)[0] for one in gold) for said, gold in counted]
    f1 = [max(official(one, said)[1] for one in gold) for said, gold in counted]
    found = scores("answer_f1", spaced)
    assert found["exact_match"] == pytest.approx(np.mean(exact))
    assert found["f1"] == pytest.approx(np.mean(f1), abs=1e-6)


def test_odd_answers_score_as_by_squad_2s_script() -> None:
    """240 pairs with the scores that its evaluation script gives, of golds that normalise to nothing too."""
    pairs = [json.loads(line) for line in (Path(__file__).parent / "squad_pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == 240
    for pair in pairs:
        found = scores("answer_f1", [(pair["said"], pair["gold"])])
        assert found["exact_match"] == pair["exact"], pair
        assert found["f1"] == pytest.approx(pair["f1"], abs=1e-6), pair


def test_a_question_without_an_answer_is_answered_by_nothing_alone() -> None:
    assert scores("answer_f1", [("", [])]) == {"exact_match": 1.0, "f1": 1.0}
    assert scores("answer_f1", [("Oslo", [])]) == {"exact_match": 0.0, "f1": 0.0}
    assert scores("answer_f1", [("", ["Oslo"])]) == {"exact_match": 0.0, "f1": 0.0}


def test_rows_tell_questions_with_and_without_an_answer_apart() -> None:
    metric = load_metric("answer_f1", ())
    (both,) = metric.sections(sums("answer_f1", [("Oslo", ["Oslo"]), ("Rome", []), ("", [])]))
    assert dict(both.rows) == {
        "with an answer": (1.0, 1.0, 1.0),
        "without an answer": (0.5, 0.5, 2.0),
        "micro avg": (pytest.approx(2 / 3), pytest.approx(2 / 3), 3.0),
    }
    (one,) = metric.sections(sums("answer_f1", [("Oslo", ["Oslo"])]))
    assert [name for name, _ in one.rows] == ["with an answer", "micro avg"]


def test_chinese_answers_share_characters() -> None:
    assert scores("answer_f1", [("308分。", ["308分"])]) == {"exact_match": 1.0, "f1": 1.0}
    assert scores("answer_f1", [("北京市", ["北京"])])["f1"] == pytest.approx(0.8)


# Chinese answers ------------------------------------------------------------------------------------------------------


def test_chinese_answers_score_as_by_cmrcs_script() -> None:
    """56 pairs with the scores that CMRC 2018's evaluation script gives."""
    pairs = [json.loads(line) for line in (Path(__file__).parent / "cmrc_pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == 56
    for pair in pairs:
        found = scores("cmrc_f1", [(pair["said"], pair["gold"])])
        assert found["exact_match"] == pair["exact"], pair
        assert found["f1"] == pytest.approx(pair["f1"], abs=2e-6), pair


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, "R&B", "(2.5%)", "1,000", "90°f", "[x]", '"q"', "25℃"])).map(" ".join))
def test_words_of_other_letters_are_those_of_nltk(text: str) -> None:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    from adapters.evaluation.metrics.cmrc_f1 import _tokens

    left = " ".join(re.sub("[中文:-]", "", text.lower()).split())  # the script removes these before it cuts words
    assert _tokens(left) == NLTKWordTokenizer().tokenize(left)


def test_a_question_without_an_answer_is_answered_by_nothing_in_chinese_too() -> None:
    assert scores("cmrc_f1", [("", [])]) == {"exact_match": 1.0, "f1": 1.0}
    assert scores("cmrc_f1", [("北京", [])]) == {"exact_match": 0.0, "f1": 0.0}


# all of them ----------------------------------------------------------------------------------------------------------

NAMES = ("answer_f1", "bleu", "chrf", "cmrc_f1", "rouge")
GOOD = [(f"the cat sat on mat {n} of the house", [f"the cat sat on mat {n} of the house"]) for n in range(20)]
WORSE = [(said if n % 3 else "a dog", gold) for n, (said, gold) in enumerate(GOOD)]


@pytest.mark.parametrize("name", NAMES)
def test_intervals_and_paired_tests_see_the_better_one(name: str) -> None:
    metric = load_metric(name, ())
    golds = [gold for _, gold in GOOD]
    good, worse = (metric.count_all(golds, [said for said, _ in corpus]) for corpus in (GOOD, WORSE))
    low, high = bootstrap(metric, worse, resamples=200)[metric.main]
    assert 0 < low < float(metric.scores(worse.sum(0))[metric.main]) < high < 1
    held = compared(metric, good[None], worse[None], seeded=False)
    assert held.difference > 0 and held.low > 0 and held.p < 0.05


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(corpora=st.lists(CORPORA, min_size=3, max_size=3))
def test_a_mean_over_seeds_is_not_rounded(name: str, corpora: list[list[tuple[str, list[str]]]]) -> None:
    """A comparison scores the mean of its seeds' counts; all these scores are of ratios, so size changes nothing."""
    metric = load_metric(name, ())
    total = np.sum([sums(name, corpus) for corpus in corpora], axis=0)
    whole, mean = (float(metric.scores(given)[metric.main]) for given in (total, total / 3))
    smoothed = name == "bleu" and not total[3:7].all()  # with a share of the number of n-grams, which is smaller here
    assert mean == pytest.approx(whole, abs=1e-9, nan_ok=True) or smoothed


@pytest.mark.slow
def test_equal_predictors_of_several_seeds_differ_as_often_as_the_level_says() -> None:
    """chrF of three seeds; truncated sums differed at 5 % in 28 of 100 such comparisons."""
    metric, draw, found = load_metric("chrf", ()), np.random.default_rng(0), 0
    rounds, examples = 150, 60
    for seed in range(rounds):
        gold = draw.poisson(12, (examples, 6)) + 1

        def runs(gold: np.ndarray = gold) -> np.ndarray:
            seeds = []
            for _ in range(3):
                said = draw.poisson(12, gold.shape) + 1
                hits = draw.binomial(np.minimum(gold, said), 0.4)
                each = np.stack([said, gold, hits], axis=-1).reshape(examples, -1)
                seeds.append(np.hstack([np.ones((examples, 1), dtype=np.int64), each]))
            return np.stack(seeds)

        found += compared(metric, runs(), runs(), seed=seed).p < 0.05
    assert found / rounds < 0.11, found  # of 150 at 5 %, 16 are exceeded once in a thousand


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("said", ["", " \n", "\0", "\ud800", "x" * 100_000, "{{text}} {0} $x %s"])
def test_whatever_is_written_is_counted(name: str, said: str) -> None:
    metric = load_metric(name, ())
    found = metric.counts(["the cat sat"], said)
    assert found.dtype == np.int64 and found.shape == (metric.width,)
    assert 0 <= float(metric.scores(found)[metric.main]) < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_not_compared_as_texts(name: str) -> None:
    assert load_metric(name, ()).compares == ("text",)
