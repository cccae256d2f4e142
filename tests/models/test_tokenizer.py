"""Words and tokens: nothing lost, nothing shifted, every part owned by one window."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.data.word_splitter import split_words
from adapters.models.tokenizer import WordTokenizer
from adapters.models.word_parts import Window, WordPart, WordParts, unknown_share, window_bounds

CORPUS = ["Ada Lovelace lived in London and met Alan Turing in the old town.", "A friend wrote about machines."] * 3
HARD = [
    "",
    " ",
    "\u200b",
    "\ufeff",
    "\u00ad",
    "\u200d",
    "\x00",
    "\ud800",
    "\ud83d\ude00",
    "\u0301",
    "\U0001f600",
    "\U0001f469\u200d\U0001f467!",
    "New York",
    "U.N.",
    "\u00e9.",
    "\u200bA.",
    "東京タワー",
    "...",
    "London\ufeff",
    "▁",
    "[SEP]",
    "<|endoftext|>",
    "</s>",
    "\xa0x",
    "\u2028",
]

words = st.one_of(st.sampled_from(HARD), st.sampled_from(["Ada", "lived", "in", "London"]), st.text(max_size=6))


def wordpiece(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def byte_level() -> Any:
    """GPT-2's kind: a space and the bytes of a character can be tokens of their own; no unknown token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2TokenizerFast

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": ["<|endoftext|>"], "initial_alphabet": alphabet, "show_progress": False}
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=330, **options))
    model = json.loads(trained.to_str())["model"]
    return GPT2TokenizerFast(vocab=model["vocab"], merges=[*map(tuple, model["merges"])], add_prefix_space=True)


