"""Every method on every class of base: what is refused, what trains, and that an artifact predicts as its model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import write_tagged

from adapters.core import discovery
from adapters.core.errors import ModelError, SettingsError
from adapters.methods.base.method import LEAST_ROOM, load_method
from adapters.models.batching import collate
from adapters.tasks.base.example import Example

NAMES = [name for name in discovery.names("methods") if load_method(name).needs_base]
BASES = ("bert", *sorted(tiny.BUILDERS))
HEADED = ("bert", "roberta", "deberta", "gpt2", "llama")
WRITING = ("gpt2", "llama", "t5")
# The bases that each method works with for named entities; a method that does not stand here tries all of them.
WORKS = {
    "bitfit": ("bert", "roberta", "deberta", "gpt2"),
    "bottleneck": HEADED,
    "dora": HEADED,
    "few_shot": WRITING,
    "full": HEADED,
    "head": HEADED,
    "ia3": HEADED,
    "lora": HEADED,
    "peft": HEADED,
    "prefix": ("bert", "roberta", "gpt2", "llama"),
    "prompt_tuning": HEADED,
    "rslora": HEADED,
    "setfit": (),
    "zero_shot": WRITING,
}
SOFT = [(name, base) for name in ("prefix", "prompt_tuning") for base in WORKS[name]]
# What a refusal names in place of the base, one of these.
INSTEAD = (
    "minilm, bert-base-cased, smollm2, gpt2", "smollm2, gpt2, t5-small", "(minilm, bert-base-cased)",
    "Use lora, head or full",
)  # fmt: skip
PROMPT = 'task = "ner"\nanswer = "lines"\nquery = "{{text}}"\nshot = "{{text}} {{answer}}"\n'
TEXTS = ["Ada Lovelace lived in New York .", "Alan Turing", "Grace Hopper wrote notes near Paris with a friend ."]
LONG = 200
CLOSE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method with settings of its own."""

    name: str
    label: str
    changes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.label


CASES = [Case(name=name, label=name) for name in NAMES] + [
    Case(name="prefix", label="prefix_projected", changes={"prefix_projection": True}),
    Case(name="prefix", label="prefix_random", changes={"prefix_init": "random"}),
    Case(name="prompt_tuning", label="prompt_random", changes={"prompt_init": "random"}),
    Case(name="bottleneck", label="pfeiffer", changes={"bottleneck_where": "pfeiffer", "bottleneck_size": 5}),
]
PAIRS = [(case, base) for case in CASES for base in WORKS.get(case.name, BASES)]
PEFT = [(case, base) for case, base in PAIRS if load_method(case.name).library == "peft"]


def is_trained(case: Case, base: str, name: str) -> bool:
    """Whether a parameter of this name shall train."""
    head = "score" if base == "llama" else "classifier"
    own, beside = name.startswith(f"{head}."), f".{head}.modules_to_save.default." in name
    low_rank = ".lora_A.default." in name or ".lora_B.default." in name
    rules = {
        "bitfit": own or name.endswith(".bias"),
        "bottleneck": own or ".bottleneck." in name,
        "dora": low_rank or ".lora_magnitude_vector.default." in name or beside,
        "full": True,
        "head": own,
        "ia3": name.endswith(".ia3_l.default") or beside,
        "lora": low_rank or beside,
        "peft": ".vera_lambda_b." in name or ".vera_lambda_d." in name or beside,
        "prefix": name.startswith("prompt_encoder.default.") or beside,
        "prompt_tuning": name == "prompt_encoder.default.embedding.weight" or beside,
        "rslora": low_rank or beside,
        "few_shot": False,
        "zero_shot": False,
    }
    return rules[case.name]


@dataclass(kw_only=True)
class Built:
    """A method around a base: trained for some steps if it trains, saved, and loaded again."""

    base: Any
    task: Any
    method: Any
    model: Any
    at_first: dict[str, Any]
    predictor: Any
    loaded: Any = None
    folder: Path | None = None


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {"bert": tiny_bert, **{name: build(root / name) for name, build in tiny.BUILDERS.items()}}


