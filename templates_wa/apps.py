"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class TemplatesConfig(AppConfig):
    """Message templates."""

    name = "templates_wa"
    verbose_name = "Templates"
    default_auto_field = "django.db.models.BigAutoField"
