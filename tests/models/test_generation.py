"""Greedy generation in batches gives what a slow loop generates row by row, whatever the other rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny

from adapters.models.generation import generate
from adapters.models.greedy_search import MIN_SHARED_PREFIX

TEXTS = [
    "Ada",
    "Alan Turing worked near Paris .",
    "a",
    "Emmy Noether and Kurt Bohr lived in San Marino with a friend .",
]
LONG = 16


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A tiny model that writes different tokens one behind the other, and the rows it is given."""

    model: Any
    tokenizer: Any
    rows: list[list[int]]

    def write(self, rows: Sequence[Sequence[int]] | None = None, *, new: int = LONG, end: str = "") -> list[list[int]]:
        return generate(self.model, self.tokenizer, self.rows if rows is None else rows, max_new_tokens=new, end=end)


def bart(folder: Path, *, seed: int = 0) -> Path:
    """BART: an encoder-decoder that counts its positions, whose own generation config asks for beams and lengths."""
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny.roberta(folder / "roberta"))
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    model = BartForConditionalGeneration(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def shaken(model: Any) -> Any:
    """The model with weights so large that it does not write one token again and again."""
    import torch

    generator = torch.Generator().manual_seed(5)
    model.get_output_embeddings().weight = torch.nn.Parameter(model.get_output_embeddings().weight.clone())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.4, generator=generator)
    return model


def open_writer(folder: Path) -> Writer:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    base = open_base(str(folder))
    rows = [base.tokenizer(text).input_ids for text in TEXTS]
    return Writer(model=shaken(base.load_generator()), tokenizer=base.tokenizer, rows=rows)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Writer]:
    builders = {**tiny.BUILDERS, "bart": bart}
    return lambda name: open_writer(builders[name](tmp_path_factory.mktemp("writers") / name))


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5", "bart"])
def writer(request: pytest.FixtureRequest, build: Callable[[str], Writer]) -> Writer:
    return build(request.param)


@pytest.fixture(scope="module")
def gpt2(build: Callable[[str], Writer]) -> Writer:
    return build("gpt2")


def slowly(
    writer: Writer, row: Sequence[int], *, new: int = LONG, end: str = "", ends: Sequence[int] = ()
) -> list[int]:
    """The likeliest token, again and again, the whole row anew each time, without padding, mask or cache."""
    import torch

    model, config = writer.model, writer.model.generation_config
    ends = ends or (config.eos_token_id, writer.tokenizer.pad_token_id)
    answer: list[int] = []
    with torch.inference_mode():
        while len(answer) < new and not (end and end in writer.tokenizer.decode(answer)):
            if model.config.is_encoder_decoder:
                given = torch.tensor([[config.decoder_start_token_id, *answer]])
                logits = model(input_ids=torch.tensor([row]), decoder_input_ids=given, use_cache=False).logits
            else:
                logits = model(input_ids=torch.tensor([[*row, *answer]]), use_cache=False).logits
            token = int(logits[0, -1].argmax())
            if token in ends:
                break
            answer.append(token)
    return answer


def test_each_row_of_a_batch_is_written_as_a_slow_loop_writes_it_alone(writer: Writer) -> None:
    answers = writer.write()
    assert answers == [slowly(writer, row) for row in writer.rows]
    assert len({len(row) for row in writer.rows}) > 3
    assert len({token for answer in answers for token in answer}) > 6  # and not one token again and again


def test_a_row_is_written_alike_whatever_stands_beside_it(writer: Writer) -> None:
    together = writer.write()
    assert writer.write(writer.rows[::-1]) == together[::-1]
    assert [writer.write([row])[0] for row in writer.rows] == together
    assert writer.write([writer.rows[0]] * 3) == [together[0]] * 3


@pytest.mark.parametrize("new", [1, 2, 7])
def test_nothing_is_written_past_the_bound(writer: Writer, new: int) -> None:
    long = writer.write()
    assert writer.write(new=new) == [answer[:new] for answer in long]


