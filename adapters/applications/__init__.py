"""What a company would run, built on all other packages."""
