"""GraphQL of outgoing events, in parts; connectors/events/schema.py puts them together."""
