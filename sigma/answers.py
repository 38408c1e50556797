"""What is done to all answers of Django: browsers are told that a page may do nothing but what it
needs, and refusals that reached no view of a door get that door's own JSON shape.

Django and the server in front of it refuse with pages and plain text: paths and methods that are
not there, bodies that are too large, hosts that are not ours, what broke. Programs read JSON.

https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import parse_header_parameters

from lib.requests import Answer
from messaging.rest.shapes import Failure, Refusal
from sigma.graphql import failures
from sigma.graphql.failures import Code

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
KIND = "application/json"
# What a status means: a code for programs, which every door has, and words for people.
MEANINGS: dict[int, tuple[Code, str]] = {
    400: (Code.BAD_REQUEST, "The request cannot be read."),
    403: (Code.FORBIDDEN, "This is not allowed."),
    404: (Code.NOT_FOUND, "There is nothing at this path."),
    405: (Code.BAD_REQUEST, "There is no such method at this path; the header Allow names them."),
    408: (Code.BAD_REQUEST, "The body did not arrive in time."),
    413: (Code.BAD_REQUEST, "The body is too large."),
    415: (Code.BAD_REQUEST, "Send the body in UTF-8, and without Content-Encoding."),
    429: (Code.LIMIT_EXCEEDED, "Too much at once with this API key; Retry-After says when again."),
    503: (Code.UNAVAILABLE, "This cannot be answered now; try again."),
}
BROKEN = (Code.INTERNAL, "Something broke here; the log says what.")
RETRYABLE = frozenset({408, 429, 503})
# After how many seconds to ask again.
AGAIN = {429: "5", 503: "2"}
CLOSE = (("connection", "close"),)
PLAIN = b"a=b&c"


class Finishing:
    """Finish what Django answers (middleware, outermost)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request; headers that a view has set itself stay."""
        response = self._get_response(request)
        policy = ADMIN if request.path.startswith("/admin/") else PROGRAMS
        response.headers.setdefault(CSP, policy)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if response.status_code < 400 or not is_page or not isinstance(response, HttpResponse):
            return response
        body = body_of(request.path, response.status_code)
        if body is not None:
            response.content = body
            response.headers["Content-Type"] = KIND
            response.headers["Cache-Control"] = "no-store"
            if response.has_header("Content-Length"):
                response.headers["Content-Length"] = str(len(body))
        return response


def body_of(path: str, status: int) -> bytes | None:
    """Return what the door at ``path`` says with ``status``; ``None``: there is no such door."""
    code, message = MEANINGS.get(status, BROKEN)
    match path.strip("/").partition("/")[0]:
        case "graphql":
            return msgspec.json.encode({"errors": [failures.plain(message, code)]})
        case "api":
            error = Refusal(
                code=code.value,
                field=None,
                message=message,
                platform_code=None,
                retryable=status in RETRYABLE,
            )
            return msgspec.json.encode(Failure(error=error))
        case "media":
            return msgspec.json.encode({"error": {"code": code.value, "message": message}})
    return None


def refusal(path: str, status: int, words: bytes) -> Answer:
    """Return what is answered in front of Django: as the door at ``path`` says it, else in words,
    and the connection is closed.
    """
    headers = (("retry-after", AGAIN[status]), *CLOSE) if status in AGAIN else CLOSE
    document = body_of(path, status)
    if document is None:
        return Answer(status, words, headers)
    return Answer(status, document, headers, kind=KIND)


def too_busy(path: str, seconds: int) -> Answer:
    """Return what an API key is answered that may ask again in so many seconds."""
    again = (("retry-after", str(seconds)), ("cache-control", "no-store"))
    return Answer(429, body_of(path, 429) or b"", again, kind=KIND)


def is_text(content_type: bytes) -> bool:
    """Whether the charset of a body can be one: Django reads the query by it, too, and some of
    Python's codecs are none of text, or fail at ASCII. One that nobody knows is ignored.
    """
    if b"charset" not in content_type.lower():
        return True
    try:
        charset = parse_header_parameters(content_type.decode("latin-1"))[1].get("charset", "")
        codecs.lookup(charset)
    except (LookupError, ValueError):
        return True
    try:
        return PLAIN.decode(charset) == PLAIN.decode()
    except (LookupError, ValueError):
        return False
