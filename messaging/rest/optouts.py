"""``/api/v1/opt-outs``, ``opt-ins`` and ``stop-words``: who gets marketing, and who says so how."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from lib.graphql import cursor_of, limit_of, page_info
from messaging import consent, models, optouts
from messaging.consent import (
    ConsentErrorCode,
    PersonInput,
    StopWordsInput,
    UnableToChangeConsent,
)
from messaging.graphql.optouts import OneOfThem, OptedOut
from messaging.optouts import Words
from messaging.queries import ContactRow
from messaging.rest import failures
from messaging.rest.conversations import number_of, person, place_of
from messaging.rest.desk import AFTER, FIRST
from messaging.rest.openapi import Operations
from messaging.rest.shapes import ContactShape, PageShape
from messaging.rest.views import TenantView, body_of
from messaging.sending.naming import Naming
from workspaces.access import Actor, Scope

# What a refusal means over HTTP; the others are 422.
STATUSES = {ConsentErrorCode.CONTACT_NOT_FOUND: 404, ConsentErrorCode.RATE_LIMITED: 429}

CONSENT = Operations(
    tag="opt-outs",
    refusals={
        400: "The request is malformed: not JSON, an unknown field, a wrong type, no such page.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such contact, conversation or message.",
        422: "Refused; `code` says why.",
        429: "The caller named too many phone numbers; `Retry-After` says when to go on.",
        503: "The database is away; try again.",
    },
    always=(400, 401, 403, 503),
)


class OptOutShape(Struct, frozen=True, kw_only=True):
    """A person who wants no marketing templates of this tenant."""

    contact_id: Annotated[UUID, Meta(description="The contact's UUID.")]
    contact: Annotated[ContactShape | None, Meta(description="The person.")]
    source: Annotated[models.OptOutSource, Meta(description="How we learned of it.")]
    said_at: Annotated[datetime, Meta(description="When it was said, the last time.")]


class OptOutsShape(Struct, frozen=True, kw_only=True):
    """One page of opt-outs."""

    nodes: Annotated[list[OptOutShape], Meta(description="The latest first.")]
    page_info: Annotated[PageShape, Meta(description="Whether there is more.")]


class StopWordsShape(Struct, frozen=True, kw_only=True):
    """The words in force: case, accents and punctuation do not matter; a word stands alone."""

    stop: Annotated[list[str], Meta(description="They end marketing.")]
    start: Annotated[list[str], Meta(description="They resume it.")]


class _ConsentView(TenantView):
    def get_exception_handler(self) -> Callable[[Exception, object], Response]:
        """Answer every refusal in one shape."""
        return _handle

    def change(self, request: Request, change: Callable[..., ContactRow]) -> ContactShape:
        """Change whether a person gets marketing; return the person as they are now."""
        given = body_of(request, PersonInput)
        ids = Naming(**{name: getattr(given, name) for name in Naming._fields})
        named = consent.person_of(ids, given.phone)
        found: ContactShape = self.act(lambda _: _changed(self.actor, change, named))
        return found


class OptOuts(_ConsentView):
    """Who wants no marketing."""

    @CONSENT.operation(
        "list_opt_outs",
        "List who wants no marketing of your tenant",
        scope=Scope.MESSAGES_READ,
        parameters=[FIRST, AFTER],
        answers={200: (OptOutsShape, "A page of them.")},
    )
    def get(self, request: Request) -> OptOutsShape:
        """List opt-outs."""
        after = request.query_params.get("after")
        limit, place = limit_of(number_of(request.query_params.get("first"))), cursor_of(after)
        found: OptOutsShape = self.act(
            lambda _: _page_of(self.actor, limit, place, is_first=after is None)
        )
        return found

    @CONSENT.operation(
        "opt_out_contact",
        "Send a person no marketing templates any more",
        scope=Scope.MESSAGES_SEND,
        says="A number nobody has written from yet becomes a contact, so that it stays out.",
        takes=PersonInput,
        answers={200: (ContactShape, "The person, who is out.")},
        refused=(404, 422, 429),
    )
    def post(self, request: Request) -> ContactShape:
        """Opt a person out."""
        return self.change(request, consent.opt_out)


class OptIns(_ConsentView):
    """Who gets marketing again."""

    @CONSENT.operation(
        "opt_in_contact",
        "Let marketing templates reach a person again",
        scope=Scope.MESSAGES_SEND,
        takes=PersonInput,
        answers={200: (ContactShape, "The person, who is in.")},
        refused=(404, 422, 429),
    )
    def post(self, request: Request) -> ContactShape:
        """Opt a person in."""
        return self.change(request, consent.opt_in)


class StopWordsView(_ConsentView):
    """The words with which people end and resume marketing."""

    @CONSENT.operation(
        "read_stop_words",
        "Read the words with which people end and resume marketing",
        scope=Scope.SENDING_MANAGE,
        answers={200: (StopWordsShape, "Those in force.")},
    )
    def get(self, request: Request) -> StopWordsShape:
        """Read the words."""
        return _in_order(self.act(lambda tenant_id: optouts.words_of([tenant_id])[tenant_id]))

    @CONSENT.operation(
        "set_stop_words",
        "Choose the words with which people end and resume marketing",
        scope=Scope.SENDING_MANAGE,
        takes=StopWordsInput,
        answers={200: (StopWordsShape, "Those in force.")},
        refused=(422,),
    )
    def put(self, request: Request) -> StopWordsShape:
        """Replace the words."""
        given = body_of(request, StopWordsInput)
        return _in_order(
            self.act(
                lambda tenant_id: consent.set_words(
                    tenant_id=tenant_id, stop=given.stop_words, start=given.start_words
                )
            )
        )


def _changed(actor: Actor, change: Callable[..., ContactRow], named: Naming | str) -> ContactShape:
    contact = change(actor, named)
    return person(actor, contact, OneOfThem(actor.tenant_id, contact.id))


def _page_of(actor: Actor, limit: int, place: Any, *, is_first: bool) -> OptOutsShape:
    tenant_id = actor.tenant_id
    page = consent.read_opt_outs(tenant_id=tenant_id, limit=limit, after=place)
    people = OptedOut(tenant_id, page.rows)
    nodes = [
        OptOutShape(
            contact=(who := people.contacts.get(row.contact_id)) and person(actor, who, people),
            contact_id=row.contact_id,
            source=models.OptOutSource(row.source),
            said_at=row.said_at,
        )
        for row in page.rows
    ]
    info = page_info(page, consent.cursor_of, is_first=is_first)
    return OptOutsShape(nodes=nodes, page_info=place_of(info))


def _in_order(words: Words) -> StopWordsShape:
    return StopWordsShape(stop=sorted(words.stop), start=sorted(words.start))


def _handle(error: Exception, context: object) -> Response:
    if isinstance(error, UnableToChangeConsent):
        status = STATUSES.get(error.code, 422)
        why = failures.refusal(
            error.code.value, error.message, field=error.field, retryable=status == 429
        )
        return failures.with_time(failures.respond(status, why), error)
    return failures.handle(error, context)
