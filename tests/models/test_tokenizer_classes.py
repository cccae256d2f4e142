"""Every tokenizer class of transformers that can be built here: data get the tokens that the stock tokenizer gives."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import pkgutil
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from foreign import as_data
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.data.word_splitter import split_words
from adapters.models.tokenizer import IGNORED, WordTokenizer, valid_text
from adapters.models.word_parts import WordParts
from adapters.tasks.base.example import Example
from adapters.tasks.base.task import load_task

CORPUS = [*tiny.TEXT, "Paid $3,000 in 2024 , it's (said) the U.N. office in 東京 and 北京 .", "the the a lived"] * 2
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
BUDGET = 24
HARD = [
    "",
    " ",
    "The dog.",
    " leading blank",
    "trailing blank  ",
    "In 2024, we paid $3,000.50!",
    "line\nbreak\r\n\n twice\ttab",
    "don't it's I'LL",
    "东京タワー and 北京大学",
    "emoji 🙂👩\u200d👧🇩🇪 end",
    "e\u0301 na\u00efve \ufb01",
    "zero\u200bwidth \ufeffmark",
    "▁ Ġ Ċ",
    'U.N. (").',
    "a" * 90,
]
SPELLED = ["[SEP] </s> <s>", "<|endoftext|>", "[CLS]<mask>[PAD]"]

texts = st.one_of(
    st.sampled_from(HARD), st.text(max_size=24), st.text("ab T'2.,\n ", max_size=24), st.text("東京北a。 ", max_size=12)
)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shipped() -> dict[str, Any]:
    """The tokenizer classes of transformers that need no other library, by name."""
    import transformers.models
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    found = {}
    for package in pkgutil.iter_modules(transformers.models.__path__):
        try:
            module = importlib.import_module(f"transformers.models.{package.name}.tokenization_{package.name}")
        except (ImportError, NameError):  # has none, or one that needs sentencepiece
            continue
        for name, kind in [*vars(module).items()]:
            own = inspect.isclass(kind) and issubclass(kind, TokenizersBackend) and kind.__name__ == name
            if own and kind.__module__ == module.__name__:
                found[name] = kind
    return found


def vocabularies() -> dict[str, dict[str, Any]]:
    """Arguments of the classes by the kind of their model."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    letters = sorted({letter for text in CORPUS for letter in text if letter != " "})
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    spaced = Tokenizer(models.BPE())
    spaced.pre_tokenizer = pre_tokenizers.Metaspace()
    spaced.decoder = decoders.Metaspace()
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    spaced.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=500, special_tokens=[*SPECIAL, *bytes_], show_progress=False)
    )
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=200, special_tokens=SPECIAL, unk_token="<unk>", initial_alphabet=letters, show_progress=False
        ),
    )
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.train_from_iterator(
        [*CORPUS, *map(str.lower, CORPUS)],
        trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False
        ),
    )

    def merged(trained: Any) -> dict[str, Any]:
        model = json.loads(trained.to_str())["model"]
        return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}

    listed = json.loads(unigram.to_str())["model"]["vocab"]
    return {
        "bytes": merged(pieces),
        "spaces": merged(spaced),
        "Unigram": {"vocab": [tuple(one) for one in listed]},
        "WordPiece": {"vocab": words.get_vocab()},
    }


def split_byte_level(template: Sequence[str]) -> Callable[..., Any]:
    """The kind of Llama 3 and ModernBERT: no class of its own; byte-level after a split, then a template."""

    def make(vocab: Any, merges: Any) -> Any:
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast
        from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

        made = Tokenizer(models.BPE(vocab=vocab, merges=merges))
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        made.decoder = decoders.ByteLevel()
        special = [(token, vocab[token]) for token in template if token != "$A"]
        made.post_processor = processors.TemplateProcessing(single=list(template), special_tokens=special)
        return PreTrainedTokenizerFast(
            tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
        )

    make.model = type("BPE", (), {})  # type: ignore[attr-defined]
    return make


OWN = {"Llama 3": split_byte_level(["<s>", "$A"]), "ModernBERT": split_byte_level(["<s>", "$A", "</s>"])}


def build(kind: Any, known: dict[str, dict[str, Any]], folder: Path) -> Any:
    """The stock tokenizer of a class, saved and opened again as users open theirs."""
    from transformers import AutoTokenizer

    model = getattr(getattr(kind, "model", None), "__name__", "Unigram")
    given = known.get(model)
    if given is None:
        split = "ByteLevel" in repr(kind().backend_tokenizer.pre_tokenizer) if inspect.isclass(kind) else True
        given = known["bytes" if split else "spaces"]
    made = kind(**given)
    if made.pad_token is None:
        made.pad_token = made.eos_token or made.unk_token
    made.save_pretrained(folder)
    opened = AutoTokenizer.from_pretrained(folder)
    assert opened("the").input_ids, kind
    return opened


