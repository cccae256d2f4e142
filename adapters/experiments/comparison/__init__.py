"""Runs of several methods, bases and seeds compared on the same examples."""
