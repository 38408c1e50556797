"""Names that give a number away come back as they were told, to readers, until Raw is purged."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connectors.whatsapp.processing import process_batch
from lib.envelope import key_id_of
from messaging import sealed_values
from messaging.models import Contact
from messaging.sealed_values import NEEDS_MESSAGES_READ, PURGED
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.messaging.test_merging import (
    BSUID,
    NEW_PHONE,
    NOW,
    PHONE,
    changes_number,
    markets,
    says,
    take_in,
)
from tests.messaging.test_sealed_values import purge
from tests.privacy import places
from tests.sending.conftest import template
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from workspaces import keys
from workspaces.access import Scope
from workspaces.models import RawKey

__all__ = ("gql",)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_wake_ups")]

TODAY = datetime.now(UTC)
SHOP = f"Thandi's shop (+{PHONE})"
NAMES = """query($w: ID!) { conversations(workspaceId: $w) { nodes { contact { displayName username
    } lastMessage { sender { displayName } contact { displayName username } } } } }"""


def introduces(cast: Cast, name: str, *, at: datetime = TODAY, **profile: str) -> None:
    """Have a person write, with a profile name."""
    card = {"wa_id": PHONE, "profile": {"name": name, **profile}}
    said = text(f"wamid.{name}{at}", "Hello", sender=PHONE, at=NOW)
    number = cast.workspace.external_id
    deliver(cast.tenant.id, callback(number, messages=[said], contacts=[card]), at=at)
    process_batch(10)


def books(cast: Cast, name: str, **more: str) -> None:
    """Have the business's phone tell what it calls the person."""
    entry = {"contact": {"phone_number": f"+{PHONE}", "full_name": name, **more}, "action": "add"}
    take_in(cast, field="smb_app_state_sync", state_sync=[entry])


def shown(cast: Cast, gql: Gql) -> tuple[str, str]:
    """Return name and username of the only person the cast talks with, wherever they are shown."""
    (node,) = gql(cast, NAMES, w=str(cast.workspace.id)).data["conversations"]["nodes"]
    last = node["lastMessage"]
    assert node["contact"] == last["contact"]
    name = node["contact"]["displayName"]
    assert (last["sender"]["displayName"] or "") == name
    return name, node["contact"]["username"]


def at_rest() -> str:
    """Return every row that is stored, as text."""
    return "\n".join(row for _, row in places.rows())


@pytest.mark.parametrize(
    "name",
    [SHOP, f"{PHONE}", "1-555-012-3456", "Ana (+44 20 7946 0958)", "[sealed:2026-01-15:AAAA]"],
)
def test_a_name_that_holds_a_number_comes_back_as_it_was_told(
    acme: Cast, globex: Cast, gql: Gql, name: str
) -> None:
    introduces(acme, name, username=f"ana.{PHONE}")
    introduces(globex, "Ana")

    assert shown(acme, gql) == (name, f"ana.{PHONE}")
    assert shown(globex, gql) == ("Ana", "")
    for disguise in places.disguises(PHONE[-8:]) | places.disguises("2079460958"):
        assert not places.found_in(at_rest(), [disguise])


@pytest.mark.parametrize("name", ["Shop 24681012", "Order 194836987003835", "[purged]", "•••"])
def test_every_other_name_is_stored_as_it_came(acme: Cast, gql: Gql, name: str) -> None:
    introduces(acme, name)
    assert shown(acme, gql) == (name, "")
    assert Contact.objects.get().display_name == name


def test_it_says_that_a_name_was_purged_until_another_is_told(acme: Cast, gql: Gql) -> None:
    introduces(acme, SHOP)
    purge(acme)
    assert shown(acme, gql) == (PURGED, "")

    introduces(acme, "Thandi")

    assert shown(acme, gql) == ("Thandi", "")


