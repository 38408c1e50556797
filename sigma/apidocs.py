"""The REST door described: a document for programs, and a page for people. Neither holds data."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.response import Response

from sigma.graphql.page import POLICY


class Viewer(SpectacularSwaggerSplitView):
    """The page: no CDN, no inline script; its requests carry the key you enter."""

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        """Let the page load nothing from elsewhere."""
        response: Response = super().finalize_response(*args, **kwargs)
        response["Content-Security-Policy"] = POLICY
        return response


@require_safe
def document(request: HttpRequest) -> HttpResponse:
    """Answer with the document."""
    return HttpResponse(_document(), content_type="application/json")


@cache
def _document() -> bytes:
    """Return the same for everybody; to make it takes 40 ms."""
    found = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return json.dumps(found).encode()


viewer = Viewer.as_view(url="/api/schema", title="SIGMA WhatsApp connector")
