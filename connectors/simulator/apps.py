"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class SimulatorConfig(AppConfig):
    """Meta, played on this machine."""

    name = "connectors.simulator"
    verbose_name = "Simulator"
