"""One Meta app, several tenants: each update is filed under its tenant, or set aside."""

from __future__ import annotations

from datetime import datetime
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import call_command

from connectors.models import DeadKind, WebhookDead, WebhookDelivery, WebhookPending
from connectors.whatsapp import ledger, raw
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.raw import read_originals
from messaging.models import Message
from templates_wa.models import TemplateEventRow
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, contact, deliver, text
from workspaces import ownership
from workspaces.models import INSTALLATION_ID, Proof, Workspace

pytestmark = pytest.mark.django_db

INSTALLATION = INSTALLATION_ID


def envelope(*callbacks: dict) -> dict:
    """Put several callbacks into one POST, as the envelope allows."""
    return {**callbacks[0], "entry": [entry for one in callbacks for entry in one["entry"]]}


def message_for(cast: Cast, wamid: str, body: str) -> dict:
    number = cast.workspace.external_id
    return callback(number, messages=[text(wamid, body)], contacts=[contact(name=body)])


def work() -> None:
    while process_batch(100):
        pass


def balance(tenant_id: UUID) -> tuple[int, int, int]:
    entry = ledger.read(tenant_id, verify=True)
    assert entry.balanced
    return entry.processed, entry.quarantined, entry.dead


def test_it_files_each_update_under_its_tenant(acme: Cast, globex: Cast) -> None:
    mixed = envelope(
        message_for(acme, "wamid.A", "For acme"), message_for(globex, "wamid.G", "Not")
    )
    original = deliver(INSTALLATION, mixed)

    work()

    for cast, words in ((acme, "For acme"), (globex, "Not")):
        message = Message.objects.get(tenant_id=cast.tenant.id)
        assert (message.text, message.workspace_id) == (words, cast.workspace.id)
        found = read_originals(cast.tenant.id, [message.id])[message.id]
        assert found.body["text"] == {"body": words}
        assert balance(cast.tenant.id) == (1, 0, 0)
    assert not WebhookDelivery.objects.filter(id=original).exists()
    assert balance(INSTALLATION)[1:] == (0, 0)


def test_it_keeps_the_words_of_one_tenant_out_of_the_raw_of_another(
    acme: Cast, globex: Cast
) -> None:
    mixed = envelope(
        message_for(acme, "wamid.A", "For acme"), message_for(globex, "wamid.G", "Not")
    )
    deliver(INSTALLATION, mixed)

    work()

    kept = WebhookDelivery.objects.get(tenant_id=globex.tenant.id)
    body = raw.open_body(bytes(kept.body), tenant_id=globex.tenant.id, delivery_id=kept.id)
    assert b"Not" in body
    assert b"acme" not in body


def test_it_sets_aside_what_belongs_to_nobody(acme: Cast, globex: Cast) -> None:
    nobodys = callback("300000000000003", messages=[text("wamid.N")])
    deliver(INSTALLATION, envelope(nobodys, message_for(acme, "wamid.A", "For acme")))

    work()

    row = WebhookDead.objects.get()
    assert (row.kind, row.tenant_id) == (DeadKind.QUARANTINE, INSTALLATION)
    assert row.phone_number_id == "300000000000003"
    assert balance(INSTALLATION)[1:] == (1, 0)
    assert Message.objects.get().tenant_id == acme.tenant.id


def test_it_gives_a_number_that_the_tokens_of_several_read_to_none_of_them(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    number = acme.workspace.external_id
    mine = Workspace.objects.create(tenant=globex.tenant, name="Mine!", external_id=number)
    ownership.prove_number(mine, Proof.TOKEN, now=now)
    deliver(INSTALLATION, message_for(acme, "wamid.A", "Whose?"))

    work()

    assert "Several tenants" in WebhookDead.objects.get().reason
    assert not Message.objects.exists()


def test_it_finds_the_tenant_of_account_news_by_its_waba(acme: Cast, globex: Cast) -> None:
    value = {
        "event": "APPROVED", "message_template_id": 7, "message_template_name": "welcome_message",
        "message_template_language": "en",
    }  # fmt: skip
    change = {"field": "message_template_status_update", "value": value}
    entry = {"id": globex.workspace.waba_id, "time": 1_790_000_000, "changes": [change]}
    deliver(INSTALLATION, {"object": "whatsapp_business_account", "entry": [entry]})

    work()

    assert TemplateEventRow.objects.get().tenant_id == globex.tenant.id


def test_it_sets_aside_a_shared_callback_that_is_no_callback(acme: Cast) -> None:
    deliver(INSTALLATION, b"not json")

    work()

    assert WebhookDead.objects.get().kind == DeadKind.DEAD
    assert balance(INSTALLATION) == (0, 0, 1)
    assert not WebhookPending.objects.exists()


def test_it_balances_on_the_command_line_too(acme: Cast, globex: Cast) -> None:
    mixed = envelope(message_for(acme, "wamid.A", "A"), callback("300000000000003"))
    deliver(INSTALLATION, mixed)

    work()

    call_command("ledger", "--verify", stdout=StringIO())  # exits 1 where it does not


def test_it_numbers_a_batch_out_of_one_block(acme: Cast, globex: Cast) -> None:
    for number in range(3):
        deliver(INSTALLATION, message_for(acme, f"wamid.{number}", "For acme"))
        deliver(INSTALLATION, message_for(globex, f"wamid.{number}", "For globex"))

    process_batch(10)

    ids = sorted(WebhookDelivery.objects.values_list("id", flat=True))
    assert ids == list(range(ids[0], ids[0] + 6))
    sizes = WebhookPending.objects.values_list("size", flat=True)
    assert all(sizes)


def test_it_hands_on_keys_that_nobody_knows_yet(acme: Cast, globex: Cast) -> None:
    mine = message_for(acme, "wamid.A", "For acme")
    mine["entry"][0]["changes"][0]["value"]["new_in_2030"] = "acme only"
    deliver(INSTALLATION, envelope(mine, message_for(globex, "wamid.G", "For globex")))

    work()

    for cast, known in ((acme, True), (globex, False)):
        kept = WebhookDelivery.objects.get(tenant_id=cast.tenant.id)
        body = raw.open_body(bytes(kept.body), tenant_id=kept.tenant_id, delivery_id=kept.id)
        assert (b"new_in_2030" in body) is known
