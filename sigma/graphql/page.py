"""GraphiQL, served from here: no CDN, no inline script. It holds no data, so anybody may see it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render

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


def page(request: HttpRequest) -> HttpResponse:
    """Return the page; its requests carry the session's CSRF token, or the key you enter."""
    get_token(request)  # sets the cookie that the page's script reads
    response = render(request, "sigma/graphiql.html")
    response["Content-Security-Policy"] = POLICY
    return response
