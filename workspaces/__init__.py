"""Who is who, and with which keys: tenants, workspaces, secrets, encryption, access."""
