"""A stream of news read by topic, sentiment and entity, with an alarm where negative ones surge."""
