"""The GraphQL schema: the apps' queries and mutations, composed."""
