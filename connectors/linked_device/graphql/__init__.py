"""GraphQL of linked devices; ``schema`` is what it adds to the API."""
