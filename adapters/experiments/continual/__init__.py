"""Learning task after task: strategies against forgetting, compared."""
