"""Django's entry to the composition root, which holds commands but no models."""

from __future__ import annotations

from django.apps import AppConfig


class SigmaConfig(AppConfig):
    """The whole product."""

    name = "sigma"
    verbose_name = "SIGMA"
