"""What people write by hand: FastAPI, stock PEFT, `set_adapter` and one forward pass under a lock.

    python tests/benchmarks/plain_server.py BASE PORT NAME=TASK:FOLDER …

The heads, of tags and of classes, are PEFT's `modules_to_save`, one an adapter. `serving.py` starts it.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from pydantic import BaseModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer


class Asked(BaseModel):
    """A text for an adapter."""

    adapter: str
    text: str


class Both(torch.nn.Module):
    """A body with a head for tags and one for classes."""

    def __init__(self, folder: str, tags: int, classes: int) -> None:
        """Args: the base's folder, and how large the heads are."""
        super().__init__()
        self.bert = AutoModel.from_pretrained(folder)
        self.config = self.bert.config
        self.tagger = torch.nn.Linear(self.config.hidden_size, tags)
        self.classifier = torch.nn.Linear(self.config.hidden_size, classes)

    def forward(self, kind: str, **inputs: Any) -> Any:
        """Logits of one of the heads."""
        out = self.bert(**inputs)
        return self.tagger(out.last_hidden_state) if kind == "ner" else self.classifier(out.pooler_output)


def build(folder: str, adapters: dict[str, tuple[str, Path]]) -> Any:
    """The model with all adapters, each with its head."""
    saved = {name: load_file(path / "adapter_model.safetensors") for name, (_, path) in adapters.items()}

    def size(kind: str) -> int:
        name = next(name for name, (task, _) in adapters.items() if task == kind)
        return int(saved[name]["base_model.model.classifier.weight"].shape[0])

    model: Any = Both(folder, size("ner"), size("classification"))
    for number, (name, (kind, path)) in enumerate(adapters.items()):
        told = LoraConfig.from_pretrained(str(path))
        head = "tagger" if kind == "ner" else "classifier"
        trained = [head] if kind == "ner" else [head, "bert.pooler"]  # classes are told from what the pooler gives
        config = LoraConfig(r=told.r, lora_alpha=told.lora_alpha, target_modules=told.target_modules,
                            modules_to_save=trained, exclude_modules=r".*\bpooler\b.*")  # fmt: skip
        if number:
            model.add_adapter(name, config)
        else:
            model = get_peft_model(model, config, adapter_name=name)
        tensors = {key.replace("model.classifier.", f"model.{head}."): tensor for key, tensor in saved[name].items()}
        found = set_peft_model_state_dict(model, tensors, adapter_name=name)
        assert not found.unexpected_keys, found.unexpected_keys
    return model.eval()


def main() -> None:
    """Serve until killed."""
    folder, port, *given = sys.argv[1:]
    split = {name: rest.partition(":") for name, _, rest in (word.partition("=") for word in given)}
    adapters = {name: (kind, Path(path)) for name, (kind, _, path) in split.items()}
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model, tokenizer = build(folder, adapters), AutoTokenizer.from_pretrained(folder)
    lock, app = threading.Lock(), FastAPI()

    @app.post("/predict")
    def predict(asked: Asked) -> dict[str, Any]:
        inputs = tokenizer(asked.text, return_tensors="pt", truncation=True, max_length=256)
        with lock, torch.inference_mode():
            model.set_adapter(asked.adapter)
            logits = model(kind=adapters[asked.adapter][0], **inputs)[0]
        scores, found = logits.softmax(-1).max(-1)
        return {"labels": found.tolist(), "scores": scores.tolist()}

    uvicorn.run(app, port=int(port), log_level="warning")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
