"""Prompts, numbers of demonstrations, their seeds and calibrations compared."""
