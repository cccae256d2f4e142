"""The bank over HTTP: the server, its page and its client."""
