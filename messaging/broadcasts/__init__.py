"""One template to a list of people: the list, its check, its feeding into the outbox, its end."""
