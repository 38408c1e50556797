"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.models.signals import post_migrate

from workspaces import checks, events, roles


class WorkspacesConfig(AppConfig):
    """Tenants, workspaces, keys and access."""

    name = "workspaces"
    verbose_name = "Tenants and workspaces"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and what has to be done after migrations.

        Raises:
            SystemExit: ``SIGMA_EVENT_SINK`` is wrong. A system check would not stop the web server.
        """
        try:
            events.sink()
        except events.NoSink as error:
            raise SystemExit(f"sigma: {error}") from None
        register(checks.check_database_role, Tags.database, deploy=True)
        post_migrate.connect(roles.secure, sender=self, dispatch_uid="roles")
        register(checks.check_settings, Tags.security)
        register(checks.check_deployment, Tags.security, deploy=True)