def test_a_name_that_was_purged_gives_way_to_that_of_the_address_book(acme: Cast, gql: Gql) -> None:
    introduces(acme, SHOP)
    books(acme, "Thandi from Durban")
    assert shown(acme, gql) == (SHOP, "")
    purge(acme)
    assert shown(acme, gql) == ("Thandi from Durban", "")


def test_what_the_address_book_says_is_kept_in_the_same_way(acme: Cast, gql: Gql) -> None:
    says(acme, "Hello", phone=PHONE)
    books(acme, SHOP, username=f"@ana.{PHONE}")
    assert shown(acme, gql) == (SHOP, f"ana.{PHONE}")
    purge(acme)
    assert shown(acme, gql) == (PURGED, PURGED)


def test_no_number_stays_of_an_entry_that_joins_a_number_and_a_user_id(
    acme: Cast, gql: Gql
) -> None:
    books(acme, f"Ana {PHONE}", user_id=BSUID, username=f"ana.{PHONE}")
    says(acme, "Hello", from_user_id=BSUID)
    assert shown(acme, gql) == (f"Ana {PHONE}", f"ana.{PHONE}")
    assert not places.found_in(at_rest(), places.disguises(PHONE[-8:]))


def test_it_seals_the_username_that_an_import_tells(acme: Cast, gql: Gql) -> None:
    said = {**text("wamid.H", "Hello", sender=PHONE), "history_context": {"status": "READ"}}
    context = {"wa_id": PHONE, "username": f"@ana.{PHONE}"}
    thread = {"id": PHONE, "context": context, "messages": [said]}
    take_in(acme, field="history", history=[{"metadata": {"phase": 0}, "threads": [thread]}])
    assert shown(acme, gql) == ("", f"ana.{PHONE}")
    assert not places.found_in(at_rest(), places.disguises(PHONE[-8:]))


def test_a_name_follows_its_person_into_another_contact(acme: Cast, gql: Gql) -> None:
    says(acme, "Hello", phone=PHONE)
    name, card = f"Ana +{PHONE}", {"user_id": BSUID}
    said = {**text("wamid.B", "Hello", at=NOW), "from_user_id": BSUID}
    del said["from"]
    profile = {"name": name, "username": f"ana+{PHONE}"}
    take_in(acme, messages=[said], contacts=[{**card, "profile": profile}])
    entry = {"contact": {"user_id": BSUID, "full_name": f"Book +{PHONE}"}, "action": "add"}
    take_in(acme, field="smb_app_state_sync", state_sync=[entry])

    says(acme, "It is me", phone=PHONE, from_user_id=BSUID)

    (alias,) = Contact.objects.filter(merged_into__isnull=False)
    survivor = Contact.objects.get(pk=alias.merged_into)
    assert survivor.created_at < alias.created_at
    assert shown(acme, gql) == (name, f"ana+{PHONE}")
    Contact.objects.update(display_name="")
    assert shown(acme, gql)[0] == f"Book +{PHONE}"


def test_a_name_of_another_tenant_does_not_open(acme: Cast, globex: Cast, gql: Gql) -> None:
    introduces(acme, SHOP)
    introduces(globex, "Ana")
    sealed = Contact.objects.get(tenant_id=acme.tenant.id).display_name
    Contact.objects.filter(tenant_id=globex.tenant.id).update(display_name=sealed)
    assert shown(globex, gql) == (PURGED, "")


def test_a_name_lives_as_long_as_the_last_callback_that_told_it(acme: Cast, gql: Gql) -> None:
    ten, five = (TODAY - timedelta(days=ago) for ago in (10, 5))
    introduces(acme, SHOP, at=ten)
    introduces(acme, SHOP, at=five)
    introduces(acme, SHOP, at=ten + timedelta(seconds=1))  # late, or replayed

    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=five.date())

    assert shown(acme, gql) == (SHOP, "")
    text_of = Contact.objects.get().display_name
    day, sealed = text_of.removeprefix("[sealed:").removesuffix("]").split(":")
    key = RawKey.objects.get(pk=key_id_of(base64.b64decode(sealed)))
    assert day == key.day.isoformat() == five.date().isoformat()


