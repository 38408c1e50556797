"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class LinkedDeviceConfig(AppConfig):
    """WhatsApp accounts that are linked as a device."""

    name = "connectors.linked_device"
    verbose_name = "Linked devices"
