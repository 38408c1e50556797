"""What messages look like in GraphQL."""
