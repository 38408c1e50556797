"""What a device reports goes the way of callbacks: durable first, then messages and receipts.
Nothing else can report it, and no number stays unencrypted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import OperationalError

from connectors.linked_device.events import ChatMember
from connectors.linked_device.intake import DeviceInbox
from connectors.linked_device.models import SenderSession
from connectors.whatsapp import ledger, raw, replay
from connectors.whatsapp.models import DeadKind, WebhookDead, WebhookDelivery, WebhookPending
from connectors.whatsapp.processing import process_batch
from messaging.models import Contact, Conversation, Message, MessageStatus, OptOut
from tests.conftest import Cast
from tests.linked_device.sends import ANNA, linked, receipt, said
from tests.whatsapp.deliveries import callback, deliver, text
from workspaces import keys
from workspaces.identity import digester

pytestmark = pytest.mark.django_db

ANOTHER_WAY = "This phone number's updates come another way."


@pytest.fixture(autouse=True)
def wake_ups(no_wake_ups: Callable[[], int]) -> Callable[[], int]:
    return no_wake_ups


def keep(cast: Cast, now: datetime, *events) -> None:
    """Let a linked device of the cast report events, and process them."""
    DeviceInbox(session=linked(cast)).keep(events, now=now)
    process_batch(10)


def test_it_stores_what_a_person_wrote(acme: Cast, globex: Cast, now: datetime) -> None:
    keep(acme, now, said(now))

    message = Message.objects.get()
    assert (message.tenant_id, message.text, message.source) == (
        acme.tenant.id,
        "Good morning",
        "LIVE",
    )
    assert message.sender == digester(acme.tenant.id).phone(ANNA.phone)
    assert message.contact.display_name == "Anna"
    conversation = Conversation.objects.get()
    assert (conversation.last_inbound_at, conversation.unread_count) == (message.timestamp_utc, 1)
    assert SenderSession.objects.get().last_inbound_at == now


def test_it_knows_a_person_again_by_his_hidden_id(acme: Cast, now: datetime) -> None:
    hidden = ChatMember(lid=ANNA.lid)
    keep(acme, now, said(now, "A"), said(now, "B", who=hidden), said(now, "C", who=ANNA))

    assert Contact.objects.get().messages.count() == 3
    # The digits of a hidden id are nobody's number.
    number = ChatMember(phone=ANNA.lid)
    keep(acme, now, said(now, "D", who=number))
    assert Contact.objects.count() == 2


def test_it_leaves_a_person_of_the_cloud_api_who_he_is(acme: Cast, now: datetime) -> None:
    linked(acme)
    people = digester(acme.tenant.id)
    anna = Contact.objects.create(tenant_id=acme.tenant.id)
    for kind, digest in (("PHONE", people.phone(ANNA.phone)), ("USER", people.user("ZA.1"))):
        anna.identities.create(tenant_id=acme.tenant.id, digest=digest, kind=kind)
    keep(acme, now, said(now))

    assert Message.objects.get().contact == anna


def test_it_stores_echoes_groups_files_and_opt_outs(acme: Cast, now: datetime) -> None:
    owner = ChatMember(phone="27820000001")
    keep(
        acme,
        now,
        said(now, "A", sender=owner, from_me=True),
        said(now, "B", group_id="120363000000000000@g.us"),
        said(now, "C", kind="image", text="Look", mime_type="image/jpeg"),
        said(now, "D", text="STOP"),
    )

    found = {message.text: message for message in Message.objects.all()}
    echo, group = Message.objects.get(source="ECHO"), Message.objects.exclude(group_id=None).get()
    assert (echo.direction, echo.contact) == ("OUTBOUND", group.contact)
    assert (found["Look"].media.mime_type, Conversation.objects.count()) == ("image/jpeg", 1)
    assert OptOut.objects.get().contact_id == group.contact_id


def test_it_counts_what_comes_twice_once(acme: Cast, now: datetime) -> None:
    keep(acme, now, said(now), receipt(now, "X", "Y"))
    keep(acme, now, said(now), receipt(now, "Y"))

    assert (Message.objects.count(), MessageStatus.objects.count()) == (1, 2)
    entry = ledger.read(acme.tenant.id, verify=True)
    assert (entry.processed, entry.duplicates, entry.balanced) == (5, 2, True)


def test_it_is_durable_before_it_returns_and_wakes_a_worker(
    acme: Cast, now: datetime, wake_ups, django_capture_on_commit_callbacks
) -> None:
    session = linked(acme)
    with django_capture_on_commit_callbacks(execute=True):
        DeviceInbox(session=session).keep([said(now), receipt(now, "X")], now=now)
        DeviceInbox(session=session).keep([], now=now)

    row = WebhookDelivery.objects.get()
    assert WebhookPending.objects.get().delivery_id == row.id
    assert b"Good morning" not in bytes(row.body)
    assert wake_ups() == 1


def test_it_keeps_nothing_while_the_database_is_away(
    acme: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = DeviceInbox(session=linked(acme))

    def away(contents: object) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(raw, "store", away)
        patch.setattr("connectors.linked_device.intake.connection.close", lambda: None)
        with pytest.raises(OperationalError):
            mailbox.keep([said(now)], now=now)
    assert not WebhookDelivery.objects.exists()
    mailbox.keep([said(now)], now=now)
    assert process_batch(10) == 1


def test_it_tells_nothing_of_an_erased_tenant(acme: Cast, now: datetime) -> None:
    mailbox = DeviceInbox(session=linked(acme))
    keys.destroy_all(acme.tenant.id)
    with pytest.raises(keys.TenantHasNoKeys):
        mailbox.keep([said(now)], now=now)


def test_it_purges_what_a_device_told_like_a_callback(acme: Cast, globex: Cast, now) -> None:
    keep(acme, now, said(now))
    keep(globex, now, said(now))
    keys.destroy_day_keys(tenant_id=acme.tenant.id, before=now.date() + timedelta(days=1))

    raw = {row.tenant_id: bytes(row.body) for row in WebhookDelivery.objects.all()}
    with pytest.raises(keys.KeyDestroyed):
        keys.cipher_of(raw[acme.tenant.id])
    keys.cipher_of(raw[globex.tenant.id])


class TestWhoMayTell:
    def test_it_quarantines_callbacks_that_name_a_linked_device(self, acme, now) -> None:
        linked(acme)
        body = callback(acme.workspace.external_id, waba_id="77", messages=[text("wamid.A")])
        for kind in ("whatsapp_business_account", "linked_device"):
            deliver(acme.tenant.id, {**body, "object": kind})
        process_batch(10)

        rows = WebhookDead.objects.values_list("kind", "reason")
        assert list(rows) == [(DeadKind.QUARANTINE, ANOTHER_WAY)] * 2
        acme.workspace.refresh_from_db()
        assert (Message.objects.count(), acme.workspace.waba_id) == (0, "")

    def test_it_quarantines_a_device_that_names_a_number_of_the_cloud_api(self, acme, now) -> None:
        session = linked(acme)
        acme.workspace.transport = "CLOUD_API"
        acme.workspace.save()
        DeviceInbox(session=session).keep([said(now)], now=now)
        process_batch(10)

        assert WebhookDead.objects.get().reason == ANOTHER_WAY

    def test_it_believes_no_seal_of_another_number_or_tenant(self, acme, globex, now) -> None:
        linked(acme), linked(globex)
        body = {**callback(acme.workspace.external_id, messages=[text("wamid.A")])}
        body["object"] = "linked_device"
        ours, theirs = digester(acme.tenant.id), digester(globex.tenant.id)
        for seal in (theirs.device(acme.workspace.external_id), ours.device("1"), "device:é"):
            body["entry"][0]["id"] = seal
            deliver(acme.tenant.id, body)
        process_batch(10)

        assert (WebhookDead.objects.count(), Message.objects.count()) == (3, 0)

    def test_it_releases_what_came_while_the_workspace_was_inactive(self, acme, now) -> None:
        session = linked(acme)
        acme.workspace.is_active = False
        acme.workspace.save()
        DeviceInbox(session=session).keep([said(now), receipt(now, "X")], now=now)
        process_batch(10)
        assert WebhookDead.objects.count() == 2

        acme.workspace.is_active = True
        acme.workspace.save()
        assert replay.replay(replay.releasable()).processed == 2
        assert Message.objects.get().text == "Good morning"