def test_a_name_that_is_told_again_on_the_same_day_writes_nothing(acme: Cast) -> None:
    introduces(acme, SHOP)
    before = Contact.objects.get()
    with CaptureQueriesContext(connection) as asked:
        introduces(acme, SHOP, at=TODAY + timedelta(microseconds=1))
    assert Contact.objects.get().display_name == before.display_name
    assert Contact.objects.get().updated_at == before.updated_at
    assert not [one for one in asked if "UPDATE contacts" in one["sql"]]


def test_who_may_not_read_messages_is_shown_no_number(acme: Cast, gql: Gql) -> None:
    introduces(acme, SHOP, username="ana")
    sender = key_with(acme.tenant, Scope.MESSAGES_SEND)
    both = key_with(acme.tenant, Scope.MESSAGES_SEND, Scope.MESSAGES_READ)
    query = """mutation($c: ID) { optOutContact(input: { contactId: $c }) {
        contact { displayName username } } }"""
    told = str(Contact.objects.get().id)
    for key, name in ((sender, NEEDS_MESSAGES_READ), (both, SHOP)):
        found = gql(key, query, c=told).data["optOutContact"]["contact"]
        assert found == {"displayName": name, "username": "ana"}


def test_it_opens_the_names_of_a_page_with_one_query(
    acme: Cast, gql: Gql, django_assert_max_num_queries
) -> None:
    people = [f"2783130{n:04}" for n in range(20)]
    said = [text(f"wamid.{one}", sender=one) for one in people]
    cards = [contact(one, f"+{one}") for one in people]
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=said, contacts=cards))
    process_batch(10)
    query = "query($w: ID!) { conversations(workspaceId: $w) { nodes { contact { displayName }}}}"
    for expected in ({f"+{one}" for one in people}, {PURGED}):
        keys.forget()
        with django_assert_max_num_queries(10):
            nodes = gql(acme, query, w=str(acme.workspace.id)).data["conversations"]["nodes"]
        assert {node["contact"]["displayName"] for node in nodes} == expected
        purge(acme)


def test_the_admin_shows_no_sealed_text(acme: Cast, admin_client) -> None:
    introduces(acme, SHOP, username=f"ana.{PHONE}")
    person = Contact.objects.get()
    for page in ("", f"{person.pk}/change/"):
        body = admin_client.get(f"/admin/messaging/contact/{page}").content.decode()
        assert "[sealed]" in body
        assert person.display_name not in body
    assert sealed_values.shortened(person.display_name) == "[sealed]"


NATIONAL = f"Ana {PHONE[1:4]}-{PHONE[4:]}"
NUMBERED = {"display_name": NATIONAL, "username": f"ana.{PHONE}", "book_name": f"Book {PHONE[1:]}"}


def tells_of(cast: Cast, name: str, **more: str) -> None:
    """Have a person tell a profile name without a number, and the address book theirs."""
    said = {**text(f"wamid.{name}", "Hello", at=NOW), "from_user_id": BSUID}
    del said["from"]
    profile = {"name": name, "username": f"ana.{PHONE}"}
    take_in(cast, messages=[said], contacts=[{"user_id": BSUID, "profile": profile}])
    entry = {"contact": {"user_id": BSUID, "full_name": f"Book {PHONE[1:]}"}, "action": "add"}
    take_in(cast, field="smb_app_state_sync", state_sync=[entry])


@pytest.mark.parametrize("is_known", [True, False], ids=["number known", "number unknown"])
def test_no_number_stays_of_names_that_are_told_without_it(
    acme: Cast, globex: Cast, gql: Gql, is_known: bool
) -> None:
    for cast in (acme, globex):
        if is_known:
            says(cast, "Hello", phone=PHONE, from_user_id=BSUID)
        tells_of(cast, NATIONAL)

    assert shown(acme, gql) == shown(globex, gql) == (NATIONAL, f"ana.{PHONE}")
    assert not places.found_in(at_rest(), places.disguises(PHONE[-8:]))


