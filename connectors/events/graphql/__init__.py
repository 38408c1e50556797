"""GraphQL of events to tenants' apps; ``schema`` is what it adds to the API."""
