"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """Events to tenants' apps."""

    name = "connectors.events"
    verbose_name = "Events"
    default_auto_field = "django.db.models.BigAutoField"
