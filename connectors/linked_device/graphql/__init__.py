"""GraphQL of linked devices, in parts; connectors/linked_device/schema.py puts them together."""
