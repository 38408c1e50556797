"""Who is who: by phone, by BSUID, by parent BSUID, and through changes of any of them."""

from __future__ import annotations

import pytest

from connectors.whatsapp.processing import process_batch
from messaging.models import Contact, ContactIdentity, IdentityKind, Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, status, text
from workspaces.identity import digester

pytestmark = pytest.mark.django_db

PHONE, OTHER_PHONE = "15550123456", "15550999999"
BRAZIL, BRAZIL_OLD = "5511900000101", "551100000101"
BSUID, OTHER_BSUID, PARENT = "US.13491208655302741918", "US.999", "US.ENT.11815799212886844830"


def said(cast: Cast, wamid: str, *, contacts: list[dict] | None = None, **who: str) -> Message:
    """Receive a text from somebody known by these keys; return the stored message."""
    message = {key: value for key, value in text(wamid).items() if key != "from"} | who
    if "phone" in message:
        message["from"] = message.pop("phone")
    value = {"messages": [message], **({"contacts": contacts} if contacts else {})}
    deliver(cast.tenant.id, callback(cast.workspace.external_id, **value))
    process_batch(10)
    digest = digester(cast.tenant.id).wamid(wamid)
    return Message.objects.select_related("contact").get(platform_message_id=digest)


def system(cast: Cast, wamid: str, **system: str) -> None:
    """Receive Meta's word that somebody's number or id has changed."""
    message = {**text(wamid), "type": "system", "system": {"body": "Changed", **system}}
    del message["text"]
    deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[message]))
    process_batch(10)


def kinds_of(contact: Contact) -> set[str]:
    return set(contact.identities.values_list("kind", flat=True))


def test_it_knows_a_person_again_by_phone(acme: Cast) -> None:
    first, second = (said(acme, wamid, phone=PHONE) for wamid in ("wamid.1", "wamid.2"))
    assert first.contact == second.contact
    assert first.sender == second.sender == digester(acme.tenant.id).phone(PHONE)


def test_it_never_joins_people_across_tenants(acme: Cast, globex: Cast) -> None:
    ours, theirs = said(acme, "wamid.1", phone=PHONE), said(globex, "wamid.2", phone=PHONE)
    assert ours.contact != theirs.contact
    assert ours.sender != theirs.sender
    assert ours.contact.tenant_id == acme.tenant.id


def test_it_takes_a_person_without_a_phone(acme: Cast) -> None:
    first = said(acme, "wamid.1", from_user_id=BSUID)
    assert first.sender == digester(acme.tenant.id).user(BSUID)
    assert said(acme, "wamid.2", from_user_id=BSUID).contact == first.contact
    assert kinds_of(first.contact) == {IdentityKind.USER}


def test_it_takes_a_person_of_whom_only_the_card_tells(acme: Cast) -> None:
    card = {"user_id": BSUID, "profile": {"name": "Alice"}}
    message = said(acme, "wamid.1", contacts=[card])
    assert message.contact.display_name == "Alice"
    assert message.sender == digester(acme.tenant.id).user(BSUID)


def test_it_stores_a_message_that_says_not_whose_it_is(acme: Cast) -> None:
    message = said(acme, "wamid.1")
    assert (message.contact, message.sender, message.text) == (None, "", "Hello")


def test_it_learns_the_bsuid_of_a_known_phone(acme: Cast) -> None:
    before = said(acme, "wamid.1", phone=PHONE)
    both = said(acme, "wamid.2", phone=PHONE, from_user_id=BSUID, from_parent_user_id=PARENT)
    after = said(acme, "wamid.3", from_user_id=BSUID)
    assert before.contact == both.contact == after.contact
    assert kinds_of(before.contact) == {"PHONE", "USER", "PARENT"}


