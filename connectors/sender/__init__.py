"""The sender service: send a text to a number, for applications that want no more (port 8081)."""
