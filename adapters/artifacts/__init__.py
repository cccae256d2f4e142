"""Artifacts: verified folders, loading, model cards, plain PEFT folders, merging and combining."""