def names_of_before(cast: Cast, *, is_number_known: bool) -> None:
    """Store names as they were stored that were told before the person's number was known."""
    if is_number_known:
        says(cast, "Hello", phone=PHONE)
    says(cast, "Hello", from_user_id=BSUID)
    newest = Contact.objects.filter(tenant_id=cast.tenant.id).order_by("created_at").last()
    Contact.objects.filter(pk=newest.pk).update(**NUMBERED, book_name_at=TODAY)


def by_message(cast: Cast) -> None:
    says(cast, "It is me", phone=PHONE, from_user_id=BSUID)


def by_receipt(cast: Cast) -> None:
    told = {**status("wamid.R", "sent"), "recipient_id": PHONE, "recipient_user_id": BSUID}
    take_in(cast, statuses=[told])


def by_book(cast: Cast) -> None:
    entry = {"contact": {"user_id": BSUID, "phone_number": PHONE, "full_name": "Ana"}}
    take_in(cast, field="smb_app_state_sync", state_sync=[{**entry, "action": "add"}])


@pytest.mark.parametrize("is_number_known", [True, False], ids=["merged", "learned"])
@pytest.mark.parametrize("tell", [by_message, by_receipt, by_book])
def test_names_are_sealed_when_the_number_in_them_becomes_their_persons(
    acme: Cast, globex: Cast, gql: Gql, tell: Callable[[Cast], None], is_number_known: bool
) -> None:
    for cast in (acme, globex):
        names_of_before(cast, is_number_known=is_number_known)
    tell(acme)

    found = Contact.objects.filter(tenant_id=acme.tenant.id).values_list(*NUMBERED)
    assert not places.found_in(str(list(found)), places.disguises(PHONE[-8:]))
    assert shown(acme, gql) == (NATIONAL, f"ana.{PHONE}")
    theirs = Contact.objects.filter(tenant_id=globex.tenant.id, **NUMBERED)
    assert theirs.count() == 1  # nobody told of the number there
    Contact.objects.filter(tenant_id=acme.tenant.id).update(display_name="")
    assert shown(acme, gql)[0] in (f"Book {PHONE[1:]}", "Ana")


def test_names_are_sealed_when_their_persons_number_changes_to_the_one_in_them(
    acme: Cast, gql: Gql
) -> None:
    introduces(acme, f"Now at {NEW_PHONE}")
    assert Contact.objects.get().display_name == f"Now at {NEW_PHONE}"
    changes_number(acme)
    assert shown(acme, gql) == (f"Now at {NEW_PHONE}", "")
    assert not places.found_in(at_rest(), places.disguises(NEW_PHONE[-8:]))


def test_the_other_spelling_of_a_number_is_sealed_too(acme: Cast, gql: Gql) -> None:
    here, abroad = "5491123456789", "541123456789"
    card = {"wa_id": abroad, "profile": {"name": "Ana 011 15 2345-6789"}}
    take_in(acme, messages=[text("wamid.A", "Hello", sender=here, at=NOW)], contacts=[card])
    assert shown(acme, gql) == ("Ana 011 15 2345-6789", "")
    assert Contact.objects.get().display_name.startswith("[sealed:")


def test_names_are_sealed_when_somebody_writes_to_the_number_in_them(acme: Cast, gql: Gql) -> None:
    template(acme)
    says(acme, "Hello", phone=PHONE)
    Contact.objects.update(**NUMBERED, book_name_at=TODAY)
    assert markets(acme, recipient_phone=f"+{PHONE}") == 201
    found = Contact.objects.values_list(*NUMBERED)
    assert not places.found_in(str(list(found)), places.disguises(PHONE[-8:]))
