"""The `taskswap` command: one file a subcommand."""
