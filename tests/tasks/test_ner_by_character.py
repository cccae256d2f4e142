"""Tags by character: where words are single characters, each has tokens of its own and none marks a blank."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.data.dataset_files import open_splits
from adapters.data.single_characters import are_characters, is_character
from adapters.models.tokenizer import WordTokenizer
from adapters.tasks.base.example import Example
from adapters.tasks.ner import Settings, Task

CHARACTERS = [
    *"高勇男中国籍大学北京人,。",
    "▁",
    "▁I",
    "▁Tim",
    "Tim",
    "▁saw",
    "saw",
    "中国",
    "北京大学",
    "A",
    "▁乙",
    "T",
    "i",
    "m",
]
NAMES, PLACES = ("高勇", "勇高人"), ("北京", "中国", "大学")


def metaspace() -> Any:
    """A tokenizer of e5's kind that has some Chinese words and characters, one of them only after a blank."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    scores = [(token, 0.0) for token in special] + [(token, -2.0 - 0.01 * i) for i, token in enumerate(CHARACTERS)]
    made = Tokenizer(models.Unigram(scores, unk_id=3))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    made.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=64, cls_token="<s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>",
    )  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> WordTokenizer:
    return WordTokenizer(metaspace())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with that tokenizer."""
    from transformers import BertConfig, BertModel

    made = metaspace()
    config = BertConfig(
        vocab_size=len(made), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, pad_token_id=1,
    )  # fmt: skip
    return tiny._save(tmp_path_factory.mktemp("bases") / "characters", 0, made, lambda: BertModel(config))


TASK = Task(tiny.tagging().labels, by_character=True)
STOCK = tiny.tagging()


def tokens(tokenizer: WordTokenizer, task: Any = TASK, **inputs: Any) -> list[str]:
    """The tokens of one example, without the special ones at the ends."""
    example = task.from_request(inputs, "0")
    (row,) = task.encode([example], tokenizer, 64)
    return list(tokenizer.hf_tokenizer.convert_ids_to_tokens(row.input_ids[1:-1]))


def test_a_character_has_a_token_of_its_own_without_a_blank(tokenizer: WordTokenizer) -> None:
    words = list("高勇,男,中国国籍")
    assert tokens(tokenizer, tokens=words) == words
    assert tokens(tokenizer, STOCK, tokens=words) == [token for word in words for token in ("▁", word)]
    assert tokens(tokenizer, text="高勇，男，中国国籍") == words, "no token crosses a boundary"
    assert tokens(tokenizer, tokens=list("高，")) == ["高", ","], "full width is normalised"
    assert tokens(tokenizer, text="高 勇") == ["高", "勇"], "as words that are joined for people"


def test_a_character_that_has_no_token_alone_falls_back(tokenizer: WordTokenizer) -> None:
    assert tokens(tokenizer, tokens=["乙", "鱻", "Ａ", "\u3000", "高"]) == ["▁乙", "<unk>", "A", "<unk>", "高"]


def test_a_longer_word_has_the_blank_that_its_text_has(tokenizer: WordTokenizer) -> None:
    assert tokens(tokenizer, text="中国人Tim saw北京") == ["中", "国", "人", "Tim", "▁saw", "北", "京"]
    assert tokens(tokenizer, tokens=["中", "国", "Tim"]) == ["中", "国", "▁Tim"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(
        st.sampled_from([*"高勇中国乙鱻ＡA，", "Tim", "\u3000", "", "e\u0301", "\ud800", "▁"]), min_size=1, max_size=20
    )
)
def test_every_word_is_answered_at_a_token_of_its_own(words: list[str], tokenizer: WordTokenizer) -> None:
    (row,) = TASK.encode([Example(id="0", inputs={"tokens": words})], tokenizer, 64)
    assert [word for _, word, _ in row.detail] == list(range(len(words)))
    assert len({position for position, _, _ in row.detail}) == len(words)
    assert not any(shared for *_, shared in row.detail)
    if all(map(is_character, words)):
        assert len(row.input_ids) == len(words) + 2


def test_a_tokenizer_without_a_mark_of_blanks_is_used_as_before(tiny_bert: Path) -> None:
    from transformers import AutoTokenizer

    own = WordTokenizer(AutoTokenizer.from_pretrained(tiny_bert))
    assert not own.marks_words and TASK.remarks(own) == []
    for inputs in ({"tokens": list("高勇ab")}, {"text": "高勇 lived in タワー, ab"}):
        example = [TASK.from_request(inputs, "0")]
        assert TASK.encode(example, own, 64) == STOCK.encode(example, own, 64)


def test_a_byte_level_tokenizer_gets_no_blank_before_a_character(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    own = WordTokenizer(AutoTokenizer.from_pretrained(tiny.gpt2(tmp_path / "gpt2")), labelled="last")
    (row,) = TASK.encode([TASK.from_request({"tokens": list("高勇")}, "0")], own, 64)
    assert row.input_ids == own.hf_tokenizer("高勇").input_ids


# when -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentences", "wanted"),
    [
        (["高 勇 ， 男 。", "中 国 籍"], True),
        (["高 勇 2 0 1 1 年 ， 男 。 A p p 中 国 人 民 大 学 校 长"], True),
        (["東 京 タ ワ ー に い ま し た"], True),
        (["北京 大学 在 中国 。"], False),
        (["I saw a cat . I", "高 勇"], False),
        (["Ada lived in London ."], False),
        ([""], False),
    ],
)
def test_words_are_recognised_as_characters(sentences: list[str], wanted: bool) -> None:
    assert are_characters(sentence.split() for sentence in sentences) == wanted


def write(folder: Path, sentences: int = 40) -> Path:
    """Tagged characters: who is of which place."""
    draw = random.Random(0)
    folder.mkdir()
    for name in ("train", "dev", "test"):
        lines: list[str] = []
        for _ in range(sentences):
            who, place = draw.choice(NAMES), draw.choice(PLACES)
            lines += [f"{c} {'I' if i else 'B'}-PER" for i, c in enumerate(who)]
            lines += ["， O", "男 O"]
            lines += [f"{c} {'I' if i else 'B'}-LOC" for i, c in enumerate(place)]
            lines += ["。 O", ""]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_the_data_decide_unless_told_and_the_card_keeps_it(tmp_path: Path) -> None:
    sources = open_splits(folder=write(tmp_path / "data", 4))
    task, _ = Task.read(sources, Settings())
    assert task.by_character and task.card()["by_character"] is True
    assert Task.from_card(task.card()).by_character and not Task.from_card({"labels": ["O", "B-X"]}).by_character
    told, _ = Task.read(sources, replace(Settings(), by_character=False))
    assert not told.by_character and "by_character" not in told.card()


@pytest.mark.usefixtures("one_thread")
def test_a_run_says_it_and_its_artifact_and_a_bank_do_the_same(
    base: Path, run_recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from adapters.artifacts import loading
    from adapters.serving.bank.bank import AdapterBank
    from adapters.tasks.base.requests import Request

    folder, run = write(tmp_path / "data"), tmp_path / "run"
    flags = ["--model_name_or_path", str(base), "--dataset_name", str(folder), "--output_dir", str(run)]
    assert run_recipe("lora_ner", *flags, "--num_train_epochs", "4", "--learning_rate", "0.02") == 0
    assert "words are single characters: each is tokenized by itself" in capsys.readouterr().err
    assert json.loads((run / "artifact" / "card.json").read_text())["task"]["by_character"] is True
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    found = loading.load(run / "artifact", base=str(base))
    words = [line["inputs"]["tokens"] for line in lines]
    assert [answer["output"]["tags"] for answer in found.answer(["".join(one) for one in words])] == [
        line["prediction"] for line in lines
    ]
    bank = AdapterBank(str(base))
    bank.load("people", run / "artifact")
    answers = bank.predict([Request("people", {"tokens": one}) for one in words])
    assert [answer["output"]["tags"] for answer in answers] == [line["prediction"] for line in lines]
    assert len({tag for line in lines for tag in line["prediction"]}) > 2, "it has learnt something"