def test_it_knows_both_ways_to_write_a_number(acme: Cast, globex: Cast) -> None:
    card = [{"wa_id": BRAZIL_OLD, "profile": {"name": "Beatriz"}}]
    first = said(acme, "wamid.1", phone=BRAZIL, contacts=card)
    theirs = said(globex, "wamid.9", phone=BRAZIL_OLD)
    other = said(acme, "wamid.2", phone=BRAZIL_OLD)

    assert first.sender == digester(acme.tenant.id).phone(BRAZIL)
    assert other.contact == first.contact != theirs.contact
    assert kinds_of(first.contact) == {IdentityKind.PHONE, IdentityKind.ALIAS}


def test_it_finds_the_recipient_of_a_receipt_by_either_way(acme: Cast) -> None:
    card = [{"wa_id": BRAZIL_OLD}]
    message = said(acme, "wamid.1", phone=BRAZIL, contacts=card)
    receipt = status("wamid.S", "sent", recipient_id=BRAZIL_OLD)
    deliver(acme.tenant.id, callback(acme.workspace.external_id, statuses=[receipt]))
    process_batch(10)

    recipient = MessageStatus.objects.get().recipient
    assert message.contact.identities.filter(digest=recipient).exists()


def test_it_gives_a_recycled_phone_to_a_new_person(acme: Cast) -> None:
    first = said(acme, "wamid.1", phone=PHONE, from_user_id=BSUID)
    second = said(acme, "wamid.2", phone=PHONE, from_user_id=OTHER_BSUID)

    assert first.contact != second.contact
    assert said(acme, "wamid.3", phone=PHONE).contact == second.contact
    assert said(acme, "wamid.4", from_user_id=BSUID).contact == first.contact
    first.refresh_from_db()
    assert first.contact != second.contact  # nobody's history moves


def test_it_gives_a_recycled_phone_away_within_one_batch_too(acme: Cast) -> None:
    for wamid, user in (("wamid.1", BSUID), ("wamid.2", OTHER_BSUID)):
        message = {**text(wamid), "from_user_id": user}
        deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[message]))

    process_batch(10)

    assert Message.objects.values("contact").distinct().count() == 2


def test_it_follows_a_change_of_number(acme: Cast) -> None:
    before = said(acme, "wamid.1", phone=PHONE)
    system(acme, "wamid.2", type="user_changed_number", wa_id=OTHER_PHONE)
    after = said(acme, "wamid.3", phone=OTHER_PHONE)
    assert before.contact == after.contact
    assert before.sender != after.sender


def test_it_follows_a_change_of_bsuid(acme: Cast) -> None:
    before = said(acme, "wamid.1", phone=PHONE, from_user_id=BSUID)
    system(
        acme, "wamid.2", type="user_changed_user_id", user_id=OTHER_BSUID, previous_user_id=BSUID
    )
    after = said(acme, "wamid.3", phone=PHONE, from_user_id=OTHER_BSUID)
    assert before.contact == after.contact


def test_it_follows_a_change_that_comes_after_the_first_words_of_the_new_identity(
    acme: Cast,
) -> None:
    said(acme, "wamid.1", phone=PHONE, from_user_id=BSUID)
    early = said(acme, "wamid.2", phone=OTHER_PHONE)
    system(acme, "wamid.3", type="user_changed_number", wa_id=OTHER_PHONE)
    late = said(acme, "wamid.4", phone=OTHER_PHONE)
    assert late.contact == said(acme, "wamid.5", from_user_id=BSUID).contact
    assert early.contact is not None


def test_it_shows_the_name_last_heard(acme: Cast) -> None:
    said(acme, "wamid.1", phone=PHONE, contacts=[{"wa_id": PHONE, "profile": {"name": "Al"}}])
    said(acme, "wamid.2", phone=PHONE)
    assert Contact.objects.get().display_name == "Al"
    said(acme, "wamid.3", phone=PHONE, contacts=[{"wa_id": PHONE, "profile": {"name": "Alice"}}])
    assert Contact.objects.get().display_name == "Alice"


def test_it_keeps_every_identity_of_a_tenant_once(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        for number in range(3):
            said(cast, f"wamid.{cast.tenant.slug}.{number}", phone=PHONE, from_user_id=BSUID)
    assert ContactIdentity.objects.count() == 4
    assert Contact.objects.count() == 2
