"""GraphQL: end and resume marketing to a person, and choose the words people do it with."""

from __future__ import annotations

from collections.abc import Callable

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import parse_id
from messaging import consent
from messaging.consent import UnableToChangeConsent
from messaging.graphql.messages import Acquaintance, Contact
from messaging.graphql.optouts import ConsentErrorCodes, OneOfThem, StopWords, shown
from messaging.queries import ContactRow
from workspaces.access import Actor
from workspaces.scopes import Scope


class ConsentError(graphene.ObjectType):
    """A reason why nothing was changed."""

    code = graphene.Field(ConsentErrorCodes, required=True, description="The reason, for programs.")
    field = graphene.String(description="The input field at fault.")
    message = graphene.String(required=True, description="The reason, for people.")


ERRORS = graphene.List(
    graphene.NonNull(ConsentError), required=True, description="Why not, otherwise."
)


class PersonInput(graphene.InputObjectType):
    """A person, by one of the two."""

    contact_id = graphene.ID(description="The contact's UUID.")
    phone = graphene.String(description="The phone number (E.164), which is digested and not kept.")


class SetStopWordsInput(graphene.InputObjectType):
    """The tenant's own words; an empty list brings the defaults back."""

    stop_words = graphene.List(
        graphene.NonNull(graphene.String), required=True, description="They end marketing."
    )
    start_words = graphene.List(
        graphene.NonNull(graphene.String), required=True, description="They resume it."
    )


class OptOutContact(graphene.Mutation):
    """Whether the person gets no more marketing, and if not, why."""

    class Meta:
        name = "OptOutContactPayload"

    class Arguments:
        input = PersonInput(required=True, description="The person.")

    success = graphene.Boolean(required=True, description="Whether it was done.")
    contact = graphene.Field(Contact, description="The person, on success.")
    errors = ERRORS

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: PersonInput) -> OptOutContact:
        """Opt the person out, or say why not."""
        contact, errors = _changed(info, input, consent.opt_out)
        return OptOutContact(success=not errors, contact=contact, errors=errors)


class OptInContact(graphene.Mutation):
    """Whether marketing may reach the person again, and if not, why."""

    class Meta:
        name = "OptInContactPayload"

    class Arguments:
        input = PersonInput(required=True, description="The person.")

    success = graphene.Boolean(required=True, description="Whether it was done.")
    contact = graphene.Field(Contact, description="The person, on success.")
    errors = ERRORS

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: PersonInput) -> OptInContact:
        """Opt the person in, or say why not."""
        contact, errors = _changed(info, input, consent.opt_in)
        return OptInContact(success=not errors, contact=contact, errors=errors)


class SetStopWords(graphene.Mutation):
    """Whether the words were replaced, and if not, why."""

    class Meta:
        name = "SetStopWordsPayload"

    class Arguments:
        input = SetStopWordsInput(required=True, description="The words.")

    success = graphene.Boolean(required=True, description="Whether it was done.")
    words = graphene.Field(StopWords, description="The words in force, on success.")
    errors = ERRORS

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: SetStopWordsInput) -> SetStopWords:
        """Replace the words, or say why not."""
        actor: Actor = info.context.actor
        actor.require(Scope.SENDING_MANAGE)
        try:
            words = consent.set_words(
                tenant_id=actor.tenant_id, stop=input.stop_words, start=input.start_words
            )
        except UnableToChangeConsent as refusal:
            return SetStopWords(success=False, errors=[_error(refusal)])
        return SetStopWords(success=True, words=shown(words), errors=[])


class Mutation(graphene.ObjectType):
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


def _changed(
    info: GraphQLResolveInfo, person: PersonInput, change: Callable[..., ContactRow]
) -> tuple[Acquaintance | None, list[ConsentError]]:
    actor: Actor = info.context.actor
    actor.require(Scope.MESSAGES_SEND)
    given = person.get("contact_id")
    contact_id = None if given is None else parse_id(given, "contactId")
    try:
        contact = change(
            tenant_id=actor.tenant_id, contact_id=contact_id, phone=person.get("phone")
        )
    except UnableToChangeConsent as refusal:
        return None, [_error(refusal)]
    return Acquaintance(contact, OneOfThem(actor.tenant_id, contact.id)), []


def _error(refusal: UnableToChangeConsent) -> ConsentError:
    return ConsentError(code=refusal.code, field=refusal.field, message=refusal.message)
