"""Adapters that stock PEFT makes and saves, and their answers in stock PEFT and in a bank: `compare` holds the two."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiny
from conftest import build_tiny_bert

from adapters.core.errors import UserError
from adapters.models.tokenizer import WordTokenizer

CLOSE = 1e-5
TEXTS = [
    "The dog.",
    "  Two blanks, then words",
    'In 2024, we paid $3,000.50 ("cash").',
    "line\nbreak\r\n\n end ",
    "I \u2764\ufe0f \U0001f469\u200d\U0001f4bb in 東京 and 北京大学!",
    "don't, it's the U.N. [SEP] </s> <|endoftext|>",
    "Ada Lovelace lived in New York with a friend, and wrote notes near the old town of San Marino.",
]
"""Texts on which tokenizers differ: leading blanks, digits, line breaks, emoji, CJK, spelled special tokens."""
QUESTION = "Who wrote notes in 2024?"
LABELS = {
    "SEQ_CLS": ["bad", "so", "good"],
    "TOKEN_CLS": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "QUESTION_ANS": [],
    "CAUSAL_LM": [],
}
HEADED = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "CAUSAL_LM": "AutoModelForCausalLM",
}


BASES: dict[str, tuple[Callable[..., Path], list[str]]] = {
    name: ({"bert": build_tiny_bert, **tiny.BUILDERS, **tiny.MORE}[name], targets.split())
    for name, targets in {
        "bert": "query value",
        "roberta": "query value",
        "xlmr": "query value",
        "distilbert": "q_lin v_lin",
        "electra": "query value",
        "albert": "query value",
        "mpnet": "q v",
        "modernbert": "Wqkv",
        "deberta": "query_proj value_proj",
        "gpt2": "c_attn",
        "gptneox": "query_key_value",
        "opt": "q_proj v_proj",
        "llama": "q_proj v_proj",
        "qwen2": "q_proj v_proj",
        "qwen3": "q_proj v_proj",
        "gemma": "q_proj v_proj",
    }.items()
}
"""Builders of tiny bases of all classes, with the layers that LoRA usually adapts in them."""
CAUSAL = ("gpt2", "gptneox", "opt", "llama", "qwen2", "qwen3", "gemma")


def configs(base: str) -> dict[str, Callable[[], Any]]:
    """Configs of PEFT's methods for a base, by name."""
    import peft

    targets = BASES[base][1]
    rank = {"r": 4, "lora_alpha": 32}
    return {
        "LoRA": lambda: peft.LoraConfig(**rank, target_modules=targets),
        "LoRA, all linear layers": lambda: peft.LoraConfig(**rank, target_modules="all-linear"),
        "rsLoRA": lambda: peft.LoraConfig(**rank, target_modules=targets, use_rslora=True),
        "DoRA": lambda: peft.LoraConfig(**rank, target_modules=targets, use_dora=True),
        "LoRA with patterns": lambda: peft.LoraConfig(
            **rank, target_modules=targets, rank_pattern={targets[0]: 2}, alpha_pattern={targets[-1]: 4}
        ),
        "(IA)³": lambda: peft.IA3Config(target_modules=targets, feedforward_modules=[]),
        "prefix tuning": lambda: peft.PrefixTuningConfig(num_virtual_tokens=4),
        "prompt tuning": lambda: peft.PromptTuningConfig(num_virtual_tokens=4),
    }


def tasks(base: str) -> list[str]:
    """PEFT's task types that are tried on a base; only a causal one writes."""
    return [task for task in LABELS if task != "CAUSAL_LM" or base in CAUSAL]


class ImpossibleError(Exception):
    """PEFT itself cannot make or run the adapter on this base."""


@dataclass(frozen=True)
class Foreign:
    """An adapter that PEFT saved.

    Attributes:
        folder: of the adapter.
        base: folder of its base.
        task: PEFT's task type.
        options: of the model's config.
    """

    folder: Path
    base: Path
    task: str
    options: dict[str, Any]

    def headed(self) -> Any:
        """The base with the head that the adapter was made on."""
        import torch
        import transformers

        torch.manual_seed(1)
        given = {"num_labels": len(LABELS[self.task])} if LABELS[self.task] else {}
        return getattr(transformers, HEADED[self.task]).from_pretrained(self.base, **{**given, **self.options})


def make(folder: Path, base: Path, task: str, config: Callable[[], Any], *, seed: int = 0, **options: Any) -> Foreign:
    """An adapter with random parameters, as PEFT saves it. Raises ImpossibleError if PEFT cannot make or run it."""
    import peft
    import torch

    made = Foreign(folder, base, task, options)
    chosen = config()
    chosen.task_type = task
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = made.headed()
            if model.config.get_text_config().pad_token_id is None and task == "SEQ_CLS":
                model.config.pad_token_id = 0
            wrapped = peft.get_peft_model(model, chosen)
            torch.manual_seed(seed)
            with torch.no_grad():
                for parameter in wrapped.parameters():
                    if parameter.requires_grad:
                        parameter.add_(torch.randn_like(parameter), alpha=0.1)
            wrapped.eval()(input_ids=torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3, dtype=torch.long))
            wrapped.save_pretrained(folder)
            stock_model(made)
    except Exception as error:
        raise ImpossibleError(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}") from error
    return made


