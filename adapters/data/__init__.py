"""Rows, columns, labels and tag schemes, word splitting, the Arrow cache, and the cutting of splits."""