@pytest.fixture(scope="session")
def bases(folders: dict[str, Path]) -> dict[str, Any]:
    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    return {name: open_base(str(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The task of named entities and its training examples."""
    from adapters.data.dataset_files import open_splits
    from adapters.tasks.ner import Settings, Task

    folder = tmp_path_factory.mktemp("read")
    write_tagged(folder / "train.conll", 40)
    task, splits = Task.read(open_splits(folder=folder), Settings())
    return task, splits["train"]


@pytest.fixture(scope="session")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompt") / "short.toml"
    path.write_text(PROMPT)
    return path


@pytest.fixture(scope="session")
def method_of(prompt: Path) -> Callable[..., Any]:
    """`method_of("lora", lora_r=4)`: a method with the settings of a short run."""

    def make(name: str, **changes: Any) -> Any:
        asks = {} if load_method(name).trains else {"prompt": str(prompt)}
        return tiny.method(name, **{**asks, **changes})

    return make


def wrapped(method: Any, base: Any, task: Any, train: Any) -> Built:
    """A method around a base as `run.Run.fit` puts it there."""
    import torch

    method.check(base, task)
    torch.manual_seed(0)
    model = method.wrap(base, task, train)
    at_first = {name: value.detach().clone() for name, value in model.state_dict().items()}
    predictor = method.predictor(model, base, task)
    return Built(base=base, task=task, method=method, model=model, at_first=at_first, predictor=predictor)


@pytest.fixture(scope="session")
def build(
    bases: dict[str, Any],
    read: tuple[Any, Any],
    method_of: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Case, str], Built]:
    """`build(case, base)`: made when it is first asked for."""
    from adapters.artifacts import artifact
    from adapters.artifacts import loading as predictor

    task, train = read
    root, done = tmp_path_factory.mktemp("artifacts"), {}

    def make(case: Case, name: str) -> Built:
        base, method = bases[name], method_of(case.name, **case.changes)
        built = wrapped(method, base, task, train)
        if method.trains:
            tiny.trainer(method, built.model, base, task, train).run(lambda: 0.5)
        card = {
            "task": task.card(),
            "method": {"name": method.name, "library": method.library, "settings": method.recorded()},
            "max_length": method.settings.max_length,
            "base": base.digests(),
        }
        folder = root / f"{case}-{name}"
        artifact.write(folder, lambda draft: method.save(built.model, base, draft), card, "# A model\n")
        given = None if method.self_contained else str(base.folder)
        built.folder, built.loaded = folder, predictor.load(folder, base=given).predictor
        return built

    def ask(case: Case, name: str) -> Built:
        if (case.label, name) not in done:
            try:
                done[case.label, name] = make(case, name)
            except ModelError:
                if case.name in WORKS:
                    raise
                pytest.skip("refused, as the method may do that does not stand in the table")
        return done[case.label, name]

    return ask


def examples(train: Any) -> list[Example]:
    """Sentences of many lengths, without their tags."""
    sentences = [*(text.split() for text in TEXTS), ["Rome"], *(example.inputs["tokens"] for example in train[:8])]
    return [Example(id=str(i), inputs={"tokens": words}) for i, words in enumerate(sentences)]


def rows_of(built: Built, some: Sequence[Example]) -> list[list[int]]:
    budget = built.method.budget(built.base, built.method.settings.max_length)
    return [row.input_ids for row in built.task.encode(some, built.base.word_tokenizer, budget)]


def logits(built: Built, model: Any, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Logits of each row of a batch, without those of the padding."""
    import torch

    inputs, _ = collate(rows, [[0]] * len(rows), built.base.tokenizer.pad_token_id)
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = inputs["input_ids"]
    with torch.inference_mode():
        found = model.eval()(**inputs).logits.numpy()
    return [answer[: len(row)] for answer, row in zip(found, rows, strict=True)]


def differs(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """The largest difference between answers to the same rows."""
    assert [a.shape for a in one] == [b.shape for b in other]
    assert all(np.isfinite(a).all() for a in one)
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def said(predictions: Sequence[Any]) -> list[Any]:
    """All of the predictions but their probabilities."""
    return [(p.value, p.truncated, p.written, p.parse_failure, p.shots_dropped) for p in predictions]


# What works


def test_there_are_at_least_fourteen_methods_and_six_bases():
    assert len(WORKS) == 14
    assert set(WORKS) <= set(NAMES)
    assert set(BASES) == {"bert", "roberta", "deberta", "gpt2", "llama", "t5"}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_method_takes_a_base_or_says_what_to_use_in_its_place(case, base, bases, read, method_of):
    task, _ = read
    method = method_of(case.name, **case.changes)
    if base in WORKS.get(case.name, ()):
        method.check(bases[base], task)
        return
    try:
        method.check(bases[base], task)
    except ModelError as error:
        assert str(error).startswith(bases[base].name)
        assert any(names in str(error) for names in INSTEAD), error
    else:
        assert case.name not in WORKS, "a pair that is not in the table"


@pytest.mark.parametrize(("case", "base"), PAIRS, ids=str)
def test_the_right_parameters_train_and_the_others_stay_bit_for_bit(case, base, build):
    import torch

    built = build(case, base)
    named = dict(built.model.named_parameters())
    trained = {name for name, parameter in named.items() if parameter.requires_grad}
    assert bool(trained) == built.method.trains
    if case.name in WORKS:
        assert trained == {name for name in named if is_trained(case, base, name)}
    state = built.model.state_dict()
    assert state.keys() == built.at_first.keys()
    same = {name for name, value in state.items() if torch.equal(value, built.at_first[name])}
    assert state.keys() - trained <= same, "what is frozen has changed"
    assert not same & trained, "what trains has not changed"


@pytest.mark.parametrize(("case", "base"), PAIRS, ids=str)
def test_a_loaded_artifact_answers_as_the_model_that_was_saved(case, base, build, read):
    from adapters.artifacts import artifact

    built = build(case, base)
    artifact.verify(built.folder)
    some = examples(read[1])
    before, after = built.predictor.predict(some), built.loaded.predict(some)
    assert said(after) == said(before)
    assert [len(p.value) for p in after] == [len(e.inputs["tokens"]) for e in some]
    rows = rows_of(built, some)
    assert built.loaded.model is not built.model
    assert differs(logits(built, built.loaded.model, rows), logits(built, built.model, rows)) < CLOSE
    assert not any(p.truncated or p.shots_dropped for p in after)
    if not built.method.trains:
        assert base == "t5" or all(p.written for p in after), "the model was asked; t5's first token may end it"
        assert [built.loaded.fit(e) for e in some] == [built.predictor.fit(e) for e in some], "of the same prompt"


@pytest.mark.parametrize(("case", "base"), PAIRS, ids=str)
def test_padding_does_not_change_an_answer(case, base, build, read):
    built = build(case, base)
    some = examples(read[1])
    rows = rows_of(built, some)
    assert len(set(map(len, rows))) > 3
    alone = [answer for row in rows for answer in logits(built, built.model, [row])]
    assert differs(logits(built, built.model, rows), alone) < CLOSE
    assert said(built.predictor.predict(some)) == [said(built.predictor.predict([e]))[0] for e in some]


@pytest.mark.parametrize(("case", "base"), PAIRS, ids=str)
def test_a_sentence_longer_than_the_positions_gets_a_tag_for_every_word(case, base, build):
    built = build(case, base)
    words = ("in the old town near Rome " * LONG).split()[:LONG]
    (prediction,) = built.predictor.predict([Example(id="0", inputs={"tokens": words})])
    assert built.base.positions < LONG
    assert len(prediction.value) == LONG
    assert set(prediction.value) <= set(built.task.labels.names)
    assert prediction.truncated == (not built.method.trains), "a prompt has no windows"


# Other programs


@pytest.mark.parametrize(("case", "base"), PEFT, ids=str)
def test_stock_peft_gives_the_same_logits_on_a_stock_model(case, base, build):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    built = build(case, base)
    tokenizer = AutoTokenizer.from_pretrained(built.base.folder)
    rows = [tokenizer(text).input_ids for text in TEXTS]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])

    def answers(model: Any) -> list[np.ndarray]:
        with torch.inference_mode():
            found = model.eval()(input_ids=ids, attention_mask=mask).logits.numpy()
        text = found[:, found.shape[1] - longest :]  # stock PEFT answers for the tokens of a soft prompt, too
        return [answer[: len(row)] for answer, row in zip(text, rows, strict=True)]

    bare = AutoModelForTokenClassification.from_pretrained(built.base.folder, num_labels=5)
    before = answers(bare)
    stock = answers(PeftModel.from_pretrained(bare, built.folder))
    assert differs(stock, answers(built.model)) < CLOSE
    assert differs(stock, before) > 0.01, "the adapter has changed what the base says"


def test_what_peft_knows_is_held_against_stock_peft():
    prompts = {"prefix", "prefix_projected", "prefix_random", "prompt_tuning", "prompt_random"}
    assert {"dora", "ia3", "lora", "peft", "rslora"} | prompts <= {case.label for case, _ in PEFT}


# Where the head begins


@pytest.mark.parametrize(
    ("name", "base"),
    [(name, base) for name in WORKS if load_method(name).trains for base in ("bert", "llama") if base in WORKS[name]],
)
def test_the_bias_of_the_head_begins_at_the_log_share_of_each_class(name, base, bases, read, method_of):
    task, train = read
    method = method_of(name)
    built = wrapped(method, bases[base], task, train)
    tiny.trainer(method, built.model, bases[base], task, train)
    # No word of these sentences has several parts, so each tag is one position; every class is seen once more.
    seen = Counter(tag for example in train for tag in example.gold) + Counter(task.labels.names)
    shares = np.log([seen[tag] / sum(seen.values()) for tag in task.labels.names])
    head = "score" if base == "llama" else "classifier"
    named = {n: p for n, p in built.model.named_parameters() if f"{head}." in n and n.endswith(".bias")}
    (bias,) = (p.detach().numpy() for p in named.values() if p.requires_grad)
    assert np.allclose(bias, shares, atol=1e-6)


# Where a prefix begins


def answers_behind(base: Any, init: Sequence[int], row: Sequence[int], head: Any) -> np.ndarray:
    """Logits of a row behind other tokens in the ordinary input, of which the row sees all and which see no row.

    Computed by transformers' plain attention on the bare body, without a cache: what a prefix stands for.
    """
    import torch
    from transformers import AutoModel

    body = AutoModel.from_pretrained(base.folder, attn_implementation="eager").eval()
    length = len(init) + len(row)
    sees = torch.ones(length, length)
    sees[: len(init), len(init) :] = 0
    if base.kind == "causal":
        sees = sees.tril()
    mask = (1 - sees)[None, None] * torch.finfo(torch.float32).min
    with torch.inference_mode():
        hidden = body(input_ids=torch.tensor([[*init, *row]]), attention_mask=mask).last_hidden_state
        found: np.ndarray = head(hidden)[0, len(init) :].numpy()
    return found


@pytest.mark.parametrize("tokens", [1, 5, 30])
@pytest.mark.parametrize("base", WORKS["prefix"])
def test_a_prefix_begins_as_the_text_that_stands_in_front(base, tokens, bases, read, method_of):
    task, train = read
    built = wrapped(method_of("prefix", num_virtual_tokens=tokens), bases[base], task, train)
    shown = list(chain.from_iterable(rows_of(built, train[:tokens])))
    assert len(shown) >= tokens
    rows = rows_of(built, examples(train))
    head = getattr(built.model.get_base_model().eval(), "score" if base == "llama" else "classifier")
    slow = [answers_behind(built.base, shown[:tokens], row, head) for row in rows]
    assert differs(logits(built, built.model, rows), slow) < CLOSE


def test_tokens_that_are_too_few_for_a_prefix_are_repeated(bases, read, method_of):
    task, train = read
    built = wrapped(method_of("prefix", num_virtual_tokens=30), bases["bert"], task, train[:1])
    (shown,) = rows_of(built, train[:1])
    assert 5 < len(shown) < 15
    rows = rows_of(built, examples(train))
    slow = [answers_behind(built.base, (shown * 6)[:30], row, built.model.get_base_model().classifier) for row in rows]
    assert differs(logits(built, built.model, rows), slow) < CLOSE


def test_a_random_prefix_and_one_of_no_examples_are_pefts_own(bases, read, method_of):
    import torch

    task, train = read
    given = [({"prefix_init": "random"}, train), ({}, ()), ({}, train)]
    random, empty, text = (wrapped(method_of("prefix", **c), bases["bert"], task, t) for c, t in given)
    name = "prompt_encoder.default.embedding.weight"
    assert torch.equal(random.at_first[name], empty.at_first[name])
    assert not torch.equal(random.at_first[name], text.at_first[name])


def test_a_prefix_on_a_base_whose_keys_pefts_prefix_does_not_fit_is_refused(folders, read, method_of, tmp_path):
    from transformers import AutoTokenizer, FalconConfig, FalconModel

    from adapters.models.base_model import open_base

    tokenizer = AutoTokenizer.from_pretrained(folders["llama"])
    config = FalconConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=4)
    FalconModel(config).save_pretrained(tmp_path / "falcon")
    tokenizer.save_pretrained(tmp_path / "falcon")
    with pytest.raises(ModelError, match=r"falcon: keys and values of a token are 16 numbers, but PEFT's .* has 64"):
        wrapped(method_of("prefix"), open_base(str(tmp_path / "falcon")), *read)


# Positions


@pytest.mark.parametrize(("name", "base"), SOFT)
def test_a_prompt_that_leaves_no_room_for_a_text_is_refused(name, base, bases, read, method_of):
    positions = bases[base].positions
    most = positions - LEAST_ROOM
    for tokens in (most + 1, positions, 10 * positions):
        with pytest.raises(ModelError) as refusal:
            method_of(name, num_virtual_tokens=tokens).check(bases[base], read[0])
        assert f"{name} would use {tokens} of the {positions} positions of {bases[base].name}" in str(refusal.value)
        assert f"Give --num_virtual_tokens {most} or fewer" in str(refusal.value)
    method_of(name, num_virtual_tokens=most).check(bases[base], read[0])


@pytest.mark.parametrize(
    ("name", "flag", "value", "needed"),
    [
        ("prefix", "num_virtual_tokens", 0, "at least 1"),
        ("prefix", "num_virtual_tokens", -1, "at least 1"),
        ("prefix", "encoder_hidden_size", 0, "at least 1"),
        ("prefix", "prefix_init", "texts", "text or random"),
        ("prompt_tuning", "num_virtual_tokens", 0, "at least 1"),
        ("prompt_tuning", "prompt_init", "texts", "text or random"),
        ("bottleneck", "bottleneck_size", 0, "at least 1"),
        ("bottleneck", "bottleneck_where", "pfeifer", "houlsby or pfeiffer"),
        ("ia3", "ia3_feedforward_modules", ["dense"], "among --ia3_target_modules"),
        ("dora", "lora_r", 0, "at least 1"),
        ("rslora", "lora_alpha", 0, "above 0 and at most 12288"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(name, flag, value, needed, method_of):
    shown = " ".join(value) if isinstance(value, list) else value
    with pytest.raises(SettingsError, match=f"--{flag} {shown}: must be {needed}"):
        method_of(name, **{flag: value})


@pytest.mark.parametrize(("name", "base"), SOFT)
@pytest.mark.parametrize("tokens", ["one", "most"])
def test_the_longest_prompt_and_the_longest_window_fill_the_positions_and_no_more(
    name, base, tokens, folders, read, method_of
):
    from adapters.models.base_model import open_base

    task, train = read
    on = open_base(str(folders[base]))
    on.tokenizer.model_max_length = 10**9  # the table of positions alone is the bound
    positions = on.positions
    number = 1 if tokens == "one" else positions - LEAST_ROOM
    built = wrapped(method_of(name, num_virtual_tokens=number, max_length=1000), on, task, train)
    word = "a" if base == "deberta" else "in"  # one token
    long = [Example(id="0", inputs={"tokens": [word] * 2 * positions})]
    rows = rows_of(built, long)
    assert max(map(len, rows)) + number == positions
    (prediction,) = built.predictor.predict(long)
    assert len(prediction.value) == 2 * positions
    if base != "llama":  # its positions are computed, the others' stand in a table
        with pytest.raises((IndexError, RuntimeError)):
            logits(built, built.model, [[*rows[0], rows[0][0]]])


@pytest.mark.parametrize("labels", [3, 5])
def test_the_head_of_another_task_in_a_checkpoint_is_drawn_anew(labels, bases, folders, method_of, read, tmp_path):
    import torch
    from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

    from adapters.models.base_model import open_base

    task, train = read
    config = AutoConfig.from_pretrained(folders["bert"], num_labels=labels)
    tagged = AutoModelForTokenClassification.from_pretrained(folders["bert"], config=config)
    tagged.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folders["bert"]).save_pretrained(tmp_path)
    model = method_of("head").wrap(open_base(str(tmp_path)), task, train)
    assert len(task.labels) == 5
    assert model.classifier.weight.shape == (5, 32)
    assert labels != 5 or not torch.equal(model.classifier.weight, tagged.classifier.weight)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, tagged.bert.embeddings.word_embeddings.weight)
