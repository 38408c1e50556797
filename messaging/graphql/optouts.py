"""GraphQL: who opted out of marketing, the words with which people do it, and changes of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import (
    ObjectType,
    PageInfo,
    column,
    cursor_of,
    described_enum,
    forward,
    input_of,
    limit_of,
    list_of,
    page_info,
    parse_id,
)
from messaging import blocks, consent, models, optouts, queries
from messaging.blocks import BlockRow
from messaging.consent import ConsentErrorCode, OptOutRow, UnableToChangeConsent
from messaging.graphql.messages import Acquaintance, ContactType
from messaging.optouts import Words
from messaging.queries import ContactRow
from messaging.sending.naming import Naming
from workspaces.access import Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    caller,
    camel,
    errors_field,
    reason_fields,
    success_field,
)

SOURCES = {
    "WORD": "The person wrote a stop word, or pressed a button that says it.",
    "PLATFORM": "The person told WhatsApp, and can undo it only there.",
    "API": "The tenant entered it.",
    "NUMBER": "Whoever had the number before said it; the person may start it again.",
}
CODES = {
    "INVALID_INPUT": "Something is missing, or there is too much of it.",
    "INVALID_PHONE": "The phone number is not in international form (E.164).",
    "CONTACT_NOT_FOUND": "Your tenant has no such contact.",
    "INVALID_WORD": "A word is empty, too long, or in both lists.",
    "RATE_LIMITED": "You named too many phone numbers within a minute.",
}
OptOutSource = described_enum(
    models.OptOutSource, "How we learned that a person wants no marketing.", SOURCES
)
ConsentErrorCodes = described_enum(ConsentErrorCode, "Why nothing was changed.", CODES)


class OptedOut:
    """A page of opt-outs; their contacts are loaded when first asked for."""

    def __init__(self, tenant_id: UUID, rows: Sequence[OptOutRow]) -> None:
        self._tenant_id, self.rows = tenant_id, rows

    @property
    def opted_out(self) -> set[UUID]:
        """All of them."""
        return {row.contact_id for row in self.rows}

    @cached_property
    def contacts(self) -> dict[UUID, ContactRow]:
        """The people, by contact id."""
        return queries.contacts(tenant_id=self._tenant_id, ids=self.opted_out)

    @cached_property
    def blocks(self) -> Mapping[UUID, Sequence[BlockRow]]:
        """Which numbers block them."""
        return blocks.of_contacts(tenant_id=self._tenant_id, contact_ids=self.opted_out)


class OneOfThem:
    """A person alone, for whom is looked up when asked."""

    def __init__(self, tenant_id: UUID, contact_id: UUID) -> None:
        self._tenant_id, self._contact_id = tenant_id, contact_id

    @cached_property
    def opted_out(self) -> set[UUID]:
        """The person, where they want no marketing."""
        return optouts.opted_out(tenant_id=self._tenant_id, contact_ids=[self._contact_id])

    @cached_property
    def blocks(self) -> Mapping[UUID, Sequence[BlockRow]]:
        """Which numbers block them."""
        return blocks.of_contacts(tenant_id=self._tenant_id, contact_ids=[self._contact_id])


@dataclass(frozen=True, slots=True)
class OptOutEntry:
    """An opt-out on its page."""

    row: OptOutRow
    page: OptedOut


class OptOutType(ObjectType, name="OptOut", default_resolver=column):
    """A person who wants no marketing templates of this tenant."""

    contact_id = graphene.ID(required=True, description="The contact's UUID.")
    contact = graphene.Field(ContactType, description="The person.")
    source = graphene.Field(OptOutSource, required=True, description="How we learned of it.")
    said_at = graphene.DateTime(required=True, description="When it was said, the last time.")

    @staticmethod
    def resolve_contact(root: OptOutEntry, info: GraphQLResolveInfo) -> Acquaintance | None:
        """Return the person."""
        contact = root.page.contacts.get(root.row.contact_id)
        return contact and Acquaintance(contact, root.page)


class OptOutConnection(graphene.ObjectType):
    """One page of opt-outs."""

    nodes = list_of(OptOutType, "The opt-outs.")
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")


class StopWords(graphene.ObjectType):
    """The words in force: case, accents and punctuation do not matter; a word stands alone."""

    stop = list_of(graphene.String, "They end marketing.")
    start = list_of(graphene.String, "They resume it.")


class OptOutQueries(graphene.ObjectType):
    """What can be read about opt-outs."""

    opt_outs = graphene.Field(
        OptOutConnection,
        description="Who wants no marketing of your tenant, the latest first.",
        **forward(),
    )
    stop_words = graphene.Field(
        StopWords, description="The words with which people end and resume marketing."
    )

    @staticmethod
    def resolve_opt_outs(
        root: None, info: GraphQLResolveInfo, first: int | None = None, after: str | None = None
    ) -> dict[str, object]:
        """Return one page."""
        actor, limit = caller(info, Scope.MESSAGES_READ), limit_of(first)
        page = consent.read_opt_outs(tenant_id=actor.tenant_id, limit=limit, after=cursor_of(after))
        shown_page = OptedOut(actor.tenant_id, page.rows)
        return {
            "nodes": [OptOutEntry(row, shown_page) for row in page.rows],
            "page_info": page_info(page, consent.cursor_of, is_first=after is None),
        }

    @staticmethod
    def resolve_stop_words(root: None, info: GraphQLResolveInfo) -> dict[str, list[str]]:
        """Return the words in force."""
        tenant_id = caller(info, Scope.SENDING_MANAGE).tenant_id
        return _in_order(optouts.words_of([tenant_id])[tenant_id])


class ConsentError(graphene.ObjectType):
    """A reason why nothing was changed."""

    code, field, message = reason_fields(ConsentErrorCodes)


ERRORS = errors_field(ConsentError)


Person = input_of(
    consent.PersonInput,
    "PersonInput",
    "A person, named in one way.",
    contact_id="The contact's UUID.",
    conversation_id="The UUID of a conversation with the person.",
    reply_to="The UUID of a message of a conversation with the person.",
    phone="The phone number (E.164), which is digested and not kept; it counts as asking who "
    "has it.",
)


class SetStopWordsInput(graphene.InputObjectType):
    """The tenant's own words; an empty list brings the defaults back."""

    stop_words = list_of(graphene.String, "They end marketing.")
    start_words = list_of(graphene.String, "They resume it.")


