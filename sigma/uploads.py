"""Requests that bring files, read in front of Django: as they arrive, judged and sealed in threads,
and never whole in memory. Django gets the rest of the request, and the file by name.

https://asgi.readthedocs.io/en/stable/specs/www.html. A slow caller holds no thread, and no place of
the tenant's other requests; who is too slow is given up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BytesIO
from uuid import UUID

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse

from lib import clock
from lib.loops import DatabaseThreads
from lib.requests import BodyIncomplete, BodyLate, Headers, NoRoom, Receive, Scope
from messaging.rest.intake import CAME, Brought, RequestIntake, is_form
from messaging.sealed_storage import StorageAway
from messaging.sending.refusals import UnableToSend
from workspaces.access import NotAllowed, NotAuthenticated, TenantRequired, WrongTenant, actor_of
from workspaces.access import Scope as Permission
from workspaces.keys import TenantHasNoKeys
from workspaces.sessions import SessionRules

# What is handed to a thread at a time: as much as has come, but for a very fast caller.
HANDFUL = 262_144
# How long a caller may say nothing, and how long a file may take in all.
SILENT_SECONDS, TOTAL_SECONDS = 15.0, 900.0
THREADS = 4
# Those whom nobody here knows: they are asked for their key by one thread.
MOST_STRANGERS = 50
BODY_HEADERS = frozenset({b"content-type", b"content-length", b"transfer-encoding"})
NOT_ADMITTED = (NotAuthenticated, NotAllowed, TenantRequired, WrongTenant, TenantHasNoKeys)


def brings_file(scope: Scope, headers: Headers) -> bool:
    """Whether a request to one of the doors for files brings one: a message only as a form."""
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    is_of_files = scope["path"].startswith("/api/v1/media")
    return scope["method"] == "POST" and (is_of_files or is_form(content_type))


class Uploads:
    """The files that are on their way to a process."""

    def __init__(self) -> None:
        self._threads = DatabaseThreads(THREADS, "files")
        self._strangers = DatabaseThreads(1, "files of strangers")
        self._asking = 0
        self._of = Counter[UUID]()

    def close(self) -> None:
        """End the threads."""
        self._threads.close()
        self._strangers.close()

    async def read(self, scope: Scope, headers: Headers, receive: Receive, *, known: bool) -> Scope:
        """Read a request; return the one that Django gets in its place, without a body.

        Raises:
            lib.requests.Unreadable: too slow, cut off, or too many are being read.
        """
        came: Brought | Exception | None
        try:
            tenant_id = await self._identify(scope, known)
            with self._place(tenant_id):
                came = await self._take(tenant_id, scope, headers, receive)
        except (UnableToSend, StorageAway) as refusal:
            came = refusal
        except (DatabaseError, InterfaceError):  # it may be back by the time that Django asks
            came = StorageAway("The database cannot be reached; try again.")
        except NOT_ADMITTED:
            came = None  # Django finds the same, and says so
        kept = [pair for pair in scope["headers"] if pair[0] not in BODY_HEADERS]
        kept += [(b"content-type", b"application/json"), (b"content-length", b"0")]
        return {**scope, "headers": kept, "sigma.environ": {CAME: came}}

    async def _identify(self, scope: Scope, known: bool) -> UUID:
        if known:
            return await self._threads.run(_tenant_of, scope)
        if self._asking >= MOST_STRANGERS:
            raise NoRoom
        self._asking += 1
        try:
            return await self._strangers.run(_tenant_of, scope)
        finally:
            self._asking -= 1

    @contextmanager
    def _place(self, tenant_id: UUID) -> Iterator[None]:
        """Hold a place; no tenant takes all of them from others."""
        most = settings.SIGMA_FILES_AT_ONCE
        if self._of.total() >= most or self._of[tenant_id] >= max(1, most // 4):
            raise NoRoom
        self._of[tenant_id] += 1
        try:
            yield
        finally:
            self._of[tenant_id] -= 1
            self._of += Counter()  # forgets who has none

    async def _take(
        self, tenant_id: UUID, scope: Scope, headers: Headers, receive: Receive
    ) -> Brought:
        run, announced = self._threads.run, headers.get(b"content-length", b"")
        intake = await run(
            RequestIntake,
            tenant_id,
            content_type=headers.get(b"content-type", b"").decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            announced=int(announced) if announced.isdigit() else 0,
        )
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                async for handful in _handfuls(receive):
                    await run(intake.add, handful)
            return await run(intake.finish)
        except TimeoutError:
            await run(intake.abandon)
            raise BodyLate from None
        except BaseException:
            await asyncio.shield(run(intake.abandon))
            raise


async def _handfuls(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body in handfuls.

    Raises:
        lib.requests.BodyIncomplete: the connection ended before the body did.
        TimeoutError: nothing came for too long.
    """
    handful, is_whole = bytearray(), False
    while not is_whole:
        async with asyncio.timeout(SILENT_SECONDS):
            message = await receive()
        if message["type"] != "http.request":
            raise BodyIncomplete
        handful += message.get("body", b"")
        is_whole = not message.get("more_body")
        if handful and (is_whole or len(handful) >= HANDFUL):
            yield bytes(handful)
            handful.clear()


def _tenant_of(scope: Scope) -> UUID:
    """Return whose file this will be. Blocks on the database.

    Raises:
        workspaces.access.NotAuthenticated: no key and no session, or not a valid key.
        workspaces.access.NotAllowed: the caller may not send.
        workspaces.access.TenantRequired: the user must name one of several tenants.
    """
    actor = actor_of(_request(scope), now=clock.now())
    return actor.require(Permission.MESSAGES_SEND).tenant_id


def _request(scope: Scope) -> HttpRequest:
    # Without a body, in which Django would look for the token of a form.
    plain = [pair for pair in scope["headers"] if pair[0] not in BODY_HEADERS]
    request = ASGIRequest({**scope, "headers": plain}, BytesIO())
    for middleware in (SessionMiddleware, AuthenticationMiddleware, SessionRules):
        middleware(_nothing).process_request(request)
    return request


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
