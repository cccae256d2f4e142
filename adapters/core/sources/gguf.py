"""Conversion of GGUF weights to safetensors, once, after download."""

from __future__ import annotations

from pathlib import Path

from adapters.core.errors import SourceError
from adapters.core.sources.wheels import say


def gguf_to_safetensors(folder: Path) -> None:
    """Replace the GGUF file of a folder by a transformers model with the same weights and tokenizer, in float32.

    Only float32 is exact. Q4_1 stores scale·q + offset with both in float16, but their sum does not fit float16:
    of SmolLM2-135M, 42 % of the weights do not fit float16 and 79 % not bfloat16 (off by up to 0.014). That file
    grows from 98 MB to 538 MB, once; the model may still be loaded in bfloat16.

    Raises SourceError if `gguf` is not installed.
    """
    say("converting GGUF to safetensors; this is done once and takes about half a minute")
    import torch
    import transformers
    from safetensors import SafetensorError

    (source,) = folder.glob("*.gguf")
    # Newer versions keep weights packed if they have a kernel for it, and then cannot save them.
    settings = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": settings(dequantize=True)} if settings else {}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=source.name, dtype=torch.float32, trust_remote_code=False, **options
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=source.name, trust_remote_code=False)
    except ImportError as error:
        raise SourceError(
            f"{source.name} cannot be read without the package gguf: run `pip install gguf` ({error})"
        ) from error
    source.unlink()
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except SafetensorError as error:  # usually a full disk; it is no OSError
        raise SourceError(
            f"the safetensors converted from {source.name} could not be written: {error}. Make room on the disk"
        ) from error
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes 0600, which a shared cache cannot use
