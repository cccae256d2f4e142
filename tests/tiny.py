"""Tiny base models of every class with random weights, and tokenizers of the kinds that go with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

TEXT = [
    "Ada Lovelace lived in London .", "Alan Turing worked near Paris .", "Grace Hopper wrote notes in New York .",
    "Emmy Noether and Kurt Bohr lived in San Marino with a friend .", "Text : Entities : person : location : none",
]  # fmt: skip
POSITIONS = 128
ROUTED = {
    "ner": ["Ada Lovelace lived in New York .", "Alan Turing lived in San Marino .", "Rosa Parks worked near Rome ."],
    "mood": ["a joy", "so dull", "what a film", "a bad one"],
}
"""Texts by which `router` tells two adapters apart."""


def _byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE trained on `TEXT`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def gpt2(folder: Path, *, seed: int = 0, positions: int = POSITIONS) -> Path:
    """GPT-2: absolute positions, byte-level BPE with leading spaces, no token to pad with, Conv1D layers."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

    vocabulary, merges = _byte_pairs()
    tokenizer = GPT2TokenizerFast(vocab=vocabulary, merges=merges, model_max_length=positions)
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(vocabulary), n_embd=32, n_layer=2, n_head=2, n_positions=positions,
        bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    return _save(folder, seed, tokenizer, lambda: GPT2LMHeadModel(config))


def llama(folder: Path, *, seed: int = 0, positions: int = POSITIONS) -> Path:
    """Llama: rotary positions, grouped keys and values, the tokenizer of smollm2."""
    from transformers import GPT2TokenizerFast, LlamaConfig, LlamaForCausalLM

    vocabulary, merges = _byte_pairs()
    tokenizer = GPT2TokenizerFast(vocab=vocabulary, merges=merges, model_max_length=positions)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=positions, tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return _save(folder, seed, tokenizer, lambda: LlamaForCausalLM(config))


def roberta(folder: Path, *, seed: int = 0, positions: int = POSITIONS) -> Path:
    """RoBERTa: positions begin behind the padding index, words need a space in front."""
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    vocabulary, merges = _byte_pairs()
    tokenizer = RobertaTokenizerFast(vocab=vocabulary, merges=merges, model_max_length=positions)
    config = RobertaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=positions + 2, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, type_vocab_size=1,
    )  # fmt: skip
    return _save(folder, seed, tokenizer, lambda: RobertaModel(config))


def _unigram(special: Iterable[str], **names: str) -> Any:
    """A SentencePiece-like tokenizer, `▁` before words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    letters = sorted({c for text in TEXT for c in text} | set('abcdefghijklmnopqrstuvwxyz:.,<>/[]{}"'))
    trainer = trainers.UnigramTrainer(
        vocab_size=160, special_tokens=list(special), unk_token=names["unk_token"], initial_alphabet=letters,
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXT, trainer)
    begin, end = names.get("cls_token"), names.get("sep_token") or names["eos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}" if begin else f"$A {end}",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (begin, end) if name],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=POSITIONS, **names)


def deberta(folder: Path, *, seed: int = 0) -> Path:
    """DeBERTa v2: relative positions, a disentangled attention of its own."""
    from transformers import DebertaV2Config, DebertaV2Model

    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    tokenizer = _unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]"], **names)
    config = DebertaV2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=POSITIONS, relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"],
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return _save(folder, seed, tokenizer, lambda: DebertaV2Model(config))


def t5(folder: Path, *, seed: int = 0) -> Path:
    """T5: an encoder-decoder."""
    from transformers import T5Config, T5ForConditionalGeneration

    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = _unigram(["<pad>", "</s>", "<unk>"], **names)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return _save(folder, seed, tokenizer, lambda: T5ForConditionalGeneration(config))


def _wordpiece() -> Any:
    """A WordPiece tokenizer of letters and the words of `TEXT`, as BERT's."""
    from transformers import BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:"
    words = sorted({word.lower() for text in TEXT for word in text.split()} - set(letters))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), *words]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return BertTokenizerFast(vocab=vocabulary, do_lower_case=True, model_max_length=POSITIONS)


def _sizes(tokenizer: Any) -> dict[str, Any]:
    """Sizes that most configs have under these names."""
    return {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": POSITIONS, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip


def modernbert(folder: Path, *, seed: int = 0) -> Path:
    """ModernBERT, with its masked head: rotary positions, fused keys and values, half of a classifier's head."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    tokenizer = _wordpiece()
    config = ModernBertConfig(
        **_sizes(tokenizer), local_attention=16, global_attn_every_n_layers=2, cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id, bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id,
    )  # fmt: skip
    return _save(folder, seed, tokenizer, lambda: ModernBertForMaskedLM(config))


def distilbert(folder: Path, *, seed: int = 0) -> Path:
    """DistilBERT: a classifier's head of two layers, no token types."""
    from transformers import DistilBertConfig, DistilBertModel

    tokenizer = _wordpiece()
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, hidden_dim=64, n_layers=2, n_heads=2, max_position_embeddings=POSITIONS
    )
    return _save(folder, seed, tokenizer, lambda: DistilBertModel(config))


