"""What ``manage.py sender`` does, verb by verb; the command itself only takes the arguments."""
