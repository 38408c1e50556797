"""The plain project's Celery application."""

from __future__ import annotations

import os

from celery import Celery

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.plain.settings"
app = Celery("plain")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["benchmarks.plain"])
