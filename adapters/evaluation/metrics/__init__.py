"""One file a metric; what metrics share is in `base/`."""