def electra(folder: Path, *, seed: int = 0) -> Path:
    """ELECTRA's discriminator: embeddings narrower than the layers."""
    from transformers import ElectraConfig, ElectraModel

    tokenizer = _wordpiece()
    config = ElectraConfig(**_sizes(tokenizer), embedding_size=16)
    return _save(folder, seed, tokenizer, lambda: ElectraModel(config))


def albert(folder: Path, *, seed: int = 0) -> Path:
    """ALBERT: one layer, used several times."""
    from transformers import AlbertConfig, AlbertModel

    tokenizer = _wordpiece()
    config = AlbertConfig(**_sizes(tokenizer), embedding_size=16)
    return _save(folder, seed, tokenizer, lambda: AlbertModel(config))


def mpnet(folder: Path, *, seed: int = 0) -> Path:
    """MPNet: positions begin behind the padding index, relative positions as well."""
    from transformers import MPNetConfig, MPNetModel

    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
    tokenizer = _unigram(["<s>", "<pad>", "</s>", "<unk>"], **names, unk_token="<unk>")
    config = MPNetConfig(**{**_sizes(tokenizer), "max_position_embeddings": POSITIONS + 2})
    return _save(folder, seed, tokenizer, lambda: MPNetModel(config))


def xlmr(folder: Path, *, seed: int = 0) -> Path:
    """XLM-R: RoBERTa with a SentencePiece-like tokenizer."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
    tokenizer = _unigram(["<s>", "<pad>", "</s>", "<unk>"], **names, unk_token="<unk>")
    config = XLMRobertaConfig(
        **{**_sizes(tokenizer), "max_position_embeddings": POSITIONS + 2}, type_vocab_size=1,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return _save(folder, seed, tokenizer, lambda: XLMRobertaModel(config))


def _decoder(
    folder: Path, seed: int, config: str, model: str, *, cut: str = "GPT2TokenizerFast", **options: Any
) -> Path:
    """A causal model of any class with a byte-level tokenizer of a class, `cut`."""
    import transformers

    vocabulary, merges = _byte_pairs()
    tokenizer = getattr(transformers, cut)(vocab=vocabulary, merges=merges, model_max_length=POSITIONS)
    end = tokenizer.eos_token_id
    sizes = {**_sizes(tokenizer), "pad_token_id": None, "bos_token_id": end, "eos_token_id": end}
    made = getattr(transformers, config)(**{**sizes, **options})
    return _save(folder, seed, tokenizer, lambda: getattr(transformers, model)(made))


def opt(folder: Path, *, seed: int = 0) -> Path:
    """OPT: learnt positions after an offset, a decoder inside the decoder."""
    sizes = {"ffn_dim": 64, "word_embed_proj_dim": 32, "pad_token_id": 1}
    return _decoder(folder, seed, "OPTConfig", "OPTForCausalLM", **sizes)


def gptneox(folder: Path, *, seed: int = 0) -> Path:
    """GPT-NeoX: fused queries, keys and values."""
    return _decoder(folder, seed, "GPTNeoXConfig", "GPTNeoXForCausalLM", cut="GPTNeoXTokenizerFast")


def qwen2(folder: Path, *, seed: int = 0) -> Path:
    """Qwen2: Llama with biases of queries, keys and values."""
    return _decoder(folder, seed, "Qwen2Config", "Qwen2ForCausalLM", cut="Qwen2TokenizerFast", num_key_value_heads=1)


def qwen3(folder: Path, *, seed: int = 0) -> Path:
    """Qwen3: norms of queries and keys."""
    return _decoder(
        folder, seed, "Qwen3Config", "Qwen3ForCausalLM", cut="Qwen2TokenizerFast", num_key_value_heads=1, head_dim=16
    )


def gemma(folder: Path, *, seed: int = 0) -> Path:
    """Gemma: scaled embeddings, norms that add one to their weight."""
    sizes = {"num_key_value_heads": 1, "head_dim": 16, "pad_token_id": 1}
    return _decoder(folder, seed, "GemmaConfig", "GemmaForCausalLM", **sizes)


def _save(folder: Path, seed: int, tokenizer: Any, build: Callable[[], Any]) -> Path:
    import torch

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    build().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


BUILDERS = {"gpt2": gpt2, "llama": llama, "roberta": roberta, "deberta": deberta, "t5": t5}
MORE = {
    "modernbert": modernbert, "distilbert": distilbert, "electra": electra, "albert": albert, "mpnet": mpnet,
    "xlmr": xlmr, "opt": opt, "gptneox": gptneox, "qwen2": qwen2, "qwen3": qwen3, "gemma": gemma,
}  # fmt: skip
"""Classes that few tests need."""


def method(name: str, **changes: Any) -> Any:
    """A method with the settings of a short run."""
    from adapters.core import discovery
    from adapters.core.settings import CommonSettings, join
    from adapters.methods.base.method import load_method

    kind = join(CommonSettings, discovery.load("methods", name).Settings)
    short = {
        "max_train_steps": 4, "per_device_train_batch_size": 8, "learning_rate": 0.01, "mixed_precision": "no",
        "num_virtual_tokens": 8, "max_new_tokens": 8, "shots": 1, "peft_type": "VERA",
    }  # fmt: skip
    known = {key: value for key, value in short.items() if key in kind.__dataclass_fields__}
    return load_method(name)(kind(**{**known, **changes}))


def trainer(method: Any, model: Any, base: Any, task: Any, train: Any, precision: str | None = None) -> Any:
    """The trainer that `run.Run.fit` makes."""
    from accelerate import Accelerator

    from adapters.training.checkpoint import Checkpoints
    from adapters.training.trainer import Trainer

    class Unsaved(Checkpoints):
        """Checkpoints of a run that leaves none."""

        def save_trained(self, tensors: Any, state: Any) -> Path:
            return self.folder

    budget = method.budget(base, method.settings.max_length)
    nowhere = Unsaved(Path("unused"), dict, save_total_limit=1)
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    begun = partial(method.before_training, model)
    objective, examples = method.training_data(task, train)
    return Trainer(
        model,
        objective,
        base,
        examples,
        method.settings,
        accelerator,
        budget=budget,
        checkpoints=nowhere,
        before_training=begun,
    )


def tagging(types: Iterable[str] = ("PER", "LOC")) -> Any:
    """A task of named entities, of no data."""
    from adapters.data.tag_schemes import tag_labels
    from adapters.tasks.ner import Task

    return Task(tag_labels(types))


def classifying(labels: Iterable[str] = ("bad", "good"), **options: Any) -> Any:
    """A task of text classification, of no data."""
    from adapters.data.labels import LabelSet
    from adapters.tasks.classification import Task

    return Task(LabelSet(tuple(labels)), **options)


def relating(labels: Iterable[str] = ("lives_in", "no_relation", "works_for")) -> Any:
    """Relation extraction with these labels."""
    from adapters.core import discovery
    from adapters.data.labels import LabelSet

    return discovery.load("tasks", "relation_extraction").Task(LabelSet(tuple(labels)))


def regressing(**options: Any) -> Any:
    """A task of one number, of no data: stars from 1 to 5."""
    from adapters.data.regression_rows import LabelRange
    from adapters.tasks.regression import Task

    return Task(LabelRange(minimum=1.0, maximum=5.0, mean=3.5, sd=1.25), **options)


def named_base(name: str = "a-base", weights: str = "a" * 64, tokenizer: str = "b" * 64) -> Any:
    """A base of which there are only the name and the digests."""
    from adapters.core.sources.resolve import Source
    from adapters.models.base_model import Base

    nothing: Any = None
    base = Base(source=Source(name=name, path=None, alias=name), config=nothing, tokenizer=nothing)
    vars(base).update(digest=weights, tokenizer_digest=tokenizer)
    return base


def adapter(
    folder: Path, name: str, base: Any, task: Any, *, seed: int = 0, reference: Any = None, **changes: Any
) -> Path:
    """An artifact of a method whose trained parameters are random, large enough to change every answer."""
    import torch

    from adapters.artifacts import artifact

    how = method(name, **changes)
    how.check(base, task)
    torch.manual_seed(seed)
    model = how.wrap(base, task, ())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    card = {
        "task": task.card(),
        "method": {"name": name, "library": how.library, "settings": how.recorded()},
        "max_length": how.settings.max_length,
        "label_digest": task.labels.digest,
        "base": base.digests(),
        **({} if reference is None else {"reference": reference}),
    }
    artifact.write(folder, lambda draft: how.save(model, base, draft), card, "# An adapter\n")
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """An artifact with another card, and the right digests of that and of its files as they are now."""
    from adapters.core.files import as_json, digest_file, digest_value

    card = json.loads((folder / "card.json").read_text())
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "card.json"]
    card["files"] = {path.relative_to(folder).as_posix(): digest_file(path) for path in files}
    change(card)
    del card["digest"]
    (folder / "card.json").write_text(as_json({**card, "digest": digest_value(card)}))
    return folder


def router(folder: Path, bank: Any) -> Path:
    """A router for adapters `ner` and `mood` that refuses what is farther from both than its own texts."""
    from adapters.serving.bank.router import Router

    made = Router.fit("means", ROUTED, embed=bank.embed)
    made.set_threshold(ROUTED, rate=0.0)
    assert made.threshold is not None and made.threshold < 0
    made.threshold *= 1.01  # the last digits of a text's features depend on the batch
    made.save(folder, bank.base)
    return folder
