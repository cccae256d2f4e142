"""One file a task; what tasks share is in `base/`."""
