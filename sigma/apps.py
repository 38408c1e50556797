"""Django's entry to the composition root, which holds commands but no models."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as django_admin
from django.db.backends.signals import connection_created

from lib import clock


class AdminConfig(django_admin.AdminConfig):
    """The admin, with our way in (``sigma/signing_in.py``)."""

    default = False
    default_site = "sigma.signing_in.AdminSite"


class SigmaConfig(AppConfig):
    """The whole product."""

    name = "sigma"
    verbose_name = "SIGMA"

    def ready(self) -> None:
        """Let every process, commands too, know its clock before it reads or writes anything."""
        connection_created.connect(clock.meet, dispatch_uid="clock")