class _ConsentMutation(ServiceMutation, abstract=True):
    """Changes whether a person gets marketing; the fields of both payloads."""

    scope, refusal = Scope.MESSAGES_SEND, UnableToChangeConsent
    success = success_field()
    contact = graphene.Field(ContactType, description="The person, on success.")
    errors = ERRORS


class OptOutContact(_ConsentMutation):
    """Whether the person gets no more marketing, and if not, why."""

    class Arguments:
        input = Person(required=True, description="The person.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Opt the person out."""
        return _changed(consent.opt_out, context, given)


class OptInContact(_ConsentMutation):
    """Whether marketing may reach the person again, and if not, why."""

    class Arguments:
        input = Person(required=True, description="The person.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Opt the person in."""
        return _changed(consent.opt_in, context, given)


class SetStopWords(ServiceMutation):
    """Whether the words were replaced, and if not, why."""

    class Arguments:
        input = SetStopWordsInput(required=True, description="The words.")

    success = success_field()
    words = graphene.Field(StopWords, description="The words in force, on success.")
    errors = ERRORS

    scope, refusal = Scope.SENDING_MANAGE, UnableToChangeConsent

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Replace the words."""
        words = consent.set_words(
            tenant_id=context.actor.tenant_id,
            stop=given["stop_words"],
            start=given["start_words"],
        )
        return {"words": _in_order(words)}


class OptOutMutations(graphene.ObjectType):
    """What can be changed about opt-outs."""

    opt_out_contact = OptOutContact.Field(
        required=True, description="Send a person no marketing templates any more."
    )
    opt_in_contact = OptInContact.Field(
        required=True, description="Let marketing templates reach a person again."
    )
    set_stop_words = SetStopWords.Field(
        required=True, description="Choose the words with which people end and resume marketing."
    )


def _person(given: Mapping[str, Any]) -> Naming | str:
    ids = {name: given.get(name) for name in Naming._fields}
    named = Naming(**{name: id and parse_id(id, camel(name)) for name, id in ids.items()})
    return consent.person_of(named, given.get("phone"))


def _changed(
    change: Callable[..., ContactRow], context: MutationContext, given: Mapping[str, Any]
) -> dict[str, object]:
    contact = change(context.actor, _person(given))
    return {"contact": Acquaintance(contact, OneOfThem(context.actor.tenant_id, contact.id))}


def _in_order(words: Words) -> dict[str, list[str]]:
    """Return words in the order of the alphabet."""
    return {"stop": sorted(words.stop), "start": sorted(words.start)}
