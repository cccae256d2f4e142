"""The base model of any kind: loading, tokenizer, layers, precision, quantization, sharding, batching, generation."""
