"""``/api/v1/contacts/…/erase``: remove everything that is known of a person."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from lib import clock
from lib.graphql import NotFound
from messaging import person_erasure
from messaging.models import PersonErasure
from messaging.person_erasure import UnableToErase
from messaging.rest import failures
from messaging.rest.conversations import CONTACT_ID
from messaging.rest.openapi import Operations, answer
from messaging.rest.views import TenantView, body_of
from workspaces.access import Scope

ERASURES = Operations(
    tag="contacts",
    refusals={
        400: "The request is malformed: not JSON, an unknown field, a wrong type.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such contact or erasure.",
        503: "The database is away; try again.",
    },
    always=(400, 401, 403, 404, 503),
)
ERASURE_ID = OpenApiParameter(
    "erasure_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The erasure's UUID."
)


class EraseInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to erase a person."""

    dry_run: Annotated[bool, Meta(description="Only count what would go.")] = False
    keep_opt_out: Annotated[
        bool,
        Meta(description="Whether a stop of marketing stays on record, by digests alone."),
    ] = True


class ErasureShape(Struct, frozen=True, kw_only=True):
    """The erasure of one person, pending or done."""

    id: Annotated[UUID, Meta(description="The erasure's UUID.")]
    contact_id: Annotated[UUID, Meta(description="The contact's UUID, which leads nowhere.")]
    is_dry_run: Annotated[bool, Meta(description="Whether it only counts.")]
    requested_at: Annotated[datetime, Meta(description="When it was asked for.")]
    ended_at: Annotated[
        datetime | None, Meta(description="When it was done; null while it is pending.")
    ]
    removed: Annotated[
        dict[str, int], Meta(description="Rows that went, or in a dry run would, by table.")
    ]
    receipt: Annotated[
        str | None, Meta(description="What is signed: JSON; null while it is pending.")
    ]
    signature: Annotated[
        str | None,
        Meta(description="The receipt's signature (Ed25519, base64); null while it is pending."),
    ]


class Erasing(TenantView):
    """Erase a person."""

    def get_exception_handler(self) -> Callable[[Exception, object], Response]:
        """Answer every refusal in one shape."""
        return _handle

    @ERASURES.operation(
        "erase_contact",
        "Remove everything that is known of a person, for good",
        scope=Scope.CONTACTS_ERASE,
        says="A worker does it within a minute or two; ask for the erasure to see its receipt.",
        takes=EraseInput,
        parameters=[CONTACT_ID],
        answers={202: (ErasureShape, "It is pending.")},
    )
    def post(self, request: Request, contact_id: UUID) -> Response:
        """Ask for it."""
        wanted = body_of(request, EraseInput)
        found = self.act(
            lambda tenant_id: person_erasure.request(
                tenant_id=tenant_id,
                contact_id=contact_id,
                by=self.actor.label,
                is_dry_run=wanted.dry_run,
                keeps_opt_out=wanted.keep_opt_out,
                now=clock.now(),
            )
        )
        return answer(_shown(found), status=202)


class OneErasure(TenantView):
    """What came of an erasure."""

    @ERASURES.operation(
        "read_erasure",
        "Read what came of the erasure of a person",
        scope=Scope.CONTACTS_ERASE,
        parameters=[ERASURE_ID],
        answers={200: (ErasureShape, "The erasure.")},
    )
    def get(self, request: Request, erasure_id: UUID) -> ErasureShape:
        """Read it."""
        found = self.act(
            lambda tenant_id: person_erasure.find(tenant_id=tenant_id, erasure_id=erasure_id)
        )
        if found is None:
            raise NotFound("Your tenant has no erasure with this id.")
        return _shown(found)


def _shown(row: PersonErasure) -> ErasureShape:
    return ErasureShape(
        id=row.id,
        contact_id=row.contact_id,
        is_dry_run=row.is_dry_run,
        requested_at=row.requested_at,
        ended_at=row.ended_at,
        removed={table: count for table, count in row.removed.items() if count},
        receipt=row.receipt or None,
        signature=b64encode(bytes(row.signature)).decode() if row.signature else None,
    )


def _handle(error: Exception, context: object) -> Response:
    if isinstance(error, UnableToErase):
        return failures.respond(
            404, failures.refusal(error.code.value, error.message, field=error.field)
        )
    return failures.handle(error, context)
