"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class WorkspacesConfig(AppConfig):
    """Tenants, workspaces, keys and access."""

    name = "workspaces"
    verbose_name = "Tenants and workspaces"
    default_auto_field = "django.db.models.BigAutoField"
