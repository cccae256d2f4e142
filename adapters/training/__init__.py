"""The training loop, optimizer, checkpoints, estimates and trackers."""
