"""Set Django up in a process that serves something else than Django; import it first."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sigma.settings")
django.setup()
IS_READY = True
