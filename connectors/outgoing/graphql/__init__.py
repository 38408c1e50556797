"""GraphQL of outgoing events, in parts; connectors/outgoing/schema.py puts them together."""
