"""Comparison: cells that are runs in processes of their own, their records held side by side, and what follows."""