def test_a_row_ends_where_the_end_stands_however_many_tokens_it_is_spread_over(writer: Writer) -> None:
    row = max(zip(writer.write(), writer.rows, strict=True), key=lambda pair: len(pair[0]))[1]
    whole = writer.write([row])[0]
    assert len(whole) == LONG
    for begin, size in ((0, 1), (1, 2), (3, 5), (2, 10)):
        end = writer.tokenizer.decode(whole[begin : begin + size]).strip()
        if not end or "\ufffd" in end:
            continue
        answers = writer.write([row, writer.rows[2]], end=end)
        assert answers == [slowly(writer, r, end=end) for r in (row, writer.rows[2])]
        assert end in writer.tokenizer.decode(answers[0]) and len(answers[0]) <= begin + size


def test_an_end_of_many_tokens_is_found(gpt2: Writer) -> None:
    ascii_tokens = [i for i in range(gpt2.model.config.vocab_size) if gpt2.tokenizer.decode([i]).isascii()]
    import torch

    model = gpt2.model
    bias = torch.full((model.config.vocab_size,), -1e9)
    bias[[token for token in ascii_tokens if token > 5]] = 0
    hook = model.lm_head.register_forward_hook(lambda module, inputs, output: output + bias)
    try:
        whole = gpt2.write([gpt2.rows[0]])[0]
        end = gpt2.tokenizer.decode(whole[2:15])
        answer = gpt2.write([gpt2.rows[0]], end=end)[0]
    finally:
        hook.remove()
    assert answer == whole[:15]


def test_the_input_does_not_end_the_answer(writer: Writer) -> None:
    # Nor does the token in front of an encoder-decoder's answer, `<pad>` or `</s>`, which holds `>`.
    for end in ("Paris", " .", ">"):
        assert writer.write(writer.rows[:2], end=end) == [slowly(writer, row, end=end) for row in writer.rows[:2]]


