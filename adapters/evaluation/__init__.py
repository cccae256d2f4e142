"""Scoring a predictor on examples, significance tests, metrics and reports."""