UNBUILT = {
    "AlbertTokenizer": "its constructor refuses the vocabulary that tokenizers gives",
    "FNetTokenizer": "as ALBERT's",
    "CLIPTokenizer": "its constructor makes no vocabulary without a file",
    "FunnelTokenizer": "as CLIP's",
    "RoFormerTokenizer": "needs rjieba",
    "MarkupLMTokenizer": "reads web pages",
    "LukeTokenizer": "its call takes no split_special_tokens",
    "MLukeTokenizer": "as LUKE's",
    **dict.fromkeys(
        ("LayoutLMv2Tokenizer", "LayoutLMv3Tokenizer", "LayoutXLMTokenizer", "UdopTokenizer"), "reads boxes of a page"
    ),
}


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Folder and stock tokenizer of each class."""
    known, root = vocabularies(), tmp_path_factory.mktemp("tokenizers")
    kinds = {name: kind for name, kind in shipped().items() if name not in UNBUILT} | OWN
    return {name: (root / name, build(kind, known, root / name)) for name, kind in kinds.items()}


def test_every_class_is_built_or_named(stock: dict[str, tuple[Path, Any]]) -> None:
    assert len(stock) >= 40, sorted(stock)
    assert {*stock, *UNBUILT} == {*shipped(), *OWN}
    short = "Bert GPT2 Roberta GPTNeoX Qwen2 Llama Gemma XLMRoberta T5 DebertaV2 MPNet DistilBert"
    for name in [f"{one}Tokenizer" for one in re.split(" ", short)]:
        assert type(stock[name][1]).__name__ == name, "AutoTokenizer opens the class that was saved"


def test_texts_and_pairs_have_the_ids_of_the_stock_tokenizer(stock: dict[str, tuple[Path, Any]]) -> None:
    task, pairs = tiny.classifying(), tiny.classifying(pair=True)

    @few
    @given(st.sampled_from(sorted(stock)), texts, texts)
    def check(name: str, text: str, second: str) -> None:
        agree(name, text, second)

    def agree(name: str, text: str, second: str) -> None:
        tokenizer = stock[name][1]
        own = WordTokenizer(tokenizer)
        (row,) = task.encode([Example(id="0", inputs={"text": text})], own, BUDGET)
        wanted = as_data(tokenizer, valid_text(text), truncation=True, max_length=BUDGET)
        assert row.input_ids == (wanted or [own.blank]), (name, text)
        if own.separates_pairs:
            (row,) = pairs.encode([Example(id="0", inputs={"text": text, "text_pair": second})], own, BUDGET)
            both = valid_text(text), valid_text(second)
            wanted = as_data(tokenizer, *both, truncation="longest_first", max_length=BUDGET)
            assert row.input_ids == (wanted or [own.blank]), (name, text, second)

    for name in stock:
        for text, second in zip([*HARD, *SPELLED], [*reversed(HARD), *SPELLED], strict=True):
            agree(name, text, second)
    check()


def test_words_of_a_text_have_the_ids_of_the_text_and_are_found_by_offsets(stock: dict[str, tuple[Path, Any]]) -> None:
    task = tiny.tagging()

    @few
    @given(st.sampled_from(sorted(stock)), texts, st.sampled_from(["first", "last"]))
    @example(name="BlenderbotTokenizer", text="東京 ", labelled="first")  # a token of both, then one of no word
    def check(name: str, text: str, labelled: str) -> None:
        agree(name, text, labelled)

    def agree(name: str, text: str, labelled: str) -> None:
        tokenizer = stock[name][1]
        own = WordTokenizer(tokenizer, labelled=labelled)
        words = split_words(text)
        (parts,) = WordParts(own).of_texts([text], [words])
        ids = [token for part in parts for token in part.tokens]
        if not parts:
            assert not words or not as_data(tokenizer, valid_text(text), add_special_tokens=False)
            return
        assert ids == as_data(tokenizer, valid_text(text), add_special_tokens=False), (name, text)
        example = task.from_request({"text": text}, "0")
        windows = task.encode([example], own, 400)
        assert [row.input_ids for row in windows] == [as_data(tokenizer, valid_text(text))]
        offsets = tokenizer(
            valid_text(text), split_special_tokens=True, add_special_tokens=False, return_offsets_mapping=True
        ).offset_mapping
        position = 0
        for part in parts:
            start, end = offsets[position + part.at]
            begin, stop = words[part.word]
            if part.shared:
                assert start < begin < end, "it lies in the token before it"
            else:
                blank = text[start:end] in ("", " ") and labelled == "first"
                assert blank or (start < stop and end > begin), (name, text, part)
            position += len(part.tokens)
        (prediction,) = task.decode([example], windows, [np.zeros((len(windows[0].input_ids), len(task.labels)))], own)
        assert len(prediction.value) == len(words)

    for name in stock:
        for text, labelled in zip([*HARD, *SPELLED], itertools.cycle(["first", "last"])):
            agree(name, text, labelled)
    check()


PREFIXING = ("GPT2Tokenizer", "RobertaTokenizer", "GPTNeoXTokenizer")
"""Classes that are given words with `add_prefix_space=True`, as transformers' own scripts do."""


