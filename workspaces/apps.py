"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register

from workspaces import checks


class WorkspacesConfig(AppConfig):
    """Tenants, workspaces, keys and access."""

    name = "workspaces"
    verbose_name = "Tenants and workspaces"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        register(checks.check_settings, Tags.security)
        register(checks.check_deployment, Tags.security, deploy=True)
