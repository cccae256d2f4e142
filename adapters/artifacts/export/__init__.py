"""Formats that models are exported to: one file a format, with a class `Format`."""
