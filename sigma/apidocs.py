"""The REST door described: a document for programs, and a page for people. Neither holds data."""

from __future__ import annotations

from typing import Any

from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.response import Response

from sigma.graphql.page import POLICY


class Viewer(SpectacularSwaggerSplitView):
    """The page: no CDN, no inline script; its requests carry the key you enter."""

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        """Let the page load nothing from elsewhere."""
        response: Response = super().finalize_response(*args, **kwargs)
        response["Content-Security-Policy"] = POLICY
        return response


document = SpectacularJSONAPIView.as_view()
viewer = Viewer.as_view(url="/api/schema", title="SIGMA WhatsApp connector")
