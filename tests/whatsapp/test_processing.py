"""What becomes of callbacks, from the work list to the tables."""

from __future__ import annotations

import pytest

from connectors.models import DeadKind, WebhookDead, WebhookPending
from connectors.whatsapp import ledger, replay
from connectors.whatsapp.processing import process_batch
from messaging.models import Contact, Message, MessageStatus
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from workspaces.identity import digester
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


def test_it_stores_a_text_message_without_its_phone_number(acme: Cast) -> None:
    body = callback(acme.workspace.external_id, messages=[text("wamid.A")], contacts=[contact()])
    deliver(acme.tenant.id, body)

    assert process_batch(10) == 1

    message = Message.objects.get()
    digest = digester(acme.tenant.id)
    assert (message.text, message.sender) == ("Hello", digest.phone("15550123456"))
    assert message.platform_message_id == digest.wamid("wamid.A")
    assert message.contact.display_name == "Alice"
    assert not WebhookPending.objects.exists()


def test_it_has_its_effect_once_however_often_a_callback_comes(acme: Cast) -> None:
    first, second = text("wamid.A"), text("wamid.B")
    number = acme.workspace.external_id
    for messages in ([first], [first, second], [second], [second, first]):
        deliver(acme.tenant.id, callback(number, messages=messages))

    process_batch(10)

    assert Message.objects.count() == 2
    assert Contact.objects.count() == 1
    entry = ledger.read(acme.tenant.id, verify=True)
    assert (entry.accepted, entry.processed, entry.duplicates) == (6, 6, 4)
    assert entry.balanced


def test_it_quarantines_a_number_of_another_tenant(acme: Cast, globex: Cast) -> None:
    deliver(acme.tenant.id, callback(globex.workspace.external_id, messages=[text("wamid.A")]))

    process_batch(10)

    assert not Message.objects.exists()
    row = WebhookDead.objects.get()
    assert (row.kind, row.tenant_id) == (DeadKind.QUARANTINE, acme.tenant.id)
    assert ledger.read(acme.tenant.id).quarantined == 1
    assert ledger.read(globex.tenant.id).accepted == 0


def test_it_sets_an_unreadable_body_aside(acme: Cast) -> None:
    deliver(acme.tenant.id, b'{"object":')

    process_batch(10)

    assert WebhookDead.objects.get().kind == DeadKind.DEAD
    assert ledger.read(acme.tenant.id, verify=True).balanced


def test_it_keeps_a_status_that_comes_before_its_message(acme: Cast) -> None:
    number = acme.workspace.external_id
    deliver(acme.tenant.id, callback(number, statuses=[status("wamid.E", "read", 1_790_000_009)]))
    process_batch(10)
    echo = {**text("wamid.E", sender="15550100001"), "to": "15550123456"}
    deliver(acme.tenant.id, callback(number, field="smb_message_echoes", message_echoes=[echo]))

    process_batch(10)

    assert MessageStatus.objects.count() == 1
    assert Message.objects.get().status == "read"


def test_it_applies_an_edit_that_comes_before_its_message(acme: Cast) -> None:
    number = acme.workspace.external_id
    edit = {
        "from": "15550123456", "id": "wamid.X", "timestamp": "1790000010", "type": "edit",
        "edit": {"original_message_id": "wamid.A",
                 "message": {"type": "text", "text": {"body": "Hello again"}}},
    }  # fmt: skip
    deliver(acme.tenant.id, callback(number, messages=[edit]))
    process_batch(10)
    deliver(acme.tenant.id, callback(number, messages=[text("wamid.A")]))

    process_batch(10)

    message = Message.objects.get(type="text")
    assert message.text == "Hello again"
    assert message.edited_at is not None


def test_it_forgets_what_its_sender_revoked(acme: Cast) -> None:
    number = acme.workspace.external_id
    revoke = {
        "from": "15550123456", "id": "wamid.X", "timestamp": "1790000010", "type": "revoke",
        "revoke": {"original_message_id": "wamid.A"},
    }  # fmt: skip
    deliver(acme.tenant.id, callback(number, messages=[text("wamid.A"), revoke]))

    process_batch(10)

    assert Message.objects.get(type="text").text is None
    assert Message.objects.get(type="text").revoked_at is not None


def test_it_quarantines_what_comes_for_an_inactive_workspace_until_it_is_active(acme: Cast) -> None:
    Workspace.objects.update(is_active=False)
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[text("wamid.A")]))
    process_batch(10)
    assert (Message.objects.count(), replay.releasable()) == (0, [])
    Workspace.objects.update(is_active=True)

    assert replay.replay(replay.releasable()).processed == 1

    assert Message.objects.count() == 1
    assert ledger.read(acme.tenant.id, verify=True).balanced


@pytest.mark.parametrize("taken", [True, False])
def test_it_learns_an_account_unless_another_tenant_has_it(
    acme: Cast, globex: Cast, taken: bool
) -> None:
    """Whoever signs with his own app may name any account."""
    Workspace.objects.filter(pk=acme.workspace.pk).update(waba_id="")
    named = globex.workspace.waba_id if taken else "777"
    deliver(acme.tenant.id, callback(acme.workspace.external_id, named, messages=[text("wamid.A")]))

    process_batch(10)

    acme.workspace.refresh_from_db()
    assert acme.workspace.waba_id == ("" if taken else "777")
    assert Message.objects.count() == 1