def unigram() -> Any:
    """SentencePiece's kind: a visible mark for the space, and a special token at the end."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trained.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    trained.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=trained, unk_token="<unk>", pad_token="<pad>", eos_token="</s>")


KINDS: list[str] = ["wordpiece", "byte_level", "unigram"]


@pytest.fixture(scope="module")
def tokenizers(tiny_bert: Path) -> dict[str, Any]:
    return {"wordpiece": wordpiece(tiny_bert), "byte_level": byte_level(), "unigram": unigram()}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest, tokenizers: dict[str, Any]) -> WordTokenizer:
    return WordTokenizer(tokenizers[request.param])


many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_copy_has_a_turn_of_its_own(tokenizer: WordTokenizer) -> None:
    text = "Ada met Alan."
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        with tokenizer.turn:
            assert other.encode_data(text).input_ids
        assert other.encode_data(text).input_ids == tokenizer.encode_data(text).input_ids


def test_every_word_has_one_first_part_and_every_part_a_token(tokenizer: WordTokenizer) -> None:
    @many
    @example([HARD, [], HARD])
    @given(st.lists(st.lists(words, max_size=6), max_size=4))
    def check(sentences: list[list[str]]) -> None:
        parts = WordParts(tokenizer).of_words(sentences)
        assert len(parts) == len(sentences)
        for sentence, found in zip(sentences, parts, strict=True):
            assert [part.word for part in found if part.first_of_word] == list(range(len(sentence)))
            assert [part.word for part in found] == sorted(part.word for part in found)
            assert all(part.tokens for part in found)
            for number, word in enumerate(sentence):
                own = [part for part in found if part.word == number]
                assert own[0].first_of_word and len(own) <= max(len(split_words(word)), 1), own

    check()


SPELLED = {"wordpiece": "[SEP]", "byte_level": "<|endoftext|>", "unigram": "</s>"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_spells_a_special_token_is_text(kind: str, tokenizers: dict[str, Any]) -> None:
    special, own = SPELLED[kind], WordTokenizer(tokenizers[kind])
    number = own.hf_tokenizer.convert_tokens_to_ids(special)
    assert number in own.hf_tokenizer.all_special_ids
    (parts,) = WordParts(own).of_words([["a", special, "b"]])
    assert all(number not in part.tokens for part in parts) and {part.word for part in parts} == {0, 1, 2}
    template = len([token for token in own.hf_tokenizer("a").input_ids if token == number])
    (windows,) = own.texts([f"a {special} b"], 64)
    assert windows[0].count(number) == template
    plain = own.pairs(["a"], ["b"], 64)[0][0].count(number)
    assert own.pairs([f"a {special}"], [special], 64)[0][0].count(number) == plain


def test_the_tokens_of_a_sentence_are_those_of_the_tokenizer(tokenizer: WordTokenizer) -> None:
    @many
    @given(st.lists(st.sampled_from(["Ada", "lived", "U.N.", "é.", "New York", "x-y", "\U0001f600!"]), min_size=1))
    def check(sentence: list[str]) -> None:
        expected = tokenizer.hf_tokenizer(sentence, is_split_into_words=True, add_special_tokens=False).input_ids
        assert [token for part in WordParts(tokenizer).of_words([sentence])[0] for token in part.tokens] == expected

    check()


def test_a_sentence_does_not_hang_on_those_beside_it(tokenizer: WordTokenizer) -> None:
    sentences, own = [HARD[i:] for i in range(0, len(HARD), 5)], WordParts(tokenizer)
    assert own.of_words(sentences) == [own.of_words([sentence])[0] for sentence in sentences]


@pytest.mark.parametrize("word", ["", "\u200b", "\ufeff", "\u200d", "\x00", "\u00ad"])
def test_a_word_without_tokens_becomes_one_unknown_token(word: str, tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["wordpiece"]
    parts = WordParts(WordTokenizer(tokenizer)).of_words([["ada", word, "lived"]])[0]
    assert parts[1] == WordPart(1, True, (tokenizer.unk_token_id,))
    assert [part.word for part in parts] == [0, 1, 2]


def test_a_tokenizer_without_an_unknown_token_answers_an_empty_word_too(tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["byte_level"]
    assert [len(part.tokens) for part in WordParts(WordTokenizer(tokenizer)).of_words([[""]])[0]] == [1]


def test_a_word_is_parted_where_words_are_cut_and_nowhere_else(tokenizers: dict[str, Any]) -> None:
    # In byte-level tokens " U" is two and "é" three, and each of them starts at the word's beginning.
    for kind, sentence in {
        "wordpiece": ["U.N.", "co-op", "(a)", "東京"],
        "byte_level": ["U.N.", "co-op", "é.", "\U0001f600!", "東京", "ที่นี่"],
        "unigram": ["U.N.", "co-op", "é."],
    }.items():
        parts = WordParts(WordTokenizer(tokenizers[kind])).of_words([sentence])[0]
        for number, word in enumerate(sentence):
            assert sum(part.word == number for part in parts) == len(split_words(word)), (kind, word)


@pytest.mark.parametrize("kind", KINDS)
def test_the_special_tokens_are_those_of_a_whole_text(kind: str, tokenizers: dict[str, Any]) -> None:
    word_parts, text = WordParts(WordTokenizer(tokenizers[kind])), "Ada lived"
    window = word_parts.windows(word_parts.of_words([text.split()]), 50)[0]
    assert window.input_ids == tokenizers[kind](text).input_ids


# windows --------------------------------------------------------------------------------------------------------------

sizes_and_room = st.integers(1, 24).flatmap(
    lambda room: st.tuples(st.lists(st.integers(1, room), max_size=60), st.just(room))
)


@settings(max_examples=400, deadline=None)
@given(sizes_and_room)
def test_windows_fit_go_forward_and_own_every_item_once(drawn: tuple[list[int], int]) -> None:
    sizes, room = drawn
    bounds = window_bounds(sizes, room)
    owned = [item for _, _, begin, end in bounds for item in range(begin, end)]
    assert owned == list(range(len(sizes)))
    for begin, end, own_begin, own_end in bounds:
        assert begin <= own_begin <= own_end <= end
        assert begin < end and sum(sizes[begin:end]) <= room
    for (begin, end, _, _), (next_begin, next_end, _, _) in itertools.pairwise(bounds):
        assert begin < next_begin <= end < next_end
        assert sum(sizes[next_begin:end]) <= room // 4


@settings(max_examples=200, deadline=None)
@given(sizes_and_room)
def test_a_shared_item_is_owned_by_the_window_that_sees_more_around_it(drawn: tuple[list[int], int]) -> None:
    sizes, room = drawn
    bounds = window_bounds(sizes, room)
    for (_, end, _, _), (begin, _, own_begin, _) in itertools.pairwise(bounds):
        for item in range(begin, end):
            after, before = end - 1 - item, item - begin  # what the left window sees behind, the right one in front
            assert (item >= own_begin) == (before >= after) or before == after


def test_what_fits_is_one_window() -> None:
    assert window_bounds([1, 2, 3], 6) == [(0, 3, 0, 3)]
    assert window_bounds([], 6) == []
    assert window_bounds([6, 6], 6) == [(0, 1, 0, 1), (1, 2, 1, 2)]


def answers(windows: list[Window]) -> dict[tuple[int, int], int]:
    """For each part of each example, the token at which the window that owns it labels it."""
    found: dict[tuple[int, int], int] = {}
    for window in windows:
        for position, part, owned in zip(window.positions, window.parts, window.owned, strict=True):
            if owned:
                assert (window.example, part) not in found
                found[window.example, part] = window.input_ids[position]
    return found


@pytest.mark.parametrize("labelled", ["first", "last"])
def test_windows_answer_as_one_long_window_does(labelled: str, tokenizers: dict[str, Any]) -> None:
    word_parts = WordParts(WordTokenizer(tokenizers["wordpiece"], labelled=labelled))
    part = st.builds(lambda ids: tuple(ids), st.lists(st.integers(5, 60), min_size=1, max_size=4))

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.lists(part, max_size=25), max_size=3), st.integers(6, 30))
    def check(drawn: list[list[tuple[int, ...]]], budget: int) -> None:
        at = 0 if labelled == "first" else -1
        sentences = [
            [WordPart(i, True, ids, 0 if labelled == "first" else len(ids) - 1) for i, ids in enumerate(sentence)]
            for sentence in drawn
        ]
        windows = word_parts.windows(sentences, budget)
        assert all(len(window.input_ids) <= budget for window in windows)
        assert [window.example for window in windows] == sorted(window.example for window in windows)
        expected = {(e, i): part.tokens[at] for e, sentence in enumerate(sentences) for i, part in enumerate(sentence)}
        assert answers(windows) == expected == answers(word_parts.windows(sentences, 1000))

    check()


@pytest.mark.parametrize("labelled", ["first", "last"])
def test_a_part_longer_than_a_window_keeps_its_label(labelled: str, tokenizers: dict[str, Any]) -> None:
    word_parts = WordParts(WordTokenizer(tokenizers["wordpiece"], labelled=labelled))
    long = WordPart(0, True, tuple(range(10, 60)), 0 if labelled == "first" else 49)
    windows = word_parts.windows([[long, WordPart(1, True, (7,))]], 8)
    assert [len(window.input_ids) for window in windows] == [8, 3]
    assert answers(windows) == {(0, 0): 10 if labelled == "first" else 15, (0, 1): 7}


def test_a_budget_without_room_for_a_token_is_refused(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        WordParts(WordTokenizer(tokenizers["wordpiece"])).windows([[WordPart(0, True, (5,))]], 2)


# unknown_share --------------------------------------------------------------------------------------------------------


def test_the_share_of_unknown_tokens_is_counted_with_examples() -> None:
    sentences = [["a", "b", "a"], ["c"]]
    parts = [[WordPart(0, True, (1,)), WordPart(1, True, (9, 9)), WordPart(2, True, (1,))], [WordPart(0, True, (9,))]]
    assert unknown_share(sentences, parts, 9) == (0.6, ["b", "c"])
    assert unknown_share(sentences, parts, 5) == (0.0, [])
    assert unknown_share(sentences, parts, None) == (0.0, [])
    assert unknown_share([], [], 9) == (0.0, [])


def test_at_most_eight_unknown_words_are_shown_each_once() -> None:
    sentence = [f"w{i % 12}" for i in range(30)]
    share, shown = unknown_share([sentence], [[WordPart(i, True, (9,)) for i in range(30)]], 9)
    assert share == 1.0
    assert shown == [f"w{i}" for i in range(8)]


def test_a_script_that_a_vocabulary_lacks_is_unknown_to_it_and_known_to_bytes(tokenizers: dict[str, Any]) -> None:
    sentences = [["Κάποιος", "ζει"], ["ada"]]
    shares = {}
    for kind in ("wordpiece", "byte_level"):
        tokenizer = tokenizers[kind]
        parts = WordParts(WordTokenizer(tokenizer)).of_words(sentences)
        shares[kind] = unknown_share(sentences, parts, tokenizer.unk_token_id)[0]
    assert shares["wordpiece"] > 0.5
    assert shares["byte_level"] == 0
