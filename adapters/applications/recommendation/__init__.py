"""Recommendations from the texts of items and the events of users."""
