"""The hot path: an ASGI application that answers Meta's callbacks in front of Django.

A POST is verified over its raw bytes, sealed, committed and only then answered with 200. Nothing of
the body is parsed before that. Bad signatures and unknown tenants get one and the same answer.
"""

from __future__ import annotations

import logging
from collections import Counter
from urllib.parse import parse_qsl

from connectors.whatsapp.inbox import Inbox, InboxFull, InboxUnavailable, Received
from connectors.whatsapp.routes import DECOY, DirectoryUnavailable, Routes
from connectors.whatsapp.wire import signature
from lib.requests import (
    Answer,
    BodyIncomplete,
    BodyLate,
    BodyTooLarge,
    Budget,
    NoRoom,
    Reading,
    Receive,
    Scope,
    Send,
    Unreadable,
    headers_of,
)
from workspaces.directory import Route

logger = logging.getLogger("sigma.whatsapp.webhooks")

PATH = "/webhooks/whatsapp"
RETRY_AFTER = (("retry-after", "2"),)
# Meta's challenge is a short number or word; what is echoed must not be somebody's page.
MAX_CHALLENGE = 256
# How long a body may take that did not come with its headers.
BODY_SECONDS = 10.0

OK = Answer(200)
FORBIDDEN = Answer(403, b"Forbidden\n")
UNAUTHORIZED = Answer(401, b"Unauthorized\n")
LATE = Answer(408, b"The body did not arrive in time.\n", (("connection", "close"),))
BAD_REQUEST = Answer(400, b"The body ended too early.\n")
NOT_FOUND = Answer(404, b"Not Found\n")
METHOD_NOT_ALLOWED = Answer(405, b"Method Not Allowed\n", (("allow", "GET, POST"),))
TOO_LARGE = Answer(413, b"The body is larger than a callback may be.\n", (("connection", "close"),))
ENCODED = Answer(415, b"Send the body without Content-Encoding.\n", (("connection", "close"),))
FULL = Answer(503, b"Too many callbacks are waiting; try again.\n", RETRY_AFTER)
UNAVAILABLE = Answer(503, b"The callback could not be stored; try again.\n", RETRY_AFTER)
UNREADABLE: dict[type[Unreadable], Answer] = {
    BodyTooLarge: TOO_LARGE,
    BodyIncomplete: BAD_REQUEST,
    BodyLate: LATE,
    NoRoom: FULL,
}


class Receiver:
    """Answer ``/webhooks/whatsapp`` (shared apps) and ``/webhooks/whatsapp/<slug or UUID>``."""

    def __init__(self, *, routes: Routes, inbox: Inbox, budget: Budget, max_body: int) -> None:
        self._routes, self._inbox, self._budget, self._max_body = routes, inbox, budget, max_body
        self._accepted: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request (ASGI)."""
        segment = scope["path"][len(PATH) :].strip("/")
        if "/" in segment:
            answer = NOT_FOUND
        elif scope["method"] not in ("GET", "POST"):
            answer = METHOD_NOT_ALLOWED
        else:
            try:
                answer = await self._answer(segment, scope, receive)
            except DirectoryUnavailable:
                answer = UNAVAILABLE
        await answer.send(send)

    async def _answer(self, segment: str, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] == "POST":
            return await self._take(segment, scope, receive)
        return await self._shake_hands(segment, scope)

    async def _shake_hands(self, segment: str, scope: Scope) -> Answer:
        """Echo the challenge to whoever knows the verify token.

        Rule: Meta, "Create a webhook endpoint", verification requests.
        """
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        token = query.get("hub.verify_token", "").encode("utf-8", "replace")
        challenge = query.get("hub.challenge", "")
        wanted = query.get("hub.mode") == "subscribe" and _is_echoable(challenge)
        route = await self._routes.find(segment, lambda r: r.accepts_verify_token(token))
        if route is None or not wanted:
            logger.warning(
                "whatsapp webhook verification refused", extra={"tenant": _shown(segment)}
            )
            return FORBIDDEN
        logger.info("whatsapp webhook verified", extra={"tenant": route.slug or "(shared app)"})
        return Answer(200, challenge.encode(), (("x-content-type-options", "nosniff"),))

    async def _take(self, segment: str, scope: Scope, receive: Receive) -> Answer:
        headers = headers_of(scope)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return ENCODED
        try:
            # Before the body: whoever has no signature gets none of our memory.
            digest = signature.digest_in(headers.get(b"x-hub-signature-256"))
            with Reading(self._budget, self._max_body, BODY_SECONDS) as reading:
                whole = reading.begin(headers, receive)
                body = await reading.rest() if whole is None else whole
                route = await self._routes.find(segment, lambda r: self._is_signed(body, digest, r))
        except signature.InvalidSignature:
            route = None
        except Unreadable as error:
            logger.warning(
                "whatsapp callback not read",
                extra={"tenant": _shown(segment), "error": type(error).__name__},
            )
            return UNREADABLE[type(error)]
        if route is None:
            logger.warning(
                "WhatsApp webhook signature validation failed", extra={"tenant": _shown(segment)}
            )
            return UNAUTHORIZED
        return await self._store(route, Received(route.tenant_id, body, digest))

    def _is_signed(self, body: bytes, digest: bytes, route: Route) -> bool:
        # To refuse takes as long for a tenant without a secret, for one who rotates his, and for
        # one who does not exist.
        least = self._routes.most_secrets
        return signature.fits(body, digest, route.app_secrets or DECOY.app_secrets, least=least)

    def log_accepted(self) -> None:
        """Write a line for each tenant that had callbacks accepted since the last time."""
        accepted, self._accepted = self._accepted, Counter()
        for slug, count in accepted.items():
            logger.info(
                "whatsapp callbacks accepted",
                extra={"tenant": slug or "(shared app)", "callbacks": count},
            )

    async def _store(self, route: Route, received: Received) -> Answer:
        try:
            await self._inbox.store(received)
        except InboxFull:
            return FULL
        except InboxUnavailable:
            return UNAVAILABLE
        self._accepted[route.slug] += 1
        return OK


def _is_echoable(challenge: str) -> bool:
    return 0 < len(challenge) <= MAX_CHALLENGE and challenge.isascii() and challenge.isprintable()


def _shown(segment: str) -> str:
    """Return the tenant as it stood in the URL, fit for a log line."""
    return "".join(c if c.isalnum() or c in "-_" else "?" for c in segment[:64]) or "(shared app)"
