"""From past questions and replies to an assistant that answers, asks back, or hands over."""
