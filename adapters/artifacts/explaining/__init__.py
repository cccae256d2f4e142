"""Why an answer was given: one file per attribution method."""
