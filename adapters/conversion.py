"""Weights of other formats turned into safetensors, once, when they are fetched."""

from __future__ import annotations

from pathlib import Path

from adapters.errors import SourceError
from adapters.wheels import say


def gguf_to_safetensors(folder: Path) -> None:
    """Replace the one GGUF file of a folder by a transformers folder with the same weights and tokenizer, in float32.

    float32, because it alone is exact. Q4_1 stores scale·q + offset, both float16 numbers, and the sum is not one:
    of SmolLM2-135M, 42 % of the weights do not fit float16 and 79 % not bfloat16 (off by up to 0.014). That file
    grows from 98 MB to 538 MB, once; the model may still be loaded in bfloat16.

    Raises: SourceError when `gguf` is not installed.
    """
    say("turning GGUF into safetensors; this is done once and takes about half a minute")
    import torch
    import transformers
    from safetensors import SafetensorError

    (source,) = folder.glob("*.gguf")
    # Newer versions keep the weights packed where they have a kernel for it, and then cannot save them.
    settings = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": settings(dequantize=True)} if settings else {}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=source.name, dtype=torch.float32, **options
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=source.name)
    except ImportError as error:
        raise SourceError(
            f"{source.name} cannot be read without the package gguf: run `pip install gguf` ({error})"
        ) from error
    source.unlink()
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except SafetensorError as error:  # a full disk, mostly; it is no OSError
        raise SourceError(
            f"the safetensors made of {source.name} could not be written: {error}. Make room there"
        ) from error
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes 0600, which a cache that several people share cannot use
