"""Every URL that Django answers; the webhooks are answered in front of it (``sigma/asgi.py``)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from messaging.rest import urls as rest
from messaging.views import media
from sigma import pages
from sigma.graphql.view import graphql
from sigma.health import healthz

urlpatterns = [
    path("", pages.root),
    path("admin/", admin.site.urls),
    path("graphql", graphql),
    path("graphql/", graphql),
    path("api/v1/", include(rest.urlpatterns)),
    path("api/schema", pages.openapi),
    path("api/docs", pages.viewer),
    path("media/<uuid:media_id>", media),
    path("healthz", healthz),
]
