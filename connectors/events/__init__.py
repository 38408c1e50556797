"""Events on their way to tenants' apps: delivered, retried, replayed, and watched live."""
