"""GraphQL of templates; ``schema`` is what it adds to the API."""
