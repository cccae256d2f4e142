"""taskswap: fine-tune, adapt or prompt one base model; compare fairly; serve many tasks from one copy."""

__version__ = "0.1.0"
