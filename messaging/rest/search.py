"""``/api/v1/messages/search``: search in the messages of a number by words."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from msgspec import Meta, Struct
from rest_framework.request import Request

from lib.graphql import BadInput, parse_id
from messaging.events import Direction
from messaging.graphql.search import find, page_info_of, wanted_of
from messaging.related import Related
from messaging.rest.conversations import CONVERSATIONS, number_of, place_of
from messaging.rest.shapes import MessageShape, PageShape
from messaging.rest.views import TenantView, message_shape
from workspaces.access import Scope

PARAMETERS = [
    OpenApiParameter(
        "workspace_id", OpenApiTypes.UUID, required=True, description="The workspace's UUID."
    ),
    OpenApiParameter(
        "q",
        str,
        required=True,
        description='Words that must all be there; "words in this order"; -without; beginning*. '
        "Case and accents do not matter. 256 characters at most.",
    ),
    OpenApiParameter("conversation_id", OpenApiTypes.UUID, description="Only what is said in it."),
    OpenApiParameter("direction", str, description="Only INBOUND or OUTBOUND."),
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="Only those from then on."),
    OpenApiParameter("until", OpenApiTypes.DATETIME, description="Only those before then."),
    OpenApiParameter("first", int, description="How many; 20 unless given."),
    OpenApiParameter("after", str, description="Only what comes after this cursor."),
]


class SnippetPartShape(Struct, frozen=True, kw_only=True):
    """A piece of a snippet."""

    text: Annotated[str, Meta(description="Plain text, as it was written.")]
    is_match: Annotated[bool, Meta(description="Whether it is what was searched for.")]


class HitShape(Struct, frozen=True, kw_only=True):
    """A message that was found."""

    message: Annotated[MessageShape, Meta(description="The message.")]
    snippet: Annotated[
        list[SnippetPartShape],
        Meta(
            description="The part of its text around the first match, in pieces that make it up "
            "one after the other; … stands for what is left out."
        ),
    ]


class HitsShape(Struct, frozen=True, kw_only=True):
    """A page of what was found, newest first."""

    nodes: Annotated[list[HitShape], Meta(description="The hits.")]
    page_info: Annotated[
        PageShape,
        Meta(
            description="Whether there may be more. A page may end before it is full, and be "
            "empty: go on while has_next_page is true."
        ),
    ]
    indexed_until: Annotated[
        datetime | None,
        Meta(
            description="Of what was stored since then, some may be missing until its words are "
            "read; null: nothing is missing."
        ),
    ]


class MessageSearch(TenantView):
    """Messages by their words."""

    @CONVERSATIONS.operation(
        "search_messages",
        "Search in the messages of a workspace by words",
        scope=Scope.MESSAGES_READ,
        parameters=PARAMETERS,
        answers={200: (HitsShape, "A page of them.")},
        refused=(404,),
    )
    def get(self, request: Request) -> HitsShape:
        """Search."""
        given: dict[str, str] = request.query_params.dict()
        known = {parameter.name for parameter in PARAMETERS}
        if unknown := sorted(given.keys() - known - {"format"}):
            raise BadInput(
                f"{unknown[0][:64]!r} is no parameter; there are {', '.join(sorted(known))}."
            )
        found: HitsShape = self.act(lambda _: self._page_of(given))
        return found

    def _page_of(self, given: dict[str, str]) -> HitsShape:
        conversation_id, after = given.get("conversation_id"), given.get("after")
        wanted = wanted_of(
            self.actor,
            workspace_id=parse_id(given.get("workspace_id", ""), "workspace_id"),
            query=given.get("q", ""),
            conversation_id=conversation_id and parse_id(conversation_id, "conversation_id"),
            direction=_direction(given.get("direction")),
            since=_moment(given.get("since"), "since"),
            until=_moment(given.get("until"), "until"),
        )
        page = find(self.actor, wanted, first=number_of(given.get("first")), after=after)
        related = Related(self.actor.tenant_id, [hit.row for hit in page.hits])
        return HitsShape(
            nodes=[
                HitShape(
                    message=message_shape(hit.row, related, self.actor),
                    snippet=[SnippetPartShape(**part._asdict()) for part in hit.snippet],
                )
                for hit in page.hits
            ],
            page_info=place_of(page_info_of(page, is_first=after is None)),
            indexed_until=page.indexed_until,
        )


def _direction(value: str | None) -> Direction | None:
    if value is not None and value not in list(Direction):
        raise BadInput(f"direction must be one of {', '.join(Direction)}.")
    return None if value is None else Direction(value)


def _moment(value: str | None, name: str) -> datetime | None:
    try:
        moment = None if value is None else parse_datetime(value)
    except ValueError:
        moment = None
    if value is not None and moment is None:
        raise BadInput(f"{name} must be a time, such as 2026-11-30T08:00:00Z.")
    return moment
