"""What the formats share; not a format itself."""
