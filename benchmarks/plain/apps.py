"""Django's entry to the app."""

from __future__ import annotations

from django.apps import AppConfig


class PlainConfig(AppConfig):
    """The plain way."""

    name = "benchmarks.plain"
    label = "plain"
