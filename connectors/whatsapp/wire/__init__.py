"""Meta's wire format: bytes and values in, values or exceptions out; pure."""
