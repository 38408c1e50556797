"""The admin's pages about who is who."""

from workspaces.admin import api_keys, tenants, workspaces

__all__ = ["api_keys", "tenants", "workspaces"]
