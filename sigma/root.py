"""The answer to whoever calls the bare address: people are led on, programs get a list."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

DOORS = {
    "graphql": "/graphql", "rest": "/api/v1/", "documentation": "/api/docs",
    "schema": "/api/schema", "admin": "/admin/", "health": "/healthz",
}  # fmt: skip


@require_safe
def root(request: HttpRequest) -> HttpResponse:
    """Redirect a browser to the admin; name the paths that are served to everybody else."""
    if "text/html" in request.headers.get("Accept", ""):
        return HttpResponseRedirect(reverse("admin:index"))
    return JsonResponse({"name": "SIGMA", **DOORS})
