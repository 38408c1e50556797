"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    """Contacts, messages and their statuses."""

    name = "messaging"
    verbose_name = "Messaging"
    default_auto_field = "django.db.models.BigAutoField"
