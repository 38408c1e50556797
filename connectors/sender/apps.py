"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class SenderConfig(AppConfig):
    """The service through which linked devices send."""

    name = "connectors.sender"
    verbose_name = "Sender service"
