"""Many adapters on one base model: in one process (`bank/`) and over HTTP (`http/`)."""
