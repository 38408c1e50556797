"""Every URL that Django answers; the webhooks are answered in front of it (``sigma/asgi.py``)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from sigma.health import healthz

urlpatterns = [
    path("admin/", admin.site.urls),
    path("healthz", healthz),
]
