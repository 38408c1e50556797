"""GraphQL of tenants and workspaces; ``schema`` is what it adds to the API."""
