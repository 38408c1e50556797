"""Meta's Cloud API: wire format (pure) and Graph client."""
