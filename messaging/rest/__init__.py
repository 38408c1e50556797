"""HTTP with JSON for those who send: the same services as GraphQL's, behind another door."""
