"""GraphQL of callbacks; ``schema`` is what it adds to the API."""
