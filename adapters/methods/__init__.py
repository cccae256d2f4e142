"""One file an approach: full fine-tuning, adapters, prompting; what methods share is in `base/`."""
