"""What browsers may do with our pages: nothing from elsewhere, nothing that a page does not need.

https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

CSP = "Content-Security-Policy"
# Answers for programs, and errors: should a browser show one, it is text.
PROGRAMS = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Unfold's scripts are files of ours, none stands in a page. Alpine, which it is made with, compiles
# the attributes of its templates ('unsafe-eval'; https://alpinejs.dev/advanced/csp is another
# build, which unfold's attributes are not written for). Colours and widths stand in the pages.
ADMIN = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
PERMISSIONS = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"


class Headers:
    """Add what a view has not set itself (middleware)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request."""
        response = self._get_response(request)
        policy = ADMIN if request.path.startswith("/admin/") else PROGRAMS
        response.headers.setdefault(CSP, policy)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        return response
