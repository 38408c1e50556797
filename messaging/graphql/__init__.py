"""GraphQL of messages and people, by area; ``schema`` is what it adds to the API."""
