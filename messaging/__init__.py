"""What was said, by whom, and where it got to."""
