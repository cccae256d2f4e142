"""Recommendations from the texts of items and what users did with them."""