def test_words_given_one_by_one_have_the_ids_that_transformers_scripts_give_them(
    stock: dict[str, tuple[Path, Any]],
) -> None:
    from transformers import AutoTokenizer

    peers = {
        name: AutoTokenizer.from_pretrained(folder, add_prefix_space=True) if name in PREFIXING else tokenizer
        for name, (folder, tokenizer) in stock.items()
        if name in PREFIXING or not WordTokenizer(tokenizer).leading
    }
    assert len(peers) >= 30

    @few
    @example("GPT2Tokenizer", ["Ada", "paid", "$3,000", "in", "2024", "U.N.", "東京"])
    @given(st.sampled_from(sorted(peers)), st.lists(texts.filter(lambda word: word.strip(" ")), max_size=5))
    def check(name: str, words: list[str]) -> None:
        words = [valid_text(word) for word in words]
        own = WordTokenizer(stock[name][1])
        encoded = peers[name](
            words, is_split_into_words=True, split_special_tokens=True, add_special_tokens=False, verbose=False
        )
        wanted = [[] for _ in words]  # type: ignore[var-annotated]
        for token, word in zip(encoded.input_ids, encoded.word_ids(), strict=True):
            wanted[word].append(own.blank if token in own.spelled else token)
        (parts,) = WordParts(own).of_words([words])
        found = [[token for part in parts if part.word == i for token in part.tokens] for i in range(len(words))]
        assert found == [tokens or [own.blank] for tokens in wanted], (name, words)

    check()


@pytest.mark.parametrize("name", ["Qwen2Tokenizer", "Llama 3", "GemmaTokenizer", "CohereTokenizer"])
def test_a_blank_before_a_word_is_one_where_the_class_splits_numbers(
    name: str, stock: dict[str, tuple[Path, Any]]
) -> None:
    tokenizer = stock[name][1]
    own = WordTokenizer(tokenizer)
    words = ["Paid", "$3,000", "in", "2024", "."]
    (parts,) = WordParts(own).of_words([words])
    ids = [token for part in parts for token in part.tokens]
    assert ids == tokenizer(" " + " ".join(words), add_special_tokens=False).input_ids
    if name == "Qwen2Tokenizer":
        assert tokenizer.convert_ids_to_tokens(ids)[-7:] == ["Ġin", "Ġ", "2", "0", "2", "4", "Ġ."]


def test_an_answer_to_learn_reads_as_it_was_written(stock: dict[str, tuple[Path, Any]]) -> None:
    task = load_task("summarization").from_card({"labels": []})
    asked = Example(id="0", inputs={"text": "We paid in 2024."}, gold=("Paid $3,000 in 2024",))
    causal = [
        name for name in stock if name in (*PREFIXING, "Qwen2Tokenizer", "LlamaTokenizer", "GemmaTokenizer", *OWN)
    ]
    for name in sorted({*causal} - {"RobertaTokenizer", "ModernBERT"}):
        tokenizer = stock[name][1]
        own = WordTokenizer(tokenizer, labelled="last")
        (row,) = task.encode([asked], own, 400, learning=True)
        learnt = [token for token in row.targets if token != IGNORED]
        assert tokenizer.decode(learnt, skip_special_tokens=True).strip() == "Paid $3,000 in 2024", name
        framed = "".join(task.framed(asked))
        whole = tokenizer(f"{framed} Paid $3,000 in 2024").input_ids
        assert row.input_ids == [*whole[: len(row.input_ids)]], name
