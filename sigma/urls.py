"""Every URL that Django answers; the webhooks are answered in front of it (``sigma/asgi.py``)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from messaging.views import media
from sigma.graphql.view import graphql
from sigma.health import healthz

urlpatterns = [
    path("admin/", admin.site.urls),
    path("graphql", graphql),
    path("graphql/", graphql),
    path("media/<uuid:media_id>", media),
    path("healthz", healthz),
]
