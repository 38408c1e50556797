"""The verbs of ``manage.py sender``; the command itself takes the arguments and calls them."""
