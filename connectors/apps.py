"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class ConnectorsConfig(AppConfig):
    """The doors to the outside."""

    name = "connectors"
    verbose_name = "Connectors"
    default_auto_field = "django.db.models.BigAutoField"
