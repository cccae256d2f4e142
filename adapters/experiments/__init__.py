"""Runs: one, a comparison of many, a prompt lab."""
