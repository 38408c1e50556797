"""The GraphQL door: HTTP, documents, limits, failures."""
