"""Between whom a message goes: the number that sends it, with what the platform said about it, and
its recipient, with the contacts that they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models.expressions import RawSQL

from lib.numbering import NotInternational, international
from messaging import addresses, joining, locks, numbers
from messaging.events import Person
from messaging.models import NumberState
from messaging.people import People, Someone, identify
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import Recipient, SendRequest, TextContent
from workspaces.identity import digester
from workspaces.models import HOSTED, Workspace

# In these a linked device is on its way back by itself, and what is queued may wait for it.
REACHABLE = frozenset({"CONNECTED", "DISCONNECTED", "WAITING", "STARTING", "FAILED"})
NOT_LISTED = (
    "This workspace has a test number, and the recipient is not on its list; add them in Meta's "
    "app dashboard and in the list of the workspace."
)
# Projects disagree about what stands behind the country; the widest is taken.
_BSUID = re.compile(r"[A-Z]{2}\.(ENT\.)?[0-9A-Za-z]{1,128}")


def find_sender(*, tenant_id: UUID, workspace_id: UUID) -> SenderNumber:
    """Return a workspace of a tenant as a sender; no contacts of the tenant are merged until the
    caller's transaction ends.

    Raises:
        UnableToSend: there is no such workspace.
    """
    rows = Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id)
    # The lock is taken by the same query: an advisory one on the tenant's people.
    locked = rows.annotate(locked=RawSQL(locks.SENDING, ()))  # noqa: S611 - a constant of ours
    workspace = locked.select_related("number").first()
    if workspace is None:
        raise UnableToSend(
            SendErrorCode.WORKSPACE_NOT_FOUND,
            "workspace_id",
            "Your tenant has no workspace with this id.",
        )
    number: NumberState | None = getattr(workspace, "number", None)
    digits = numbers.number_of(number)
    own_phone = digester(tenant_id).phone(digits) if digits else None
    return SenderNumber(tenant_id, workspace, number, own_phone)


@dataclass(frozen=True, slots=True)
class SenderNumber:
    """A workspace, its number (if the platform was asked yet) and the digest of that."""

    tenant_id: UUID
    workspace: Workspace
    number: NumberState | None = None
    own_phone: str | None = None

    @property
    def has_windows(self) -> bool:
        """Whether texts may be sent only within 24 hours of a person's last one: Meta's API."""
        return self.workspace.transport not in HOSTED

    def reasons(self, request: SendRequest) -> list[UnableToSend]:
        """Return why nothing, or not this, can be sent from here."""
        reasons = []
        if not self.workspace.is_active:
            why = "The workspace is not active."
            reasons.append(UnableToSend(SendErrorCode.WORKSPACE_INACTIVE, "workspace_id", why))
        if self.workspace.transport in HOSTED:
            reasons.extend(self._hosted(request))
        elif self.workspace.transport not in settings.SIGMA_CHANNELS:
            reasons.append(
                _unsupported(f"There is no connector for the transport {self.workspace.transport}.")
            )
        return reasons

    def _hosted(self, request: SendRequest) -> Iterator[UnableToSend]:
        """Yield why a linked device cannot send this, or nothing now."""
        transport, state = self.workspace.transport, self.number
        if not isinstance(request.content, TextContent):
            yield _unsupported(f"Over {transport} only texts can be sent.")
        if request.broadcast_id is not None:
            yield _unsupported(f"Over {transport} there are no broadcasts.")
        if request.reply_to is not None:
            yield _unsupported(f"Over {transport} messages cannot be quoted.")
        if request.recipient.user_id is not None:
            yield _unsupported(f"Over {transport} the recipient is a phone number.")
        if state is None or state.status not in REACHABLE:
            why = state.problem if state and state.problem else "It was never paired."
            yield UnableToSend(
                SendErrorCode.NOT_CONNECTED,
                "workspace_id",
                f"The linked device is not connected. {why}",
            )

    def reasons_against(
        self, recipient: Recipient, cache: ContactCache, field: str
    ) -> list[UnableToSend]:
        """Return why this number may not write to a recipient (looked up), whom ``field`` named."""
        phones = cache.phones_of(recipient)
        if self.own_phone in phones:
            why = "This is the workspace's own number."
            return [UnableToSend(SendErrorCode.RECIPIENT_IS_SENDER, field, why)]
        allowed = self.number.test_recipients if self.number else ()
        if allowed and phones and not phones.intersection(allowed):
            return [UnableToSend(SendErrorCode.TEST_RECIPIENT, field, NOT_LISTED)]
        return []


def _unsupported(message: str) -> UnableToSend:
    return UnableToSend(SendErrorCode.UNSUPPORTED_TRANSPORT, "workspace_id", message)


def normalised(request: SendRequest) -> Recipient:
    """Return whom a request names, with the bare digits of a number.

    Raises:
        UnableToSend: nobody, or a number or BSUID that is not of the right form.
    """
    recipient = request.recipient
    if recipient.phone is None and recipient.user_id is None and not _is_named(request):
        raise UnableToSend(
            SendErrorCode.INVALID_INPUT,
            "recipient_phone",
            "Give the recipient in one way: as a phone number, as a user id (BSUID), or as a "
            "conversation, a contact or the message that is answered.",
        )
    if recipient.user_id is not None and not _BSUID.fullmatch(recipient.user_id):
        raise UnableToSend(
            SendErrorCode.INVALID_USER_ID,
            "recipient_user_id",
            "A user id (BSUID) is two capitals, a dot and up to 128 letters and digits, such as "
            "US.13491208655302741918.",
        )
    if recipient.phone is None:
        return recipient
    try:
        return msgspec.structs.replace(recipient, phone=international(recipient.phone))
    except NotInternational as error:
        raise UnableToSend(SendErrorCode.INVALID_PHONE, "recipient_phone", str(error)) from None


def _is_named(request: SendRequest) -> bool:
    recipient = request.recipient
    return any((recipient.conversation_id, recipient.contact_id, request.reply_to))


class ContactCache:
    """The contacts of some recipients (normalised) of one tenant."""

    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id
        self._people = People()
        self._someone: dict[Recipient, Someone] = {}

    def look_up(self, recipients: Iterable[Recipient]) -> None:
        """Find the contacts of those who have one, under any way to write their number."""
        digest = self._people.digester(self._tenant_id)
        for recipient in recipients:
            if recipient not in self._someone:
                self._someone[recipient] = identify(digest, self._tenant_id, _person(recipient))
        self._people.find(self._someone.values())

    def contact_of(self, recipient: Recipient | None) -> UUID | None:
        """Return the contact of a recipient who was looked up or added, if they have one."""
        return min(self.contacts_of(recipient), default=None)

    def contacts_of(self, recipient: Recipient | None) -> set[UUID]:
        """Return every contact of a recipient: one, once a callback named both spellings."""
        if recipient is None:
            return set()
        return {contact.id for contact in self._people.contacts_of(self._someone[recipient])}

    def phones_of(self, recipient: Recipient) -> set[str]:
        """Return the digests of all ways to write a recipient's number."""
        return set(self._someone[recipient].phones)

    def add(self, recipients: Iterable[Recipient]) -> None:
        """Make contacts of those who have none, so that their answers come to the same ones."""
        known = {recipient: len(self.contacts_of(recipient)) for recipient in recipients}
        # Contacts are merged where nobody else writes: when the person does.
        strangers = [self._someone[one] for one, count in known.items() if count < 2]
        if unsettled := self._people.unsettled(strangers):
            joining.settle(self._people, unsettled)
        self._people.rename(strangers)
        addresses.keep(self._people, (self._someone[one] for one in known))


def _person(recipient: Recipient) -> Person:
    if recipient.phone is None:
        user_id = recipient.user_id or ""
        is_parent = user_id[3:].startswith("ENT.")
        return Person(parent_user_id=user_id) if is_parent else Person(user_id=user_id)
    return Person(phone=recipient.phone)
