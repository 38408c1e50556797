"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class WhatsAppConfig(AppConfig):
    """Meta's Cloud API: callbacks in, requests out."""

    name = "connectors.whatsapp"
    verbose_name = "WhatsApp"
    default_auto_field = "django.db.models.BigAutoField"