def stock_model(made: Foreign) -> Any:
    """The adapter in stock PEFT."""
    from peft import PeftModel

    model = made.headed()
    model.config.pad_token_id = None if made.task == "SEQ_CLS" else model.config.get_text_config().pad_token_id
    return PeftModel.from_pretrained(model, made.folder).eval()


def as_data(tokenizer: Any, *given: str, **options: Any) -> list[int]:
    """The stock tokenizer's ids of data: with `split_special_tokens`, as the base's own call makes them.

    A special token that a unigram model reads in a text even so is an unknown one here; that is the stated difference.
    """
    lists = [[text] for text in given]  # a lone empty second text would be taken for none
    encoded = tokenizer(*lists, split_special_tokens=True, return_special_tokens_mask=True, verbose=False, **options)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    blank = WordTokenizer(tokenizer).blank
    pairs = zip(encoded.input_ids[0], encoded.special_tokens_mask[0], strict=True)
    return [blank if token in special and not template else token for token, template in pairs]


def stock_answer(model: Any, made: Foreign, text: str, tokenizer: Any = None) -> np.ndarray:
    """What stock PEFT answers to one text alone, cut by the base's own tokenizer: logits, or the tokens it writes."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = tokenizer or AutoTokenizer.from_pretrained(made.base)
    given = (QUESTION, text) if made.task == "QUESTION_ANS" else (text,)
    ids = torch.tensor([as_data(tokenizer, *given)])
    config = model.active_peft_config
    virtual = config.num_virtual_tokens if config.is_prompt_learning else 0
    with torch.inference_mode():
        if made.task == "CAUSAL_LM":
            mask = torch.ones_like(ids)
            out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=0)
            return np.array(out[0, ids.shape[1] :].tolist())
        out = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        if made.task == "QUESTION_ANS":
            logits = np.stack([out.start_logits[0].numpy(), out.end_logits[0].numpy()], 1)
        else:
            logits = out.logits[0].numpy()
    cut_prompt = virtual and logits.ndim == 2 and len(logits) > ids.shape[1]
    return logits[virtual:] if cut_prompt else logits


def bank_answers(bank: Any, asked: Sequence[tuple[str, Foreign, str]]) -> list[np.ndarray]:
    """What a bank answers to texts of loaded adapters, in mixed batches: logits of the first window, or tokens."""
    from adapters.serving.bank.bank import Request, Sampling
    from adapters.serving.bank.mixed_inference import _Row

    writing = [(name, text) for name, made, text in asked if made.task == "CAUSAL_LM"]
    written = iter(bank.generate([Request(*one) for one in writing], Sampling(max_new_tokens=8)) if writing else ())
    rows: list[Any] = []
    with bank.lease(*dict.fromkeys(name for name, _, _ in asked)) as leased:
        for name, made, text in asked:
            if made.task != "CAUSAL_LM":
                resident = leased[name].resident
                inputs = {"question": QUESTION, "context": text} if made.task == "QUESTION_ANS" else {"text": text}
                example = resident.task.from_request(inputs, "0")
                encoded = resident.task.encode([example], bank.base.word_tokenizer, resident.budget)[0]
                rows.append(_Row(resident, encoded, len(rows)))
        answers = bank._inference._answers(rows)
    found, done = [], 0
    for _, made, _ in asked:
        if made.task == "CAUSAL_LM":
            found.append(np.array([ord(letter) for letter in next(written)["output"]["completion"]]))
            continue
        answer, size = answers[done], len(rows[done].encoded.input_ids)
        answer = answer.T if made.task == "QUESTION_ANS" else answer
        found.append(answer[:size] if answer.ndim == 2 else answer)
        done += 1
    return found


def wanted(made: Foreign) -> list[np.ndarray]:
    """What stock PEFT answers to each of `TEXTS`: logits, or the letters that it writes."""
    from transformers import AutoTokenizer

    model, tokenizer = stock_model(made), AutoTokenizer.from_pretrained(made.base)
    answers = [stock_answer(model, made, text, tokenizer) for text in TEXTS]
    if made.task == "CAUSAL_LM":
        texts = [tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
        return [np.array([ord(letter) for letter in text]) for text in texts]
    return answers


def difference(found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
    """The largest difference of two lists of answers; infinite if their shapes differ."""
    pairs = zip(found, right, strict=True)
    return max(float(np.abs(a - b).max(initial=0.0)) if a.shape == b.shape else float("inf") for a, b in pairs)


def refusal(bank: Any, name: str, made: Foreign) -> str:
    """Load an adapter into a bank under a name; the reason, if the bank refuses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bank.load(name, made.folder, labels=LABELS[made.task] or None)
        except UserError as error:
            return str(error).replace(str(made.folder), "FOLDER")
    return ""


def compare(bank: Any, made: Foreign) -> str:
    """`equal`, or `refused: …`, or `DIFFERENT by …`: an adapter alone in a bank beside stock PEFT."""
    if reason := refusal(bank, "one", made):
        return f"refused: {reason}"
    try:
        gap = difference(bank_answers(bank, [("one", made, text) for text in TEXTS]), wanted(made))
    finally:
        bank.unload("one")
    return "equal" if gap <= CLOSE else f"DIFFERENT by {gap:.2g}"
