"""Runs: one, a comparison of many, a prompt lab, a sequence of tasks (continual learning)."""
