"""The prompt lab: prompts, numbers of shots, orders and calibrations side by side, and how much is luck."""
