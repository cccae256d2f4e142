"""Prompting: a template of data, shots from the training split, a model that writes, and a task that reads it."""