@pytest.mark.parametrize("several", [False, True])
def test_a_row_ends_at_the_end_of_text(writer: Writer, several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = writer.write()
    stop = next(answer[4] for answer in whole if len(answer) > 4)
    own = writer.model.generation_config.eos_token_id
    monkeypatch.setattr(writer.model.generation_config, "eos_token_id", [own, stop] if several else stop)
    expected = [slowly(writer, row, ends=[own, stop, writer.tokenizer.pad_token_id]) for row in writer.rows]
    found = writer.write()
    assert stop not in {token for answer in found for token in answer}
    assert found == expected if several else all(len(a) <= 4 or stop not in a for a in found)


BENT = [
    {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "typical_p": 0.5},
    {"repetition_penalty": 1.5},
    {"no_repeat_ngram_size": 2},
    {"num_beams": 4, "early_stopping": True},
    {"min_length": 20},
    {"min_new_tokens": 20},
    {"forced_eos_token_id": 2},
    {"max_length": 3},
    {"length_penalty": 2.0},
    {"num_return_sequences": 2, "num_beams": 2},
    {"stop_strings": ["a", "e"]},
    {"return_dict_in_generate": True, "output_scores": True},
    {"max_time": 1e-9},
    {"renormalize_logits": True},
]


@pytest.mark.parametrize("bent", BENT, ids=lambda bent: next(iter(bent)))
def test_what_the_models_own_generation_config_asks_for_bends_nothing(
    writer: Writer, bent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = writer.write()
    for name, value in bent.items():
        monkeypatch.setattr(writer.model.generation_config, name, value)
    assert writer.write() == straight


def test_an_input_without_a_token_is_answered_like_the_first_token(gpt2: Writer) -> None:
    answers = gpt2.write([[], gpt2.rows[1]])
    assert answers == [slowly(gpt2, [gpt2.tokenizer.bos_token_id]), slowly(gpt2, gpt2.rows[1])]
    assert gpt2.write([[]]) == answers[:1]


def test_the_settings_of_the_model_stay_as_they_were(writer: Writer) -> None:
    before = writer.model.generation_config.to_dict()
    writer.write(end="x")
    assert writer.model.generation_config.to_dict() == before
    assert not writer.model.training


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("length", [3, MIN_SHARED_PREFIX, 40])
def test_rows_that_begin_alike_are_answered_as_each_alone(
    name: str, length: int, build: Callable[[str], Writer]
) -> None:
    writer = build(name)
    beginning = (writer.rows[3] * 4)[:length]
    rows = [beginning + row for row in writer.rows] + [beginning + writer.rows[0] * 3]
    read: list[tuple[int, ...]] = []
    handle = writer.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    together = writer.write(rows)
    handle.remove()
    assert together == [writer.write([row])[0] for row in rows]
    assert (read[0] == (1, length)) == (length >= MIN_SHARED_PREFIX)
    own = [tokens for rows, tokens in read if rows == len(together)]
    assert own[0] == max(map(len, rows)) - (length if length >= MIN_SHARED_PREFIX else 0)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_behind_a_prefix_rows_that_begin_alike_are_answered_as_a_slow_loop_answers_them(
    name: str, build: Callable[[str], Writer]
) -> None:
    import peft
    import torch

    writer = build(name)
    config = peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")
    writer.model.config.eos_token_id = writer.model.generation_config.eos_token_id
    model = peft.get_peft_model(writer.model, config).eval()
    with torch.no_grad():
        model.prompt_encoder.default.embedding.weight.normal_(0, 2, generator=torch.Generator().manual_seed(3))
    behind = Writer(model=model, tokenizer=writer.tokenizer, rows=[writer.rows[3] * 2 + row for row in writer.rows])
    answers = behind.write()
    assert answers == [slowly(behind, row) for row in behind.rows]
    assert answers != writer.write(behind.rows)


# tokens that are guessed ----------------------------------------------------------------------------------------------


class Counted:
    """The tokens of each row in each pass of a model."""

    def __init__(self, writer: Writer) -> None:
        self.read: list[tuple[int, ...]] = []
        self.handle = writer.model.register_forward_pre_hook(
            lambda module, args, kwargs: self.read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        )

    def __enter__(self) -> list[tuple[int, ...]]:
        return self.read

    def __exit__(self, *given: object) -> None:
        self.handle.remove()


def repeating(build: Callable[[str], Writer], name: str) -> tuple[Writer, list[int]]:
    """A model that often writes what it has written before, and a row that holds much of what it writes after it."""
    writer = build(name)
    row = writer.rows[3]
    for _ in range(2):  # what is written is written again more often where it was read
        row = row + writer.write([row], new=24)[0]
    return writer, row


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("step_tokens", [1, 12, 64])
def test_guessed_tokens_leave_every_answer_as_it_is(
    name: str, step_tokens: int, build: Callable[[str], Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, row = repeating(build, name)
    rows = [row, *writer.rows, row[:30], row[5:]]
    wanted = [slowly(writer, one, new=40) for one in rows]
    monkeypatch.setattr("adapters.models.decoding.STEP_TOKENS", step_tokens)
    for limits in ({}, {"together": 1}, {"together": 2}, {"tokens": 150}, {"tokens": 1}):
        finished: list[int] = []
        found = generate(
            writer.model, writer.tokenizer, rows, max_new_tokens=40, finished=finished.append, **limits
        )  # fmt: skip
        assert found == wanted
        assert sorted(finished) == [*range(len(rows))]


def test_tokens_that_are_guessed_rightly_take_no_pass_of_their_own(
    build: Callable[[str], Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = build("llama")
    row = writer.rows[3]
    answer = slowly(writer, row, new=LONG)
    monkeypatch.setattr(
        "adapters.models.decoding._Row.guess", lambda own, most: answer[len(own.tokens) - len(row) :][:4]
    )
    with Counted(writer) as read:
        assert writer.write([row]) == [answer]
    assert len(read) < len(answer) / 2
    assert max(tokens for _, tokens in read[1:]) == 5
    beside, wanted = [*row, *answer, *row], slowly(writer, [*row, *answer, *row])
    monkeypatch.setattr("adapters.models.decoding._Row.guess", lambda own, most: [0, 1, 2][:most])
    with Counted(writer) as read:
        assert writer.write([row, beside]) == [answer, wanted]
    assert len(read) <= LONG + 1  # a pass for the common prefix


def test_prefixes_of_several_calls_are_computed_once(build: Callable[[str], Writer]) -> None:
    from adapters.models.prefix_cache import PrefixCache

    writer = build("llama")
    shots = (writer.rows[1] + writer.rows[3]) * 12
    rows = [shots + writer.rows[i] for i in range(4)]
    wanted = [slowly(writer, row) for row in rows]
    prefixes = PrefixCache(writer.model)
    with Counted(writer) as read:
        found = [
            generate(writer.model, writer.tokenizer, [row], max_new_tokens=LONG, prefixes=prefixes)[0] for row in rows
        ]
        begun = sum(tokens for _, tokens in read if tokens > 9)
    assert found == wanted
    assert begun < 2.2 * max(map(len, rows))


# models that need transformers' own loop ------------------------------------------------------------------------------


def windowed(name: str) -> Any:
    """A model whose tokens see few before them, counted in columns; or of which some layers have no keys and values."""
    import torch
    import transformers

    sizes = {
        "vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 64,
    }  # fmt: skip
    own: dict[str, Any] = {
        "Mistral": {"sliding_window": 8},
        "Qwen2": {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 0},
        "Gemma2": {"sliding_window": 8, "head_dim": 8},
        "Lfm2": {"layer_types": ["conv", "full_attention"]},
        "GPTNeo": {"num_layers": 2, "num_heads": 4, "window_size": 8, "attention_types": [[["global", "local"], 1]]},
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**sizes | own[name])
    return shaken(getattr(transformers, f"{name}ForCausalLM")(config).eval())


@pytest.mark.parametrize("name", ["Mistral", "Qwen2", "Gemma2", "Lfm2", "GPTNeo"])
def test_a_model_that_counts_columns_is_not_given_any_it_may_not_see(name: str, gpt2: Writer) -> None:
    from adapters.models.prefix_cache import PrefixCache

    model = windowed(name)
    rows = [[5 + 7 * n % 50 for n in range(size)] * 2 for size in (3, 5, 9, 14)]
    writer = Writer(model=model, tokenizer=gpt2.tokenizer, rows=rows)
    assert writer.write() == [slowly(writer, row) for row in rows]
    prefixes = PrefixCache(model)
    for row in (rows[3], [*rows[3][:-1], 3]):
        (found,) = generate(model, gpt2.tokenizer, [row], max_new_tokens=8, prefixes=prefixes)
        assert found == slowly(writer, row, new=8)


@pytest.mark.parametrize("fails", range(1, 5))
def test_a_pass_that_fails_leaves_no_wrong_prefix(build: Callable[[str], Writer], fails: int) -> None:
    from adapters.models.prefix_cache import PrefixCache

    writer = build("llama")
    first = (writer.rows[1] + writer.rows[3]) * 10
    second = (writer.rows[3] + writer.rows[1]) * 10
    prefixes = PrefixCache(writer.model)

    def written(row: list[int]) -> list[int]:
        return generate(writer.model, writer.tokenizer, [row], max_new_tokens=6, prefixes=prefixes)[0]

    assert len(first) > 200 and written(first) == slowly(writer, first, new=6)
    passes = itertools.count(1)

    def break_at(*given: Any) -> None:
        if next(passes) == fails:
            raise RuntimeError("out of memory")

    handle = writer.model.model.layers[1].mlp.register_forward_pre_hook(break_at)
    with pytest.raises(RuntimeError, match="out of memory"):
        written(second)
    handle.remove()
    assert written([*first, *writer.rows[0]]) == slowly(writer, [*first, *writer.rows[0]], new=6)


def test_what_fills_a_row_that_has_ended_is_not_told_to_what_constrains_it(gpt2: Writer) -> None:
    """In transformers' own loop, which a model that takes no positions needs."""
    import transformers

    config = transformers.BloomConfig(
        vocab_size=60, hidden_size=32, n_layer=2, n_head=2, pad_token_id=0, eos_token_id=1
    )
    bloom = Writer(model=shaken(transformers.BloomForCausalLM(config).eval()), tokenizer=gpt2.tokenizer, rows=[])
    heard: list[list[int]] = []

    def allowed(row: int, generated: list[int]) -> list[int]:
        heard.extend([generated] if row == 0 else [])
        return [1] if row == 0 and len(generated) == 2 else [7, 8, 9]

    found = generate(bloom.model, bloom.tokenizer, [[5, 6], [7, 8, 9]], max_new_tokens=6, allowed=allowed)
    assert len(found[0]) == 2 and len(found[1]) == 6
    assert all(set(own) <= {7, 8, 9} for own in heard)
