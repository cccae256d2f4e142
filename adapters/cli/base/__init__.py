"""What the commands share; not a command itself."""
