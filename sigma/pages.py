"""Pages for people: GraphiQL and the documentation of REST, served from here without a CDN or an
inline script. They hold no data, so anybody may see them.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.response import Response

# What the bare address names for programs.
PATHS = {
    "graphql": "/graphql",
    "rest": "/api/v1/",
    "documentation": "/api/docs",
    "schema": "/api/schema",
    "admin": "/admin/",
    "health": "/healthz",
}
# CodeMirror, GraphiQL's editor, styles elements directly; the style sheet holds fonts and icons.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@require_safe
def root(request: HttpRequest) -> HttpResponse:
    """Redirect a browser to the admin; answer everybody else with the paths that are served."""
    if "text/html" in request.headers.get("Accept", ""):
        return HttpResponseRedirect(reverse("admin:index"))
    return JsonResponse({"name": "SIGMA", **PATHS})


def graphiql(request: HttpRequest) -> HttpResponse:
    """Return GraphiQL; its requests carry the session's CSRF token, or the key the user enters."""
    get_token(request)  # sets the cookie that the page's script reads
    response = render(request, "sigma/graphiql.html")
    response["Content-Security-Policy"] = POLICY
    return response


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """Return the OpenAPI document."""
    return HttpResponse(_openapi(), content_type="application/json")


@cache
def _openapi() -> bytes:
    """Return the same for everybody; to make it takes 40 ms."""
    found = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return json.dumps(found).encode()


class Viewer(SpectacularSwaggerSplitView):
    """The document as a page; its requests carry the key the user enters."""

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        """Let the page load nothing from elsewhere."""
        response: Response = super().finalize_response(*args, **kwargs)
        response["Content-Security-Policy"] = POLICY
        return response


viewer = Viewer.as_view(url="/api/schema", title="SIGMA WhatsApp connector")
