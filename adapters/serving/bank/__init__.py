"""Many adapters on one frozen base model, answering mixed batches."""
